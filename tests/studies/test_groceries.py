"""Chapter 13's catalogue is what its script says, and the commands on its page run on it."""

import hashlib
import json
import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import groceries_study
from groceries_study import (
    CHAPTER_11,
    COLUMNS,
    COUNTED,
    GENERATIVE,
    LIBRARY,
    MEASURED,
    RESULTS,
    SASREC,
    SHORT,
    best_trial,
    load,
)
from notebooks import read_source
from prepare_groceries import FOLDER, HOUSEHOLDS_A_PRODUCT, PRODUCTS_A_HOUSEHOLD, core, texts_of
from rqvae_lib.cli.main import app
from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.splits import leave_one_out
from rqvae_lib.embeddings.text import DEFAULT_MODEL, save_embeddings
from rqvae_lib.evaluation.evaluator import evaluate
from rqvae_lib.models.item_knn import ItemKNN
from rqvae_lib.models.popularity import Popularity
from rqvae_lib.semantic_ids.files import read_ids
from tables import read_rows
from tests.helpers import ROOT

PAGE = ROOT / "notebooks" / "13_your_own_catalogue.py"


def test_the_files_are_those_of_the_provenance() -> None:
    provenance = json.loads((FOLDER / "PROVENANCE.json").read_text(encoding="utf-8"))
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in FOLDER.iterdir()
        if path.name != "PROVENANCE.json"
    }
    assert provenance["sha256"] == found
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1_600_000
    bought = pd.read_parquet(FOLDER / "interactions.parquet")
    assert provenance["counts"]["first purchases"] == len(bought)
    assert provenance["counts"]["households"] == bought["household_id"].nunique()
    page = (ROOT / "book" / "data_and_licences.md").read_text(encoding="utf-8")
    new = pd.read_parquet(FOLDER / "new_interactions.parquet")
    for said in (
        f"| households | {provenance['counts']['households']:,}, of the source's 2,469 |",
        f"| products | {provenance['counts']['products']:,}, each",
        f"| first purchases | {len(bought):,}, each",
        f"the {len(new)} first purchases of them |",
    ):
        assert said in page


def test_the_extract_holds_first_purchases_of_a_core() -> None:
    bought = pd.read_parquet(FOLDER / "interactions.parquet")
    items = pd.read_csv(FOLDER / "items.csv")
    assert not bought.duplicated(["household_id", "product_id"]).any()
    assert bought.groupby("product_id").size().min() >= HOUSEHOLDS_A_PRODUCT
    assert bought.groupby("household_id").size().min() >= PRODUCTS_A_HOUSEHOLD
    assert items["product_id"].is_monotonic_increasing
    assert set(items["product_id"]) == set(bought["product_id"])
    new = pd.read_parquet(FOLDER / "new_interactions.parquet")
    assert not set(new["product_id"]) & set(items["product_id"])
    assert set(new["household_id"]) <= set(bought["household_id"])


def test_a_core_drops_until_nothing_has_to_go() -> None:
    """Dropping the rare product leaves a household short, which leaves nobody else short."""
    full = [(user, item) for user in range(100) for item in range(10)]
    short = [(100, item) for item in (*range(9), 99)]
    bought = pd.DataFrame([*full, *short], columns=["household_id", "product_id"])
    assert sorted(core(bought).itertuples(index=False, name=None)) == full


def test_the_page_and_the_study_make_the_same_texts() -> None:
    cells = [cell.source for cell in read_source(PAGE).cells if "def texts_of" in cell.source]
    scope: dict[str, object] = {"pd": pd}
    exec(cells[0].split("items = ")[0], scope)
    items = pd.read_csv(FOLDER / "items.csv")
    assert scope["texts_of"](items).tolist() == texts_of(items)  # type: ignore[operator]


