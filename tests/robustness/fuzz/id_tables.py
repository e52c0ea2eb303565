"""What both targets of ID files share: a good table, and what must hold of one that is accepted."""

from pathlib import Path

import numpy as np
import torch

from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.files import read_ids, write_ids

SIZES = [3, 2]
FIELDS = [
    *("", " ", "0", "-1", "1.0", "1e3", "01", "+1", "9" * 30, "NaN", "inf", "None", "0-0-0", '"'),
    *("\0", "\r", "a,b", "é", "\ud7ff", "١", "x" * 100_000, "true", "2000-01-01", "=1+1"),
]


def write(path: Path) -> None:
    codes = torch.tensor([[2, 1], [0, 1], [2, 1], [2, 0], [2, 1], [1, 1]])
    titles = ["Alien", 'a "quoted", one', "七人の侍", "", "two\nlines", "NA"]
    write_ids(path, SemanticIDs(codes, SIZES).to_frame(np.arange(6) * 7, titles))


def read(path: Path) -> None:
    table = read_ids(path, SIZES)
    again = path.with_name(f"again{path.suffix}")
    try:
        write_ids(again, table.ids.to_frame(table.item_ids, table.titles))
        back = read_ids(again, SIZES)
    finally:
        again.unlink(missing_ok=True)
    assert back.ids.sha256 == table.ids.sha256
    assert back.item_ids.tolist() == table.item_ids.tolist()
    assert back.titles == table.titles
