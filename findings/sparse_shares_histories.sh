#!/usr/bin/env bash
# SciPy 1.17.1: a CSR array made from index arrays shares them, and sum_duplicates sorts them in place.
#
# Histories stored one after another (all items, and where each user's begin) are exactly the arrays of a CSR matrix of
# users and items, so a recommender that counts co-occurrences makes one from them without a copy.
# Common wrong guess: the matrix is a new object; canonicalizing it (sum_duplicates, sort_indices) leaves the
# arrays that it was made from alone.
# What happens: int64 index arrays are shared. sum_duplicates sorts each user's items by number, in the caller's array:
# the order in time is lost, silently. copy=True prevents it.
#
# Seen with SciPy 1.17.1 and NumPy 2.4.6 on Python 3.11:
#   history before: [5, 3, 5, 1]; after: [1, 3, 5, 5]; with copy=True: [5, 3, 5, 1]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "scipy==1.17.1" "numpy==2.4.6"
"$folder/venv/bin/python" - <<'PY'
import numpy as np
import scipy
from scipy import sparse

seen = {}
for copy in (False, True):
    history = np.array([5, 3, 5, 1])  # in the order in which they were chosen
    table = sparse.csr_array((np.ones(4), history, np.array([0, 4])), shape=(1, 6), copy=copy)
    table.sum_duplicates()
    seen[copy] = history.tolist()
print("SciPy", scipy.__version__)
print(f"history before: [5, 3, 5, 1]; after: {seen[False]}; with copy=True: {seen[True]}")
assert seen == {False: [1, 3, 5, 5], True: [5, 3, 5, 1]}, "this has changed"
PY
