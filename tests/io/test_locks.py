"""Two processes and one output folder: the second is refused, a killed one blocks nobody."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rqvae_lib.io.atomic import write_atomically
from rqvae_lib.io.locks import LOCK_FILE, only_process_in

# A process that holds a folder until its standard input ends. It imports no torch.
HOLDER = """
import sys
from pathlib import Path
from rqvae_lib.io.locks import only_process_in
with only_process_in(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_process_is_refused_and_told_who_is_first(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "runs"
    process = holder(folder)
    try:
        for _ in range(2):  # and the refusal takes nothing from the first
            with pytest.raises(BlockingIOError) as caught, only_process_in(folder):
                pytest.fail("both hold it")
            said = str(caught.value)
            assert said.startswith(f"{folder} is in use by process {process.pid} on ")
            assert "wait until it has ended, or choose another folder" in said
    finally:
        process.communicate()
    assert process.returncode == 0
    with only_process_in(folder):
        pass


def test_the_lock_of_a_killed_process_blocks_nobody(tmp_path: Path) -> None:
    process = holder(tmp_path)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert (tmp_path / LOCK_FILE).exists()  # it could not tidy up
    with only_process_in(tmp_path):
        assert f"process {os.getpid()} on " in (tmp_path / LOCK_FILE).read_text()
    assert list(tmp_path.iterdir()) == []


def test_other_folders_are_free(tmp_path: Path) -> None:
    with only_process_in(tmp_path / "a"), only_process_in(tmp_path / "b"):
        assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}


def test_only_what_was_written_stays(tmp_path: Path) -> None:
    with only_process_in(tmp_path / "nothing" / "below"):
        pass
    assert list(tmp_path.iterdir()) == []
    with only_process_in(tmp_path / "something" / "below"):
        (tmp_path / "something" / "below" / "file").touch()
    assert [path.name for path in (tmp_path / "something" / "below").iterdir()] == ["file"]


def test_a_failure_lets_go_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), only_process_in(tmp_path):
        raise KeyboardInterrupt
    with only_process_in(tmp_path):
        pass


def test_leftovers_of_the_killed_are_removed_once_they_are_old(tmp_path: Path) -> None:
    names = []
    for age in (0, 1200):
        with write_atomically(tmp_path / "file.csv") as temporary:
            left = temporary.with_name(temporary.name.replace("unfinished-", f"unfinished-{age}"))
            left.write_text("half")
            os.utime(left, (left.stat().st_mtime - age,) * 2)
            names.append(left.name)
    (tmp_path / ".hidden").write_text("the user's own")
    with only_process_in(tmp_path):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"file.csv", ".hidden", names[0]}


@pytest.mark.parametrize("make", ["file", "link", "folder"])
def test_a_users_file_with_the_locks_name_is_not_deleted(tmp_path: Path, make: str) -> None:
    path, mine = tmp_path / ".rqvae-lib.lock", tmp_path / "mine"
    mine.write_text("the user's own")
    if make == "file":
        mine.rename(path)
    elif make == "link":
        path.symlink_to(mine)
    else:
        path.mkdir()
    before = sorted(tmp_path.iterdir())
    with (
        pytest.raises(FileExistsError, match="not a lock of this library"),
        only_process_in(tmp_path),
    ):
        pass
    assert sorted(tmp_path.iterdir()) == before
    if make != "folder":
        assert path.read_text() == "the user's own"
