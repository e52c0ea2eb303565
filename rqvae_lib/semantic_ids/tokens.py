"""IDs as tokens: each code is a word of its own, such as <a_12>, in a language model's vocabulary.

The letter is the level, so equal codes of two levels are different words. Other projects write the
words in other ways; `read_tokens` knows theirs. A tokenizer must not split such a word, and neither
lower its case nor put spaces around it: that is what the file for Hugging Face `tokenizers` is for.

Source: `tokenizers`' file format, https://huggingface.co/docs/tokenizers.
"""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rqvae_lib.io.atomic import write_atomically
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.config import BASE, DIGIT, STYLE, Digit, Style
from rqvae_lib.semantic_ids.numbering import Numbers, level_starts, ragged, shown

STYLES: dict[Style, str] = {  # of a level's letter, its number from 0, and a number
    "lc-rec": "<{letter}_{number}>",
    "openonerec": "<s_{letter}_{number}>",
    "unigenrec": "<L{level}_{number}>",
    "forge": "C{number}",
    "sid": "<|sid_{number}|>",
}
WITHOUT_LEVEL = ("forge", "sid")  # so that only offsets tell one level's tokens from another's
BEGIN, END, UNKNOWN = "<|sid_begin|>", "<|sid_end|>", "<unk>"
MARKERS = {BEGIN, END, "<|sid_start|>"}
_LETTER = re.compile(r"<(?:s_)?([a-z]{1,2})_([0-9]{1,10})>")
_NUMBERED_LEVEL = re.compile(r"<L([0-9]{1,3})_([0-9]{1,10})>")
_NO_LEVEL = re.compile(r"<\|sid_([0-9]{1,10})\|>|C([0-9]{1,10})")
_ANY = re.compile(r"<\|sid_[a-z]+\|>|<\|sid_[0-9]+\|>|<[A-Za-z0-9_]+>|C[0-9]+")
KNOWN = "<a_12>, <s_a_12>, <L0_12>, <|sid_12|> or C12"


def letter(level: int) -> str:
    """Return the name of a level, counted from 0: a, b, …, z, aa, ab, …"""
    name = ""
    level += 1
    while level:
        level, rest = divmod(level - 1, 26)
        name = chr(ord("a") + rest) + name
    return name


def token(level: int, number: int, style: Style = STYLE) -> str:
    """Return the token of a number at a level, counted from 0: <a_12>, or as `STYLES` has it."""
    return STYLES[style].format(letter=letter(level), level=level, number=number)


class ReadTokens(NamedTuple):
    """What tokens say."""

    numbers: Numbers
    levels_named: bool


class WrongToken(ValueError):
    """A token that is none, or is out of place; the caller names the file and the row."""

    def __init__(self, row: int, level: int | None, found: object, expected: str) -> None:
        super().__init__(f"{shown(found)}, expected {expected}")
        self.row, self.level, self.found, self.expected = row, level, found, expected


