"""The study of chapter 12: what it says of the work, and that its tables are complete."""

import pandas as pd
import pytest

from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.rqvae import RQVAE
from scaling import COLUMNS, PROCESSES, RESULTS, SIZES, cases, multiplications, tokenizers


@pytest.mark.parametrize("config", list(tokenizers()), ids=str)
def test_multiplications_are_those_of_the_matrices(config: RQVAEConfig) -> None:
    model = RQVAE(config)
    matrices = [weight for weight in model.encoder.parameters() if weight.ndim == 2]
    assert multiplications(config) == (
        sum(weight.numel() for weight in matrices),
        model.quantizer.codebooks.numel(),
    )


def test_no_two_tokenizers_cost_the_same() -> None:
    """A case names its tokenizer by these numbers."""
    sizes = [multiplications(config) for config in tokenizers()]
    assert len(set(sizes)) == len(sizes)


def test_the_table_has_every_case_once() -> None:
    table = pd.read_csv(RESULTS, dtype=str, keep_default_na=False)
    assert tuple(table.columns) == COLUMNS
    found = sorted(map(tuple, table[["stage", *SIZES]].to_numpy().tolist()))
    wanted = [(stage, *(str(case.get(name, "")) for name in SIZES)) for stage, case in cases()]
    assert found == sorted(wanted)
    assert (table[["seconds", "mib"]].astype(float) > 0).all(axis=None)


def test_each_batch_was_measured_in_one_process_and_in_two() -> None:
    table = pd.read_csv(PROCESSES)
    assert not table.duplicated(["batch", "processes"]).any()
    assert (table.groupby("batch")["processes"].agg(sorted).map(tuple) == (1, 2)).all()
