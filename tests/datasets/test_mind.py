"""MIND: two files without header, times with AM and PM, clicks marked in lists."""

import re
from pathlib import Path

import pandas as pd
import pytest

from rqvae_lib.datasets import mind as reader
from rqvae_lib.datasets.registry import load_dataset
from tests.datasets.histories import met, said, times
from tests.datasets.published import mind, written
from tests.datasets.spoiled import replaced


def test_clicks_and_histories(tmp_path: Path) -> None:
    data = load_dataset(written(mind(), tmp_path))
    assert data.name == "mind"
    assert met(data) == {"U13740": ["N1", "N3", "N2", "N4", "N3"], "U73700": ["N5", "N9"]}
    half, noon, later = "2019-11-12 00:37:50", "2019-11-12 12:05:00", "2019-11-14 07:01:48"
    expected = [half, half, half, noon, noon, later, later]
    assert times(data) == [pd.Timestamp(text).value // 1000 for text in expected]
    assert data.titles == [
        'The Brands "Queen" Swears By',
        "A & B",
        "Three",
        "Four",
        "Five",
        "Untitled N9",
    ]
    assert data.items["genres"].tolist()[:2] == ["lifestyle|lifestyleroyals", "sports|football_nfl"]
    assert data.items["genres"].tolist()[3] == "news"
    assert data.texts[0] == (
        'The Brands "Queen" Swears By. Categories: lifestyle, lifestyleroyals. Shop the notebooks.'
    )
    said(data, "4 clicks of 4 impressions")
    said(data, "3 earlier clicks of the users' histories", "the first of them")
    said(data, "1 interaction with 1 item that news.tsv does not list")


def test_piece_by_piece_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load_dataset(written(mind(), tmp_path))
    monkeypatch.setattr(reader, "_PIECE", 1)
    assert load_dataset(tmp_path).checksum == whole.checksum


def test_two_histories_of_one_user_are_counted(tmp_path: Path) -> None:
    files = replaced(mind(), "behaviors.tsv", "N1 N3\tN5-0", "N1 N3 N2\tN5-0")
    data = load_dataset(written(files, tmp_path))
    assert met(data)["U13740"][:2] == ["N1", "N3"]
    said(data, "1 user with several histories")


def test_the_test_part_is_refused(tmp_path: Path) -> None:
    text = b"1\tU1\t11/22/2019 9:12:47 AM\tN1\tN5 N4 N3\n"
    with pytest.raises(
        ValueError, match=r"behaviors.tsv, line 1: .* the test part of MIND does not"
    ):
        load_dataset(written({"behaviors.tsv": text}, tmp_path))


BEHAVIORS, NEWS = "behaviors.tsv", "news.tsv"
BAD = [
    (
        BEHAVIORS,
        "12:37:50 AM",
        "00:37:50",
        "line 2: time is '11/12/2019 00:37:50', expected a time",
    ),
    (BEHAVIORS, "11/14/2019", "14/11/2019", "line 4: time is '14/11/2019 7:01:48 AM', expected"),
    (BEHAVIORS, "U73700", " ", "line 4: user is ' ', expected an id"),
    (BEHAVIORS, "N9-1", "N9", "line 4: impressions is 'N9', expected news ids with -0 or -1"),
    (BEHAVIORS, "N9-1", "-1", "line 4: impressions is '-1', expected news ids with -0 or -1"),
    (BEHAVIORS, "\tN5\t", "\t", "line 4: found 4 fields, expected 5 (impression<tab>user<tab>time"),
    (NEWS, "N2\tsports", "\tsports", "line 2: news is '', expected an id"),
    (NEWS, "N2\tsports", "N2", "line 2: found 7 fields, expected 8 (news<tab>category"),
]


@pytest.mark.parametrize(("name", "old", "new", "says"), BAD, ids=[row[3] for row in BAD])
def test_a_bad_file_gets_its_sentence(
    name: str, old: str, new: str, says: str, tmp_path: Path
) -> None:
    folder = written(replaced(mind(), name, old, new), tmp_path)
    with pytest.raises(ValueError, match=re.escape(says)) as caught:
        load_dataset(folder)
    assert str(folder / name) in str(caught.value)
