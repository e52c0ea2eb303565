"""Whatever settings of torch and NumPy a caller has, each public function gives the same result.

The functions are those of `rqvae_lib.__all__`, and each has a recipe here: a call that takes a
moment, and what it returns. A name without a recipe fails. Each recipe runs under the defaults and
under each setting, and the results are equal bit for bit. With two threads instead of one, sums
are in another order, so numbers agree to 1e-4. Whatever happens, the caller's settings stay.
"""

import dataclasses
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import rqvae_lib as lib
from rqvae_lib.models.base import Recommender
from tests.helpers import small_dataset

# The settings


@contextmanager
def set_and_restored(
    put: Callable[[Any], object], value: Any, before: Callable[[], Any]
) -> Iterator[None]:
    old = before()
    put(value)
    try:
        yield
    finally:
        put(old)


def default_dtype(dtype: torch.dtype) -> AbstractContextManager[None]:
    return set_and_restored(torch.set_default_dtype, dtype, torch.get_default_dtype)


def default_device(device: str) -> AbstractContextManager[None]:
    return set_and_restored(torch.set_default_device, device, lambda: None)


def matmul_precision(precision: str) -> AbstractContextManager[None]:
    # What was set before cannot be asked for if a backend has a precision of its own.
    return set_and_restored(torch.set_float32_matmul_precision, precision, lambda: "highest")


def backend_precision(backend: str, precision: str) -> AbstractContextManager[None]:
    """The precision of one backend, by the newer of torch's two ways, which do not mix well."""
    return set_and_restored(
        lambda value: torch._C._set_fp32_precision_setter(backend, "matmul", value),
        precision,
        lambda: torch._C._get_fp32_precision_getter(backend, "matmul"),
    )


def threads(count: int) -> AbstractContextManager[None]:
    return set_and_restored(torch.set_num_threads, count, torch.get_num_threads)


def deterministic() -> AbstractContextManager[None]:
    are = torch.are_deterministic_algorithms_enabled
    return set_and_restored(torch.use_deterministic_algorithms, True, are)


SETTINGS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "on meta": lambda: default_device("meta"),
    "within meta": lambda: torch.device("meta"),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "medium precision": lambda: matmul_precision("medium"),
    "high precision": lambda: matmul_precision("high"),
    "bf16 of CPUs": lambda: backend_precision("mkldnn", "bf16"),
    "TF32 of GPUs": lambda: backend_precision("cuda", "tf32"),
    "deterministic": deterministic,
    "NumPy raises": lambda: np.errstate(divide="raise", over="raise", invalid="raise"),
    "two threads": lambda: threads(2),
}
ROUNDED = "two threads"


def as_set() -> dict[str, object]:
    """What the caller has set, as far as torch tells."""
    try:
        older = torch.get_float32_matmul_precision()
    except RuntimeError:  # torch's two ways to set it say different things
        older = "mixed"
    return {
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "inference": torch.is_inference_mode_enabled(),
        "gradients": torch.is_grad_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "precision": older,
        "CPU": torch._C._get_fp32_precision_getter("mkldnn", "matmul"),
        "GPU": torch._C._get_fp32_precision_getter("cuda", "matmul"),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "threads": torch.get_num_threads(),
        "NumPy": np.geterr(),
    }


# What the recipes work on, made once under the defaults

VECTORS = torch.randn(90, 24, generator=torch.Generator().manual_seed(0))
TOKENIZER = lib.RQVAEConfig(24, (16,), 8, codebook_size=6)
TRAINING = replace(lib.RQVAE_TRAINING, num_steps=4, batch_size=32)
STEPS = replace(lib.RECOMMENDER_TRAINING, num_steps=2, batch_size=8)
HISTORIES = [torch.tensor([3, 17, 40]), torch.tensor([], dtype=torch.int64), torch.tensor([8])]
ALLOWED = torch.arange(50)


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dataset = small_dataset()
        self.split = lib.leave_one_out(self.dataset)
        self.tokenizer, _ = lib.train_rqvae(VECTORS, TOKENIZER, TRAINING, progress=False)
        self.ids = self.tokenizer.tokenize(VECTORS)
        self.recommender, _ = lib.train_recommender(
            self.ids, self.split.train, None, STEPS, progress=False
        )
        self.sasrec, _ = lib.train_sasrec(
            self.split.train, lib.SASRecConfig(num_items=90), STEPS, progress=False
        )
        lib.save_rqvae(folder / "rqvae", self.tokenizer)
        lib.save_recommender(folder / "recommender", self.recommender)
        lib.save_sasrec(folder / "sasrec", self.sasrec)
        self.item_ids = self.dataset.items["item_id"].to_numpy()
        lib.write_ids(folder / "ids.csv", self.ids.to_frame(self.item_ids, self.dataset.titles))

    def written(self, name: str, write: Callable[[Path], object]) -> bytes:
        path = self.folder / name
        write(path)
        return path.read_bytes()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


