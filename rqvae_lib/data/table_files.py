"""Opens a table, whatever its format, and returns the columns that are wanted.

    .csv .tsv .txt .dat           text with a delimiter, with a header or without
    .inter .item .user            RecBole's atomic files
    .json .jsonl .ndjson          an object a line, or a list of objects
    .parquet                      a file, or a folder of parts

Each but Parquet may be packed, as .gz or .zst. A table in memory is a DataFrame of pandas, or
anything that speaks Arrow, such as one of polars.

Used by: own tables, loaders of published data.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import pandas as pd
import pyarrow as pa

from rqvae_lib.data import delimited_files, delimited_layouts, json_files
from rqvae_lib.data.arrow_columns import from_arrow
from rqvae_lib.data.column_names import asked_columns, find_columns
from rqvae_lib.data.packed_files import PACKED, endings
from rqvae_lib.data.parquet_files import parquet_names, parquet_parts, read_parquet

TEXT_ENDINGS = (*delimited_layouts.DELIMITED, *json_files.JSON)
ENDINGS = (
    *TEXT_ENDINGS,
    *(ending + packing for ending in TEXT_ENDINGS for packing in PACKED),
    ".parquet",
)


class SpeaksArrow(Protocol):
    """A table of any library that hands out its columns by Arrow's C interface."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return the table as a stream of Arrow."""
        ...


Source = str | Path | pd.DataFrame | SpeaksArrow


class ReadTable(NamedTuple):
    """The wanted columns of a table, and what was taken for what."""

    frame: pd.DataFrame  # one column per thing that was found, by the library's name
    theirs: dict[str, str]  # the library's name → the column's name in the table
    is_text: bool  # whether the table is text with delimiters, in which numbers are text too
    said: tuple[str, ...]  # sentences for the reader

    def get(self, name: str) -> pd.Series | None:
        """Return a column under the name that its table gives it, for messages, or None."""
        return self.frame[name].rename(self.theirs[name]) if name in self.frame else None

    def column(self, name: str) -> pd.Series:
        """Return a column that was needed, under the name that its table gives it."""
        return self.frame[name].rename(self.theirs[name])


def read_table(
    source: Source,
    *,
    needed: Sequence[str],
    optional: Sequence[str],
    columns: Mapping[str, str] | None = None,
    separator: str | None = None,
    header: bool | None = None,
    where: str = "the table",
) -> ReadTable:
    """Read the wanted columns of a table.

    Args:
        source: a pandas DataFrame, an object with `__arrow_c_stream__`, or the path of a file that
            ends in one of `ENDINGS`, in any case of letters, or of a folder of Parquet files, which
            are read in the order of their names.
        needed: the library's names of the columns that must be there.
        optional: those that may be there.
        columns: the table's names for them, as in `column_names.asked_columns`. Without a header,
            numbers from 1.
        separator: what stands between two fields of a text file, such as ";" or "tab"; found by
            `delimited_layouts.find_layout` if None.
        header: whether the first line of a text file holds the names; found out if None.
        where: what messages call a table that is not a file.

    Returns:
        The columns. Ids of a text file are int64 if all of them are plain whole numbers; otherwise
        they are categories of text. Timestamps and ratings of a text file are numbers if all of
        them are; all its other columns are text. A table of another format keeps its types.

    Raises:
        ValueError: if the file is not what its ending says, a column is not found, or several
            could be the same thing; the message names the file.
        OSError: if the file cannot be read.
        TypeError: if the source is no table.
    """
    wanted = (*needed, *optional)
    asked = asked_columns(columns, also=wanted)
    if isinstance(source, str | Path):
        table = _open_file(Path(source), wanted, asked, separator, header)
    else:
        table = _open_in_memory(source, where)
    found = find_columns(table.where, table.names, needed, optional, asked, table.hint)
    series = table.columns(found.theirs)
    if not len(next(iter(series.values()))):
        raise ValueError(
            f"{table.where} has no rows, expected at least one: check where it comes from"
        )
    frame = pd.DataFrame(series, copy=False)
    return ReadTable(frame, found.theirs, table.is_text, (*table.said, *found.said))


