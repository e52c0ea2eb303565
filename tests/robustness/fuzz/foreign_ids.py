"""What the targets of other projects' ID files share: a good file, and what must hold of any."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.config import Format
from rqvae_lib.semantic_ids.exports import export_ids
from rqvae_lib.semantic_ids.imports import import_ids
from tests.robustness.fuzz.harness import Mutation

IDS = SemanticIDs(torch.tensor([[2, 1], [0, 1], [2, 1], [2, 0], [1, 0], [1, 1]]), [3, 2])
ITEM_IDS = ["a", "7", "007", "七", 'q"', " x"]
TITLES = ["Alien", 'a "quoted", one', "七人の侍", "", "two\nlines", "NA"]
TOKENS = ["<a_0>", "<b_1>", "<c_2>", "<|sid_5|>", "C3C4", "<L0_1> <L1_2>", "<|sid_begin|>", "<a_>"]
VALUES = ["null", "true", "-1", "0.5", "1e9", "9" * 30, "[]", "{}", "[[0]]", '"\\ud800"', "NaN"]
PIECES = [*TOKENS, *VALUES, *'[]{}":,', '"a": ', "\\", "\n", "\0", "\ufeff", "[" * 2000]


def writer(format: Format) -> Callable[[Path], object]:
    """Return what writes a good file of a format."""
    return lambda path: export_ids(path, IDS, ITEM_IDS, format=format, titles=TITLES)


def read(path: Path) -> None:
    """Read a file, and see that what was read is the same when it is written and read again."""
    found = import_ids(path)
    again = path.with_name("again.parquet")
    try:
        export_ids(again, found.ids, found.item_ids, format="parquet")
        sizes = found.ids.sizes[:-1]
        back = import_ids(again, found.item_ids, base=0, offsets=False, codebook_sizes=sizes)
    finally:
        again.unlink(missing_ok=True)
    assert back.ids.sha256 == found.ids.sha256
    assert np.array_equal(back.item_ids, found.item_ids)


def put_piece(chance: random.Random, data: bytes) -> bytes:
    """Put what means something to a reader of JSON somewhere, over what is there or between."""
    place = chance.randrange(len(data) + 1)
    piece = chance.choice(PIECES).encode("utf-8", "surrogatepass")
    return data[:place] + piece + data[place + chance.choice([0, 1, 6]) :]


def change_value(chance: random.Random, data: bytes) -> bytes:
    """Write the JSON again with another value somewhere in it."""
    try:
        lines = data.decode().splitlines()
        place = chance.randrange(len(lines))
        content = json.loads(lines[place])
        key = chance.choice(list(content))
        other = chance.choice([None, True, -1, 0.5, 2**31, 10**30, [], {}, [[0]], "C1", *TOKENS])
        if isinstance(content[key], list) and content[key] and chance.random() < 0.7:
            content[key][chance.randrange(len(content[key]))] = other
        else:
            content[key] = other
        lines[place] = json.dumps(content)
        return "\n".join(lines).encode()
    except Exception:  # what was spoilt before cannot be read: leave it so
        return data


JSON: list[Mutation] = [put_piece, put_piece, change_value, change_value]
