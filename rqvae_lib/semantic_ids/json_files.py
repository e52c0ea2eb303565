"""IDs in JSON: one object of all items, or one object in each line.

The object's keys are item ids or row numbers as text. The values are lists of tokens or of numbers,
or one text with all tokens of an item. JSON itself lets a key occur twice and readers then keep the
last one; here a repeated key is refused.

Used by: the export and the import of IDs.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from rqvae_lib.io.atomic import write_atomically
from rqvae_lib.semantic_ids.config import Style
from rqvae_lib.semantic_ids.numbering import LARGEST, Numbers, WrittenIDs, ragged, shown, wrong
from rqvae_lib.semantic_ids.tokens import (
    BEGIN,
    END,
    WrongToken,
    read_tokens,
    split_tokens,
    token,
)

PIECE = 2**16  # rows that are written at a time
LINE_KEYS = ("item_id", "token_ids")


class _Pairs(list[tuple[str, Any]]):
    """The members of a JSON object, in order, so that a repeated key can be seen."""


_DECODER = json.JSONDecoder(object_pairs_hook=_Pairs)


# In


def read_object(path: Path) -> WrittenIDs:
    """Read a JSON object from item to ID.

    Raises:
        ValueError: if the file is no such object; the message names the item.
        OSError: if the file cannot be read.
    """
    members = _parsed(path, _text(path))
    if not isinstance(members, _Pairs):
        raise ValueError(
            f"{path} holds {_kind(members)}, expected a JSON object from each item id to its ID, "
            'such as {"0": ["<a_12>", "<b_3>"]}: make it again'
        )
    keys = np.array([key for key, _ in members], dtype=object)
    return _written(path, "item", keys, [value for _, value in members])


def read_lines(path: Path) -> WrittenIDs:
    """Read JSON lines with item_id and token_ids.

    Raises:
        ValueError: if a line is no such object; the message names the line, counted from 1.
        OSError: if the file cannot be read.
    """
    keys: list[Any] = []
    values: list[Any] = []
    for number, line in enumerate(_text(path).rstrip().split("\n")):
        members = _parsed(path, line, f", line {number + 1}")
        found = dict(members) if isinstance(members, _Pairs) else {}
        missing = [name for name in LINE_KEYS if name not in found]
        if missing:
            raise wrong(
                str(path), f"line {number + 1}", "", _cut(line), "an object with item_id, token_ids"
            )
        keys.append(found["item_id"])
        values.append(found["token_ids"])
    kinds = set(map(type, keys))
    if not kinds <= {int} and not kinds <= {str}:
        row = next(
            row for row, key in enumerate(keys) if type(key) is not type(keys[0]) or _odd(key)
        )
        expected = "an id, all whole numbers or all text"
        raise wrong(str(path), f"line {row + 1}", "'item_id'", keys[row], expected)
    if kinds == {int}:
        large = [row for row, key in enumerate(keys) if not -(2**63) <= key < 2**63]
        if large:
            raise wrong(
                str(path), f"line {large[0] + 1}", "'item_id'", keys[large[0]], "an id of 64 bits"
            )
    ids = np.array(keys, dtype=np.int64 if kinds == {int} else object)
    return _written(path, "line", ids, values)


def _odd(key: object) -> bool:
    return type(key) not in (int, str)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}), expected JSON: "
            "convert the file"
        ) from error


def _parsed(path: Path, text: str, where: str = "") -> Any:
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(
            f"{path}{where} is not JSON ({reason}), expected one object: make it again"
        ) from error


def _kind(value: object) -> str:
    if isinstance(value, list):
        return "a list"
    return f"{shown(value)}"


def _cut(line: str) -> str:
    return line[:60]


def _written(path: Path, row: str, keys: NDArray[Any], values: list[Any]) -> WrittenIDs:
    """Return what a file says, of each item's id and its list or text."""
    if not values:
        raise ValueError(f"{path} has no items, expected at least one: make it again")
    nothing = Numbers(np.zeros((1, 1), dtype=np.int64), np.ones(1, dtype=np.int64))
    empty = WrittenIDs(str(path), nothing, keys, "line" if row == "line" else "item")
    kinds = set(map(type, values))
    try:
        if kinds == {str}:
            tokens, lengths = split_tokens(values)
            numbers, named = read_tokens(tokens, lengths)
        else:
            first = next((one for one, value in enumerate(values) if type(value) is not list), None)
            if first is not None:
                raise empty.wrong(
                    first, None, _plain(values[first]), "a list of codes or of tokens"
                )
            numbers, named = _of_lists(empty, values)
    except WrongToken as error:
        raise empty.wrong(error.row, error.level, error.found, error.expected) from None
    return empty._replace(numbers=numbers, levels_named=named)


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, _Pairs) else value


