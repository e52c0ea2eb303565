"""Fuzz `Dataset.from_tables` on a packed CSV, by Zstandard."""

from tests.robustness.fuzz.data_files import own_tables, read_own, writer
from tests.robustness.fuzz.harness import Target, main

if __name__ == "__main__":
    main(Target(writer(own_tables("csv.zst")), read_own("csv.zst"), "", []))
