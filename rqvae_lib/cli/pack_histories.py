"""The command that packs a table of interactions larger than memory into a file of histories.

Derived in: chapter 12.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from rqvae_lib.cli.data_options import (
    PANEL,
    Columns,
    Header,
    RepeatsOption,
    Separator,
    TimeUnit,
    parse_columns,
)
from rqvae_lib.cli.outputs import OutputFile, Writes, checkpoint_of, writes


def _outputs(given: Mapping[str, Any]) -> Writes:
    path: Path = given["output"]
    if path.suffix.lower() != ".safetensors":
        raise ValueError(f"{path} ends in {path.suffix!r}: name a .safetensors file")
    return Writes((OutputFile(path, "a file of histories", checkpoint_of("histories")),))


@writes(_outputs, "output")
def pack_histories_command(
    context: typer.Context,
    interactions: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER",
            rich_help_panel=PANEL,
            help="A Parquet file, or a folder of them, with a user, an item and, if known, a time "
            "in each row. It may be larger than memory.",
        ),
    ],
    output: Annotated[Path, typer.Option(help="The .safetensors file to write.")],
    items: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=PANEL,
            show_default=False,
            help="A table of the items, which gives the catalogue and its order. By default, the "
            "items are those of the interactions, sorted by id.",
        ),
    ] = None,
    columns: Columns = None,
    separator: Separator = None,
    header: Header = None,
    time_unit: TimeUnit = None,
    repeats: RepeatsOption = None,
) -> None:
    """Sort interactions that do not fit in memory into users' histories, in one file.

    Each history is in time order, as in any dataset; train-recommender reads the file with
    --histories. Ratings are not read. The folder of the output needs room for about 50 bytes per
    row.
    """
    from rqvae_lib.data.pack_histories import pack_histories
    from rqvae_lib.io.locks import only_process_in

    context.with_resource(only_process_in(output.parent))
    found = pack_histories(
        interactions,
        output,
        items,
        columns=parse_columns(columns),
        separator=separator,
        header=header,
        time_unit=time_unit,
        repeats=repeats or "keep",
        progress=True,
    )
    for line in found.notes:
        typer.echo(line, err=True)
    typer.echo(
        f"Wrote {found.num_interactions:,} interactions of {found.num_users:,} users with "
        f"{found.num_items:,} items to {output}."
    )
