"""What each command says that it writes is what it really writes, and nothing else."""

import os
import shutil
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from rqvae_lib.cli import command as before_commands
from rqvae_lib.cli import outputs
from rqvae_lib.embeddings import text
from tests.cli.running import succeeds
from tests.cli.walking import WRITING
from tests.helpers import write_vectors

pytestmark = pytest.mark.usefixtures("quick", "no_validation")

DATA = "--dataset shop"
VECTORS = f"{DATA} --embeddings shop/vectors.safetensors"
NEW_ITEMS = "item_id,title\nnew1,One\nnew2,Two\n"
# How each command is called, after those above it.
CALLS = {
    "embed": [f"embed {DATA} --output made/new.safetensors"],
    "train-rqvae": [
        f"train-rqvae {VECTORS} --steps 4 --snapshots 1,3 --codebook-size 8 --levels 2",
        f"train-rqvae {VECTORS} --steps 4 --snapshots 1,3 --codebook-size 8 --levels 2 --resume",
        f"train-rqvae {VECTORS} --residual-kmeans --codebook-size 8 --levels 2 --output rkm",
    ],
    "compare-tokenizers": [
        f"compare-tokenizers {VECTORS} --seeds 1 --steps 2 --codebook-size 8 --output c.csv"
    ],
    "inference-rqvae": [
        f"inference-rqvae {VECTORS}",
        f"inference-rqvae {VECTORS} --output made/ids.parquet",
    ],
    "assign": ["assign --vectors vectors --output made/large.parquet"],
    "export": [
        f"export {VECTORS} --format {shape} --output made/{name}"
        for shape, name in {
            "index-json": "x.index.json",
            "grid": "x.npy",
            "catalogue-jsonl": "x.jsonl",
            "sem-ids": "x.sem_ids",
            "text-json": "x.json",
            "parquet": "x.parquet",
            "csv": "x.csv",
            "item-to-sid": "y.csv",
            "records --keys rows": "x.bin",
            "tokens": "x.txt",
        }.items()
    ]
    + ["export --ids made/ids.parquet --format grid --output made/x.safetensors"],
    "pack-histories": ["pack-histories --interactions met.parquet --output made/h.safetensors"],
    "train-recommender": [
        f"train-recommender {VECTORS} --steps 2",
        f"train-recommender {VECTORS} --steps 2 --resume --half",
    ],
    "train-decoder": [f"train-decoder {VECTORS} --steps 2 --output made"],
    "train-sasrec": [f"train-sasrec {DATA} --steps 2"],
    "evaluate": [f"evaluate {DATA} popularity runs/sasrec.safetensors --output made/table.csv"],
    "recommend": [
        f"recommend {DATA} --all --beams 10 --top 2 --output made/all{ending}"
        for ending in (".csv", ".parquet", ".jsonl")
    ],
    "bundle": [f"bundle made/catalogue {VECTORS}", f"bundle only-ids {VECTORS} --model none"],
    "append": ["append made/catalogue --items new.csv --embeddings new.npy"],
}


def files_in(folder: Path) -> dict[str, tuple[int, int]]:
    """Return what tells whether a file was written: its place on the disk, and when."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            state = path.stat()
            found[str(path.relative_to(folder))] = (state.st_ino, state.st_mtime_ns)
    return found


@contextmanager
def replaced() -> Iterator[list[Path]]:
    """Note each file that is put in place, also one that is deleted again."""
    noted: list[Path] = []
    with pytest.MonkeyPatch.context() as patch:
        own = Path.replace

        def replace(self: Path, target: Path) -> Path:
            noted.append(Path(os.path.relpath(target)))
            return own(self, target)

        patch.setattr(Path, "replace", replace)
        yield noted


def test_each_command_writes_what_it_declares_and_nothing_else(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert CALLS.keys() == set(WRITING)
    shutil.copytree(shop, tmp_path / "shop")
    (tmp_path / "new.csv").write_text(NEW_ITEMS)
    np.save(tmp_path / "new.npy", np.ones((2, 8), np.float32))
    pd.DataFrame({"user": [1, 1], "item": [2, 3]}).to_parquet(tmp_path / "met.parquet")
    vectors = np.ones((90, 8), np.float32)
    write_vectors(tmp_path / "vectors" / "0.parquet", range(90), vectors)
    monkeypatch.setattr(text, "encode_texts", lambda *_, **__: torch.from_numpy(vectors))
    declared: list[outputs.Writes] = []

    def check(command: Any, given: Any) -> None:
        declared.append(command.outputs(given))
        outputs.check_outputs(command, given)

    monkeypatch.setattr(before_commands, "check_outputs", check)
    for call in (call for calls in CALLS.values() for call in calls):
        before = files_in(tmp_path)
        with chdir(tmp_path), replaced() as noted:
            succeeds(*call.split(), folder=tmp_path)
        after = files_in(tmp_path)
        assert before.keys() <= after.keys(), call  # nothing is deleted
        changed = {name for name in after if after[name] != before.get(name)}
        said = declared.pop()
        names = {str(one.path) for one in said.files}
        kept = {name for name in changed - names if "-old-" in name}  # models that were there
        assert not kept & before.keys()
        assert changed - kept <= names, call
        missing = names - changed
        # A bundle may hold no recommender; the parts of a run are joined, and deleted.
        gone = {str(folder / "run.json") for folder in said.folders}
        if "--model none" in call:
            gone |= {name for name in names if name.endswith("/recommender.safetensors")}
        if "--resume" in call:  # the training was at its end
            gone |= {name for name in names if "-" in name}  # its state and its snapshots
        assert missing <= gone, call
        for path in noted:
            assert str(path) in names or path.parent in said.folders, (call, path)
        # What it wrote, it knows again.
        for one in said.files:
            assert not one.path.is_absolute()
            where = tmp_path / one.path
            assert not where.exists() or one.is_own(where) or "records" in call, (call, where)
