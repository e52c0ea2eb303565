"""What the widget of the splits needs: some people's histories, and what training has seen by when.

For each split: the part that each rating of these people is in, and for each of their targets how
much of the training data is from after it.

Used by: chapter 01.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.splits import Split

if TYPE_CHECKING:  # matplotlib comes with the book's extra; nothing here needs it to be imported
    from matplotlib.figure import Figure

SECOND = 1_000_000  # microseconds, in which a dataset counts time
MONTH = 365.2425 * 86400 / 12  # seconds
NOT_YET = 3  # the movies that are named which nobody had rated yet


def split_data(
    dataset: Dataset, splits: Sequence[Split], people: Mapping[str, int]
) -> dict[str, Any]:
    """Return the data of the widget "splits".

    Args:
        dataset: the ratings that the splits divide.
        splits: those that the reader can choose, the first is shown first.
        people: rows of the users to show, by what the reader chooses them.
    """
    times = torch.tensor(dataset.interactions["timestamp"].to_numpy()) // SECOND  # (E,)
    titles, offsets = dataset.titles, dataset.user_offsets
    start = int(times.min())
    month = ((times - start) / MONTH).long()  # (E,)
    months = int(month.max()) + 1
    shown = []
    for label, person in people.items():
        mine = slice(int(offsets[person]), int(offsets[person + 1]))
        items = splits[0].everything.items[mine]
        shown.append(
            {
                "label": label,
                "titles": [titles[item] for item in items.tolist()],
                "times": (times[mine] - start).tolist(),
            }
        )
    return {
        "start": start,
        "month": MONTH,
        "people": shown,
        "splits": [
            {
                "name": split.name,
                "training": int(in_training(split).sum()),
                "months": torch.bincount(month[in_training(split)], minlength=months).tolist(),
                "cuts": _cuts(split, times, start),
                "people": [
                    _targets(dataset, split, times, int(offsets[person]), int(offsets[person + 1]))
                    for person in people.values()
                ],
            }
            for split in splits
        ],
    }


def still_splits(data: dict[str, Any]) -> "Figure":
    """Draw what training has by month for one target of each split: the still figure of the widget.

    The target is the last one of the person who is tested first of all.

    Args:
        data: as `split_data` returns it.
    """
    import matplotlib.pyplot as plt

    splits = data["splits"]
    figure, axes = plt.subplots(len(splits), figsize=(7, 1.5 * len(splits)), sharex=True)
    year = 12 * data["month"]
    for ax, split in zip(axes, splits, strict=True):
        moment = min(
            (shown["times"][tested["targets"][-1]["place"]], row)
            for row, (shown, tested) in enumerate(zip(data["people"], split["people"], strict=True))
            if tested["targets"]
        )[0]
        edges = [
            1970 + (data["start"] + n * data["month"]) / year
            for n in range(len(split["months"]) + 1)
        ]
        now = 1970 + (data["start"] + moment) / year
        before = [edge < now for edge in edges[:-1]]
        for part, color, hatch in ((True, "C0", ""), (False, "C1", "////")):
            heights = [n if b == part else 0 for n, b in zip(split["months"], before, strict=True)]
            ax.stairs(heights, edges, fill=not hatch, color=color, hatch=hatch, rasterized=True)
        ax.axvline(now, c="k")
        ax.set_title(f"{split['name']}: a target, and training before and after it", fontsize=9)
        ax.set(yscale="symlog", yticks=[])
        ax.minorticks_off()
    figure.tight_layout()
    return figure


def in_training(split: Split) -> Tensor:
    """Return which positions of the flat array training has, (E,) bool."""
    everything, kept = split.everything.offsets, split.train.offsets
    users = torch.repeat_interleave(torch.arange(len(split.everything)), everything.diff())
    place = torch.arange(len(split.everything.items)) - everything[users]
    return place < kept.diff()[users]  # training has the beginning of each history


def _cuts(split: Split, times: Tensor, start: int) -> list[int]:
    """Return where the split cuts time for everybody: two moments, or none."""
    validation_from, test_from = int(times[split.validation].min()), int(times[split.test].min())
    if int(times[in_training(split)].max()) >= validation_from:
        return []
    return [validation_from - start, test_from - start]


def _targets(dataset: Dataset, split: Split, times: Tensor, first: int, end: int) -> dict[str, Any]:
    """Return the parts of one person's ratings, and what training knows of each target."""
    known = in_training(split)
    parts = ["t" if known[place] else "-" for place in range(first, end)]
    found = []
    for part, positions in (("v", split.validation), ("x", split.test)):
        for position in positions[(positions >= first) & (positions < end)].tolist():
            parts[position - first] = part
            found.append(position)
    items = split.everything.items
    learned_times = times[known].sort().values
    earliest = _first_rated(items, times, dataset.num_items)
    popular = split.popularity.argsort(descending=True, stable=True)
    targets = []
    for position in found:
        moment = times[position]
        of_movie = times[known & (items == items[position])]
        too_early = popular[earliest[popular] > moment][:NOT_YET]
        targets.append(
            {
                "place": position - first,
                "later": len(learned_times)
                - int(torch.searchsorted(learned_times, moment, right=True)),
                "movie": [int((of_movie <= moment).sum()), int((of_movie > moment).sum())],
                "not_yet": [
                    [dataset.titles[item], int(split.popularity[item])]
                    for item in too_early.tolist()
                    if split.popularity[item]
                ],
            }
        )
    return {"parts": "".join(parts), "targets": targets}


def _first_rated(items: Tensor, times: Tensor, num_items: int) -> Tensor:
    """Return when each item was first rated by anybody, (N,) int64."""
    never = torch.iinfo(torch.int64).max
    return torch.full((num_items,), never).scatter_reduce(0, items, times, "amin")
