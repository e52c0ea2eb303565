"""Amazon's editions of 2014, 2018 and 2023: reviews, ratings alone, and the benchmark files."""

import gzip
import re
from pathlib import Path

import pytest

from rqvae_lib.datasets.registry import load_dataset
from tests.datasets.histories import met, said, times
from tests.datasets.published import (
    AMAZON_METADATA,
    amazon,
    amazon_2018,
    amazon_2023,
    amazon_2023_benchmark,
    amazon_ratings,
    written,
)
from tests.datasets.spoiled import replaced


def test_2014_packed_and_unpacked_are_the_same(tmp_path: Path) -> None:
    packed = load_dataset(written(amazon(), tmp_path / "a"))
    files = {name.removesuffix(".gz"): gzip.decompress(data) for name, data in amazon().items()}
    assert load_dataset(written(files, tmp_path / "b")).checksum == packed.checksum
    assert met(packed) == {"A1": ["B0001", "0000031852"], "A2": ["B0001"]}


def test_2014_all_reviews_may_repeat_a_product(tmp_path: Path) -> None:
    files = amazon()
    reviews = gzip.decompress(files.pop("reviews_Beauty_5.json.gz"))
    folder = written(files | {"reviews_Beauty.json.gz": gzip.compress(reviews * 2)}, tmp_path)
    assert met(load_dataset(folder))["A2"] == ["B0001", "B0001"]
    assert met(load_dataset(folder, repeats="first"))["A2"] == ["B0001"]


# 2018


@pytest.mark.parametrize("ending", ["_5.json.gz", ".json.gz", "_5.json"])
def test_2018(ending: str, tmp_path: Path) -> None:
    data = load_dataset(written(amazon_2018(ending=ending), tmp_path))
    assert data.name == "amazon-2018-all-beauty"
    assert met(data) == {
        "A1": ["B000000002", "B000000001", "B000000001", "0000013714"],
        "A2": ["B000000001"],
    }
    assert data.items["item_id"].tolist() == ["0000013714", "B000000001", "B000000002"]
    assert data.titles == ["Untitled 0000013714", "Comb & Brush", "Untitled B000000002"]
    assert data.items["genres"].tolist() == ["", "Beauty|Hair & Care", ""]
    assert data.texts[1] == "Comb & Brush. Brand: Kent. Categories: Beauty, Hair & Care."
    assert data.texts[0] == "An untitled item."
    assert data.interactions["rating"].tolist() == [1, 4, 4, 3, 5]
    assert times(data)[0] == 1369699200 * 10**6
    said(data, "lists 1 item again")
    said(data, "1 interaction with 1 item", "does not list: kept")
    said(data, "1 title in", "the code of a web page")


def test_2018_texts_with_half_a_surrogate_pair_are_read(tmp_path: Path) -> None:
    """pyarrow refuses such a file, so it is read line by line."""
    files = amazon_2018()
    assert b"\\ud83d" in gzip.decompress(files["All_Beauty_5.json.gz"])
    assert load_dataset(written(files, tmp_path)).num_users == 2


def test_2018_two_categories_are_refused(tmp_path: Path) -> None:
    folder = written(amazon_2018() | amazon_2018("Software"), tmp_path)
    with pytest.raises(ValueError, match=r"both All_Beauty_5\.json\.gz and Software_5\.json\.gz"):
        load_dataset(folder)


# Ratings alone


@pytest.mark.parametrize("name", [None, "renamed.csv", "ratings_Books.csv"])
@pytest.mark.parametrize(("year", "which"), [(2014, "second"), (2018, "first")])
def test_the_data_tell_the_order_of_columns(
    name: str | None, year: int, which: str, tmp_path: Path
) -> None:
    data = load_dataset(written(amazon_ratings(year, name), tmp_path))
    assert met(data) == {
        "A10000012B7CGYKOMPQ4L": ["B000000001"],
        "A2EFCYXHNK06IS": ["B000000001", "0000013714"],
    }
    assert data.interactions["rating"].tolist() == [3, 1, 5]
    assert data.name.startswith(f"amazon-{year}-")
    assert not data.has_texts
    said(data, f"the {which} column holds the items")


