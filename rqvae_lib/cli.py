"""The command line: the whole pipeline in commands that work one after another.

    rqvae-lib train-rqvae         embeddings → a tokenizer
    rqvae-lib compare-tokenizers  several seeds, beside residual k-means
    rqvae-lib inference-rqvae     a tokenizer → a table of semantic IDs
    rqvae-lib train-decoder       histories, written in semantic IDs → a recommender
    rqvae-lib train-sasrec        histories → the model without semantic IDs to measure against
    rqvae-lib evaluate            all of them on the same targets
    rqvae-lib recommend --user 1  a history → items

Whatever the user can get wrong ends in one sentence and exit code 2, with nothing half-written.

Seen at work in: chapter 00.
"""

import sys
from collections.abc import Sequence
from typing import NoReturn

import torch
import typer

# Importing the commands adds them to the app, in this order.
# isort: off
from rqvae_lib import cli_tokenizer  # noqa: F401
from rqvae_lib import cli_inference  # noqa: F401
from rqvae_lib import cli_training  # noqa: F401
from rqvae_lib import cli_evaluate  # noqa: F401
from rqvae_lib import cli_recommend  # noqa: F401

# isort: on
from rqvae_lib.cli_common import app


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; a mistake of the user's ends in one sentence and exit code 2."""
    try:
        app(arguments)
    except OSError as error:
        reason = error.strerror or str(error)
        _fail(f"{error.filename}: {reason}" if error.filename and error.strerror else reason)
    except (ValueError, ImportError, FloatingPointError) as error:
        _fail(str(error))
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        _fail(
            "there is not enough memory for this: ask for less at once (--batch-size, --max-items, "
            "--codebook-size, --beams), or use less data"
        )
    sys.exit(0)


def _is_out_of_memory(error: MemoryError | RuntimeError) -> bool:
    """Tell whether memory is lacking, for which torch has no exception of its own on a CPU."""
    return isinstance(
        error, MemoryError | torch.OutOfMemoryError
    ) or "can't allocate memory" in str(error)


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"rqvae-lib: {sentence}", err=True)
    sys.exit(2)
