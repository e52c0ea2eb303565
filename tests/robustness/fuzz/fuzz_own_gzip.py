"""Fuzz `Dataset.from_tables` on a packed CSV, by gzip."""

from tests.robustness.fuzz.data_files import TEXT, own_tables, read_own, within_gzip, writer
from tests.robustness.fuzz.harness import Target, main

if __name__ == "__main__":
    main(
        Target(
            writer(own_tables("csv.gz")),
            read_own("csv.gz"),
            "",
            [within_gzip(mutation) for mutation in TEXT],
        )
    )