def test_ratings_with_the_metadata_of_their_edition(tmp_path: Path) -> None:
    later = amazon_2018()
    files = amazon_ratings(2018) | {"meta_All_Beauty.json.gz": later["meta_All_Beauty.json.gz"]}
    data = load_dataset(written(files, tmp_path / "2018"))
    assert data.titles == ["Untitled 0000013714", "Comb & Brush"]
    line = AMAZON_METADATA[0].replace("0000031852", "0000013714")
    files = amazon_ratings(2014) | {"meta_Beauty.json": line.encode()}
    data = load_dataset(written(files, tmp_path / "2014"))
    assert data.titles == ["Girls' Tutu & Zebra", "Untitled B000000001"]


@pytest.mark.parametrize(
    "row", ["B000000001,B000000002,5.0,1369699200", "A1ABCDE,A2ABCDE,5,99999999"]
)
def test_columns_that_nothing_tells_apart_are_refused(row: str, tmp_path: Path) -> None:
    folder = written({"X.csv": f"{row}\n".encode()}, tmp_path)
    with pytest.raises(ValueError, match=r"X\.csv does not tell which column holds the items"):
        load_dataset(folder)


# 2023


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz"])
def test_2023_raw(ending: str, tmp_path: Path) -> None:
    data = load_dataset(written(amazon_2023(ending=ending), tmp_path))
    assert data.name == "amazon-2023-all-beauty"
    assert met(data) == {
        "AEYOR": ["0439893577", "B01CUPMQZE", "B07FM2GLNQ"],
        "AFWHJ": ["B01CUPMQZE"],
    }
    assert times(data)[:3] == [1628643414042000, 1658002729837000, 1658002729838000]
    assert data.titles == ["Untitled 0439893577", 'Wig "Howard"', "Untitled B07FM2GLNQ"]
    assert data.items["genres"].tolist() == ["", "Beauty|Hair & Care", ""]
    assert data.texts[1] == 'Wig "Howard". Brand: Yes To. Categories: Beauty, Hair & Care.'
    said(data, "1 interaction with 1 item that meta_All_Beauty.jsonl")


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("history", [True, False])
@pytest.mark.parametrize("parts", [True, False])
@pytest.mark.parametrize("packed", [True, False])
def test_2023_benchmark(
    header: bool, history: bool, parts: bool, packed: bool, tmp_path: Path
) -> None:
    """Whatever the edition, the histories are those of the raw reviews."""
    files = amazon_2023_benchmark(header=header, history=history, parts=parts)
    if packed:
        files = {f"{name}.gz": gzip.compress(data) for name, data in files.items()}
    raw = load_dataset(written(amazon_2023(), tmp_path / "raw"))
    data = load_dataset(written(files, tmp_path / "csv"))
    assert met(data) == met(raw)
    assert times(data) == times(raw)
    assert not data.has_texts
    meta = {name: text for name, text in amazon_2023().items() if name.startswith("meta_")}
    data = load_dataset(written(files | meta, tmp_path / "both"))
    assert data.checksum == raw.checksum


def test_2023_a_missing_part_is_said_and_two_editions_are_refused(tmp_path: Path) -> None:
    parts = amazon_2023_benchmark(header=True, history=False, parts=True)
    files = {name: text for name, text in parts.items() if ".valid" not in name}
    data = load_dataset(written(files, tmp_path / "a"))
    said(data, "there is no All_Beauty.valid.csv")
    whole = amazon_2023_benchmark(header=True, history=False, parts=False)
    for more in (
        whole,
        amazon_2023_benchmark(header=True, history=False, parts=True, category="X"),
    ):
        with pytest.raises(ValueError, match=r"has both .* and .*, expected the files of one"):
            load_dataset(written(parts | more, tmp_path / "b"))


