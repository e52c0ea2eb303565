"""Parquet, as one file or as a folder of parts: whole, or in pieces that fit in memory.

A table's parts are read in the order of their names, and rows are counted over all of them.

Used by: `read_table`, histories and catalogues larger than memory.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rqvae_lib.data.arrow_columns import from_arrow
from rqvae_lib.data.column_names import shown

_BUFFER = 2**20  # bytes of a column that are read at once, where all of a row group might not fit
_KEY = b"rqvae-lib"  # of what a file of ours says of itself


@contextmanager
def opened(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file so that a part of it is read without all of it in memory.

    What pyarrow raises while the file is open is taken to be about the file.

    Raises:
        ValueError: if it is no Parquet file, or a damaged one.
        OSError: if it cannot be read.
    """
    try:
        # Without a buffer, pyarrow reads whole columns of a row group, however large that is.
        with pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as file:
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # without an errno, it is pyarrow's error about a damaged file
        reason = " ".join(str(error).split())[:160]
        raise ValueError(
            f"{path} cannot be read as Parquet ({reason}), expected a Parquet file: write it again"
        ) from error


def description(format: str, about: Mapping[str, Any]) -> dict[bytes, str]:
    """Return what a file's metadata must hold for `described` to find it.

    Args:
        format: of the file, and its version.
        about: what else the file says of itself, in types that JSON knows.
    """
    return {_KEY: json.dumps({"format": format, **about})}


class ParquetDescription(NamedTuple):
    """What a file of a format of ours says of itself."""

    about: dict[str, Any]
    schema: pa.Schema


def described(path: Path, format: str) -> ParquetDescription | None:
    """Return what a file of a format of ours says of itself, or None for any other file.

    Args:
        path: a file.
        format: as it was given to `description`.

    Raises:
        OSError: if it cannot be read.
    """
    try:
        with opened(path) as file:
            schema = file.schema_arrow
        about = json.loads((schema.metadata or {})[_KEY])
    except (ValueError, KeyError, RecursionError):
        return None
    if not isinstance(about, dict) or about.pop("format", None) != format:
        return None
    return ParquetDescription(about, schema)


def parquet_parts(folder: Path) -> list[Path]:
    """Return the Parquet files in a folder and in the folders in it, by name.

    Files and folders whose names begin with "." or "_" are left out: that is where other programs
    put what is unfinished. A folder such as "_day=3" is one of a partition, and stays.
    """
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() == ".parquet"
        and not any(map(_is_hidden, path.relative_to(folder).parts))
        and path.is_file()
    )


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def parquet_names(path: Path) -> list[str]:
    """Return the names of the columns of a file, or of a folder's first part.

    Raises:
        ValueError: if it is no Parquet file.
        OSError: if it cannot be read.
    """
    with opened(_files(path)[0]) as file:
        names: list[str] = file.schema_arrow.names
        return names


def read_parquet(path: Path, theirs: Mapping[str, str]) -> pa.Table:
    """Read the wanted columns of a file or of all parts of a folder.

    Args:
        path: the file or the folder.
        theirs: the library's name → the column's name in the table.

    Raises:
        ValueError: if a file is damaged, lacks a column, or has another type of it than others.
        OSError: if a file cannot be read.
    """
    columns = list(dict.fromkeys(theirs.values()))
    tables = [_read_part(part, columns, path) for part in _files(path)]
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise _of_different_types(path, error) from error


class Rows(NamedTuple):
    """Some rows of a table, one after another."""

    start: int  # the first one's number, counted over all parts
    columns: dict[str, pd.Series]  # by the library's name; named as in the table, indexed by row


