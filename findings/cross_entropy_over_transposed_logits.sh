#!/usr/bin/env bash
# torch 2.13.0: cross_entropy over transposed logits takes several times as long on a processor as over the same rows.
#
# A sequence model has logits of shape (batch, place, item), and cross_entropy wants the classes second. There are two
# ways to give it what it wants: transpose the last two dimensions, or flatten the first two. RecTools 0.19.0 does the
# first in its softmax loss (`TransformerLightningModule._calc_softmax_loss`), as many do.
# Common wrong guess: it is the same sum over the same memory, so it takes the same time.
# What happens: value and gradient are the same to rounding, and the transposed form takes several times as long, since
# the sums go over a dimension that is not the last. In a small SASRec over 9,000 items this was half of a step of
# training.
#
# Seen with torch 2.13.0 on Python 3.11, one thread, logits of (16, 49, 9067), forward and backward:
#   transposed 72 ms, flattened 12 ms
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.4.6"
"$folder/venv/bin/python" - <<'PY'
import time

import torch
from torch.nn.functional import cross_entropy

torch.set_num_threads(1)
torch.manual_seed(0)
logits = torch.randn(16, 49, 9067, requires_grad=True)
items = torch.randint(9067, (16, 49))
ways = {
    "transposed": lambda: cross_entropy(logits.transpose(1, 2), items),
    "flattened": lambda: cross_entropy(logits.flatten(0, 1), items.flatten()),
}
seconds, gradients, values = {}, {}, {}
for name, loss in ways.items():
    taken = []
    for _ in range(6):
        logits.grad = None
        started = time.process_time()
        value = loss()
        value.backward()
        taken.append(time.process_time() - started)
    seconds[name], gradients[name], values[name] = min(taken), logits.grad, value
torch.testing.assert_close(*values.values())
torch.testing.assert_close(*gradients.values())
print("torch", torch.__version__)
print(", ".join(f"{name} {1000 * taken:.0f} ms" for name, taken in seconds.items()))
assert seconds["transposed"] > 2 * seconds["flattened"], "this has changed"
PY
