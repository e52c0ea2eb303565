"""The command that recommends: a history → items that a user has not had yet, with their titles.

Seen at work in: chapter 00.
"""

from typing import Annotated

import pandas as pd
import torch
import typer

from rqvae_lib.checkpoints import load_recommender
from rqvae_lib.cli_common import (
    DATASET,
    DECODER_FILE,
    RUNS,
    DatasetName,
    Device,
    Interactions,
    Items,
    app,
    check_device,
    check_items,
    choose,
)
from rqvae_lib.datasets import Dataset
from rqvae_lib.generate import recommend as recommend_items
from rqvae_lib.named_datasets import open_dataset
from rqvae_lib.trie import Trie


@app.command("recommend")
def recommend_command(
    user: Annotated[
        str | None, typer.Option(help="A user of the data set (1 to 671 in the embedded one).")
    ] = None,
    history: Annotated[
        str | None,
        typer.Option(
            help="Instead of a user: the data set's item ids, oldest first, as in 1,3114."
        ),
    ] = None,
    dataset_name: DatasetName = None,
    interactions: Interactions = None,
    items: Items = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="'pretrained' (shipped) or a decoder checkpoint. "
            f"Default: {RUNS / DECODER_FILE} where that exists, else 'pretrained'.",
            show_default=False,
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", "--top", min=1, help="How many items.")] = 10,
    beams: Annotated[
        int, typer.Option(min=1, help="Prefixes kept a level; more is closer to exact.")
    ] = 50,
    genre: Annotated[
        list[str] | None,
        typer.Option(
            help="Only items of this genre; given again, of any of these.", metavar="NAME"
        ),
    ] = None,
    temperature: Annotated[
        float, typer.Option(help="Below 1 the likeliest codes count for more, above 1 for less.")
    ] = 1.0,
    max_per_prefix: Annotated[
        int | None,
        typer.Option(
            min=1, help="At most so many items with one first code; needs more beams than items."
        ),
    ] = None,
    device: Device = "cpu",
) -> None:
    """Recommend items that a user has not had yet, with their titles."""
    check_device(device)
    dataset = open_dataset(dataset_name, interactions, items)
    allowed = _items_of(genre, dataset) if genre else None
    if (user is None) == (history is None):
        raise ValueError("Say for whom: either --user ID or --history ID,ID,… (not both)")
    if user is not None:
        (own,) = _own_ids("--user", [user], dataset.interactions["user_id"])
        past = torch.from_numpy(dataset.user_history(own))
    else:
        listed = [part.strip() for part in (history or "").split(",") if part.strip()]
        ids = _own_ids("--history", listed, dataset.items["item_id"])
        past = torch.from_numpy(dataset.item_index(ids))
    recommender, card = load_recommender(choose(model, DECODER_FILE, DATASET))
    check_items("recommender", card, dataset)
    recommender = recommender.to(device)
    trie = Trie(recommender.ids, device)
    found = recommend_items(
        recommender,
        trie,
        [past],
        k=k,
        beams=max(k, beams),
        allowed=allowed,
        temperature=temperature,
        max_per_prefix=max_per_prefix,
    )

    typer.echo("The last items of the history:")
    for item in past[-5:].tolist():
        typer.echo(f"    {dataset.titles[item]}")
    typer.echo("Recommended:")
    ranked = zip(found.items[0].tolist(), found.log_probabilities[0].exp().tolist(), strict=True)
    for place, (item, probability) in enumerate(ranked, 1):
        if item >= 0:
            code = "-".join(map(str, recommender.ids.id_of(item)))
            typer.echo(f"{place:4d}  {probability:6.2%}  {code:<16} {dataset.titles[item]}")


def _items_of(genres: list[str], dataset: Dataset) -> torch.Tensor:
    """Return the items, (S,) int64, that have at least one of these genres."""
    own = [set(listed.split("|")) for listed in dataset.items["genres"]]
    known = set().union(*own) - {""}
    for genre in genres:
        if genre not in known:
            raise ValueError(f"--genre is {genre!r}; expected one of {', '.join(sorted(known))}")
    return torch.tensor([row for row, listed in enumerate(own) if listed & set(genres)])


def _own_ids(option: str, parts: list[str], column: pd.Series) -> list[int] | list[str]:
    """Return ids as the data set has them: numbers where it has numbers."""
    if column.dtype != "int64":
        return parts
    try:
        return [int(part) for part in parts]
    except ValueError:
        raise ValueError(
            f"{option} is {','.join(parts)!r}; expected ids of the data set, which are numbers, "
            "such as 1,3114,78499 (inference-rqvae writes a table of the items')"
        ) from None
