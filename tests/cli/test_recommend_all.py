"""`recommend` for everybody, for a list, as JSON and from a bundle, against that for one user."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rqvae_lib.checkpoints.bundle import load_bundle
from tests.cli.running import fails, process_of, run, succeeds

ALL = ("recommend", "--all", "--output", "all.parquet", "-k", 3)


@pytest.fixture(scope="module")
def made(quick: None, shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the shop, a recommender of it, and a bundle with a new item."""
    folder = tmp_path_factory.mktemp("everybody")
    shutil.copytree(shop, folder / "shop")
    data = ("--dataset", "shop", "--embeddings", "shop/vectors.safetensors")
    shape = ("--codebook-size", 8, "--levels", 2, "--residual-kmeans")
    succeeds("train-rqvae", *data, *shape, folder=folder)
    briefly = ("--steps", 2, "--architecture", "rq-transformer")
    succeeds("train-recommender", *data, *briefly, folder=folder)
    succeeds("bundle", "b", *data, folder=folder)
    vectors = load_bundle(folder / "b").tokenizer.mean.numpy()[None]
    np.save(folder / "new.npy", vectors)
    pd.DataFrame({"item_id": ["new"], "title": ["A newcomer"]}).to_csv(folder / "new.csv")
    succeeds("append", "b", "--items", "new.csv", "--embeddings", "new.npy", folder=folder)
    return folder


def of_one(folder: Path, user: str, *options: object) -> list[dict]:
    said = succeeds("recommend", "--user", user, "--json", *options, folder=folder)
    told = json.loads(said)
    assert told["user_id"] == user
    return told["recommendations"]


def test_everybody_gets_what_they_get_alone(made: Path) -> None:
    done = run(*ALL, "--dataset", "shop", folder=made)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Wrote 90 recommendations for 30 users to all.parquet.\n"
    assert "30 of 30 users (100%)" in done.stderr
    assert not (made / "all.parquet.parts").exists()
    found = pd.read_parquet(made / "all.parquet")
    for user in ("user00", "user17", "user29"):
        own = found[found["user_id"] == user].drop(columns="user_id").to_dict("records")
        expected = of_one(made, user, "-k", 3, "--dataset", "shop")
        for one, other in zip(own, expected, strict=True):
            assert one.pop("probability") == pytest.approx(other.pop("probability"), rel=1e-4)
            assert one == other
    again = (made / "all.parquet").read_bytes()
    succeeds(*ALL, "--dataset", "shop", "--resume", folder=made)  # nothing is left to go on with
    assert (made / "all.parquet").read_bytes() == again


@pytest.mark.parametrize("name", ["users.txt", "users.csv", "users.parquet", "users.jsonl"])
def test_a_list_of_users(made: Path, name: str) -> None:
    listed = pd.DataFrame({"note": ["a", "b"], "user_id": ["user21", "user03"]})
    if name.endswith(".txt"):
        (made / name).write_text("user21\n\nuser03\n")
    elif name.endswith(".csv"):
        listed.rename(columns={"user_id": "userId"}).to_csv(made / name, sep=";", index=False)
    elif name.endswith(".jsonl"):
        listed.to_json(made / name, orient="records", lines=True)
    else:
        listed.to_parquet(made / name)
    options = ("--users", name, "--output", "some.csv", "--dataset", "shop", "-k", 2)
    succeeds("recommend", *options, folder=made)
    found = pd.read_csv(made / "some.csv")
    assert found["user_id"].tolist() == ["user21", "user21", "user03", "user03"]
    expected = of_one(made, "user03", "-k", 2, "--dataset", "shop")
    assert found["item_id"].tolist()[2:] == [one["item_id"] for one in expected]


def test_a_history_as_json(made: Path) -> None:
    asked = ("recommend", "--history", "item05,item07", "--json", "-k", 2, "--dataset", "shop")
    told = json.loads(succeeds(*asked, folder=made))
    assert told["user_id"] is None
    assert told["history"] == [
        {"item_id": "item05", "title": "Item 05"},
        {"item_id": "item07", "title": "Item 07"},
    ]
    first, second = told["recommendations"]
    assert (first["rank"], second["rank"]) == (1, 2)
    assert first["probability"] >= second["probability"]
    assert first["title"] == f"Item {first['item_id'][4:]}"


def test_a_bundle_recommends_its_new_item_and_knows_it_in_a_history(made: Path) -> None:
    asked = ("recommend", "--history", "item05,new", "--json", "--bundle", "b", "-k", 89)
    told = json.loads(succeeds(*asked, folder=made))
    assert told["history"][-1] == {"item_id": "new", "title": "A newcomer"}
    assert len(told["recommendations"]) == 89
    data = ("--bundle", "b", "--interactions", "shop/interactions.csv")
    succeeds(*ALL[:-1], 79, *data, folder=made)
    found = pd.read_parquet(made / "all.parquet")  # all 79 items that each has not had
    assert found.groupby("user_id")["item_id"].agg(lambda own: "new" in set(own)).all()
    one = of_one(made, "user04", *data, "-k", 79)
    assert found.loc[found["user_id"] == "user04", "item_id"].tolist() == [
        row["item_id"] for row in one
    ]
    # The same recommender and items by their own names.
    place = made / "b/v0002"
    files = ("--model", place / "recommender.safetensors", "--items", place / "items.parquet")
    assert of_one(made, "user04", *files, *data[2:], "-k", 79) == one


