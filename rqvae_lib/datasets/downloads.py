"""Downloads the files that the package may not include: once, with a check, into a cache.

The terms of most datasets let anybody read them and nobody redistribute them, so each machine
downloads its own copy. A file has an address (`Remote`) and, if its publisher states one, a
checksum. If not, the sha256 of the first download is saved next to the file and every later read is
compared with it. A file that the publisher has changed is therefore noticed.

If you have the files already, or no network, set the environment variable `RQVAE_DATA` to their
folder; then nothing is downloaded. Otherwise the files go to the user's cache folder.

Used by: MovieLens and Amazon reviews.
"""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from rqvae_lib.data.dataset import Counts
from rqvae_lib.datasets.archives import unpack_zip
from rqvae_lib.io.atomic import write_atomically
from rqvae_lib.io.progress import is_live, progress_of

DATA_VARIABLE = "RQVAE_DATA"
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Remote:
    """A file on its publisher's server."""

    url: str  # https; http for this machine only
    checksum: str | None = None  # "md5:…" or "sha256:…"; None if the publisher states none

    @property
    def name(self) -> str:
        """The file's name, which is the last part of its URL."""
        return urlsplit(self.url).path.rpartition("/")[2]


@dataclass(frozen=True)
class Entry:
    """Everything known about a dataset before it is read: its address, size and terms."""

    name: str  # as `Dataset.name`
    files: tuple[Remote, ...]
    counts: Counts | None  # the expected size; None accepts any
    terms: str  # the terms of use, in sentences that are shown before the download
    terms_url: str  # where the publisher states the terms
    folder: str = ""  # the folder that the archive unpacks to; "" if the files are not an archive
    unpacked_bytes: int = 0  # the limit for the size of an unpacked archive


def fetch_files(entry: Entry, cache: Path | None = None, **options: Any) -> list[Path]:
    """Return the paths of a dataset's files: in `RQVAE_DATA`, in the cache, or downloaded now.

    Args:
        entry: the dataset.
        cache: the folder for downloads; the user's cache folder by default.
        options: as `download`.

    Raises:
        FileNotFoundError: if `RQVAE_DATA` is set and lacks a file.
        ValueError, OSError: as `download`.
    """
    if given := _given():
        return [_given_file(given, remote) for remote in entry.files]
    cache = cache or _pooch().os_cache("rqvae-lib")
    if not all((cache / remote.name).is_file() for remote in entry.files):
        print(f"{entry.name}: {entry.terms} See {entry.terms_url}", file=sys.stderr)
    return [download(remote, cache, **options) for remote in entry.files]


def fetch_folder(entry: Entry, cache: Path | None = None, **options: Any) -> Path:
    """Return the folder of a dataset's unpacked archive; download and unpack it if necessary.

    Args:
        entry: a dataset whose only file is a .zip.
        cache, options: as `fetch_files`.

    Raises:
        FileNotFoundError: if `RQVAE_DATA` is set and has neither the folder nor the archive.
        ValueError, OSError: as `download` and `unpack_zip`.
    """
    cache = cache or _pooch().os_cache("rqvae-lib")
    unpacked = cache / entry.folder
    if given := _given():
        for folder in (given / entry.folder, given):
            if folder.is_dir() and folder.name == entry.folder:
                return folder
        archive = _given_file(given, entry.files[0])
        # This may be any version of the archive, so unpack it to a folder of its own.
        unpacked = cache / _pooch().file_hash(str(archive))[:16] / entry.folder
    elif unpacked.is_dir():
        return unpacked
    else:
        (archive,) = fetch_files(entry, cache, **options)
    unpack_zip(archive, unpacked, max_bytes=entry.unpacked_bytes)
    return unpacked


