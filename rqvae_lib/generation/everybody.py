"""Recommendations for all users of a dataset, written to a file piece by piece.

The users are taken in parts of a fixed size. Each part is written as a file of its own, at once and
as a whole, and at the end the parts are copied into the output, one after another. So no more than
a part is in memory, whatever the number of users. If the program is killed, the finished parts
stay, and the next run goes on with the first one that is missing. As the parts are the same, so is
the output, byte for byte.

Beside the parts lies a description of the run: the model, the data, the users and the settings. A
run with another description does not go on with these parts.

Seen at work in: chapter 13.
"""

import hashlib
import json
import reprlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.tables import plain_ids
from rqvae_lib.generation.beam_search import check_search, recommend
from rqvae_lib.generation.config import NUM_BEAMS, NUM_ITEMS, TEMPERATURE
from rqvae_lib.io.atomic import remove_unfinished, write_atomically
from rqvae_lib.io.plain_json import plain_json
from rqvae_lib.io.progress import progress_of
from rqvae_lib.io.tensor_files import tensors_sha256
from rqvae_lib.models.base import Recommender, check_writes_ids
from rqvae_lib.ops.arrays import Array, as_count, as_rows
from rqvae_lib.ops.torch_settings import own_settings

FORMAT = "rqvae-lib recommendations 1"
ENDINGS = (".parquet", ".csv", ".jsonl")
COLUMNS = ("user_id", "rank", "item_id", "title", "semantic_id", "probability")
USERS_PER_PART = 2048
RUN_FILE = "run.json"


class Written(NamedTuple):
    """What was written for all users."""

    users: int
    rows: int
    resumed: int  # users whose recommendations an earlier run had found


