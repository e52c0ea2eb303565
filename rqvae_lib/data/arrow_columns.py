"""Turns a column of Arrow, such as of a Parquet file or of polars, into one of pandas.

The same values come out whatever type held them: text is text, a whole decimal is a whole number,
a UUID is text, a date is a time.

Used by: `read_table`.
"""

import uuid

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc


def from_arrow(column: pa.ChunkedArray) -> pd.Series:
    """Return a column as pandas holds it by itself.

    Args:
        column: of any type.

    Returns:
        Integers, floats, booleans, times, categories and text as such; lists as objects. Decimals
        are int64 if all of them are whole, otherwise float64. UUIDs are text, dates are times, and
        bytes are text if all of them are UTF-8.
    """
    series: pd.Series = _plain(column).to_pandas()
    return series


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name == "arrow.uuid":
            texts = [
                None if value is None else str(uuid.UUID(bytes=value))
                for value in column.cast(pa.binary(16)).to_pylist()
            ]
            return pa.chunked_array([pa.array(texts, pa.string())])
        return _plain(column.cast(kind.storage_type))
    if pa.types.is_dictionary(kind):
        return _plain_categories(column)
    if pa.types.is_run_end_encoded(kind):
        return _plain(pc.run_end_decode(column))
    if pa.types.is_decimal(kind):
        try:
            return column.cast(pa.int64())
        except pa.ArrowInvalid:
            return column.cast(pa.float64())
    if pa.types.is_nested(kind) and "_view" in str(kind):  # lists of text, from polars
        return pa.chunked_array([pa.array(column.to_pylist())])
    if str(kind) == "string_view":
        return column.cast(pa.large_string())
    if str(kind) in ("binary", "large_binary", "binary_view"):
        try:
            return column.cast(pa.large_binary()).cast(pa.large_string())
        except pa.ArrowInvalid:
            return column
    if pa.types.is_date(kind):
        return column.cast(pa.timestamp("ms"))
    return column


def _plain_categories(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return categories of text as such, with indices that pandas knows, and others as values."""
    values = column.type.value_type
    if str(values) not in ("string", "large_string", "string_view"):
        chunks = [chunk.dictionary.take(chunk.indices) for chunk in column.chunks]
        return _plain(pa.chunked_array(chunks, values))
    chunks = [
        pa.DictionaryArray.from_arrays(
            chunk.indices.cast(pa.int32()), chunk.dictionary.cast(pa.large_string())
        )
        for chunk in column.chunks
    ]
    kind = pa.dictionary(pa.int32(), pa.large_string())
    return pa.chunked_array(chunks, kind).unify_dictionaries()
