"""Eight settings of each model that counts: which does best on validation targets?

    OMP_NUM_THREADS=1 python book/studies/counting.py

writes notebooks/results/11_counting.csv, which chapter 11 shows beside the trials of the trained
models in 11_tuning.csv. All of a split's validation targets are asked, as there. Nothing is
trained, so it takes about two minutes of one core.
"""

import argparse
import sys
from pathlib import Path

from counted_models import COUNTED_TUNED, CountedSettings, counted_model, counted_settings
from rqvae_lib.data.names import SplitName
from rqvae_lib.data.splits import split_by_name
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.evaluation.evaluator import evaluate
from studied_models import DATASET, SPLITS
from tables import Row, read_rows, replace_rows, rows_of

TABLE = Path(__file__).parents[2] / "notebooks" / "results" / "11_counting.csv"
COLUMNS = ("split", "model", *CountedSettings._fields, "recall", "ndcg")


def tried(model: str, split_name: SplitName) -> list[Row]:
    """Measure each setting of a model on a split's validation targets."""
    split = split_by_name(load_dataset(DATASET), split_name)
    rows = []
    for settings in counted_settings(model):
        found = evaluate(counted_model(model, settings, split), split, split.validation)
        rows.append(
            {name: str(value) for name, value in settings._asdict().items()}
            | {
                "last": str(settings.last or "all"),
                "recall": f"{found.mean('Recall', 10).mean:.4f}",
                "ndcg": f"{found.mean('NDCG', 10).mean:.4f}",
            }
        )
    return rows


def best_counted(model: str, split: str, table: Path = TABLE) -> CountedSettings:
    """Return the settings with which a model did best on the validation targets of a split."""
    if model not in COUNTED_TUNED:
        return counted_settings(model)[0]
    key = {"model": model, "split": split}
    rows = rows_of(read_rows(table, COLUMNS), key)
    if not rows:
        raise ValueError(f"{table} holds no trial of {model!r} on {split}: run counting.py")
    best = max(rows, key=lambda row: float(row["ndcg"]))
    last = None if best["last"] == "all" else int(best["last"])
    return CountedSettings(float(best["shrinkage"]), int(best["window"]), last)


def place_of(row: Row) -> tuple[int, int]:
    """Return where a row stands; those of one model stay in the order of their trials."""
    return SPLITS.index(row["split"]), COUNTED_TUNED.index(row["model"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=TABLE, help="the table")
    parser.add_argument("--models", nargs="+", choices=COUNTED_TUNED, default=COUNTED_TUNED)
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=SPLITS)
    options = parser.parse_args()
    for split in options.splits:
        for model in options.models:
            rows = tried(model, split)
            key = {"split": split, "model": model}
            replace_rows(options.output, COLUMNS, key, rows, place_of)
            best = max(float(row["ndcg"]) for row in rows)
            print(f"{split}, {model}: best NDCG@10 {best:.4f}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
