"""Reads published text files fast, and names the first bad line if there is one.

pyarrow parses a file of numbers, at millions of lines per second. Only if this fails is the file
read again, line by line, to find the bad line. A file of texts is always read line by line. The
sizes of lines and files are limited, well above those of any valid file.

A byte-order mark, Windows line endings and empty lines are ignored.

Used by: the readers of published datasets.
"""

import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
from numpy.typing import NDArray

MAX_LINE_BYTES = 2**20
MAX_FILE_BYTES = 2**33  # after unpacking, for a .gz
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
TYPES = {
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "string": pa.string(),
    "time": pa.timestamp("ms", tz="UTC"),
}
MISSING = (
    "",
    "NA",
    "NaN",
    "nan",
    "null",
    "NULL",
)  # how a publisher may write that a field is empty
AGAIN = "get the file again from where it is published"


def lines(path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line of a file that is not empty.

    Args:
        path: the file, plain text or .gz.
        encoding: "utf-8" or "latin-1".

    Yields:
        The number of the line, counted from 1, and its text without the line ending.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if the file is empty, is a damaged .gz, is not text in this encoding, or exceeds
            `MAX_LINE_BYTES` or `MAX_FILE_BYTES`; the message names the file and the line.
    """
    check_there(path)
    number = total = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            # Split at line feeds only: `str.splitlines` would also split Latin-1 text at U+0085.
            while raw := file.readline(MAX_LINE_BYTES + 1):
                number, total = number + 1, total + len(raw)
                if len(raw) > MAX_LINE_BYTES or total > MAX_FILE_BYTES:
                    raise ValueError(
                        f"{path}, line {number}: found more than "
                        f"{MAX_LINE_BYTES if total <= MAX_FILE_BYTES else MAX_FILE_BYTES:,} bytes, "
                        f"expected fewer: {AGAIN}"
                    )
                if number == 1:
                    raw = raw.removeprefix(BYTE_ORDER_MARK)
                try:
                    line = raw.decode(encoding)
                except UnicodeDecodeError as error:
                    raise ValueError(
                        f"{path}, line {number}: byte {error.start + 1} is not {encoding.upper()} "
                        f"text, expected this encoding: {AGAIN}"
                    ) from error
                if line := line.removesuffix("\n").removesuffix("\r"):
                    yield number, line
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path} is not a complete gzip file ({error}, after line {number}): {AGAIN}"
        ) from error
    if not total:  # a .gz of an empty file
        raise ValueError(f"{path} is empty, expected at least one line: {AGAIN}")


def rows_of_text(
    path: Path, names: tuple[str, ...], separator: str, encoding: str
) -> tuple[list[list[str]], list[int]]:
    """Return the fields of each line, and the lines' numbers.

    Args:
        path: the file.
        names: the names of the fields, in order.
        separator: the text between two fields.
        encoding: as `lines`.

    Returns:
        One list of fields per line that is not empty, and the numbers of these lines.

    Raises:
        ValueError: as `lines`, or if a line has another number of fields.
        FileNotFoundError: as `lines`.
    """
    rows, numbers = [], []
    for number, line in lines(path, encoding):
        fields = line.split(separator)
        if len(fields) != len(names):
            raise _fields_wrong(path, number, fields, names, separator)
        rows.append(fields)
        numbers.append(number)
    return rows, numbers


def columns_of_numbers(
    path: Path, dtypes: Mapping[str, str], separator: str, *, header: bool = False
) -> dict[str, NDArray[Any]]:
    """Return the columns of a file that contains only numbers.

    Args:
        path: the file.
        dtypes: the name of each column, in order, and its dtype, "int64" or "float32".
        separator: the text between two fields.
        header: whether the first line holds the names.

    Returns:
        By name, one array per column, shape (number of rows,).

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if the file is empty, if a line has too few or too many fields, or if a field is
            not a number of its dtype or not finite; the message names the file, the line and the
            column.
    """
    check_there(path)
    if header:
        _check_header(path, tuple(dtypes), separator)
    try:
        table = _parse(path, dtypes, separator, header)
    except pa.ArrowInvalid as error:
        problem = _first_problem(path, dtypes, separator, header)
        raise problem or ValueError(f"{path} cannot be read ({error}): {AGAIN}") from error
    columns: dict[str, NDArray[Any]] = {}
    for name in dtypes:
        columns[name] = table.column(name).to_numpy()
        table = table.drop_columns([name])  # frees the column before the next one is copied
        if columns[name].dtype.kind == "f" and not np.isfinite(columns[name]).all():
            problem = _first_problem(path, dtypes, separator, header)
            assert problem is not None
            raise problem
    if not len(next(iter(columns.values()))):
        raise ValueError(f"{path} has no rows, expected at least one: {AGAIN}")
    return columns


def columns_of_fields(
    path: Path,
    kinds: Mapping[str, str],
    separator: str,
    *,
    names: Sequence[str] | None = None,
    missing: Sequence[str] = (),
) -> pd.DataFrame:
    """Return some columns of a file of numbers and texts without quotes, in the order of the file.

    Args:
        path: the file, plain text or .gz.
        kinds: the columns to read, and what each holds: "int64", "float64", "string", "number" for
            int64 if all are whole numbers, otherwise float64, or "time" for ISO text with a zone
            and up to three decimals.
        separator: one character, between two fields.
        names: the names of all columns, in order, if the file has no header. None: the first line
            holds the names.
        missing: the columns of "float64" in which a field may be one of `MISSING`, which is then
            NaN.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if the file is empty or lacks a column, a line has too few or too many fields,
            or a field is not of its kind; the message names the file, the line and the column.
    """
    check_there(path)
    header = names is None
    names = tuple(names) if names is not None else header_of(path, separator)
    _check_names(path, names, tuple(kinds))
    options: dict[str, Any] = {
        "parse_options": pacsv.ParseOptions(delimiter=separator, quote_char=False),
        "read_options": pacsv.ReadOptions(
            column_names=names, skip_rows=_header_line(path) if header else 0, block_size=2**23
        ),
    }
    tried = [kinds]
    if "number" in kinds.values():
        tried = [
            {name: number if kind == "number" else kind for name, kind in kinds.items()}
            for number in ("int64", "float64")
        ]
    for attempt in tried:
        convert = pacsv.ConvertOptions(
            column_types={name: TYPES[kind] for name, kind in attempt.items()},
            include_columns=list(attempt),
            null_values=list(MISSING) if missing else [],
            strings_can_be_null=False,
        )
        try:
            table = pacsv.read_csv(str(path), convert_options=convert, **options)
            break
        except (pa.ArrowInvalid, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # without an errno, it is pyarrow's error about a damaged .gz
            failed = error
    else:
        problem = _first_wrong(path, names, tried[-1], separator, header, missing)
        raise problem or ValueError(
            f"{path} cannot be read ({' '.join(str(failed).split())[:160]}): {AGAIN}"
        ) from failed
    if not table.num_rows:
        raise ValueError(f"{path} has no rows, expected at least one: {AGAIN}")
    frame: pd.DataFrame = table.to_pandas(types_mapper={pa.string(): pd.StringDtype()}.get)
    for name in frame.columns:
        kind = frame[name].dtype.kind
        if name in missing or kind == "O":
            continue
        if frame[name].hasnans or (kind == "f" and not np.isfinite(frame[name]).all()):
            problem = _first_wrong(path, names, tried[-1], separator, header, missing)
            assert problem is not None
            raise problem
    return frame


def header_of(path: Path, separator: str) -> tuple[str, ...]:
    """Return the fields of the first line of a file that is not empty."""
    _, line = next(lines(path), (0, ""))
    if not line:
        raise ValueError(f"{path} has no rows, expected at least one: {AGAIN}")
    return tuple(line.split(separator))


def refuse_rows(
    path: Path, bad: Any, column: str, values: Any, expected: str, *, header: bool = False
) -> None:
    """Raise ValueError for the first bad row, if there is one, with its line and its value.

    Args:
        path: the file that the rows come from, one row a line.
        bad: for each row, whether it is bad: (n,), bool.
        column: the publisher's name of the column.
        values: the column: (n,).
        expected: what was expected, for the message.
        header: whether the first line holds the names.
    """
    bad = np.asarray(bad, dtype=bool)
    if not bad.any():
        return
    row = int(bad.argmax())
    try:
        where = f"line {line_of(path, row, header=header)}"
    except IndexError:  # two rows in one line
        where = f"row {row}"
    (found,) = pd.Series(values).iloc[[row]].tolist()  # 5, not np.int64(5)
    raise ValueError(
        f"{path}, {where}: {column} is {repr(found)[:60]}, expected {expected}: {AGAIN}"
    )


def line_of(path: Path, row: int, *, header: bool = False) -> int:
    """Return the line number of a row.

    Args:
        path: the file.
        row: counted from 0, without the header and empty lines.
        header: whether the first line holds the names.

    Raises:
        IndexError: if there is no such row.
    """
    for place, (number, _) in enumerate(lines(path, "latin-1")):
        if place == row + header:
            return number
    raise IndexError(row)


def check_there(path: Path) -> None:
    """Raise FileNotFoundError if a file does not exist, or ValueError if it is empty."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist, expected a file: {AGAIN}")
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty, expected at least one line: {AGAIN}")


