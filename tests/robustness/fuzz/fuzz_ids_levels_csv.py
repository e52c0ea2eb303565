"""Fuzz `import_ids` on CSV with a column for each level."""

from tests.robustness.fuzz.foreign_ids import read, writer
from tests.robustness.fuzz.fuzz_ids_csv import MUTATIONS
from tests.robustness.fuzz.harness import Target, main

if __name__ == "__main__":
    main(Target(writer("csv"), read, ".csv", MUTATIONS))
