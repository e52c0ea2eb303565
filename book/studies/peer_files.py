"""What `peers_study.py` and the peers hand each other: NumPy files, and nothing of this library.

This file is read on both sides, so it needs NumPy only.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
PARTS = ("validation", "test")
NUM_LISTED = 50  # items in a list; −1 where a list is shorter


class PeerData(NamedTuple):
    """A split, as a peer gets it."""

    train: list[Rows]  # each person's items in time order; some may be empty
    items: Rows  # all items of all people, in time order
    offsets: Rows  # where each person's part of `items` begins, and the end
    targets: dict[str, Rows]  # positions in `items`, for each of PARTS
    vectors: NDArray[np.float32]  # (N, D), one for each item

    @property
    def num_items(self) -> int:
        return len(self.vectors)

    def histories(self, part: str) -> list[Rows]:
        """Return what came before each target of a part, M arrays."""
        positions = self.targets[part]
        person = np.searchsorted(self.offsets, positions, side="right") - 1
        return [
            self.items[start:position]
            for start, position in zip(self.offsets[person], positions, strict=True)
        ]

    def target_items(self, part: str) -> Rows:
        return self.items[self.targets[part]]


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to: what is there under its own name is never a part."""
    part = path.with_name(f"{path.stem}.part{path.suffix}")
    yield part
    part.replace(path)


def write_data(path: Path, data: PeerData) -> None:
    """Write a split for the peers."""
    lengths = [len(history) for history in data.train]
    with whole(path) as part:
        np.savez(
            part,
            train_items=np.concatenate(data.train),
            train_offsets=np.cumsum([0, *lengths]),
            items=data.items,
            offsets=data.offsets,
            vectors=data.vectors,
            **{f"{name}_targets": data.targets[name] for name in PARTS},
        )


def read_data(path: Path) -> PeerData:
    """Read what `write_data` wrote."""
    with np.load(path) as file:
        return PeerData(
            np.split(file["train_items"], file["train_offsets"][1:-1]),
            file["items"],
            file["offsets"],
            {part: file[f"{part}_targets"] for part in PARTS},
            file["vectors"],
        )


def lists_of(found: Sequence[Sequence[int] | Rows]) -> Rows:
    """Return lists of several lengths as one array, (M, NUM_LISTED), −1 behind the shorter ones."""
    lists = np.full((len(found), NUM_LISTED), -1, dtype=np.int64)
    for row, items in enumerate(found):
        kept = items[:NUM_LISTED]
        lists[row, : len(kept)] = kept
    return lists


class PeerAnswers(NamedTuple):
    """What a peer answers after some number of steps."""

    steps: int
    parameters: int
    seconds: float  # of training, up to these steps
    lists: dict[str, Rows]  # (M, NUM_LISTED), for some of PARTS
    own: dict[str, float]  # metrics as the peer itself computes them; may be empty


def write_answers(path: Path, answers: Sequence[PeerAnswers]) -> None:
    """Write what a peer answered after each number of steps."""
    arrays: dict[str, Any] = {"steps": [answer.steps for answer in answers]}
    for answer in answers:
        about = f"{answer.steps}"
        arrays[f"parameters {about}"] = answer.parameters
        arrays[f"seconds {about}"] = answer.seconds
        arrays |= {f"lists {about} {part}": lists for part, lists in answer.lists.items()}
        arrays |= {f"own {about} {name}": value for name, value in answer.own.items()}
    with whole(path) as part:
        np.savez(part, **arrays)


def read_answers(path: Path) -> list[PeerAnswers]:
    """Read what `write_answers` wrote."""
    with np.load(path) as file:

        def named(kind: str, steps: int) -> dict[str, Any]:
            start = f"{kind} {steps} "
            return {name[len(start) :]: file[name] for name in file.files if name.startswith(start)}

        return [
            PeerAnswers(
                int(steps),
                int(file[f"parameters {steps}"]),
                float(file[f"seconds {steps}"]),
                named("lists", steps),
                {name: float(value) for name, value in named("own", steps).items()},
            )
            for steps in file["steps"]
        ]


def run_peer(answers: Callable[[PeerData, dict[str, Any]], list[PeerAnswers]]) -> None:
    """Answer what the command line names: a file of data, one to write, and settings as JSON."""
    source, target, said = sys.argv[1:]
    write_answers(Path(target), answers(read_data(Path(source)), json.loads(said)))
