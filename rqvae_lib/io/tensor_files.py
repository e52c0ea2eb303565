"""A file of tensors that says what it is, written whole or not at all, and safe to open.

It is a safetensors file. Its header carries, as JSON, the kind of content, a configuration and a
card: how it was made, from which data, with which result. Nothing in it is ever executed, and
nothing in it is believed before it was looked at.

Source: the safetensors format, https://huggingface.co/docs/safetensors.
Used by: checkpoints, and the states that trainings resume from.
"""

import hashlib
import json
import reprlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from rqvae_lib.io.atomic import no_room, write_atomically

FORMAT = "rqvae-lib 1"
HEADER_KEY = "rqvae-lib"
Card = dict[str, Any]  # JSON: command, seed, data checksum, metrics


class CheckpointError(ValueError):
    """A file is not the checkpoint that was asked for; the message says what it is instead."""


def save_checkpoint(
    path: str | Path,
    kind: str,
    tensors: Mapping[str, Tensor],
    config: Mapping[str, Any],
    card: Card,
) -> None:
    """Write tensors, configuration and card as one file, atomically.

    Raises:
        OSError: if the path cannot be written; an older file is then still whole.
    """
    # One metadata key: safetensors writes several in an order that differs from run to run.
    header = {"format": FORMAT, "kind": kind, "config": dict(config), "card": card}
    text = json.dumps(header, ensure_ascii=False, sort_keys=True)
    flat = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    path = Path(path)
    with write_atomically(path) as temporary:
        try:
            save_file(flat, temporary, metadata={HEADER_KEY: text})
        except SafetensorError as error:  # a full disk, say
            raise no_room(path, short(error)) from error


class Checkpoint(NamedTuple):
    kind: str  # of content: "rqvae", the name of an architecture, …
    tensors: dict[str, Tensor]  # by name, on the CPU
    config: dict[str, Any]  # JSON
    card: Card


def load_checkpoint(path: Path, kinds: Collection[str]) -> Checkpoint:
    """Read a checkpoint of any of some kinds; the file is read once.

    Raises:
        CheckpointError: if the file is no checkpoint of these kinds, or is damaged.
        OSError: if it cannot be read.
    """
    with path.open("rb") as opened:  # a folder, or what may not be read, is the system's own error
        beginning = opened.read(4)
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(HEADER_KEY, "{}"))
            if not isinstance(header, dict):
                raise ValueError(f"its description is {reprlib.repr(header)}")
            if header.get("format") != FORMAT or header.get("kind") not in list(kinds):
                raise CheckpointError(
                    f"{path} is a checkpoint of "
                    f"{reprlib.repr(header.get('kind', 'another program'))} "
                    f"({reprlib.repr(header.get('format', 'no format named'))}); expected "
                    f"{' or '.join(map(repr, kinds))} ({FORMAT}): pass such a file, or make one"
                )
            for part in ("config", "card"):
                if not isinstance(header.get(part), dict):
                    raise ValueError(f"its {part} is {reprlib.repr(header.get(part))}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return Checkpoint(header["kind"], tensors, header["config"], header["card"])
    except CheckpointError:
        raise
    except (SafetensorError, ValueError, RecursionError) as error:
        # As torch.save writes them: a zip, or since protocol 2 the pickle itself. Only looked at
        # now, since the length of a sound file's header may begin with the same bytes.
        if beginning.startswith((b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
            raise CheckpointError(
                f"{path} is a pickle, and not a safetensors file. Opening a pickle runs what is in "
                "it, so it is not opened: have the model saved by rqvae-lib, or pass another"
            ) from error
        raise CheckpointError(
            f"{path} is not a checkpoint, or is damaged ({short(error)}): make it again, or pass "
            "another"
        ) from error


def check_tensors(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise ValueError for the first tensor that is not what a model needs.

    Nothing is converted: what has another shape or type was not saved from such a model, and a
    number that is not finite spoils all that it touches.

    Args:
        found: as a file holds them, by name.
        expected: as the model has them; only names, shapes and types count, so `meta` will do.
    """
    for name in [*expected, *found]:
        if name not in found or name not in expected:
            what = "lacks" if name in expected else "has one too many,"
            raise ValueError(f"of the model's tensors it {what} {reprlib.repr(name)}")
        have, need = found[name], expected[name]
        if have.shape != need.shape or have.dtype != need.dtype:
            raise ValueError(
                f"tensor {name!r} has shape {reprlib.repr(tuple(have.shape))} and type "
                f"{have.dtype}; the model needs {tuple(need.shape)} and {need.dtype}"
            )
        if have.is_floating_point() and not bool(have.isfinite().all()):
            raise ValueError(f"tensor {name!r} holds numbers that are not finite")


def short(error: Exception) -> str:
    """Return what an error says in one line that does not fill the screen."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]}…"


def tensors_sha256(*tensors: Tensor) -> str:
    """Name the content of tensors, so that a model is not used on, or trained on, other data."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()