def test_json_has_the_users_id_as_the_data_have_it(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    table = pd.read_csv(tmp_path / "shop/interactions.csv")
    table["user_id"] = table["user_id"].str.removeprefix("user").astype(int)
    table.to_csv(tmp_path / "shop/interactions.csv", index=False)
    options = ("--dataset", "shop", "--model", "b/v0001/recommender.safetensors", "--json")
    told = json.loads(succeeds("recommend", "--user", "04", *options, folder=tmp_path))
    assert told["user_id"] == 4


def test_no_item_of_a_bundle_may_be_left_out(made: Path) -> None:
    """Else a row of the data would be another item than that row of the recommender."""
    data = ("--bundle", "b", "--interactions", "shop/interactions.csv")
    said = fails("recommend", "--user", "user04", *data, "--k-core", 2, folder=made)
    assert "items of version 2 of b are left, and its recommender needs all of them" in said


def test_a_killed_command_goes_on(made: Path, tmp_path: Path) -> None:
    """Killed as no program can catch, once the first part is there."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    (tmp_path / "all.parquet").unlink(missing_ok=True)
    table = pd.read_csv(tmp_path / "shop/interactions.csv")
    many = pd.concat([table.assign(user_id=table["user_id"] + f"-{copy}") for copy in range(300)])
    many.to_csv(tmp_path / "shop/interactions.csv", index=False)
    options = ("--dataset", "shop", "--model", "b/v0001/recommender.safetensors")
    process = process_of(*ALL, *options, folder=tmp_path)
    parts = tmp_path / "all.parquet.parts"
    while process.poll() is None and not (parts / "000000.parquet").exists():
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "all.parquet").exists()
    said = fails(*ALL, *options, folder=tmp_path)
    assert "all.parquet.parts holds the parts of an interrupted run" in said
    said = fails(*ALL[:-1], 4, *options, "--resume", folder=tmp_path)
    assert "k was 3, and is 4 now" in said
    done = run(*ALL, *options, "--resume", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "users were done by an earlier run" in done.stderr
    assert "There is no" not in done.stderr
    resumed = (tmp_path / "all.parquet").read_bytes()
    again = run(*ALL, *options, "--resume", folder=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "There is no all.parquet.parts with the parts of an interrupted run" in again.stderr
    assert "users were done by an earlier run" not in again.stderr
    assert (tmp_path / "all.parquet").read_bytes() == resumed
    succeeds(*ALL, *options, folder=tmp_path)
    assert (tmp_path / "all.parquet").read_bytes() == resumed


REFUSED: dict[str, tuple[object, ...]] = {
    "pass either --user ID, --history": ("--all", "--user", 1),
    "and only one of them": (),
    "--history print JSON, so --json would": (
        "--all",
        "--json",
        "--output",
        "a.csv",
    ),
    "write a file, so --output would": (
        "--user",
        "user01",
        "--output",
        "a.csv",
    ),
    "only --all and --users write a file, so --resume would": ("--user", "user01", "--resume"),
    "--all and --users write a file": ("--all",),
    "a.xlsx ends in '.xlsx'": ("--all", "--output", "a.xlsx"),
    "shop/interactions.csv would be written, but the command reads it (shop)": (
        *("--all", "--output", "shop/interactions.csv", "--dataset", "shop"),
    ),
    "the command reads it (users.csv)": ("--users", "users.csv", "--output", "users.csv"),
    "row 1, column 'user_id': found 'nobody'": ("--users", "bad.csv", "--output", "a.csv"),
    "row 1, column 'user_id': found 'user01', expected each user once": (
        *("--users", "twice.txt", "--output", "a.csv"),
    ),
    "empty.txt lists no users": ("--users", "empty.txt", "--output", "a.csv"),
    "is not a table with the column user_id": ("--users", "other.csv", "--output", "a.csv"),
    "users.dat has no header": ("--users", "users.dat", "--output", "a.csv"),
    "gap.csv, row 1, column 'user_id': found nothing": (
        *("--users", "gap.csv", "--output", "a.csv"),
    ),
    "--bundle b has the model and the items, so --model would": (
        *("--history", "item01", "--bundle", "b", "--model", "pretrained"),
    ),
    "and --history has the interactions, so --min-rating would": (
        *("--history", "item01", "--bundle", "b", "--min-rating", 3),
    ),
    "--bundle holds items and no histories": ("--user", "user01", "--bundle", "b"),
    "ids holds IDs and no recommender": ("--history", "item01", "--bundle", "ids"),
}
LISTS = {
    "users.csv": "user_id\nuser01\n",
    "bad.csv": "user_id\nuser01\nnobody\n",
    "twice.txt": "user01\nuser01\n",
    "empty.txt": "\n",
    "other.csv": "name\nuser01\n",
    "users.dat": "user01\n",
    "gap.csv": "user_id,note\nuser01,a\n,b\n",
}


@pytest.mark.parametrize("says", REFUSED)
def test_what_cannot_be_meant_is_refused(made: Path, tmp_path: Path, says: str) -> None:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    for name, text in LISTS.items():
        (tmp_path / name).write_text(text)
    data = ("--dataset", "shop", "--embeddings", "shop/vectors.safetensors")
    if "ids" in REFUSED[says]:
        succeeds("bundle", "ids", *data, "--model", "none", folder=tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    words = REFUSED[says]
    own = () if {"--dataset", "--bundle"} & set(map(str, words)) else data[:2]
    assert says in fails("recommend", *words, *own, folder=tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
