"""Diginetica and YooChoose: sessions, milliseconds, repeats."""

import re
from pathlib import Path

import pandas as pd
import pytest

from rqvae_lib.datasets.registry import load_dataset
from tests.datasets.histories import met, said, times
from tests.datasets.published import diginetica, written, yoochoose
from tests.datasets.spoiled import replaced


@pytest.mark.parametrize("older", [False, True])
def test_diginetica(older: bool, tmp_path: Path) -> None:
    data = load_dataset(written(diginetica(older=older), tmp_path))
    assert data.name == "diginetica"
    assert met(data) == {1: [81766, 81766, 81766, 31331], 2: [9654, 9654]}
    day = pd.Timestamp("2016-05-09").value // 1000
    assert [time - day for time in times(data)[:4]] == [
        526_309_000,
        526_500_000,
        527_000_000,
        1_031_018_000,
    ]
    said(data, "the users are the sessions")


def test_yoochoose(tmp_path: Path) -> None:
    data = load_dataset(written(yoochoose(), tmp_path))
    assert data.name == "yoochoose"
    assert met(data) == {1: [214536506, 214536502, 214536506, 214536500], 2: [214662742]}
    first = pd.Timestamp("2014-04-07 10:51:09.276").value // 1000
    assert times(data)[:3] == [first, first + 1000, first + 2000]
    assert not data.has_texts
    said(data, "yoochoose-buys.dat is not read")


VIEWS, CLICKS = "train-item-views.csv", "yoochoose-clicks.dat"
BAD = [
    (
        diginetica(),
        VIEWS,
        "2016-05-09",
        "09.05.2016",
        "line 2: eventdate is '09.05.2016', expected",
    ),
    (diginetica(), VIEWS, "526309", "-1", "line 2: timeframe is -1, expected milliseconds"),
    (diginetica(), VIEWS, "1;NA;81766;526309", "1;NA;;526309", "line 2: itemId is '', expected"),
    (diginetica(), VIEWS, "1;NA;81766;526309", "NA;NA;1;526309", "line 2: sessionId is 'NA'"),
    (diginetica(), VIEWS, "1;NA;81766;526309", "1,NA,81766,526309", "line 2: found 2 fields"),
    (diginetica(), VIEWS, "timeframe", "time", "line 1: found no column 'timeframe'"),
    (yoochoose(), CLICKS, "51:09.277Z", "51:09.277", "line 1: time is '2014-04-07T10:51:09.277'"),
    (yoochoose(), CLICKS, "2014-04-07", "1014-04-07", "expected a time after 1970"),
    (
        yoochoose(),
        CLICKS,
        "51:09.277Z",
        "51:09.2771Z",
        "line 1: time is '2014-04-07T10:51:09.2771Z'",
    ),
    (yoochoose(), CLICKS, ",214536502", ",x", "line 1: item is 'x', expected a whole number"),
    (
        yoochoose(),
        CLICKS,
        ",214536502",
        "",
        "line 1: found 3 fields, expected 4 (session,time,item",
    ),
]


@pytest.mark.parametrize(("files", "name", "old", "new", "says"), BAD, ids=[b[4] for b in BAD])
def test_a_bad_file_gets_its_sentence(
    files: dict[str, bytes], name: str, old: str, new: str, says: str, tmp_path: Path
) -> None:
    folder = written(replaced(files, name, old, new), tmp_path)
    with pytest.raises(ValueError, match=re.escape(says)) as caught:
        load_dataset(folder)
    assert str(folder / name) in str(caught.value)
