"""The command that says what tables hold, in one page, before anything is trained on them.

Derived in: chapter 13.
"""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rqvae_lib.cli.data_options import EMBEDDED_DATA, DataOptions, takes_data

if TYPE_CHECKING:
    from rqvae_lib.data.dataset import Dataset

Line = tuple[str, str]  # what is counted, and how many there are


@takes_data
def inspect_command(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="A table of interactions and, if there is one, a table of the items; or a dataset "
            "by its name or folder. The same as --interactions and --items, or --dataset.",
            show_default=False,
        ),
    ] = None,
    data: DataOptions = EMBEDDED_DATA,
) -> None:
    """Say what tables hold: users, items, times, repeats, ties, texts, and what splits hold out.

    Nothing is trained or written. The last line is the command that comes next.
    """
    data = _with_files(data, files or [])
    dataset, said = data.read()
    if said:
        typer.echo("As read")
    for line in said:
        typer.echo(f"    {line}")
    sections = {
        dataset.name: _sizes(dataset),
        "Times": _times(dataset),
        "Repeats": _repeats(dataset),
        "Items": _items(dataset),
        "Splits": _splits(dataset),
    }
    width = max(len(what) for lines in sections.values() for what, _ in lines)
    for title, lines in sections.items():
        typer.echo(f"\n{title}")
        for what, found in lines:
            typer.echo(f"    {what:<{width}}  {found}")
    typer.echo("\nNext")
    for command in _next_commands(dataset, data):
        typer.echo(f"    {command}")


def _with_files(data: DataOptions, files: list[Path]) -> DataOptions:
    """Return the options with the files that were named without an option."""
    if not files:
        return data
    if data.dataset_name or data.interactions or data.items:
        raise ValueError(
            f"pass {files[0]} either by itself or with --dataset, --interactions or --items, not "
            "both"
        )
    if len(files) > 2:
        raise ValueError(
            f"{len(files)} files were named, expected one of interactions and at most one of items"
        )
    first, *rest = files
    if not rest and _is_dataset(first):
        return replace(data, dataset_name=str(first))
    return replace(data, interactions=first, items=next(iter(rest), None))


def _is_dataset(path: Path) -> bool:
    """Return whether --dataset would read this, and not --interactions."""
    from rqvae_lib.datasets.folders import holds_a_dataset
    from rqvae_lib.datasets.registry import NAMES

    if not path.is_dir():
        return str(path) in NAMES and not path.exists()
    # A folder may be a table in parts, too.
    return holds_a_dataset(path) or not any(path.rglob("*.parquet"))


