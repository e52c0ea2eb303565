"""Each shape in which datasets of this field are published, and what must come out of it.

The lines are written by hand after the publishers' descriptions, or made by
`tests.datasets.published`, which knows no reader. Expected are each user's items, by the
publisher's ids, the oldest first; and a title, where the shape has titles.
"""

import gzip
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rqvae_lib.datasets.registry import load_dataset
from tests.datasets import published as made
from tests.datasets.histories import met
from tests.datasets.published import written


class Shape(NamedTuple):
    files: dict[str, bytes]
    histories: dict[Any, list[Any]]
    title: str | None = None  # of one of the items


def packed(files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{name}.gz": gzip.compress(text) for name, text in files.items()}


def part(files: dict[str, bytes], *names: str) -> dict[str, bytes]:
    return {name: files[name] for name in files if name.rpartition("/")[2] in names}


def benchmark(header: bool, history: bool, parts: bool) -> dict[str, bytes]:
    return made.amazon_2023_benchmark(header=header, history=history, parts=parts)


ML_CSV = {1: [1, 5], 3: [8]}
BEAUTY_2018 = {
    "A1": ["B000000002", "B000000001", "B000000001", "0000013714"],
    "A2": ["B000000001"],
}
RATINGS = {
    "A10000012B7CGYKOMPQ4L": ["B000000001"],
    "A2EFCYXHNK06IS": ["B000000001", "0000013714"],
}
BEAUTY_2023 = {"AEYOR": ["0439893577", "B01CUPMQZE", "B07FM2GLNQ"], "AFWHJ": ["B01CUPMQZE"]}
STEAM = {"Chaos Syren": [10, 725280, 328100], "✔ Freak": [328100]}
YELP = {
    "OyoGAe7OKpv6SyGZT5g77Q": ["7ATYjTIgM3jUlt4UM3IypQ"],
    "mh_-eMZ6K5RLWhZyISBhwA": ["7ATYjTIgM3jUlt4UM3IypQ", "XQfwVwDr-v0ZS3_CbbE5Xw"],
}
MIND = {"U13740": ["N1", "N3", "N2", "N4", "N3"], "U73700": ["N5", "N9"]}
LISTENS = {100: [8326270, 1441281, 286361], 200: [1441281]}
VIEWS = {1: [81766, 81766, 81766, 31331], 2: [9654, 9654]}
RECBOLE = {22: [999, 377], 196: [7, 242, 51]}
INTER = b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
SHAPES = {
    "RecBole": Shape(made.recbole(), RECBOLE, "Kolya (1996)"),
    "RecBole, without .item": Shape(part(made.recbole(), "ml-100k.inter"), RECBOLE),
    "RecBole, ids of text": Shape(
        {"b/b.inter": INTER + b"A1\tB01\t5.0\t1382659200.0\nA1\t0012\t5.0\t1382659199\n"},
        {"A1": ["0012", "B01"]},
    ),
    "RecBole, sessions in milliseconds": Shape(
        {
            "d/d.inter": b"session_id:token\titem_id:token\ttimestamp:float\n"
            b"1\t9\t1462752000500\n1\t8\t1462752000499\n1\t9\t1462752000501\n"
        },
        {1: [8, 9, 9]},
    ),
    "RecBole, businesses": Shape(
        {
            "y/y.inter": b"review_id:token\tuser_id:token\tbusiness_id:token\tstars:float\t"
            b"date:float\nr1\tu\tb2\t4.0\t1388188800\nr2\tu\tb1\t4.0\t1388188799\n",
            "y/y.item": b"business_id:token\titem_name:token_seq\tcategories:token_seq\n"
            b"b1\tCaf&eacute; One\tFood Coffee\n",
        },
        {"u": ["b1", "b2"]},
        "Café One",
    ),
    "RecBole, benchmark": Shape(made.recbole_benchmark(), {0: [3, 1, 2, 1, 4], 1: [2, 4, 3]}),
    "RecBole, test part alone": Shape(
        part(made.recbole_benchmark(), "Scientific.test.inter"), {0: [3, 1, 2, 1, 4], 1: [2, 4, 3]}
    ),
    "MovieLens 100K": Shape(made.ml_100k(), {2: [267], 7: [1, 9]}, "Léon (1994)"),
    "MovieLens 1M": Shape(made.ml_1m(), {1: [10, 3, 1], 2: [10]}, "The Bear (1988)"),
    "MovieLens 10M": Shape(made.ml_10m(), {1: [8, 3, 1], 2: [3]}, "Léon (1994)"),
    "MovieLens 20M": Shape(made.ml_csv("ml-20m"), ML_CSV, "Amélie"),
    "MovieLens 25M": Shape(made.ml_csv("ml-25m"), ML_CSV, "The American President (1995)"),
    "MovieLens 32M": Shape(made.ml_csv("ml-32m"), ML_CSV, "Toy Story (1995)"),
    "Amazon 2014": Shape(
        made.amazon(), {"A1": ["B0001", "0000031852"], "A2": ["B0001"]}, "Girls' Tutu & Zebra"
    ),
    "Amazon 2018, 5-core": Shape(made.amazon_2018(), BEAUTY_2018, "Comb & Brush"),
    "Amazon 2018, all": Shape(
        made.amazon_2018(ending=".json.gz"), BEAUTY_2018, "Untitled B000000002"
    ),
    "Amazon 2018, unpacked": Shape(made.amazon_2018(ending="_5.json"), BEAUTY_2018, "Comb & Brush"),
    "Amazon ratings of 2014": Shape(made.amazon_ratings(2014), RATINGS),
    "Amazon ratings of 2018": Shape(made.amazon_ratings(2018), RATINGS),
    "Amazon ratings of 2018, renamed": Shape(made.amazon_ratings(2018, "ratings_X.csv"), RATINGS),
    "Amazon ratings, packed": Shape(packed(made.amazon_ratings(2014)), RATINGS),
    "Amazon 2023, reviews": Shape(made.amazon_2023(), BEAUTY_2023, 'Wig "Howard"'),
    "Amazon 2023, packed": Shape(made.amazon_2023(ending=".jsonl.gz"), BEAUTY_2023, 'Wig "Howard"'),
    "Amazon 2023, without metadata": Shape(
        part(made.amazon_2023(), "All_Beauty.jsonl"), BEAUTY_2023
    ),
    "Amazon 2023, benchmark": Shape(benchmark(False, False, False), BEAUTY_2023),
    "Amazon 2023, with header": Shape(benchmark(True, False, False), BEAUTY_2023),
    "Amazon 2023, with history": Shape(benchmark(False, True, False), BEAUTY_2023),
    "Amazon 2023, both": Shape(benchmark(True, True, False), BEAUTY_2023),
    "Amazon 2023, parts": Shape(benchmark(False, False, True), BEAUTY_2023),
    "Amazon 2023, parts, header": Shape(benchmark(True, False, True), BEAUTY_2023),
    "Amazon 2023, parts, history": Shape(benchmark(False, True, True), BEAUTY_2023),
    "Amazon 2023, parts, both": Shape(packed(benchmark(True, True, True)), BEAUTY_2023),
    "Steam": Shape(made.steam(), STEAM, "Lost & Found (2018)"),
    "Steam, reviews alone": Shape(part(made.steam(), "steam_reviews.json.gz"), STEAM),
    "Yelp": Shape(made.yelp(), YELP, "Body Cycle & Spin"),
    "Yelp, packed": Shape(packed(made.yelp()), YELP, "Turning Point"),
    "KuaiRec": Shape(made.kuairec(), {0: [9598, 3649, 3649, 3649]}, "a b, c"),
    "KuaiRec, small": Shape(part(made.kuairec(), "small_matrix.csv"), {14: [148]}),
    "KuaiRand Pure": Shape(made.kuairand(), {0: [8, 7, 7]}),
    "KuaiRand 1K": Shape(made.kuairand("1k"), {0: [8, 7, 7]}),
    "MIND": Shape(made.mind(), MIND, 'The Brands "Queen" Swears By'),
    "MIND, behaviors alone": Shape(part(made.mind(), "behaviors.tsv"), MIND),
    "Yambda, listens": Shape(made.yambda(), LISTENS),
    "Yambda, likes": Shape(made.yambda("likes"), LISTENS),
    "Yambda, all events": Shape(
        made.yambda("multi_event"), {100: [1441281, 286361], 200: [1441281]}
    ),
    "Yambda, sequential": Shape(made.yambda_sequential(), LISTENS),
    "Diginetica": Shape(made.diginetica(), VIEWS),
    "Diginetica, older": Shape(made.diginetica(older=True), VIEWS),
    "YooChoose": Shape(
        made.yoochoose(), {1: [214536506, 214536502, 214536506, 214536500], 2: [214662742]}
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_right_histories_come_out(name: str, tmp_path: Path) -> None:
    shape = SHAPES[name]
    data = load_dataset(written(shape.files, tmp_path))
    assert met(data) == shape.histories
    assert shape.title is None or shape.title in data.titles


def test_there_are_forty_and_more() -> None:
    assert len(SHAPES) >= 40
