#!/usr/bin/env bash
# torch 2.13: a compiled function cannot read a context variable.
#
# A library keeps a setting of its own in a contextvars.ContextVar, as asyncio, NumPy and decimal do: it is local to a
# thread and easy to restore. A layer that reads it in its forward pass is then compiled.
# Common wrong guess: torch.compile evaluates the variable when it traces, as it does with a global, and the graph stays
# whole.
# What happens: ContextVar.get() is a method that the compiler does not know. With fullgraph=True it raises; without it
# the function falls into pieces around the call, silently, and what was meant to be fused is not. A plain global is read
# when the function is traced, with a check that traces it again if the global changes.
#
# Seen with torch 2.13.0 (CPU) on Python 3.11:
#   a global: 1 graph, then 4.0 after a change to 4.0
#   a context variable: Unsupported, Dynamo does not know how to trace method `get` of class `ContextVar`
#   a context variable without fullgraph: 2 graphs
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.4.6"
cat > "$folder/script.py" <<'PY'
from contextvars import ContextVar

import torch

scale, variable = 2.0, ContextVar("scale", default=2.0)
graphs = []


def counting(graph, _):
    graphs.append(graph)
    return graph.forward


def of_global(x):
    return (x + 1) * scale


def of_variable(x):
    x = x + 1
    return x * variable.get()


print("torch", torch.__version__)
one = torch.zeros(1)
compiled = torch.compile(of_global, backend=counting, fullgraph=True)
assert float(compiled(one)) == 2.0
first, scale = len(graphs), 4.0
again = float(compiled(one))
print(f"a global: {first} graph, then {again} after a change to {scale}")
assert (first, again) == (1, 4.0), "this has changed"

try:
    torch.compile(of_variable, backend=counting, fullgraph=True)(one)
except torch._dynamo.exc.Unsupported as error:
    said = next(line for line in str(error).splitlines() if "ContextVar" in line).split(": ")[1]
    print(f"a context variable: Unsupported, {said}")
else:
    raise SystemExit("a context variable: no error: this has changed")
graphs.clear()
assert float(torch.compile(of_variable, backend=counting)(one)) == 2.0
print(f"a context variable without fullgraph: {len(graphs)} graphs")
assert len(graphs) > 1, "this has changed"
PY
"$folder/venv/bin/python" "$folder/script.py"