class Encoder:
    """Stands in for a sentence encoder, which takes seconds to load: a matrix product."""

    def __init__(self, *_: object, **__: object) -> None:
        self.weights = torch.randn(64, 24, generator=torch.Generator().manual_seed(1))

    def encode(self, texts: list[str], **_: object) -> Tensor:
        letters = torch.zeros(len(texts), 64)
        for row, text in enumerate(texts):
            for letter in text:
                letters[row, ord(letter) % 64] += 0.37
        return letters @ self.weights


def encoded(world: World) -> Tensor:
    fake = types.SimpleNamespace(SentenceTransformer=Encoder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "sentence_transformers", fake)
        return lib.encode_texts([f"Movie {row}" for row in range(20)], model="none")


def measured(world: World) -> list[object]:
    whole = lib.evaluate(world.recommender, world.split, world.split.test, beams=50)
    exact = lib.evaluate(world.sasrec, world.split, world.split.test)
    return [
        whole,
        exact,
        *(one.mean(metric, 5) for one in (whole, exact) for metric in ("Recall", "NDCG", "MRR")),
        (exact.coverage(5), exact.mean_popularity(5), exact.unseen(5), exact.ranks),
    ]


def compared(world: World) -> object:
    counts = lib.Popularity(world.split.popularity)
    both = [lib.evaluate(model, world.split, world.split.test) for model in (world.sasrec, counts)]
    return lib.difference(*both, "NDCG", 10)


def catalogue(world: World) -> list[object]:
    ids = lib.SemanticIDs(world.ids.codes, world.tokenizer.sizes)
    more = ids.with_new_items(world.ids.codes[:3])
    return [ids, ids.collision_groups(), ids.with_prefix([1]), ids.collision_rate, more]


def item_knn(world: World) -> Tensor:
    return lib.ItemKNN(world.split.train, 90).scores(HISTORIES)


def near_pairs(world: World) -> Tensor:
    return lib.NearPairs(world.split.train, 90).scores(HISTORIES)


def mixture(world: World) -> list[Tensor]:
    counted = lib.Popularity(world.split.popularity)
    return [
        lib.Mixture(model, counted, 0.5).scores(HISTORIES)
        for model in (world.sasrec, world.recommender)
    ]


def tokenized(world: World) -> list[object]:
    model, log = lib.train_rqvae(VECTORS, TOKENIZER, TRAINING, autoencoder_steps=2, progress=False)
    return [model, log, model.tokenize(VECTORS), model.encode(VECTORS)]


def decoder(world: World, config: Any) -> list[object]:
    model, log = lib.train_recommender(world.ids, world.split.train, config, STEPS, progress=False)
    return [model, log, lib.recommend(model, HISTORIES, k=5, beams=20)]