def split_tokens(texts: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Split texts such as "<L0_103> <L1_178>" or "C3C8195" into tokens.

    Returns:
        The tokens of all texts, one text after another, and how many each has, (N,).

    Raises:
        WrongToken: for the first text that holds something else.
    """
    tokens: list[str] = []
    lengths = np.empty(len(texts), dtype=np.int64)
    for row, text in enumerate(texts):
        found = _ANY.findall(text)
        if "".join(found) != "".join(text.split()):
            raise WrongToken(row, None, text, f"tokens such as {KNOWN}")
        tokens += found
        lengths[row] = len(found)
    return tokens, lengths


def read_tokens(tokens: Sequence[str], lengths: NDArray[np.int64]) -> ReadTokens:
    """Return the numbers that tokens name.

    Args:
        tokens: of all items, one item after another.
        lengths: how many each item has, (N,). An item may begin and end with a marker, such as
            `<|sid_begin|>`.

    Raises:
        WrongToken: for the first token that is none of ours, or names another level than its place.
    """
    distinct = {one: place for place, one in enumerate(dict.fromkeys(tokens))}
    parsed = [_parsed(one) for one in distinct]
    rows = np.repeat(np.arange(len(lengths)), lengths)
    places = np.arange(len(tokens)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    kinds = np.fromiter(map(distinct.__getitem__, tokens), dtype=np.int64, count=len(tokens))
    if None in parsed:
        where = int((kinds == parsed.index(None)).argmax())
        raise WrongToken(int(rows[where]), None, tokens[where], f"a token such as {KNOWN}")
    levels, numbers = np.array(parsed, dtype=np.int64).reshape(-1, 2)[kinds].T
    marker = levels == _MARKER
    inside = marker & (places > 0) & (places < np.repeat(lengths, lengths) - 1)
    if inside.any():
        where = int(inside.argmax())
        raise WrongToken(int(rows[where]), None, tokens[where], "it first or last in an item")
    places = places - np.repeat(_at_first(marker, lengths), lengths)
    counts = np.bincount(rows[~marker], minlength=len(lengths))
    if (counts == 0).any():
        row = int((counts == 0).argmax())
        raise WrongToken(row, None, [], "at least one token")
    misplaced = (levels != places) & (levels != _NONE) & ~marker
    if misplaced.any():
        where = int(misplaced.argmax())
        level = int(places[where])
        expected = f"a token of this level, such as {token(level, 0)}"
        raise WrongToken(int(rows[where]), level, tokens[where], expected)
    named = bool((levels[~marker] != _NONE).all())
    return ReadTokens(ragged(numbers[~marker], counts.astype(np.int64)), named)


_NONE, _MARKER = -1, -2  # instead of a level


def _parsed(text: str) -> tuple[int, int] | None:
    """Return a token's level and number; None if it is no token."""
    if text in MARKERS:
        return _MARKER, 0
    found = _LETTER.fullmatch(text)
    if found:
        level = 0
        for one in found[1]:
            level = 26 * level + ord(one) - ord("a") + 1
        return level - 1, int(found[2])
    found = _NUMBERED_LEVEL.fullmatch(text)
    if found:
        return int(found[1]), int(found[2])
    found = _NO_LEVEL.fullmatch(text)
    return (_NONE, int(found[1] or found[2])) if found else None


def _at_first(marker: NDArray[np.bool_], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Tell of each item whether its first token is a marker: (N,), 0 or 1."""
    if not len(marker):
        return np.zeros(len(lengths), dtype=np.int64)
    first = np.minimum(np.cumsum(lengths) - lengths, len(marker) - 1)
    begins: NDArray[np.bool_] = marker[first] & (lengths > 0)
    return begins.astype(np.int64)


# The vocabulary


def vocabulary(
    ids: SemanticIDs,
    *,
    base: int = BASE,
    offsets: bool = False,
    digit: Digit = DIGIT,
    begin_end: bool = False,
    style: Style = STYLE,
) -> list[str]:
    """Return every token that the codebooks of a catalogue can ask for, level by level.

    Args:
        ids: the catalogue. All codes of its codebooks get a token, also those that no item has.
        base, offsets, digit: as the IDs are written.
        begin_end: whether the tokens that mark an ID's begin and end come last.
        style: how tokens look.
    """
    sizes = ids.sizes[:-1] if digit == "none" else ids.sizes
    starts = level_starts(sizes) if offsets else np.zeros(len(sizes), dtype=np.int64)
    tokens = [
        token(level, base + int(start) + code, style)
        for level, (size, start) in enumerate(zip(sizes, starts, strict=True))
        for code in range(size)
    ]
    return [*tokens, BEGIN, END] if begin_end else tokens


def write_tokens(path: Path, tokens: Iterable[str]) -> None:
    """Write a vocabulary: .txt has a token in each line, .json is a file for `tokenizers`.

    The .json file holds a complete tokenizer, which reads IDs that are written one after another,
    and takes everything else for <unk>. `PreTrainedTokenizerFast(tokenizer_file=…)` loads it.
    """
    listed = list(tokens)
    with write_atomically(path) as temporary:
        if path.suffix.lower() == ".txt":
            text = "".join(f"{one}\n" for one in listed)
        else:
            text = json.dumps(_tokenizer(listed), ensure_ascii=False, indent=1) + "\n"
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _tokenizer(tokens: list[str]) -> dict[str, object]:
    """Return the content of a file for `tokenizers`, in which nothing changes or splits a token."""
    whole = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = [
        {"id": place, "content": one, **whole, "special": False} for place, one in enumerate(tokens)
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Fuse"},
        "model": {
            "type": "WordLevel",
            "vocab": {one: place for place, one in enumerate([*tokens, UNKNOWN])},
            "unk_token": UNKNOWN,
        },
    }
