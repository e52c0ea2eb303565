"""Files that may not be shipped: fetched once from their publisher, checked, and kept.

Most data sets may be read by anybody and passed on by nobody, so each reader's machine fetches its
own copy. A file has a place (`Remote`), and a checksum where its publisher states one. Where none
is stated, the sha256 of the first download is written beside the file, and every later read is
held to it: if the publisher changes the file, one hears of it.

Whoever has the files already, or has no network, names their folder in the environment variable
`RQVAE_DATA`; then nothing is fetched. Else they are kept in the user's cache folder.

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

DATA_VARIABLE = "RQVAE_DATA"
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Remote:
    """A file at its publisher's."""

    url: str  # https; http on this very machine only
    checksum: str | None = None  # "md5:…" or "sha256:…", None where the publisher states none

    @property
    def name(self) -> str:
        """The file's own name, the last part of its URL."""
        return urlsplit(self.url).path.rpartition("/")[2]


@dataclass(frozen=True)
class Entry:
    """All that is known of a data set before it is read: where it is, and under which terms."""

    name: str  # as `Dataset.name`
    files: tuple[Remote, ...]
    counts: Counts | None  # None: any
    terms: str  # what one may do with it, in sentences that are shown before the download
    terms_url: str  # where the publisher says so
    folder: str = ""  # what the archive unpacks to; "" where the files are read as they are
    unpacked_bytes: int = 0  # at most, of an archive


def fetch_files(entry: Entry, cache: Path | None = None, **options: Any) -> list[Path]:
    """Return the paths of a data set's files, from wherever they can be had.

    Args:
        entry: a data set.
        cache: where downloads are kept; the user's cache folder by default.
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
    """Return the folder that a data set's archive unpacks to, from wherever it can be had.

    Args:
        entry: a data set that is one .zip.
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
        # Which archive it is, is not ours to know: what it unpacks to has a place of its own.
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
    """Return the path of a file in the cache; fetch it first if it is not there.

    Args:
        remote: the file.
        cache: the folder to keep it in; made if needed.
        timeout: seconds without a byte after which an attempt is given up.
        attempts: how often to try; each begins from nothing, and a half file is never kept.
        pause: seconds before the second attempt, twice as many before the third, and so on.
        progress: whether to draw a progress bar.

    Raises:
        ValueError: if the file has another checksum than is published or was recorded at the first
            download, or if the URL, or one that the host refers to, is not https.
        OSError: if the host cannot be reached or ends the transfer early, each time; or if the
            cache cannot be written.
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
    """Write what is at a URL to a path, in as many attempts as it takes."""
    fetch = _pooch().HTTPDownloader(
        progressbar=progress, chunk_size=2**16, timeout=timeout, hooks={"response": _check_response}
    )
    for attempt in range(1, attempts + 1):
        try:
            fetch(url, str(path), None)
        except OSError as error:  # what requests raises is one, without a number
            if error.errno is not None:  # the disk's, which no further attempt would fix
                raise
            status = getattr(getattr(error, "response", None), "status_code", 500)
            if attempt == attempts or status < 500:
                raise OSError(
                    f"{url} could not be downloaded ({_reason(error)}; attempt {attempt} of "
                    f"{attempts}): check the network and try again, or get the file another way "
                    f"and name its folder in the variable {DATA_VARIABLE}"
                ) from error
            time.sleep(pause * attempt)
        else:
            return


def _reason(error: OSError) -> str:
    """Return the first sentence of an error, of which there may be many, one in another."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _check_response(response: Any, *_: Any, **__: Any) -> None:
    """Refuse a host that refers to an unprotected address, before that is asked."""
    if response.is_redirect:
        _check_url(urljoin(response.url, response.headers["location"]))


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOCAL_HOSTS):
        raise ValueError(f"{url} is not an https address, expected one: use the publisher's own")


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
    """Import pooch when there is something to fetch: its progress bar complains in notebooks."""
    import pooch

    return pooch


def _given() -> Path | None:
    """Return where the reader's own copies are, by the environment variable."""
    value = os.environ.get(DATA_VARIABLE)
    return Path(value) if value else None


def _given_file(given: Path, remote: Remote) -> Path:
    """Return the path of the reader's own copy of a file, after a look at its checksum."""
    path = given if given.name == remote.name else given / remote.name
    if not path.is_file():
        raise FileNotFoundError(
            f"{DATA_VARIABLE} is {given}, and there is no {remote.name} (nor what it unpacks to): "
            f"put it there, or unset the variable to download it from {remote.url}"
        )
    _check(path, remote.checksum, f"get it again from {remote.url}")
    return path
