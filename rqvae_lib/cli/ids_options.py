"""A file of IDs on the command line: the options that say how to read it, and reading it.

Used by: the commands that take IDs instead of a tokenizer.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rqvae_lib.cli.conflicts import Useless
from rqvae_lib.cli.options import adding
from rqvae_lib.semantic_ids.config import COLLISIONS, SURPLUS, Collisions, Keys, Surplus

if TYPE_CHECKING:
    from rqvae_lib.data.dataset import Dataset
    from rqvae_lib.data.histories_file import HistoriesFile
    from rqvae_lib.semantic_ids.imports import ImportedIDs

IDs = Annotated[
    Path | None,
    typer.Option(
        "--ids",
        metavar="FILE",
        help="A file of IDs instead of a tokenizer, also another project's (.json, .sem_ids, "
        ".jsonl, .csv, .parquet, .npy, .safetensors or .bin).",
        show_default=False,
    ),
]
IDsBase = Annotated[
    int | None,
    typer.Option(
        "--ids-base", min=0, max=1, help="The first code of each level, 0 or 1.", show_default=False
    ),
]
IDsOffsets = Annotated[
    bool | None,
    typer.Option(
        "--ids-offsets/--no-ids-offsets",
        help="Whether the sizes of the levels before it are added to each number.",
        show_default=False,
    ),
]
IDsCollisionDigit = Annotated[
    bool | None,
    typer.Option(
        "--ids-collision-digit/--no-ids-collision-digit",
        help="Whether the last number only tells items with equal codes apart.",
        show_default=False,
    ),
]
IDsSizes = Annotated[
    str | None,
    typer.Option(
        "--ids-sizes",
        help="The codebook sizes of the levels, as in 256,256,256.",
        show_default=False,
    ),
]
IDsLevelsFirst = Annotated[
    bool | None,
    typer.Option(
        "--ids-levels-first/--no-ids-levels-first",
        help="Whether an array has the shape (levels, items).",
        show_default=False,
    ),
]
IDsKeys = Annotated[
    Keys | None,
    typer.Option(
        "--ids-keys",
        help="Whether the file names items by their ids or by their rows in the catalogue.",
        show_default=False,
    ),
]
IDsCollisions = Annotated[
    Collisions,
    typer.Option(
        "--ids-collisions",
        help="Items with equal codes: 'disambiguate' gives them a last code of ours, 'keep' keeps "
        "the file's digit as a level, 'refuse' refuses two equal IDs.",
    ),
]
IDsSurplus = Annotated[
    Surplus,
    typer.Option("--ids-surplus", help="Items of the file that the dataset does not have."),
]
OPTIONS: dict[str, tuple[Any, Any]] = {  # by the parameter's name: what it is, and its default
    "ids": (IDs, None),
    "ids_base": (IDsBase, None),
    "ids_offsets": (IDsOffsets, None),
    "ids_collision_digit": (IDsCollisionDigit, None),
    "ids_sizes": (IDsSizes, None),
    "ids_levels_first": (IDsLevelsFirst, None),
    "ids_keys": (IDsKeys, None),
    "ids_collisions": (IDsCollisions, COLLISIONS),
    "ids_surplus": (IDsSurplus, SURPLUS),
}


def takes_ids(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of this module. Their values are in its context's `params`."""
    return adding(OPTIONS, command)


def ids_instead_of(*options: str) -> Useless:
    """Return the rule that a file of IDs takes the place of other options."""
    return Useless(options, lambda given: given["ids"] is not None, "--ids {ids} has the IDs")


IDS_RULES = (
    Useless(
        tuple(name for name in OPTIONS if name != "ids"),
        lambda given: given["ids"] is None,
        "there is no file of IDs to read (--ids)",
    ),
)


def check_ids_file(context: typer.Context) -> Path | None:
    """Return the file that --ids names, if there is one; refuse one that cannot be read.

    Args:
        context: of a command that `takes_ids`.
    """
    from rqvae_lib.semantic_ids.imports import check_readable

    ids: Path | None = context.params["ids"]
    if ids is not None:
        _sizes(context.params["ids_sizes"])
        check_readable(ids)
    return ids


def ids_of_file(context: typer.Context, dataset: "Dataset | HistoriesFile | None") -> "ImportedIDs":
    """Read the file that --ids names, and say on stderr what was taken for what.

    Args:
        context: of a command that `takes_ids`.
        dataset: whose items they are; None for all items of the file.
    """
    from rqvae_lib.data.histories_file import HistoriesFile
    from rqvae_lib.semantic_ids.imports import import_ids

    given = context.params
    item_ids: Any = None
    if isinstance(dataset, HistoriesFile):
        item_ids = dataset.item_ids
    elif dataset is not None:
        item_ids = dataset.items["item_id"].to_numpy()
    found = import_ids(
        given["ids"],
        item_ids,
        base=given["ids_base"],
        offsets=given["ids_offsets"],
        collision_digit=given["ids_collision_digit"],
        codebook_sizes=_sizes(given["ids_sizes"]),
        levels_first=given["ids_levels_first"],
        keys=given["ids_keys"],
        collisions=given["ids_collisions"],
        surplus=given["ids_surplus"],
    )
    typer.echo(f"Using the IDs of {given['ids']}:", err=True)
    for one in found.said:
        typer.echo(f"    {one}", err=True)
    return found


def _sizes(listed: str | None) -> list[int] | None:
    """Return the numbers of --ids-sizes."""
    if listed is None:
        return None
    sizes = [part.strip() for part in listed.split(",")]
    if not all(part.isdecimal() and part.isascii() and 0 < int(part) < 2**31 for part in sizes):
        raise ValueError(
            f"--ids-sizes is {listed!r}; expected the size of each level, as in 256,256,256"
        )
    return [int(part) for part in sizes]
