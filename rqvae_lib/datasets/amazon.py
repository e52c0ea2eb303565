"""Amazon reviews of 2014: a category or its 5-core, as McAuley's group publishes them.

Each review is one line of JSON with the user, the product, the stars and the day. The metadata of a
product is also one line, but a Python literal. It is parsed as data and never executed. Parsing is
slow, and the metadata file lists twenty times more products than the 5-core has, so a line is
parsed only if it mentions a product of the 5-core.

Source: McAuley, Targett, Shi and van den Hengel, SIGIR 2015; He and McAuley, WWW 2016.
"""

import re
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd

from rqvae_lib.data.dataset import Counts, Dataset
from rqvae_lib.datasets.downloads import Entry, Remote, fetch_files
from rqvae_lib.datasets.json_lines import field_wrong, object_of
from rqvae_lib.datasets.literals import literal_of
from rqvae_lib.datasets.published import product_row, product_table
from rqvae_lib.datasets.text_files import AGAIN, lines

Category = Literal["beauty", "sports", "toys"]

_HOST = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles/"
_TERMS = (
    'The publishers state no license. They ask users of the data to cite He and McAuley, "Ups '
    'and downs", WWW 2016, or McAuley et al., "Image-based recommendations on styles and '
    "substitutes\", SIGIR 2015. The texts are those of Amazon's product pages, so do not pass them "
    "on."
)


def _entry(category: str, file: str, counts: Counts) -> Entry:
    remotes = Remote(f"{_HOST}reviews_{file}_5.json.gz"), Remote(f"{_HOST}meta_{file}.json.gz")
    page = "https://cseweb.ucsd.edu/~jmcauley/datasets/amazon/links.html"
    return Entry(f"amazon-{category}", remotes, counts, _TERMS, page)


AMAZON: dict[Category, Entry] = {
    "beauty": _entry("beauty", "Beauty", Counts(198_502, 22_363, 12_101)),
    "sports": _entry("sports", "Sports_and_Outdoors", Counts(296_337, 35_598, 18_357)),
    "toys": _entry("toys", "Toys_and_Games", Counts(167_597, 19_412, 11_924)),
}

_PRODUCT = re.compile(r"""['"]asin['"]: ?['"]([^'"]{1,40})['"]""")


def load_amazon(
    category: Category = "beauty",
    *,
    entry: Entry | None = None,
    cache: Path | None = None,
    **options: Any,
) -> Dataset:
    """Return the reviews of a category, and download them first if necessary.

    The terms are shown before the download. If the files are on this machine already, set
    `RQVAE_DATA` to their folder. No checksums are published, so later reads are compared with the
    checksums of the first download.

    Args:
        category: one of `Category`.
        entry: the addresses and the size of the files, in place of the known entry for the
            category.
        cache: the folder for downloads; the user's cache folder by default.
        options: as `download`: timeout, attempts, pause, progress.

    Returns:
        As `read_amazon`, under the entry's name, such as "amazon-beauty".

    Raises:
        ValueError: for another category, as `fetch_files` or `read_amazon`, or if the files do not
            hold the known numbers of reviews, users and products.
        OSError: as `fetch_files`.
    """
    if category not in get_args(Category):
        raise ValueError(
            f"there is no category {category!r}: expected one of {', '.join(get_args(Category))}"
        )
    entry = entry or AMAZON[category]
    reviews, metadata = fetch_files(entry, cache, **options)
    dataset = read_amazon(reviews, metadata, entry.name)
    dataset.check_counts(entry.counts, str(reviews))
    return dataset


def find_amazon_2014(folder: Path) -> list[Path]:
    """Return the files of reviews in a folder."""
    return sorted((*folder.glob("reviews_*.json.gz"), *folder.glob("reviews_*.json")))


def read_amazon_2014(folder: str | Path) -> Dataset:
    """Read a folder with the reviews of one category, as `read_amazon` does.

    Args:
        folder: holds reviews_X_5.json.gz (the 5-core) or reviews_X.json.gz (all reviews), and
            meta_X.json.gz, packed or not.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if there are several categories, or as `read_amazon`.
    """
    folder = Path(folder)
    found = find_amazon_2014(folder)
    if not found:
        raise FileNotFoundError(
            f"{folder} has no reviews_X_5.json.gz, expected the file of one category: {AGAIN}"
        )
    if len(found) > 1:
        raise ValueError(
            f"{folder} has both {found[0].name} and {found[1].name}, expected one file of reviews: "
            "move the others away"
        )
    name = found[0].name.removesuffix(".gz").removesuffix(".json").removesuffix("_5")
    name = name.removeprefix("reviews_")
    metadata = [folder / f"meta_{name}.json.gz", folder / f"meta_{name}.json"]
    there = next((path for path in metadata if path.is_file()), metadata[0])
    return read_amazon(found[0], there, folder.name)


