"""Fuzz `import_ids` on JSON lines."""

from tests.robustness.fuzz.foreign_ids import JSON, read, writer
from tests.robustness.fuzz.harness import Target, main

if __name__ == "__main__":
    main(Target(writer("catalogue-jsonl"), read, ".jsonl", JSON))
