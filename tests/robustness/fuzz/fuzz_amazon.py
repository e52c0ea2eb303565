"""Fuzz `read_amazon` on gzipped reviews and metadata."""

from pathlib import Path

from rqvae_lib.datasets.amazon import read_amazon
from tests.datasets.published import amazon
from tests.robustness.fuzz.data_files import TEXT, within_gzip, writer
from tests.robustness.fuzz.harness import ANY_BYTES, Target, main


def read(folder: Path) -> object:
    return read_amazon(folder / "reviews_Beauty_5.json.gz", folder / "meta_Beauty.json.gz")


if __name__ == "__main__":
    packed = [within_gzip(mutation) for mutation in (*TEXT, *ANY_BYTES)]
    main(Target(writer(amazon()), read, "", packed))
