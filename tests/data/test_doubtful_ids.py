"""Ids that are said to be doubtful, and that are kept as they are."""

from pathlib import Path

import pandas as pd
import pytest

from rqvae_lib.data.dataset import Dataset

SESSIONS = "sessionId;userId;itemId\n1;NA;5\n2;NA;6\n3;ann;5\n"


def test_a_missing_user_that_is_written_as_text_is_said(tmp_path: Path) -> None:
    path = tmp_path / "views.csv"
    path.write_text(SESSIONS)
    dataset = Dataset.from_tables(path)
    assert dataset.user_ids.tolist() == ["NA", "ann"]
    assert any("2 rows have a user_id" in note and "'NA'" in note for note in dataset.notes)


def test_spaces_and_decimals_are_said(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user_id, item_id\n1.0, 10\n2.0, 11\n2, 12\n")
    notes = Dataset.from_tables(path).notes
    assert any("3 rows have an item_id" in note and "' 10'" in note for note in notes)
    assert any("2 rows have a user_id" in note and "'1.0'" in note for note in notes)


@pytest.mark.parametrize("ids", [[1, 2], ["nano", "a b"], ["1.5", "7"]])
def test_other_ids_are_not(ids: list[object]) -> None:
    table = pd.DataFrame({"user_id": ids, "item_id": ids, "timestamp": [1, 2]})
    (only,) = Dataset.from_tables(table).notes
    assert "timestamp" in only
