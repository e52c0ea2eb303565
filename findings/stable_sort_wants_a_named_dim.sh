#!/usr/bin/env bash
# torch 2.13: torch.sort and argsort take the dimension by position, and `stable` by name, but not both in one call.
#
# The order of equal scores decides ranks, so ties are sorted with stable=True. The documented signature is
# argsort(input, dim=-1, descending=False, *, stable=False).
# Common wrong guess: then argsort(scores, 1, stable=True) is a call of it, as it would be of a Python function.
# What happens: TypeError. The function is two overloads, and the one with `stable` has it first and keyword-only, so all
# others must be named too. Either argument alone is fine by position. Write argsort(scores, dim=1, stable=True).
#
# Seen with torch 2.13.0 (CPU) on Python 3.11:
#   argsort(scores, 1): fine
#   argsort(scores, dim=1, stable=True): fine
#   argsort(scores, 1, stable=True): TypeError
#   sort(scores, 1, stable=True): TypeError
#   the documented signature: argsort(input, dim=-1, descending=False, *, stable=False) -> Tensor
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.4.6"
"$folder/venv/bin/python" - <<'PY'
import torch

print("torch", torch.__version__)
scores = torch.tensor([[0.5, 0.5, 0.1]])
calls = {
    "argsort(scores, 1)": lambda: torch.argsort(scores, 1),
    "argsort(scores, dim=1, stable=True)": lambda: torch.argsort(scores, dim=1, stable=True),
    "argsort(scores, 1, stable=True)": lambda: torch.argsort(scores, 1, stable=True),
    "sort(scores, 1, stable=True)": lambda: torch.sort(scores, 1, stable=True),
}
seen = []
for words, call in calls.items():
    try:
        call()
        seen.append("fine")
    except TypeError:
        seen.append("TypeError")
    print(f"{words}: {seen[-1]}")
signature = torch.argsort.__doc__.strip().splitlines()[0]
print(f"the documented signature: {signature}")
assert seen == ["fine", "fine", "TypeError", "TypeError"], "this has changed"
assert signature == "argsort(input, dim=-1, descending=False, *, stable=False) -> Tensor"
PY
