#!/usr/bin/env bash
# torch 2.13: the step of a fused optimizer changes the weights and leaves their version counter as it was.
#
# Every tensor has a counter, `_version`, which torch raises at each change in place; autograd relies on it to refuse a
# backward pass through a value that has been overwritten. A recommender that keeps vectors made from its weights would
# ask the counter whether they are still current.
# Common wrong guess: after optimizer.step() the counter is higher, whatever the optimizer.
# What happens: it is higher without fused=True only. With it, AdamW and SGD change every weight and the counter stays
# at 0, so vectors that were kept are out of date and nothing says so. Count the steps yourself:
# torch.optim.optimizer.register_optimizer_step_post_hook is called for both.
#
# Seen with torch 2.13.0 (CPU) on Python 3.11:
#   AdamW: plain True, 2 changes counted; fused True, 0 changes counted; hook called True
#   SGD: plain True, 1 changes counted; fused True, 0 changes counted; hook called True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.4.6"
"$folder/venv/bin/python" - <<'PY'
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

steps = []
register_optimizer_step_post_hook(lambda *_: steps.append(1))
print("torch", torch.__version__)
for optimizer in (torch.optim.AdamW, torch.optim.SGD):
    seen = {}
    steps.clear()
    for fused in (False, True):
        weight = torch.nn.Parameter(torch.ones(3))
        weight.sum().backward()
        version = weight._version
        optimizer([weight], lr=0.1, fused=fused).step()
        seen[fused] = bool((weight != 1).all()), weight._version - version
    print(
        f"{optimizer.__name__}: plain {seen[False][0]}, {seen[False][1]} changes counted; "
        f"fused {seen[True][0]}, {seen[True][1]} changes counted; hook called {len(steps) == 2}"
    )
    assert seen[False][0] and seen[False][1] > 0, "this has changed"
    assert seen[True] == (True, 0) and len(steps) == 2, "this has changed"
PY
