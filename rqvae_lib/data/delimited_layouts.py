"""Finds out how a text file is laid out: what separates its fields, and whether it has a header.

Both are found by rules, and what they found is said:

- The delimiter is the one that gives the same number of fields, two or more, in all of the first
  lines. If several do, it is the one that makes the first line hold a known name of a column.
- The first line is a header if it holds a known name, or one that you gave. It is not if you gave
  numbers, if one of its fields is a number or a date, or if each of them holds a digit.

RecBole's atomic files (.inter, .item, .user) are separated by tabs and have no quotes. Neither have
files with "::". Each name in an atomic header has a type, as in "user_id:token".

Used by: `read_table`.
"""

import codecs
import csv
import io
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from rqvae_lib.data.column_names import has_a_known_name, option
from rqvae_lib.data.packed_files import endings, open_unpacked

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars", "::": '"::"'}
SPELLED = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "space": " ", "pipe": "|"}
ATOMIC = (".inter", ".item", ".user")
USUAL = {".csv": ",", ".tsv": "\t"} | dict.fromkeys(ATOMIC, "\t")
DELIMITED = (*USUAL, ".txt", ".dat")
SAMPLE_BYTES = 2**20
SAMPLE_ROWS = 20
ONE_FIELD = (
    "; each line is one field: if something separates fields in it, say what with --separator, "
    "such as --separator space"
)


class Layout(NamedTuple):
    """How a file is laid out."""

    separator: str
    quoted: bool  # whether a field may be in double quotes
    names: list[str]  # of the columns; "1", "2", … without a header
    types: dict[str, str]  # RecBole's, by name
    start: int  # the byte where the first row begins
    said: tuple[str, ...]


class _Line(NamedTuple):
    fields: list[str]
    end: int  # the byte after it


def find_layout(
    path: Path,
    wanted: Collection[str],
    asked: Mapping[str, str],
    separator: str | None,
    header: bool | None,
) -> Layout:
    """Find out how a file is laid out.

    Args:
        path: the file.
        wanted: the library's names of the columns to read.
        asked: the names that a reader gave, or numbers from 1.
        separator: one or more characters, or one of `SPELLED`; None to find it.
        header: whether the first line holds the names; None to find out.

    Raises:
        ValueError: if no delimiter or several would do, if a file without a header needs numbers of
            columns, or if the file is not text.
    """
    ending, _ = endings(path)
    with open_unpacked(path) as file:
        sample = file.read(SAMPLE_BYTES)
        whole = len(sample) < SAMPLE_BYTES
    _check_text(path, sample)
    said = []
    if separator is None:
        separator, why = _find_separator(path, ending, sample, whole, wanted, asked)
        said += why
    separator = SPELLED.get(separator, separator)
    bad = any(letter.isalnum() or letter in '"\r\n' for letter in separator)
    if bad or not separator or not separator.isascii():
        raise ValueError(
            f"separator is {separator!r}, expected , ; | :: or tab, or other plain characters that "
            "stand between two fields"
        )
    quoted = len(separator) == 1 and ending not in ATOMIC
    lines = _first_lines(sample, separator, quoted, whole)
    if not lines:
        raise ValueError(
            f"{path} has no line that can be read in its first {len(sample):,} bytes, expected "
            "lines of fields: check where it comes from, and that each quote is closed"
        )
    first = lines[0].fields
    types: dict[str, str] = {}
    if header is not False:
        names, types = _atomic_names(first)
        first = names if ending in ATOMIC or len(types) == len(first) else first
    if header is None:
        typed = ending in ATOMIC and bool(types)
        header, why = _find_header(path, first, wanted, asked, separator, typed)
        said += why
    if header:
        return Layout(separator, quoted, first, types, lines[0].end, tuple(said))
    names = [str(number) for number in range(1, len(first) + 1)]
    return Layout(separator, quoted, names, {}, _start(sample), tuple(said))


def _check_text(path: Path, sample: bytes) -> None:
    if not sample:
        raise ValueError(f"{path} is empty, expected a table: check where it comes from")
    for mark, what in (
        (b"\x1f\x8b", "a gzip file, expected text: name it …csv.gz"),
        (b"\x28\xb5\x2f\xfd", "a Zstandard file, expected text: name it …csv.zst"),
        (codecs.BOM_UTF16_LE, "UTF-16 text, expected UTF-8: convert the file"),
        (codecs.BOM_UTF16_BE, "UTF-16 text, expected UTF-8: convert the file"),
        (b"PAR1", "a Parquet file, expected text: name it ….parquet"),
    ):
        if sample.startswith(mark):
            raise ValueError(f"{path} is {what}")


def _start(sample: bytes) -> int:
    return len(codecs.BOM_UTF8) if sample.startswith(codecs.BOM_UTF8) else 0


