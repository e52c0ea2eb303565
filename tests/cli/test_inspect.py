"""The page that `inspect` prints, against counts by hand."""

import shlex
from pathlib import Path

import pandas as pd
import pytest

from tests.cli.running import fails, run, succeeds
from tests.helpers import ROOT

GROCERIES = ROOT / "notebooks" / "groceries"
NAMED = (
    "--columns",
    "user=household_id,item=product_id,time=bought_at,title=type,genres=department",
)


def page_of(said: str) -> dict[str, str]:
    """What was counted, by its name."""
    lines = [line.strip() for line in said.splitlines() if line.startswith("    ")]
    pairs = [line.split("  ", 1) for line in lines if "  " in line]
    return {what: found.strip() for what, found in pairs}


def test_the_groceries_of_chapter_13() -> None:
    done = run("inspect", "interactions.parquet", "items.csv", *NAMED, folder=GROCERIES)
    assert done.returncode == 0, done.stderr
    page = page_of(done.stdout)
    bought = pd.read_parquet(GROCERIES / "interactions.parquet")
    lengths = bought.groupby("household_id").size()
    low, middle, high = lengths.quantile([0.25, 0.5, 0.75])
    assert page["interactions"] == f"{len(bought):,}"
    assert page["users"] == f"{len(lengths):,}"
    assert page["interactions per user"] == (
        f"{lengths.min()} to {lengths.max()}, quartiles {low:g}, {middle:g}, {high:g}"
    )
    assert page["items"] == f"{len(pd.read_csv(GROCERIES / 'items.csv')):,}"
    assert page["items that nobody met"] == "0"
    assert page["dates, UTC"] == "2017-01-01 … 2018-01-01"
    tied = bought.duplicated(["household_id", "bought_at"], keep=False).mean()
    assert page["share their user's time with another row"] == f"{tied:.1%} of interactions"
    assert "item_id rises in 99.99% of" in page["WARNING: order within ties"]
    assert "timestamp is the column 'bought_at', taken as dates in UTC" in done.stdout
    assert "in the order of item_id" in done.stdout
    assert not done.stderr  # all on one page
    assert (
        page["--split leave-one-out"] == f"{len(lengths):,} test targets of {len(lengths):,} users"
    )
    tested = int((lengths >= 21).sum())
    assert page["--split last-ten"] == f"{10 * tested:,} test targets of {tested:,} users"


def test_the_embedded_data_and_what_comes_next(tmp_path: Path) -> None:
    said = succeeds("inspect", folder=tmp_path)
    assert page_of(said)["interactions"] == "100,004"
    assert said.rstrip().splitlines()[-1].strip() == "rqvae-lib train-rqvae"


def small(folder: Path, **more: object) -> Path:
    rows = {"user_id": [1, 1, 1, 1, 2], "item_id": ["a", "b", "a", "a", "b"], "timestamp": range(5)}
    pd.DataFrame(rows | {"rating": [1, 2, 3, 4, 5]} | more).to_csv(folder / "log.csv", index=False)
    return folder / "log.csv"


def test_repeats_missing_texts_and_an_order(tmp_path: Path) -> None:
    small(tmp_path)
    items = pd.DataFrame({"item_id": ["a", "b", "c"], "title": ["A", None, None]})
    items.to_csv(tmp_path / "items.csv", index=False)
    page = page_of(succeeds("inspect", "log.csv", "items.csv", folder=tmp_path))
    assert page["a user meets an item again"] == "2 (40.0%) of interactions"
    assert page["of these, with the same time and rating"] == "0"
    assert page["items that nobody met"] == "1 (33.3%)"
    assert page["an order, not dates"] == "0 … 4"
    assert page["without a title"] == "2 (66.7%)"
    assert page["with neither of them"] == "2 (66.7%)"
    assert page["--split leave-one-out"] == (
        "1 test targets of 1 users, 1 of them in the user's own history"
    )
    assert page["--split last-ten"] == "nothing to test: no user has enough interactions"


def test_the_next_command_runs_as_it_is_printed(tmp_path: Path) -> None:
    (tmp_path / "my logs").mkdir()
    small(tmp_path / "my logs")
    file = "my logs/log.csv"
    said = succeeds("inspect", file, "--min-interactions", 2, folder=tmp_path)
    program, *words = shlex.split(said.rstrip().splitlines()[-1])
    assert program == "rqvae-lib"
    assert words == [
        *("train-rqvae", "--interactions", file, "--min-interactions", "2"),
        *("--codebook-size", "1", "--content", "collaborative"),
    ]


def test_the_next_command_works_for_few_items(tmp_path: Path) -> None:
    rows = [(user, (user + step) % 12) for user in range(20) for step in range(6)]
    pd.DataFrame(rows, columns=["user_id", "item_id"]).to_csv(tmp_path / "log.csv", index=False)
    said = succeeds("inspect", "log.csv", folder=tmp_path)
    _, *words = shlex.split(said.rstrip().splitlines()[-1])
    assert words[-4:] == ["--codebook-size", "4", "--content", "collaborative"]
    succeeds(*words, "--residual-kmeans", folder=tmp_path)


def test_a_folder_is_a_dataset(tmp_path: Path) -> None:
    small(tmp_path).rename(tmp_path / "interactions.csv")
    by_folder = succeeds("inspect", tmp_path, folder=tmp_path)
    assert page_of(by_folder)["interactions"] == "5"
    assert f"--dataset {tmp_path}" in by_folder


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (("log.csv", "log.csv", "log.csv"), "3 files were named, expected one of interactions"),
        (("nowhere.csv",), "nowhere.csv does not exist"),
    ],
)
def test_what_cannot_be_read_is_refused(files: tuple[str, ...], says: str, tmp_path: Path) -> None:
    small(tmp_path)
    assert says in fails("inspect", *files, folder=tmp_path)


def test_all_rows_at_one_time_leave_nothing_for_a_split_in_time(tmp_path: Path) -> None:
    small(tmp_path, timestamp=7)
    page = page_of(succeeds("inspect", "log.csv", folder=tmp_path))
    assert "training gets no interaction" in page["--split timestamp"]


def test_a_publishers_parquet_is_read_by_its_own_reader(tmp_path: Path) -> None:
    events = {
        "uid": [1, 1, 2],
        "timestamp": [0, 5, 5],
        "item_id": [7, 8, 7],
        "event_type": ["listen", "like", "listen"],
    }
    folder = tmp_path / "yambda"
    folder.mkdir()
    pd.DataFrame(events).to_parquet(folder / "multi_event.parquet")
    page = page_of(succeeds("inspect", folder, folder=tmp_path))
    assert page["interactions"] == "2"  # the like is no listen


def test_a_name_is_a_dataset(tmp_path: Path) -> None:
    said = succeeds("inspect", "movielens-small-2016", folder=tmp_path)
    assert page_of(said)["interactions"] == "100,004"
    assert "nowhere does not exist" in fails("inspect", "nowhere", folder=tmp_path)
