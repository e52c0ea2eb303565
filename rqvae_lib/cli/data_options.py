"""The options that say which data a command reads, and what it leaves out of them.

They are the same for all commands. A command has one parameter `data`, and `takes_data` puts the
options in its place: `--help` lists them in a panel of their own, and the command gets one object
whose `load` reads the data.

Seen at work in: chapter 00.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from rqvae_lib.data.names import EMBEDDED, Repeats

if TYPE_CHECKING:
    from rqvae_lib.data.dataset import Dataset

PANEL = "Data"
# How tables of one's own are read. They change nothing about a dataset with a reader of its own.
OF_TABLES = ("columns", "separator", "header", "time_unit")


def _option(*names: str, **settings: Any) -> Any:
    return typer.Option(*names, rich_help_panel=PANEL, show_default=False, **settings)


Columns = Annotated[
    list[str] | None,
    _option(
        metavar="NAME=COLUMN,…",
        help="What your tables call their columns, as in user=reviewerID,item=parent_asin,"
        "time=timestamp; may be given again. Well-known names are recognized, and what was taken "
        "for what is said.",
    ),
]
Separator = Annotated[
    str | None,
    _option(
        metavar="TEXT",
        help="What stands between the fields of a text file, such as ';' or 'tab'. Found out "
        "by default.",
    ),
]
Header = Annotated[
    bool | None,
    _option(
        "--header/--no-header",
        help="Whether the first line of a text file names the columns. Found out by default.",
    ),
]

TimeUnit = Annotated[
    str | None,
    _option(
        metavar="UNIT",
        help="What times are: s, ms, us or ns since 1970; 'order' if they only tell what came "
        "first; 'date' for digits such as 20190222; or a format such as '%d.%m.%Y %H:%M'. By "
        "default, the size of the numbers tells, and what they were taken as is said.",
    ),
]
RepeatsOption = Annotated[
    Repeats | None,
    _option(
        "--repeats",
        help="Rows in which a user meets an item again: 'keep' (the default: they are events "
        "like others), 'first' or 'last' of each user and item, or 'refuse'.",
    ),
]


@dataclass(frozen=True)
class DataOptions:
    """Which data a command reads, and what it leaves out of them."""

    dataset_name: Annotated[
        str | None,
        _option(
            "--dataset",
            metavar="NAME|FOLDER",
            help=f"The dataset: {EMBEDDED[0]} (embedded, the default), one to download such as "
            "movielens-1m or amazon-beauty, or a folder with its published files or your own "
            "tables, named interactions and items.",
        ),
    ] = None
    interactions: Annotated[
        Path | None,
        _option(
            metavar="FILE",
            help="Your own table instead of --dataset, with a user, an item and, if known, a "
            "rating and a time in each row: text with any delimiter, JSON lines or Parquet.",
        ),
    ] = None
    items: Annotated[
        Path | None,
        _option(
            metavar="FILE",
            help="With --interactions: a table of the items and, if known, their title, year, "
            "genres and text.",
        ),
    ] = None
    columns: Columns = None
    separator: Separator = None
    header: Header = None
    time_unit: TimeUnit = None
    repeats: RepeatsOption = None
    min_rating: Annotated[
        float | None, _option(metavar="X", help="Leave out rows with a lower rating, first of all.")
    ] = None
    min_interactions: Annotated[
        int | None, _option(min=1, metavar="N", help="Leave out users with fewer rows.")
    ] = None
    k_core: Annotated[
        int | None,
        _option(
            min=1,
            metavar="K",
            help="Leave out users and items with fewer rows, again and again, until all have K.",
        ),
    ] = None

    def load(self) -> "Dataset":
        """Read the data; say on stderr what was taken for what and what was left out."""
        dataset, said = self.read()
        for line in said:
            typer.echo(line, err=True)
        return dataset

    def read(self) -> "tuple[Dataset, list[str]]":
        """Read the data; return them with the lines that say what was taken for what."""
        from rqvae_lib.data.filters import filtered, table_of
        from rqvae_lib.datasets import registry

        how: dict[str, Any] = {name: getattr(self, name) for name in OF_TABLES}
        how["columns"] = parse_columns(self.columns)
        how = {name: value for name, value in how.items() if value is not None}
        filters = {name: getattr(self, name) for name in FILTERS}
        if self.repeats == "refuse" and self.min_rating is None:
            how["repeats"] = filters.pop("repeats")  # refused as it is read, it is named by its row
        dataset = registry.load_dataset(
            self.dataset_name, interactions=self.interactions, items=self.items, **how
        )
        found = filtered(dataset, **filters)
        table = table_of(found.steps) if found.steps else []
        return found.dataset, [*found.dataset.notes, *table]

    def words(self) -> list[str]:
        """Return the options that were given, as they are typed."""
        found = []
        for name, value in asdict(self).items():
            option = OPTION_NAMES[name]
            if isinstance(value, bool):
                found.append(option if value else option.replace("--", "--no-"))
            elif isinstance(value, list):
                found += [option, ",".join(value)]
            elif value is not None:
                found += [option, str(value)]
        return found


EMBEDDED_DATA = DataOptions()
FILTERS = ("min_rating", "repeats", "min_interactions", "k_core")
OPTION_NAMES = {
    field.name: "--dataset" if field.name == "dataset_name" else f"--{field.name}".replace("_", "-")
    for field in fields(DataOptions)
}


def parse_columns(given: list[str] | None) -> dict[str, str] | None:
    """Return what `--columns user=reviewerID,item=asin` says, as a mapping; None if not given.

    Args:
        given: the option's values; it may be given again.

    Raises:
        ValueError: if a part has no "=", or a name comes twice.
    """
    if not given:
        return None
    text, found = ",".join(given), {}
    for part in text.split(","):
        name, equals, theirs = part.partition("=")
        if not equals:
            raise ValueError(
                f"--columns is {text!r}, expected pairs such as user=reviewerID,item=asin, but "
                f"{part!r} is none: write the library's name, '=', and your column's name"
            )
        if name.strip() in found:
            raise ValueError(
                f"--columns is {text!r}, expected each name once, but {name.strip()!r} comes "
                "twice: leave one out"
            )
        found[name.strip()] = theirs.strip()
    return found


def takes_data(command: Callable[..., None]) -> Callable[..., None]:
    """Replace a command's parameter `data` by the options of `DataOptions`."""
    signature = inspect.signature(command)
    hints = get_type_hints(DataOptions, include_extras=True)
    options = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in fields(DataOptions)
    ]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        chosen = {option.name: given.pop(option.name) for option in options}
        command(**given, data=DataOptions(**chosen))

    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        parameters += options if parameter.name == "data" else [parameter]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
