"""The command line: the whole pipeline in commands that work one after another.

    rqvae-lib inspect             tables → what they hold, and which command comes next
    rqvae-lib embed               the items' texts → embeddings
    rqvae-lib train-rqvae         embeddings → a tokenizer
    rqvae-lib compare-tokenizers  several seeds, beside residual k-means
    rqvae-lib inference-rqvae     a tokenizer → a table of semantic IDs
    rqvae-lib assign              a folder of vectors, larger than memory → a table of semantic IDs
    rqvae-lib export              semantic IDs → a file in the shape of another project
    rqvae-lib pack-histories      interactions larger than memory → a file of histories
    rqvae-lib train-recommender   histories, written in semantic IDs → a recommender
    rqvae-lib train-sasrec        histories → the model without semantic IDs to measure against
    rqvae-lib evaluate            all of them on the same targets
    rqvae-lib recommend --user 1  a history → items
    rqvae-lib bundle              a tokenizer, its IDs and a recommender → a catalogue that can grow
    rqvae-lib append              new items → IDs in that catalogue, where no old one moves

`rqvae-lib --version` says the version, and `python -m rqvae_lib` is the same as `rqvae-lib`.

`torchrun --standalone --nproc-per-node=2 -m rqvae_lib train-recommender` trains in two processes,
with the same result up to rounding. `train-rqvae`, `train-sasrec` and `evaluate` can be started so,
too.

Whatever the user can get wrong ends in one sentence and exit code 2, with nothing half-written.

Seen at work in: chapter 00.
"""

import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from rqvae_lib import __version__
from rqvae_lib.cli.append import append_command
from rqvae_lib.cli.assign import assign_command
from rqvae_lib.cli.bundle import bundle_command
from rqvae_lib.cli.command import Command
from rqvae_lib.cli.compare_tokenizers import compare_tokenizers_command
from rqvae_lib.cli.embed import embed_command
from rqvae_lib.cli.evaluate import evaluate_command
from rqvae_lib.cli.export import export_command
from rqvae_lib.cli.inference_rqvae import inference_rqvae_command
from rqvae_lib.cli.inspect import inspect_command
from rqvae_lib.cli.pack_histories import pack_histories_command
from rqvae_lib.cli.processes import end_after_the_first, only_the_first_talks, reports
from rqvae_lib.cli.recommend import recommend_command
from rqvae_lib.cli.train_recommender import train_recommender_command
from rqvae_lib.cli.train_rqvae import train_rqvae_command
from rqvae_lib.cli.train_sasrec import train_sasrec_command


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"rqvae-lib {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="rqvae-lib",
    help="Semantic IDs from scratch: train an RQ-VAE tokenizer on item embeddings, write the "
    "items' semantic IDs, train a transformer over them, and recommend. Everything runs offline "
    "on the embedded MovieLens data; results go to the folder 'runs'.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # paragraphs are filled, and [words in brackets] stay
)


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_say_version, help="Say the version."),
    ] = False,
) -> None:
    pass


COMMANDS = {
    "inspect": inspect_command,
    "embed": embed_command,
    "train-rqvae": train_rqvae_command,
    "compare-tokenizers": compare_tokenizers_command,
    "inference-rqvae": inference_rqvae_command,
    "assign": assign_command,
    "export": export_command,
    "pack-histories": pack_histories_command,
    "train-recommender": train_recommender_command,
    "train-sasrec": train_sasrec_command,
    "evaluate": evaluate_command,
    "recommend": recommend_command,
    "bundle": bundle_command,
    "append": append_command,
}
for _name, _command in COMMANDS.items():
    app.command(_name, cls=Command)(_command)
# Its former name.
app.command("train-decoder", cls=Command, hidden=True)(train_recommender_command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; a mistake of the user's ends in one sentence and exit code 2."""
    try:
        with only_the_first_talks():
            app(arguments)
    except Exception as error:
        sentence = _sentence_about(error)
        if not reports(error):
            end_after_the_first(1 if sentence is None else 2)
        if sentence is None:
            raise
        _fail(sentence)
    sys.exit(0)


def _sentence_about(error: Exception) -> str | None:
    """Return what to tell the user of an error, or None if it is a fault of the program."""
    if isinstance(error, UnicodeEncodeError):
        return f"{error.object!r} is not UTF-8 text: rename the file"
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        return f"{error.filename}: {reason}" if error.filename and error.strerror else reason
    if isinstance(error, ValueError | ImportError | FloatingPointError):
        return str(error)
    if not isinstance(error, MemoryError | RuntimeError):
        return None
    from rqvae_lib.ops.world import WorldError

    if isinstance(error, WorldError):
        return str(error)
    if _is_out_of_memory(error):
        return (
            "there is not enough memory for this: ask for less at once (--batch-size, --max-items, "
            "--codebook-size, --beams), or use less data"
        )
    return None


def _is_out_of_memory(error: MemoryError | RuntimeError) -> bool:
    """Tell whether memory is lacking, for which torch has no exception of its own on a CPU."""
    import torch

    return isinstance(
        error, MemoryError | torch.OutOfMemoryError
    ) or "can't allocate memory" in str(error)


def _fail(sentence: str) -> NoReturn:
    # In one line, whatever bytes a file's name has.
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in sentence)
    typer.echo(f"rqvae-lib: {shown}", err=True)
    sys.exit(2)
