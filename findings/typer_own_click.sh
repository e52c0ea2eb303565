#!/usr/bin/env bash
# typer 0.29.2: a typer command runs on typer's own copy of click, not on the click package.
#
# A command may want to know whether the user gave an option or whether it has its default:
# context.get_parameter_source(name), compared with click.core.ParameterSource.DEFAULT.
# Common wrong guess: typer is built on click, so typer.Context is a click.Context, and sources compare with click's.
# What happens: both are classes of typer._click. The comparison is False for every option, given or not, and
# isinstance(context, click.Context) is False, even where click is installed beside it. Compare source.name instead.
#
# Seen with typer 0.29.2 and click 8.5.1 on Python 3.11:
#   source of a default: DEFAULT of typer._click.core; equals click's DEFAULT: False; context is click's: False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "typer==0.29.2" "click==8.5.1"
"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import version

import click
import typer

seen = {}
app = typer.Typer()


@app.command()
def command(context: typer.Context, steps: int = 1) -> None:
    source = context.get_parameter_source("steps")
    seen["source"] = (source.name, type(source).__module__)
    seen["equal"] = source == click.core.ParameterSource.DEFAULT
    seen["context"] = isinstance(context, click.Context)


app([], standalone_mode=False)
print("typer", version("typer"), "click", version("click"))
name, module = seen["source"]
print(
    f"source of a default: {name} of {module}; equals click's DEFAULT: {seen['equal']}; "
    f"context is click's: {seen['context']}"
)
expected = {"source": ("DEFAULT", "typer._click.core"), "equal": False, "context": False}
assert seen == expected, "this has changed"
PY
