"""`{result-table} NAME`: a table of notebooks/results, summarised while the book is built.

    ```{result-table} 05_collapse
    :by: variant
    :columns: perplexity_3 variance_lost
    ```

One row for each value of the columns `by`, the mean of the others over all that is left, mostly
seeds, and their standard deviation where there are several. Without `columns`, all numbers are
shown; with `-`, only how many rows there are. A column that a table lacks is left out, and one that
is text shows what it holds. `where`
keeps the rows in which a column is filled. Below stands what is recorded of the table's origin.

`{shipped-recommenders}`: what the cards of the models that come with the library say.
"""

import sys
from pathlib import Path

import pandas as pd
from docutils.parsers.rst import directives
from sphinx.application import Sphinx

from semantic_ids_book import Table

RESULTS = Path("notebooks/results")
NOT_MEASURED = ("seed", "step", "steps", "trial", "person", "rank")  # which row it is

sys.path.append(str(Path(__file__).resolve().parents[1] / "studies"))
from tables import read_origin  # noqa: E402


def shown(values: pd.Series) -> str:
    """A column of one group: the mean and the standard deviation of several; texts as they are."""
    known = values.dropna()
    if known.empty:
        return "–"
    if not pd.api.types.is_numeric_dtype(values):
        return ", ".join(sorted({str(value) for value in known}))
    mean = known.mean()
    digits = 0 if abs(mean) >= 100 else 4 if abs(mean) < 1 else 2
    deviation = f"\u00a0±\u00a0{known.std():,.{digits}f}" if known.nunique() > 1 else ""
    return f"{mean:,.{digits}f}{deviation}"


def summary(frame: pd.DataFrame, by: list[str], columns: list[str]) -> list[str]:
    """The Markdown table: a row for each group, in the order in which they are met."""
    by = [name for name in by if name in frame]
    wanted = columns
    columns = [name for name in wanted if name in frame]
    if not wanted:
        columns = [name for name in frame if name not in (*by, *NOT_MEASURED)]
    heads = [f"`{name}`" for name in (*by, *columns)]
    aligned = "| " + "--- | " * len(by) + "---: | " * (len(columns) + 1)
    rows = [f"| {' | '.join(heads)} | rows |", aligned.rstrip()]
    for key, group in frame.groupby(by, sort=False, dropna=False):
        cells = [*map(str, key), *(shown(group[name]) for name in columns), str(len(group))]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def origin(path: Path) -> str:
    """What is recorded of a table: when, where, with what."""
    known = read_origin(path)
    said = f"*`{path.name}`*"
    if "date" in known:
        said += f", measured by {known['date']}"
    if "measured_on" in known:
        return f"{said} on {'; and on '.join(known['measured_on'])}."
    return f"{said}. Machine and versions were not recorded."


class ResultTable(Table):
    """`{result-table} NAME`: notebooks/results/NAME.csv, summarised."""

    required_arguments = 1
    optional_arguments = 0
    option_spec = {  # noqa: RUF012
        "by": directives.unchanged_required,
        "columns": directives.unchanged,
        "where": directives.unchanged,
    }

    def markdown(self) -> list[str]:
        relative = RESULTS / f"{self.arguments[0]}.csv"
        for file in (relative, relative.with_suffix(".json")):
            self.env.note_dependency(str(file))
        path = Path(self.env.srcdir) / relative
        frame = pd.read_csv(path)
        if "where" in self.options:
            frame = frame.dropna(subset=[self.options["where"]])
        by, columns = self.options["by"].split(), self.options.get("columns", "").split()
        return [*summary(frame, by, columns), "", origin(path)]


class ShippedRecommenders(Table):
    """`{shipped-recommenders}`: each shipped model's command and what it reached on validation."""

    def markdown(self) -> list[str]:
        from rqvae_lib.checkpoints.models import load_model, shipped_models
        from rqvae_lib.datasets.registry import NAMES

        rows = ["| Model | Recall@10 | NDCG@10 | Seed | torch | Command |"]
        rows.append("| --- | ---: | ---: | ---: | --- | --- |")
        for name in (model for dataset in NAMES for model in shipped_models(dataset)):
            _, card = load_model(name)
            measured = [card["metrics"][f"Validation {metric}"] for metric in METRICS]
            cells = [name, *(f"{value:.4f}" for value in measured)]
            cells += [str(card["seed"]), card["torch"], f"`{card['command']}`"]
            rows.append(f"| {' | '.join(cells)} |")
        return rows


METRICS = ("Recall@10", "NDCG@10")


def setup(app: Sphinx) -> dict[str, object]:
    app.add_directive("result-table", ResultTable)
    app.add_directive("shipped-recommenders", ShippedRecommenders)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
