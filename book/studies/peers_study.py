"""Two other libraries, RecTools and cornac, on our splits: how do their models compare with ours?

    python3 -m venv runs/rectools
    runs/rectools/bin/pip install torch==2.13.0 "rectools[torch]==0.19.0"
    python3 -m venv runs/cornac
    runs/cornac/bin/pip install torch==2.13.0 cornac==3.0.1 transformers==5.24.0
    OMP_NUM_THREADS=1 python book/studies/peers_study.py

writes four tables to notebooks/results, which chapter 11 shows. The two need different versions of
NumPy, so each has an environment of its own (`--rectools` and `--cornac` name their Pythons), and
this project's needs neither. What they get is histories, targets and the movies' text vectors, as
files; what comes back is lists of movies. All that is measured is measured here, by the library's
own evaluation, as for the models of `comparison_study.py`.

`11_peers_tuning.csv` has the trials: for each peer some settings, each measured after several
numbers of steps, on validation targets. `11_peers.csv` has the test results, of a training with the
peer's own settings ("default") and of the best trial ("tuned"), and 11_peers_people.csv those of
each person with a hit. `11_peers_own.csv` has the same lists measured by the peer's own functions.
The default of cornac's TIGER is not trained, since it takes many hours of a processor: its row says
how long a few steps take.

Rows are written as they come, so a run that was interrupted goes on where it stopped; `--peers`,
`--splits`, `--seeds`, `--trials` and `--minutes` name a part of the work. All of it takes more than
an hour of one core. The shipped tables hold its beginning, made with
`--splits leave-one-out --seeds 0 --trials 1`, and of TIGER the time of a few steps only
(`--peers "cornac TIGER" --trials 0`).
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from comparison_study import PEOPLE_COLUMNS, people_of
from peer_files import NUM_LISTED, PeerAnswers, PeerData, Rows, read_answers, write_data
from rqvae_lib.data.names import SplitName
from rqvae_lib.data.splits import Split, split_by_name
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.embeddings.item_vectors import item_vectors
from rqvae_lib.evaluation.evaluator import Evaluation
from studied_models import DATASET, RUNS, SPLITS
from tables import Row, read_rows, replace_rows, rows_of

HERE = Path(__file__).parent
RESULTS = HERE.parents[1] / "notebooks" / "results"
RECTOOLS, CORNAC = "RecTools SASRec", "cornac TIGER"
PEERS = (RECTOOLS, CORNAC)
SCRIPTS = {RECTOOLS: "peer_rectools", CORNAC: "peer_cornac"}
SEEDS = (0, 1, 2)
DEFAULT, TUNED = "default", "tuned"
STEPS = {RECTOOLS: (1000, 2000, 3000), CORNAC: (1000, 2000)}

# The size of our models, and windows as long as theirs.
SIZE: dict[str, dict[str, Any]] = {
    RECTOOLS: {
        "windows": 50,
        "session_max_len": 49,
        "batch_size": 16,
        "n_blocks": 2,
        "n_heads": 4,
        "n_factors": 64,
    },
    CORNAC: {
        "shuffled": True,
        "tokenizer": "rkmeans",
        "max_len": 10,
        "batch_size": 128,
        "num_enc_layers": 2,
        "num_dec_layers": 2,
        "num_heads": 4,
        "d_model": 64,
        "d_kv": 16,
        "d_ff": 256,
        "n_beams": NUM_LISTED,
    },
}
TRIALS: dict[str, tuple[dict[str, Any], ...]] = {
    RECTOOLS: (
        {"lr": 0.003, "dropout_rate": 0.2},
        {"lr": 0.001, "dropout_rate": 0.2},
    ),
    CORNAC: (
        {"learning_rate": 0.001, "dropout": 0.1},
        {"learning_rate": 0.003, "dropout": 0.1},
    ),
}
# What does not train weights; their steps are in the names of their files. The beams only search,
# but cornac keeps them with its weights.
ASKED_ONLY = ("checkpoints", "parts", "every", "own", "weights")
# RecTools: three epochs, six steps each; cornac: enough to time a step
DEFAULT_STEPS = {RECTOOLS: 18, CORNAC: 5}

COLUMNS = (
    "split",
    "peer",
    "settings",
    "seed",
    "learning_rate",
    "dropout",
    "steps",
    "parameters",
    "seconds",  # of training; the machine was busy otherwise
    "recall_10",
    "ndcg_10",
)
TUNING_COLUMNS = ("split", "peer", "learning_rate", "dropout", "steps", "seconds", "recall", "ndcg")
PEER_PEOPLE_COLUMNS = ("split", "peer", "settings", *PEOPLE_COLUMNS[2:])
OWN_COLUMNS = ("split", "peer", "settings", "seed", "definition", "value")


def data_of(split: Split, vectors: torch.Tensor) -> PeerData:
    """Return a split as the peers get it."""
    return PeerData(
        [split.train[user].numpy() for user in range(len(split.train))],
        split.everything.items.numpy(),
        split.everything.offsets.numpy(),
        {"validation": split.validation.numpy(), "test": split.test.numpy()},
        vectors.numpy(),
    )


def measured(lists: Rows, split: Split, part: str, every: int = 1) -> Evaluation:
    """Return our evaluation of a peer's lists.

    Args:
        lists: (M, NUM_LISTED) int64, one list for each target that was asked, best first.
        split: whose targets they are.
        part: "validation" or "test".
        every: 1 if all targets of the part were asked, n if each n-th, from the first on.

    Raises:
        ValueError: if there is a list for another number of targets, if a list names an item twice,
            or one that is not in the catalogue or that the person had before.
    """
    positions = {"validation": split.validation, "test": split.test}[part][::every]
    found = torch.from_numpy(lists)
    if len(found) != len(positions):
        raise ValueError(f"{len(found)} lists for {len(positions)} targets of {part}")
    histories, targets = split.histories_and_targets(positions)
    for row, (items, history) in enumerate(zip(found, histories, strict=True)):
        items = items[items >= 0]
        if len(items.unique()) < len(items):
            raise ValueError(f"list {row} names an item twice")
        if len(items) and int(items.max()) >= split.num_items:
            raise ValueError(f"list {row} names item {int(items.max())} of {split.num_items}")
        if torch.isin(items, history).any():
            raise ValueError(f"list {row} names an item of its own history")
    return Evaluation(
        found, targets, split.everything.user_of(positions), split.popularity, beams=None
    )


def mark_of(settings: dict[str, Any], without: Container[str]) -> str:
    """Return a few characters for names of files: those of other settings are others."""
    said = {name: value for name, value in settings.items() if name not in without}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:10]


class Peer(NamedTuple):
    """One of the two, its Python, and the data that it gets."""

    name: str
    python: Path
    data: Path
    folder: Path

    def answers(self, label: str, settings: dict[str, Any]) -> list[PeerAnswers]:
        """Train the peer, in its own environment."""
        mark = mark_of(settings, without=("weights",))  # where they lie changes no answer
        target = self.folder / f"{self.data.stem}-{SCRIPTS[self.name]}-{label}-{mark}.npz"
        if not target.exists():
            script = str(HERE / f"{SCRIPTS[self.name]}.py")
            asked = [str(self.python), script, str(self.data), str(target), json.dumps(settings)]
            subprocess.run(asked, check=True, env=os.environ | {"PYTHONPATH": str(HERE)})
        return read_answers(target)


def about(row: dict[str, Any]) -> Row:
    """Return what is varied, under the same names for both peers."""
    return {
        "learning_rate": str(row.get("lr", row.get("learning_rate", 0.001))),
        "dropout": str(row.get("dropout_rate", row.get("dropout", 0.1))),
    }


def result_of(answer: PeerAnswers, evaluation: Evaluation) -> Row:
    """Return a row of 11_peers.csv without its key."""
    return {
        "steps": str(answer.steps),
        "parameters": str(answer.parameters),
        "seconds": f"{answer.seconds:.0f}",
        "recall_10": f"{evaluation.mean('Recall', 10).mean:.5f}",
        "ndcg_10": f"{evaluation.mean('NDCG', 10).mean:.5f}",
    }


class Study(NamedTuple):
    """Where the rows of one peer and one split go."""

    peer: Peer
    split_name: SplitName
    split: Split
    output: Path

    @property
    def key(self) -> Row:
        return {"split": self.split_name, "peer": self.peer.name}

    def rows(self, name: str, columns: tuple[str, ...]) -> list[Row]:
        """Return the rows of this peer and split."""
        return rows_of(read_rows(self.output / name, columns), self.key)

    def write(self, name: str, columns: tuple[str, ...], key: Row, rows: list[Row]) -> None:
        replace_rows(self.output / name, columns, self.key | key, rows, place_of)

    def write_result(self, key: Row, answer: PeerAnswers, varied: Row) -> None:
        """Measure lists for the test targets, and write the people, what is theirs, and the row."""
        if answer.own:
            own = [{"definition": n, "value": f"{v:.5f}"} for n, v in answer.own.items()]
            self.write("11_peers_own.csv", OWN_COLUMNS, key, own)
        evaluation = measured(answer.lists["test"], self.split, "test")
        people = people_of(evaluation)
        self.write("11_peers_people.csv", PEER_PEOPLE_COLUMNS, key, people)
        row = varied | result_of(answer, evaluation)
        self.write("11_peers.csv", COLUMNS, key, [row])
        said = f"Recall@10 {row['recall_10']}, NDCG@10 {row['ndcg_10']}"
        print(f"{', '.join((self.key | key).values())}: {said}", file=sys.stderr, flush=True)

    def has(self, key: Row) -> bool:
        return bool(rows_of(self.rows("11_peers.csv", COLUMNS), key))

    def work(self, seeds: list[int], num_trials: int) -> Iterator[str]:
        """Do one training after another, those of the tables left out."""
        steps = DEFAULT_STEPS[self.peer.name]
        for seed in seeds:
            key = {"settings": DEFAULT, "seed": str(seed)}
            if self.peer.name == CORNAC:
                if seed or self.split_name != SPLITS[0] or self.has(key):
                    continue
                settings = {"tokenizer": "rkmeans", "checkpoints": [steps], "parts": []}
                [answer] = self.peer.answers("cost", {"seed": seed, **settings})
                row = about({}) | {
                    "steps": str(answer.steps),
                    "parameters": str(answer.parameters),
                    "seconds": f"{answer.seconds:.1f}",
                }
                self.write("11_peers.csv", COLUMNS, key, [row])
            elif not self.has(key):
                own = self.split_name == SPLITS[0]
                settings = {"checkpoints": [steps], "own": own, "parts": ["test"]}
                [answer] = self.peer.answers(f"default-{seed}", {"seed": seed, **settings})
                self.write_result(key, answer, about({"dropout_rate": 0.2}))
            else:
                continue
            yield f"{DEFAULT}, seed {seed}"
        yield from self.tuned(seeds, num_trials)

    def tuned(self, seeds: list[int], num_trials: int) -> Iterator[str]:
        """Try settings on validation targets, and answer the test targets with the best."""
        name, all_steps = self.peer.name, STEPS[self.peer.name]
        for number, varied in enumerate(TRIALS[name][:num_trials]):
            tried = rows_of(self.rows("11_peers_tuning.csv", TUNING_COLUMNS), about(varied))
            if len(tried) == len(all_steps):
                continue
            rows = []
            for answer in self.peer.answers(
                f"trial-{number}", self.settings(number, 0, all_steps, "validation")
            ):
                found = measured(
                    answer.lists["validation"], self.split, "validation", self.every("validation")
                )
                rows.append(
                    {
                        "steps": str(answer.steps),
                        "seconds": f"{answer.seconds:.0f}",
                        "recall": f"{found.mean('Recall', 10).mean:.4f}",
                        "ndcg": f"{found.mean('NDCG', 10).mean:.4f}",
                    }
                )
                print(f"{self.key} {varied} {rows[-1]}", file=sys.stderr, flush=True)
            self.write("11_peers_tuning.csv", TUNING_COLUMNS, about(varied), rows)
            yield f"trial {number}"
        trials = self.rows("11_peers_tuning.csv", TUNING_COLUMNS)
        if not trials:
            return
        best = max(trials, key=lambda row: float(row["ndcg"]))
        [number] = [
            n for n, varied in enumerate(TRIALS[name]) if about(varied).items() <= best.items()
        ]
        varied, steps = TRIALS[name][number], int(best["steps"])
        for seed in seeds:
            key = {"settings": TUNED, "seed": str(seed)}
            if self.has(key | about(varied) | {"steps": str(steps)}):  # not of an older best
                continue
            settings = self.settings(number, seed, (steps,), "test")
            settings["own"] = seed == 0 and self.split_name == SPLITS[0]
            [answer] = self.peer.answers(f"tuned-{seed}-{number}-{steps}", settings)
            self.write_result(key, answer, about(varied))
            yield f"{TUNED}, seed {seed}"

    def every(self, part: str) -> int:
        """Return 1 if all targets are asked; cornac's search answers one history at a time."""
        many = self.peer.name == CORNAC and self.split_name == "timestamp"
        return 5 if many and part == "validation" else 1

    def settings(self, number: int, seed: int, steps: tuple[int, ...], part: str) -> dict[str, Any]:
        """Return what the peer is asked for; weights that it kept it does not train again."""
        asked = SIZE[self.peer.name] | TRIALS[self.peer.name][number]
        asked |= {"seed": seed, "checkpoints": list(steps), "parts": [part]}
        asked |= {"every": self.every(part)}
        mark = mark_of(asked, without=ASKED_ONLY)
        name = f"{self.peer.data.stem}-{number}-{seed}-{SCRIPTS[self.peer.name]}-{mark}"
        return asked | {"weights": str(self.peer.folder / name)}


