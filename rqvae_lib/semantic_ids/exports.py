"""IDs out to other projects, in the shapes that those projects read.

`write_ids` writes this library's own table, which keeps everything. `export_ids` is for everybody
else's files, and says what they do not keep.

Used by: `rqvae-lib export`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rqvae_lib.data.plain_ids import of_one_type
from rqvae_lib.semantic_ids.array_files import RECORD_LEVELS, write_array, write_records
from rqvae_lib.semantic_ids.catalogue import SemanticIDs, disambiguate
from rqvae_lib.semantic_ids.column_files import write_item_to_sid, write_levels
from rqvae_lib.semantic_ids.column_files import write_lists as write_parquet
from rqvae_lib.semantic_ids.config import (
    AS_MANY,
    BASE,
    DIGIT,
    ENDINGS,
    KEYS,
    LEVELS_FIRST,
    STYLE,
    Digit,
    Format,
    Keys,
    Style,
)
from rqvae_lib.semantic_ids.json_files import write_index, write_lines, write_texts
from rqvae_lib.semantic_ids.json_files import write_lists as write_json
from rqvae_lib.semantic_ids.numbering import colliding, flat, shown, written_numbers
from rqvae_lib.semantic_ids.tokens import STYLES, WITHOUT_LEVEL, vocabulary, write_tokens


def check_export(
    path: str | Path,
    format: Format,
    *,
    offsets: bool = False,
    collision_digit: Digit = DIGIT,
    token_style: Style = STYLE,
) -> None:
    """Refuse what no catalogue could be exported with.

    Args:
        path, format, offsets, collision_digit, token_style: as `export_ids`.

    Raises:
        ValueError: if the path does not end as the format's files do, or the others contradict each
            other.
    """
    endings = ENDINGS[format]
    if Path(path).suffix.lower() not in endings:
        raise ValueError(
            f"{path} ends in {Path(path).suffix!r}: name a {' or '.join(endings)} file for {format}"
        )
    if collision_digit == "colliding" and format in AS_MANY:
        raise ValueError(
            f"{format} has as many numbers for each item, so no item can have one more: pass "
            "collision_digit 'all' or 'none' (--collision-digit)"
        )
    if token_style in WITHOUT_LEVEL and not offsets:
        example = STYLES[token_style].format(number=12)
        raise ValueError(
            f"a token such as {example} does not say its level, so equal codes of two levels would "
            "be one token: pass offsets=True (--offsets), or another token_style (--token-style)"
        )


def export_ids(
    path: str | Path,
    ids: SemanticIDs,
    item_ids: Sequence[int] | Sequence[str] | NDArray[Any],
    *,
    format: Format,
    titles: Sequence[str] | None = None,
    base: int = BASE,
    offsets: bool = False,
    collision_digit: Digit = DIGIT,
    keys: Keys = KEYS,
    token_style: Style = STYLE,
    begin_end: bool = False,
    levels_first: bool = LEVELS_FIRST,
) -> tuple[str, ...]:
    """Write a catalogue's IDs in the shape that another project reads, atomically.

    Args:
        path: the file to write. `ENDINGS` has the endings of each format.
        ids: the catalogue.
        item_ids: the dataset's own ids, (N,), in catalogue order: all whole numbers or all strings.
        format: "index-json" (LC-Rec, LETTER, MiniOneRec, torch-rechub), "grid" (GRID, an array),
            "catalogue-jsonl" (NVIDIA), "sem-ids" (RPG, ActionPiece), "text-json" (one text of
            tokens for each item, as UniGenRec's codebook.json), "parquet" (OpenOneRec), "csv"
            (FORGE), "item-to-sid" (TorchEasyRec), "records" (xLLM), or "tokens": the vocabulary, as
            .txt or as a file for Hugging Face `tokenizers`.
        titles: N titles. Only catalogue-jsonl keeps them.
        base: the number of a level's first code, 0 or 1.
        offsets: whether the sizes of the levels before it are added to each number.
        collision_digit: which items get one more number, which tells items with equal codes apart:
            "all", only those that collide, or "none". GRID's digit is 0 for an item that is alone
            and counts from 1 otherwise; all others count from 0.
        keys: what names an item in the file: its id, or its row in the catalogue.
        token_style: of index-json, text-json and tokens, how tokens look: <a_12> ("lc-rec"),
            <s_a_12> ("openonerec"), <L0_12> ("unigenrec"), C12 ("forge") or `<|sid_12|>` ("sid").
            The last two do not say their level, so they need offsets.
        begin_end: of tokens and text-json, whether there are `<|sid_begin|>` and `<|sid_end|>`.
        levels_first: of grid, whether the shape is (levels, items), as GRID has it, or
            (items, levels).

    Returns:
        Sentences about what the file does not keep.

    Raises:
        ValueError: if the path has another ending, or the format cannot hold what was asked for.
        OSError: if the path cannot be written. An older file is then unchanged.
    """
    path = Path(path)
    check_export(
        path,
        format,
        offsets=offsets,
        collision_digit=collision_digit,
        token_style=token_style,
    )
    own = of_one_type(item_ids)
    if len(own) != len(ids):
        raise ValueError(f"there are {len(own):,} item_ids for {len(ids):,} IDs: pass one for each")
    if base not in (0, 1):
        raise ValueError(f"base is {base}; expected 0 or 1")
    if format == "tokens":
        listed = vocabulary(
            ids,
            base=base,
            offsets=offsets,
            digit=collision_digit,
            begin_end=begin_end,
            style=token_style,
        )
        write_tokens(path, listed)
        return (f"{len(listed):,} tokens; which item has which ID is in none of them",)
    _check_shape(format, ids, own, collision_digit, keys)
    numbers = written_numbers(ids, base=base, offsets=offsets, digit=collision_digit)
    named = own if keys == "items" else np.arange(len(own))
    match format:
        case "index-json":
            write_index(path, _as_text(named), numbers, token_style)
        case "text-json":
            write_texts(path, _as_text(named), numbers, token_style, begin_end)
        case "sem-ids":
            write_json(path, _as_text(named), numbers)
        case "catalogue-jsonl":
            write_lines(path, named, numbers, titles)
        case "parquet":
            write_parquet(path, named, numbers, flat(numbers))
        case "csv":
            write_levels(path, named, numbers.table)
        case "item-to-sid":
            with_offsets = written_numbers(ids, base=base, offsets=True, digit=collision_digit)
            places = disambiguate(torch.from_numpy(numbers.table)).numpy()
            write_item_to_sid(path, named, numbers.table, with_offsets.table, places)
        case "records":
            write_records(path, named, numbers.table)
        case "grid":
            table = numbers.table.copy()
            if collision_digit == "all":
                table[:, -1] += colliding(ids)
            write_array(path, table.T if levels_first else table)
    return _lost(format, ids, own, titles, collision_digit, keys)


def _as_text(item_ids: NDArray[Any]) -> list[str]:
    return [str(one) for one in item_ids.tolist()]


def _check_shape(
    format: Format, ids: SemanticIDs, own: NDArray[Any], digit: Digit, keys: Keys
) -> None:
    """Refuse what a format cannot hold."""
    numbers = len(ids.sizes) - (digit == "none")
    if format == "records" and numbers != RECORD_LEVELS:
        raise ValueError(
            f"records hold {RECORD_LEVELS} numbers for each item, but these IDs have {numbers}, "
            "the collision digit included: pass collision_digit='none' (--collision-digit none), "
            "or IDs of another length"
        )
    if format == "records" and own.dtype == object and keys == "items":
        raise ValueError(
            f"records hold item ids of 64 bits, but these are text, such as {shown(own[0])}: pass "
            "keys='rows' (--keys rows)"
        )


def _lost(
    format: Format,
    ids: SemanticIDs,
    own: NDArray[Any],
    titles: Sequence[str] | None,
    digit: Digit,
    keys: Keys,
) -> tuple[str, ...]:
    """Say what a file does not keep."""
    lost = [f"the codebook sizes ({', '.join(map(str, ids.sizes[:-1]))})"]
    if titles is not None and format != "catalogue-jsonl":
        lost.append("titles")
    rows = own.dtype == np.int64 and bool((own == np.arange(len(own))).all())
    if not rows and (keys == "rows" or format == "grid"):
        lost.append("the item ids (row numbers stand for them)")
    said = [f"not in the file: {'; '.join(lost)}"]
    if format == "index-json" and keys == "items" and not rows:
        said.append(
            'the keys are item ids; LC-Rec and its relatives expect rows "0", "1", … (--keys rows)'
        )
    if digit == "none" and bool((ids.ids[:, -1] > 0).any()):
        count = int((ids.ids[:, -1] > 0).sum())
        said.append(f"{count:,} of {len(ids):,} items have the ID of an earlier item in it")
    return tuple(said)
