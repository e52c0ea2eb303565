"""The data options, which all commands share: what they read, leave out, say and refuse."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer

from rqvae_lib.cli.data_options import OF_TABLES, DataOptions, parse_columns
from rqvae_lib.cli.main import app
from rqvae_lib.data.filters import filtered
from rqvae_lib.datasets.registry import load_dataset
from tests.cli.running import fails, run, succeeds

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
FIRST = 1_550_793_600_123  # milliseconds: 22 February 2019


@pytest.fixture(scope="module")
def clicks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A click log of 12 visitors with milliseconds and repeats, separated by semicolons."""
    folder = tmp_path_factory.mktemp("clicks")
    chance = np.random.default_rng(0)
    rows = [
        (visitor, f"p{chance.integers(20)}", chance.integers(1, 6), FIRST + 700 * place + visitor)
        for visitor in range(12)
        for place in range(visitor + 2)
    ]
    names = ["visitor", "page", "stars", "at"]
    pd.DataFrame(rows, columns=names).to_csv(folder / "clicks.csv", sep=";", index=False)
    return folder / "clicks.csv"


NAMED = ("--columns", "user=visitor,item=page,rating=stars,time=at")


def test_all_commands_have_the_same_data_options() -> None:
    for name, command in COMMANDS.items():
        panels = {
            parameter.name: parameter.rich_help_panel
            for parameter in command.params
            if getattr(parameter, "rich_help_panel", None)
        }
        if name == "assign":  # its folder of vectors holds its items
            assert set(panels) == set()
            continue
        if name == "append":  # a bundle has its data; only the new items are a table
            assert set(panels) == {"columns", "separator", "header"}
            continue
        if name == "pack-histories":  # what leaves rows out would need them all in memory
            assert set(panels) == {"interactions", "items", "repeats", *OF_TABLES}
            continue
        assert set(panels) == set(DataOptions.__dataclass_fields__), name
        assert set(panels.values()) == {"Data"}


def test_a_click_log_is_read_unchanged_and_what_was_taken_for_what_is_said(clicks: Path) -> None:
    done = run("inspect", clicks, *NAMED, folder=clicks.parent)
    assert done.returncode == 0, done.stderr
    assert "timestamp is the column 'at', taken as milliseconds: 2019-02-22 … " in done.stdout
    again = pd.read_csv(clicks, sep=";").duplicated(["visitor", "page"]).sum()
    assert f"{again} rows repeat a user and an item, and all are kept as events" in done.stdout
    assert "users                                     12" in done.stdout


def test_filters_leave_what_they_leave_in_python(clicks: Path) -> None:
    asked = ("--min-rating", 2, "--repeats", "first", "--min-interactions", 3, "--k-core", 2)
    done = run("inspect", clicks, *NAMED, *asked, folder=clicks.parent)
    columns = {"user": "visitor", "item": "page", "rating": "stars", "time": "at"}
    found = filtered(
        load_dataset(interactions=clicks, columns=columns),
        min_rating=2,
        repeats="first",
        min_interactions=3,
        k_core=2,
    )
    names = ["as read", "ratings from 2", "repeats: first", "users from 3 rows", "2-core"]
    assert [step.name for step in found.steps] == names
    lines = [line.strip() for line in done.stdout.splitlines()]
    table = [line.split() for line in lines if line.startswith(tuple(names))]
    assert [row[-3:] for row in table] == [
        [f"{count:,}" for count in step.counts] for step in found.steps
    ]


REFUSED = [
    (("--columns", "user"), "--columns is 'user', expected pairs such as user=reviewerID"),
    (("--columns", "person=visitor"), "columns has the key 'person', expected keys among"),
    ((*NAMED, "--time-unit", "hours"), "time_unit is 'hours', expected one of s, ms, us"),
    ((*NAMED, "--time-unit", "s"), "expected seconds before the year 2200: leave --time-unit"),
    ((*NAMED, "--repeats", "refuse"), "each pair once, since repeats is 'refuse'"),
    ((*NAMED, "--min-rating", 6), "has no rating of 6 or more, the highest is 5: choose a lower"),
    ((*NAMED, "--min-interactions", 99), "has no user with 99 interactions, the most active has"),
    ((*NAMED, "--k-core", 50), "has no 50-core"),
    (("--interactions", "clicks.csv"), "either by itself or with --dataset, --interactions"),
]


