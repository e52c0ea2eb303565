"""What the widget of the beam search needs: the scores of all prefixes that some search reads.

The widget searches by itself, in the page. For that it must know, for each prefix that a search
with few beams reads, how probable the model finds each code that may follow. It also shows what the
search never sees: the codes that lead nowhere, and how much of the probability they take.

Used by: chapter 09.
"""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.generation.scoring import score_items
from rqvae_lib.models.base import Recommender

if TYPE_CHECKING:  # matplotlib comes with the book's extra; nothing here needs it to be imported
    from matplotlib.figure import Figure

DIGITS = 5  # of a log-probability: a search sums four, and float32 has no more
FORBIDDEN = 3  # the most probable codes that lead nowhere, for each prefix
TITLES = 3  # the movies that are named below a prefix

Prefix = tuple[int, ...]
Beam = tuple[Prefix, float]  # with the log-probability of the prefix


class _Branches(NamedTuple):
    """The codes that may follow one prefix, those that lead only to rated items included."""

    codes: list[int]
    log_p: list[float]  # after the prefix, in nats
    items_below: list[int]
    all_rated: list[bool]  # whether the history has every item below


@torch.no_grad()
def search_data(
    model: Recommender, dataset: Dataset, history: Tensor, widest: int = 5
) -> dict[str, Any]:
    """Return the data of the widget "beam-search" for one person.

    Args:
        model: a generative recommender whose softmax is over all codes of a level.
        dataset: the items that the model recommends; their titles are shown.
        history: (T,) int64, the items that the person has rated. They are not recommended.
        widest: the largest number of beams that the reader can choose.
    """
    trie, ids = model.trie, model.ids
    scores: dict[Prefix, Tensor] = {}  # (size of the level,)
    branches: dict[Prefix, _Branches] = {}
    for beams in range(1, widest + 1):
        kept: list[Beam] = [((), 0.0)]
        while kept and len(kept[0][0]) < trie.depth:
            for prefix, _ in kept:
                if prefix not in branches:
                    scores[prefix] = log_probabilities_after(model, history, prefix)
                    branches[prefix] = _branches(model, history, prefix, scores[prefix])
            kept = _best(kept, branches, beams)
    shown = {prefix for prefix in branches if prefix}
    shown |= {(*prefix, code) for prefix in branches for code in branches[prefix].codes}
    titles = dataset.titles
    best = score_items(model, [history])[0]  # (N,)
    best[history] = -torch.inf
    first = int(best.argmax())
    first_code = ids.id_of(first)[0]
    return {
        "widest": widest,
        "sizes": list(ids.sizes),
        "history": [titles[item] for item in history.tolist()],
        "history_tokens": 1 + trie.depth * len(history),
        "prefixes": {
            _name(prefix): {
                "codes": after.codes,
                "log_p": after.log_p,
                "below": after.items_below,
                "rated": [int(rated) for rated in after.all_rated],
                "forbidden": _forbidden(after.codes, scores[prefix]),
                "lost": round(_lost(after.codes, scores[prefix]), DIGITS),
            }
            for prefix, after in branches.items()
        },
        "titles": {
            _name(prefix): [
                titles[item] for item in _most_probable(ids.with_prefix(list(prefix)), best)
            ]
            for prefix in sorted(shown)
        },
        "best": {
            "title": titles[first],
            "id": list(ids.id_of(first)),
            "log_p": round(float(best[first]), DIGITS),
            "rank_of_first_code": int((scores[()] >= scores[()][first_code]).sum()),
        },
    }


@torch.no_grad()
def log_probabilities_after(model: Recommender, history: Tensor, prefix: Prefix) -> Tensor:
    """Return the log-probability of every code of the next level, (size,) float32, in nats."""
    state = model.encode_history([history])
    parent = torch.zeros(1, 1, dtype=torch.int64)  # one person, one beam
    for code in prefix:
        state = model.extend(state, parent, torch.tensor([[code]]))
    return model.next_code_logits(state)[0, 0].log_softmax(0)


def replay(data: dict[str, Any], beams: int) -> list[Beam]:
    """Search as the page does, with nothing but the data: the found IDs, the most probable first.

    Args:
        data: as `search_data` returns it.
        beams: at most its `widest`.
    """
    branches = _read(data)
    kept: list[Beam] = [((), 0.0)]
    for _ in data["sizes"]:
        kept = _best(kept, branches, beams)
    return kept


