"""The command that compares models, and the trainings whose files it compares."""

import copy
import csv
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from rqvae_lib.checkpoints.models import (
    load_model,
    load_recommender,
    load_sasrec,
    save_recommender,
    save_sasrec,
    shipped_models,
)
from rqvae_lib.data.splits import split_by_name
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.evaluation.evaluator import Evaluation, Mean, difference, evaluate
from rqvae_lib.models.configs import CONFIGS, SASRecConfig, TransformerConfig
from rqvae_lib.models.popularity import Popularity
from rqvae_lib.models.registry import new_recommender
from rqvae_lib.models.rq_transformer import RQTransformer
from rqvae_lib.models.sasrec import SASRec
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from tests.cli.running import DATASET, fails, opened, run, succeeds

command, validation = (
    import_module(f"rqvae_lib.{name}") for name in ("cli.evaluate", "evaluation.validation")
)
BASELINES = command.BASELINES
pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def by_time(shop: Path) -> tuple[object, ...]:
    """A split of few targets: of the embedded data, 20,000 are held out by time."""
    return ("--dataset", shop, "--split", "timestamp")


@pytest.fixture(scope="module")
def trained(
    quick: None, by_time: tuple[object, ...], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder where an RQ-Transformer and a SASRec were trained for a moment, on two splits."""
    folder = tmp_path_factory.mktemp("trained")
    brief = ("--steps", 4, "--batch-size", 4, "--max-items", 10)
    rq = ("train-recommender", "--architecture", "rq-transformer", "--tokenizer", "pretrained")
    succeeds(*rq, *brief, folder=folder)
    said = succeeds("train-sasrec", *brief, *by_time, folder=folder)
    assert "Validation Recall@10: " in said
    assert said.endswith("Wrote runs/sasrec.safetensors.\n")
    return folder / "runs"


def test_what_was_trained_is_loaded_with_its_options(trained: Path) -> None:
    model, card = load_recommender(trained / "recommender.safetensors")
    assert isinstance(model, RQTransformer)
    assert model.config.max_items == 10
    assert model.prefix_embedding is not None
    assert card["split"] == "leave-one-out"
    sasrec, card = load_sasrec(trained / "sasrec.safetensors")
    assert sasrec.config.num_items == 90
    assert card["split"] == "timestamp"
    assert isinstance(load_model(trained / "sasrec.safetensors")[0], SASRec)


def test_training_again_with_one_seed_writes_the_same_file(
    trained: Path, by_time: tuple[object, ...], tmp_path: Path
) -> None:
    brief = ("--steps", 4, "--batch-size", 4, "--max-items", 10)
    succeeds("train-sasrec", *brief, *by_time, folder=tmp_path)
    again = tmp_path / "runs" / "sasrec.safetensors"
    assert again.read_bytes() == (trained / "sasrec.safetensors").read_bytes()
    succeeds("train-sasrec", *brief, *by_time, "--resume", folder=tmp_path)
    assert again.exists()


@pytest.mark.parametrize("command", ["train-recommender --tokenizer pretrained", "train-sasrec"])
def test_a_model_in_half_the_bytes_is_measured_as_it_is_written(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: dict[str, Tensor] = {}

    def remember(model: nn.Module, *_: object) -> dict[str, Mean]:
        measured.update(copy.deepcopy(model.state_dict()))
        return {}

    monkeypatch.setattr(validation, "validate", remember)
    brief = ("--steps", 4, "--batch-size", 4, "--max-items", 10, "--half")
    succeeds(*command.split(), *brief, folder=tmp_path)
    [file] = [f for f in (tmp_path / "runs").glob("*.safetensors") if "state" not in f.name]
    with safe_open(file, framework="pt") as tensors:
        assert tensors.get_tensor("start").dtype == torch.float16
    written = load_model(file)[0].state_dict()
    assert written.keys() == measured.keys()
    for name, tensor in written.items():
        assert torch.equal(tensor, measured[name]), name


def test_the_table_holds_what_the_library_measures(trained: Path, tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    decoder = trained / "recommender.safetensors"
    said = succeeds("evaluate", "popularity", decoder, "--output", file, folder=tmp_path)
    with file.open(encoding="utf-8", newline="") as written:
        rows = {(row["model"], row["metric"], row["k"]): row for row in csv.DictReader(written)}
    dataset = opened()
    split = split_by_name(dataset, "leave-one-out")
    expected = evaluate(load_model(decoder)[0], split, split.test)
    for metric in ("Recall", "NDCG", "MRR"):
        for k in (1, 5, 10, 20, 50):
            mean, (low, high) = expected.mean(metric, k)
            row = rows[str(decoder), metric, str(k)]
            numbers = [float(row[name]) for name in ("mean", "low", "high")]
            assert numbers == pytest.approx([mean, low, high])
    assert float(rows[str(decoder), "coverage", "10"]["mean"]) == expected.coverage(10)
    assert "671 test targets of 671 people, leave-one-out" in said
    recall = float(rows["popularity", "Recall", "10"]["mean"])
    [line] = [line for line in said.splitlines() if line.startswith("popularity")][:1]
    assert f"{recall:.3f}" in line.split()


def test_validation_targets_are_others_than_test_targets(tmp_path: Path) -> None:
    said = {
        part: succeeds("evaluate", "popularity", "--part", part, folder=tmp_path)
        for part in ("validation", "test")
    }
    assert "671 validation targets" in said["validation"]
    assert "difference to" not in said["test"]  # there is only one
    assert said["validation"].splitlines()[2:] != said["test"].splitlines()[2:]


def test_a_model_is_not_evaluated_on_a_split_that_it_was_not_trained_on(
    trained: Path, by_time: tuple[object, ...], tmp_path: Path
) -> None:
    _, shop, *_ = by_time
    said = fails("evaluate", trained / "sasrec.safetensors", "--dataset", shop, folder=tmp_path)
    assert "was trained on the split 'timestamp', so it may have seen the targets" in said
    asked = ("popularity", trained / "sasrec.safetensors", *by_time)
    said = succeeds("evaluate", *asked, folder=tmp_path)
    assert "timestamp" in said


def test_every_shipped_model_is_a_row_by_default() -> None:
    names = shipped_models(DATASET)
    assert f"{DATASET}-recommender" in names
    assert all(load_model(name)[1]["dataset"] == DATASET for name in names)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("evaluate", "no-such-model"), "neither a file nor a shipped checkpoint"),
        (("evaluate", "popularity", "--output", "file.safetensors"), "name a .csv file"),
        (("evaluate", "movielens-small-2016-rqvae"), "is a checkpoint of 'rqvae'"),
        (
            ("train-recommender", "--architecture", "rq-transformer", "--valid-only"),
            "the rq-transformer always chooses among the codes that lead to an item",
        ),
        (
            ("train-recommender", "--architecture", "decoder-only", "--no-prefix-embeddings"),
            "the decoder-only has no vectors of prefixes, so --no-prefix-embeddings",
        ),
    ],
)
def test_a_mistake_gets_one_sentence(
    options: tuple[str, ...], expected: str, tmp_path: Path
) -> None:
    assert expected in fails(*options, folder=tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_the_shipped_models_are_those_of_the_split() -> None:
    """Of another split they may have seen the targets, and are not rows of its table."""
    assert list(command._shipped_of(opened(), "leave-one-out")) == shipped_models(DATASET)
    assert command._shipped_of(opened(), "timestamp") == {}


@pytest.fixture
def ten_models(shop: Path, tmp_path: Path) -> list[str]:
    """The baselines and eight files, of all architectures, with names short and long."""
    dataset = load_dataset(shop)
    split = split_by_name(dataset, "leave-one-out")
    ids = SemanticIDs(torch.arange(90)[:, None] // torch.tensor([9, 3]), 30)
    small = TransformerConfig(dim=8, num_layers=1, num_heads=2, mlp_dim=8)
    names = []
    for architecture, config in CONFIGS.items():
        for name in (f"{architecture}.safetensors", f"{architecture}-with-a-long-name.safetensors"):
            model = new_recommender(config(small), ids).eval()
            save_recommender(tmp_path / name, model, dataset, split)
            names.append(name)
    for name in ("s.safetensors", "sasrec.safetensors"):
        model = SASRec(SASRecConfig(small, num_items=90)).eval()
        save_sasrec(tmp_path / name, model, dataset, split)
        names.append(name)
    return ["popularity", "item-knn", "near-pairs", *names]


def test_of_ten_models_each_row_says_how_it_was_ranked(
    ten_models: list[str], shop: Path, tmp_path: Path
) -> None:
    """What scores every item is exact; what writes IDs is searched, with the beams asked for."""
    asked = (*ten_models, "--dataset", shop, "--beams", 60, "--output", "table.csv")
    said = succeeds("evaluate", *asked, folder=tmp_path)
    searched = {name for name in ten_models if name.startswith(("decoder-only", "encoder"))}
    assert len(searched) == 4
    expected = {name: "60 beams" if name in searched else "exact" for name in ten_models}
    *metrics, lists, to_best, to_counts = said.split("\n\n")[1:]
    sizes = (*((table, 11) for table in metrics), (lists, 11), (to_best, 10), (to_counts, 10))
    for table, rows in sizes:
        head, *lines = table.splitlines()[: rows + 1]
        assert len({len(line) for line in (head, *lines)}) == 1  # in columns
        assert {line.split()[0] for line in lines} <= set(ten_models)
    assert lists.split()[2] == "ranking"
    assert "item-knn" in {line.split()[0] for line in to_best.splitlines()}
    assert to_counts.startswith(("difference to item-knn", "difference to near-pairs"))
    for name, line in zip(ten_models, lists.splitlines()[1:12], strict=True):
        assert line.removeprefix(name).strip().startswith(f"{expected[name]}  ")
    assert "ranking: exact where every item was scored, else how many beams searched." in lists
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as written:
        rows_of = list(csv.DictReader(written))
    assert {row["model"] for row in rows_of} == set(ten_models)
    assert all(row["ranking"] == expected[row["model"]] for row in rows_of)


def rows_in(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as written:
        return list(csv.DictReader(written))


@pytest.mark.parametrize("error", [ValueError("it cannot be"), KeyboardInterrupt()])
def test_what_is_done_stays_when_a_later_model_fails(
    error: BaseException, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("evaluate", "popularity", "item-knn", "--dataset", shop, "--output")
    whole = run(*asked, "whole.csv", folder=tmp_path)
    written = []

    def second_fails(*arguments: Any, progress: bool = False, **options: Any) -> Evaluation:
        if not progress:  # that is the tuning of item-kNN
            return evaluate(*arguments, **options)
        if (tmp_path / "part.csv").is_file():
            written.extend(rows_in(tmp_path / "part.csv"))
            raise error
        return evaluate(*arguments, **options)

    monkeypatch.setattr("rqvae_lib.evaluation.evaluator.evaluate", second_fails)
    done = run(*asked, "part.csv", folder=tmp_path)
    assert done.returncode
    kept = [row for row in rows_in(tmp_path / "whole.csv") if row["model"] == "popularity"]
    assert kept == written == rows_in(tmp_path / "part.csv")
    [line] = [line for line in whole.stderr.splitlines() if line.startswith("popularity: Recall@")]
    assert line in done.stderr
    table = whole.stdout.split("\n\n")[1].splitlines()
    assert done.stdout.split("\n\n")[1].splitlines() == table[:2]  # without item-knn
    assert "difference to" not in done.stdout


def test_the_baselines_stand_beside_a_model_unless_they_are_left_out(
    trained: Path, by_time: tuple[object, ...], tmp_path: Path
) -> None:
    model = trained / "sasrec.safetensors"
    options = (*by_time, "--output", "table.csv")
    for asked, expected in (
        ((model,), [*BASELINES, str(model)]),
        ((model, "item-knn"), ["popularity", "near-pairs", str(model), "item-knn"]),
        ((model, "--no-baselines"), [str(model)]),
        (("popularity",), ["popularity"]),
    ):
        said = succeeds("evaluate", *asked, *options, folder=tmp_path)
        rows = rows_in(tmp_path / "table.csv")
        assert list(dict.fromkeys(row["model"] for row in rows)) == expected
        compared = [name for name in BASELINES[1:] if f"difference to {name}" in said]
        assert bool(compared) == ("item-knn" in expected)


def test_differences_to_the_stronger_counts_are_those_of_the_library(
    trained: Path, by_time: tuple[object, ...], tmp_path: Path
) -> None:
    _, shop, _, name = by_time
    said = succeeds("evaluate", trained / "sasrec.safetensors", *by_time, folder=tmp_path)
    split = split_by_name(load_dataset(shop), name)
    counted = {
        "item-knn": evaluate(validation.tuned_item_knn(split), split, split.test),
        "near-pairs": evaluate(validation.tuned_near_pairs(split), split, split.test),
    }
    stronger = max(counted, key=lambda name: counted[name].mean("NDCG", 10).mean)
    for model, row in (
        (Popularity(split.popularity), "popularity"),
        (load_model(trained / "sasrec.safetensors")[0], str(trained / "sasrec.safetensors")),
    ):
        found = [
            difference(evaluate(model, split, split.test), counted[stronger], metric, 10)
            for metric in ("Recall", "NDCG")
        ]
        numbers = [f"{d.mean:.3f} [{d.interval.low:.3f}, {d.interval.high:.3f}]" for d in found]
        table = said.split(f"difference to {stronger}")[1]
        [line] = [line for line in table.splitlines() if line.startswith(row)]
        assert line.removeprefix(row).split() == " ".join(numbers).split()


@pytest.mark.parametrize("counted", BASELINES)
@pytest.mark.parametrize(
    "more", [(), ("--no-baselines",), ("--part", "validation"), ("--allow-repeats",)]
)
def test_mixtures_are_those_of_the_library(
    counted: str,
    more: tuple[str, ...],
    trained: Path,
    by_time: tuple[object, ...],
    tmp_path: Path,
) -> None:
    file = trained / "sasrec.safetensors"
    _, shop, _, name = by_time
    asked = (file, *by_time, *more, "--mix", counted, "--output", "table.csv")
    said = succeeds("evaluate", *asked, folder=tmp_path)
    rows = rows_in(tmp_path / "table.csv")
    baselines = [] if "--no-baselines" in more else BASELINES
    mixed = f"{file} + {counted}"
    assert list(dict.fromkeys(row["model"] for row in rows)) == [*baselines, str(file), mixed]
    split = split_by_name(load_dataset(shop), name)
    made = {
        "popularity": lambda: Popularity(split.popularity),
        "item-knn": lambda: validation.tuned_item_knn(split),
        "near-pairs": lambda: validation.tuned_near_pairs(split),
    }[counted]()
    repeats = "--allow-repeats" in more
    mixture = validation.tuned_mixture(load_model(file)[0], made, split, allow_repeats=repeats)
    positions = split.validation if "validation" in more else split.test
    expected = evaluate(mixture, split, positions, allow_repeats=repeats)
    for metric in ("Recall", "NDCG"):
        [row] = [r for r in rows if (r["model"], r["metric"], r["k"]) == (mixed, metric, "10")]
        assert float(row["mean"]) == pytest.approx(expected.mean(metric, 10).mean)
        assert row["ranking"] == "exact"
    assert f"{mixed} gives {counted} a share of {mixture.share:g}: the best NDCG@10" in said
    assert ("a little too high" in said) == ("validation" in more)


def test_there_must_be_a_model_to_mix(shop: Path, tmp_path: Path) -> None:
    asked = ("evaluate", "popularity", "item-knn", "--dataset", shop, "--mix", "near-pairs")
    said = fails(*asked, folder=tmp_path)
    assert "there is no model to mix them with" in said


def test_baselines_are_not_both_named_and_left_out(shop: Path, tmp_path: Path) -> None:
    asked = ("--dataset", shop, "--no-baselines")
    said = fails("evaluate", "popularity", *asked, folder=tmp_path)
    assert "popularity is named, but --no-baselines leaves it out" in said
    said = fails("evaluate", *asked, folder=tmp_path)
    assert "no shipped model was trained on shop and the split" in said
    assert "--no-baselines leaves nothing to evaluate" in said


# Tables of one's own


def write_table(folder: Path, histories: dict[str, list[str]]) -> Path:
    rows = [
        (user, item, time)
        for user, history in histories.items()
        for time, item in enumerate(history)
    ]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    frame.to_csv(folder / "interactions.csv", index=False)
    return folder / "interactions.csv"


@pytest.mark.parametrize("name", ["/home/me/interactions.csv", "*", "movielens-small", "MOVIELENS"])
def test_only_an_embedded_data_set_has_shipped_models(name: str) -> None:
    assert shipped_models(name) == []


def test_own_tables_are_evaluated_without_naming_models(tmp_path: Path) -> None:
    items = [f"item{number}" for number in range(9)]
    table = write_table(tmp_path, {f"user{n}": items[n : n + 4] for n in range(5)})
    said = succeeds("evaluate", "--interactions", table, folder=tmp_path)  # an absolute path
    rows = said.split("Recall")[1].split("\n\n")[0].splitlines()[1:]
    assert [row.split()[0] for row in rows] == list(BASELINES)
    said = fails("evaluate", "--interactions", table, "--mix", "item-knn", folder=tmp_path)
    assert "there is no model to mix item-knn with: name one, or leave --mix out" in said


@pytest.mark.parametrize("command", ["evaluate", "train-sasrec"])
@pytest.mark.parametrize(("split", "needed"), [("leave-one-out", 3), ("last-ten", 21)])
def test_where_nothing_is_held_out_the_sentence_says_what_is_needed(
    command: str, split: str, needed: int, tmp_path: Path
) -> None:
    items = [f"item{number}" for number in range(needed)]
    few = write_table(tmp_path, {"one": items[:1], "two": items[:-1]})
    said = fails(command, "--interactions", few, "--split", split, folder=tmp_path)
    assert f"nothing is held out of {few}: no user has the {needed} interactions" in said
    assert f"--split {split} needs" in said
    (tmp_path / "more").mkdir()
    enough = write_table(tmp_path / "more", {"one": items[:1], "two": items})
    brief = ("--steps", 1) if command == "train-sasrec" else ("popularity",)
    succeeds(command, *brief, "--interactions", enough, "--split", split, folder=tmp_path)


def last_recall(said: str) -> float:
    """Popularity's Recall at the largest cut-off."""
    line = next(line for line in said.splitlines() if line.startswith("popularity"))
    return float(line.split()[-1])


def test_targets_that_their_user_had_before_are_counted(tmp_path: Path) -> None:
    weekly = {f"user{n}": ["milk", "bread", f"treat{n}", "milk", "bread"] for n in range(3)}
    table = write_table(tmp_path, weekly | {"one-off": ["milk", "jam", "tea", "rye"]})
    done = run("evaluate", "popularity", "--interactions", table, folder=tmp_path)
    assert "3 of 4 targets are in their user's own history" in done.stderr
    assert "count as misses. Pass --allow-repeats" in done.stderr
    assert "that a person has not had" in done.stdout
    recall = last_recall(done.stdout)
    again = ("--interactions", table, "--allow-repeats")
    done = run("evaluate", "popularity", *again, folder=tmp_path)
    assert "can be hit, since what a user had is recommended too" in done.stderr
    assert "that a person has not had" not in done.stdout
    assert last_recall(done.stdout) > recall
    # What keeps the first of each leaves them out, too.
    done = run("evaluate", "popularity", *again[:2], "--repeats", "first", folder=tmp_path)
    assert "own history" not in done.stderr
    assert "repeats: first" in done.stderr
    (tmp_path / "first").mkdir()
    first = {user: list(dict.fromkeys(history)) for user, history in weekly.items()}
    table = write_table(tmp_path / "first", first)
    done = run("evaluate", "popularity", "--interactions", table, folder=tmp_path)
    assert "own history" not in done.stderr


def test_the_repeated_targets_are_those_of_the_part(tmp_path: Path) -> None:
    table = write_table(tmp_path, {"ann": ["a", "b", "c", "a", "d"], "bob": ["a", "b", "c", "d"]})
    asked = ("evaluate", "popularity", "--interactions", table, "--part")
    assert "1 of 2 targets are in" in run(*asked, "validation", folder=tmp_path).stderr
    assert "own history" not in run(*asked, "test", folder=tmp_path).stderr