def _of_lists(empty: WrittenIDs, values: list[list[Any]]) -> tuple[Numbers, bool]:
    """Return the numbers of lists of tokens or of whole numbers."""
    lengths = np.fromiter(map(len, values), dtype=np.int64, count=len(values))
    if not lengths.all():
        raise empty.wrong(int((lengths == 0).argmax()), None, [], "at least one code")
    listed = list(chain.from_iterable(values))
    kinds = set(map(type, listed))
    if kinds == {str}:
        return read_tokens(listed, lengths)
    if kinds == {int} and min(listed) >= 0 and max(listed) <= LARGEST:
        return ragged(np.array(listed, dtype=np.int64), lengths), False
    wanted = type(listed[0]) if type(listed[0]) in (str, int) else int
    for row, value in enumerate(values):
        for level, one in enumerate(value):
            if type(one) is not wanted or (wanted is int and not 0 <= one <= LARGEST):
                expected = f"a code from 0 to {LARGEST:,}" if wanted is int else "a token"
                raise empty.wrong(row, level, _plain(one), expected)
    raise AssertionError("every code is a code")  # pragma: no cover


# Out


def write_index(path: Path, keys: Sequence[str], numbers: Numbers, style: Style) -> None:
    """Write an object from each key to its list of tokens."""
    tokens = _joined(numbers, lambda level, number: f'"{token(level, number, style)}"')
    _write_object(path, keys, (f"[{listed}]" for listed in tokens))


def write_lists(path: Path, keys: Sequence[str], numbers: Numbers) -> None:
    """Write an object from each key to its list of numbers."""
    _write_object(path, keys, (f"[{listed}]" for listed in _joined(numbers, _number)))


def write_texts(
    path: Path, keys: Sequence[str], numbers: Numbers, style: Style, begin_end: bool
) -> None:
    """Write an object from each key to one text of all its tokens."""
    between = " " if style == "unigenrec" else ""
    begin, end = (BEGIN + between, between + END) if begin_end else ("", "")
    texts = _joined(numbers, lambda level, number: token(level, number, style), between)
    _write_object(path, keys, (f'"{begin}{text}{end}"' for text in texts))


def write_lines(
    path: Path, item_ids: NDArray[Any], numbers: Numbers, titles: Sequence[str] | None
) -> None:
    """Write a line for each item: item_id, token_ids and, where titles are known, metadata."""
    lists = _joined(numbers, _number)
    with write_atomically(path) as temporary, _opened(temporary) as file:
        for row, (key, listed) in enumerate(zip(item_ids.tolist(), lists, strict=True)):
            more = "" if titles is None else f', "metadata": {{"title": {_quoted(titles[row])}}}'
            own = _quoted(key) if isinstance(key, str) else str(key)
            file.write(f'{{"item_id": {own}, "token_ids": [{listed}]{more}}}\n')


def _write_object(path: Path, keys: Sequence[str], values: Iterator[str]) -> None:
    with write_atomically(path) as temporary, _opened(temporary) as file:
        file.write("{")
        comma = ""
        for key, value in zip(keys, values, strict=True):
            file.write(f"{comma}{_quoted(key)}: {value}")
            comma = ", "
        file.write("}\n")


def _opened(path: Path) -> TextIO:
    return path.open("w", encoding="utf-8", newline="\n")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _number(level: int, number: int) -> str:
    return str(number)


def _joined(
    numbers: Numbers, word: Callable[[int, int], str], between: str = ", "
) -> Iterator[str]:
    """Yield the words of each item. Each number of a level becomes a word only once."""
    for start in range(0, len(numbers.table), PIECE):
        table, lengths = (part[start : start + PIECE] for part in numbers)
        columns = []
        for level in range(table.shape[1]):
            distinct, places = np.unique(table[:, level], return_inverse=True)
            words = [word(level, number) for number in distinct.tolist()]
            columns.append(np.array(words, dtype=object)[places].tolist())
        for length, row in zip(lengths.tolist(), zip(*columns, strict=True), strict=True):
            yield between.join(row[:length])
