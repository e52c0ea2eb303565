"""IDs leave in the shape of another project, and a recommender is trained on IDs from a file."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from rqvae_lib import load_recommender, read_ids
from rqvae_lib.semantic_ids.config import ENDINGS
from rqvae_lib.semantic_ids.imports import import_ids
from tests.cli.running import fails, run, succeeds

SIZES = (8, 8, 8)
FORMATS = [
    (format, ending)
    for format, endings in ENDINGS.items()
    for ending in endings
    if format not in ("tokens", "records")
]


@pytest.fixture(scope="module")
def table(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The IDs of the shop's items, as a table of our own."""
    folder = tmp_path_factory.mktemp("table")
    data = ("--dataset", shop, "--embeddings", shop / "vectors.safetensors")
    succeeds("train-rqvae", *data, "--residual-kmeans", "--codebook-size", 8, folder=folder)
    succeeds("inference-rqvae", *data, folder=folder)
    return folder / "runs/semantic_ids.csv"


def test_a_tokenizers_ids_are_those_of_its_table(shop: Path, table: Path) -> None:
    data = ("--dataset", shop, "--embeddings", shop / "vectors.safetensors")
    folder = table.parent.parent
    done = run("export", *data, "--format", "index-json", "--output", "x.index.json", folder=folder)
    assert done.returncode == 0, done.stderr
    assert "Wrote the IDs of 90 items to x.index.json" in done.stdout
    assert "not in the file: the codebook sizes (8, 8, 8); titles" in done.stderr
    own = read_ids(table, SIZES)
    index = json.loads((folder / "x.index.json").read_text("utf-8"))
    assert list(index) == own.item_ids.tolist()
    assert index["item07"] == [
        f"<{level}_{code}>" for level, code in zip("abcd", own.ids.id_of(7), strict=True)
    ]


