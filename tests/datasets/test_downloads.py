"""Downloads from a server on this machine, which behaves well or badly; and archives likewise."""

import hashlib
import io
import os
import stat
import struct
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import patch

import pytest

from rqvae_lib.data.dataset import Counts
from rqvae_lib.datasets.amazon import AMAZON, load_amazon
from rqvae_lib.datasets.archives import unpack_zip
from rqvae_lib.datasets.downloads import Entry, Remote, download, fetch_folder
from rqvae_lib.datasets.movielens import MOVIELENS, load_movielens, read_movielens
from tests.datasets.published import amazon, ml_1m, ml_csv, written, zipped

Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


class Server:
    """Serves `files`; the first answers may be others, one each."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.first: list[Answer] = []
        self.asked: list[str] = []
        self.stop = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                name = self.path.lstrip("/")
                outer.asked.append(name)
                answer = outer.first.pop(0) if outer.first else whole
                answer(self, outer.files.get(name, b""))

            def log_message(self, *_: object) -> None:
                pass

        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.httpd.server_port}/"
        threading.Thread(target=self.httpd.serve_forever, args=(0.01,), daemon=True).start()


def whole(request: BaseHTTPRequestHandler, content: bytes) -> None:
    request.send_response(200 if content else 404)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content)


def half(request: BaseHTTPRequestHandler, content: bytes) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content[: len(content) // 2])
    request.close_connection = True


def busy(request: BaseHTTPRequestHandler, content: bytes) -> None:
    request.send_response(503)
    request.send_header("Content-Length", "0")
    request.end_headers()


def silent(request: BaseHTTPRequestHandler, content: bytes) -> None:
    """Say a little, then nothing until the test is over."""
    request.send_response(200)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content[:10])
    request.wfile.flush()
    server.stop.wait(30)
    request.close_connection = True


def elsewhere(request: BaseHTTPRequestHandler, content: bytes) -> None:
    request.send_response(302)
    request.send_header("Location", "http://example.invalid/ml-1m.zip")
    request.send_header("Content-Length", "0")
    request.end_headers()


server: Server


@pytest.fixture(autouse=True)
def _server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    global server
    server = Server()
    monkeypatch.delenv("RQVAE_DATA", raising=False)
    yield
    server.stop.set()
    server.httpd.shutdown()
    server.httpd.server_close()


QUICK = {"timeout": 0.3, "pause": 0, "progress": False}


def entry_1m(content: bytes, checksum: str | None = "") -> Entry:
    """Return ML-1M's own entry, but for where it is and how large."""
    server.files["ml-1m.zip"] = content
    checksum = f"md5:{hashlib.md5(content).hexdigest()}" if checksum == "" else checksum
    return replace(
        MOVIELENS["1m"],
        files=(Remote(server.url + "ml-1m.zip", checksum),),
        counts=Counts(interactions=4, users=2, items=3),
    )


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


# What goes well


def test_an_archive_is_fetched_once_checked_unpacked_and_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = entry_1m(zipped(ml_1m()))
    data = load_movielens("1m", entry=entry, cache=tmp_path / "cache", **QUICK)
    assert data.checksum == read_movielens(written(ml_1m(), tmp_path)).checksum
    assert data.name == "movielens-1m"
    said = capsys.readouterr().err
    assert "may not redistribute the data" in said
    assert "ml-1m-README.txt" in said
    assert left(tmp_path / "cache") == {"ml-1m.zip", "ml-1m"}
    load_movielens("1m", entry=entry, cache=tmp_path / "cache", **QUICK)
    assert server.asked == ["ml-1m.zip"]
    assert capsys.readouterr().err == ""


def test_a_progress_bar_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.files["file"] = b"x" * 200_000
    download(Remote(server.url + "file"), tmp_path)
    assert "100%" in capsys.readouterr().err


