#!/usr/bin/env bash
# nbval 0.11.0 with pytest-xdist 3.8.0: a notebook's cells are spread over workers, each with a kernel of its own.
#
# nbval makes each cell a test, and all cells of a notebook share a kernel.
# Common wrong guess: pytest -n 2 runs two notebooks side by side, or refuses.
# What happens: xdist's default, --dist load, deals out the cells one by one. Every worker starts its own kernel and runs
# only the cells that it was dealt, so a cell meets a kernel in which the cells before it never ran. Most fail
# with a NameError; one that needs no earlier cell passes, whatever it should have seen. With --dist loadfile a notebook
# stays on one worker.
#
# Seen with nbval 0.11.0, pytest 9.2.0, pytest-xdist 3.8.0 on Python 3.11, a notebook of 4 cells:
#   without xdist: 4 passed; -n 2: 2 failed, 2 passed; -n 2 --dist loadfile: 4 passed
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  "nbval==0.11.0" "pytest==9.2.0" "pytest-xdist==3.8.0" "ipykernel==7.1.0"
cd "$folder"
venv/bin/python - <<'PY'
import nbformat

cells = [nbformat.v4.new_code_cell(code) for code in ("x = 1", "x += 1", "x += 1", "assert x == 3")]
kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
nbformat.write(notebook, "count.ipynb")
PY
outcome() {
  venv/bin/python -m pytest -q -p no:cacheprovider --nbval-lax --nbval-current-env "$@" count.ipynb 2>&1 |
    grep -oE "([0-9]+ failed, )?[0-9]+ passed" | tail -n 1 || true # a failing run is an answer too
}
alone=$(outcome)
dealt=$(outcome -n 2)
kept=$(outcome -n 2 --dist loadfile)
venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep -E '^(nbval|pytest|pytest-xdist) '
echo "without xdist: $alone; -n 2: $dealt; -n 2 --dist loadfile: $kept"
if [[ $alone != "4 passed" || $dealt != *failed* || $kept != "4 passed" ]]; then
  echo "this has changed" >&2
  exit 1
fi