SMALL = {"max_items": 8}
FACE: dict[str, Callable[[World], object]] = {
    "load_model": lambda w: lib.load_model(w.folder / "sasrec"),
    "load_recommender": lambda w: lib.load_recommender(w.folder / "recommender", w.ids),
    "load_rqvae": lambda w: lib.load_rqvae(w.folder / "rqvae"),
    "load_sasrec": lambda w: lib.load_sasrec(w.folder / "sasrec"),
    "save_recommender": lambda w: w.written(
        "again", lambda path: lib.save_recommender(path, w.recommender, w.dataset, w.split)
    ),
    "save_rqvae": lambda w: w.written(
        "again", lambda path: lib.save_rqvae(path, w.tokenizer, w.dataset, VECTORS)
    ),
    "save_sasrec": lambda w: w.written(
        "again", lambda path: lib.save_sasrec(path, w.sasrec, w.dataset, w.split, half=True)
    ),
    "Dataset": lambda w: (lambda d: [d.items, d.interactions, d.user_offsets, d.checksum])(
        lib.Dataset.from_tables(
            w.dataset.interactions.rename(columns={"user": "user_id"}).assign(
                item_id=lambda t: t["item"]
            )[["user_id", "item_id", "rating", "timestamp"]]
        )
    ),
    "Split": lambda w: [
        w.split.histories_and_targets(w.split.test),
        w.split.had_before(w.split.test),
        replace(w.split).popularity,
    ],
    "global_timestamp": lambda w: lib.global_timestamp(w.dataset),
    "leave_last_out": lambda w: lib.leave_last_out(w.dataset, 2),
    "leave_one_out": lambda w: lib.leave_one_out(w.dataset),
    "load_dataset": lambda w: (
        lib.load_dataset(
            interactions=pd.DataFrame(
                {"user_id": [1, 1, 2], "item_id": [5, 6, 5], "timestamp": [3, 2, 1]}
            )
        ).interactions
    ),
    "collaborative_vectors": lambda w: lib.collaborative_vectors(w.split.train, 90, dim=8),
    "item_vectors": lambda w: lib.item_vectors(w.dataset, "collaborative"),
    "encode_texts": encoded,
    "load_embeddings": lambda w: lib.load_embeddings(),
    "difference": compared,
    "evaluate": measured,
    "recommend": lambda w: lib.recommend(
        w.recommender, HISTORIES, k=7, beams=30, allowed=ALLOWED, max_per_prefix=3
    ),
    "score_items": lambda w: lib.score_items(w.recommender, HISTORIES),
    "DecoderOnlyConfig": lambda w: decoder(w, lib.DecoderOnlyConfig(valid_only=True, **SMALL)),
    "EncoderDecoderConfig": lambda w: decoder(w, lib.EncoderDecoderConfig(**SMALL)),
    "RQTransformerConfig": lambda w: decoder(
        w, lib.RQTransformerConfig(prefix_embeddings=False, **SMALL)
    ),
    "SASRecConfig": lambda w: lib.SASRecConfig(num_items=90),
    "ItemKNN": item_knn,
    "Mixture": mixture,
    "NearPairs": near_pairs,
    "Popularity": lambda w: lib.Popularity(w.split.popularity).scores(HISTORIES),
    "SemanticIDs": catalogue,
    "export_ids": lambda w: w.written(
        "ids.jsonl",
        lambda path: lib.export_ids(path, w.ids, w.item_ids, format="catalogue-jsonl"),
    ),
    "read_ids": lambda w: lib.read_ids(w.folder / "ids.csv", w.tokenizer.sizes),
    "write_ids": lambda w: w.written(
        "more.csv",
        lambda path: lib.write_ids(path, w.ids.to_frame(w.item_ids, w.dataset.titles)),
    ),
    "import_ids": lambda w: lib.import_ids(w.folder / "ids.csv"),
    "Trie": lambda w: lib.Trie(w.ids),
    "RQVAEConfig": lambda w: lib.RQVAEConfig.residual_kmeans(24),
    "tokenizer_metrics": lambda w: lib.tokenizer_metrics(w.tokenizer, VECTORS),
    "TrainingConfig": lambda w: lib.TrainingConfig(batch_size=4, num_steps=9).rate_at(3, 9),
    "train_recommender": lambda w: decoder(w, None),
    "train_rqvae": tokenized,
    "train_sasrec": lambda w: (lambda model, log: [model, log, model.scores(HISTORIES)])(
        *lib.train_sasrec(w.split.train, w.sasrec.config, STEPS, progress=False)
    ),
}
CALLABLES = sorted(name for name in lib.__all__ if callable(getattr(lib, name)))


def test_every_public_function_has_a_recipe() -> None:
    assert sorted(FACE) == CALLABLES


# Equal


