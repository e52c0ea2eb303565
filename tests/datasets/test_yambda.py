"""Yambda's events, flat and sequential."""

from pathlib import Path

import pandas as pd
import pytest

from rqvae_lib.datasets.registry import load_dataset
from tests.datasets.histories import met, said, times
from tests.datasets.published import YAMBDA, written, yambda, yambda_sequential


def test_listens_flat_and_sequential(tmp_path: Path) -> None:
    data = load_dataset(written(yambda(), tmp_path / "flat"))
    assert data.name == "yambda-listens"
    assert met(data) == {100: [8326270, 1441281, 286361], 200: [1441281]}
    assert times(data) == [0, 39420 * 10**6, 39420 * 10**6, 26000000 * 10**6]
    assert data.interactions["rating"].tolist() == [0, 100, 159, 46]
    said(data, "rating is played_ratio_pct")
    said(data, "a day that is not told")
    nested = load_dataset(written(yambda_sequential(), tmp_path / "sequential"))
    assert nested.checksum == data.checksum


def test_likes_and_several_kinds_of_events(tmp_path: Path) -> None:
    likes = load_dataset(written(yambda("likes"), tmp_path / "likes"))
    assert likes.name == "yambda-likes"
    assert met(likes) == {100: [8326270, 1441281, 286361], 200: [1441281]}
    assert likes.interactions["rating"].tolist() == [1] * 4
    events = load_dataset(written(yambda("multi_event"), tmp_path / "events"))
    assert met(events) == {100: [1441281, 286361], 200: [1441281]}
    said(events, "3 of 4 events are listens, which are read")


def test_two_files_are_two_datasets(tmp_path: Path) -> None:
    folder = written(yambda() | yambda("likes"), tmp_path)
    with pytest.raises(
        ValueError, match=r"both listens\.parquet and likes\.parquet, which are two"
    ):
        load_dataset(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"timestamp": [0.5] * 4}, "timestamp holds double, expected whole numbers"),
        ({"timestamp": [-5] * 4}, "row 0: timestamp is -5, expected a number from 0"),
        ({"item_id": pd.array([1, None, 2, 3], dtype="Int64")}, "row 1: item_id is missing"),
        ({"uid": ["a"] * 4}, "uid holds"),
        ({"track_id": [1] * 4, "item_id": None}, "has the columns"),
    ],
)
def test_a_bad_file_gets_its_sentence(change: dict[str, object], says: str, tmp_path: Path) -> None:
    columns = {k: v for k, v in (YAMBDA | change).items() if v is not None}
    pd.DataFrame(columns).to_parquet(tmp_path / "listens.parquet")
    with pytest.raises(ValueError, match=says) as caught:
        load_dataset(tmp_path)
    assert str(tmp_path / "listens.parquet") in str(caught.value)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "listens.parquet").write_bytes(yambda()["listens.parquet"][:-20])
    with pytest.raises(ValueError, match=r"listens\.parquet is not a Parquet table"):
        load_dataset(tmp_path)
    (tmp_path / "listens.parquet").write_bytes(b"")
    with pytest.raises(ValueError, match=r"listens\.parquet is empty"):
        load_dataset(tmp_path)