def read_amazon(reviews: str | Path, metadata: str | Path, name: str = "amazon") -> Dataset:
    """Read a file of reviews and one of metadata.

    Args:
        reviews: one line of JSON per review, .gz or not, with reviewerID, asin, overall and
            unixReviewTime.
        metadata: one line per product, a Python literal or JSON, with asin and, if known, title,
            brand and categories.
        name: the name of the dataset.

    Returns:
        The reviewed products, sorted by id, and all reviews, sorted by user and time. Times are
        days, so many reviews tie. Ties keep the order of the file. The genres are the categories,
        from general to specific. The text consists of title, brand and categories.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a line is not as described, a product has two lines or none, or, in a
            5-core, a user reviews a product again; the message names the file and the line.
    """
    reviews, metadata = Path(reviews), Path(metadata)
    table = _read_reviews(reviews)
    wanted = set(table["item_id"])
    products = _read_metadata(metadata, wanted)
    if missing := wanted - products.keys():
        raise ValueError(
            f"{metadata} has no line for {min(missing)} ({len(missing):,} such products), expected "
            f"one for each product in {reviews.name}: get both files of the same category"
        )
    items = pd.DataFrame([products[asin] for asin in sorted(products)]).astype(object)
    return Dataset.from_tables(table, items, time_unit="s", name=name)


def products_of_2014(path: Path, wanted: set[str]) -> pd.DataFrame:
    """Return what a file of metadata says about some products.

    Args:
        path: meta_X.json.gz of 2014, packed or not.
        wanted: the products, by asin.
    """
    table = product_table(list(_read_metadata(path, wanted).values()))
    table["item_id"] = table["item_id"].astype("string")
    return table


def _read_reviews(path: Path) -> pd.DataFrame:
    columns: dict[str, list[Any]] = {}
    fields: dict[str, tuple[str, type | tuple[type, ...]]] = {
        "reviewerID": ("user_id", str),
        "asin": ("item_id", str),
        "overall": ("rating", (int, float)),
        "unixReviewTime": ("timestamp", int),
    }
    for ours, _ in fields.values():
        columns[ours] = []
    seen: dict[tuple[str, str], int] = {}
    five_core = path.name.removesuffix(".gz").endswith("_5.json")
    for number, line in lines(path):
        review = object_of(path, number, line, "a review as JSON")
        for theirs, (ours, kind) in fields.items():
            value = review.get(theirs)
            if not isinstance(value, kind) or isinstance(value, bool) or not _is_plain(value):
                raise field_wrong(
                    path, number, theirs, value, "text" if kind is str else "a number"
                )
            columns[ours].append(value)
        if not 1 <= review["overall"] <= 5:
            raise field_wrong(path, number, "overall", review["overall"], "1 to 5 stars")
        if not 0 <= review["unixReviewTime"] < 2**32:
            time = review["unixReviewTime"]
            raise field_wrong(path, number, "unixReviewTime", time, "seconds since 1970")
        first = seen.setdefault((review["reviewerID"], review["asin"]), number)
        if first != number and five_core:
            what = f"a product that this user has not reviewed in line {first}"
            raise field_wrong(path, number, "asin", review["asin"], what)
    if not seen:
        raise ValueError(f"{path} has no rows, expected at least one: {AGAIN}")
    frame = pd.DataFrame(columns)
    return frame.astype({"user_id": "string", "item_id": "string"})


def _is_plain(value: object) -> bool:
    """Return whether an id is printable ASCII, as all of them are. Numbers always pass."""
    return not isinstance(value, str) or (value.isascii() and value.isprintable() and value != "")


def _read_metadata(path: Path, wanted: set[str]) -> dict[str, dict[str, object]]:
    """Return a row of the items table for each wanted product, by asin."""
    products: dict[str, dict[str, object]] = {}
    for number, line in lines(path):
        # A line may mention other products too, so this finds too many lines but never too few.
        if wanted.isdisjoint(_PRODUCT.findall(line)):
            continue
        product = literal_of(path, number, line, "a product")
        asin = product.get("asin")
        if asin not in wanted:
            continue
        if asin in products:
            raise field_wrong(path, number, "asin", asin, "a product that no earlier line has")
        products[asin] = _row(path, number, asin, product)
    return products


def _row(path: Path, number: int, asin: str, product: dict[str, Any]) -> dict[str, object]:
    title, brand = (product.get(name) for name in ("title", "brand"))
    for name, value in (("title", title), ("brand", brand)):
        if value is not None and not isinstance(value, str):
            raise field_wrong(path, number, name, value, "text or nothing")
    listed = product.get("categories", [])
    if not isinstance(listed, list) or not all(
        isinstance(way, list) and all(isinstance(category, str) for category in way)
        for way in listed
    ):
        raise field_wrong(path, number, "categories", listed, "lists of text")
    categories = [category for way in listed for category in way]
    title, brand = (text or "" for text in (title, brand))
    return product_row(asin, title, brand, categories)
