"""Histories larger than memory, on the command line: the same recommender as from memory."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from rqvae_lib.checkpoints.models import load_recommender
from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.histories_file import HistoriesFile
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.files import write_ids
from tests.cli.running import fails, run, succeeds

TRAIN = ("train-recommender", "--ids", "ids.csv", "--steps", 3, "--batch-size", 4)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder of Parquet files with the names of columns that another shop has, and IDs."""
    chance = np.random.default_rng(0)
    (tmp_path / "log").mkdir()
    for part in range(3):
        rows = {
            "visitor": [f"v{user}" for user in chance.integers(0, 20, 100)],
            "page": chance.integers(0, 30, 100),
            "at": 1_500_000_000_000 + chance.integers(0, 10**6, 100),
        }
        pd.DataFrame(rows).to_parquet(tmp_path / f"log/part-{part}.parquet")
    dataset = Dataset.from_tables(
        tmp_path / "log", columns={"user": "visitor", "item": "page", "time": "at"}
    )
    codes = torch.randint(5, (dataset.num_items, 3), generator=torch.Generator().manual_seed(0))
    ids = SemanticIDs(codes, [5] * 3)
    frame = ids.to_frame(dataset.items["item_id"].to_numpy(), dataset.titles)
    write_ids(tmp_path / "ids.csv", frame)
    return tmp_path


COLUMNS = ("--columns", "user=visitor,item=page,time=at")
PACK = ("pack-histories", "--interactions", "log", *COLUMNS, "--output", "h.safetensors")


def test_a_packed_log_trains_the_recommender_of_memory(shop: Path) -> None:
    done = run(
        "pack-histories",
        "--interactions",
        "log",
        *COLUMNS,
        "--output",
        "h.safetensors",
        folder=shop,
    )
    assert done.returncode == 0, done.stderr
    assert "Wrote 300 interactions of 20 users with 30 items to h.safetensors." in done.stdout
    said = "log: timestamp is the column 'at', taken as milliseconds: 2017-07-14 … 2017-07-14"
    assert said in done.stderr
    for split in ("leave-one-out", "timestamp"):
        mapped = succeeds(
            *TRAIN, "--histories", "h.safetensors", "--split", split, "--output", split, folder=shop
        )
        memory = succeeds(
            *TRAIN,
            "--interactions",
            "log",
            *COLUMNS,
            "--split",
            split,
            "--output",
            f"m-{split}",
            folder=shop,
        )
        models = [
            load_recommender(shop / name / "recommender.safetensors")
            for name in (split, f"m-{split}")
        ]
        for name, weights in models[0][0].state_dict().items():
            assert torch.equal(weights, models[1][0].state_dict()[name])
        card, other = models[0][1], models[1][1]
        assert card["data"] == HistoriesFile(shop / "h.safetensors").checksum
        assert card["items"] == other["items"]
        assert card["split"] == split
        # In both splits, all targets are few enough to be measured on.
        assert card["metrics"] == other["metrics"]
        assert mapped.splitlines()[:-1] == memory.splitlines()[:-1]