def test_amazon_is_two_files(tmp_path: Path) -> None:
    server.files = amazon()
    remotes = tuple(Remote(server.url + name) for name in server.files)
    entry = replace(AMAZON["beauty"], files=remotes, counts=Counts(3, 2, 2))
    data = load_amazon("beauty", entry=entry, cache=tmp_path, **QUICK)
    assert data.name == "amazon-beauty"
    recorded = {name for name in left(tmp_path) if name.endswith(".sha256")}
    assert recorded == {f"{name}.sha256" for name in server.files}


def test_the_known_entries_are_the_published_ones() -> None:
    assert MOVIELENS["1m"].counts == Counts(interactions=1_000_209, users=6_040, items=3_706)
    assert MOVIELENS["1m"].files[0].checksum == "md5:c4d9eecfca2ab87c1945afe126590906"
    assert MOVIELENS["100k"].files[0].checksum == "md5:0e33842e24a9c977be4e0107933c0723"
    for entry in (*MOVIELENS.values(), *AMAZON.values()):
        assert all(remote.url.startswith("https://") for remote in entry.files)
        assert entry.terms
        assert entry.terms_url


@pytest.mark.parametrize("bad", [half, busy, silent])
def test_a_failed_attempt_is_repeated_from_nothing(bad: Answer, tmp_path: Path) -> None:
    server.first = [bad]
    data = load_movielens("1m", entry=entry_1m(zipped(ml_1m())), cache=tmp_path, **QUICK)
    assert data.num_users == 2
    assert server.asked == ["ml-1m.zip"] * 2


# What goes wrong


@pytest.mark.parametrize(
    ("answer", "says", "attempts"),
    [
        (half, "attempt 3 of 3", 3),
        (busy, "503", 3),
        (silent, "timed out", 3),
        (lambda request, _: whole(request, b""), "404", 1),
    ],
)
def test_a_transfer_that_keeps_failing_is_said_and_leaves_nothing(
    answer: Answer, says: str, attempts: int, tmp_path: Path
) -> None:
    entry = entry_1m(zipped(ml_1m()))
    server.first = [answer] * 3
    with pytest.raises(OSError, match=says) as caught:
        load_movielens("1m", entry=entry, cache=tmp_path, **QUICK)
    assert "RQVAE_DATA" in str(caught.value)
    assert len(server.asked) == attempts
    assert left(tmp_path) == set()
    server.first = []
    assert load_movielens("1m", entry=entry, cache=tmp_path, **QUICK).num_users == 2


def test_no_server_at_all(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"could not be downloaded .*attempt 2 of 2.*RQVAE_DATA"):
        download(Remote("http://127.0.0.1:9/x"), tmp_path, attempts=2, **QUICK)


def test_a_file_of_another_checksum_is_refused_and_not_kept(tmp_path: Path) -> None:
    entry = entry_1m(zipped(ml_1m()), "md5:" + "0" * 32)
    with pytest.raises(ValueError, match=r"ml-1m.zip has the md5 \w+, expected 0{32}"):
        load_movielens("1m", entry=entry, cache=tmp_path, **QUICK)
    assert left(tmp_path) == set()


def test_a_cached_file_that_has_rotted_is_noticed(tmp_path: Path) -> None:
    remote = entry_1m(zipped(ml_1m())).files[0]
    path = download(remote, tmp_path, **QUICK)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"expected \w+: delete .*ml-1m.zip to download"):
        download(remote, tmp_path, **QUICK)


def test_without_a_published_checksum_the_first_download_is_held_to(tmp_path: Path) -> None:
    remote = entry_1m(zipped(ml_1m()), None).files[0]
    path = download(remote, tmp_path, **QUICK)
    record = tmp_path / "ml-1m.zip.sha256"
    assert record.read_text().strip() == hashlib.sha256(path.read_bytes()).hexdigest()
    path.unlink()
    server.files["ml-1m.zip"] = zipped(ml_1m() | {"ml-1m/new": b"new"})
    with pytest.raises(ValueError, match=r"has changed it; delete .*\.sha256 to accept"):
        download(remote, tmp_path, **QUICK)
    assert left(tmp_path) == {record.name}
    record.unlink()
    assert download(remote, tmp_path, **QUICK).is_file()