@pytest.mark.parametrize(("format", "ending"), FORMATS)
def test_a_recommender_is_trained_on_the_ids_of_each_format(
    format: str, ending: str, shop: Path, table: Path, tmp_path: Path, no_validation: None
) -> None:
    shutil.copy(table, tmp_path / "own.csv")
    file = f"x{ending}"
    said = succeeds(
        *("export", "--ids", "own.csv", "--ids-sizes", "8,8,8"),
        *("--format", format, "--output", file),
        folder=tmp_path,
    )
    assert ("for GRID: python -c" in said) == (format == "grid")
    done = run(
        *("train-recommender", "--dataset", shop, "--ids", file, "--ids-sizes", "8,8,8"),
        *("--steps", 3),
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert f"Using the IDs of {file}:" in done.stderr
    assert "the last number is a collision digit" in done.stderr
    model, card = load_recommender(tmp_path / "runs/recommender.safetensors")
    assert model.ids.sha256 == read_ids(table, SIZES).ids.sha256
    sha256 = hashlib.sha256((tmp_path / file).read_bytes()).hexdigest()
    assert card["ids"] == {"file": file, "sha256": sha256}


def test_a_model_on_another_projects_ids_is_evaluated_and_recommends(
    shop: Path, tmp_path: Path
) -> None:
    """A file that none of ours wrote: rows as keys, codes from 1, some items share their codes."""
    rows = {str(row): [f"<a_{1 + row % 9}>", f"<b_{1 + row // 18}>"] for row in range(90)}
    (tmp_path / "shop.index.json").write_text(json.dumps(rows), encoding="utf-8")
    data = ("--dataset", shop)
    done = run(
        "train-recommender", *data, "--ids", "shop.index.json", "--steps", 3, folder=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "two levels; codes begin at 1 (base)" in done.stderr
    assert "the keys are rows from 0 on" in done.stderr
    assert "45 distinct IDs of 90 items" in done.stderr
    model, _ = load_recommender(tmp_path / "runs/recommender.safetensors")
    assert model.ids.codes.tolist() == [[row % 9, row // 18] for row in range(90)]
    said = succeeds("evaluate", *data, "runs/recommender.safetensors", folder=tmp_path)
    assert "runs/recommender.safetensors" in said
    said = succeeds("recommend", *data, "--user", "user07", "-k", 3, folder=tmp_path)
    assert said.split("Recommended")[1].count("Item ") == 3
    (tmp_path / "other.json").write_text(json.dumps({"0": ["<a_1>", "<b_1>"]}), encoding="utf-8")
    said = fails("train-recommender", *data, "--ids", "other.json", folder=tmp_path)
    assert "other.json has no ID for 90 of the catalogue's 90 items, such as 'item00'" in said


def test_what_is_inferred_can_be_overruled(shop: Path, tmp_path: Path) -> None:
    grid = np.stack([np.arange(90) % 9 + 1, np.arange(90) // 9 + 12])
    np.save(tmp_path / "x.npy", grid)
    train = ("train-recommender", "--dataset", shop, "--ids", "x.npy", "--steps", 1)
    said = fails(*train, "--no-ids-levels-first", folder=tmp_path)
    assert "the shape (2, 90), taken for (items, levels), but the catalogue has 90 items" in said
    assert "(--ids-sizes)" in fails(*train, folder=tmp_path)
    assert "(--ids-base)" in fails(*train, "--no-ids-offsets", folder=tmp_path)
    how = ("--ids-sizes", "11,10", "--ids-base", 1, "--ids-offsets")
    export = ("export", "--ids", "x.npy", "--format", "sem-ids", "--output", "y.sem_ids")
    succeeds(*export, *how, folder=tmp_path)
    found = import_ids(tmp_path / "y.sem_ids", offsets=False, base=0)
    assert found.ids.codes.tolist() == (grid - [[1], [12]]).T.tolist()


def test_rows_become_the_ids_of_a_dataset(shop: Path, tmp_path: Path) -> None:
    rows = {str(row): [row % 9, row // 9] for row in range(90)}
    (tmp_path / "x.json").write_text(json.dumps(rows), encoding="utf-8")
    ambiguous = ("export", "--ids", "x.json", "--format", "csv", "--output", "y.csv")
    assert "(--ids-collision-digit, --no-ids-" in fails(*ambiguous, folder=tmp_path)
    export = ("export", "--ids", "x.json", "--format", "catalogue-jsonl", "--output", "y.jsonl")
    succeeds(*export, "--dataset", shop, "--no-ids-collision-digit", folder=tmp_path)
    first, *_ = (tmp_path / "y.jsonl").read_text("utf-8").splitlines()
    assert json.loads(first) == {
        "item_id": "item00",
        "token_ids": [0, 0, 0],
        "metadata": {"title": "Item 00"},
    }


def test_a_vocabulary_is_written_for_a_language_model(table: Path, tmp_path: Path) -> None:
    export = ("export", "--ids", table, "--ids-sizes", "8,8,8", "--format", "tokens")
    said = succeeds(*export, "--output", "t.txt", "--begin-end", folder=tmp_path)
    assert "Wrote the vocabulary of 90 items to t.txt" in said
    tokens = (tmp_path / "t.txt").read_text("utf-8").split()
    assert tokens[:9] == [*(f"<a_{code}>" for code in range(8)), "<b_0>"]
    assert tokens[-2:] == ["<|sid_begin|>", "<|sid_end|>"]


CONFLICTS = [
    ("export --format csv --output y.csv --collision-digit colliding", "as many numbers for each"),
    (
        "train-recommender --ids x.json --tokenizer pretrained",
        "so --tokenizer would change nothing",
    ),
    ("train-recommender --ids x.json --embeddings own.npy", "so --embeddings would change nothing"),
    ("train-recommender --ids nowhere.json", "nowhere.json: No such file"),
    ("train-recommender --ids x.pt", "x.pt is a pickle. Opening one runs the code in it"),
    ("train-recommender --ids x.txt", "x.txt ends in '.txt': name a file of IDs that ends in"),
    ("train-recommender --ids x.json --ids-sizes 8,x", "--ids-sizes is '8,x'; expected the size"),
    ("train-recommender --ids x.json --ids-sizes 8,0", "--ids-sizes is '8,0'; expected the size"),
    (
        "train-recommender --ids-base 1",
        "to read (--ids), so --ids-base would change",
    ),
    ("train-recommender --no-ids-offsets", "(--ids), so --no-ids-offsets would"),
    ("export --format csv --output x.json", "ends in '.json': name a .csv file for csv"),
    ("export --format index-json --output x.json --ids x.json", "the command reads it (x.json)"),
    ("export --format grid --output x.npy --embeddings x.npy", "the command reads it (x.npy)"),
    ("export --format csv --output y.csv --ids x.json --seed 1", "so --seed would change nothing"),
    (
        "export --format csv --output y.csv --begin-end",
        "only for text-json and tokens, and not for csv, so --begin-end would",
    ),
    (
        "export --format csv --output y.csv --levels-last",
        "only for grid, and not for csv, so --levels-last would",
    ),
    ("export --format tokens --output y.txt --token-style sid", "such as <|sid_12|> does not say"),
    ("export --format tokens --output y.txt --keys rows", "tokens names no items, so --keys"),
    ("export --format csv --output y.csv --tokenizer nowhere", "nowhere is neither a file nor a"),
    ("export --format csv --output y.csv --device abacus", "--device abacus is not usable here"),
    ("export --format csv --output folder.csv", "folder.csv is a folder"),
]


@pytest.mark.parametrize(("arguments", "says"), CONFLICTS, ids=[words for words, _ in CONFLICTS])
def test_what_cannot_work_is_refused_before_the_data(
    arguments: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("x.json", "x.pt", "x.txt", "x.npy"):
        (tmp_path / name).write_text("whatever: nobody gets so far")
    (tmp_path / "folder.csv").mkdir()
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(
        "rqvae_lib.datasets.registry.load_dataset", lambda *_, **__: pytest.fail("data were opened")
    )
    assert says in fails(*arguments.split(), folder=tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        ("inference-rqvae", "shop/items.csv"),
        ("export --format csv", "shop/items.csv"),
        ("export --format grid", "runs/rqvae.safetensors"),  # the tokenizer that is the default
        ("export --format csv --ids runs/semantic_ids.csv", "linked.csv"),
    ],
)
def test_what_is_read_is_never_written_over(
    arguments: str, output: str, shop: Path, table: Path, tmp_path: Path
) -> None:
    shutil.copytree(shop, tmp_path / "shop")
    shutil.copytree(table.parent, tmp_path / "runs")
    (tmp_path / "linked.csv").hardlink_to(tmp_path / "runs/semantic_ids.csv")
    data = () if "--ids" in arguments else ("--embeddings", "shop/vectors.safetensors")
    words = (*arguments.split(), "--dataset", "shop", *data)
    before = (tmp_path / output).read_bytes()
    said = fails(*words, "--output", output, folder=tmp_path)
    assert f"{output} would be written, but the command reads it" in said
    assert (tmp_path / output).read_bytes() == before


def test_a_table_of_ids_beside_the_data_may_be_written_again(
    shop: Path, table: Path, tmp_path: Path
) -> None:
    shutil.copytree(shop, tmp_path / "shop")
    shutil.copytree(table.parent, tmp_path / "runs")
    data = ("--dataset", "shop", "--embeddings", "shop/vectors.safetensors")
    for _ in range(2):
        succeeds("inference-rqvae", *data, "--output", "shop/ids.csv", folder=tmp_path)


def test_a_bad_file_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"a": [1, "b"]}', encoding="utf-8")
    said = fails(
        "export", "--format", "csv", "--output", "new/y.csv", "--ids", "x.json", folder=tmp_path
    )
    assert "x.json, item 'a', level 2: found 'b', expected a code" in said
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
