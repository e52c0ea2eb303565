"""Fuzz `read_ids` on CSV."""

import random

from tests.robustness.fuzz import id_tables
from tests.robustness.fuzz.harness import Mutation, Target, main


def change_field(chance: random.Random, data: bytes) -> bytes:
    rows = [row.split(b",") for row in data.split(b"\n")]
    row = chance.choice(rows)
    field = chance.choice(id_tables.FIELDS).encode()
    row[chance.randrange(len(row))] = field
    return b"\n".join(b",".join(row) for row in rows)


def change_rows(chance: random.Random, data: bytes) -> bytes:
    rows = data.split(b"\n")
    place = chance.randrange(len(rows))
    what = chance.randrange(4)
    if what == 0:
        chance.shuffle(rows)
    elif what == 1:
        rows[place : place + 1] = [rows[place]] * chance.choice([2, 1000])
    elif what == 2:
        del rows[place]
    else:
        rows.insert(place, chance.choice([b"", b"," * 5, b"," * 100_000, b'"']))
    return b"\n".join(rows)


def change_coding(chance: random.Random, data: bytes) -> bytes:
    text = data.decode("utf-8", "replace")
    coding = chance.choice(["utf-16", "utf-8-sig", "utf-32", "cp500"])
    return text.encode(coding, "replace")


MUTATIONS: list[Mutation] = [change_field, change_field, change_rows, change_coding]

if __name__ == "__main__":
    main(Target(id_tables.write, id_tables.read, ".csv", MUTATIONS))