def test_the_results_are_of_this_data() -> None:
    """What needs no training is measured again; the rest was measured on the same split."""
    table = pd.read_csv(RESULTS)
    results = table[table["settings"] == COUNTED].set_index(["model", "part"])
    people = pd.read_csv(RESULTS.with_name("13_groceries_people.csv"))
    data, _ = load()
    split = leave_one_out(data)
    models = {
        "popularity": Popularity(split.popularity),
        "item-kNN, last 1": ItemKNN(split.train, data.num_items, last=1),
    }
    for name, model in models.items():
        for part, positions in (("validation", split.validation), ("test", split.test)):
            found = evaluate(model, split, positions)
            for column, metric in (("recall_10", "Recall"), ("ndcg_10", "NDCG")):
                assert results.loc[(name, part), column] == pytest.approx(
                    found.mean(metric, 10).mean, abs=1e-4
                )
    key = ["model", "settings", "steps", "seed"]
    on_test = table[table["part"] == "test"].set_index(key)["recall_10"]
    hits = people.groupby(key)["recall_10"].sum() / 2294
    pd.testing.assert_series_equal(hits, on_test.sort_index(), atol=1e-4)
    seeds = table.groupby(key[:3])["seed"].nunique()
    of_short = seeds[seeds.index.get_level_values("steps") == SHORT]
    assert of_short.tolist() == [3] * 6
    for model in (SASREC, GENERATIVE):
        best = best_trial(model, read_rows(RESULTS, MEASURED))
        assert seeds[model, *best] == 3


@pytest.mark.usefixtures("one_thread")
def test_the_study_writes_its_tables_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one step or two, and no RQ-VAE."""
    table = tmp_path / "13_groceries.csv"
    monkeypatch.setattr(groceries_study, "RESULTS", table)
    monkeypatch.setattr(groceries_study, "KINDS", ("text", "text, RQ-VAE", "random IDs"))
    monkeypatch.setattr(groceries_study, "rqvae", groceries_study.residual_kmeans)
    monkeypatch.setattr(groceries_study, "SHORT", 1)
    monkeypatch.setattr(groceries_study, "SEEDS", (0, 1))
    monkeypatch.setattr(groceries_study, "TRIALS", [(LIBRARY, 1), (CHAPTER_11, 2)])
    groceries_study.main()
    written = table.read_bytes()
    rows = read_rows(table, MEASURED)
    assert {row["seed"] for row in rows if row["model"] == SASREC} == {"0", "1"}
    monkeypatch.setattr(groceries_study, "trained", lambda *_: pytest.fail("it is done"))
    groceries_study.main()
    assert table.read_bytes() == written


@pytest.mark.usefixtures("one_thread")
def test_the_commands_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data, vectors = load()
    bought = pd.read_parquet(FOLDER / "interactions.parquet").sample(frac=1, random_state=0)
    bought = bought.rename(columns={theirs: ours for ours, theirs in COLUMNS.items()})
    # A tenth of the households: what is tested is that the commands fit together.
    bought = bought[bought["user_id"] % 10 == 1]
    bought.to_parquet("interactions.parquet", index=False)
    data.items[["item_id", "title", "genres", "text"]].to_csv("items.csv", index=False)
    save_embeddings("embeddings.safetensors", vectors, data.texts, DEFAULT_MODEL, "groceries")
    own = Dataset.from_tables("interactions.parquet", "items.csv")

    block = re.search(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert block
    text = re.sub("^# ", "", block[1].rpartition("\n")[0], flags=re.MULTILINE)
    commands = [shlex.split(line) for line in text.replace("\\\n", " ").splitlines()]
    said = []
    for program, *words in commands:
        assert program == "rqvae-lib"
        if "--steps" in words:
            words[words.index("--steps") + 1] = "2"
        result = CliRunner().invoke(app, words, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        said.append(result.output)
    assert [words[1] for words in commands] == [
        "train-rqvae",
        "inference-rqvae",
        "train-recommender",
        "evaluate",
        "recommend",
    ]
    table = read_ids(Path("runs/semantic_ids.csv"), [64] * 3, own.items["item_id"].to_numpy())
    assert len(table.ids) == own.num_items
    assert re.search(r"^runs/recommender.safetensors +\d", said[3], re.MULTILINE)
    produce = {own.titles[row] for row in own.items.index[own.items["genres"] == "PRODUCE"]}
    recommended = re.findall(r"%  [\d-]+ +(.+)$", said[4].split("Recommended")[1], re.MULTILINE)
    assert len(recommended) == 10
    assert set(recommended) <= produce
