"""The command that recommends: a history → items that a user has not had yet, with their titles.

Seen at work in: chapter 00.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from rqvae_lib.cli.data_options import EMBEDDED_DATA, DataOptions, takes_data
from rqvae_lib.cli.options import (
    RECOMMENDER_FILE,
    Device,
    Model,
)
from rqvae_lib.generation.config import NUM_BEAMS, NUM_ITEMS, TEMPERATURE

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from rqvae_lib.data.dataset import Dataset
    from rqvae_lib.generation.beam_search import Recommendations
    from rqvae_lib.models.base import Recommender


@takes_data
def recommend_command(
    context: typer.Context,
    user: Annotated[
        str | None, typer.Option(help="A user of the dataset (1 to 671 in the embedded one).")
    ] = None,
    history: Annotated[
        str | None,
        typer.Option(help="Instead of --user: the dataset's item ids, oldest first, as in 1,3114."),
    ] = None,
    data: DataOptions = EMBEDDED_DATA,
    model: Model = None,
    k: Annotated[int, typer.Option("-k", "--top", min=1, help="How many items.")] = NUM_ITEMS,
    beams: Annotated[
        int, typer.Option(min=1, help="Prefixes kept per level; more is closer to exact.")
    ] = NUM_BEAMS,
    genre: Annotated[
        list[str] | None,
        typer.Option(help="Only items of this genre; repeat it for several.", metavar="NAME"),
    ] = None,
    temperature: Annotated[
        float, typer.Option(help="Below 1 the likeliest codes count for more, above 1 for less.")
    ] = TEMPERATURE,
    max_per_prefix: Annotated[
        int | None,
        typer.Option(
            min=1, help="At most this many items per first code; needs more beams than items."
        ),
    ] = None,
    device: Device = "cpu",
) -> None:
    """Recommend items that a user has not had yet, with their titles."""
    if (user is None) == (history is None):
        raise ValueError("pass either --user ID or --history ID,ID,…, not both")
    from rqvae_lib.checkpoints.cards import check_items
    from rqvae_lib.checkpoints.models import load_recommender
    from rqvae_lib.cli.common import check_device, choose, shipped, typed
    from rqvae_lib.generation.beam_search import check_search, recommend

    check_device(device)
    if not typed(context, "beams"):
        beams = max(beams, k)
    check_search(k, beams, temperature, max_per_prefix)
    if max_per_prefix is not None and beams <= k:
        raise ValueError(
            f"--max-per-prefix leaves items out, so {k} items need more than {beams} beams to "
            f"choose from: pass more, such as --beams {10 * k}"
        )
    chosen = choose(model, RECOMMENDER_FILE)
    recommender, card = load_recommender(shipped(chosen))
    dataset = data.load()
    check_items(f"the recommender ({chosen})", card, dataset)
    allowed = _items_of(genre, dataset) if genre else None
    past = _history_of(user, history, dataset)
    typer.echo(f"Using {chosen}.", err=True)
    recommender = recommender.to(device)
    found = recommend(
        recommender,
        [past],
        k=k,
        beams=beams,
        allowed=allowed,
        temperature=temperature,
        max_per_prefix=max_per_prefix,
    )
    _print(past, found, recommender, dataset)
    count = int((found.items >= 0).sum())
    if count < k:
        why = "no others are left" if max_per_prefix is None else "more --beams may find others"
        typer.echo(f"Only {count} of {k}: {why}.", err=True)


def _history_of(user: str | None, history: str | None, dataset: "Dataset") -> "Tensor":
    """Return the rows, (T,) int64, of a user's items, or of those that are listed."""
    import torch

    if user is not None:
        (own,) = _own_ids("--user", [user], dataset.interactions["user_id"])
        return torch.from_numpy(dataset.user_history(own))
    listed = [part.strip() for part in (history or "").split(",") if part.strip()]
    ids = _own_ids("--history", listed, dataset.items["item_id"])
    return torch.from_numpy(dataset.item_index(ids))


def _print(
    past: "Tensor", found: "Recommendations", recommender: "Recommender", dataset: "Dataset"
) -> None:
    typer.echo("The last items of the history:")
    for item in past[-5:].tolist():
        typer.echo(f"    {dataset.titles[item]}")
    typer.echo("Recommended:")
    ranked = zip(found.items[0].tolist(), found.log_probabilities[0].exp().tolist(), strict=True)
    for place, (item, probability) in enumerate(ranked, 1):
        if item >= 0:
            code = "-".join(map(str, recommender.ids.id_of(item)))
            typer.echo(f"{place:4d}  {probability:6.2%}  {code:<16} {dataset.titles[item]}")


def _items_of(genres: list[str], dataset: "Dataset") -> "Tensor":
    """Return the items, (S,) int64, that have at least one of these genres."""
    import torch

    own = [set(listed.split("|")) for listed in dataset.items["genres"]]
    known = set().union(*own) - {""}
    if not known:
        raise ValueError(f"{dataset.name} does not say its items' genres: leave --genre out")
    for genre in genres:
        if genre not in known:
            raise ValueError(f"--genre is {genre!r}; expected one of {', '.join(sorted(known))}")
    return torch.tensor([row for row, listed in enumerate(own) if listed & set(genres)])


def _own_ids(option: str, parts: list[str], column: "pd.Series") -> list[int] | list[str]:
    """Return ids as the dataset has them: numbers where it has numbers."""
    if column.dtype != "int64":
        return parts
    try:
        return [int(part) for part in parts]
    except ValueError:
        raise ValueError(
            f"{option} is {','.join(parts)!r}; expected ids of the dataset, which are numbers, "
            "such as 1,3114,78499 (inference-rqvae writes a table of the items')"
        ) from None
