"""From a model to what its file holds, and from what a file holds to a model, if all of it fits.

A file may come from anywhere, so a model is made of it only if every setting and tensor fits. What
is to be written goes through the same checks first.

Seen at work in: chapter 00.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from rqvae_lib.io.json_configs import config_from_json
from rqvae_lib.io.plain_json import plain_json
from rqvae_lib.io.tensor_files import Card, Checkpoint, CheckpointError, check_tensors, short
from rqvae_lib.models.base import Recommender
from rqvae_lib.models.configs import CONFIGS, ArchitectureName, SASRecConfig
from rqvae_lib.models.registry import name_of, new_recommender
from rqvae_lib.models.sasrec import SASRec
from rqvae_lib.ops.torch_settings import own_settings
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.rqvae import RQVAE

Model = TypeVar("Model", bound=nn.Module)
# What content that does not fit makes of itself.
REFUSALS = (LookupError, ArithmeticError, TypeError, ValueError, RuntimeError)


def content_of(model: nn.Module, card: Card, *, half: bool = False) -> Checkpoint:
    """Return what a file of a model holds.

    Args:
        model: an RQ-VAE, a recommender of any architecture, or a SASRec.
        card: JSON, how it was made.
        half: round its weights to float16, as `round_to_half`.

    Raises:
        ValueError: if the model is of another kind, if a weight is float64 or missing, or as
            `round_to_half` and `plain_json`.
    """
    model = uncompiled(model)
    kind, config = _described(model)
    return Checkpoint(kind, _tensors(model, half), config, plain_json(card, "the card"))


def uncompiled(model: nn.Module) -> nn.Module:
    """Return a model, or that of which `torch.compile` made a faster one."""
    plain: nn.Module = getattr(model, "_orig_mod", model)
    return plain


def _described(model: nn.Module) -> tuple[str, dict[str, Any]]:
    """Return what kind of model a file holds, and its configuration."""
    if isinstance(model, RQVAE):
        return "rqvae", asdict(model.config)
    if isinstance(model, SASRec):
        return "sasrec", asdict(model.config)
    if not isinstance(model, Recommender):
        raise ValueError(
            f"the model is a {type(model).__name__}; expected an RQVAE, a recommender or a SASRec: "
            "pass one"
        )
    ids = {"id_sizes": list(model.sizes), "id_sha256": model.ids.sha256}
    return name_of(model.config), asdict(model.config) | ids


@own_settings
def round_to_half(model: nn.Module) -> None:
    """Round a model's weights, in place, to what float16 can hold; they stay float32.

    A model that is to be written with `half` is measured after it, so that what is said of the file
    is true of what is loaded. Eleven significant bits are left, fewer below 6e-5.

    Raises:
        ValueError: if a weight is not finite, or above 65,504; then nothing is rounded.
    """
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not bool(tensor.half().isfinite().all()):
            worst = tensor.flatten()[tensor.abs().nan_to_num(torch.inf).argmax()]
            raise ValueError(
                f"tensor {name!r} holds {float(worst):g}; float16 holds finite numbers up to "
                "65,504: write the model without half (on the command line: without --half)"
            )
    model.half().float()


def _tensors(model: nn.Module, half: bool) -> dict[str, Tensor]:
    """Return a model's tensors on the CPU, those of weights as float32 or float16.

    Raises:
        ValueError: if a weight is float64, which float32 would round, or has no numbers.
    """
    for name, tensor in model.state_dict().items():
        if not isinstance(tensor, Tensor) or tensor.is_meta:
            raise ValueError(f"{name!r} of the model holds no numbers: load or train the model")
        if tensor.dtype == torch.float64 and not half:
            raise ValueError(
                f"{name!r} of the model is float64, and a file holds float32: save model.float() "
                "once its results are still right"
            )
    if not half:
        return {
            name: _usable(tensor.float() if tensor.is_floating_point() else tensor).cpu()
            for name, tensor in model.state_dict().items()
        }
    rounded = copy.deepcopy(model)
    round_to_half(rounded)
    return {
        name: tensor.half().cpu() if tensor.is_floating_point() else tensor.cpu()
        for name, tensor in rounded.state_dict().items()
    }


def _usable(tensor: Tensor) -> Tensor:
    """Return a tensor that a model can have outside of inference mode."""
    return tensor.clone() if tensor.is_inference() else tensor


def check_modules(model: nn.Module, loaded: nn.Module) -> None:
    """Refuse a model whose layers are not those that its configuration describes.

    An activation has no weights, so a file would not tell that it was replaced by another.

    Raises:
        ValueError: if a module inside `model` is of another class than that inside `loaded`.
    """
    found, described = (
        {name: type(module).__name__ for name, module in each.named_modules() if name}
        for each in (uncompiled(model), loaded)
    )
    for name in found | described:
        if found.get(name) != described.get(name):
            raise ValueError(
                f"its layer {name!r} is {found.get(name, 'missing')}, and its configuration says "
                f"{described.get(name, 'none')}"
            )


def model_of(checkpoint: Checkpoint) -> RQVAE | Recommender | SASRec:
    """Make the model of a file's content; raise one of `REFUSALS` if any of it does not fit."""
    if checkpoint.kind == "rqvae":
        return _rqvae_of(checkpoint)
    if checkpoint.kind == "sasrec":
        return _sasrec_of(checkpoint)
    return _recommender_of(checkpoint)