def place_of(row: Row) -> tuple[Any, ...]:
    """Return where a row of any of the four tables stands."""
    return (
        SPLITS.index(row["split"]),
        PEERS.index(row["peer"]),
        (DEFAULT, TUNED).index(row.get("settings", DEFAULT)),
        int(row.get("seed", "0")),
        int(row.get("person", "0")),
        # Of the trials, which are not numbered in their table:
        float(row.get("learning_rate", "0")),
        float(row.get("dropout", "0")),
        int(row.get("steps", "0")),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULTS, help="the folder of the tables")
    parser.add_argument("--runs", type=Path, default=RUNS / "peers", help="what can be made again")
    parser.add_argument("--rectools", type=Path, default=RUNS / "rectools" / "bin" / "python")
    parser.add_argument("--cornac", type=Path, default=RUNS / "cornac" / "bin" / "python")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS)
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=SPLITS)
    parser.add_argument("--seeds", nargs="+", type=int, choices=SEEDS, default=SEEDS)
    parser.add_argument("--trials", type=int, default=2, help="the first so many settings only")
    parser.add_argument("--minutes", type=float, help="begin nothing new after so long")
    options = parser.parse_args()
    pythons = {RECTOOLS: options.rectools.absolute(), CORNAC: options.cornac.absolute()}
    for name in options.peers:
        if not pythons[name].exists():
            parser.error(
                f"{pythons[name]}, the Python of {name}, does not exist: make its environment as "
                f"the first lines of {Path(__file__).name} say, name another Python with "
                f"--{name.split()[0].lower()}, or leave this one out with --peers"
            )
    options.runs.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    dataset = load_dataset(DATASET)
    vectors = item_vectors(dataset).tensor
    for split_name in options.splits:
        split = split_by_name(dataset, split_name)
        data = options.runs / f"{split_name}.npz"
        if not data.exists():
            write_data(data, data_of(split, vectors))
        for name in options.peers:
            peer = Peer(name, pythons[name], data, options.runs)
            for done in Study(peer, split_name, split, options.output).work(
                options.seeds, options.trials
            ):
                minutes = (time.monotonic() - started) / 60
                print(f"{split_name}, {name}: {done} ({minutes:.1f} min)", file=sys.stderr)
                if options.minutes and minutes > options.minutes:
                    return


if __name__ == "__main__":
    main()
