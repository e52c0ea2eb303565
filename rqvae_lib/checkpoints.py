"""Checkpoints: one file that says what it is, written whole or not at all, and safe to open.

A checkpoint is a safetensors file. Its header carries, as JSON, the kind of model, its
configuration and a card: how it was made, from which data, with which result. Nothing in it is ever
executed.

Source: the safetensors format, https://huggingface.co/docs/safetensors.
Seen at work in: chapter 00.
"""

import hashlib
import json
import reprlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from rqvae_lib.architectures import ARCHITECTURES, name_of
from rqvae_lib.configs import config_from_json
from rqvae_lib.files import no_room, write_atomically
from rqvae_lib.recommenders import Recommender
from rqvae_lib.rqvae import RQVAE, RQVAEConfig
from rqvae_lib.sasrec import SASRec, SASRecConfig
from rqvae_lib.semantic_ids import SemanticIDs

FORMAT = "rqvae-lib 1"
HEADER_KEY = "rqvae-lib"
Card = dict[str, Any]  # JSON: command, seed, data checksum, metrics


class CheckpointError(ValueError):
    """A file is not the checkpoint that was asked for; the message says what it is instead."""


def save_checkpoint(
    path: Path, kind: str, tensors: Mapping[str, Tensor], config: Mapping[str, Any], card: Card
) -> None:
    """Write tensors, configuration and card as one file, atomically.

    Raises:
        OSError: if the path cannot be written; an older file is then still whole.
    """
    # One metadata key: safetensors writes several in an order that differs from run to run.
    header = {"format": FORMAT, "kind": kind, "config": dict(config), "card": card}
    text = json.dumps(header, ensure_ascii=False, sort_keys=True)
    flat = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with write_atomically(path) as temporary:
        try:
            save_file(flat, temporary, metadata={HEADER_KEY: text})
        except SafetensorError as error:  # a full disk, say
            raise no_room(path, _short(error)) from error


def load_checkpoint(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any], Card]:
    """Read a checkpoint's tensors (on the CPU), configuration and card.

    Raises:
        CheckpointError: if the file is not a checkpoint of this kind, or is damaged.
        OSError: if it cannot be read.
    """
    _, tensors, config, card = _load(path, [kind])
    return tensors, config, card


def _load(
    path: Path, kinds: Collection[str]
) -> tuple[str, dict[str, Tensor], dict[str, Any], Card]:
    """Read a checkpoint of any of some kinds: which one, tensors, configuration, card."""
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
        return header["kind"], tensors, header["config"], header["card"]
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
            f"{path} is not a checkpoint, or is damaged ({_short(error)}): make it anew, or pass "
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


def save_rqvae(path: Path, model: RQVAE, card: Card) -> None:
    """Write an RQ-VAE: weights, standardisation, configuration, card."""
    save_checkpoint(path, "rqvae", model.state_dict(), asdict(model.config), card)


def load_rqvae(name_or_path: str | Path) -> tuple[RQVAE, Card]:
    """Load an RQ-VAE, ready to assign codes.

    Args:
        name_or_path: a shipped one by its data set's name, "movielens-small-2016", which took
            500,000 steps, or a snapshot from the way there ("movielens-small-2016-1k", "-10k",
            "-100k"), or a file.

    Returns:
        The model, in evaluation mode on the CPU, and its card.

    Raises:
        CheckpointError: if the file holds something else, or weights of another shape or type, or
            not finite.
        OSError: if it cannot be read.
    """
    path = _resolve(name_or_path, "rqvae")
    tensors, config, card = load_checkpoint(path, "rqvae")
    with _describing(path):
        settings = config_from_json(RQVAEConfig, config)
        _check_depth(len(settings.hidden_dims or ()), tensors)
        with torch.device("meta"):  # without memory: a small file must not ask for gigabytes
            expected = RQVAE(settings).state_dict()
        check_tensors(tensors, expected)
        if not bool((tensors["std"] > 0).all()):
            raise ValueError("tensor 'std' holds a spread that is not above 0")
        model = RQVAE(settings)
        model.load_state_dict(tensors)
    return model.eval(), card


def save_recommender(path: Path, model: Recommender, card: Card) -> None:
    """Write a recommender, with its catalogue of IDs and the catalogue's sha256.

    Raises:
        ValueError: if its configuration is of no architecture in `ARCHITECTURES`.
        OSError: if the path cannot be written.
    """
    config = asdict(model.config) | {"id_sizes": list(model.sizes), "id_sha256": model.ids.sha256}
    save_checkpoint(path, name_of(model.config), model.state_dict(), config, card)