def download(
    remote: Remote,
    cache: Path,
    *,
    timeout: float = 30,
    attempts: int = 3,
    pause: float = 2,
    progress: bool = True,
) -> Path:
    """Return the path of a file in the cache, and download it first if it is not there.

    Args:
        remote: the file.
        cache: the folder to keep it in, created if needed.
        timeout: seconds without data after which an attempt ends.
        attempts: the number of attempts. Each starts from the beginning, and a partial file is
            never kept.
        pause: seconds before the second attempt. The third waits twice as long, and so on.
        progress: whether to show progress: a bar in a terminal, in a log a line now and then.

    Raises:
        ValueError: if the checksum differs from the published one, or from the one recorded at the
            first download; or if the URL, or one that the host redirects to, is not https.
        OSError: if every attempt fails because the host cannot be reached or ends the transfer
            early, or if the cache cannot be written.
    """
    _check_url(remote.url)
    path, record = cache / remote.name, cache / f"{remote.name}.sha256"
    checksum = remote.checksum
    if checksum is None and record.is_file():
        checksum = f"sha256:{record.read_text('utf-8').strip()}"
    if path.is_file():
        _check(path, checksum, f"delete {path} to download it again")
        return path
    with write_atomically(path) as temporary:
        _fetch(remote.url, temporary, timeout, attempts, pause, progress)
        again = "try again later"
        if remote.checksum is None:
            again = f"the publisher has changed it; delete {record} to accept the new one"
        _check(temporary, checksum, again, name=remote.url)
        if checksum is None:
            with write_atomically(record) as recorded:
                recorded.write_text(_pooch().file_hash(str(temporary)) + "\n", "utf-8")
    return path


def _fetch(
    url: str, path: Path, timeout: float, attempts: int, pause: float, progress: bool
) -> None:
    """Download a URL to a path in at most `attempts` attempts."""
    in_a_log = progress and not is_live(sys.stderr)  # a bar of pooch's own is for a terminal
    fetch = _pooch().HTTPDownloader(
        progressbar=progress_of(total=0, unit="B") if in_a_log else progress,
        chunk_size=2**16,
        timeout=timeout,
        hooks={"response": _check_response},
    )
    for attempt in range(1, attempts + 1):
        try:
            fetch(url, str(path), None)
        except OSError as error:  # includes the errors of requests, which have no errno
            if error.errno is not None:  # a disk error, which another attempt would not fix
                raise
            status = getattr(getattr(error, "response", None), "status_code", 500)
            if attempt == attempts or status < 500:
                raise OSError(
                    f"{url} could not be downloaded ({_reason(error)}; attempt {attempt} of "
                    f"{attempts}): check the network and try again, or get the file another way "
                    f"and set the environment variable {DATA_VARIABLE} to its folder"
                ) from error
            time.sleep(pause * attempt)
        else:
            return


def _reason(error: OSError) -> str:
    """Return the first 200 characters of an error's message, which may be a chain of errors."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _check_response(response: Any, *_: Any, **__: Any) -> None:
    """Raise ValueError for a redirect to an address without https, before it is followed."""
    if response.is_redirect:
        _check_url(urljoin(response.url, response.headers["location"]))


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOCAL_HOSTS):
        raise ValueError(
            f"{url} is not an https address, expected one: use the publisher's address"
        )


def _check(path: Path, checksum: str | None, again: str, name: str | None = None) -> None:
    """Raise ValueError unless a file has a checksum such as "md5:…"."""
    if checksum is None:
        return
    algorithm, _, expected = checksum.partition(":")
    found = _pooch().file_hash(str(path), algorithm)
    if found != expected:
        raise ValueError(
            f"{name or path} has the {algorithm} {found}, expected {expected}: {again}"
        )


def _pooch() -> Any:
    """Import pooch only when it is needed, because its progress bar gives warnings in notebooks."""
    import pooch

    return pooch


def _given() -> Path | None:
    """Return the folder that the environment variable is set to, or None."""
    value = os.environ.get(DATA_VARIABLE)
    return Path(value) if value else None


def _given_file(given: Path, remote: Remote) -> Path:
    """Return the path of the user's own copy of a file, after checking its checksum."""
    path = given if given.name == remote.name else given / remote.name
    if not path.is_file():
        raise FileNotFoundError(
            f"{DATA_VARIABLE} is {given}, but there is no {remote.name} or its unpacked folder: "
            f"put it there, or unset the variable to download it from {remote.url}"
        )
    _check(path, remote.checksum, f"get it again from {remote.url}")
    return path
