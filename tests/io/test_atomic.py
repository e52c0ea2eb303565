"""A file is always the old one or the new one, whatever stops the writing."""

import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from rqvae_lib.io.atomic import _umask, check_writable, remove_unfinished, write_atomically


def write(path: Path, text: str) -> None:
    with write_atomically(path) as temporary:
        temporary.write_text(text)


def test_a_new_file_in_a_new_folder_and_an_old_one_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.txt"
    write(path, "old")
    assert path.read_text() == "old"
    write(path, "new")
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_the_old_file_is_whole_until_the_new_one_is(tmp_path: Path) -> None:
    path = tmp_path / "file.parquet"
    write(path, "old")
    with write_atomically(path) as temporary:
        temporary.write_text("half of the n")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent  # the same disk, so that one step replaces it
        assert temporary.suffix == ".parquet"  # writers that look at the ending
    assert path.read_text() == "half of the n"


@pytest.mark.parametrize("broken", ["replace", "fsync", "chmod"])
def test_a_failing_system_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    path = tmp_path / "file.txt"
    write(path, "old")

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(OSError, match="No space left"):
        write(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failing_writer_leaves_the_old_file_and_no_litter(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "file.txt"
    write(path, "old")

    def write_half() -> None:
        with write_atomically(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_replaces_its_file_is_welcome(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    with write_atomically(path) as temporary:
        temporary.unlink()
        temporary.write_text("written again")
    assert path.read_text() == "written again"


def test_a_parent_that_is_a_file_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for check in (lambda path: write(path, "new"), check_writable):
        with pytest.raises(OSError, match="file"):
            check(tmp_path / "file" / "below.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for check in (lambda path: write(path, "new"), check_writable):
        with pytest.raises(OSError, match="folder"):
            check(folder)
    assert list(tmp_path.iterdir()) == [folder]
    assert list(folder.iterdir()) == []


def test_permissions_are_those_of_an_ordinary_new_file(tmp_path: Path) -> None:
    for mask in (0o022, 0o027):
        old = os.umask(mask)
        try:
            write(tmp_path / "ours", "x")
            (tmp_path / "ordinary").unlink(missing_ok=True)
            (tmp_path / "ordinary").write_text("x")
            assert os.umask(mask) == mask  # as it was
        finally:
            os.umask(old)
        modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ours", "ordinary")]
        assert modes[0] == modes[1]


def test_checking_leaves_nothing_behind_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    check_writable(path)
    assert not path.parent.exists()  # the folder is made when there is something to write
    write(path, "old")
    check_writable(path)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "name", ["x" * 251 + ".csv", "é" * 125 + ".csv", "a." + "b" * 253, "." * 9]
)
def test_the_longest_name_that_a_file_can_have_can_be_written(tmp_path: Path, name: str) -> None:
    """The temporary file's name is longer, but for that."""
    check_writable(tmp_path / name)
    write(tmp_path / name, "new")
    write(tmp_path / name, "newer")
    assert (tmp_path / name).read_text() == "newer"
    assert [path.name for path in tmp_path.iterdir()] == [name]
    longer = tmp_path / ("x" + name + "é" * 200)
    for check in (lambda path: write(path, "new"), check_writable):
        with pytest.raises(OSError, match="File name too long"):
            check(longer)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a\0b", "a\udcffb", "folder\udc80/file"])
def test_a_name_that_no_format_can_be_given_is_a_value_error(tmp_path: Path, name: str) -> None:
    for check in (lambda path: write(path, "new"), check_writable):
        with pytest.raises(ValueError, match="the path"):
            check(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_is_neither_replaced_nor_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for check in (lambda path: write(path, "new"), check_writable):
        with pytest.raises(OSError, match="a device, a pipe or a socket"):
            check(tmp_path / "pipe")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_users_file_with_a_name_like_a_temporary_one_stays(tmp_path: Path) -> None:
    kept = [".notes.unfinished-Chapter 3.txt", ".notes.unfinished-", ".a.unfinished-ab.csv"]
    removed = ".ids.csv.unfinished-abcd_123.csv"
    for name in (*kept, removed):
        (tmp_path / name).write_text("")
    for folder in (".mine.unfinished-2 of 3", ".h.safetensors.unfinished-abcd_123"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "part").write_text("")
    kept.append(".mine.unfinished-2 of 3")
    new = tmp_path / ".h.safetensors.unfinished-abcd_123/part"
    os.utime(new.parent, (0, 0))
    remove_unfinished(tmp_path)  # something in it is still being written
    assert new.is_file()
    remove_unfinished(tmp_path, older_than=-1.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such mask")
def test_threads_that_write_at_once_leave_the_umask_as_it_was() -> None:
    interval, old = sys.getswitchinterval(), os.umask(0o022)
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=_ask_for_umask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert os.umask(0o022) == 0o022
    finally:
        sys.setswitchinterval(interval)
        os.umask(old)


def _ask_for_umask() -> None:
    for _ in range(20_000):
        _umask()
