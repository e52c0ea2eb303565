"""KuaiRec's matrices and KuaiRand's logs."""

import re
from pathlib import Path

import pytest

from rqvae_lib.datasets.registry import load_dataset
from tests.datasets.histories import met, said, times
from tests.datasets.published import kuairand, kuairec, written
from tests.datasets.spoiled import replaced

BIG, SMALL = "data/big_matrix.csv", "data/small_matrix.csv"


@pytest.mark.parametrize("above", [True, False])
def test_kuairec(above: bool, tmp_path: Path) -> None:
    folder = written(kuairec(), tmp_path)
    data = load_dataset(folder.parent if above else folder)
    assert data.name == "kuairec-big"
    assert met(data) == {0: [9598, 3649, 3649, 3649]}
    assert times(data) == [1593878903437000, *[1593878903438000] * 2, 1593882025500000]
    assert data.interactions["rating"].tolist() == pytest.approx(
        [1.2440823, 1.2733965, 1.2733965, 0]
    )
    assert data.titles == ["a b, c", "Untitled 9598"]
    assert data.items["genres"].tolist() == ["颜值|颜值随拍", ""]
    said(data, "small_matrix.csv is another dataset and is not read")
    said(data, "2 broken rows of kuairec_caption_category.csv: left out")


def test_the_small_matrix_and_its_rows_without_times(tmp_path: Path) -> None:
    files = {SMALL: kuairec()[SMALL]}
    data = load_dataset(written(files, tmp_path / "a"))
    assert data.name == "kuairec-small"
    assert met(data) == {14: [148]}
    assert times(data) == [1593898068378000]
    said(data, "1 of 2 rows of small_matrix.csv without a time: left out")
    files = replaced(files, SMALL, "1593898068.378", "")
    with pytest.raises(ValueError, match=r"small_matrix\.csv has no times, expected seconds"):
        load_dataset(written(files, tmp_path / "b"))


@pytest.mark.parametrize("edition", ["pure", "1k", "27k"])
def test_kuairand(edition: str, tmp_path: Path) -> None:
    files = kuairand(edition)
    if edition == "27k":
        files = {
            name.replace("27k.csv", "27k_part1.csv" if "random" not in name else "27k.csv"): text
            for name, text in files.items()
        }
    data = load_dataset(written(files, tmp_path).parent)
    assert data.name == f"kuairand-{edition}"
    assert met(data) == {0: [8, 7, 7]}
    assert times(data) == [1650485801301000, 1650485801302000, 1650585801301000]
    assert not data.has_texts
    said(data, "3 of 4 views with is_click = 1 are read")
    said(data, "log_random_4_22_to_5_08", "chosen at random, is not read")


def test_two_editions_are_refused(tmp_path: Path) -> None:
    folder = written(kuairand() | kuairand("1k"), tmp_path)
    with pytest.raises(ValueError, match="both KuaiRand-1k and KuaiRand-pure"):
        load_dataset(folder)


LOG = "data/log_standard_4_08_to_4_21_pure.csv"
CAPTIONS = "data/kuairec_caption_category.csv"
BAD = [
    (kuairec(), BIG, "0,9598", "0,x", "line 3: video_id is 'x', expected a whole number"),
    (kuairec(), BIG, "0,9598", "0,-5", "line 3: video_id is -5, expected an id of 0 or more"),
    (kuairec(), BIG, "0,9598", ",9598", "line 3: user_id is '', expected a whole number"),
    (
        kuairec(),
        BIG,
        "1.2440823015294975",
        "nan",
        "line 3: watch_ratio is 'nan', expected a finite",
    ),
    (kuairec(), BIG, "1593878903.437", "1593878903437", "line 3: timestamp is 1593878903437.0"),
    (kuairec(), BIG, "1593878903.437", "noon", "line 3: timestamp is 'noon', expected a finite"),
    (kuairec(), BIG, ",20200705,", ",", "line 2: found 7 fields, expected 8"),
    (kuairec(), BIG, "timestamp", "when", "line 1: found no column 'timestamp' among 'user_id,"),
    (kuairec(), CAPTIONS, "caption,", "text,", "line 1: found the columns"),
    (
        kuairand(),
        LOG,
        "1650485801302,1",
        "1650485801302,2",
        "line 2: is_click is 2, expected 0 or 1",
    ),
    (kuairand(), LOG, "1650485801302", "1650485801", "line 2: time_ms is 1650485801, expected mil"),
    (kuairand(), LOG, "time_ms", "time", "line 1: found no column 'time_ms'"),
]


@pytest.mark.parametrize(("files", "name", "old", "new", "says"), BAD, ids=[b[4] for b in BAD])
def test_a_bad_file_gets_its_sentence(
    files: dict[str, bytes], name: str, old: str, new: str, says: str, tmp_path: Path
) -> None:
    folder = written(replaced(files, name, old, new), tmp_path)
    with pytest.raises(ValueError, match=re.escape(says)) as caught:
        load_dataset(folder)
    assert str(tmp_path / name) in str(caught.value)


def test_nobody_clicked(tmp_path: Path) -> None:
    text = kuairand()[LOG]
    for time in (b"1650485801302", b"1650485801301"):
        text = text.replace(time + b",1", time + b",0")
    with pytest.raises(ValueError, match="has no row with is_click = 1"):
        load_dataset(written({LOG: text}, tmp_path))
