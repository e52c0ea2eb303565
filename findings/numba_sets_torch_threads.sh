#!/usr/bin/env bash
# numba 0.68, torch 2.13: the first parallel function of numba undoes torch.set_num_threads, and umap-learn runs many.
#
# torch.set_num_threads(1), or OMP_NUM_THREADS=1, gives torch one thread: for timings that can be compared, or because
# several processes share a machine.
# Common wrong guess: torch keeps it, and other libraries have thread counts of their own, such as NUMBA_NUM_THREADS.
# What happens: without TBB, numba's threads are OpenMP's, and it sets OpenMP's number of threads for the thread that
# calls. torch asks OpenMP for that number. So after the first parallel function of numba, torch computes with as many
# threads as numba has: by default as many as there are cores. UMAP.fit is such a function. Set torch's number again.
#
# Seen with numba 0.68.1, umap-learn 0.5.12 and torch 2.13.0 (CPU) on Python 3.11, Linux:
#   OMP_NUM_THREADS=1: torch has 1 thread, after a parallel function of numba 3 (layer omp)
#   torch.set_num_threads(1): torch has 1 thread, after UMAP.fit 3 (layer omp)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numba==0.68.1" "umap-learn==0.5.12" \
  "numpy==2.4.6" "scikit-learn==1.9.0"
OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=3 "$folder/venv/bin/python" - <<'PY'
import numba
import numpy as np
import torch


@numba.njit(parallel=True)
def total(values):
    found = 0.0
    for place in numba.prange(len(values)):
        found += values[place]
    return found


before = torch.get_num_threads()
total(np.ones(100))
after = torch.get_num_threads()
layer = numba.threading_layer()
print(
    f"OMP_NUM_THREADS=1: torch has {before} thread, after a parallel function of numba {after} (layer {layer})"
)
assert (before, after, layer) == (1, 3, "omp"), "this has changed"
PY
NUMBA_NUM_THREADS=3 "$folder/venv/bin/python" -W ignore - <<'PY'
import numba
import numpy as np
import torch
import umap

torch.set_num_threads(1)
before = torch.get_num_threads()
umap.UMAP(n_neighbors=5, random_state=0, n_epochs=5).fit(np.random.default_rng(0).random((60, 4)))
after = torch.get_num_threads()
layer = numba.threading_layer()
print(
    f"torch.set_num_threads(1): torch has {before} thread, after UMAP.fit {after} (layer {layer})"
)
assert (before, after, layer) == (1, 3, "omp"), "this has changed"
PY