def _sizes(dataset: "Dataset") -> list[Line]:
    import numpy as np

    from rqvae_lib.data.filters import counts_of

    counts = counts_of(dataset)
    lengths = np.diff(dataset.user_offsets)
    low, middle, high = (f"{length:g}" for length in np.percentile(lengths, [25, 50, 75]))
    popular = np.sort(np.bincount(dataset.interactions["item"], minlength=dataset.num_items))
    tenth = popular[-max(1, dataset.num_items // 10) :].sum() / counts.interactions
    return [
        ("interactions", f"{counts.interactions:,}"),
        ("users", f"{counts.users:,}"),
        (
            "interactions per user",
            f"{lengths.min():,} to {lengths.max():,}, quartiles {low}, {middle}, {high}",
        ),
        ("items", f"{dataset.num_items:,}"),
        ("items that nobody met", _share(dataset.num_items - counts.items, dataset.num_items)),
        ("in the most popular tenth of items", f"{tenth:.0%} of interactions"),
        ("ratings", _ratings(dataset)),
    ]


def _ratings(dataset: "Dataset") -> str:
    ratings = dataset.interactions["rating"]
    low, high = ratings.min(), ratings.max()
    return f"all {low:g}" if low == high else f"{low:g} to {high:g}, mean {ratings.mean():.2f}"


def _times(dataset: "Dataset") -> list[Line]:
    from rqvae_lib.data.ties import leaking_orders, tied_share, ties
    from rqvae_lib.data.times import are_an_order, span

    table = dataset.interactions
    times = table["timestamp"].to_numpy()
    tied = ties(table, dataset.user_offsets)
    orders = leaking_orders(table, dataset.items, tied)
    what = "an order, not dates" if are_an_order(times) else "dates, UTC"
    lines = [
        (what, span(times)),
        ("share their user's time with another row", f"{tied_share(tied):.1%} of interactions"),
    ]
    for column, rises, share, pairs in orders:
        way = "rises" if rises else "falls"
        lines.append(
            ("WARNING: order within ties", f"{column} {way} in {share:.2%} of {pairs:,} pairs")
        )
    if orders:
        lines.append(("", "a model can learn this order: shuffle the rows first (chapter 13)"))
    return lines


def _repeats(dataset: "Dataset") -> list[Line]:
    from rqvae_lib.data.repeats import repeats_in

    total = len(dataset.interactions)
    found = repeats_in(dataset.interactions, dataset.user_offsets)
    return [
        ("a user meets an item again", f"{_share(found.total, total)} of interactions"),
        ("of these, with the same time and rating", f"{found.exact:,}"),
    ]


def _items(dataset: "Dataset") -> list[Line]:
    items, total = dataset.items, dataset.num_items
    lines = [
        ("without a title", _share(int(items["title"].isna().sum()), total)),
        ("without genres or categories", _share(int((items["genres"] == "").sum()), total)),
    ]
    if not dataset.has_texts:
        return [*lines, ("texts", "none, so vectors come from who chose what, or are your own")]
    unknown = items["title"].isna() & (items["genres"] == "")
    return [
        *lines,
        ("with neither of them", _share(int(unknown.sum()), total)),
        ("with the text of another item", _share(int(items["text"].duplicated().sum()), total)),
    ]


def _splits(dataset: "Dataset") -> list[Line]:
    from typing import get_args

    from rqvae_lib.data.names import SplitName
    from rqvae_lib.data.splits import split_by_name

    lines = []
    for name in get_args(SplitName):
        try:
            split = split_by_name(dataset, name)
        except ValueError as error:  # all at one time
            lines.append((f"--split {name}", str(error)))
            continue
        users = len(set(split.everything.user_of(split.test).tolist()))
        had = int(split.had_before(split.test).sum())
        said = f"{len(split.test):,} test targets of {users:,} users"
        if not len(split.test):
            said = "nothing to test: no user has enough interactions"
        elif had:
            said += f", {had:,} of them in the user's own history"
        lines.append((f"--split {name}", said))
    return lines


def _next_commands(dataset: "Dataset", data: DataOptions) -> list[str]:
    """Return what to type next, with the same data options."""
    from rqvae_lib.data.names import EMBEDDED
    from rqvae_lib.tokenizer.config import RQVAEConfig

    options = data.words()
    if dataset.name in EMBEDDED:
        return [shlex.join(["rqvae-lib", "train-rqvae", *options])]
    if dataset.num_items < RQVAEConfig.codebook_size:  # which train-rqvae would refuse
        train = ["train-rqvae", *options, "--codebook-size", str(_half(dataset.num_items))]
    else:
        train = ["train-rqvae", *options]
    if dataset.has_texts:
        file = "embeddings.safetensors"
        return [
            shlex.join(["rqvae-lib", "embed", *options, "--output", file]),
            shlex.join(["rqvae-lib", *train, "--embeddings", file]),
        ]
    return [shlex.join(["rqvae-lib", *train, "--content", "collaborative"])]


def _half(items: int) -> int:
    """Return a size for the codebooks of few items: a power of two, at most half of them."""
    return int(2 ** max(0, items.bit_length() - 2))


def _share(part: int, total: int) -> str:
    return f"{part:,} ({part / total:.1%})" if part else "0"
