"""MIND: clicks on news, as Microsoft publishes them.

    behaviors.tsv   impression, user, time, history, impressions
    news.tsv        news, category, subcategory, title, abstract, url, two columns of entities

Both have no header. A time is written 11/15/2019 12:37:50 AM, which is 37 minutes past midnight,
and has no zone. An impression lists the news that were shown, with -1 behind those that were
clicked and -0 behind the others. Several clicks of one impression have one time, and their order
says nothing.

The history lists earlier clicks, the oldest first, without times. Each user's first history is put
before the user's impressions, at the time of the first of them. So these clicks are in the right
order, but a split by date sees all of them at that time.

The test part has no clicks, so it is refused. Training and development part are two datasets.

The terms are Microsoft's research license: https://msnews.github.io.

Source: Wu et al., "MIND: A Large-scale Dataset for News Recommendation", ACL 2020.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.datasets.published import Published, as_dataset, counted, product_row, product_table
from rqvae_lib.datasets.text_files import AGAIN, columns_of_fields, refuse_rows

COLUMNS = ("impression", "user", "time", "history", "impressions")
NEWS = ("news", "category", "subcategory", "title", "abstract", "url")
ENTITIES = ("title_entities", "abstract_entities")
_TIME = "%m/%d/%Y %I:%M:%S %p"
_PIECE = 100_000  # rows whose lists are taken apart at a time


def find_mind(folder: Path) -> list[Path]:
    """Return the file of behaviors in a folder."""
    path = folder / "behaviors.tsv"
    return [path] if path.is_file() else []


def read_mind(folder: str | Path) -> Dataset:
    """Read a folder with one part of MIND, such as MINDsmall_train.

    Args:
        folder: holds behaviors.tsv and perhaps news.tsv.

    Returns:
        The dataset "mind", with the clicks and the histories. The genres are category and
        subcategory. The text consists of title, categories and abstract.

    Raises:
        FileNotFoundError: if there is no behaviors.tsv.
        ValueError: if no clicks are marked, or a line is not as described; the message names the
            file and the line.
    """
    path = Path(folder) / "behaviors.tsv"
    kinds = dict.fromkeys(COLUMNS[1:], "string")
    rows = columns_of_fields(path, kinds, "\t", names=COLUMNS)
    blank = rows["user"].str.strip() == ""
    refuse_rows(path, blank, "user", rows["user"], "an id")
    times = pd.to_datetime(rows["time"], format=_TIME, errors="coerce")
    bad = times.isna() | (times.dt.year < 1970) | (times.dt.year > 2105)
    refuse_rows(path, bad, "time", rows["time"], "a time such as 11/15/2019 12:37:50 AM")
    clicks = _clicks(path, rows["impressions"])
    earlier, differ = _histories(rows, times)
    first = times.groupby(rows["user"]).min()
    events = pd.DataFrame(
        {
            "user_id": pd.concat(
                [earlier["user"], rows["user"].iloc[clicks["row"]]], ignore_index=True
            ),
            "item_id": pd.concat([earlier["item"], clicks["item"]], ignore_index=True),
            "timestamp": pd.concat(
                [earlier["user"].map(first), times.iloc[clicks["row"]]], ignore_index=True
            ),
        }
    )
    if events.empty:
        raise ValueError(f"{path} has no clicks, expected at least one: {AGAIN}")
    notes = [f"{counted(len(clicks), 'click')} of {counted(len(rows), 'impression')}"]
    if len(earlier):
        notes.append(
            f"{counted(len(earlier), 'earlier click')} of the users' histories, which have no "
            "times: put before the user's impressions, at the time of the first of them"
        )
    if differ:
        notes.append(
            f"{counted(differ, 'user')} with several histories: the one of the first time counts"
        )
    news = path.parent / "news.tsv"
    items = _news(news, set(events["item_id"].unique())) if news.is_file() else None
    return as_dataset(Published("mind", events, items, None, tuple(notes), news.name))


def _clicks(path: Path, impressions: pd.Series) -> pd.DataFrame:
    """Return the row and the news of each click."""
    pieces, unmarked = [], 0
    for start in range(0, len(impressions), _PIECE):
        piece = impressions.iloc[start : start + _PIECE]
        rows, shown = _taken_apart(piece)
        mark = pc.utf8_slice_codeunits(shown, -2, None)
        clicked = pc.equal(mark, "-1").to_numpy(zero_copy_only=False)
        marked = clicked | pc.equal(mark, "-0").to_numpy(zero_copy_only=False)
        if not marked.all():
            unmarked += int((~marked).sum())
            if start == 0 and not marked.any():
                raise ValueError(
                    f"{path}, line 1: impressions is {piece.iloc[0][:60]!r} without -0 and -1, "
                    "expected which news were clicked: the test part of MIND does not tell; take "
                    "the training or the development part"
                )
            bad = np.zeros(len(impressions), dtype=bool)
            bad[start + rows[~marked]] = True
            expected = "news ids with -0 or -1 behind each"
            refuse_rows(path, bad, "impressions", impressions, expected)
        news = pc.utf8_slice_codeunits(shown.filter(pa.array(clicked)), 0, -2)
        pieces.append(pd.DataFrame({"row": start + rows[clicked], "item": news.to_pandas()}))
    found = pd.concat(pieces, ignore_index=True)
    found["item"] = found["item"].astype("string")
    bad = np.zeros(len(impressions), dtype=bool)
    bad[found.loc[found["item"] == "", "row"]] = True
    refuse_rows(path, bad, "impressions", impressions, "news ids with -0 or -1 behind each")
    return found


def _histories(rows: pd.DataFrame, times: pd.Series) -> tuple[pd.DataFrame, int]:
    """Return the user and the news of each earlier click, and how many users have two histories."""
    kept = rows[["user", "history"]].assign(time=times)
    kept = kept.sort_values("time", kind="stable")
    differ = kept.drop_duplicates(["user", "history"])["user"].duplicated()
    users = int(kept.drop_duplicates(["user", "history"])["user"][differ].nunique())
    kept = kept.drop_duplicates("user").sort_index()
    row, news = _taken_apart(kept["history"])
    found = pd.DataFrame(
        {"user": kept["user"].iloc[row].to_numpy(), "item": news.to_pandas()}, dtype="string"
    )
    return found, users


def _taken_apart(column: pd.Series) -> tuple[np.ndarray, pa.Array]:
    """Return the words of each text of a column, one after another, and the rows they are in."""
    texts = pa.array(column, type=pa.large_string())
    lists = pc.split_pattern(texts, " ")
    rows = pc.list_parent_indices(lists).to_numpy().astype(np.int64)
    words = pc.list_flatten(lists)
    there = pc.not_equal(words, "")
    return rows[there.to_numpy(zero_copy_only=False)], words.filter(there)


def _news(path: Path, wanted: set[str]) -> pd.DataFrame:
    kinds = dict.fromkeys(NEWS[:5], "string")
    found = columns_of_fields(path, kinds, "\t", names=(*NEWS, *ENTITIES))
    refuse_rows(path, found["news"].str.strip() == "", "news", found["news"], "an id")
    found = found[found["news"].isin(list(wanted))].astype(object)
    rows = [
        product_row(
            news,
            title,
            categories=[category, subcategory],
            more=abstract,
        )
        for news, category, subcategory, title, abstract in found.itertuples(index=False)
    ]
    table = product_table(rows)
    table["item_id"] = table["item_id"].astype("string")
    return table
