"""KuaiRec and KuaiRand: views of short videos, as their authors at Kuaishou and USTC publish them.

    KuaiRec     big_matrix.csv, small_matrix.csv: user_id, video_id, timestamp, watch_ratio, …;
                kuairec_caption_category.csv: the videos' captions and categories, in Chinese
    KuaiRand    log_standard_….csv, log_random_….csv: user_id, video_id, time_ms, is_click, …

In KuaiRec, times are seconds with a fraction. (The columns `time` and `date` show the same moment
in China.) Some rows are exact copies of others, and people watch a video again, one of them 2,224
times. In the small matrix some rows have no time at all: they cannot be put into a sequence and are
left out. The rating is `watch_ratio`. Some captions have line breaks without quotes, which break
the rows of their table: these rows are left out.

In KuaiRand, times are milliseconds. Each row is a video that was shown, and those with is_click = 1
are read. The log of videos that were shown at random is made for measuring without bias; it is not
read.

Both are under CC BY-SA 4.0: https://kuairec.com and https://kuairand.com.

Source: Gao et al., "KuaiRec: A Fully-Observed Dataset", CIKM 2022; Gao et al., "KuaiRand: An
Unbiased Sequential Recommendation Dataset with Randomly Exposed Videos", CIKM 2022.
"""

import csv
from pathlib import Path

import pandas as pd

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.datasets.published import (
    Published,
    as_dataset,
    check_events,
    counted,
    product_row,
    product_table,
)
from rqvae_lib.datasets.text_files import AGAIN, columns_of_fields, lines, refuse_rows

MATRICES = ("big_matrix.csv", "small_matrix.csv")
CAPTIONS = "kuairec_caption_category.csv"
_LEVELS = tuple(f"{level}_level_category_name" for level in ("first", "second", "third"))


def find_kuairec(folder: Path) -> list[Path]:
    """Return KuaiRec's matrices in a folder or in the folder `data` in it."""
    return [path for name in MATRICES for path in _below(folder, name)]


def find_kuairand(folder: Path) -> list[Path]:
    """Return KuaiRand's standard logs in a folder or in the folder `data` in it."""
    return _below(folder, "log_standard_*.csv")


def read_kuairec(folder: str | Path) -> Dataset:
    """Read a folder with KuaiRec.

    Args:
        folder: the unpacked archive, or its folder `data`. Of the two matrices, the big one is
            read; for the small one, put it into a folder of its own.

    Returns:
        The dataset "kuairec-big" or "kuairec-small". With captions, a video's title is its caption,
        and its genres are its categories.

    Raises:
        FileNotFoundError: if there is no matrix.
        ValueError: if a line is not as described; the message names the file and the line.
    """
    found = find_kuairec(Path(folder))
    if not found:
        raise FileNotFoundError(f"{folder} has no {MATRICES[0]}, expected this file: {AGAIN}")
    path = found[0]
    notes = [f"{other.name} is another dataset and is not read" for other in found[1:]]
    kinds = {"user_id": "int64", "video_id": "int64", "timestamp": "float64"}
    events = columns_of_fields(
        path, {**kinds, "watch_ratio": "float64"}, ",", missing=("timestamp",)
    )
    events = events.rename(columns={"video_id": "item_id", "watch_ratio": "rating"})
    timeless = events["timestamp"].isna()
    names = {"user_id": "user_id", "item_id": "video_id", "rating": "watch_ratio"}
    check_events(path, events, names, "s", header=True)
    bad = (events["timestamp"] < 0) | (events["timestamp"] >= 2**32)
    expected = "seconds since 1970, or nothing"
    refuse_rows(path, bad, "timestamp", events["timestamp"], expected, header=True)
    if timeless.any():
        notes.append(
            f"{int(timeless.sum()):,} of {counted(len(events), 'row')} of {path.name} without a "
            "time: left out"
        )
        events = events[~timeless].reset_index(drop=True)
        if events.empty:
            raise ValueError(
                f"{path} has no times, expected seconds since 1970 in the column timestamp: "
                "without times these are no sequences; choose the other matrix"
            )
    captions = [*_below(path.parent, CAPTIONS), *_below(path.parent.parent, CAPTIONS)]
    items = None
    if captions:
        items, more = _captions(captions[0])
        notes += more
    name = f"kuairec-{path.name.removesuffix('_matrix.csv')}"
    return as_dataset(Published(name, events, items, "s", tuple(notes), CAPTIONS))


