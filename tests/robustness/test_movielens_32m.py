"""The files that stand in for MovieLens 32M: of its format, its size, and a long tail."""

from pathlib import Path

import numpy as np

from rqvae_lib.datasets.registry import load_dataset
from tests.robustness.movielens_32m import MOVIES, RATINGS, USERS, Size, write_files


def test_the_files_are_read_and_have_the_shape_that_was_asked_for(tmp_path: Path) -> None:
    size = Size.of(30_000)
    write_files(tmp_path / "ml-32m", size)
    dataset = load_dataset(str(tmp_path / "ml-32m"))
    interactions = dataset.interactions
    assert (dataset.num_users, dataset.num_items) == (size.users, size.movies)
    assert 0.8 * size.ratings < len(interactions) <= size.ratings + size.movies
    assert not interactions.duplicated(["user_id", "item"]).any()
    per_user = interactions["user_id"].value_counts()
    assert per_user.min() >= 20
    assert per_user.max() > 3 * per_user.median()
    per_item = interactions["item"].value_counts().to_numpy()
    assert per_item.max() > 5 * np.median(per_item)


def test_the_whole_size_is_that_of_movielens_32m() -> None:
    assert Size.of(RATINGS) == (RATINGS, USERS, MOVIES) == (32_000_204, 200_948, 84_432)
