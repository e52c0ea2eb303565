"""Fuzz `read_ids` on Parquet."""

import io
import random

import pyarrow as pa
import pyarrow.parquet as pq

from tests.robustness.fuzz import id_tables
from tests.robustness.fuzz.harness import Mutation, Target, main

TYPES = [
    *(pa.int8(), pa.int32(), pa.uint64(), pa.float32(), pa.float64(), pa.string(), pa.binary()),
    *(pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.decimal128(20, 2), pa.null()),
    *(pa.timestamp("ns"), pa.date32(), pa.bool_(), pa.list_(pa.int64()), pa.float16()),
]


def change_column(chance: random.Random, data: bytes) -> bytes:
    """Write the table again with a column of another type, or with another value in it."""
    try:
        table = pq.read_table(io.BytesIO(data))
        place = chance.randrange(table.num_columns)
        name, values = table.column_names[place], table.column(place).to_pylist()
        what = chance.randrange(4)
        if what == 0:
            column = table.column(place).cast(chance.choice(TYPES), safe=False)
        elif what == 1:
            values[chance.randrange(len(values))] = None
            column = pa.array(values)
        elif what == 2:
            field = chance.choice(id_tables.FIELDS)
            values = [str(value) for value in values]
            values[chance.randrange(len(values))] = field
            column = pa.array(values)
        else:
            column = pa.array(
                [chance.choice([[1], {"a": 1}, 1.5, 2**63 - 1, b"\xff"])] * len(table)
            )
        table = table.set_column(place, name, column)
        if chance.random() < 0.2:
            table = table.take([chance.randrange(len(table)) for _ in range(len(table))])
        written = io.BytesIO()
        codec = chance.choice(["none", "snappy", "gzip", "zstd"])
        pq.write_table(table, written, compression=codec)
        return written.getvalue()
    except Exception:  # what was spoilt before cannot be read: leave it so
        return data


def change_columns(chance: random.Random, data: bytes) -> bytes:
    try:
        table = pq.read_table(io.BytesIO(data))
        names = list(table.column_names)
        chance.shuffle(names)
        if chance.random() < 0.5:
            names = names[: chance.randrange(len(names) + 1)]
        written = io.BytesIO()
        pq.write_table(table.select(names), written)
        return written.getvalue()
    except Exception:
        return data


MUTATIONS: list[Mutation] = [change_column, change_column, change_columns]

if __name__ == "__main__":
    main(Target(id_tables.write, id_tables.read, ".parquet", MUTATIONS))