def read_kuairand(folder: str | Path) -> Dataset:
    """Read a folder with one edition of KuaiRand: Pure, 1K or 27K.

    Args:
        folder: the unpacked archive, or its folder `data`.

    Returns:
        The dataset "kuairand-pure", "kuairand-1k" or "kuairand-27k", of the videos that were
        clicked. The videos have no texts: their tags are numbers without names.

    Raises:
        FileNotFoundError: if there is no standard log.
        ValueError: if there are two editions, or a line is not as described; the message names the
            file and the line.
    """
    found = find_kuairand(Path(folder))
    if not found:
        raise FileNotFoundError(f"{folder} has no log_standard_….csv, expected one: {AGAIN}")
    editions = sorted({_edition(path) for path in found})
    if len(editions) > 1:
        raise ValueError(
            f"{folder} has both KuaiRand-{editions[0]} and KuaiRand-{editions[1]}, expected the "
            "logs of one edition: move the others away"
        )
    kinds = dict.fromkeys(("user_id", "video_id", "time_ms", "is_click"), "int64")
    tables, shown = [], 0
    for path in found:
        table = columns_of_fields(path, kinds, ",")
        clicked = table["is_click"]
        refuse_rows(path, ~clicked.isin([0, 1]), "is_click", clicked, "0 or 1", header=True)
        table = table.rename(columns={"video_id": "item_id", "time_ms": "timestamp"})
        names = {"user_id": "user_id", "item_id": "video_id", "timestamp": "time_ms"}
        check_events(path, table, names, "ms", header=True)
        shown += len(table)
        tables.append(table.loc[clicked == 1, ["user_id", "item_id", "timestamp"]])
    events = pd.concat(tables, ignore_index=True)
    if events.empty:
        raise ValueError(f"{found[0]} has no row with is_click = 1, expected at least one: {AGAIN}")
    notes = [f"{len(events):,} of {counted(shown, 'view')} with is_click = 1 are read"]
    notes += [
        f"{path.name}, whose videos were chosen at random, is not read"
        for path in _below(found[0].parent, "log_random_*.csv")
    ]
    return as_dataset(Published(f"kuairand-{editions[0]}", events, None, "ms", tuple(notes)))


def _below(folder: Path, pattern: str) -> list[Path]:
    """Return files in a folder, or, if there are none, in the folder `data` in it."""
    return sorted(folder.glob(pattern)) or sorted((folder / "data").glob(pattern))


def _edition(path: Path) -> str:
    """Return the edition, which ends the name: log_standard_4_08_to_4_21_27k_part1.csv."""
    parts = path.name.removesuffix(".csv").split("_")
    return parts[-2] if parts[-1].startswith("part") else parts[-1]


def _captions(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Return what is known about the videos, and what to say about the file."""
    reader = csv.reader(f"{line}\n" for _, line in lines(path))
    rows: list[dict[str, object]] = []
    broken = 0
    try:
        header = next(reader, [])
        for name in ("video_id", "caption", *_LEVELS):
            if name not in header:
                raise ValueError(
                    f"{path}, line 1: found the columns {','.join(header)[:160]!r}, expected "
                    f"{name}: {AGAIN}"
                )
        place = {name: header.index(name) for name in ("video_id", "caption", *_LEVELS)}
        for row in reader:
            if len(row) != len(header) or not row[place["video_id"]].isdecimal():
                broken += 1
                continue
            video, caption, *levels = (row[index] for index in place.values())
            levels = [level for level in levels if level != "UNKNOWN"]
            if len(video) < 19:
                rows.append(product_row(int(video), caption, categories=levels))
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {reader.line_num}: {error}, expected fields separated by commas: {AGAIN}"
        ) from error
    notes = []
    if broken:
        notes.append(f"{counted(broken, 'broken row')} of {path.name}: left out")
    table = product_table(rows)
    table["item_id"] = table["item_id"].astype("int64")
    return table, notes
