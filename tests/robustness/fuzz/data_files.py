"""Small good data files of every format, written into a folder, and what spoils such files."""

import gzip
import random
import zlib
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa

from rqvae_lib.data.dataset import Dataset
from tests.robustness.fuzz.harness import Mutation

SEPARATORS = b":: | , \t \n \r\n \" ' \\ { } [ ( - ~".split(b" ")
VALUES = [b"nan", b"inf", b"0x1", b"1e999", b"9" * 25, b"None", b"\\ud800", b"lambda: 0", b"1+1j"]
ODD = [b"\xff", b"\xef\xbb\xbf", b"\0", b"\xed\xa0\x80", b"1_0", b" ", b"", b"-" * 5000, b"(" * 300]
PIECES = [*SEPARATORS, *VALUES, *ODD]


def put_piece(chance: random.Random, data: bytes) -> bytes:
    """Put what means something to a parser somewhere, over what is there or between."""
    place = chance.randrange(len(data) + 1)
    return data[:place] + chance.choice(PIECES) + data[place + chance.choice([0, 1, 6]) :]


def repeat_lines(chance: random.Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    place = chance.randrange(len(lines) + 1)
    return b"".join([*lines[:place], *lines[place : place + 1] * 3, *lines[place:]])


TEXT: list[Mutation] = [put_piece, put_piece, repeat_lines]


def within_gzip(mutation: Mutation) -> Mutation:
    """Spoil what is packed, if it still can be unpacked."""

    def spoil(chance: random.Random, data: bytes) -> bytes:
        try:
            return gzip.compress(mutation(chance, gzip.decompress(data)))
        except (OSError, EOFError, ValueError, zlib.error):
            return mutation(chance, data)

    return spoil


def writer(files: dict[str, bytes]) -> Callable[[Path], None]:
    """Return what writes files, by name, into a folder; folders in the names are left out."""

    def write(folder: Path) -> None:
        folder.mkdir()
        for name, content in files.items():
            (folder / Path(name).name).write_bytes(content)

    return write


def own_tables(ending: str) -> dict[str, bytes]:
    interactions = pd.DataFrame(
        {"user_id": [1, 1, 2], "item_id": ["a", "b", "a"], "rating": [1.0, 2, 3], "timestamp": 5}
    )
    items = pd.DataFrame({"item_id": ["a", "b"], "title": ["A", None], "year": [1999, 2000]})
    items = items.assign(genres="x", text="t")
    tables = {"interactions": interactions, "items": items}
    return {f"{name}.{ending}": own_table(table, ending) for name, table in tables.items()}


def own_table(table: pd.DataFrame, ending: str) -> bytes:
    if ending in ("parquet", "jsonl") and "genres" in table:
        table = table.assign(genres=[["x", "y"]] * len(table))
    if ending == "parquet":
        return bytes(table.to_parquet())
    if ending == "jsonl":
        return table.to_json(orient="records", lines=True).encode()
    if ending == "csv.gz":
        return gzip.compress(table.to_csv(index=False).encode())
    if ending == "csv.zst":
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(table.to_csv(index=False).encode())
        return bytes(sink.getvalue())
    if ending == "inter":
        table = table.rename(columns=lambda name: f"{name}:token")
        return table.to_csv(index=False, sep="\t").encode()
    if ending == "dat":
        return table.to_csv(index=False, sep=";").replace(";", "::").encode()
    return table.to_csv(index=False, sep=";" if ending == "txt" else ",").encode()


def read_own(ending: str) -> Callable[[Path], object]:
    return lambda folder: Dataset.from_tables(
        folder / f"interactions.{ending}", folder / f"items.{ending}"
    )
