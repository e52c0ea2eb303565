#!/usr/bin/env bash
# torch 2.13: the precision of matrix products has an old and a new setting, and reading the old one can raise.
#
# A library whose results must not depend on the caller's settings reads torch.get_float32_matmul_precision() (which
# training frameworks set to "medium"), sets "highest", and restores at the end what it read.
# Common wrong guess: torch.backends.*.fp32_precision is a finer view of the same setting, so whatever was set there,
# the old getter answers; and a setting of the oneDNN backend is the oneDNN backend's.
# What happens: fp32_precision = "bf16" on torch.backends.mkldnn sets it for all backends. Set on
# torch.backends.mkldnn.matmul alone, the getter raises, since there is no single answer; so does reading allow_tf32
# after fp32_precision = "tf32" on torch.backends.cuda.matmul, also without a GPU. Setting "highest" works and clears
# it. And "medium" is not for GPUs only: it sets the CPU's products to bf16, where the processor has it.
#
# Seen with torch 2.13.0 (CPU) on Python 3.11:
#   mkldnn = bf16: all backends bf16
#   mkldnn.matmul = bf16: the old getter raises RuntimeError; after set "highest": ieee
#   cuda.matmul = tf32: reading allow_tf32 raises RuntimeError
#   set "medium": mkldnn.matmul bf16, cuda.matmul tf32
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0"
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch


def raised(read):
    try:
        read()
    except RuntimeError as error:
        return type(error).__name__
    return "nothing"


cpu, gpu = torch.backends.mkldnn, torch.backends.cuda
print("torch", torch.__version__)

cpu.fp32_precision = "bf16"
everywhere = torch.backends.fp32_precision
print("mkldnn = bf16: all backends", everywhere)
cpu.fp32_precision = "none"

cpu.matmul.fp32_precision = "bf16"
getter = raised(torch.get_float32_matmul_precision)
torch.set_float32_matmul_precision("highest")
cleared = cpu.matmul.fp32_precision
print(f'mkldnn.matmul = bf16: the old getter raises {getter}; after set "highest": {cleared}')

gpu.matmul.fp32_precision = "tf32"
allow = raised(lambda: gpu.matmul.allow_tf32)
print("cuda.matmul = tf32: reading allow_tf32 raises", allow)

torch.set_float32_matmul_precision("medium")
medium = cpu.matmul.fp32_precision, gpu.matmul.fp32_precision
print(f'set "medium": mkldnn.matmul {medium[0]}, cuda.matmul {medium[1]}')

seen = everywhere, getter, cleared, allow, medium
expected = "bf16", "RuntimeError", "ieee", "RuntimeError", ("bf16", "tf32")
assert seen == expected, "this has changed"
PY
