"""Small data sets in the formats in which the large ones are published, made for the tests."""

import gzip
import io
import json
import random
import zipfile
from pathlib import Path

GENRES_100K = 19


def ml_1m() -> dict[str, bytes]:
    movies = ["3::Léon (1994)::Action|Crime", "1::Toy Story (1995)::Comedy", "2::Unseen (1999)::"]
    movies.append("10::Bear, The (1988)::Adventure")
    ratings = ["2::10::5::978300019", "1::3::4::978302268", "1::1::3::978302268"]
    ratings.append("1::10::1::978300760")
    return {
        "ml-1m/README": b"terms",
        "ml-1m/movies.dat": _text(movies, "latin-1"),
        "ml-1m/ratings.dat": _text(ratings, "latin-1"),
    }


def ml_10m() -> dict[str, bytes]:
    """Half stars and UTF-8; whole stars are written without a point."""
    movies = ["3::Léon (1994)::Action|Crime", "1::Toy Story (1995)::Comedy"]
    movies += ["8::Pull My Daisy (1958)::(no genres listed)"]
    ratings = ["2::3::4.5::978300019", "1::3::0.5::978302268", "1::1::5::978302268"]
    ratings += ["1::8::3::838985046"]
    return {
        "ml-10M100K/movies.dat": _text(movies, "utf-8"),
        "ml-10M100K/ratings.dat": _text(ratings, "utf-8"),
        "ml-10M100K/tags.dat": _text(["2::3::great::978300020"], "utf-8"),
    }


def ml_100k() -> dict[str, bytes]:
    flags = {name: ["0"] * GENRES_100K for name in ("toy", "unknown", "leon")}
    flags["toy"][3] = flags["toy"][5] = flags["leon"][1] = flags["unknown"][0] = "1"
    movies = [
        "|".join(["1", "Toy Story (1995)", "01-Jan-1995", "", "http://x", *flags["toy"]]),
        "|".join(["267", "unknown", "", "", "", *flags["unknown"]]),
        "|".join(["9", "Léon (1994)", "01-Jan-1994", "", "http://y", *flags["leon"]]),
    ]
    ratings = ["7\t1\t3\t881250949", "2\t267\t5\t891717742", "7\t9\t1\t881250949"]
    return {
        "ml-100k/u.item": _text(movies, "latin-1"),
        "ml-100k/u.data": _text(ratings, "latin-1"),
    }


def ml_csv(folder: str = "ml-latest-small") -> dict[str, bytes]:
    movies = ["movieId,title,genres", '5,"American President, The (1995)",Comedy|Drama']
    movies += ["1,Toy Story (1995),Comedy", "7,Never Rated (2001),Drama"]
    movies += ["8,Amélie,(no genres listed)"]
    ratings = ["userId,movieId,rating,timestamp", "1,5,4.0,964982703", "1,1,0.5,964981247"]
    ratings += ["3,8,3.5,1445714994"]
    return {
        f"{folder}/movies.csv": _text(movies, "utf-8"),
        f"{folder}/ratings.csv": _text(ratings, "utf-8"),
    }


def amazon_reviews() -> list[dict[str, object]]:
    return [
        {"reviewerID": user, "asin": asin, "overall": stars, "unixReviewTime": day, "summary": "…"}
        for user, asin, stars, day in [
            ("A2", "B0001", 5.0, 1369699200),
            ("A1", "B0001", 3.0, 1369699200),
            ("A1", "0000031852", 1.0, 1369699200),
        ]
    ]


AMAZON_METADATA = [
    "{'asin': '0000031852', 'title': \"Girls' Tutu &amp; Zebra\", 'price': 3.17, "
    "'related': {'also_bought': ['B0001']}, 'brand': 'Coxlures', "
    "'categories': [['Beauty', 'Makeup'], ['Beauty', 'Tools | Brushes']]}",
    "{'asin': 'B9999', 'title': __import__('os').abort()}",  # nobody's: not even parsed
    "{'asin': 'B0001', 'categories': [['Beauty']]}",
]


def amazon(category: str = "Beauty") -> dict[str, bytes]:
    reviews = [json.dumps(review) for review in amazon_reviews()]
    return {
        f"reviews_{category}_5.json.gz": gzip.compress(_text(reviews, "utf-8")),
        f"meta_{category}.json.gz": gzip.compress(_text(AMAZON_METADATA, "utf-8")),
    }


def zipped(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def written(files: dict[str, bytes], folder: Path) -> Path:
    """Write files below a folder; return the folder that they are in."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return path.parent


def large_ml_1m(folder: Path, ratings: int, users: int, movies: int) -> Path:
    """Write files of ML-1M's format, and of any size, for measurements."""
    chance = random.Random(0)
    titles = [f"{i}::Movie {i} ({1920 + i % 80})::Drama|Comedy" for i in range(1, movies + 1)]
    each = ratings // users
    rows = (
        f"{user}::{movie}::{chance.randint(1, 5)}::{chance.randint(956703932, 1046454590)}"
        for user in range(1, users + 1)
        for movie in chance.sample(range(1, movies + 1), each + (user <= ratings % users))
    )
    return written(
        {"movies.dat": _text(titles, "latin-1"), "ratings.dat": _text(rows, "latin-1")}, folder
    )


def _text(lines: object, encoding: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode(encoding)  # type: ignore[attr-defined]
