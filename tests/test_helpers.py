"""What the tests share is shared."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.helpers import made_once


def test_what_several_workers_need_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    made = []

    def make(folder: Path) -> None:
        assert not any(folder.iterdir())
        made.append(folder)
        (folder / "half").touch()
        if len(made) == 1:
            raise OSError("the first attempt fails")

    def worker(name: str) -> Path:
        factory = SimpleNamespace(getbasetemp=lambda: tmp_path / name)
        return made_once(factory, "thing", make)  # type: ignore[arg-type]

    with pytest.raises(OSError, match="the first attempt fails"):
        worker("gw0")
    assert worker("gw1") == worker("gw0") == tmp_path / "thing"
    assert made == [tmp_path / "thing"] * 2
    assert (tmp_path / "thing" / "half").exists()


def test_without_workers_it_is_made_in_the_runs_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    factory = SimpleNamespace(getbasetemp=lambda: tmp_path)
    assert made_once(factory, "thing", lambda _: None) == tmp_path / "thing"  # type: ignore[arg-type]
