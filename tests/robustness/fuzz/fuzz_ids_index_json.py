"""Fuzz `import_ids` on a JSON object of tokens."""

from tests.robustness.fuzz.foreign_ids import JSON, read, writer
from tests.robustness.fuzz.harness import Target, main

if __name__ == "__main__":
    main(Target(writer("index-json"), read, ".json", JSON))
