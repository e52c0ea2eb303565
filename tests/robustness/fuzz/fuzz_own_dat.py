"""Fuzz `Dataset.from_tables` on a text file with "::"."""

from tests.robustness.fuzz.data_files import TEXT, own_tables, read_own, writer
from tests.robustness.fuzz.harness import Target, main

if __name__ == "__main__":
    main(Target(writer(own_tables("dat")), read_own("dat"), "", TEXT))
