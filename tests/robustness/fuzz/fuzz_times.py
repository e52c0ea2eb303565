"""Fuzz the times of a CSV: numbers of every unit, dates with and without zones."""

from pathlib import Path

from rqvae_lib.data.dataset import Dataset
from tests.robustness.fuzz.data_files import TEXT, writer
from tests.robustness.fuzz.harness import Mutation, Target, main, random

TIMES = {
    "seconds": ["1550793600", "1550793601.5", "1701302400"],
    "milliseconds": ["1550793600123", "1550793600124", "1701302400000"],
    "nanoseconds": ["1550793600123456789"] * 3,
    "order": ["0", "1", "20190222"],
    "dates": ["2014-04-07T10:51:09.277Z", "2014-04-07 10:51:09", "2014-04-07T10:51+05:30"],
}
PIECES = ["1e18", "-1", "9" * 19, "1969-12-31", "9999-12-31", "24:00:00", "0x1F", "nan", ".", "Z"]


def put_time(chance: random.Random, data: bytes) -> bytes:
    """Put a time of another unit, or what is nearly one, in the place of a field."""
    fields = data.split(b",")
    pieces = [*PIECES, *(time for times in TIMES.values() for time in times)]
    fields[chance.randrange(len(fields))] = chance.choice(pieces).encode()
    return b",".join(fields)


def files() -> dict[str, bytes]:
    return {
        f"{name}.csv": "".join(
            ["user_id,item_id,timestamp\n", *(f"1,{n},{time}\n" for n, time in enumerate(times))]
        ).encode()
        for name, times in TIMES.items()
    }


def read(folder: Path) -> None:
    refused: list[ValueError] = []
    for path in sorted(folder.glob("*.csv")):
        for unit in (None, "ms", "date", "%d.%m.%Y"):
            try:
                assert len(Dataset.from_tables(path, time_unit=unit).checksum) == 64
            except ValueError as error:
                if unit is None:  # the others do not fit most files
                    refused.append(error)
    if refused:
        raise refused[0]


MUTATIONS: list[Mutation] = [*TEXT, put_time, put_time, put_time]

if __name__ == "__main__":
    main(Target(writer(files()), read, "", MUTATIONS))
