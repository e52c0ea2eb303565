"""Models as files, and back: each with its configuration, and a card that says how it was made.

A file may come from anywhere, so a model is made of it only if every setting and tensor fits.

Seen at work in: chapter 00.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from rqvae_lib.checkpoints.cards import Identified, card_of, check_sizes
from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.names import EMBEDDED
from rqvae_lib.data.splits import Split
from rqvae_lib.embeddings.item_vectors import ItemVectors
from rqvae_lib.io.json_configs import config_from_json
from rqvae_lib.io.plain_json import plain_json
from rqvae_lib.io.tensor_files import (
    Card,
    Checkpoint,
    CheckpointError,
    check_tensors,
    load_checkpoint,
    save_checkpoint,
    short,
)
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


@own_settings
def save_rqvae(
    path: str | Path,
    model: RQVAE,
    dataset: Dataset | None = None,
    vectors: ItemVectors | Tensor | None = None,
    **more: Any,
) -> None:
    """Write an RQ-VAE: weights, standardization, configuration, and a card of how it was made.

    Weights of 16 bits are written as float32, which holds the same numbers, since `load_rqvae`
    returns float32.

    Args:
        path: the file.
        model: the tokenizer.
        dataset: whose items it was trained on.
        vectors: what it was trained on: what `item_vectors` returns, or a tensor (N, D) of text
            embeddings. Without dataset and vectors, the commands refuse the file.
        more: for the card, JSON: `seed=0`, `metrics={…}`.

    Raises:
        ValueError: if vectors and dataset have different numbers of items, if `more` names what
            the card says by itself, or for what `load_rqvae` would refuse: weights that are not
            finite, of float64, or not those of the configuration. An older file is then still
            whole.
        OSError: if the path cannot be written; an older file is then still whole.
    """
    model = _one_of(RQVAE, model)
    if isinstance(vectors, Tensor):
        vectors = ItemVectors(vectors, "text", text=vectors)
    check_sizes(dataset, vectors=None if vectors is None else len(vectors.tensor))
    save_with_card(path, model, card_of(dataset, vectors=vectors, more=more))


@own_settings
def load_rqvae(name_or_path: str | Path) -> tuple[RQVAE, Card]:
    """Load an RQ-VAE, ready to assign codes.

    Args:
        name_or_path: a shipped one by its dataset's name, "movielens-small-2016", which took
            500,000 steps, or a snapshot from the way there ("movielens-small-2016-1k", "-10k",
            "-100k"), or a file.

    Returns:
        The model, in evaluation mode on the CPU, and its card.

    Raises:
        CheckpointError: if the file holds something else, or weights of another shape or type, or
            not finite.
        OSError: if it cannot be read.
    """
    path = find_checkpoint(name_or_path, "rqvae")
    checkpoint = load_checkpoint(path, ["rqvae"])
    with _describing(path):
        return _rqvae_of(checkpoint), checkpoint.card


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


@own_settings
def save_recommender(
    path: str | Path,
    model: Recommender,
    dataset: Identified | None = None,
    split: Split | None = None,
    *,
    half: bool = False,
    **more: Any,
) -> None:
    """Write a generative recommender: weights, semantic IDs, configuration, card.

    Weights of 16 bits are written as float32, which holds the same numbers, unless `half` is asked
    for.

    Args:
        path: the file.
        model: of any architecture.
        dataset: what it was trained on: a `Dataset`, or a `HistoriesFile`.
        split: whose `train` it learned from. Without dataset and split, the commands refuse the
            file.
        half: write the weights as float16, for about half the file; `round_to_half` says what is
            lost.
        more: for the card, JSON: `seed=0`, `metrics={…}`.

    Raises:
        ValueError: if model, split and dataset have different numbers of items, if `more` names
            what the card says by itself, if the configuration is of no known architecture, as
            `round_to_half`, or for what `load_recommender` would refuse: weights that are not
            finite, of float64, or not those of the configuration. An older file is then still
            whole.
        OSError: if the path cannot be written; an older file is then still whole.
    """
    model = _one_of(Recommender, model)
    check_sizes(dataset, model=len(model.ids), split=split.num_items if split else None)
    save_with_card(path, model, card_of(dataset, split=split, more=more), half=half)


@own_settings
def save_with_card(
    path: str | Path, model: RQVAE | Recommender | SASRec, card: Card, *, half: bool = False
) -> None:
    """Write a model with a card that is known already, such as a loaded one.

    Args, Raises: as `save_recommender`; an RQ-VAE is not written with `half`.
    """
    kind, config = _described(model)
    checkpoint = Checkpoint(kind, _tensors(model, half), config, plain_json(card, "the card"))
    try:  # the loader's own checks: what it would refuse is not written
        _model_of(checkpoint)
    except REFUSALS as error:
        raise ValueError(
            f"{path} is not written, because the {type(model).__name__} in it could not be loaded "
            f"again ({short(error)}): save the model as it was trained, or an earlier one"
        ) from error
    save_checkpoint(path, *checkpoint)


def _described(model: nn.Module) -> tuple[str, dict[str, Any]]:
    """Return what kind of model a file holds, and its configuration."""
    if isinstance(model, RQVAE):
        return "rqvae", asdict(model.config)
    if isinstance(model, SASRec):
        return "sasrec", asdict(model.config)
    model = _one_of(Recommender, model)
    ids = {"id_sizes": list(model.sizes), "id_sha256": model.ids.sha256}
    return name_of(model.config), asdict(model.config) | ids


def _one_of(kind: type[Model], model: nn.Module) -> Model:
    """Return a model, or that of which `torch.compile` made a faster one, if it is of a kind."""
    model = getattr(model, "_orig_mod", model)
    if not isinstance(model, kind):
        raise ValueError(
            f"the model is a {type(model).__name__}; expected a {kind.__name__}: pass one, or call "
            "the function that saves your kind of model"
        )
    return model


@own_settings
def load_recommender(
    name_or_path: str | Path, expected_ids: SemanticIDs | None = None
) -> tuple[Recommender, Card]:
    """Load a generative recommender, ready to recommend.

    Args:
        name_or_path: a shipped one by its dataset's name, or a file.
        expected_ids: the catalogue that you are going to use; any other one is refused.

    Returns:
        The model, of the architecture that the file names, in evaluation mode on the CPU
        (`model.ids` is its catalogue), and its card. Weights are float32, also those that the
        file holds as float16.

    Raises:
        CheckpointError: if the file holds something else, weights of another shape or type or not
            finite, or uses the IDs of another catalogue.
        OSError: if it cannot be read.
    """
    path = find_checkpoint(name_or_path, "recommender")
    checkpoint = load_checkpoint(path, CONFIGS)
    with _describing(path):
        model = _recommender_of(checkpoint)
    if expected_ids is not None and expected_ids.sha256 != model.ids.sha256:
        raise CheckpointError(
            f"{path} uses the IDs of catalogue {model.ids.sha256[:12]}…, but yours is "
            f"{expected_ids.sha256[:12]}…: use the IDs it was trained on, or train it on yours"
        )
    return model, checkpoint.card


@own_settings
def save_sasrec(
    path: str | Path,
    model: SASRec,
    dataset: Identified | None = None,
    split: Split | None = None,
    *,
    half: bool = False,
    **more: Any,
) -> None:
    """Write a SASRec: weights, configuration, card.

    Args, Raises: as `save_recommender`.
    """
    model = _one_of(SASRec, model)
    check_sizes(dataset, model=model.config.num_items, split=split.num_items if split else None)
    save_with_card(path, model, card_of(dataset, split=split, more=more), half=half)


@own_settings
def load_sasrec(name_or_path: str | Path) -> tuple[SASRec, Card]:
    """Load a SASRec, ready to recommend.

    Args:
        name_or_path: a shipped one by its dataset's name, or a file.

    Returns:
        The model, in evaluation mode on the CPU, and its card. Weights are float32, also those that
        the file holds as float16.

    Raises:
        CheckpointError: if the file holds something else, or weights of another shape or type, or
            not finite.
        OSError: if it cannot be read.
    """
    path = find_checkpoint(name_or_path, "sasrec")
    checkpoint = load_checkpoint(path, ["sasrec"])
    with _describing(path):
        return _sasrec_of(checkpoint), checkpoint.card


@own_settings
def load_model(name_or_path: str | Path) -> tuple[Recommender | SASRec, Card]:
    """Load whatever recommends: a `Recommender` of any architecture, or a SASRec.

    Args, Raises: as `load_recommender`.
    """
    path = find_checkpoint(name_or_path, "recommender")
    checkpoint = load_checkpoint(path, [*CONFIGS, "sasrec"])
    with _describing(path):
        model = _model_of(checkpoint)
    assert isinstance(model, Recommender | SASRec)
    return model, checkpoint.card


def _model_of(checkpoint: Checkpoint) -> RQVAE | Recommender | SASRec:
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


def shipped_models(dataset: str) -> list[str]:
    """Return the names of the models in the package that recommend from a dataset's items.

    Only an embedded dataset has any. Another's name may be a path, or the start of this one's.
    """
    if dataset not in EMBEDDED:
        return []
    names = [file.stem for file in _shipped_folder().glob("*.safetensors")]
    return sorted(
        name for name in names if name.startswith(f"{dataset}-") and not name.endswith("-rqvae")
    )


def _shipped_folder() -> Path:
    return Path(str(resources.files("rqvae_lib.checkpoints") / "pretrained"))


def find_checkpoint(name_or_path: str | Path, stem: str = "recommender") -> Path:
    """Return the path itself, or a shipped file: by its name, or its dataset's and this stem.

    Raises:
        FileNotFoundError: if there is neither.
    """
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


def _widened(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors with those of float16 as float32, which holds the same numbers."""
    return {
        name: tensor.float() if tensor.dtype == torch.float16 else tensor
        for name, tensor in tensors.items()
    }


@contextmanager
def _describing(path: Path) -> Iterator[None]:
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
