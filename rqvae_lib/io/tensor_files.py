"""A file of tensors that describes itself, is written atomically, and is safe to open.

It is a safetensors file. Its header holds, as JSON, the kind of content, a configuration and a
card: how the content was made, from which data, with which result. Loading executes nothing from
the file and checks everything in it before using it.

Source: the safetensors format, https://huggingface.co/docs/safetensors.
Used by: checkpoints, and the states that trainings resume from.
"""

import hashlib
import json
import reprlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from rqvae_lib.io.atomic import no_room, write_atomically
from rqvae_lib.io.headers import HEADER_KEY
from rqvae_lib.io.plain_json import plain_json

FORMAT = "rqvae-lib 1"
Card = dict[str, Any]  # JSON: command, seed, data checksum, metrics


class CheckpointError(ValueError):
    """A file is not the expected checkpoint; the message says what it is instead."""


def save_checkpoint(
    path: str | Path,
    kind: str,
    tensors: Mapping[str, Tensor],
    config: Mapping[str, Any],
    card: Card,
) -> None:
    """Write tensors, configuration and card to one file, atomically.

    Args:
        path: the file to write.
        kind: what the content is, such as "rqvae"; `load_checkpoint` asks for it.
        tensors: by name, of any shape, dtype and device; finite. Those that share memory are
            written one by one.
        config: settings by name, as `plain_json` makes them.
        card: likewise: the command, seed, data checksum and metrics.

    Raises:
        ValueError: if a tensor is not finite or cannot be written, or as `plain_json`. An older
            file is then unchanged.
        OSError: if the path cannot be written. An older file is then unchanged.
    """
    path = Path(path)
    # One metadata key only: safetensors writes several in an order that varies between runs.
    header = {
        "format": FORMAT,
        "kind": kind,
        "config": plain_json(config, "the configuration"),
        "card": plain_json(card, "the card"),
    }
    text = json.dumps(header, ensure_ascii=False, sort_keys=True)
    flat = _plain_tensors(path, tensors)
    with write_atomically(path) as temporary:
        try:
            save_file(flat, temporary, metadata={HEADER_KEY: text})
        except SafetensorError as error:  # such as a full disk
            raise no_room(path, short(error)) from error


def _plain_tensors(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors as they are written, on the CPU and each in memory of its own."""
    plain: dict[str, Tensor] = {}
    places = set()
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor) or tensor.is_meta or tensor.layout != torch.strided:
            what = "a number is missing" if isinstance(tensor, Tensor) else "it is no tensor"
            raise ValueError(
                f"{path} is not written, because {what} in {name!r} "
                f"({reprlib.repr(getattr(tensor, 'device', tensor))}): pass tensors that hold "
                "all their numbers"
            )
        flat = tensor.detach().cpu().contiguous()
        if flat.is_floating_point() and not bool(flat.isfinite().all()):
            raise ValueError(
                f"{path} is not written, because {name!r} holds a number that is not finite, and "
                "nothing could be computed with it: train again with a lower learning rate, or "
                "save an earlier state"
            )
        place = flat.untyped_storage().data_ptr()
        plain[name] = flat.clone() if place in places else flat
        places.add(place)
    return plain


class Checkpoint(NamedTuple):
    """The content of a checkpoint file."""

    kind: str  # "rqvae", the name of an architecture, …
    tensors: dict[str, Tensor]  # by name, on the CPU
    config: dict[str, Any]  # JSON
    card: Card


def load_checkpoint(path: Path, kinds: Collection[str]) -> Checkpoint:
    """Read a checkpoint, reading the file once.

    Args:
        path: the file to read.
        kinds: the kinds of content that the caller accepts.

    Raises:
        CheckpointError: if the file is not a checkpoint of one of these kinds, or is damaged.
        OSError: if the file cannot be read.
    """
    with path.open("rb") as opened:  # raises OSError for a folder or an unreadable file
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
            # Copies: a tensor that views the mapped file would keep it from being replaced.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        return Checkpoint(header["kind"], tensors, header["config"], header["card"])
    except CheckpointError:
        raise
    except (SafetensorError, ValueError, RecursionError) as error:
        # `torch.save` writes a zip; older files are a plain pickle of protocol 2 to 5. Check this
        # only after a failure, because a valid file's header length may start with these bytes.
        if beginning.startswith((b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
            raise CheckpointError(
                f"{path} is a pickle, not a safetensors file. Opening a pickle runs the code in "
                "it, so it was not opened: save the model with rqvae-lib, or pass another file"
            ) from error
        raise CheckpointError(
            f"{path} is not a checkpoint, or is damaged ({short(error)}): make it again, or pass "
            "another file"
        ) from error


def check_tensors(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise ValueError for the first tensor that does not fit a model.

    Nothing is converted: a tensor of another shape or dtype was not saved from such a model, and a
    NaN or an infinity spreads to everything computed from it.

    Args:
        found: a file's tensors, by name.
        expected: the model's tensors, by name. Only names, shapes and dtypes count, so tensors on
            the `meta` device are enough.

    Raises:
        ValueError: if a tensor is missing, is one too many, has another shape or dtype, or is not
            finite.
    """
    for name in [*expected, *found]:
        if name not in found or name not in expected:
            what = "lacks the" if name in expected else "has an unknown"
            raise ValueError(f"the file {what} tensor {reprlib.repr(name)}")
        have, need = found[name], expected[name]
        if have.shape != need.shape or have.dtype != need.dtype:
            raise ValueError(
                f"tensor {name!r} has shape {reprlib.repr(tuple(have.shape))} and type "
                f"{have.dtype}; the model needs {tuple(need.shape)} and {need.dtype}"
            )
        if have.is_floating_point() and not bool(have.isfinite().all()):
            raise ValueError(f"tensor {name!r} holds numbers that are not finite")


def short(error: Exception) -> str:
    """Return an error's message as one line of at most 301 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]}…"


def tensors_sha256(*tensors: Tensor) -> str:
    """Return the sha256 (hex) of the tensors' bytes, one after another.

    A checkpoint stores it so that a model is not used with other data, or trained further on them.

    Args:
        tensors: of any shape, dtype and device.
    """
    digest = hashlib.sha256()
    for tensor in tensors:
        flat = tensor.detach().cpu().contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy().data)  # NumPy lacks some dtypes
    return digest.hexdigest()
