"""Fuzz `Dataset.from_tables` on Parquet."""

from data_files import own_tables, read_own, writer
from harness import Target, main

if __name__ == "__main__":
    main(Target(writer(own_tables("parquet")), read_own("parquet"), "", []))
