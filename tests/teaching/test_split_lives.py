"""What the widget of the splits is told is what the splits say, counted again with pandas."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.splits import Split, split_by_name
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.teaching.split_lives import MONTH, NOT_YET, in_training, split_data, still_splits

NAMES = ("leave-one-out", "last-ten", "timestamp")
PEOPLE = {"light": 63, "heavy": 212, "both": 256, "all years": 14}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset("movielens-small-2016")


@pytest.fixture(scope="module")
def splits(dataset: Dataset) -> list[Split]:
    return [split_by_name(dataset, name) for name in NAMES]


@pytest.fixture(scope="module")
def data(dataset: Dataset, splits: list[Split]) -> dict[str, Any]:
    return split_data(dataset, splits, PEOPLE)


def ratings(dataset: Dataset, split: Split) -> pd.DataFrame:
    """All ratings with the part that each is in, made from the split's positions alone."""
    table = dataset.interactions.reset_index(drop=True)
    part = np.full(len(table), "t")
    part[split.validation.numpy()], part[split.test.numpy()] = "v", "x"
    rows = pd.factorize(table["user_id"])[0]
    return table.assign(part=part, person=rows, second=table["timestamp"] // 1_000_000)


@pytest.mark.parametrize("number", range(3))
def test_parts_and_months_are_those_of_the_split(
    dataset: Dataset, splits: list[Split], data: dict[str, Any], number: int
) -> None:
    table, told = ratings(dataset, splits[number]), data["splits"][number]
    assert told["name"] == NAMES[number]
    learned = table[table["part"] == "t"]
    assert told["training"] == len(learned) == len(splits[number].train.items)
    np.testing.assert_array_equal(in_training(splits[number]).numpy(), table["part"] == "t")
    month = ((learned["second"] - table["second"].min()) / MONTH).astype(int)
    assert told["months"][:1] == [int((month == 0).sum())]
    assert (
        told["months"]
        == month.value_counts().reindex(range(len(told["months"])), fill_value=0).tolist()
    )
    for person, theirs, shown in zip(PEOPLE.values(), told["people"], data["people"], strict=True):
        mine = table[table["person"] == person]
        assert theirs["parts"] == "".join(mine["part"])
        assert shown["titles"] == [dataset.titles[item] for item in mine["item"]]
        assert shown["times"] == (mine["second"] - data["start"]).tolist()


@pytest.mark.parametrize("number", range(3))
def test_what_training_has_from_later(
    dataset: Dataset, splits: list[Split], data: dict[str, Any], number: int
) -> None:
    table, told = ratings(dataset, splits[number]), data["splits"][number]
    learned = table[table["part"] == "t"]
    first_rated = table.groupby("item")["second"].min()
    learned_of = learned["item"].value_counts()
    for person, theirs in zip(PEOPLE.values(), told["people"], strict=True):
        mine = table[table["person"] == person].reset_index(drop=True)
        places = [target["place"] for target in theirs["targets"]]
        assert places == mine.index[mine["part"] != "t"].tolist()
        for target in theirs["targets"][:: max(1, len(places) // 8)]:
            item, moment = mine.loc[target["place"], ["item", "second"]]
            later = learned[learned["second"] > moment]
            assert target["later"] == len(later)
            assert person not in set(later["person"])
            of_movie = learned[learned["item"] == item]["second"]
            assert target["movie"] == [(of_movie <= moment).sum(), (of_movie > moment).sum()]
            unborn = learned_of[first_rated.reindex(learned_of.index) > moment]
            best = unborn.sort_values(ascending=False).tolist()[:NOT_YET]
            assert [count for _, count in target["not_yet"]] == best
            for title, count in target["not_yet"]:
                rows = [row for row in unborn.index if dataset.titles[row] == title]
                assert count in unborn[rows].tolist()


def test_only_one_moment_for_everybody_leaks_nothing(data: dict[str, Any]) -> None:
    later = [
        [target["later"] for person in told["people"] for target in person["targets"]]
        for told in data["splits"]
    ]
    assert min(later[0]) > 0
    assert min(later[1]) > 0
    assert max(later[2]) == 0
    assert [len(told["cuts"]) for told in data["splits"]] == [0, 0, 2]
    validation_from, test_from = data["splits"][2]["cuts"]
    for shown, theirs in zip(data["people"], data["splits"][2]["people"], strict=True):
        for time, part in zip(shown["times"], theirs["parts"], strict=True):
            assert part == ("t" if time < validation_from else "v" if time < test_from else "x")


def test_still_figure(data: dict[str, Any]) -> None:
    figure = still_splits(data)
    axes = figure.axes
    assert [ax.get_title().split(":")[0] for ax in axes] == list(NAMES)
    # The line is the moment of the target.
    moments = [ax.lines[0].get_xdata()[0] for ax in axes]
    assert moments[0] == pytest.approx(1996.7, abs=0.1)
    assert moments[2] > 2012
    plt.close(figure)
