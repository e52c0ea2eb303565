"""RecTools' SASRec, as `peers_study.py` calls it, in an environment of RecTools' own.

    runs/rectools/bin/python book/studies/peer_rectools.py DATA.npz ANSWERS.npz '{"seed": 0, …}'

The Python is that of an environment with `torch==2.13.0 "rectools[torch]==0.19.0"`. Of the
settings, `windows` cuts each history into pieces of that many items, half of which the next piece
has too, since RecTools trains on the end of a history only; the others are SASRecModel's own.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np

from peer_files import NUM_LISTED, PARTS, PeerAnswers, PeerData, Rows, lists_of, run_peer, whole

AT_A_TIME = 500  # histories in one table of interactions


def windows_of(histories: list[Rows], length: int) -> list[Rows]:
    """Cut histories into pieces of `length` items, each half a piece after the one before."""
    pieces = []
    for history in histories:
        last = max(0, len(history) - length)
        pieces += [history[start : start + length] for start in range(0, last, length // 2)]
        pieces.append(history[last:])
    return pieces


def table_of(histories: list[Rows]) -> Any:
    """Return histories as RecTools' interactions: one user each, one day an item."""
    import pandas as pd
    from rectools import Columns
    from rectools.dataset import Dataset

    lengths = [len(history) for history in histories]
    days = np.concatenate([np.arange(length) for length in lengths])
    rows = pd.DataFrame(
        {
            Columns.User: np.repeat(np.arange(len(histories)), lengths),
            Columns.Item: np.concatenate(histories),
            Columns.Weight: 1.0,
            Columns.Datetime: pd.Timestamp("2000-01-01") + pd.to_timedelta(days, unit="D"),
        }
    )
    return Dataset.construct(rows)


def recommended(model: Any, histories: list[Rows]) -> Any:
    """Return RecTools' table of recommendations, without what is in the history."""
    import pandas as pd
    from rectools import Columns

    tables = []
    for start in range(0, len(histories), AT_A_TIME):
        some = histories[start : start + AT_A_TIME]
        users = [row for row, history in enumerate(some) if len(history)]
        dataset = table_of(some)
        found = model.recommend(
            users, dataset, k=NUM_LISTED, filter_viewed=True, on_unsupported_targets="ignore"
        )
        found[Columns.User] += start
        tables.append(found)
    return pd.concat(tables)


def lists_for(found: Any, num_targets: int) -> Rows:
    """Return a table of recommendations as lists, (M, NUM_LISTED)."""
    from rectools import Columns

    of_user = dict(iter(found.sort_values(Columns.Rank).groupby(Columns.User)[Columns.Item]))
    return lists_of(
        [of_user[row].to_numpy() if row in of_user else [] for row in range(num_targets)]
    )


def own_metrics(found: Any, targets: Rows) -> dict[str, float]:
    """Return what RecTools' own metrics say of one target a user."""
    import pandas as pd
    from rectools import Columns
    from rectools.metrics import NDCG, Recall

    truth = pd.DataFrame({Columns.User: np.arange(len(targets)), Columns.Item: targets})
    return {
        "Recall@10": Recall(10).calc(found, truth),
        "NDCG@10": NDCG(10).calc(found, truth),
        "NDCG@10, divide_by_achievable": NDCG(10, divide_by_achievable=True).calc(found, truth),
    }


CHECKPOINTS: list[int] = []  # the steps after which the weights are kept
KEPT: dict[int, tuple[float, dict[str, Any]]] = {}


def counted_trainer() -> Any:
    """Return a trainer that counts steps, not epochs, and keeps weights on the way."""
    from pytorch_lightning import Callback, Trainer

    class Keep(Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            self.started = time.perf_counter()

        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            step = trainer.global_step
            if step in CHECKPOINTS:
                weights = pl_module.torch_model.state_dict()
                copies = {name: value.clone() for name, value in weights.items()}
                KEPT[step] = time.perf_counter() - self.started, copies

    return Trainer(
        max_steps=max(CHECKPOINTS),
        max_epochs=-1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=[Keep()],
        devices=1,
    )


def flat_loss_module() -> Any:
    """Return RecTools' training module with its loss on rows: the same value, in less time.

    RecTools gives cross_entropy a transposed table, which takes torch 2.13 six times as long on a
    processor.
    """
    import torch
    from rectools.models.nn.transformers.lightning import TransformerLightningModule

    class FlatLossModule(TransformerLightningModule):  # type: ignore[misc]
        @classmethod
        def _calc_softmax_loss(cls, logits: Any, y: Any, w: Any) -> Any:
            loss = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), y.flatten(), ignore_index=0, reduction="none"
            )
            loss = loss * w.flatten()
            return loss.sum() / (loss > 0).sum()

    FlatLossModule.__module__, FlatLossModule.__qualname__ = __name__, "FlatLossModule"
    globals()["FlatLossModule"] = FlatLossModule  # RecTools looks it up by its name
    return FlatLossModule


def answers(data: PeerData, settings: dict[str, Any]) -> list[PeerAnswers]:
    """Train SASRec with some settings, and answer after each number of steps."""
    import torch
    from pytorch_lightning import seed_everything
    from rectools.models import SASRecModel

    seed_everything(settings.pop("seed"), verbose=False)
    CHECKPOINTS[:] = settings.pop("checkpoints")
    parts, own = settings.pop("parts", PARTS), settings.pop("own", False)
    every = settings.pop("every", 1)
    length, stem = settings.pop("windows", None), settings.pop("weights", None)
    histories = [history for history in data.train if len(history) > 1]
    if length:
        histories = windows_of(histories, length)
    model = SASRecModel(
        get_trainer_func=counted_trainer, lightning_module_type=flat_loss_module(), **settings
    )
    table = table_of(histories)
    files = {step: Path(f"{stem}-{step}.pt") for step in CHECKPOINTS} if stem else {}
    if files and all(file.exists() for file in files.values()):
        model._build_model_from_dataset(table)  # the same numbers for the same items
        model.is_fitted = True
        KEPT.update((step, torch.load(file)) for step, file in files.items())
    else:
        model.fit(table)
        for step, file in files.items():
            with whole(file) as part:
                torch.save(KEPT[step], part)
    found = []
    for step, (seconds, weights) in KEPT.items():
        model.torch_model.load_state_dict(weights)
        lists, own_values = {}, {}
        for part in parts:
            before = data.histories(part)[::every]
            table = recommended(model, before)
            lists[part] = lists_for(table, len(before))
            if own and part == "test":
                own_values = own_metrics(table, data.target_items(part)[::every])
        parameters = sum(value.numel() for value in model.torch_model.parameters())
        found.append(PeerAnswers(step, parameters, seconds, lists, own_values))
    return found


if __name__ == "__main__":
    run_peer(answers)