# Bad files


REVIEWS_2018, META_2018 = "All_Beauty_5.json.gz", "meta_All_Beauty.json.gz"
REVIEWS_2023, META_2023 = "All_Beauty.jsonl", "meta_All_Beauty.jsonl"
TABLE = amazon_2023_benchmark(header=True, history=True, parts=False)
BAD = [
    (amazon_2018(), REVIEWS_2018, '"A2"', "2", "line 1: reviewerID is 2, expected text"),
    (amazon_2018(), REVIEWS_2018, '"A2"', "null", "line 1: reviewerID is None, expected text"),
    (amazon_2018(), REVIEWS_2018, '"A2"', '" "', "line 1: reviewerID is ' ', expected an id"),
    (amazon_2018(), REVIEWS_2018, "1369785600", "1.5e9", "line 2: unixReviewTime is 15000000"),
    (amazon_2018(), REVIEWS_2018, "1369785600", "1369785600000", "expected seconds since 1970"),
    (amazon_2018(), REVIEWS_2018, "5.0", "9", "line 1: overall is 9.0, expected 1 to 5 stars"),
    (amazon_2018(), REVIEWS_2018, "}\n", "\n", 'line 1: found \'{"overall": 5.0'),
    (amazon_2018(), META_2018, '["Beauty", "Hair', '"Beauty", "Hair', "line 1: found"),
    (amazon_2018(), META_2018, '"brand": "Kent"', '"brand": 7', "line 1: brand is 7, expected"),
    (amazon_2018(), META_2018, '"category": []', '"category": [5]', "line 2: category is [5]"),
    (
        amazon_2023(),
        REVIEWS_2023,
        "1658002729837",
        "1658002729",
        "line 1: timestamp is 1658002729, expected milli",
    ),
    (amazon_2023(), REVIEWS_2023, "1658002729837", "1658002729837000", "line 1: timestamp is 1658"),
    (amazon_2023(), REVIEWS_2023, '"AFWHJ"', "17", "line 3: user_id is 17, expected text"),
    (amazon_2023(), REVIEWS_2023, '"rating": 5.0', '"rating": "5"', "line 1: rating is '5'"),
    (amazon_2023(), REVIEWS_2023, '"rating": 5.0', '"rating": 50', "line 1: rating is 50.0"),
    (amazon_2023(), META_2023, '"store": null', '"store": 5', "line 2: store is 5, expected text"),
    (amazon_2023(), META_2023, '"categories": []', '"categories": {}', "line 2: categories is {}"),
    (TABLE, "All_Beauty.csv", "1658002729838", "x", "timestamp is 'x', expected a whole number"),
    (
        TABLE,
        "All_Beauty.csv",
        "0439893577,4",
        "0439893577,4,4",
        "line 2: found 6 fields, expected 5",
    ),
    (TABLE, "All_Beauty.csv", "1658002729837", "-5", "timestamp is -5, expected milliseconds"),
    (amazon_ratings(2014), "ratings_Beauty.csv", ",3.0,", ",,", "line 2: rating is '', expected"),
    (amazon_ratings(2014), "ratings_Beauty.csv", ",3.0,", ",7,", "line 2: rating is 7.0, expected"),
    (
        amazon_ratings(2018),
        "All_Beauty.csv",
        ",1353456000",
        "",
        "line 3: found 3 fields, expected 4",
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


def test_all_absent_parts_of_a_benchmark_are_said(tmp_path: Path) -> None:
    (tmp_path / "Beauty.valid.csv").write_text(
        "user_id,parent_asin,rating,timestamp\nAE1,B0P0000003,4.0,1628643414042\n"
    )
    data = load_dataset(tmp_path)
    said(data, "there is no Beauty.train.csv and no Beauty.test.csv, so what they hold")
    assert not any("put together" in note for note in data.notes)
