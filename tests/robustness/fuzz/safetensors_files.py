"""Mutations that know a safetensors file: its header, the JSON in it, and its numbers."""

import json
import random
import struct
from typing import Any

from tests.robustness.fuzz.harness import Mutation

VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 3, 7, 255, 2**31, 2**40, 2**63, -(2**63), 10**30, 10**400),
    *(0.5, 1.5, -0.0, 1e308, float("nan"), float("inf"), "", "x", "4", "F64", "F16", "U8", "F4"),
    *("rqvae", "decoder-only", "encoder-decoder", "training-state", "a" * 100_000, "é\0\n"),
    *([], [0], [1, 1], [10**12], [-1], [[0]], ["a"], {}, {"a": 1}, [2] * 5000, [3] * 300_000),
]


def parts_of(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return header and numbers; raise ValueError if earlier mutations left none."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    if not isinstance(header, dict):
        raise ValueError
    return header, data[8 + length :]


def joined(header: Any, numbers: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + numbers


def change_json(chance: random.Random, node: Any) -> Any:
    """Return JSON with one place in it changed."""
    if isinstance(node, dict) and node and chance.random() < 0.9:
        key = chance.choice(list(node))
        what = chance.randrange(8)
        if what == 0:
            return {name: value for name, value in node.items() if name != key}
        if what == 1:
            return node | {chance.choice(["surprise", "", "w" * 5000]): node[key]}
        if what == 2:
            return {(f"{n}x" if n == key else n): value for n, value in node.items()}
        return node | {key: change_json(chance, node[key])}
    if isinstance(node, list) and node and chance.random() < 0.7:
        place = chance.randrange(len(node))
        return [*node[:place], change_json(chance, node[place]), *node[place + 1 :]]
    if isinstance(node, str) and node.startswith("{"):  # our description, JSON within JSON
        return json.dumps(change_json(chance, json.loads(node)))
    if isinstance(node, int) and chance.random() < 0.3:
        return node + chance.choice([-1, 1, 8])
    return chance.choice(VALUES)


def change_header(chance: random.Random, data: bytes) -> bytes:
    try:
        header, numbers = parts_of(data)
        if chance.random() < 0.6 and "__metadata__" in header:
            metadata = change_json(chance, header["__metadata__"])
            return joined(header | {"__metadata__": metadata}, numbers)
        return joined(change_json(chance, header), numbers)
    except (ValueError, RecursionError, TypeError, AttributeError):
        return data


def change_tensor(chance: random.Random, data: bytes) -> bytes:
    """Give a tensor another type, shape or place that fits its bytes."""
    try:
        header, numbers = parts_of(data)
        name = chance.choice([key for key in header if key != "__metadata__"])
        entry = dict(header[name])
        what = chance.randrange(3)
        if what == 0:
            same = {"F32": ["I32", "U32"], "I64": ["F64", "U64", "C64"], "BOOL": ["U8", "F8_E4M3"]}
            entry["dtype"] = chance.choice(same.get(entry["dtype"], ["F16", "BF16"]))
        elif what == 1:
            entry["shape"] = chance.choice([entry["shape"][::-1], [1, *entry["shape"]], [-1], []])
        else:
            other = header[chance.choice([key for key in header if key != "__metadata__"])]
            entry = dict(other)
        return joined(header | {name: entry}, numbers)
    except (ValueError, KeyError, TypeError, IndexError):
        return data


def change_numbers(chance: random.Random, data: bytes) -> bytes:
    """Put a number of another kind among the weights, in one place or all over."""
    try:
        header, numbers = parts_of(data)
    except (ValueError, RecursionError):
        return data
    number = chance.choice(
        [
            *(struct.pack("<f", value) for value in (float("nan"), float("inf"), 3e38, -1.0, 0.0)),
            *(struct.pack("<q", value) for value in (-1, 2**62, 5, -(2**63))),
        ]
    )
    if not numbers:
        return data
    place = chance.randrange(len(numbers)) // len(number) * len(number)
    times = chance.choice([1, 1, 10, len(numbers) // len(number)])
    changed = numbers[:place] + number * times
    return joined(header, (changed + numbers[len(changed) :])[: len(numbers)])


MUTATIONS: list[Mutation] = [change_header, change_header, change_tensor, change_numbers]
