"""Fuzz `import_ids` on Parquet with a column of lists."""

import io
import random

import pyarrow as pa
import pyarrow.parquet as pq

from tests.robustness.fuzz.foreign_ids import TOKENS, read, writer
from tests.robustness.fuzz.harness import Mutation, Target, main

KINDS = [
    *(pa.list_(pa.int8()), pa.list_(pa.uint64()), pa.list_(pa.float64()), pa.list_(pa.string())),
    *(pa.large_list(pa.int64()), pa.list_(pa.int64(), 3), pa.list_(pa.list_(pa.int64()))),
    *(pa.string(), pa.int64(), pa.binary(), pa.null(), pa.list_(pa.null()), pa.list_(pa.bool_())),
]
LISTS = [None, [], [None], [-1], [2**31], [2**62], [0], [0, 1], [5] * 300, [1, 1, 1, 1, 1]]


def change_lists(chance: random.Random, data: bytes) -> bytes:
    """Write the table again with another list, another type of lists, or texts instead."""
    try:
        table = pq.read_table(io.BytesIO(data))
        ids, lists = (column.to_pylist() for column in table.columns[:2])
        place = chance.randrange(len(lists))
        what = chance.randrange(4)
        if what == 0:
            lists[place] = chance.choice(LISTS)
        elif what == 1:
            ids[place] = chance.choice([None, "", ids[0], "x" * 10_000])
        name = "codes" if what < 3 else chance.choice(["sid", "codebook", "other"])
        kind = chance.choice(KINDS) if what == 2 else pa.list_(pa.int64())
        codes = pa.array(lists, pa.list_(pa.int64())).cast(kind, safe=False)
        if what == 3:
            codes = pa.array(["".join(chance.choices(TOKENS, k=2)) for _ in lists])
        written = io.BytesIO()
        groups = chance.choice([1, 2, 100])
        pq.write_table(pa.table({"pid": ids, name: codes}), written, row_group_size=groups)
        return written.getvalue()
    except Exception:  # what was spoilt before cannot be read: leave it so
        return data


MUTATIONS: list[Mutation] = [change_lists]

if __name__ == "__main__":
    main(Target(writer("parquet"), read, ".parquet", MUTATIONS))
