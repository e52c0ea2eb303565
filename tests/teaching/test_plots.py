"""Groups hold the right items, and what is drawn is what was asked for."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb

from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.teaching import plots

YEARS = pd.Series([1959, 1960, 1979, 1980, 1989, 1999, 2000, 2010, None], dtype="Int32")


def test_decades() -> None:
    groups = plots.decades(YEARS)
    labels = [groups.labels[group] for group in groups.group]
    assert labels == [
        "before 1960", "1960s, 70s", "1960s, 70s", "1980s", "1980s", "1990s", "2000s", "2010s",
        "no year",
    ]  # fmt: skip


def test_main_genres_are_the_commonest_first_ones() -> None:
    genres = ["B|A", "B", "C|B", "", *"DDEEFFGGHHII", "", ""]
    groups = plots.main_genres(pd.Series(genres))
    assert groups.labels[-1] == "others"
    assert set(groups.labels[:-1]) <= {"B", "D", "E", "F", "G", "H", "I"}
    labels = [groups.labels[group] for group in groups.group]
    assert labels[:2] == ["B", "B"]
    assert labels[2:4] == ["others", "others"]


def test_groups_of_the_real_catalogue_are_whole() -> None:
    items = load_dataset().items
    for groups in (plots.decades(items["year"]), plots.main_genres(items["genres"])):
        assert len(groups.labels) == len(groups.light) == len(groups.dark) == 7
        assert set(groups.group) == set(range(7))
    first = items["genres"].str.split("|").str[0]
    counts = np.bincount(plots.main_genres(items["genres"]).group)
    assert counts[:6].tolist() == first.value_counts().head(6).tolist()


def contrast(colour: str, ground: str) -> float:
    """WCAG 2.1, "contrast ratio"."""

    def luminance(name: str) -> float:
        channels = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(name)
        ]
        return float(np.dot([0.2126, 0.7152, 0.0722], channels))

    low, high = sorted((luminance(colour), luminance(ground)))
    return (high + 0.05) / (low + 0.05)


def test_colours_stand_out_from_their_ground_and_differ() -> None:
    items = load_dataset().items
    for groups in (plots.decades(items["year"]), plots.main_genres(items["genres"])):
        assert min(contrast(colour, "#ffffff") for colour in groups.light) > 1.6
        assert min(contrast(colour, "#14181e") for colour in groups.dark) > 3
        assert len(set(groups.light)) == len(set(groups.dark)) == len(groups.labels)


def test_scatter_draws_each_item_in_its_colour_and_names_groups_where_they_are() -> None:
    groups = plots.decades(YEARS)
    points = np.arange(18.0).reshape(9, 2)
    fig, ax = plt.subplots()
    plots.scatter(ax, points, groups, names=["1980s"])
    (drawn,) = ax.collections
    assert np.array_equal(drawn.get_offsets(), points)
    expected = [groups.light[group] for group in groups.group]
    assert [to_hex(colour) for colour in drawn.get_facecolors()] == expected
    (text,) = ax.texts
    assert text.get_text() == "1980s"
    assert text.get_position() == (6.0, 7.0)  # of (6, 7) and (8, 9), both in a cell of their own
    assert ax.get_aspect() == 1
    labels = [handle.get_label() for handle in plots.handles(groups)]
    assert labels == list(groups.labels)
    plots.legend(fig, groups)
    assert [text.get_text() for text in fig.legends[0].get_texts()] == labels
    plt.close(fig)


def test_no_name_hides_another() -> None:
    groups = plots.Groups("kind", ("a", "b", "c"), np.arange(9) % 3, ("#000",) * 3, ("#fff",) * 3)
    points = np.random.default_rng(0).normal(0, 1, (9, 2))
    points[:6] = 0.0  # two of each kind at one place
    fig, ax = plt.subplots(figsize=(5, 5))
    plots.scatter(ax, points, groups, names=groups.labels)
    fig.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert not any(boxes[i].overlaps(boxes[j]) for i, j in [(0, 1), (0, 2), (1, 2)])
    plt.close(fig)


def test_densest_is_where_most_points_are() -> None:
    crowd = np.random.default_rng(0).normal(0, 0.1, (50, 2))
    edge = np.array([[10.0, 10.0], [-10.0, 10.0], [10.0, -10.0], [9.0, 9.0]])
    assert np.abs(plots.densest(np.concatenate([edge, crowd]))).max() < 0.3


def test_wrong_arguments() -> None:
    groups = plots.decades(YEARS)
    fig, ax = plt.subplots()
    with pytest.raises(ValueError, match="there are 9 items"):
        plots.scatter(ax, np.zeros((8, 2)), groups)
    with pytest.raises(ValueError, match="'1985' is no group"):
        plots.scatter(ax, np.zeros((9, 2)), groups, names=["1985"])
    plt.close(fig)