def _parse(path: Path, dtypes: Mapping[str, str], separator: str, header: bool) -> pa.Table:
    source: Any = str(path)
    if len(separator) > 1:  # pyarrow does not support this
        content = path.read_bytes()
        if b"," in content:
            raise pa.ArrowInvalid("a comma")
        source, separator = pa.BufferReader(content.replace(separator.encode(), b",")), ","
    return pacsv.read_csv(
        source,
        read_options=pacsv.ReadOptions(column_names=list(dtypes), skip_rows=int(header)),
        parse_options=pacsv.ParseOptions(delimiter=separator, quote_char=False),
        convert_options=pacsv.ConvertOptions(
            column_types={name: TYPES[dtype] for name, dtype in dtypes.items()}, null_values=[]
        ),
    )


def _check_header(path: Path, names: tuple[str, ...], separator: str) -> None:
    number, line = next(lines(path), (0, ""))
    if not line:
        raise ValueError(f"{path} has no rows, expected at least one: {AGAIN}")
    if line.split(separator) != list(names):
        raise ValueError(
            f"{path}, line {number}: found the columns {line[:80]!r}, expected "
            f"{separator.join(names)!r}: {AGAIN}"
        )


def _first_problem(
    path: Path, dtypes: Mapping[str, str], separator: str, header: bool
) -> ValueError | None:
    """Return an error that names the first bad line, or None if there is no such line."""
    for place, (number, line) in enumerate(lines(path)):
        if header and place == 0:
            continue
        fields = line.split(separator)
        if len(fields) != len(dtypes):
            return _fields_wrong(path, number, fields, tuple(dtypes), separator)
        for (name, dtype), field in zip(dtypes.items(), fields, strict=True):
            if dtype == "int64" and not _is_int64(field):
                expected = "a whole number"
            elif dtype == "float32" and not _is_finite(field):
                expected = "a finite number"
            else:
                continue
            return ValueError(
                f"{path}, line {number}: {name} is {field[:40]!r}, expected {expected}: {AGAIN}"
            )
    return None


