#!/usr/bin/env bash
# torch 2.13: compiled with the backend "aot_eager", several draws of equal arguments can become one.
#
# "aot_eager" is the backend that torch's own guide suggests to find out which part of the compiler is to blame: it traces
# forward and backward, and generates no code. A network draws fresh noise at each of its levels, with the same shape.
# Common wrong guess: random operations are never merged, so the levels' noise differs, as without the compiler.
# What happens: where a gradient is asked for, equal calls of randn_like, normal_, uniform_ and exponential_ are merged like
# any equal computation, and each level gets the noise of the first. rand_like and dropout are not. Without gradients all
# differ. (The default backend, "inductor", drew different numbers for each of these functions here.)
# Draw all levels in one call, (levels, rows, columns), or from arguments that differ.
#
# Seen with torch 2.13.0 (CPU) on Python 3.11; of three draws, so many differ:
#   randn_like: plain 3, aot_eager 3, aot_eager with a gradient 1
#   normal_: plain 3, aot_eager 3, aot_eager with a gradient 1
#   uniform_: plain 3, aot_eager 3, aot_eager with a gradient 1
#   exponential_: plain 3, aot_eager 3, aot_eager with a gradient 1
#   rand_like: plain 3, aot_eager 3, aot_eager with a gradient 3
#   dropout: plain 3, aot_eager 3, aot_eager with a gradient 3
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.4.6"
cat > "$folder/script.py" <<'PY'
import torch

DRAWS = {
    "randn_like": torch.randn_like,
    "normal_": lambda x: torch.empty_like(x).normal_(),
    "uniform_": lambda x: torch.empty_like(x).uniform_(),
    "exponential_": lambda x: torch.empty_like(x).exponential_(),
    "rand_like": torch.rand_like,
    "dropout": torch.nn.functional.dropout,
}


def different(draw, backend, gradient):
    """Of three draws of 64 numbers, how many differ from those before them."""

    def three(x, weight):
        return torch.stack([draw(x) + 0 * weight for _ in range(3)])

    torch._dynamo.reset()
    torch.manual_seed(0)
    call = torch.compile(three, backend=backend) if backend else three
    drawn = call(torch.ones(64), torch.ones(64, requires_grad=gradient))
    return len(drawn.detach().unique(dim=0))


print("torch", torch.__version__)
for name, draw in DRAWS.items():
    seen = [different(draw, *how) for how in ((None, True), ("aot_eager", False), ("aot_eager", True))]
    print(f"{name}: plain {seen[0]}, aot_eager {seen[1]}, aot_eager with a gradient {seen[2]}")
    assert seen == [3, 3, 3 if name in ("rand_like", "dropout") else 1], "this has changed"
PY
"$folder/venv/bin/python" "$folder/script.py"