@own_settings
def recommend_to_all(
    path: str | Path,
    model: Recommender,
    dataset: Dataset,
    *,
    users: Array | None = None,
    k: int = NUM_ITEMS,
    beams: int = NUM_BEAMS,
    allowed: Array | None = None,
    temperature: float = TEMPERATURE,
    max_per_prefix: int | None = None,
    batch_size: int = 64,
    users_per_part: int = USERS_PER_PART,
    resume: bool = False,
    progress: bool = True,
) -> Written:
    """Recommend to many users, and write a table of a row for each user and item.

    Its columns are user_id and item_id (the dataset's own ids), rank (int32, from 1), title,
    semantic_id ("17-4-203-0") and probability (float32). Users are in the dataset's order or that
    of `users`, and each user's items are in the order of their ranks.

    Args:
        path: the file to write: .parquet, .csv or .jsonl. Until it is done, the parts are in a
            folder of the same name with ".parts" at its end.
        model: a generative recommender, in evaluation mode.
        dataset: the users' histories, and the model's items.
        users: rows of `dataset.user_ids`, (U,). None: all users.
        k, beams, allowed, temperature, max_per_prefix, batch_size: as `recommend`. Nobody is
            recommended what is in their history.
        users_per_part: users in a part, at least 1.
        resume: go on with the parts of an interrupted run, if there are any.
        progress: show progress on stderr: a bar in a terminal, in a log a line now and then.

    Raises:
        ValueError: as `recommend`; if the path has another ending; if the model has other items
            than the dataset; if there are parts of an interrupted run and `resume` is False, or of
            a run with another model, other data or other settings.
        OSError: if a file cannot be written. The parts that are done stay.
    """
    path = Path(path)
    check_output(path)
    check_writes_ids(model)
    check_search(k, beams, temperature, max_per_prefix)
    users_per_part = as_count(users_per_part, "users_per_part")
    batch_size = as_count(batch_size, "batch_size")
    if len(model.ids) != dataset.num_items:
        raise ValueError(
            f"the model recommends from {len(model.ids):,} items, but {dataset.name} has "
            f"{dataset.num_items:,}: pass the data of the model's items"
        )
    chosen = np.arange(dataset.num_users) if users is None else as_rows(users, "users").numpy()
    if len(chosen) and not 0 <= chosen.min() <= chosen.max() < dataset.num_users:
        raise ValueError(
            f"users are from {chosen.min()} to {chosen.max()}; expected rows of dataset.user_ids, "
            f"0 to {dataset.num_users - 1}: find them there"
        )
    allowed = None if allowed is None else as_rows(allowed, "allowed")
    settings = {
        "k": k,
        "beams": beams,
        "temperature": float(temperature),
        "max_per_prefix": max_per_prefix,
        "allowed": "all" if allowed is None else tensors_sha256(torch.unique(allowed)),
        "batch_size": batch_size,
        "users_per_part": users_per_part,
    }
    run = {
        "format": FORMAT,
        "model": f"{model.config} {tensors_sha256(*model.state_dict().values())}",
        "data": dataset.checksum,
        "users": hashlib.sha256(chosen.astype("<i8").tobytes()).hexdigest(),
        **settings,
    }
    run = plain_json(run, "the run")  # a NumPy integer is as good as a plain one
    parts = _Parts(path, -(-len(chosen) // users_per_part))
    done = parts.begin(run, resume=resume)
    catalogue = _Catalogue(model, dataset)
    bar = progress_of(
        total=len(chosen),
        done=min(len(chosen), done * users_per_part),
        unit="user",
        show=progress,
    )
    for number in range(parts.count):
        if not parts.has(number):
            rows = chosen[number * users_per_part : (number + 1) * users_per_part]
            found = recommend(
                model,
                catalogue.histories(rows),
                k=k,
                beams=beams,
                allowed=allowed,
                temperature=temperature,
                max_per_prefix=max_per_prefix,
                batch_size=batch_size,
            )
            parts.write(number, catalogue.table(rows, found.items, found.log_probabilities))
            bar.update(len(rows))
    bar.close()
    rows_written = parts.join(catalogue.schema)
    return Written(len(chosen), rows_written, min(len(chosen), done * users_per_part))


def check_output(path: Path) -> None:
    """Raise ValueError unless a path ends in .parquet, .csv or .jsonl."""
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(
            f"{path} ends in {path.suffix!r}; expected {', '.join(ENDINGS)}: name such a file"
        )


def is_output(path: Path) -> bool:
    """Return whether a file looks as if `recommend_to_all` had written it, by its columns."""
    try:
        if path.suffix.lower() == ".parquet":
            return tuple(pq.read_schema(path).names) == COLUMNS
        with path.open(encoding="utf-8") as file:
            line = file.readline(2**16)
        if path.suffix.lower() == ".csv":
            return line.strip().replace('"', "") == ",".join(COLUMNS)
        return tuple(json.loads(line)) == COLUMNS
    except (OSError, ValueError, TypeError, RecursionError, pa.ArrowException):
        return False


def parts_of(path: Path) -> Path:
    """Return the folder of the parts of an output that is not finished."""
    return path.with_name(f"{path.name}.parts")


class _Catalogue:
    """The columns of a catalogue, made once, and the histories of its users."""

    def __init__(self, model: Recommender, dataset: Dataset) -> None:
        self.offsets = dataset.user_offsets
        self.items = dataset.interactions["item"].to_numpy(np.int64)
        self.user_ids = pa.array(dataset.user_ids)
        self.item_ids = pa.array(plain_ids(dataset.items["item_id"]))
        self.titles = pa.array(dataset.titles, pa.string())
        self.semantic_ids = pa.array(["-".join(map(str, row)) for row in model.ids.ids.tolist()])
        ids = self.user_ids.type, pa.int32(), self.item_ids.type
        types = (*ids, pa.string(), pa.string(), pa.float32())
        self.schema = pa.schema(zip(COLUMNS, types, strict=True))

    def histories(self, users: NDArray[np.int64]) -> list[Tensor]:
        """Return the item rows of each user, int64, oldest first."""
        return [
            torch.from_numpy(self.items[self.offsets[user] : self.offsets[user + 1]].copy())
            for user in users
        ]

    def table(self, users: NDArray[np.int64], items: Tensor, scores: Tensor) -> pa.Table:
        """Return the rows of some users' recommendations, (U, k) items and log-probabilities."""
        found = items.cpu().numpy()
        user, place = np.nonzero(found >= 0)  # in the order of users, then of ranks
        item = found[user, place]
        probability = scores.cpu().double().exp().float().numpy()[user, place]
        columns = [
            self.user_ids.take(pa.array(users[user])),
            pa.array(place + 1, pa.int32()),
            self.item_ids.take(pa.array(item)),
            self.titles.take(pa.array(item)),
            self.semantic_ids.take(pa.array(item)),
            pa.array(probability, pa.float32()),
        ]
        return pa.table(columns, schema=self.schema)


class _Parts:
    """The folder of parts beside an output."""

    def __init__(self, path: Path, count: int) -> None:
        self.path, self.count = path, count
        self.folder = parts_of(path)

    def begin(self, run: dict[str, Any], *, resume: bool) -> int:
        """Make the folder, or find it as an interrupted run left it; return the parts in it."""
        description = self.folder / RUN_FILE
        if description.is_file():
            if not resume:
                raise ValueError(
                    f"{self.folder} holds the parts of an interrupted run: go on with it (resume "
                    "in Python, --resume on the command line), or delete the folder"
                )
            _check_same_run(description, run)
        elif any(self.has(number) for number in range(self.count)):
            raise ValueError(
                f"{self.folder} holds parts of a run, but no {RUN_FILE} that says of which: delete "
                "the folder"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_unfinished(self.folder, older_than=0.0)
        with write_atomically(description) as temporary:
            temporary.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
        return sum(self.has(number) for number in range(self.count))

    def has(self, number: int) -> bool:
        return self._part(number).is_file()

    def write(self, number: int, table: pa.Table) -> None:
        with write_atomically(self._part(number)) as temporary:
            pq.write_table(table, temporary)

    def join(self, schema: pa.Schema) -> int:
        """Write the output, delete the parts, and return the number of rows."""
        rows = 0
        with write_atomically(self.path) as temporary, _writer(temporary, schema) as write:
            for number in range(self.count):
                table = _read_part(self._part(number), schema)
                write(table)
                rows += len(table)
        for number in range(self.count):
            self._part(number).unlink()
        (self.folder / RUN_FILE).unlink()
        with suppress(OSError):  # somebody else's file is in it
            self.folder.rmdir()
        return rows

    def _part(self, number: int) -> Path:
        return self.folder / f"{number:06}.parquet"


def _read_part(path: Path, schema: pa.Schema) -> pa.Table:
    """Read a part; raise ValueError for a file that is not as it was written."""
    try:
        table = pq.read_table(path, schema=schema)
        table.validate(full=True)  # checks, for example, that text is UTF-8
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # without an errno, it is pyarrow's error about a damaged file
        raise ValueError(
            f"{path} is damaged ({' '.join(str(error).split())[:200]}): delete this file, and go "
            "on with the run (resume in Python, --resume on the command line)"
        ) from error
    return table


def _check_same_run(path: Path, run: dict[str, Any]) -> None:
    """Raise ValueError unless a file describes this very run."""
    try:
        found = json.loads(path.read_text("utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"it holds {reprlib.repr(found)}")
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} does not describe a run ({' '.join(str(error).split())[:120]}): delete the "
            f"folder {path.parent}, and begin again"
        ) from error
    for name, value in run.items():
        if found.get(name) != value:
            raise ValueError(
                f"{path.parent} holds the parts of another run: {name} was "
                f"{reprlib.repr(found.get(name))}, and is {reprlib.repr(value)} now; run it as "
                "before to go on, or delete the folder"
            )


@contextmanager
def _writer(path: Path, schema: pa.Schema) -> Iterator[Any]:
    """Yield a function that adds a table to a file; its ending decides the format."""
    if path.suffix.lower() == ".parquet":
        with pq.ParquetWriter(path, schema) as parquet:
            yield parquet.write_table
    elif path.suffix.lower() == ".csv":
        with pa.csv.CSVWriter(path, schema) as csv:
            yield csv.write_table
    else:
        with path.open("w", encoding="utf-8", newline="\n") as file:

            def write(table: pa.Table) -> None:
                rows: Sequence[dict[str, Any]] = table.to_pylist()
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

            yield write
