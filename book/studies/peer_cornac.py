"""cornac's TIGER, as `peers_study.py` calls it, in an environment of cornac's own.

    runs/cornac/bin/python book/studies/peer_cornac.py DATA.npz ANSWERS.npz '{"seed": 0, …}'

The Python is that of an environment with `torch==2.13.0 cornac==3.0.1 transformers==5.24.0`. Of
the settings, `shuffled` draws each step's targets from all people; cornac shuffles people only, and
takes all targets of one after another. The others are TIGER's own. Whatever they say, training ends
after a number of steps and not of epochs.
"""

import pickle
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from peer_files import NUM_LISTED, PARTS, PeerAnswers, PeerData, Rows, lists_of, run_peer, whole


def sessions_of(histories: list[Rows], persons: list[int]) -> list[tuple[int, int, int, int]]:
    """Return histories as cornac's USIT: a user, a session of the same number, an item, a time."""
    return [
        (person, person, int(item), time_of)
        for person, history in zip(persons, histories, strict=True)
        for time_of, item in enumerate(history)
    ]


def evaluation_of(data: PeerData, **options: Any) -> Any:
    """Return cornac's evaluation of a split: it numbers the items, and holds the vectors."""
    from cornac.data import FeatureModality
    from cornac.eval_methods import NextItemEvaluation

    everything = np.split(data.items, data.offsets[1:-1])
    people = list(range(len(everything)))
    return NextItemEvaluation.from_splits(
        train_data=sessions_of(data.train, people),
        test_data=sessions_of(everything, people),
        fmt="USIT",
        mode="last",
        item_feature=FeatureModality(features=data.vectors, ids=list(range(data.num_items))),
        **options,
    )


def shuffled_samples(
    train_set: Any, pad_index: int, batch_size: int, max_len: int, rng: Any, **_: Any
) -> Iterator[tuple[None, Rows, Rows]]:
    """Yield what cornac's `session_seq_iter` yields in an epoch, in an order drawn anew."""
    histories, targets = [], []
    for rows in train_set.sessions.values():
        items = train_set.uir_tuple[1][rows]
        for place in range(1, len(items)):
            before = items[max(0, place - max_len) : place]
            histories.append([pad_index] * (max_len - len(before)) + list(before))
            targets.append(items[place])
    windows, nexts = np.array(histories), np.array(targets)
    order = rng.permutation(len(nexts))
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        yield None, windows[chosen], nexts[chosen]


def counted(batches: Any, checkpoints: list[int], keep: Any) -> Any:
    """Return an iterator of one long epoch in the place of many: it ends after some steps."""

    def of_epochs(*args: Any, **options: Any) -> Iterator[Any]:
        step = 0
        while True:
            for batch in batches(*args, **options):
                if step in checkpoints:
                    keep(step)
                if step == max(checkpoints):
                    return
                step += 1
                yield batch

    return of_epochs


def answer(model: Any, item_of: Rows, index_of: Rows, history: Rows) -> Rows:
    """Return what TIGER recommends after a history, best first, without what is in it."""
    if not len(history):
        return history  # cornac scores all items alike: no list
    scores = model.score(0, index_of[history].tolist())
    scores[index_of[history]] = -np.inf
    order = np.argsort(-scores, kind="stable")[:NUM_LISTED]
    return item_of[order[scores[order] > -1e9]]  # the others were not found by the beams


def train(
    train_set: Any, settings: dict[str, Any], checkpoints: list[int], stem: str
) -> dict[int, Path]:
    """Train TIGER, and return a file for each number of steps: the model, and the seconds."""
    from cornac.models import TIGER
    from cornac.models.tiger import recom_tiger

    theirs = recom_tiger.session_seq_iter
    batches = shuffled_samples if settings.pop("shuffled", False) else theirs
    files: dict[int, Path] = {}
    started: list[float] = []
    model = TIGER(n_epochs=1, **settings)

    def keep(step: int) -> None:
        if step == 0:  # the tokenizer is ready, and the first step begins
            started.append(time.perf_counter())
            return
        seconds = time.perf_counter() - started[0]
        files[step] = Path(f"{stem}-{step}.pt")
        model.train_set = None  # what answers does not need it
        with whole(files[step]) as part:
            part.write_bytes(pickle.dumps((model, seconds)))
        model.train_set = train_set

    recom_tiger.session_seq_iter = counted(batches, [0, *checkpoints], keep)
    model.fit(train_set)
    recom_tiger.session_seq_iter = theirs
    return files


def answers(data: PeerData, settings: dict[str, Any]) -> list[PeerAnswers]:
    """Train TIGER with some settings, and answer after each number of steps."""
    from cornac.metrics import NDCG, Recall

    checkpoints = settings.pop("checkpoints")
    parts, own = settings.pop("parts", PARTS), settings.pop("own", False)
    stem, every = settings.pop("weights", None), settings.pop("every", 1)
    evaluation = evaluation_of(data)
    number = evaluation.global_iid_map
    index_of = np.array([number[item] for item in range(data.num_items)])
    item_of = np.argsort(index_of)
    with tempfile.TemporaryDirectory() as folder:
        stem = stem or f"{folder}/weights"
        files = {step: Path(f"{stem}-{step}.pt") for step in checkpoints}
        if not all(file.exists() for file in files.values()):
            files = train(evaluation.train_set, settings, checkpoints, stem)
        trained = {step: pickle.loads(file.read_bytes()) for step, file in files.items()}
    found = []
    for step, (model, seconds) in trained.items():
        lists, own_values = {}, {}
        for part in parts:
            before = data.histories(part)[::every]
            lists[part] = lists_of(
                [answer(model, item_of, index_of, history) for history in before]
            )
        if own:
            for name, known in (("all items", False), ("known items", True)):
                judge = evaluation_of(data, exclude_unknowns=known)
                metrics = [Recall(10), NDCG(10)]
                result = judge.eval(model, judge.train_set, judge.test_set, known, metrics)
                for metric, value in result.metric_avg_results.items():
                    own_values[f"{metric}, {name}"] = float(value)
        parameters = sum(value.numel() for value in model.model.parameters())
        found.append(PeerAnswers(step, parameters, seconds, lists, own_values))
    return found


if __name__ == "__main__":
    run_peer(answers)