def parts(value: object) -> object:
    """What a result consists of, in plain parts."""
    if isinstance(value, nn.Module):
        extra = value.ids.sha256 if isinstance(value, Recommender) else ""
        buffers = dict(value.named_buffers())  # also those that no file holds, as of a trie
        return {"training": value.training, "ids": extra} | buffers | dict(value.named_parameters())
    if isinstance(value, lib.SemanticIDs):
        return {"ids": value.ids, "order": value.order, "sizes": value.sizes}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return value.tolist() if isinstance(value, np.ndarray) else value


def assert_same(found: object, expected: object, exact: bool, where: str) -> None:
    found, expected = parts(found), parts(expected)
    assert type(found) is type(expected), where
    if isinstance(found, Tensor) and isinstance(expected, Tensor):
        assert (found.dtype, found.device, found.shape) == (
            *(expected.dtype, expected.device, expected.shape),
        ), where
        assert not found.is_inference(), f"{where} cannot be trained with"
        assert found.requires_grad == expected.requires_grad, where
        if exact or not found.is_floating_point():
            assert torch.equal(found, expected), where
        else:
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4, msg=where)
    elif isinstance(found, pd.DataFrame) and isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected)
    elif isinstance(found, Mapping) and isinstance(expected, Mapping):
        assert list(found) == list(expected), where
        for name, value in found.items():
            assert_same(value, expected[name], exact, f"{where}.{name}")
    elif isinstance(found, list | tuple) and isinstance(expected, list | tuple):
        assert len(found) == len(expected), where
        for place, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert_same(one, other, exact, f"{where}[{place}]")
    elif isinstance(found, float) and not exact:
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-4, nan_ok=True), where
    else:
        assert found == expected, where


class Expected(dict[str, object]):
    """What each recipe returns under the defaults."""

    def __repr__(self) -> str:  # or a failure would print each number
        return "Expected()"


@pytest.fixture(scope="module")
def expected(world: World) -> Expected:
    with threads(1):
        return Expected({name: recipe(world) for name, recipe in FACE.items()})


def check(world: World, expected: Expected, name: str, chosen: tuple[str, ...]) -> None:
    with threads(1), ExitStack() as stack:
        for setting in chosen:
            stack.enter_context(SETTINGS[setting]())
        before = as_set()
        found = FACE[name](world)
        assert as_set() == before, f"{name} leaves other settings than the caller's"
    assert_same(found, expected[name], ROUNDED not in chosen, name)


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_changes_no_result(world: World, expected: Expected, setting: str) -> None:
    for name in CALLABLES:
        check(world, expected, name, (setting,))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(CALLABLES),
    chosen=st.lists(st.sampled_from(list(SETTINGS)), min_size=2, max_size=5, unique=True),
)
def test_settings_together_change_no_result(
    world: World, expected: Expected, name: str, chosen: list[str]
) -> None:
    check(world, expected, name, tuple(chosen))


PRODUCTS = {"linear", "matmul", "__matmul__", "mm", "addmm", "addmm_", "bmm", "baddbmm"}
PRODUCTS |= {"scaled_dot_product_attention"}


class Watching(TorchFunctionMode):
    """Sees every product of matrices, and how precise it is."""

    def __init__(self) -> None:
        super().__init__()
        self.products = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in PRODUCTS:
            self.products += 1
            found = as_set()
            assert {found["CPU"], found["GPU"]} <= {"ieee", "none"}, func
            assert not found["autocast"], func
        return func(*args, **(kwargs or {}))


def test_products_are_precise_also_where_this_processor_could_not_show_it(world: World) -> None:
    """Only some processors have units for bf16, and only GPUs have TF32."""
    counted = {}
    with SETTINGS["medium precision"](), SETTINGS["autocast"]():
        for name in CALLABLES:
            with Watching() as watching:
                FACE[name](world)
            counted[name] = watching.products
        with Watching(), pytest.raises(AssertionError):
            VECTORS @ VECTORS.T  # it would see one
    many = {name for name, products in counted.items() if products > 3}
    assert {"train_rqvae", "tokenizer_metrics", "recommend", "score_items", "evaluate"} <= many
