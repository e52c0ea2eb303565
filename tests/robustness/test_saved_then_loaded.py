"""What is saved is loaded again with the same content, or it is refused before anything is written.

Good things are spoilt in the ways in which users' own code spoils them. Each must be saved, and
come back equal; or saving must raise one sentence, leave no new file, and leave an older file at
that path as it was. "Saved, and then refused" loses a training.
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from rqvae_lib.checkpoints.bundle import Bundle, bundle_versions, load_bundle, write_bundle
from rqvae_lib.checkpoints.models import (
    load_recommender,
    load_rqvae,
    load_sasrec,
    save_recommender,
    save_rqvae,
    save_sasrec,
)
from rqvae_lib.embeddings.text import read_embeddings, save_embeddings
from rqvae_lib.io.plain_json import plain_json
from rqvae_lib.models.configs import (
    DecoderOnlyConfig,
    EncoderDecoderConfig,
    RQTransformerConfig,
    SASRecConfig,
    TransformerConfig,
)
from rqvae_lib.models.registry import new_recommender
from rqvae_lib.models.sasrec import SASRec
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.files import read_ids, write_ids
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.training.recipes import new_rqvae
from rqvae_lib.training.state import Best, load_state, save_state
from tests.checkpoints import test_bundle

SMALL = TransformerConfig(dim=8, num_layers=1, num_heads=2, mlp_dim=8)
IDS = SemanticIDs(torch.randint(4, (30, 2), generator=torch.Generator().manual_seed(0)), [4, 4])
VECTORS = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))
TOKENIZER = RQVAEConfig(6, (8,), 4, num_levels=2, codebook_size=5)
MODELS: dict[str, Callable[[], nn.Module]] = {
    "rqvae": lambda: new_rqvae(VECTORS, TOKENIZER, seed=0),
    "residual k-means": lambda: new_rqvae(
        VECTORS, RQVAEConfig.residual_kmeans(6, num_levels=2, codebook_size=5), seed=0
    ),
    "gumbel": lambda: new_rqvae(
        VECTORS, replace(TOKENIZER, estimator="gumbel", learning="gradient"), seed=0
    ),
    "decoder-only": lambda: new_recommender(DecoderOnlyConfig(SMALL, max_items=5), IDS),
    "encoder-decoder": lambda: new_recommender(EncoderDecoderConfig(SMALL, max_items=5), IDS),
    "rq-transformer": lambda: new_recommender(RQTransformerConfig(SMALL, max_items=5), IDS),
    "sasrec": lambda: SASRec(SASRecConfig(SMALL, max_items=5, num_items=30)),
}


def saver_of(name: str) -> Callable[..., None]:
    if name in ("rqvae", "residual k-means", "gumbel"):
        return save_rqvae
    return save_sasrec if name == "sasrec" else save_recommender


def loader_of(name: str) -> Callable[[Path], tuple[Any, dict[str, Any]]]:
    loaders = {save_rqvae: load_rqvae, save_sasrec: load_sasrec, save_recommender: load_recommender}
    return loaders[saver_of(name)]  # type: ignore[return-value]


def floats_of(model: nn.Module) -> list[Tensor]:
    return [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]


def put(number: float) -> Callable[[nn.Module, int], None]:
    def spoil(model: nn.Module, where: int) -> None:
        tensors = floats_of(model)
        tensor = tensors[where % len(tensors)].flatten()
        with torch.no_grad():
            tensor[where % len(tensor)] = number

    return spoil


def tie(model: nn.Module, where: int) -> None:
    """Let two parameters of one shape share memory, as tied weights do."""
    found: dict[tuple[int, ...], nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if tuple(parameter.shape) in found:
                setattr(module, name, found[tuple(parameter.shape)])
                return
            found[tuple(parameter.shape)] = parameter


def other_config(model: Any, where: int) -> None:
    changes = {"num_levels": 3} if hasattr(model, "quantizer") else {"max_items": 6}
    model.config = replace(model.config, **changes)


def numpy_config(model: Any, where: int) -> None:
    name = "codebook_size" if hasattr(model, "quantizer") else "max_items"
    model.config = replace(model.config, **{name: np.int64(getattr(model.config, name))})


def more_weights(model: nn.Module, where: int) -> None:
    model.adapter = nn.Linear(2, 2)


def move_ids(model: nn.Module, where: int) -> None:
    if hasattr(model, "semantic_ids"):
        model.semantic_ids[where % 30, 0] = 3 - model.semantic_ids[where % 30, 0]


SPOILS: dict[str, Callable[[Any, int], object]] = {
    "nothing": lambda model, _: None,
    "bfloat16": lambda model, _: model.bfloat16(),
    "float16": lambda model, _: model.half(),
    "float64": lambda model, _: model.double(),
    "NaN": put(float("nan")),
    "infinity": put(float("inf")),
    "zero": put(0.0),
    "negative": put(-1.0),
    "large": put(1e30),
    "tiny": put(1e-40),
    "tied": tie,
    "another configuration": other_config,
    "NumPy in the configuration": numpy_config,
    "more weights": more_weights,
    "other IDs": move_ids,
    "meta": lambda model, _: model.to("meta"),
    "training": lambda model, _: model.train(),
    "frozen": lambda model, _: model.requires_grad_(False),
}
KEPT = {"nothing", "bfloat16", "float16", "tied", "NumPy in the configuration"}
CARDS: dict[str, dict[str, Any]] = {
    "none": {},
    "plain": {"seed": 3, "metrics": {"ndcg": 0.1}},
    "NumPy": {"seed": np.int64(3), "metrics": {"ndcg": np.float32(0.1), 10: np.array([1, 2])}},
    "tuple": {"steps": (1, 2)},
    "object": {"when": object()},
    "half a character": {"command": "train caf\udce9"},
}


def refused_in_a_sentence(error: Exception) -> None:
    assert "\n" not in str(error)
    assert 20 < len(str(error)) < 700, str(error)


@settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    name=st.sampled_from(list(MODELS)),
    spoils=st.lists(st.sampled_from(list(SPOILS)), min_size=1, max_size=2, unique=True),
    card=st.sampled_from(list(CARDS)),
    where=st.integers(0, 10**6),
    older=st.booleans(),
    half=st.booleans(),
)
def test_a_model_comes_back_or_is_not_written(
    tmp_path: Path, name: str, spoils: list[str], card: str, where: int, older: bool, half: bool
) -> None:
    path = tmp_path / "x.safetensors"
    path.unlink(missing_ok=True)
    if older:
        path.write_bytes(b"older")
    options = {"half": True} if half and saver_of(name) is not save_rqvae else {}
    model = MODELS[name]()
    for spoil in spoils:
        SPOILS[spoil](model, where)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    try:
        saver_of(name)(path, model, **options, **CARDS[card])
    except ValueError as error:
        refused_in_a_sentence(error)
        assert [file.name for file in tmp_path.iterdir()] == ["x.safetensors"] * older
        assert not older or path.read_bytes() == b"older"
        must_be_kept = set(spoils) <= KEPT and card != "object"
        assert not must_be_kept, error  # noqa: PT017
        return
    loaded, said = loader_of(name)(path)
    assert not set(spoils) & {"more weights", "meta"}
    assert all(bool(value.isfinite().all()) for value in floats_of(loaded))
    assert options or all(value.dtype != torch.float64 for value in before.values())
    assert said == {"torch": torch.__version__} | plain_json(CARDS[card], "it")
    assert loaded.config == model.config
    found = loaded.state_dict()
    assert found.keys() == before.keys()
    for key, value in before.items():
        if value.is_floating_point():
            value = value.half().float() if options else value.float()
        assert torch.equal(found[key], value), key
        assert torch.equal(model.state_dict()[key], before[key])  # saving changes nothing


def test_a_compiled_model_is_saved_as_what_it_was_compiled_of(tmp_path: Path) -> None:
    for name, make in MODELS.items():
        model = make()
        saver_of(name)(tmp_path / name, torch.compile(model))
        loaded, _ = loader_of(name)(tmp_path / name)
        assert all(
            torch.equal(value, loaded.state_dict()[key])
            for key, value in model.state_dict().items()
        )


@pytest.mark.parametrize("change", ["another activation", "one more", "one less"])
def test_a_layer_without_weights_that_no_file_would_tell_of(tmp_path: Path, change: str) -> None:
    """Loaded again, it would be another model, which gives other codes without a word."""
    vectors = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    model = new_rqvae(vectors, RQVAEConfig(6, (8,), 4, num_levels=2, codebook_size=8), seed=0)
    save_rqvae(tmp_path / "model", model)
    before, codes = (tmp_path / "model").read_bytes(), model.assign(vectors)
    if change == "one less":
        model.decoder[1] = torch.nn.Identity()
    elif change == "one more":
        model.encoder.append(torch.nn.ReLU())
    else:
        model.encoder[1] = torch.nn.Tanh()
    if change != "one less":  # the decoder has no say in the codes
        assert not torch.equal(model.assign(vectors), codes)
    with pytest.raises(ValueError, match=r"its layer '(en|de)coder\.\d' is \w+, and its config"):
        save_rqvae(tmp_path / "model", model)
    assert (tmp_path / "model").read_bytes() == before


def test_a_model_of_inference_mode_is_saved_too(tmp_path: Path) -> None:
    for name, make in MODELS.items():
        with torch.inference_mode():
            model = copy.deepcopy(make())
            saver_of(name)(tmp_path / name, model)
        loaded, _ = loader_of(name)(tmp_path / name)
        assert not any(value.is_inference() for value in loaded.state_dict().values())


def test_another_kind_of_model_is_named(tmp_path: Path) -> None:
    for save, wrong in ((save_rqvae, MODELS["sasrec"]()), (save_sasrec, nn.Linear(2, 2))):
        with pytest.raises((ValueError, AttributeError)) as refused:
            save(tmp_path / "x", wrong)
        refused_in_a_sentence(refused.value)
        assert not list(tmp_path.iterdir())


# Bundles

BUNDLES: dict[str, Callable[[Bundle], Bundle]] = {
    "nothing": lambda b: b,
    "NaN in the tokenizer": lambda b: (put(float("nan"))(b.tokenizer, 7), b)[1],
    "a tokenizer of 16 bits": lambda b: replace(b, tokenizer=b.tokenizer.bfloat16()),
    "a tokenizer of 64 bits": lambda b: replace(b, tokenizer=b.tokenizer.double()),
    "NaN in the recommender": lambda b: (put(float("nan"))(b.recommender, 7), b)[1],
    "NaN errors": lambda b: replace(b, errors=torch.full_like(b.errors, torch.nan)),
    "negative errors": lambda b: replace(b, errors=b.errors - 100),
    "too few errors": lambda b: replace(b, errors=b.errors[1:]),
    "errors of 16 bits": lambda b: replace(b, errors=b.errors.bfloat16().to(torch.float16)),
    "too few items": lambda b: replace(b, items=b.items[1:]),
    "an item twice": lambda b: replace(b, items=b.items.assign(item_id=7)),
    "other columns": lambda b: replace(b, items=b.items.drop(columns="text")),
    "more trained items": lambda b: replace(b, trained_items=1000),
    "NumPy trained items": lambda b: replace(b, trained_items=np.int64(30)),  # type: ignore[arg-type]
    "other IDs": lambda b: replace(b, ids=SemanticIDs(b.ids.codes.flip(0), b.ids.sizes[:-1])),
    "an encoder that is no name": lambda b: replace(b, encoder=5),  # type: ignore[arg-type]
    "NumPy truth": lambda b: replace(b, articles_last=np.bool_(True)),  # type: ignore[arg-type]
    "a card with an object": lambda b: replace(b, tokenizer_card={"x": object()}),
    "a card of NumPy": lambda b: replace(b, tokenizer_card={"x": np.int64(3)}),
    "no recommender": lambda b: replace(b, recommender=None, recommender_card=None),
}


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("spoil", BUNDLES)
def test_a_bundle_comes_back_or_is_not_written(tmp_path: Path, spoil: str, older: bool) -> None:
    first = test_bundle.bundle()
    if older:
        first = write_bundle(tmp_path, first)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.*")}
    spoilt = BUNDLES[spoil](first)
    try:
        written = write_bundle(tmp_path, spoilt)
    except ValueError as error:
        refused_in_a_sentence(error)
        assert {file: file.read_bytes() for file in tmp_path.rglob("*.*")} == before
        assert bundle_versions(tmp_path) == [1] * older
        assert spoil not in {"nothing", "a tokenizer of 16 bits", "no recommender", "NumPy truth"}
        assert spoil not in {"NumPy trained items", "a card of NumPy", "errors of 16 bits"}
        return
    found = load_bundle(tmp_path)
    assert "NaN" not in spoil
    card = plain_json(written.tokenizer_card, "it")
    written = replace(written, tokenizer_card=card, errors=written.errors.float())
    written.tokenizer.float()
    test_bundle.assert_same(found, written)
    assert found.articles_last == written.articles_last


# States, IDs, vectors

STATES: dict[str, Callable[[nn.Module], object]] = {
    "nothing": lambda model: None,
    "bfloat16": lambda model: model.bfloat16(),
    "float64": lambda model: model.double(),
    "a NaN that was counted": lambda model: model[1].running_mean.fill_(torch.nan),
    "infinity": lambda model: model[1].running_var.fill_(torch.inf),
    "tied": lambda model: setattr(model[2], "weight", model[0].weight),
}
VALUES: dict[str, dict[str, Any]] = {
    "plain": {"num_steps": 9, "snapshot_steps": (1, 2)},
    "NumPy": {"num_steps": np.int64(9), "rate": np.float32(0.5)},
    "object": {"x": object()},
}


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("spoil", STATES)
def test_a_state_comes_back_or_is_not_written(tmp_path: Path, spoil: str, values: str) -> None:
    def training() -> tuple[nn.Sequential, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
        if spoil in ("bfloat16", "float64", "tied"):
            STATES[spoil](model)
        return model, torch.optim.AdamW(model.parameters(), fused=True)

    model, optimizer = training()
    dtype = next(model.parameters()).dtype
    model(torch.randn(4, 3, dtype=dtype)).sum().backward()
    optimizer.step()
    STATES[spoil](model)
    best, path = Best(higher_is_better=True), tmp_path / "state"
    best.update(0.5, 1, model)
    path.write_bytes(b"older")
    try:
        save_state(path, model, optimizer, VALUES[values], 1, best)
    except ValueError as error:
        refused_in_a_sentence(error)
        assert path.read_bytes() == b"older"
        assert spoil in ("a NaN that was counted", "infinity") or values == "object"
        return
    assert spoil not in ("a NaN that was counted", "infinity")
    again, its_optimizer = training()
    found = Best(higher_is_better=True)
    assert load_state(path, again, its_optimizer, VALUES[values], found) == 1
    pairs = [(model.state_dict(), again.state_dict()), (best.weights, found.weights)]
    for before, after in pairs:
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)
    averages = optimizer.state_dict()["state"], its_optimizer.state_dict()["state"]
    assert averages[0].keys() == averages[1].keys()
    for number, own in averages[0].items():
        assert all(torch.equal(value, averages[1][number][name]) for name, value in own.items())


TEXT = st.text(st.characters(exclude_categories=[]), max_size=8)
ODD = st.sampled_from(
    ["", "NA", "nan", "007", "1e5", " a", "a\r", "a\nb", '"', ",", "\0", "\udc80"]
)


@settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    ending=st.sampled_from([".csv", ".parquet"]),
    own=st.one_of(
        st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5, unique=True),
        st.lists(st.one_of(TEXT, ODD), min_size=1, max_size=5, unique=True),
    ),
    data=st.data(),
)
def test_ids_come_back_or_are_not_written(
    tmp_path: Path, ending: str, own: list[Any], data: st.DataObject
) -> None:
    path = tmp_path / f"ids{ending}"
    path.write_bytes(b"older")
    titles = data.draw(st.lists(st.one_of(TEXT, ODD), min_size=len(own), max_size=len(own)))
    codes = data.draw(
        st.lists(
            st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=len(own), max_size=len(own)
        )
    )
    ids = SemanticIDs(torch.tensor(codes, dtype=torch.int64), [4, 4])
    kind: Any = np.int64 if isinstance(own[0], int) else object
    item_ids = np.array(own, dtype=kind)
    try:
        write_ids(path, ids.to_frame(item_ids, titles))
    except ValueError as error:
        refused_in_a_sentence(error)
        assert path.read_bytes() == b"older"
        return
    table = read_ids(path, [4, 4], item_ids)
    assert table.ids.sha256 == ids.sha256
    assert table.item_ids.tolist() == own
    assert table.titles == titles


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    numbers=st.lists(st.floats(width=32), min_size=1, max_size=4),
    text=st.one_of(TEXT, ODD),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]),
)
def test_vectors_come_back_as_they_were_or_as_float16_or_are_not_written(
    tmp_path: Path, numbers: list[float], text: str, dtype: torch.dtype
) -> None:
    path, texts = tmp_path / "x.safetensors", [text] * len(numbers)
    path.write_bytes(b"older")
    vectors = torch.tensor(numbers).to(dtype)[:, None]
    try:
        save_embeddings(path, vectors, texts, "a model")
    except ValueError as error:
        refused_in_a_sentence(error)
        assert path.read_bytes() == b"older"
        return
    found, exact = read_embeddings(path, texts), vectors.float()
    if not torch.equal(found, exact):  # float32 is written where float16 would lose a feature
        assert torch.equal(found, vectors.half().float())
        assert found.isfinite().all()
        if exact.max() > exact.min():  # else there is nothing that the feature tells apart
            assert ((found - exact).abs() <= exact.abs().max() * 2.0**-10).all()
