#!/usr/bin/env bash
# torch 2.13: to draw the first weights of a module on the meta device imports torch's compiler, more than a second.
#
# A checkpoint is loaded without memory for weights that are thrown away: build the module under torch.device("meta"),
# then load_state_dict(..., assign=True). On that device nothing is computed.
# Common wrong guess: so building it costs nothing, and a command that loads a small recommender starts fast.
# What happens: nn.Linear and nn.Embedding draw their first weights there too, and normal_ and uniform_ on a meta tensor
# are implemented in Python: the first of them imports torch._dynamo and, with it, torch._inductor, sympy and torch.onnx,
# about as long as `import torch` itself. On the CPU the same module imports none of them. Leave the draws out.
#
# Seen with torch 2.13.0 (CPU) on Python 3.11:
#   on cpu: torch._dynamo imported False, torch._inductor False
#   on meta: torch._dynamo imported True, torch._inductor True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.4.6"
"$folder/venv/bin/python" - <<'PY'
import sys
import time

import torch

print("torch", torch.__version__)
seen = {}
for device in ("cpu", "meta"):  # the CPU first: an import cannot be taken back
    start = time.perf_counter()
    with torch.device(device):
        torch.nn.Embedding(1000, 64)
    names = ("torch._dynamo", "torch._inductor")
    seen[device] = [name in sys.modules for name in names]
    print(
        f"on {device}: torch._dynamo imported {seen[device][0]}, torch._inductor {seen[device][1]} "
        f"({time.perf_counter() - start:.2f} s)"
    )
assert seen == {"cpu": [False, False], "meta": [True, True]}, "this has changed"
PY