def _rqvae_of(checkpoint: Checkpoint) -> RQVAE:
    tensors = checkpoint.tensors
    settings = config_from_json(RQVAEConfig, checkpoint.config)
    _check_depth(len(settings.hidden_dims or ()), tensors)
    model = _filled(lambda: RQVAE(settings), tensors)
    if not bool((tensors["std"] > 0).all()):
        raise ValueError("tensor 'std' holds a spread that is not above 0")
    return model


def _recommender_of(checkpoint: Checkpoint) -> Recommender:
    tensors, config = _widened(checkpoint.tensors), dict(checkpoint.config)
    *sizes, _ = config.pop("id_sizes")
    recorded = str(config.pop("id_sha256"))
    ids = SemanticIDs(tensors["semantic_ids"][:, :-1], sizes)
    if ids.sha256 != recorded or not torch.equal(ids.ids, tensors["semantic_ids"]):
        raise ValueError(
            f"it holds IDs whose sha256 is {ids.sha256[:12]}…, but it records {recorded[:12]}…: it "
            "was changed after it was written"
        )
    kind = CONFIGS[cast(ArchitectureName, checkpoint.kind)]
    settings = config_from_json(kind, config)
    _check_depth(settings.transformer.num_layers, tensors)
    return _filled(lambda: new_recommender(settings, ids), tensors)


def _sasrec_of(checkpoint: Checkpoint) -> SASRec:
    tensors = _widened(checkpoint.tensors)
    settings = config_from_json(SASRecConfig, checkpoint.config)
    _check_depth(settings.transformer.num_layers, tensors)
    return _filled(lambda: SASRec(settings), tensors)


def _widened(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors with those of float16 as float32, which holds the same numbers."""
    return {
        name: tensor.float() if tensor.dtype == torch.float16 else tensor
        for name, tensor in tensors.items()
    }


@contextmanager
def naming_file(path: Path) -> Iterator[None]:
    """Turn what a wrong configuration or wrong weights raise into one sentence about the file."""
    try:
        yield
    except CheckpointError:
        raise
    except REFUSALS as error:
        raise CheckpointError(
            f"{path} does not match its own description ({short(error)}): make it again, or pass "
            "another"
        ) from error


def _filled(make: Callable[[], Model], tensors: Mapping[str, Tensor]) -> Model:
    """Make a model of the tensors of a file, in evaluation mode, once they are known to fit."""
    # Weights without memory: a small file must not ask for gigabytes.
    with torch.device("meta"), _WithoutDraws():
        model = make()
    check_tensors(tensors, model.state_dict())
    model.load_state_dict(tensors, assign=True)
    return model.eval()


class _WithoutDraws(TorchFunctionMode):
    """Leaves out the drawing of first weights.

    To draw weights that have no memory, torch imports its compiler (seen in 2.13), and that takes
    longer than the rest of a command.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if getattr(func, "__module__", None) == nn.init.__name__:
            return given["tensor"] if "tensor" in given else args[0]
        return func(*args, **given)


def _check_depth(layers: int, tensors: Mapping[str, Tensor]) -> None:
    """Refuse to build more layers than there are tensors to fill them."""
    if layers > len(tensors):
        raise ValueError(f"it describes {layers} layers, and holds {len(tensors)} tensors")
