"""What several chapters draw: items on a flat map, coloured by what they are.

The colours are chosen so that people who see red and green alike can tell them apart (Okabe and
Ito, "Color universal design", 2008; for things in order, matplotlib's viridis), with a second set
for dark backgrounds. No figure leaves it to colour alone: `scatter` writes each group's name where
the group lies.

Used by: chapters that draw maps, and `item_map.py`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

if TYPE_CHECKING:  # matplotlib comes with the book's extra; nothing here needs it to be imported
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

GRAY, DARK_GRAY = "#9aa0a6", "#6b7280"
OKABE_ITO = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")
IN_ORDER = (
    "#440154",
    "#414487",
    "#2a788e",
    "#22a884",
    "#7ad151",
    "#e0c516",
)  # viridis, not so pale
IN_ORDER_DARK = ("#7e5aa8", "#6a7fd0", "#35a0b4", "#35c498", "#93dd6b", "#fde725")
DECADES = ("before 1960", "1960s, 70s", "1980s", "1990s", "2000s", "2010s")
DECADE_STARTS = (1960, 1980, 1990, 2000, 2010)


class Groups(NamedTuple):
    """A way to sort items into a few groups, with a colour for each."""

    name: str  # what they are sorted by
    labels: tuple[str, ...]  # G of them
    group: np.ndarray  # (N,) int64, the group of each item, from 0 to G - 1
    light: tuple[str, ...]  # G colours for a light background
    dark: tuple[str, ...]  # G colours for a dark one


def decades(year: pd.Series) -> Groups:
    """Sort items by when they were made; what has no year comes last, in grey.

    Args:
        year: the column of `Dataset.items`, N years or missing values.
    """
    known = year.notna().to_numpy()
    group = np.full(len(year), len(DECADES))
    group[known] = np.searchsorted(DECADE_STARTS, year[known].to_numpy(dtype=np.int64), "right")
    return Groups(
        "decade",
        (*DECADES, "no year"),
        group,
        (*IN_ORDER, GRAY),
        (*IN_ORDER_DARK, DARK_GRAY),
    )


def main_genres(genres: pd.Series) -> Groups:
    """Sort items by their first-listed genre: the six commonest, and in grey all others.

    MovieLens lists genres in alphabetical order, so the first is not the most important one.

    Args:
        genres: the column of `Dataset.items`: N strings such as "Adventure|Children".
    """
    first = genres.str.split("|").str[0]
    common = first[first != ""].value_counts(sort=True).index[: len(OKABE_ITO)].tolist()
    place = {genre: index for index, genre in enumerate(common)}
    group = first.map(lambda genre: place.get(genre, len(common))).to_numpy(
        dtype=np.int64, copy=True
    )
    colours = OKABE_ITO[: len(common)]
    return Groups(
        "first-listed genre",
        (*common, "others"),
        group,
        (*colours, GRAY),
        (*colours, DARK_GRAY),
    )


def scatter(
    ax: "Axes",
    points: np.ndarray,
    groups: Groups,
    *,
    names: Sequence[str] = (),
    size: float | np.ndarray = 2.0,
) -> None:
    """Draw items on a map, each in its group's colour, and write names where groups lie.

    A map's axes have no unit and no meaning, so they get no numbers, and both the same scale.

    Args:
        ax: where to draw.
        points: shape (N, 2).
        groups: of the N items.
        names: the labels of the groups to write on the map, where their points are densest. One
            that would hide an earlier one stands below it.
        size: of every point, or of each, (N,), as matplotlib counts.

    Raises:
        ValueError: if points and groups do not fit, or a name is no group's.
    """
    if points.shape != (len(groups.group), 2):
        raise ValueError(
            f"points have shape {points.shape}, but there are {len(groups.group)} items in the "
            "groups: pass one point (x, y) for each"
        )
    unknown = set(names) - set(groups.labels)
    if unknown:
        raise ValueError(
            f"{sorted(unknown)[0]!r} is no group; there are: {', '.join(groups.labels)}"
        )
    # In the order of the catalogue, not group by group: the last group would hide the others.
    colours = np.array(groups.light)[groups.group]
    ax.scatter(points[:, 0], points[:, 1], c=colours, s=size, linewidths=0)
    written: list[np.ndarray] = []
    room = np.ptp(points, 0).max() * np.array([0.03 * max(map(len, names), default=0), 0.05])
    for name in names:
        index = groups.labels.index(name)
        place = densest(points[groups.group == index])
        while any((np.abs(place - other) < room).all() for other in written):
            place = place - [0, room[1]]
        written.append(place)
        ax.text(
            place[0],
            place[1],
            name,
            ha="center",
            va="center",
            fontsize=8,
            bbox={"facecolor": "white", "edgecolor": groups.light[index], "pad": 1.5},
        )
    ax.set(xticks=[], yticks=[], aspect="equal")


def densest(points: np.ndarray, cells: int = 8) -> np.ndarray:
    """Return where points (n, 2) are densest, (2,): their mean in the fullest cell of a grid.

    Unlike the mean of all, this is a place where some of them are.
    """
    count, x, y = np.histogram2d(points[:, 0], points[:, 1], bins=cells)
    column, row = np.unravel_index(count.argmax(), count.shape)
    inside = (
        (points[:, 0] >= x[column])
        & (points[:, 0] <= x[column + 1])
        & (points[:, 1] >= y[row])
        & (points[:, 1] <= y[row + 1])
    )
    place: np.ndarray = points[inside].mean(0)
    return place


def handles(groups: Groups) -> "list[Line2D]":
    """Return what a legend shows: a dot in each group's colour, with its label."""
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], ls="", marker="o", ms=4, color=colour, label=label)
        for label, colour in zip(groups.labels, groups.light, strict=True)
    ]


def legend(figure: "Figure", groups: Groups) -> None:
    """Write the groups' legend below all panels of a figure, once."""
    figure.legend(handles=handles(groups), loc="outside lower center", ncols=4, fontsize=8)
