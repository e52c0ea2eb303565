"""Vectors in pieces against safetensors' own reader and writer."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from rqvae_lib.io.mapped_tensors import MappedTensors, write_in_pieces
from rqvae_lib.io.tensor_files import CheckpointError, load_checkpoint, save_checkpoint

KINDS = {"bytes": torch.uint8, "wide": torch.int64, "narrow": torch.int32, "none": torch.int32}


def write(path: Path, pieces: int) -> dict[str, torch.Tensor]:
    chance = np.random.default_rng(0)
    whole = {
        "bytes": chance.integers(0, 256, 13),
        "wide": chance.integers(-(2**63), 2**63 - 1, 7),
        "narrow": chance.integers(-(2**31), 2**31 - 1, 5),
        "none": np.empty(0),
    }
    with write_in_pieces(path, KINDS) as writer:
        for name, numbers in whole.items():
            for piece in np.array_split(numbers, pieces):
                writer.append(name, piece)
        writer.finish(path, "vectors", {"size": 3}, {"sha256": writer.sha256})
    return {name: torch.from_numpy(whole[name]).to(kind) for name, kind in KINDS.items()}


@pytest.mark.parametrize("pieces", [1, 3, 20])
def test_pieces_become_a_safetensors_file(pieces: int, tmp_path: Path) -> None:
    path = tmp_path / "new" / "v.safetensors"
    whole = write(path, pieces)
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    for found in (load_file(path), load_checkpoint(path, ["vectors"]).tensors):
        assert found.keys() == whole.keys()
        assert all(torch.equal(found[name], whole[name]) for name in whole)
    mapped = MappedTensors(path, "vectors")
    assert mapped.described == ({"size": 3}, load_checkpoint(path, ["vectors"]).card)
    for name, expected in whole.items():
        assert mapped[name].dtype == expected.dtype
        assert torch.equal(mapped[name], expected)
        assert [len(one) for one in mapped.blocks(name, 4)] == [
            len(one) for one in expected.split(4) if len(one)
        ]
    assert "wide" in mapped
    assert "other" not in mapped
    places = torch.tensor([[4, 0], [1, 1]])
    assert torch.equal(mapped.look_up("narrow", places), whole["narrow"][places].long())


def test_another_process_that_is_sent_them_opens_the_file(tmp_path: Path) -> None:
    whole = write(tmp_path / "v.safetensors", 2)
    sent = pickle.dumps(MappedTensors(tmp_path / "v.safetensors", "vectors"))
    found = pickle.loads(sent)
    assert len(sent) < 500
    assert all(torch.equal(found[name], whole[name]) for name in whole)


def test_the_hash_is_of_the_contents_and_not_of_the_pieces(tmp_path: Path) -> None:
    for pieces in (1, 4):
        write(tmp_path / f"{pieces}.safetensors", pieces)
    contents = {path.read_bytes() for path in tmp_path.iterdir()}
    assert len(contents) == 1


def test_a_file_of_other_tensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    for tensors in ({"x": torch.zeros(2, 2)}, {"x": torch.zeros(2, 2, dtype=torch.int64)}):
        save_checkpoint(path, "vectors", tensors, {}, {})
        with pytest.raises(CheckpointError, match=r"'x' is (F32|I64) of shape"):
            MappedTensors(path, "vectors")


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    def stop(path: Path) -> None:
        with write_in_pieces(path, KINDS) as writer:
            writer.append("wide", np.arange(9))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stop(tmp_path / "v.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match="make room on the disk"),
        write_in_pieces(tmp_path / "v.safetensors", KINDS),
    ):
        raise OSError(28, "No space left on device")