def load_recommender(
    name_or_path: str | Path, expected_ids: SemanticIDs | None = None
) -> tuple[Recommender, Card]:
    """Load a recommender, ready to recommend.

    Args:
        name_or_path: a shipped one by its data set's name, or a file.
        expected_ids: the catalogue that you are going to use; any other one is refused.

    Returns:
        The model, of the architecture that the file names, in evaluation mode on the CPU
        (`model.ids` is its catalogue), and its card.

    Raises:
        CheckpointError: if the file holds something else, weights of another shape or type or not
            finite, or speaks the IDs of another catalogue.
        OSError: if it cannot be read.
    """
    path = _resolve(name_or_path, "decoder")
    kind, tensors, config, card = _load(path, ARCHITECTURES)
    with _describing(path):
        *sizes, _ = config.pop("id_sizes")
        recorded = str(config.pop("id_sha256"))
        ids = SemanticIDs(tensors["item_ids"][:, :-1], sizes)
        if ids.sha256 != recorded or not torch.equal(ids.ids, tensors["item_ids"]):
            raise CheckpointError(
                f"{path} holds IDs whose sha256 is {ids.sha256[:12]}…, but it records "
                f"{recorded[:12]}…: the file was changed after it was written; make it anew"
            )
        architecture = ARCHITECTURES[kind]
        settings = config_from_json(architecture.config, config)
        _check_depth(settings.transformer.num_layers, tensors)
        with torch.device("meta"):  # as above
            expected = architecture.model(settings, ids).state_dict()
        check_tensors(tensors, expected)
        model = architecture.model(settings, ids)
        model.load_state_dict(tensors)
    if expected_ids is not None and expected_ids.sha256 != ids.sha256:
        raise CheckpointError(
            f"{path} speaks the IDs of catalogue {ids.sha256[:12]}…, but yours is "
            f"{expected_ids.sha256[:12]}…: use the IDs it was trained on, or train it on yours"
        )
    return model.eval(), card


def save_sasrec(path: Path, model: SASRec, card: Card) -> None:
    """Write a SASRec: weights, configuration, card."""
    save_checkpoint(path, "sasrec", model.state_dict(), asdict(model.config), card)


def load_sasrec(name_or_path: str | Path) -> tuple[SASRec, Card]:
    """Load a SASRec, ready to recommend.

    Args:
        name_or_path: a shipped one by its data set's name, or a file.

    Returns:
        The model, in evaluation mode on the CPU, and its card.

    Raises:
        CheckpointError: if the file holds something else, or weights of another shape or type, or
            not finite.
        OSError: if it cannot be read.
    """
    path = _resolve(name_or_path, "sasrec")
    tensors, config, card = load_checkpoint(path, "sasrec")
    with _describing(path):
        settings = config_from_json(SASRecConfig, config)
        _check_depth(settings.transformer.num_layers, tensors)
        with torch.device("meta"):  # as above
            expected = SASRec(settings).state_dict()
        check_tensors(tensors, expected)
        model = SASRec(settings)
        model.load_state_dict(tensors)
    return model.eval(), card


def load_model(name_or_path: str | Path) -> tuple[Recommender | SASRec, Card]:
    """Load whatever recommends: a `Recommender` of any architecture, or a SASRec.

    Args, Raises: as `load_recommender`.
    """
    path = _resolve(name_or_path, "decoder")
    kind, *_ = _load(path, [*ARCHITECTURES, "sasrec"])
    return load_sasrec(path) if kind == "sasrec" else load_recommender(path)


def shipped_models(dataset: str) -> list[str]:
    """Return the names of the models in the package that recommend from a data set's items."""
    names = [file.stem for file in _shipped_folder().glob(f"{dataset}-*.safetensors")]
    return sorted(name for name in names if not name.endswith("-rqvae"))


def _shipped_folder() -> Path:
    return Path(str(resources.files("rqvae_lib") / "pretrained"))


def _resolve(name_or_path: str | Path, stem: str) -> Path:
    """Return the path itself, or a shipped file: by its name, or its data set's and this stem."""
    path = Path(name_or_path)
    if path.is_file():
        return path
    ending = ".safetensors"
    shipped = {
        file.name.removesuffix(ending): file for file in _shipped_folder().glob(f"*{ending}")
    }
    shipped |= {
        name.removesuffix(f"-{stem}"): file
        for name, file in shipped.items()
        if name.endswith(f"-{stem}")
    }
    if str(name_or_path) not in shipped:
        raise FileNotFoundError(
            f"{name_or_path} is neither a file nor a shipped checkpoint "
            f"(shipped: {', '.join(sorted(shipped)) or 'none'})"
        )
    return shipped[str(name_or_path)]


@contextmanager
def _describing(path: Path) -> Iterator[None]:
    """Turn what a wrong configuration or wrong weights raise into one sentence about the file."""
    try:
        yield
    except CheckpointError:
        raise
    except (LookupError, ArithmeticError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} does not fit its own description ({_short(error)}): make it anew, or pass "
            "another"
        ) from error


def _check_depth(layers: int, tensors: Mapping[str, Tensor]) -> None:
    """Refuse to build more layers than there are tensors to fill them."""
    if layers > len(tensors):
        raise ValueError(f"it describes {layers} layers, and holds {len(tensors)} tensors")


def _short(error: Exception) -> str:
    """Return what an error says in one line that does not fill the screen."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]}…"


def tensors_sha256(*tensors: Tensor) -> str:
    """Name the content of tensors, so that a model is not used on, or trained on, other data."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()
