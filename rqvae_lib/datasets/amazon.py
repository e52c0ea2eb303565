"""Amazon reviews of 2014: the 5-core of a category, as McAuley's group publishes it.

Each review is one line of JSON with the user, the product, the stars and the day. The metadata of a
product is also one line, but a Python literal. It is parsed as data and never executed. Parsing is
slow, and the metadata file lists twenty times more products than the 5-core has, so a line is
parsed only if it mentions a product of the 5-core.

Source: McAuley, Targett, Shi and van den Hengel, SIGIR 2015; He and McAuley, WWW 2016.
"""

import ast
import html
import json
import re
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd

from rqvae_lib.data.dataset import Counts, Dataset
from rqvae_lib.datasets.downloads import Entry, Remote, fetch_files
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
        ValueError: if a line is not as described, or a product has two lines or none; the message
            names the file and the line.
    """
    reviews, metadata = Path(reviews), Path(metadata)
    table = _read_reviews(reviews)
    wanted = set(table["item_id"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about invalid escapes such as "\d" in a literal
        products = _read_metadata(metadata, wanted)
    if missing := wanted - products.keys():
        raise ValueError(
            f"{metadata} has no line for {min(missing)} ({len(missing):,} such products), expected "
            f"one for each product in {reviews.name}: get both files of the same category"
        )
    items = pd.DataFrame([products[asin] for asin in sorted(products)]).astype(object)
    return Dataset.from_tables(table, items, time_unit="s", name=name)


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
    for number, line in lines(path):
        try:
            review = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _not_read(path, number, line, "a review as JSON") from error
        if not isinstance(review, dict):
            raise _not_read(path, number, line, "a review as JSON")
        for theirs, (ours, kind) in fields.items():
            value = review.get(theirs)
            if not isinstance(value, kind) or isinstance(value, bool) or not _is_plain(value):
                raise _wrong(path, number, theirs, value, "text" if kind is str else "a number")
            columns[ours].append(value)
        if not 1 <= review["overall"] <= 5:
            raise _wrong(path, number, "overall", review["overall"], "1 to 5 stars")
        if not 0 <= review["unixReviewTime"] < 2**32:
            time = review["unixReviewTime"]
            raise _wrong(path, number, "unixReviewTime", time, "seconds since 1970")
        first = seen.setdefault((review["reviewerID"], review["asin"]), number)
        if first != number:
            what = f"a product that this user has not reviewed in line {first}"
            raise _wrong(path, number, "asin", review["asin"], what)
    if not seen:
        raise ValueError(f"{path} has no rows, expected at least one: {AGAIN}")
    frame = pd.DataFrame(columns)
    return frame.astype({"user_id": "string", "item_id": "string"})


def _is_plain(value: object) -> bool:
    """Return whether an id is printable ASCII, as all of them are. Numbers always pass."""
    return not isinstance(value, str) or (value.isascii() and value.isprintable() and value != "")


def _read_metadata(path: Path, wanted: set[str]) -> dict[str, dict[str, str | None]]:
    """Return a row of the items table for each wanted product, by asin."""
    products: dict[str, dict[str, str | None]] = {}
    for number, line in lines(path):
        # A line may mention other products too, so this finds too many lines but never too few.
        if wanted.isdisjoint(_PRODUCT.findall(line)):
            continue
        product = _parse(path, number, line)
        asin = product.get("asin")
        if asin not in wanted:
            continue
        if asin in products:
            raise _wrong(path, number, "asin", asin, "a product that no earlier line has")
        products[asin] = _row(path, number, asin, product)
    return products


def _parse(path: Path, number: int, line: str) -> dict[str, Any]:
    """Return a line's dictionary without executing anything in it."""
    found: Any = None
    try:
        found = ast.literal_eval(line)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        with suppress(ValueError, RecursionError):
            found = json.loads(line)
    if not isinstance(found, dict):
        raise _not_read(path, number, line, "a product as a Python literal or JSON")
    return found


def _row(path: Path, number: int, asin: str, product: dict[str, Any]) -> dict[str, str | None]:
    title, brand = (product.get(name) for name in ("title", "brand"))
    for name, value in (("title", title), ("brand", brand)):
        if value is not None and not isinstance(value, str):
            raise _wrong(path, number, name, value, "text or nothing")
    listed = product.get("categories", [])
    if not isinstance(listed, list) or not all(
        isinstance(way, list) and all(isinstance(category, str) for category in way)
        for way in listed
    ):
        raise _wrong(path, number, "categories", listed, "lists of text")
    categories = list(dict.fromkeys(_clean(category) for way in listed for category in way))
    categories = [category for category in categories if category]
    title, brand = (_clean(text or "") for text in (title, brand))
    sentences = [
        title,
        f"Brand: {brand}" if brand else None,
        f"Categories: {', '.join(categories)}" if categories else None,
    ]
    return {
        "item_id": asin,
        "title": title or None,
        "genres": "|".join(category.replace("|", "/") for category in categories),
        "text": "".join(f"{sentence}. " for sentence in sentences if sentence).strip(),
    }


def _clean(text: str) -> str:
    """Return a text for display: decode HTML entities such as "&amp;", replace lone surrogates."""
    return html.unescape(text).encode("utf-8", "replace").decode().strip()


def _not_read(path: Path, number: int, line: str, expected: str) -> ValueError:
    return ValueError(f"{path}, line {number}: found {line[:60]!r}, expected {expected}: {AGAIN}")


def _wrong(path: Path, number: int, name: str, found: object, expected: str) -> ValueError:
    return ValueError(
        f"{path}, line {number}: {name} is {repr(found)[:60]}, expected {expected}: {AGAIN}"
    )