def _first_lines(sample: bytes, separator: str, quoted: bool, whole: bool) -> list[_Line]:
    """Return the first rows of a sample that are not blank, without one that the sample cuts."""
    # Delimiters, quotes and line ends are ASCII, so Latin-1 splits UTF-8 at the right places, and a
    # character is a byte.
    start = _start(sample)
    text = sample[start:].decode("latin-1")
    lines = io.StringIO(text, newline="")  # splits at \n, \r and \r\n only
    found: list[_Line] = []
    ends: list[int] = []

    def counted() -> Iterator[str]:
        position = start
        for line in lines:
            position += len(line)
            ends.append(position)
            yield line

    if len(separator) > 1:
        rows: Iterator[list[str]] = (
            line.rstrip("\r\n").split(separator) if line.strip("\r\n") else [] for line in counted()
        )
    else:
        rows = csv_rows(counted(), separator, quoted)
    try:
        for row in rows:
            if row and (whole or ends[-1] < len(sample)):
                fields = [field.encode("latin-1").decode("utf-8", "replace") for field in row]
                found.append(_Line(fields, ends[-1]))
            if len(found) == SAMPLE_ROWS:
                break
    except csv.Error:  # a field of more than 128 KiB
        pass
    return found


def csv_rows(lines: Iterable[str], separator: str, quoted: bool) -> Iterator[list[str]]:
    """Split lines into fields. In text without quotes, a quote is a character like others."""
    if quoted:
        return csv.reader(lines, delimiter=separator)
    return csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE)


def _find_separator(
    path: Path,
    ending: str,
    sample: bytes,
    whole: bool,
    wanted: Collection[str],
    asked: Mapping[str, str],
) -> tuple[str, list[str]]:
    if ending in ATOMIC:
        return "\t", []
    lines = {mark: _first_lines(sample, mark, len(mark) == 1, whole) for mark in SEPARATORS}
    widths = {mark: {len(line.fields) for line in lines[mark]} for mark in SEPARATORS}
    same = [mark for mark, found in widths.items() if len(found) == 1 and min(found) > 1]
    known = [mark for mark in same if has_a_known_name(lines[mark][0].fields, wanted, asked)]
    could = known if len(known) == 1 else same
    if len(could) > 1:
        two = " and by ".join(SEPARATORS[mark] for mark in could)
        raise ValueError(
            f"{path} could be separated by {two}: both give the same number of fields in each of "
            f"the first lines, of which the first is {_shown(sample)}; say which with --separator "
            f"{_option(could[0])} or --separator {_option(could[1])}"
        )
    if could:
        mark, usual = could[0], USUAL.get(ending)
        if mark == usual:
            return mark, []
        fields = f"{widths[mark].pop()} fields in each of the first {len(lines[mark])} lines"
        return mark, [f"{path}: the fields are separated by {SEPARATORS[mark]} ({fields})"]
    # No delimiter fits all lines: let reading name the row that differs.
    first = [mark for mark in SEPARATORS if lines[mark] and len(lines[mark][0].fields) > 1]
    if len(first) == 1:
        return first[0], []
    if ending in USUAL:
        return USUAL[ending], []
    if not first:  # one column
        return ",", []
    raise ValueError(
        f"{path}: none of , ; | :: and tab gives the same number of fields in each of the first "
        f"lines, of which the first is {_shown(sample)}; say what separates the fields with "
        "--separator"
    )


def _find_header(
    path: Path,
    first: list[str],
    wanted: Collection[str],
    asked: Mapping[str, str],
    separator: str,
    typed: bool,
) -> tuple[bool, list[str]]:
    if typed or has_a_known_name(first, wanted, asked):
        return True, []
    given = [theirs for theirs in asked.values() if theirs]
    numbers = bool(given) and all(theirs.isdigit() for theirs in given)
    data = any(map(_is_number_or_date, first)) or all(map(_has_a_digit, first))
    if not numbers and not data:
        return True, []
    shown = _shorten(separator.join(first))
    if not numbers:
        columns = [option(name, str(number)) for number, name in enumerate(wanted, 1)]
        pairs = ", ".join(f'"{name}": "{number}"' for number, name in enumerate(wanted, 1))
        raise ValueError(
            f"{path} has no header: its first line is {shown}, with no known name; expected to be "
            "told which column is which, by numbers from 1: for example --columns "
            f"{','.join(columns[: len(first)])} (in Python columns={{{pairs}}}); if it is a "
            f"header, add --header{ONE_FIELD if len(first) == 1 else ''}"
        )
    return False, [f"{path} has no header: its first line is {shown}, with no known name"]


def _atomic_names(first: list[str]) -> tuple[list[str], dict[str, str]]:
    """Split RecBole's "user_id:token" into names and types."""
    pairs = [field.rpartition(":") for field in first]
    kinds = {"token", "token_seq", "float", "float_seq"}
    names = [
        name if kind in kinds else field
        for field, (name, _, kind) in zip(first, pairs, strict=True)
    ]
    return names, {name: kind for name, _, kind in pairs if kind in kinds}


def _is_number_or_date(field: str) -> bool:
    field = field.strip()
    return bool(
        re.fullmatch(r"[+-]?\d+([.,]\d+)?([eE][+-]?\d+)?", field)
        or re.match(r"\d{4}-\d\d?-\d\d?|\d{1,2}[/.]\d{1,2}[/.]\d{2,4}", field)
    )


def _has_a_digit(field: str) -> bool:
    return any(letter.isdigit() for letter in field)


def _shown(sample: bytes) -> str:
    lines = sample[_start(sample) :].decode("utf-8", "replace").splitlines()
    return _shorten(next((line for line in lines if line.strip()), ""))


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:80]}…")


def _option(mark: str) -> str:
    return {"\t": "tab", ",": ","}.get(mark, f"'{mark}'")