@pytest.mark.parametrize(("options", "says"), REFUSED)
def test_what_cannot_be_is_refused(options: tuple[object, ...], says: str, clicks: Path) -> None:
    assert says in fails("inspect", clicks, *options, folder=clicks.parent)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--time-unit", "ms"), ("--columns", "user=u"), ("--separator", ";"), ("--no-header", None)],
)
def test_an_option_without_effect_is_refused(
    option: str, value: str | None, tmp_path: Path
) -> None:
    words = [option] if value is None else [option, value]
    said = fails("inspect", "--dataset", "movielens-small-2016", *words, folder=tmp_path)
    assert "is for tables of your own and would change nothing about movielens" in said
    assert option.replace("--no-", "--") in said


def test_a_repeat_is_named_by_its_row_if_nothing_was_dropped_before(clicks: Path) -> None:
    table = pd.read_csv(clicks, sep=";")
    row = int(table.duplicated(["visitor", "page"]).to_numpy().argmax())
    said = fails("inspect", clicks, *NAMED, "--repeats", "refuse", folder=clicks.parent)
    assert f"clicks.csv, row {row}: user {table['visitor'][row]} met item " in said


def test_a_column_may_hold_an_equals_sign() -> None:
    assert parse_columns(["user=a=b, item = c ,time="]) == {"user": "a=b", "item": "c", "time": ""}


def test_columns_may_be_named_one_by_one_but_none_twice(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user,buyer,item,sku\n1,7,5,6\n1,8,5,9\n")
    both = ("--columns", "user=buyer", "--columns", "item=sku")
    said = succeeds("inspect", "log.csv", *both, folder=tmp_path)
    assert "--columns user=buyer,item=sku" in said.splitlines()[-1]
    assert "users                                     2" in said
    with pytest.raises(ValueError, match="'user' comes twice"):
        parse_columns(["user=a,user=b"])


def test_words_are_what_was_typed() -> None:
    options = DataOptions(interactions=Path("a b.csv"), header=False, min_rating=3.5, k_core=5)
    assert options.words() == [
        *("--interactions", "a b.csv", "--no-header", "--min-rating", "3.5", "--k-core", "5"),
    ]
    assert DataOptions(dataset_name="x", header=True).words() == ["--dataset", "x", "--header"]


def test_a_model_of_other_filters_is_refused_with_those_of_its_training(
    clicks: Path, no_validation: None, tmp_path: Path
) -> None:
    asked = ("--interactions", clicks, *NAMED)
    trained = ("--min-rating", "2", "--steps", 1, "--max-items", 4)
    succeeds("train-sasrec", *asked, *trained, folder=tmp_path)
    done = run("evaluate", "popularity", *asked, "--min-rating", 2, folder=tmp_path)
    assert "taken as milliseconds" in done.stderr  # and not among the results
    assert "taken as milliseconds" not in done.stdout
    said = fails("evaluate", "runs/sasrec.safetensors", *asked, folder=tmp_path)
    assert "was trained on other data" in said
    assert "or pass the same data options as its training did: rqvae-lib train-sasrec --int" in said
    assert "--min-rating 2" in said
    same = ("--min-rating", 2)
    succeeds("evaluate", "runs/sasrec.safetensors", *asked, *same, folder=tmp_path)


def test_a_core_of_the_embedded_data_has_its_shipped_embeddings(tmp_path: Path) -> None:
    from rqvae_lib.embeddings.item_vectors import text_vectors

    whole = load_dataset()
    found = filtered(whole, k_core=20)
    part = text_vectors(found.dataset)
    assert part.equal(text_vectors(whole)[found.item_rows])
    assert len(part) < whole.num_items


def test_shipped_models_are_not_offered_for_a_part_of_their_data() -> None:
    from rqvae_lib.cli.evaluate import _shipped_of

    part = filtered(load_dataset(), min_rating=4).dataset
    assert _shipped_of(part, "leave-one-out") == {}