def _check_names(path: Path, names: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    """Raise ValueError unless each wanted column is there once."""
    for name in wanted:
        if names.count(name) != 1:
            how = "no" if name not in names else "more than one"
            raise ValueError(
                f"{path}, line 1: found {how} column {name!r} among {', '.join(names)[:160]!r}, "
                f"expected one: {AGAIN}"
            )


def _header_line(path: Path) -> int:
    """Return the number of the first line that is not empty."""
    return next(lines(path))[0]


def _first_wrong(
    path: Path,
    names: tuple[str, ...],
    kinds: Mapping[str, str],
    separator: str,
    header: bool,
    missing: Sequence[str],
) -> ValueError | None:
    """Return an error that names the first bad line of a file of fields, or None."""
    places = [(names.index(name), name, kind) for name, kind in kinds.items() if kind != "string"]
    for place, (number, line) in enumerate(lines(path)):
        if header and place == 0:
            continue
        fields = line.split(separator)
        if len(fields) != len(names):
            return _fields_wrong(path, number, fields, names, separator)
        for index, name, kind in places:
            field = fields[index]
            if name in missing and field in MISSING:
                continue
            if kind == "int64" and not _is_int64(field):
                expected = "a whole number"
            elif kind == "float64" and not _is_finite(field, kind):
                expected = "a finite number"
            elif kind == "time" and not _is_time(field):
                expected = "a time such as 2014-04-07T10:51:09.277Z"
            else:
                continue
            return ValueError(
                f"{path}, line {number}: {name} is {field[:40]!r}, expected {expected}: {AGAIN}"
            )
    return None


def _fields_wrong(
    path: Path, number: int, fields: list[str], names: tuple[str, ...], separator: str
) -> ValueError:
    shown = separator.replace("\t", "<tab>")
    return ValueError(
        f"{path}, line {number}: found {len(fields)} fields, expected {len(names)} "
        f"({shown.join(names)}): {AGAIN}"
    )


def _is_int64(field: str) -> bool:
    try:
        return -(2**63) <= int(field) < 2**63 and "_" not in field and "+" not in field
    except ValueError:
        return False


def _is_finite(field: str, dtype: str = "float32") -> bool:
    try:
        return bool(np.isfinite(np.dtype(dtype).type(field))) and "_" not in field
    except ValueError:
        return False


def _is_time(field: str) -> bool:
    try:
        pacsv.read_csv(
            pa.BufferReader(field.encode()),
            read_options=pacsv.ReadOptions(column_names=["time"]),
            convert_options=pacsv.ConvertOptions(column_types={"time": TYPES["time"]}),
        )
    except pa.ArrowInvalid:
        return False
    return bool(field)
