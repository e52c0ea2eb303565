"""The commands as a program sees them: their options, what they write, and how each is called.

Tests that hold for all commands take them from here, so a new command has to be in `CALLS`, and is
then tested like the others.
"""

import shlex
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer

from rqvae_lib.cli.main import app
from rqvae_lib.cli.outputs import OutputFile

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
# How each command is called so that it writes what it can write. A folder `catalogue` holds what
# is taken for a bundle.
CALLS: dict[str, str] = {
    "inspect": "",
    "embed": "--output new.safetensors",
    "train-rqvae": "--output out --steps 2 --snapshots 1",
    "compare-tokenizers": "--output table.csv",
    "inference-rqvae": "--output ids.csv",
    "assign": "--vectors vectors --output table.parquet",
    "export": "--output ids.json --format index-json",
    "train-recommender": "--output out",
    "train-decoder": "--output out",
    "train-sasrec": "--output out",
    "evaluate": "--output table.csv popularity",
    "recommend": "--all --output all.csv",
    "bundle": "catalogue-to-be",
    "append": "catalogue --items items.csv",
}
VISIBLE = [name for name, command in COMMANDS.items() if not command.hidden]
WRITING = [name for name, command in COMMANDS.items() if hasattr(command.callback, "outputs")]


def prepare(folder: Path) -> None:
    """Make what the calls name."""
    (folder / "catalogue/v0001").mkdir(parents=True)
    (folder / "catalogue/v0001/manifest.json").write_text("{}")
    (folder / "items.csv").write_text("item_id\n1\n")


def words_of(command: str) -> list[str]:
    return [command, *shlex.split(CALLS[command])]


def refusal(words: list[str]) -> str | None:
    """Return with which sentence a call is refused, or None: as `main` does it, but faster."""
    name, *arguments = words
    try:
        COMMANDS[name].main(arguments, prog_name="rqvae-lib", standalone_mode=False)
    except (ValueError, OSError) as error:
        return str(error)
    except Exception as error:
        if getattr(error, "exit_code", None) != 2:  # that of wrong usage
            raise
        return str(error)
    return None


def given_by(words: list[str]) -> dict[str, Any]:
    """Return the values of a call's options, by the parameters' names."""
    name, *arguments = words
    return dict(COMMANDS[name].make_context(name, list(arguments)).params)


def outputs_of(words: list[str]) -> tuple[OutputFile, ...]:
    """Return what a call declares that it is going to write."""
    files: tuple[OutputFile, ...] = COMMANDS[words[0]].callback.outputs(given_by(words)).files
    return files


def takes_text(command: str) -> list[str]:
    """Return the options of a command whose values are texts or paths, as they are typed."""
    callback = COMMANDS[command].callback
    hints = get_type_hints(callback)
    found = []
    for parameter in COMMANDS[command].params:
        if parameter.param_type_name != "option" or parameter.name not in hints:
            continue
        if parameter.name in callback.output_options:
            continue
        kinds = kinds_in(hints[parameter.name])
        if kinds & {str, Path}:
            found.append(parameter.opts[0])
    return found


def kinds_in(hint: Any) -> set[Any]:
    inside = get_args(hint)
    return {hint} if not inside else set().union(*(kinds_in(one) for one in inside))
