"""Rows that do not fit in memory, dealt out to files by the range that their user's id is in.

Each file, a *bucket*, fits in memory. Only some files can be open at a time, so where there are
more buckets, the rows are dealt out to ranges of several buckets first, and each of these once
more.

Source: sorting by a sample, W. D. Frazer and A. C. McKellar, "Samplesort", Journal of the ACM 1970.
Derived in: chapter 12.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from rqvae_lib.data.arrow_columns import from_arrow
from rqvae_lib.data.row_order import Numbered, numbered

_MOST_FILES = 128  # that are open at once; a system may allow no more than 256

Write = Callable[[pa.Table, Numbered], None]


def cut_ids(sample: pd.Series, buckets: int) -> NDArray[Any]:
    """Return where to cut the range of ids into buckets of about equal size.

    Args:
        sample: the user ids of some rows, int64 or "string".
        buckets: how many are wanted. Fewer are made if a user has the rows of several.

    Returns:
        The first id of each bucket but the first one: int64, or objects for text.
    """
    ordered = sample.sort_values(kind="stable")
    places = np.arange(1, buckets) * len(ordered) // buckets
    cuts = ordered.iloc[places].drop_duplicates()
    return cuts.to_numpy(np.int64 if ordered.dtype == np.int64 else object)


@contextmanager
def dealing_out(folder: Path, cuts: NDArray[Any], name: str = "bucket") -> Iterator[Write]:
    """Yield a function that writes rows, given their users, to the buckets of these.

    Rows of a bucket keep their order.

    Args:
        folder: where to write files, for `buckets_of` to read.
        cuts: as `cut_ids` returns them.
        name: how the files' names begin.
    """
    outer = cuts[_width(cuts) - 1 :: _width(cuts)]
    with ExitStack() as stack:
        writers: list[Any] = []

        def write(rows: pa.Table, users: Numbered) -> None:
            if not writers:
                for file in _files(folder, cuts, name):
                    sink = stack.enter_context(pa.OSFile(str(file), "wb"))
                    writers.append(stack.enter_context(pa.ipc.new_stream(sink, rows.schema)))
            whose = _bucket_of(users, outer).astype(np.uint8)  # 8 bits sort fastest
            rows = rows.take(pa.array(np.argsort(whose, kind="stable"))).combine_chunks()
            ends = np.bincount(whose, minlength=len(writers)).cumsum()
            for writer, begin, end in zip(writers, [0, *ends], ends, strict=False):
                if end > begin:
                    writer.write_table(rows.slice(begin, end - begin))

        yield write


def buckets_of(folder: Path, cuts: NDArray[Any], name: str = "bucket") -> Iterator[pa.Table]:
    """Yield the rows of each bucket, in the order of the ids, and remove its file.

    Args:
        folder, cuts, name: as `dealing_out`.
    """
    width = _width(cuts)
    for number, file in enumerate(_files(folder, cuts, name)):
        inner = cuts[number * width : (number + 1) * width - 1]
        if not len(inner):
            with _opened(file) as stream:
                rows = stream.read_all()
            file.unlink()
            yield rows
            continue
        with dealing_out(folder, inner, file.name) as write, _opened(file) as stream:
            for batch in stream:
                rows = pa.Table.from_batches([batch])
                write(rows, users_of(rows))
        file.unlink()
        yield from buckets_of(folder, inner, file.name)


def users_of(rows: pa.Table) -> Numbered:
    """Return the users of rows, which are in the column "user"."""
    ids = from_arrow(rows.column("user"))
    return numbered(ids if ids.dtype == np.int64 else ids.astype("string"))


def _width(cuts: NDArray[Any]) -> int:
    """Return how many buckets share a file at first."""
    return -(-(len(cuts) + 1) // _MOST_FILES)


def _files(folder: Path, cuts: NDArray[Any], name: str) -> list[Path]:
    return [folder / f"{name}-{n}" for n in range(len(cuts) // _width(cuts) + 1)]


def _bucket_of(users: Numbered, cuts: NDArray[Any]) -> NDArray[np.intp]:
    """Return the bucket of each row, (E,), with cuts between the buckets."""
    firsts = np.searchsorted(users.ids.to_numpy(cuts.dtype), cuts)
    of_id = np.repeat(np.arange(len(cuts) + 1), np.diff([0, *firsts, len(users.ids)]))
    return np.asarray(of_id[users.codes])


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    with pa.OSFile(str(file)) as source, pa.ipc.open_stream(source) as stream:
        yield stream