def is_delimited(source: Source) -> bool:
    """Return whether a source is a text file with a delimiter, to judge by its ending."""
    return (
        isinstance(source, str | Path)
        and endings(Path(source))[0] in delimited_layouts.DELIMITED
        and not Path(source).is_dir()
    )


class _Opened(NamedTuple):
    """A table of which only the names of the columns are known so far."""

    where: str
    names: list[str]
    columns: Callable[[Mapping[str, str]], dict[str, pd.Series]]  # those that are named
    is_text: bool = False
    said: tuple[str, ...] = ()
    hint: str = ""


def _open_file(
    path: Path,
    wanted: Sequence[str],
    asked: Mapping[str, str],
    separator: str | None,
    header: bool | None,
) -> _Opened:
    ending = _checked_ending(path)
    if ending in delimited_layouts.DELIMITED:
        layout = delimited_layouts.find_layout(path, wanted, asked, separator, header)
        columns = partial(delimited_files.read_columns, path, layout)
        hint = _hint(layout, separator, header)
        return _Opened(str(path), layout.names, columns, True, layout.said, hint)
    if ending in json_files.JSON:
        names = json_files.column_names(path)
        return _Opened(str(path), names, partial(json_files.read_columns, path))
    return _Opened(
        str(path),
        parquet_names(path),
        lambda theirs: _columns(read_parquet(path, theirs), theirs),
    )


def _hint(layout: delimited_layouts.Layout, separator: str | None, header: bool | None) -> str:
    """Return what else may help where a column is not found."""
    if len(layout.names) == 1:
        left_out = (
            f"; {separator!r} separates nothing in it: leave --separator out, or name another"
        )
        return delimited_layouts.ONE_FIELD if separator is None else left_out
    without_header = layout.names == [str(number + 1) for number in range(len(layout.names))]
    if header is None and not without_header:
        return "; if its first line is no header, add --no-header"
    return ""


def _open_in_memory(source: Source, where: str) -> _Opened:
    if isinstance(source, pd.DataFrame):
        names = [str(name) for name in source.columns]
        frame = source.set_axis(names, axis=1).reset_index(drop=True)
        return _Opened(
            where,
            names,
            lambda theirs: {name: _own_column(frame[own]) for name, own in theirs.items()},
        )
    if hasattr(source, "__arrow_c_stream__"):
        try:
            table = pa.table(source)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise ValueError(
                f"{where} holds what pyarrow cannot ({' '.join(str(error).split())[:100]}), "
                "expected plain types: convert the column, or drop it"
            ) from error
        return _Opened(where, table.column_names, partial(_columns, table))
    if hasattr(source, "collect"):
        raise TypeError(
            f"{where} is of type {type(source).__name__}, a table that is not computed yet, "
            "expected its rows: pass .collect() of it"
        )
    raise TypeError(
        f"{where} is of type {type(source).__name__}, expected a DataFrame, another table that "
        "speaks Arrow, or the path of a file: pass one of these"
    )


def _columns(table: pa.Table, theirs: Mapping[str, str]) -> dict[str, pd.Series]:
    return {name: from_arrow(table.column(own)) for name, own in theirs.items()}


def _checked_ending(path: Path) -> str:
    """Return the ending that tells a file's format, after a look at whether it is there."""
    ending, packing = endings(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist, expected a file: check the spelling")
    if path.is_dir():
        if parquet_parts(path):
            return ".parquet"
        raise ValueError(
            f"{path} is a folder without Parquet files, expected a file, or a folder of parts that "
            "end in .parquet: name one"
        )
    if ending not in (*TEXT_ENDINGS, ".parquet") or (ending == ".parquet" and packing):
        raise ValueError(
            f"{path} ends in {ending + packing!r}, expected one of {', '.join(TEXT_ENDINGS)}, each "
            "also with .gz or .zst, or .parquet: name such a file"
        )
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty, expected a table: check where it comes from")
    return ending


def _own_column(column: pd.Series) -> pd.Series:
    """Return a column of a DataFrame, as pandas itself would hold it if Arrow holds it."""
    if isinstance(column.dtype, pd.ArrowDtype):
        array = pa.array(column)
        return from_arrow(
            array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
        )
    return column
