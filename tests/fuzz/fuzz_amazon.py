"""Fuzz `amazon.read_amazon` on gzipped reviews and metadata."""

from pathlib import Path

from data_files import TEXT, within_gzip, writer
from harness import ANY_BYTES, Target, main

from published import amazon
from rqvae_lib.amazon import read_amazon


def read(folder: Path) -> object:
    return read_amazon(folder / "reviews_Beauty_5.json.gz", folder / "meta_Beauty.json.gz")


if __name__ == "__main__":
    packed = [within_gzip(mutation) for mutation in (*TEXT, *ANY_BYTES)]
    main(Target(writer(amazon()), read, "", packed))