@pytest.mark.parametrize("url", ["http://example.org/x.zip", "ftp://a/x", "file:///etc/passwd"])
def test_only_https_is_asked(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not an https address"):
        download(Remote(url), tmp_path, **QUICK)


def test_a_host_that_refers_to_an_unprotected_address_is_refused(tmp_path: Path) -> None:
    server.first = [elsewhere]
    with pytest.raises(ValueError, match=r"http://example\.invalid/ml-1m\.zip is not an https"):
        load_movielens("1m", entry=entry_1m(b"zip"), cache=tmp_path, **QUICK)
    assert left(tmp_path) == set()


def test_other_counts_are_another_edition(tmp_path: Path) -> None:
    entry = replace(entry_1m(zipped(ml_1m())), counts=MOVIELENS["1m"].counts)
    with pytest.raises(
        ValueError, match=r"4 interactions of 2 users with 3 items, expected 1,000,"
    ):
        load_movielens("1m", entry=entry, cache=tmp_path, **QUICK)


def test_an_unknown_version_or_category() -> None:
    with pytest.raises(ValueError, match="expected one of 1m, 100k, 10m, 20m, 25m, 32m"):
        load_movielens("2m")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected one of beauty, sports, toys"):
        load_amazon("books")  # type: ignore[arg-type]


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        load_movielens(
            "1m", entry=entry_1m(zipped(ml_1m())), cache=tmp_path / "file/cache", **QUICK
        )


def test_a_full_disk_is_not_tried_again(tmp_path: Path) -> None:
    entry = entry_1m(zipped(ml_1m()))
    real = open

    def full(path: object, mode: str = "r", *rest: object) -> object:
        return real("/dev/full" if mode == "w+b" else path, mode, *rest)

    with patch("builtins.open", full), pytest.raises(OSError, match="No space left"):
        download(entry.files[0], tmp_path, **QUICK)
    assert len(server.asked) == 1
    assert left(tmp_path) == set()


# RQVAE_DATA


@pytest.mark.parametrize("where", ["archive", "folder of archives", "folder", "folder above"])
def test_files_that_are_there_are_used(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = entry_1m(zipped(ml_1m()))
    own, cache = tmp_path / "own", tmp_path / "cache"
    own.mkdir()
    if "archive" in where:
        (own / "ml-1m.zip").write_bytes(server.files["ml-1m.zip"])
    else:
        written(ml_1m(), own)
    at = {"archive": own / "ml-1m.zip", "folder": own / "ml-1m"}.get(where, own)
    monkeypatch.setenv("RQVAE_DATA", str(at))
    before = {path: path.stat().st_mtime_ns for path in own.rglob("*")}
    assert load_movielens("1m", entry=entry, cache=cache, **QUICK).num_users == 2
    assert server.asked == []
    assert {path: path.stat().st_mtime_ns for path in own.rglob("*")} == before


def test_files_that_are_named_but_missing_or_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = entry_1m(zipped(ml_1m()))
    monkeypatch.setenv("RQVAE_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"no ml-1m.zip .*unset the variable"):
        fetch_folder(entry, tmp_path / "cache")
    (tmp_path / "ml-1m.zip").write_bytes(b"another")
    with pytest.raises(ValueError, match=r"ml-1m.zip has the md5"):
        fetch_folder(entry, tmp_path / "cache")
    with pytest.raises(FileNotFoundError, match=r"no reviews_Toys_and_Games_5.json.gz"):
        load_amazon("toys", cache=tmp_path / "cache")
    assert server.asked == []


# Archives


def archive_of(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return content.getvalue()


def link(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.create_system, member.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return member


def declared(content: bytes, size: int) -> bytes:
    """Return an archive whose members declare another unpacked size, in both headers."""
    changed = bytearray(content)
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = content.find(signature)
        while at >= 0:
            changed[at + offset : at + offset + 4] = struct.pack("<I", size)
            at = content.find(signature, at + 1)
    return bytes(changed)


def misnamed(content: bytes) -> bytes:
    """Return an archive of "é" whose local header's name is no UTF-8, though it says so."""
    return content.replace("é".encode(), b"\xca\xca", 1)


GOOD = ("ml-1m/a", b"a" * 1000)
BOMB = archive_of(("ml-1m/zeros", b"\0" * 5_000_000))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (archive_of(GOOD, ("../evil", b"x")), "'../evil': leads out of the folder"),
        (archive_of(GOOD, ("ml-1m/../../evil", b"x")), "leads out of the folder"),
        (archive_of(GOOD, ("/etc/evil", b"x")), "'/etc/evil': has a path that is not relative"),
        (archive_of(GOOD, ("C:/evil", b"x")), "has a path that is not relative"),
        (archive_of(GOOD, ("ml-1m\\..\\evil", b"x")), "has a path that is not relative"),
        (archive_of(GOOD, (link("ml-1m/link"), b"/etc/passwd")), "is a link or a device"),
        (archive_of(GOOD, ("ml-1m//a", b"x")), "is listed twice"),
        (archive_of(GOOD, (".", b"x")), "has no name"),
        (BOMB, r"unpacks to 5,000,000 bytes, expected at most 1,000,000"),
        (declared(BOMB, 999), r"not a complete zip file"),
        (archive_of(*((f"ml-1m/{i}", b"") for i in range(1001))), "1,001 members"),
        (archive_of(("other/a", b"x")), "holds no folder ml-1m/"),
        (archive_of(GOOD)[:-30], "not a complete zip file"),
        (misnamed(archive_of(("ml-1m/é", b"x"))), "not a complete zip file"),
        (archive_of(GOOD)[40:], "not a complete zip file"),
        (b"<html>Not found</html>", "not a complete zip file"),
        (b"", "not a complete zip file"),
    ],
    # A zip knows when it was written, and workers that share the tests must agree on their names.
    ids=lambda value: "zip" if isinstance(value, bytes) else value,
)
def test_an_archive_that_is_dangerous_or_broken_is_refused_whole(
    content: bytes, says: str, tmp_path: Path
) -> None:
    archive = tmp_path / "in" / "ml-1m.zip"
    archive.parent.mkdir()
    archive.write_bytes(content)
    with pytest.raises(ValueError, match=says):
        unpack_zip(archive, tmp_path / "out" / "ml-1m", max_bytes=1_000_000)
    assert left(tmp_path / "out") == set()
    assert left(tmp_path) == {"in", "out"}


def test_a_bomb_through_the_loader_leaves_nothing_unpacked(tmp_path: Path) -> None:
    entry = replace(entry_1m(BOMB), unpacked_bytes=1_000_000)
    with pytest.raises(ValueError, match="unpacks to 5,000,000 bytes"):
        load_movielens("1m", entry=entry, cache=tmp_path, **QUICK)
    assert left(tmp_path) == {"ml-1m.zip"}


def test_a_truncated_archive_through_the_loader(tmp_path: Path) -> None:
    entry = entry_1m(zipped(ml_1m())[:-50])  # its checksum is right
    with pytest.raises(ValueError, match=r"ml-1m.zip is not a complete zip file"):
        load_movielens("1m", entry=entry, cache=tmp_path, **QUICK)
    assert left(tmp_path) == {"ml-1m.zip"}


def test_a_disk_that_fills_up_while_unpacking_leaves_nothing(tmp_path: Path) -> None:
    archive = tmp_path / "ml-csv.zip"
    archive.write_bytes(zipped(ml_csv("ml-csv")))
    real = os.write
    with (
        patch.object(Path, "open", lambda path, mode="r": real and open("/dev/full", "wb")),
        pytest.raises(OSError, match="No space left"),
    ):
        unpack_zip(archive, tmp_path / "ml-csv", max_bytes=10_000)
    assert left(tmp_path) == {"ml-csv.zip"}


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    folder = written(ml_1m(), tmp_path)
    unpack_zip(tmp_path / "nowhere.zip", folder, max_bytes=1)
    assert left(tmp_path) == {"ml-1m"}
