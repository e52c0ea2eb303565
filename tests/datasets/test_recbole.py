"""RecBole's atomic files, and its benchmark files with sequences in them."""

import importlib.util
import os
import re
import zipfile
from pathlib import Path

import pytest

from rqvae_lib.datasets.registry import load_dataset
from tests.datasets.histories import met, said, times
from tests.datasets.published import recbole, recbole_benchmark, written
from tests.datasets.spoiled import replaced


def test_atomic_files(tmp_path: Path) -> None:
    data = load_dataset(written(recbole(), tmp_path))
    assert data.name == "ml-100k"
    assert met(data) == {22: [999, 377], 196: [7, 242, 51]}  # the tie keeps the file's order
    assert times(data)[:2] == [878887115500000, 878887116000000]
    assert data.interactions["rating"].tolist() == [5, 1, 4.5, 3, 2]
    assert data.items["item_id"].tolist() == [7, 51, 242, 377, 999]
    assert data.titles == [
        "Untitled 7",
        "Legends of the Fall",
        "Kolya (1996)",
        "Heavyweights (1994)",
        "Untitled 999",
    ]
    genres = ["", "Drama|Romance|War", "Comedy", "Children's|Comedy", ""]
    assert data.items["genres"].tolist() == genres
    assert data.texts[2] == "Kolya (1996). Categories: Comedy."
    said(data, "1 interaction with 1 item that ml-100k.item does not list: kept")
    said(data, "1 item of ml-100k.item that nobody met: left out")
    said(data, "1 value of 'release_year:token' in ml-100k.item that cannot be a year")


def test_without_items_and_with_other_names(tmp_path: Path) -> None:
    text = b"video_id:token\tuser_id:token\ttime_ms:float\n"
    text += b"007\tu1\t1650485801301\n8\tu1\t1650485801300\n"
    data = load_dataset(written({"a/kuai.inter": text}, tmp_path))
    assert met(data) == {"u1": ["8", "007"]}
    assert times(data) == [1650485801300000, 1650485801301000]
    said(data, "item_id is the field 'video_id:token'")
    said(data, "time_ms:float is taken as milliseconds")


def test_a_category_of_several_words_stays_whole_between_commas(tmp_path: Path) -> None:
    item = b"item_id:token\ttitle:token_seq\tcategories:token_seq\tbrand:token\n"
    item += b"242\tTea &amp; Milk\t'Tea Rooms', 'Food'\tACME\n"
    files = {name: text for name, text in recbole().items() if name.endswith(".inter")}
    data = load_dataset(written(files | {"ml-100k/ml-100k.item": item}, tmp_path))
    row = data.items[data.items["item_id"] == 242].iloc[0]
    assert (row["title"], row["genres"]) == ("Tea & Milk", "Tea Rooms|Food")
    assert row["text"] == "Tea & Milk. Brand: ACME. Categories: Tea Rooms, Food."


def test_benchmark_files(tmp_path: Path) -> None:
    data = load_dataset(written(recbole_benchmark(), tmp_path))
    assert data.name == "Scientific"
    assert met(data) == {0: [3, 1, 2, 1, 4], 1: [2, 4, 3]}
    said(data, "the longest of the user's sequences", "the order stands for the time")
    assert not any("not a part" in note for note in data.notes)


def test_a_sequence_that_is_not_a_part_of_the_longest_is_counted(tmp_path: Path) -> None:
    files = replaced(recbole_benchmark(), "Scientific/Scientific.train.inter", "0\t3\t1", "0\t9\t1")
    data = load_dataset(written(files, tmp_path))
    assert met(data)[0] == [3, 1, 2, 1, 4]
    said(data, "1 of 7 sequences not a part")


def test_parts_with_times_are_put_together(tmp_path: Path) -> None:
    files = {
        "a/x.train.inter": b"user_id:token\titem_id:token\ttimestamp:float\n1\t5\t10\n",
        "a/x.valid.inter": b"user_id:token\titem_id:token\ttimestamp:float\n1\t6\t20\n",
        "a/x.test.inter": b"user_id:token\titem_id:token\ttimestamp:float\n1\t7\t15\n",
    }
    assert met(load_dataset(written(files, tmp_path / "parts"))) == {1: [5, 7, 6]}
    files["a/x.inter"] = b"user_id:token\titem_id:token\ttimestamp:float\n1\t5\t10\n1\t6\t20\n"
    data = load_dataset(written(files, tmp_path / "all"))
    assert met(data) == {1: [5, 6]}
    said(data, "x.train.inter, x.valid.inter, x.test.inter are parts of x.inter")


