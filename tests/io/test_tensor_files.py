"""A file of tensors says what it is, is written whole or not at all, and is read once."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from rqvae_lib.io import tensor_files
from rqvae_lib.io.headers import HEADER_KEY
from rqvae_lib.io.tensor_files import (
    Checkpoint,
    CheckpointError,
    check_tensors,
    load_checkpoint,
    save_checkpoint,
    tensors_sha256,
)

TENSORS = {"w": torch.arange(6.0).view(2, 3), "ids": torch.tensor([4, 5])}
CONFIG: dict[str, Any] = {"dim": 3, "widths": [1, 2], "name": "Léon"}
CARD: dict[str, Any] = {"seed": 0, "metrics": {"recall": 0.1}}


def saved(path: Path, kind: str = "rqvae") -> Path:
    save_checkpoint(path, kind, TENSORS, CONFIG, CARD)
    return path


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    found = load_checkpoint(saved(tmp_path / "new" / "x.safetensors"), ["rqvae"])
    assert isinstance(found, Checkpoint)
    assert (found.kind, found.config, found.card) == ("rqvae", CONFIG, CARD)
    assert found.tensors.keys() == TENSORS.keys()
    assert all(torch.equal(found.tensors[name], value) for name, value in TENSORS.items())
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x.safetensors"]


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    written = {saved(tmp_path / f"{i}.safetensors").read_bytes() for i in range(10)}
    assert len(written) == 1


def test_views_and_gradients_are_saved_as_plain_numbers(tmp_path: Path) -> None:
    view = torch.arange(6.0).view(2, 3).T.requires_grad_()
    save_checkpoint(tmp_path / "x.safetensors", "rqvae", {"w": view}, {}, {})
    found = load_checkpoint(tmp_path / "x.safetensors", ["rqvae"]).tensors["w"]
    assert torch.equal(found, view)
    assert not found.requires_grad


@pytest.mark.parametrize("kinds", [["decoder-only", "sasrec"], [], {"x": 1}])
def test_another_kind_is_refused_by_name(kinds: Any, tmp_path: Path) -> None:
    path = saved(tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=rf"{path} is a checkpoint of 'rqvae'") as refused:
        load_checkpoint(path, kinds)
    assert all(repr(kind) in str(refused.value) for kind in kinds)


def test_one_of_several_kinds_is_read(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.safetensors", "sasrec")
    assert load_checkpoint(path, ["rqvae", "sasrec"]).kind == "sasrec"
    assert load_checkpoint(path, {"sasrec": None}.keys()).kind == "sasrec"


def test_a_file_is_opened_as_tensors_once_and_each_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "x.safetensors")
    opened: list[object] = []
    read: list[str] = []

    class Counting:
        def __init__(self, path: object, framework: str) -> None:
            opened.append(path)
            self.file = safe_open(path, framework=framework)

        def __enter__(self) -> "Counting":
            self.file.__enter__()
            return self

        def __exit__(self, *error: object) -> None:
            self.file.__exit__(*error)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def get_tensor(self, name: str) -> torch.Tensor:
            read.append(name)
            return self.file.get_tensor(name)

    monkeypatch.setattr(tensor_files, "safe_open", Counting)
    load_checkpoint(path, ["rqvae"])
    assert opened == [path]
    assert sorted(read) == sorted(TENSORS)
    with pytest.raises(CheckpointError):  # the header says enough
        load_checkpoint(path, ["sasrec"])
    assert len(read) == len(TENSORS)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("not tensors")
    (tmp_path / "cut").write_bytes(saved(tmp_path / "whole").read_bytes()[:-8])
    for name in ("empty", "text", "cut"):
        with pytest.raises(CheckpointError, match="is not a checkpoint, or is damaged"):
            load_checkpoint(tmp_path / name, ["rqvae"])
    save_file(TENSORS, tmp_path / "bare")
    with pytest.raises(CheckpointError, match=r"of 'another program' \('no format named'\)"):
        load_checkpoint(tmp_path / "bare", ["rqvae"])
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "absent", ["rqvae"])
    with pytest.raises(IsADirectoryError):
        load_checkpoint(tmp_path, ["rqvae"])


def test_a_pickle_is_named_and_not_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "it ran",))

    (tmp_path / "x.pkl").write_bytes(pickle.dumps(Trap()))
    torch.save(TENSORS, tmp_path / "x.pt")
    for name in ("x.pkl", "x.pt"):
        with pytest.raises(CheckpointError, match=r"is a pickle, .* so it was not opened"):
            load_checkpoint(tmp_path / name, ["rqvae"])
    assert not (tmp_path / "it ran").exists()


@pytest.mark.parametrize("part", ["config", "card"])
@pytest.mark.parametrize("value", ["[]", "null", '"x"'])
def test_a_part_of_the_header_that_is_no_mapping_is_refused(
    part: str, value: str, tmp_path: Path
) -> None:
    parts = {"config": "{}", "card": "{}"} | {part: value}
    header = ", ".join(f'"{name}": {content}' for name, content in parts.items())
    text = f'{{"format": "{tensor_files.FORMAT}", "kind": "rqvae", {header}}}'
    save_file(TENSORS, tmp_path / "x", metadata={HEADER_KEY: text})
    with pytest.raises(CheckpointError, match=f"its {part} is "):
        load_checkpoint(tmp_path / "x", ["rqvae"])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"w": None}, "the file lacks the tensor 'w'"),
        ({"more": torch.zeros(1)}, "the file has an unknown tensor 'more'"),
        ({"w": torch.zeros(3, 2)}, r"tensor 'w' has shape \(3, 2\) .* needs \(2, 3\)"),
        ({"w": torch.zeros(2, 3).double()}, r"torch\.float64; .* needs .* torch\.float32"),
        ({"ids": torch.zeros(2)}, r"tensor 'ids' has .* needs \(2,\) and torch\.int64"),
        ({"w": torch.full((2, 3), torch.nan)}, "tensor 'w' holds numbers that are not finite"),
        ({"w": torch.full((2, 3), torch.inf)}, "tensor 'w' holds numbers that are not finite"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(
    changes: dict[str, torch.Tensor | None], says: str
) -> None:
    with torch.device("meta"):
        expected = {"w": torch.zeros(2, 3), "ids": torch.zeros(2, dtype=torch.int64)}
    check_tensors(TENSORS, expected)
    found = {name: value for name, value in (TENSORS | changes).items() if value is not None}
    with pytest.raises(ValueError, match=says):
        check_tensors(found, expected)


def test_the_name_of_tensors_depends_on_every_number_their_type_and_order() -> None:
    w, ids = TENSORS["w"], TENSORS["ids"]
    names = [
        tensors_sha256(*tensors)
        for tensors in (
            (w, ids),
            (ids, w),
            (w,),
            (w + torch.eye(2, 3), ids),
            (w.double(), ids),
        )
    ]
    assert len(set(names)) == len(names)
    assert tensors_sha256(w.clone(), ids) == tensors_sha256(w.T.contiguous().T, ids) == names[0]