def parquet_pieces(path: Path, theirs: Mapping[str, str], rows: int = 2**20) -> Iterator[Rows]:
    """Yield the wanted columns piece by piece, as pandas holds them.

    A column has the type that `from_arrow` gives it in the table of `read_parquet`, with three
    exceptions: categories come as their values, numbers are floats only in pieces that lack some,
    and bytes are text in each piece where all of them are UTF-8. Decimals are read an extra time,
    to find out whether all of them are whole.

    Args:
        path, theirs: as `read_parquet`.
        rows: of a piece, at most.

    Raises:
        ValueError, OSError: as `read_parquet`; the parts are compared before the first piece.
    """
    schema = _common_schema(path, list(dict.fromkeys(theirs.values())))
    for place, field in enumerate(schema):
        if pa.types.is_decimal(field.type):
            kind = pa.int64() if _all_whole(path, field) else pa.float64()
            schema = schema.set(place, field.with_type(kind))
    start = 0
    for part in _files(path):
        with opened(part) as file:
            for batch in file.iter_batches(rows, columns=schema.names):
                batch.validate(full=True)  # text is UTF-8, say
                if not len(batch):
                    continue
                table = _plain(pa.Table.from_batches([batch])).select(schema.names).cast(schema)
                index = pd.RangeIndex(start, start + len(table))
                columns = {
                    name: from_arrow(table.column(own)).set_axis(index).rename(own)
                    for name, own in theirs.items()
                }
                yield Rows(start, columns)
                start += len(table)


def count_rows(path: Path) -> int:
    """Return how many rows a file or all parts of a folder say that they have.

    Raises:
        ValueError, OSError: as `parquet_names`.
    """
    rows = 0
    for part in _files(path):
        with opened(part) as file:
            rows += file.metadata.num_rows
    return rows


def _common_schema(path: Path, columns: list[str]) -> pa.Schema:
    """Return the types that hold the columns of all parts, those of categories as their values."""
    schemas = []
    for part in _files(path):
        with opened(part) as file:
            schema = file.schema_arrow
        for own in columns:
            if own not in schema.names:
                raise _without_column(part, own, path)
            if pa.types.is_nested(schema.field(own).type):
                raise ValueError(
                    f"{part}, column {shown(own)}: found {schema.field(own).type}, expected one "
                    "value in each row: name another column, or convert it"
                )
        fields = [schema.field(own).remove_metadata() for own in columns]
        schemas.append(pa.schema([field.with_type(_value_type(field.type)) for field in fields]))
    try:
        return pa.unify_schemas(schemas, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise _of_different_types(path, error) from error


def _all_whole(path: Path, field: pa.Field) -> bool:
    """Return whether all decimals of a column are whole numbers of 64 bits, as `from_arrow`."""
    for part in _files(path):
        with opened(part) as file:
            for batch in file.iter_batches(columns=[field.name]):
                numbers = _plain(pa.Table.from_batches([batch])).column(0).cast(field.type)
                try:
                    numbers.cast(pa.int64())
                except pa.ArrowInvalid:
                    return False
    return True


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _plain(table: pa.Table) -> pa.Table:
    """Return a table with the values of categories in place of them."""
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            values = table.column(place).cast(field.type.value_type)
            table = table.set_column(place, field.with_type(field.type.value_type), values)
    return table


def _files(path: Path) -> list[Path]:
    return parquet_parts(path) if path.is_dir() else [path]


def _read_part(path: Path, columns: list[str], folder: Path) -> pa.Table:
    with opened(path) as file:
        schema = file.schema_arrow
        for own in columns:
            if own not in schema.names:
                raise _without_column(path, own, folder)
        lists = [own for own in columns if pa.types.is_nested(schema.field(own).type)]
        if lists:
            # Look at each value without keeping it: what is damaged is an error here, where
            # reading a damaged list may end the process.
            file.scan_contents(lists)
        table = file.read(columns=columns)
        table.validate(full=True)  # text is UTF-8, say
        # What pandas noted in the file, such as an index, does not count: columns do.
        return table.select(columns).replace_schema_metadata(None)


def _without_column(path: Path, name: str, folder: Path) -> ValueError:
    return ValueError(
        f"{path} has no column {shown(name)}, which other parts of {folder} have, expected "
        "the same columns in all: move it away"
    )


def _of_different_types(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"the parts of {path} have columns of different types ({str(error)[:160]}), expected "
        "the same in all: convert them"
    )