def test_a_missing_part_is_said(tmp_path: Path) -> None:
    files = recbole_benchmark()
    del files["Scientific/Scientific.test.inter"]
    data = load_dataset(written(files, tmp_path))
    assert met(data) == {0: [3, 1, 2, 1], 1: [2, 4]}
    said(data, "there is no Scientific.test.inter")


def test_two_datasets_are_refused(tmp_path: Path) -> None:
    folder = written({"a/x.inter": b"", "a/y.inter": b""}, tmp_path)
    with pytest.raises(ValueError, match=r"has both x and y, expected the \.inter file of one"):
        load_dataset(folder)


INTER, ITEM = "ml-100k/ml-100k.inter", "ml-100k/ml-100k.item"
TRAIN = "Scientific/Scientific.train.inter"
BAD = [
    (
        recbole(),
        INTER,
        "\ttimestamp:float",
        "\twhen:float",
        "and no time, expected timestamp:float",
    ),
    (
        recbole(),
        INTER,
        "user_id:token",
        "user_id",
        "line 1: found the field 'user_id', expected name",
    ),
    (recbole(), INTER, "user_id:token", "who:token", "expected one of user_id, session_id"),
    (recbole(), INTER, "22\t377", "\t377", "line 3: user_id:token is '', expected an id"),
    (recbole(), INTER, "22\t377\t1\t878887116", "22\t377\t1", "line 3: found 3 fields, expected 4"),
    (recbole(), INTER, "878887116", "yesterday", "line 3: timestamp:float is 'yesterday'"),
    (recbole(), INTER, "878887116", "-1", "line 3: timestamp:float is -1.0, expected seconds"),
    (recbole(), INTER, "\t1\t878887116", "\tnan\t878887116", "line 3: rating:float is 'nan'"),
    (recbole(), ITEM, "item_id:token", "sku:token", "expected item_id:token: rename a field"),
    (recbole(), ITEM, "Kolya\t1996", "Kolya", "line 2: found 3 fields, expected 4"),
    (recbole(), ITEM, "242\tKolya", "\tKolya", "line 2: item_id:token is '', expected an id"),
    (
        recbole_benchmark(),
        TRAIN,
        "1\t2\t4",
        "1\t2\t",
        "line 4: item_id:token is '', expected an id",
    ),
    (recbole_benchmark(), TRAIN, "1\t2\t4", "1\t2", "line 4: found 2 fields, expected 3"),
]


@pytest.mark.parametrize(("files", "name", "old", "new", "says"), BAD, ids=[b[4] for b in BAD])
def test_a_bad_file_gets_its_sentence(
    files: dict[str, bytes], name: str, old: str, new: str, says: str, tmp_path: Path
) -> None:
    folder = written(replaced(files, name, old, new), tmp_path)
    with pytest.raises(ValueError, match=re.escape(says)) as caught:
        load_dataset(folder)
    assert str(tmp_path / name) in str(caught.value)


def test_the_ml_100k_that_recbole_brings(tmp_path: Path) -> None:
    """From PyPI's recbole: its wheel, named in RECBOLE_WHEEL, or installed."""
    wheel = os.environ.get("RECBOLE_WHEEL")
    if wheel:
        zipfile.ZipFile(wheel).extractall(tmp_path)
        package = tmp_path / "recbole"
    else:
        spec = importlib.util.find_spec("recbole")
        if spec is None or spec.origin is None:
            pytest.skip("recbole is not installed, and RECBOLE_WHEEL names none")
        package = Path(spec.origin).parent
    data = load_dataset(package / "dataset_example/ml-100k")
    assert (len(data.interactions), data.num_users, data.num_items) == (100_000, 943, 1_682)
    assert data.titles[:2] == ["Toy Story (1995)", "GoldenEye (1995)"]
    said(data, "2 values of 'release_year:token' in ml-100k.item that cannot be a year")


def test_a_sequence_of_something_else_is_no_history(tmp_path: Path) -> None:
    (tmp_path / "x.inter").write_text(
        "user_id:token\titem_id:token\ttag_list:token_seq\ttimestamp:float\n"
        "1\t7\trock pop\t2\n1\t8\tjazz\t1\n"
    )
    dataset = load_dataset(tmp_path)
    assert dataset.items["item_id"][dataset.user_history(1)].tolist() == [8, 7]