def still_search(data: dict[str, Any], beams: int = 3) -> "Figure":
    """Draw the whole search with some beams: the still figure of the widget.

    Args:
        data: as `search_data` returns it.
        beams: at most its `widest`.
    """
    import matplotlib.pyplot as plt

    branches = _read(data)
    figure, ax = plt.subplots(figsize=(7.5, 3))
    start = (beams - 1) / 2
    rows: dict[Prefix, float] = {(): start}
    kept: list[Beam] = [((), 0.0)]
    for depth in range(1, len(data["sizes"]) + 1):
        scored = _best(kept, branches, beams + 2)
        following = _best(scored[:beams], branches, beams) if depth < len(data["sizes"]) else scored
        alive = {prefix[:depth] for prefix, _ in following}
        for row, (prefix, score) in enumerate(scored):
            rows[prefix] = row
            color = "C0" if prefix in alive else "0.6"
            ax.plot(
                [depth - 1, depth],
                [rows[prefix[:-1]], row],
                c=color,
                ls="-" if prefix in alive else ":",
                zorder=0,
            )
            frame = {"boxstyle": "round", "facecolor": "white", "edgecolor": color}
            label = f"{prefix[-1]}  {score:.2f}".replace("-", "−")
            ax.text(depth, row, label, ha="center", va="center", fontsize=8, bbox=frame)
        kept = scored[:beams]
    for row, (prefix, _) in enumerate(kept):
        ax.text(depth + 0.35, row, data["titles"][_name(prefix)][0], va="center", fontsize=8)
    ax.text(0, start, "history", ha="center", va="center", bbox={"facecolor": "white"}, fontsize=8)
    ax.set(xlim=(-0.3, depth + 1.3), ylim=(beams + 1.6, -0.6))
    ax.axis("off")
    return figure


def _read(data: dict[str, Any]) -> dict[Prefix, _Branches]:
    """Return the prefixes of the data and what may follow each."""
    return {
        tuple(map(int, filter(None, name.split("-")))): _Branches(
            after["codes"], after["log_p"], after["below"], list(map(bool, after["rated"]))
        )
        for name, after in data["prefixes"].items()
    }


def _best(kept: list[Beam], branches: dict[Prefix, _Branches], beams: int) -> list[Beam]:
    """Return the most probable continuations of some beams, best first."""
    longer = [
        ((*prefix, code), score + log_p)
        for prefix, score in kept
        for code, log_p, _, rated in zip(*branches[prefix], strict=True)
        if not rated
    ]
    return sorted(longer, key=lambda beam: -beam[1])[:beams]


def _branches(model: Recommender, history: Tensor, prefix: Prefix, log_p: Tensor) -> _Branches:
    items = model.ids.with_prefix(list(prefix))
    following = model.ids.ids[items, len(prefix)]  # the next code of each item below
    is_rated = torch.isin(items, history)
    codes = torch.unique(following)
    of_code = following == codes[:, None]  # (codes, items)
    return _Branches(
        codes.tolist(),
        [round(value, DIGITS) for value in log_p[codes].tolist()],
        of_code.sum(1).tolist(),
        (~(of_code & ~is_rated).any(1)).tolist(),
    )


def _forbidden(codes: list[int], log_p: Tensor) -> list[list[float]]:
    """Return the most probable codes that lead nowhere, as pairs of code and log-probability."""
    elsewhere = log_p.clone()
    elsewhere[codes] = -torch.inf
    values, places = elsewhere.topk(min(FORBIDDEN, len(log_p)))
    return [
        [code, round(value, DIGITS)]
        for code, value in zip(places.tolist(), values.tolist(), strict=True)
        if value > -math.inf
    ]


def _lost(codes: list[int], log_p: Tensor) -> float:
    """Return the probability of all codes together that lead nowhere."""
    allowed = torch.zeros_like(log_p, dtype=torch.bool)
    allowed[codes] = True
    return float(log_p[~allowed].exp().sum())


def _most_probable(items: Tensor, scores: Tensor) -> list[int]:
    """Return the items that the model finds most probable, rated ones last."""
    order = scores[items].argsort(descending=True, stable=True)
    return items[order[:TITLES]].tolist()


def _name(prefix: Prefix) -> str:
    return "-".join(map(str, prefix))
