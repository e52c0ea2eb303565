#!/usr/bin/env bash
# torch 2.13: when a process has left, gloo raises a plain RuntimeError, not one of torch.distributed's own errors.
#
# torch.distributed has a family of errors, DistError, with DistBackendError and DistNetworkError in it, so that a program
# can tell a lost neighbor from a fault of its own.
# Common wrong guess: `except torch.distributed.DistError` around an all_reduce catches a neighbor that is gone.
# What happens: with gloo, the backend for CPUs, the error is RuntimeError itself, as for tensors of wrong shapes. Only its
# text tells ("Connection closed by peer", or what else the system says of a closed connection).
#
# Seen with torch 2.13.0 (CPU) on Python 3.11:
#   RuntimeError, a DistError: False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.4.6"
cat > "$folder/script.py" <<'PY'
import sys

import torch
from torch import distributed

rank, folder = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
distributed.all_reduce(torch.ones(1))
if rank == 1:
    distributed.destroy_process_group()  # leaves in good order, while the other one goes on
    sys.exit(0)
try:
    distributed.all_reduce(torch.ones(1))
except Exception as error:
    known = isinstance(error, distributed.DistError)
    print("torch", torch.__version__)
    print(f"{type(error).__name__}, a DistError: {known}")
    assert type(error) is RuntimeError and not known, "this has changed"
else:
    raise SystemExit("no error: this has changed")
PY
export GLOO_SOCKET_IFNAME=lo
"$folder/venv/bin/python" "$folder/script.py" 1 "$folder" &
"$folder/venv/bin/python" "$folder/script.py" 0 "$folder"
wait