def test_sasrec_and_both_evaluations_are_those_of_memory(shop: Path) -> None:
    succeeds(*PACK, folder=shop)
    sasrec = ("train-sasrec", "--steps", 3, "--batch-size", 4)
    succeeds(*sasrec, "--histories", "h.safetensors", folder=shop)
    succeeds(*sasrec, "--interactions", "log", *COLUMNS, "--output", "memory", folder=shop)
    tables = []
    for where, model in (("--histories h.safetensors", "runs"), ("--interactions log", "memory")):
        names = ("popularity", f"{model}/sasrec.safetensors")
        options = (*where.split(), *(COLUMNS if "log" in where else ()), "--output", f"{model}.csv")
        succeeds("evaluate", *names, *options, folder=shop)
        tables.append(pd.read_csv(shop / f"{model}.csv"))
    mapped, memory = (
        table[~table["model"].isin(["item-knn", "near-pairs"])].drop(columns="model")
        for table in tables
    )
    pd.testing.assert_frame_equal(mapped.reset_index(drop=True), memory.reset_index(drop=True))
    assert "popularity" in succeeds("evaluate", "--histories", "h.safetensors", folder=shop)
    for counted in ("item-knn", "near-pairs"):
        for asked in ((counted,), ("memory/sasrec.safetensors", "--mix", counted)):
            said = fails("evaluate", *asked, "--histories", "h.safetensors", folder=shop)
            assert f"{counted} is made of all training histories in memory" in said
    logged = ("--interactions", "log", *COLUMNS)
    for model, where in (("runs", ("--histories", "h.safetensors")), ("memory", logged)):
        names = ("evaluate", f"{model}/sasrec.safetensors", "--no-baselines", "--mix", "popularity")
        succeeds(*names, *where, "--output", f"{model}-mixed.csv", folder=shop)
    mapped, memory = (pd.read_csv(shop / f"{model}-mixed.csv") for model in ("runs", "memory"))
    assert mapped["model"].unique().tolist() == [
        "runs/sasrec.safetensors",
        "runs/sasrec.safetensors + popularity",
    ]
    pd.testing.assert_frame_equal(mapped.drop(columns="model"), memory.drop(columns="model"))
    said = fails("evaluate", "--histories", "h.safetensors", "--mix", "popularity", folder=shop)
    assert "there is no model to mix popularity with: name one, or leave --mix out" in said
    said = fails("evaluate", "--no-baselines", "--histories", "h.safetensors", folder=shop)
    assert "--no-baselines leaves nothing to evaluate" in said
    said = fails(
        "evaluate", "memory/sasrec.safetensors", "--histories", "h.safetensors", folder=shop
    )
    assert "was trained on other data" in said


def test_what_would_change_nothing_is_refused_and_what_is_missing_is_said(shop: Path) -> None:
    succeeds(*PACK, folder=shop)
    packed = ("train-recommender", "--histories", "h.safetensors")
    assert "pass a file of IDs as --ids" in fails(*packed, folder=shop)
    said = fails(*packed, "--ids", "ids.csv", "--k-core", 5, folder=shop)
    assert "--histories h.safetensors has the interactions, so --k-core would change" in said
    said = fails(*packed, "--ids", "ids.csv", "--tokenizer", "random", folder=shop)
    assert "would change nothing" in said
    said = fails(
        "pack-histories", "--interactions", "log", *COLUMNS, "--output", "h.npy", folder=shop
    )
    assert "name a .safetensors file" in said
    (shop / "h.safetensors").write_text("mine")
    said = fails(*PACK, folder=shop)
    assert "exists and is not a file of histories" in said
    assert "is not a file of histories" in fails(*packed, "--ids", "ids.csv", folder=shop)


def test_repeats_and_a_table_of_items_count_as_everywhere(shop: Path) -> None:
    pd.DataFrame({"item_id": range(29, -1, -1)}).to_csv(shop / "pages.csv", index=False)
    options = ("--interactions", "log", *COLUMNS, "--items", "pages.csv", "--repeats", "last")
    done = run("pack-histories", *options, "--output", "new/h.safetensors", folder=shop)
    assert "only the last of each is kept" in done.stderr
    file = HistoriesFile(shop / "new/h.safetensors")
    columns = {"user": "visitor", "item": "page", "time": "at"}
    dataset = Dataset.from_tables(shop / "log", shop / "pages.csv", columns=columns, repeats="last")
    assert (
        file.histories.of_users(range(20)).items.tolist() == dataset.interactions["item"].tolist()
    )
    assert file.item_ids.tolist() == [*range(29, -1, -1)]
    assert [path.name for path in (shop / "new").iterdir()] == ["h.safetensors"]


def test_a_model_of_packed_histories_is_used_with_the_table_that_was_packed(shop: Path) -> None:
    words = ("pack-histories", "--interactions", "log", *COLUMNS, "--output", "h.safetensors")
    succeeds(*words, folder=shop)
    succeeds(*TRAIN, "--histories", "h.safetensors", "--output", "new", folder=shop)
    words = ("recommend", "--model", "new/recommender.safetensors", "--user", "v1")
    said = fails(*words, folder=shop)
    assert "the table that was packed (as --interactions) in place of --histories" in said
    assert succeeds(*words, "--interactions", "log", *COLUMNS, folder=shop)
