"""IDs that were assigned piece by piece are those of the catalogue in memory, every one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rqvae_lib.embeddings.vector_folders import read_vectors
from rqvae_lib.semantic_ids.large_tables import read_large_table
from rqvae_lib.tokenizer import assignment
from rqvae_lib.tokenizer.assignment import Assigned, assign_folder
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.rqvae import RQVAE
from tests.helpers import write_vectors

ROWS, WIDTH = 1600, 24
CHANCE = np.random.default_rng(0)
# Some vectors are there several times, so there are groups that only the last number tells apart.
VECTORS = CHANCE.standard_normal((ROWS, WIDTH)).astype(np.float16)[CHANCE.integers(0, 1300, ROWS)]
IDS = CHANCE.permutation(10 * ROWS)[:ROWS]


@pytest.fixture(scope="module")
def model() -> RQVAE:
    """A tokenizer whose codes depend on the last digits: its codewords are almost the same."""
    torch.manual_seed(0)
    config = RQVAEConfig(WIDTH, hidden_dims=(40,), latent_dim=8, codebook_size=16, num_levels=2)
    model = RQVAE(config)
    model.fit_to_data(torch.from_numpy(VECTORS).float(), generator=torch.Generator().manual_seed(0))
    books = model.quantizer.codebooks.data
    books.copy_(books[:, :1] + 1e-7 * torch.randn(books.shape))
    return model.eval()


def write(folder: Path, ids: Any, order: Any, cuts: list[int], group: int) -> Path:
    for number, rows in enumerate(np.split(order, cuts)):
        path = folder / f"{number}.parquet"
        write_vectors(path, ids[rows], VECTORS[rows], row_group_size=group)
    return folder


def assert_as_in_memory(model: RQVAE, folder: Path, path: Path, done: Assigned) -> None:
    vectors, found = read_vectors(folder), read_large_table(path)
    expected = model.tokenize(vectors.tensor)
    assert found.item_ids.tolist() == vectors.item_ids.tolist()
    assert torch.equal(found.ids.ids, expected.ids)
    assert found.ids.sha256 == expected.sha256
    collisions = int((expected.ids[:, -1] > 0).sum())
    assert done == (ROWS, collisions)
    assert collisions > ROWS / 2  # 256 pairs of codes


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    cuts=st.lists(st.integers(0, ROWS), max_size=6).map(sorted),
    group=st.sampled_from([97, 256, 1024, 1500, ROWS]),
    batch=st.sampled_from([33, 100, 1024, 1025, 8192]),
    seed=st.integers(0, 2**32 - 1),
    as_text=st.booleans(),
)
def test_files_row_groups_batches_and_orders_change_no_id(
    model: RQVAE,
    cuts: list[int],
    group: int,
    batch: int,
    seed: int,
    as_text: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("assigned")
    ids = np.array([f"item {one}" for one in IDS], dtype=object) if as_text else IDS
    chance = np.random.default_rng(seed)
    write(folder / "vectors", ids, chance.permutation(ROWS), cuts, group)
    pieces = assignment.on_pieces

    def shuffled(make: Any, given: Any, *rest: Any) -> Iterator[pa.Table]:
        return pieces(make, [given[one] for one in chance.permutation(len(given))], *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assignment, "on_pieces", shuffled)
        patch.setattr(assignment, "BATCH_ROWS", batch)
        path = folder / "ids.parquet"
        done = assign_folder(model, folder / "vectors", path, progress=False)
    assert_as_in_memory(model, folder / "vectors", path, done)


def test_codes_do_not_depend_on_what_else_is_assigned(model: RQVAE) -> None:
    vectors = torch.from_numpy(VECTORS).float()
    together = model.assign(vectors)
    for size in (1, 2, 3, 5, 17, 64):
        parts = torch.cat([model.assign(part) for part in vectors[:300].split(size)])
        assert torch.equal(parts, together[:300])


def test_an_item_in_two_files_writes_nothing(model: RQVAE, tmp_path: Path) -> None:
    ids = IDS.copy()
    ids[1500] = ids[100]
    write(tmp_path / "vectors", ids, np.arange(ROWS), [1000], 256)
    with pytest.raises(ValueError, match=f"found {ids[100]}, expected each item once") as error:
        assign_folder(model, tmp_path / "vectors", tmp_path / "ids.parquet", progress=False)
    assert "1.parquet, row 500" in str(error.value)
    assert "row 100 of" in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["vectors"]


def test_an_interrupted_run_leaves_the_old_file(
    model: RQVAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "vectors", IDS, np.arange(ROWS), [1000], 256)
    (tmp_path / "ids.parquet").write_text("the old file")
    calls: list[int] = []
    assign = RQVAE.assign

    def interrupted(self: RQVAE, vectors: torch.Tensor) -> torch.Tensor:
        calls.append(len(vectors))
        if len(calls) == 5:
            raise KeyboardInterrupt
        return assign(self, vectors)

    monkeypatch.setattr(RQVAE, "assign", interrupted)
    with pytest.raises(KeyboardInterrupt):
        assign_folder(model, tmp_path / "vectors", tmp_path / "ids.parquet", progress=False)
    assert (tmp_path / "ids.parquet").read_text() == "the old file"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ids.parquet", "vectors"]


def test_a_tokenizer_that_does_not_fit_is_refused(model: RQVAE, tmp_path: Path) -> None:
    write(tmp_path / "vectors", IDS, np.arange(ROWS), [], ROWS)
    path = tmp_path / "ids.parquet"
    for other, says in (
        (RQVAE(RQVAEConfig(WIDTH + 1)), "vectors of 24 numbers, but the tokenizer reads 25"),
        (RQVAE(RQVAEConfig(WIDTH)), "has never seen a catalogue"),
    ):
        with pytest.raises(ValueError, match=says):
            assign_folder(other, tmp_path / "vectors", path)
    assert not path.exists()
