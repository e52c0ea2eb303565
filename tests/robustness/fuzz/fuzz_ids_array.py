"""Fuzz `import_ids` on an array as .npy."""

from tests.robustness.fuzz.foreign_ids import read, writer
from tests.robustness.fuzz.harness import Target, main

if __name__ == "__main__":
    main(Target(writer("grid"), read, ".npy", []))
