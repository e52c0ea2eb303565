"""What `rqvae-lib recommend --all` does: recommendations for all users, or for those of a list.

Seen at work in: chapter 13.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray

from rqvae_lib.data.own_tables import read_id_column
from rqvae_lib.data.table_files import read_table
from rqvae_lib.data.tables import wrong_row
from rqvae_lib.generation.everybody import parts_of, recommend_to_all

if TYPE_CHECKING:
    from rqvae_lib.data.dataset import Dataset
    from rqvae_lib.models.base import Recommender


def write_all(
    output: Path,
    recommender: "Recommender",
    dataset: "Dataset",
    users: Path | None,
    resume: bool,
    search: dict[str, Any],
) -> None:
    """Recommend to all users or to those of a file, write the output, and say what was written."""
    rows = None if users is None else rows_of_users(users, dataset)
    if resume and not parts_of(output).is_dir():
        typer.echo(
            f"There is no {parts_of(output)} with the parts of an interrupted run, so this run "
            "begins with the first user.",
            err=True,
        )
    done = recommend_to_all(output, recommender, dataset, users=rows, resume=resume, **search)
    if done.resumed:
        typer.echo(f"{done.resumed:,} users were done by an earlier run.", err=True)
    typer.echo(f"Wrote {done.rows:,} recommendations for {done.users:,} users to {output}.")
    missing = done.users * search["k"] - done.rows
    if missing:
        typer.echo(
            f"{missing:,} fewer than {search['k']} for each: no others were left for some users.",
            err=True,
        )


def rows_of_users(path: Path, dataset: "Dataset") -> NDArray[np.int64]:
    """Return the users of a file as rows of `dataset.user_ids`, (U,), in the file's order.

    Args:
        path: a .txt file with an id on each line, or a table that `read_table` reads, with a column
            of users.
        dataset: whose users they are.

    Raises:
        ValueError: if the file is no such list, or names a user twice or one who is not in the
            data; the message names the row.
        OSError: if the file cannot be read.
    """
    listed = _listed(path)
    if len(listed) and listed.notna().all():
        listed = read_id_column(listed, str(path))
    known = pd.Index([str(own) for own in dataset.user_ids])
    rows = known.get_indexer(pd.Index(listed.astype(str), dtype=object))
    if not len(rows):
        raise ValueError(f"{path} lists no users; expected at least one id: check the file")
    expected = f"one of the {len(known):,} users of {dataset.name}", "each user once"
    for wrong, right in zip((rows < 0, pd.Index(rows).duplicated()), expected, strict=True):
        if wrong.any():
            row = int(wrong.argmax())
            found = None if pd.isna(listed.iloc[row]) else listed.iloc[row]
            raise wrong_row(str(path), row, str(listed.name), found, right)
    return np.asarray(rows, dtype=np.int64)


def _listed(path: Path) -> "pd.Series":
    """Return the ids of a file, under the name of their column."""
    if path.suffix.lower() != ".txt":
        try:
            return read_table(path, needed=("user_id",), optional=()).column("user_id")
        except ValueError as error:
            # The reader's advice is about the tables of the data, which have options of their own.
            reason, _, _ = str(error).partition("; ")
            raise ValueError(
                f"{path} is not a table with the column user_id ({reason}): name the column so, or "
                "list the ids in a .txt file"
            ) from error
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: convert the file") from error
    ids = [line.strip() for line in lines if line.strip()]
    return pd.Series(ids, name="user_id", dtype="string")
