"""How fast the library is, beside its peers and beside the matrix products alone (`make bench`).

Writes book/_speed.md, which a page of the book includes. Name suites to run only these, which then
are printed and not written:

    python tests/benchmarks/run.py step-768 assigning
"""

import sys
from pathlib import Path

import faiss
import reading_suites
import recommender_suites
import tokenizer_suites
import torch
from harness import in_a_process, machine, measure, print_peak_memory, table

PAGE = Path(__file__).parents[2] / "book" / "_speed.md"
SUITES = tokenizer_suites.SUITES | recommender_suites.SUITES | reading_suites.SUITES
WORK = tokenizer_suites.WORK | recommender_suites.WORK | reading_suites.WORK


def main(wanted: list[str]) -> None:
    unknown = set(wanted) - set(SUITES)
    if unknown:
        raise SystemExit(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}")
    sections = []
    for name in wanted or SUITES:
        sections.append(in_a_process("--suite", name))
        print(sections[-1], flush=True)
    if not wanted:
        PAGE.write_text(f"{machine()}\n\n" + "\n".join(sections))
        print(f"Wrote {PAGE}.")


if __name__ == "__main__":
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    if sys.argv[1:2] == ["--memory"]:
        print_peak_memory(WORK[sys.argv[2]])
    elif sys.argv[1:2] == ["--suite"]:
        suite = SUITES[sys.argv[2]]()
        print(table(suite, measure(suite)), end="")
    else:
        main(sys.argv[1:])
