"""Rows that all processes of a world make together, as one process would make them.

A model's answer for a user depends on the batch in its last digits: the batch decides how far
histories are padded, and how products of matrices are cut into blocks. So the batches are those of
a single process. Each process makes some of these batches, whole, and then all processes get the
rows of all. What is computed from these rows is therefore the same, bit for bit, for any number of
processes with the same number of threads each.

Rows carry their numbers, and are put in their places by them. Two processes may each have some of a
person's targets: means over people are taken afterwards, from the rows of all.

Derived in: chapter 12.
"""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from rqvae_lib.io.progress import progress_of
from rqvae_lib.ops.rows import row_blocks
from rqvae_lib.ops.world import current_world


def fill_in_batches(
    table: Tensor,
    batch_size: int,
    make: Callable[[slice], Tensor],
    *,
    unit: str = "row",
    progress: bool = False,
) -> None:
    """Fill a table with rows that the processes of the world make together, a batch at a time.

    All processes must call this with tables of one shape, and all tables hold all rows afterwards.

    Args:
        table: shape (N, ...), on the CPU, to be filled.
        batch_size: rows of a batch, at least 1. The last batch may have fewer.
        make: returns the rows of a batch, (b, ...), given which of the N they are. It works alone:
            in it, the world is this process.
        unit: what is counted in the progress that the first process shows, in the singular.
        progress: whether it shows progress on stderr.

    Raises:
        Exception: what `make` raises in any process, in all of them.
        WorldError: if another process has ended.
    """
    world = current_world()
    batches = list(row_blocks(len(table), batch_size))
    own = batches[world.rows(len(batches))]
    share = slice(own[0].start, own[-1].stop) if own else slice(0, 0)

    def made() -> tuple[slice, NDArray[Any]]:
        show = progress and world.is_first
        with closing(progress_of(total=share.stop - share.start, unit=unit, show=show)) as bar:
            for rows in own:
                table[rows] = make(rows)
                bar.update(rows.stop - rows.start)
        return share, table[share].numpy()  # pickled as a tensor, it would be the whole table

    for rows, filled in world.from_all(made):
        table[rows] = torch.from_numpy(filled)
