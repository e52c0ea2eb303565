"""One's own arrays fit one's own functions: all public functions × all kinds of arrays.

Each function is called with tensors, as its documentation says, and then with the same numbers from
other libraries. The result is the same. What is something else is refused in one sentence.
"""

import copy
from collections.abc import Callable
from dataclasses import astuple, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from torch import Tensor, nn

import rqvae_lib
from rqvae_lib.checkpoints.models import load_rqvae, save_rqvae
from rqvae_lib.data.filters import filtered
from rqvae_lib.data.history_lists import as_flat_histories, as_histories
from rqvae_lib.data.splits import Histories, leave_last_out, leave_one_out
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.embeddings.collaborative import collaborative_vectors
from rqvae_lib.evaluation.evaluator import evaluate
from rqvae_lib.evaluation.metrics import mrr_at, ndcg_at, recall_at, top_items
from rqvae_lib.generation.beam_search import recommend
from rqvae_lib.generation.everybody import recommend_to_all
from rqvae_lib.generation.mixture import Mixture
from rqvae_lib.generation.scoring import score_items
from rqvae_lib.io.tensor_files import tensors_sha256
from rqvae_lib.models.base import Recommender
from rqvae_lib.models.configs import DecoderOnlyConfig, SASRecConfig, TransformerConfig
from rqvae_lib.models.item_knn import ItemKNN
from rqvae_lib.models.near_pairs import NearPairs
from rqvae_lib.models.popularity import Popularity
from rqvae_lib.models.registry import new_recommender
from rqvae_lib.models.sasrec import SASRec
from rqvae_lib.ops.kmeans import kmeans, kmeans_plus_plus, nearest
from rqvae_lib.ops.neighbors import nearest_neighbors, trustworthiness
from rqvae_lib.ops.sinkhorn import transport_plan
from rqvae_lib.semantic_ids.catalogue import SemanticIDs, disambiguate
from rqvae_lib.tokenizer import analysis
from rqvae_lib.tokenizer.collisions import keep_codes, resolve
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.health import gini, quantization_errors
from rqvae_lib.tokenizer.metrics import code_usage, tokenizer_metrics
from rqvae_lib.tokenizer.rqvae import RQVAE
from rqvae_lib.training.config import TrainingConfig
from rqvae_lib.training.recipes import (
    new_rqvae,
    train_recommender,
    train_rqvae,
    train_sasrec,
)
from tests.helpers import small_dataset

pytestmark = pytest.mark.usefixtures("one_thread")

DATASET = small_dataset()
SPLIT = leave_one_out(DATASET)
# Whole numbers below 16, so that every type holds them exactly.
VECTORS = torch.randint(-15, 16, (90, 6), generator=torch.Generator().manual_seed(0)).float()
TINY = TransformerConfig(dim=8, num_layers=1, num_heads=2, mlp_dim=8)
CONFIG = RQVAEConfig(6, (8,), 4, num_levels=2, codebook_size=8)
ONE_STEP = TrainingConfig(num_steps=1, batch_size=4)
TOKENIZER = new_rqvae(VECTORS, CONFIG, seed=0)
CODES = TOKENIZER.assign(VECTORS)
IDS = TOKENIZER.tokenize(VECTORS)
HISTORIES = [SPLIT.train[user] for user in (5, 0, 9, 11)]  # user 0 has none


def decoder() -> Recommender:
    torch.manual_seed(0)
    model = new_recommender(DecoderOnlyConfig(TINY, max_items=8), IDS).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model


def sasrec() -> SASRec:
    torch.manual_seed(0)
    return SASRec(SASRecConfig(num_items=90, transformer=TINY, max_items=8)).eval()


MODEL, SASREC, KNN = decoder(), sasrec(), ItemKNN(SPLIT.train, 90)


def numbers_of(result: Any) -> list[Any]:
    """Everything in a result, as plain numbers, to compare."""
    if isinstance(result, Tensor):
        return [result.tolist()]
    if isinstance(result, SemanticIDs):
        return [result.sha256]
    if isinstance(result, Histories):
        return [result.items.tolist(), result.offsets.tolist()]
    if isinstance(result, nn.Module):
        return [tensor.tolist() for tensor in result.state_dict().values()]
    if is_dataclass(result) and not isinstance(result, type):
        return numbers_of(astuple(result))
    if isinstance(result, list | tuple):
        return [number for part in result for number in numbers_of(part)]
    return [result]


# Vectors


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def fit(x: Any) -> RQVAE:
    torch.manual_seed(0)
    model = RQVAE(CONFIG)
    model.fit_to_data(x, generator=seeded())
    return model


OF_VECTORS: dict[str, Callable[[Any], Any]] = {
    "train_rqvae": lambda x: train_rqvae(x, CONFIG, ONE_STEP, autoencoder_steps=1, progress=False)[
        0
    ],
    "train_rqvae, default": lambda x: train_rqvae(
        np.vstack([np.asarray(x)] * 3) if isinstance(x, np.ndarray) else torch.cat([VECTORS] * 3),
        None,
        ONE_STEP,
        autoencoder_steps=0,
        progress=False,
    )[0],
    "new_rqvae": lambda x: new_rqvae(x, CONFIG, seed=0),
    "fit_to_data": fit,
    "tokenize": TOKENIZER.tokenize,
    "assign": TOKENIZER.assign,
    "encode": TOKENIZER.encode,
    "standardize": TOKENIZER.standardize,
    "forward": lambda x: TOKENIZER(x),
    "autoencoder_loss": TOKENIZER.autoencoder_loss,
    "variance_lost": lambda x: TOKENIZER.variance_lost(x, CODES),
    "tokenizer_metrics": lambda x: tokenizer_metrics(TOKENIZER, x),
    "quantization_errors": lambda x: quantization_errors(TOKENIZER, x, CODES),
    "kmeans": lambda x: kmeans(x, 5, generator=seeded()),
    "kmeans from": lambda x: kmeans(VECTORS, 90, initial_centroids=x),
    "kmeans_plus_plus": lambda x: kmeans_plus_plus(x, 5, generator=seeded()),
    "nearest": lambda x: nearest(VECTORS + 0.3, x),
    "nearest to": lambda x: nearest(x, VECTORS[:9] + 0.3),
    "nearest_neighbors": lambda x: nearest_neighbors(x, 3),
    "trustworthiness": lambda x: trustworthiness(x, VECTORS[:, :2], 5),
    "trustworthiness of": lambda x: trustworthiness(VECTORS, x, 5),
    "transport_plan": transport_plan,
    "resolve": lambda x: resolve(x, codes_of_six, books_of_six, keep_codes),
}
codes_of_six = torch.arange(90)[:, None] % 7
books_of_six = VECTORS[None, :7].clone()

KINDS: dict[str, Callable[[Tensor], Any]] = {
    "float16": lambda x: x.half(),
    "int64": lambda x: x.long(),
    "NumPy": lambda x: x.numpy().copy(),
    "NumPy float16": lambda x: x.numpy().astype(np.float16),
    "NumPy int8": lambda x: x.numpy().astype(np.int8),
    "not contiguous": lambda x: np.asfortranarray(x.numpy())[:, ::-1][:, ::-1],
    "DataFrame": lambda x: pd.DataFrame(x.numpy()),
    "polars": lambda x: pl.DataFrame(x.numpy()),
    "lists": lambda x: x.tolist(),
}


def read_only(x: Tensor) -> np.ndarray:
    array = x.numpy().copy()
    array.flags.writeable = False
    return array


KINDS["read-only"] = read_only


@pytest.mark.parametrize("name", OF_VECTORS)
def test_functions_of_vectors(name: str) -> None:
    expected = numbers_of(OF_VECTORS[name](VECTORS.clone()))
    for kind, make in KINDS.items():
        assert numbers_of(OF_VECTORS[name](make(VECTORS.clone()))) == expected, kind


@pytest.mark.parametrize("name", [name for name in OF_VECTORS if name != "train_rqvae, default"])
def test_what_are_no_vectors_is_refused_in_one_sentence(name: str) -> None:
    for wrong in (
        VECTORS[0],
        VECTORS[0].numpy(),
        VECTORS[0].tolist(),
        VECTORS > 0,
        VECTORS.numpy().astype(complex),
        [["a"] * 6] * 90,
        "vectors.npy",
        5,
    ):
        with pytest.raises(ValueError, match=r"one vector, of shape|expected a matrix") as refused:
            OF_VECTORS[name](wrong)
        assert "\n" not in str(refused.value)


# Item rows


def in_kinds(rows: Tensor) -> dict[str, Any]:
    array = rows.numpy()
    return {
        "list": rows.tolist(),
        "tuple": tuple(rows.tolist()),
        "int64": array,
        "int16": array.astype(np.int16),
        "uint8": array.astype(np.uint8),
        "uint64": array.astype(np.uint64),
        "int32": rows.int(),
        "Series": pd.Series(array),
        "nullable": pd.Series(array, dtype="Int64"),
        "Arrow": pd.Series(array, dtype="int64[pyarrow]"),
        "polars": pl.Series(array),
        "not contiguous": np.repeat(array, 2)[::2],
        "objects": array.astype(object),
    }


ALLOWED = torch.tensor([3, 8, 21, 40, 77, 89])
OF_ROWS: dict[str, tuple[Tensor, Callable[[Any], Any]]] = {
    "allowed": (ALLOWED, lambda x: recommend(MODEL, HISTORIES, k=4, allowed=x)),
    "items": (ALLOWED, lambda x: score_items(MODEL, HISTORIES, x)),
    "positions": (SPLIT.test[:20], lambda x: evaluate(KNN, SPLIT, x).lists),
    "histories_and_targets": (SPLIT.test[:20], SPLIT.histories_and_targets),
    "had_before": (SPLIT.test[:20], SPLIT.had_before),
    "user_of": (SPLIT.test[:20], SPLIT.everything.user_of),
    "item_of": (IDS.ids[7], IDS.item_of),
    "with_prefix": (IDS.ids[7][:1], IDS.with_prefix),
    "gini": (ALLOWED, gini),
    "entropy": (ALLOWED % 3, analysis.entropy),
    "purity": (torch.arange(90) % 7, lambda x: analysis.purity(x, torch.arange(90) % 2)),
    "pair_precision": (
        torch.arange(90) % 7, lambda x: analysis.pair_precision(torch.arange(90) % 2, x)
    ),
    "normalized_mutual_information": (
        torch.arange(90) % 7,
        lambda x: analysis.normalized_mutual_information(x, torch.arange(90) % 2),
    ),
    "Histories": (ALLOWED, lambda x: Histories(x, torch.tensor([0, 2, 6]))),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_ROWS)
def test_functions_of_rows(name: str) -> None:
    rows, function = OF_ROWS[name]
    expected = numbers_of(function(rows))
    for kind, same in in_kinds(rows).items():
        if kind == "uint8" and int(rows.max()) > 255:
            continue
        assert numbers_of(function(same)) == expected, kind


@pytest.mark.parametrize(
    "name", [name for name in OF_ROWS if name not in ("entropy", "purity", "pair_precision",
                                                      "normalized_mutual_information")]
)  # fmt: skip
def test_what_are_no_rows_is_refused_in_one_sentence(name: str) -> None:
    _, function = OF_ROWS[name]
    for wrong in (
        torch.ones(3, dtype=torch.bool),
        np.ones(3, bool),
        [True, False],
        torch.tensor([1.0, 2.0]),
        np.array([1.5]),
        ["1"],
        "12",
        5,
    ):
        with pytest.raises(ValueError, match=r"mask|row numbers|whole number") as refused:
            function(wrong)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("bad", [[-1], [10**6], np.array([2**63], np.uint64)])
def test_rows_outside_are_refused_and_wrap_around_nowhere(bad: Any) -> None:
    for name in ("allowed", "items", "positions", "histories_and_targets", "had_before", "user_of"):
        with pytest.raises(ValueError, match=r"pass|expected"):
            OF_ROWS[name][1](bad)
    assert IDS.item_of([-1, 0, 0]) is None
    assert len(IDS.with_prefix([-1])) == 0
    assert IDS.item_of([2**40, 0, 0]) is None


def test_matrices_of_codes() -> None:
    functions: list[Callable[[Any], Any]] = [
        lambda x: SemanticIDs(x, 8),
        lambda x: SemanticIDs(x, np.array([8, 8])),
        lambda x: IDS.with_new_items(x),
        disambiguate,
        lambda x: analysis.prefix_groups(x, 1),
        analysis.expected_collision_rate,
        analysis.conditional_entropies,
        lambda x: code_usage(x, 8),
        TOKENIZER.quantizer.decode,
        lambda x: TOKENIZER.variance_lost(VECTORS, x),
        lambda x: quantization_errors(TOKENIZER, VECTORS, x),
        lambda x: resolve(TOKENIZER.encode(VECTORS), x, TOKENIZER.quantizer.codebooks, keep_codes),
    ]
    array = CODES.numpy()
    for function in functions:
        expected = numbers_of(function(CODES))
        for same in (
            array, array.astype(np.uint8), array.tolist(), pd.DataFrame(array), CODES.int(),
            np.asfortranarray(array),
        ):  # fmt: skip
            assert numbers_of(function(same)) == expected
        for wrong in (CODES.float(), CODES > 3, "codes"):
            with pytest.raises(ValueError, match=r"mask|row numbers"):
                function(wrong)


def test_codes_outside_a_codebook_are_not_counted() -> None:
    with pytest.raises(ValueError, match="the codes are from 0 to 8; expected 0 to 7"):
        code_usage([[0], [8]], 8)


def test_one_item_or_user() -> None:
    for seven in (7, np.uint8(7), torch.tensor(7)):
        assert IDS.id_of(seven) == tuple(IDS.ids[7].tolist())
        assert torch.equal(SPLIT.train[seven], SPLIT.train[7])  # type: ignore[index]
        position = int(SPLIT.test[3])
        assert torch.equal(
            SPLIT.everything.before(np.int32(position)), SPLIT.everything.before(position)
        )
    for bad in (True, 1.0, "7", None):
        with pytest.raises(ValueError, match="expected one whole number"):
            IDS.id_of(bad)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="expected one whole number"):
            SPLIT.train[bad]  # type: ignore[index]


# Histories

OF_HISTORIES: dict[str, Callable[[Any], Any]] = {
    "recommend": lambda h: recommend(MODEL, h, k=4),
    "forbidden": lambda h: recommend(MODEL, HISTORIES, k=4, forbidden=h),
    "score_items": lambda h: score_items(MODEL, h),
    "encode_history": lambda h: MODEL.encode_history(h).hidden,
    "SASRec": SASREC.scores,
    "ItemKNN": KNN.scores,
    "NearPairs": NearPairs(SPLIT.train, 90).scores,
    "NearPairs, train": lambda h: NearPairs(h, 90).scores(HISTORIES),
    "Mixture": Mixture(MODEL, Popularity(SPLIT.popularity), 0.5).scores,
    "Popularity": Popularity(SPLIT.popularity).scores,
    "ItemKNN, train": lambda h: ItemKNN(h, 90).scores(HISTORIES),
    "collaborative_vectors": lambda h: collaborative_vectors(h, 90, dim=4),
    "train_recommender": lambda h: train_recommender(
        IDS, h, DecoderOnlyConfig(TINY, max_items=4), ONE_STEP, progress=False
    )[0],
    "train_sasrec": lambda h: train_sasrec(
        h, SASRecConfig(num_items=90, transformer=TINY, max_items=4), ONE_STEP, progress=False
    )[0],
}


@pytest.mark.parametrize("name", OF_HISTORIES)
def test_functions_of_histories(name: str) -> None:
    function = OF_HISTORIES[name]
    flat = as_flat_histories(HISTORIES)
    expected = numbers_of(function(HISTORIES if "train" not in name else flat))
    kinds: dict[str, Any] = {kind: [] for kind in in_kinds(HISTORIES[0])}
    for history in HISTORIES:
        for kind, same in in_kinds(history).items():
            kinds[kind].append(same)
    kinds |= {
        "Histories": flat,
        "tuple of them": tuple(HISTORIES),
        "empty of another type": [history if len(history) else [] for history in HISTORIES],
        "empty floats": [history if len(history) else torch.empty(0) for history in HISTORIES],
        "Series of lists": pd.Series([history.tolist() for history in HISTORIES]),
        "polars lists": pl.Series([history.tolist() for history in HISTORIES]),
        "a generator": (history for history in HISTORIES),
    }
    for kind, same in kinds.items():
        assert numbers_of(function(same)) == expected, kind


@pytest.mark.parametrize("name", OF_HISTORIES)
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (HISTORIES[0], r"is one history .* pass \[history\]"),
        (HISTORIES[0].tolist(), r"is one history .* pass \[history\]"),
        (HISTORIES[0].numpy(), r"is one history .* pass \[history\]"),
        (pd.Series(HISTORIES[0].numpy()), r"is one history .* pass \[history\]"),
        (SPLIT, r"is a split; .* split\.train"),
        ({1: HISTORIES[0]}, r"is a dictionary; .*\.values\(\)"),
        (5, r"is of type int; expected a list of histories"),
        ("ab", r"is of type str; expected a list of histories"),
        ([HISTORIES[0].float()], r"\[0\] holds numbers of type torch.float32"),
        ([HISTORIES[0], HISTORIES[0] > 3], r"\[1\] is a mask"),
        ([["a"]], r"\[0\] holds 'a'"),
    ],
)
def test_what_are_no_histories_is_refused_in_one_sentence(
    name: str, wrong: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        OF_HISTORIES[name](wrong)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", [name for name in OF_HISTORIES if name != "Popularity"])
@pytest.mark.parametrize("bad", [[-1, 3], [3, 90]])
def test_items_outside_the_catalogue_are_refused(name: str, bad: list[int]) -> None:
    for wrong in (bad, np.array(bad), torch.tensor(bad)):
        with pytest.raises(ValueError, match=r"catalogue (holds|has) items 0 to 89"):
            OF_HISTORIES[name]([wrong, [1, 2], [3], []])


def test_nobody() -> None:
    assert as_histories([]) == []
    assert recommend(MODEL, [], k=3).items.shape == (0, 3)
    assert SASREC.scores([]).shape == KNN.scores([]).shape == (0, 90)


# Counts


EVALUATION = evaluate(KNN, SPLIT, SPLIT.test[:20])
POINTS = torch.randn(90, 2, generator=torch.Generator().manual_seed(1))
COUNTS: dict[str, Callable[[Any], Any]] = {
    "kmeans, num_clusters": lambda n: kmeans(VECTORS, n, generator=seeded()),
    "kmeans, num_iterations": lambda n: kmeans(VECTORS, 4, generator=seeded(), num_iterations=n),
    "kmeans, num_candidates": lambda n: kmeans(VECTORS, 4, generator=seeded(), num_candidates=n),
    "kmeans_plus_plus": lambda n: kmeans_plus_plus(VECTORS, n, generator=seeded()),
    "nearest_neighbors": lambda n: nearest_neighbors(VECTORS, n),
    "trustworthiness": lambda n: trustworthiness(VECTORS, POINTS, n),
    "transport_plan": lambda n: transport_plan(VECTORS, num_iterations=n),
    "collaborative_vectors, N": lambda n: collaborative_vectors([[0, 1, 2, 0, 2]], n, dim=2),
    "collaborative_vectors, dim": lambda n: collaborative_vectors(SPLIT.train, 90, dim=n),
    "collaborative_vectors, window": lambda n: collaborative_vectors(
        SPLIT.train, 90, dim=4, window=n
    ),
    "recommend, k": lambda n: recommend(MODEL, HISTORIES, k=n),
    "recommend, beams": lambda n: recommend(MODEL, HISTORIES, k=2, beams=n),
    "recommend, max_per_prefix": lambda n: recommend(MODEL, HISTORIES, k=4, max_per_prefix=n),
    "recommend, batch_size": lambda n: recommend(MODEL, HISTORIES, k=2, batch_size=n),
    "score_items, chunk_size": lambda n: score_items(MODEL, HISTORIES, chunk_size=n),
    "score_items, batch_size": lambda n: score_items(MODEL, HISTORIES, batch_size=n),
    "evaluate, batch_size": lambda n: evaluate(KNN, SPLIT, SPLIT.test[:20], batch_size=n).lists,
    "Evaluation.mean": lambda n: EVALUATION.mean("NDCG", n),
    "Evaluation.coverage": EVALUATION.coverage,
    "top_items": lambda n: top_items(POINTS.T, n, [[], []]),
    "recall_at": lambda n: recall_at(EVALUATION.ranks, n),
    "ndcg_at": lambda n: ndcg_at(EVALUATION.ranks, n),
    "mrr_at": lambda n: mrr_at(EVALUATION.ranks, n),
    "leave_last_out": lambda n: leave_last_out(DATASET, n).test,
    "filtered, k_core": lambda n: filtered(DATASET, k_core=n).dataset.name,
    "filtered, min_interactions": lambda n: filtered(DATASET, min_interactions=n).steps,
    "SemanticIDs, one size": lambda n: SemanticIDs([[0, 1], [2, 1]], n),
    "SemanticIDs, sizes": lambda n: SemanticIDs([[0, 1], [2, 1]], [n, n]),
    "ItemKNN, N": lambda n: ItemKNN([[0, 1, 2], [0, 2]], n).similarity.toarray().tolist(),
    "ItemKNN, num_neighbors": lambda n: ItemKNN(SPLIT.train, 90, num_neighbors=n).scores([[3]]),
    "ItemKNN, last": lambda n: ItemKNN(SPLIT.train, 90, last=n).scores([[3, 4, 5, 6]]),
    "NearPairs, N": lambda n: NearPairs([[0, 1, 2], [0, 2]], n).similarity.toarray().tolist(),
    "NearPairs, window": lambda n: NearPairs(SPLIT.train, 90, window=n).scores([[3]]),
    "NearPairs, last": lambda n: NearPairs(SPLIT.train, 90, last=n).scores([[3, 4, 5, 6]]),
    "new_rqvae, seed": lambda n: new_rqvae(VECTORS, CONFIG, seed=n),
    "train_rqvae, autoencoder_steps": lambda n: train_rqvae(
        VECTORS, CONFIG, ONE_STEP, autoencoder_steps=n, progress=False
    )[0],
}


@pytest.mark.parametrize("name", COUNTS)
def test_a_count_is_a_whole_number_of_any_type_and_nothing_else(name: str) -> None:
    function = COUNTS[name]
    expected = numbers_of(function(3))
    for same in (np.int64(3), np.uint8(3), torch.tensor(3)):
        assert numbers_of(function(same)) == expected
    for wrong in (2.5, 3.0, np.float64(3), torch.tensor(3.0), float("nan"), True, "3", -1):
        if wrong == -1 and name == "new_rqvae, seed":
            continue  # torch knows such seeds
        with pytest.raises(ValueError, match=r"(is|has|and) (\S+|code \d)") as refused:
            function(wrong)
        assert "\n" not in str(refused.value)
        assert "rqvae_lib" in refused.traceback[-1].path.as_posix()  # not from torch or NumPy


def test_all_the_same_items_do_not_belong_to_all_users() -> None:
    """Offsets that do not say whose the items are."""
    for offsets in ([], [5], [3, 5], [-1, 5], [0, 4, 2, 5]):
        with pytest.raises(ValueError, match=r"offsets are .* add up the lengths"):
            Histories([0, 1, 2, 3, 4], offsets)  # type: ignore[arg-type]
    assert [list(one) for one in as_histories(Histories([7, 8], [0, 0, 2, 2]))] == [[], [7, 8], []]  # type: ignore[arg-type]


def test_another_object_in_a_models_place_is_told_what_is_expected(tmp_path: Any) -> None:
    of_ids: list[Callable[[Any], Any]] = [
        lambda model: recommend(model, HISTORIES),
        lambda model: score_items(model, HISTORIES),
        lambda model: recommend_to_all(tmp_path / "a.csv", model, DATASET, progress=False),
    ]
    for function in of_ids:
        for wrong in (SASREC, KNN, TOKENIZER, "movielens-small-2016", None):
            with pytest.raises(ValueError, match="expected a generative recommender"):
                function(wrong)
    one: dict[str, Any] = {"training": ONE_STEP, "progress": False}
    with pytest.raises(ValueError, match="start_from is a str; expected an RQVAE"):
        train_rqvae(VECTORS, start_from="movielens-small-2016", **one)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="ids is a Tensor; expected SemanticIDs"):
        train_recommender(CODES, SPLIT.train, **one)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="config is None; expected a SASRecConfig"):
        train_sasrec(SPLIT.train, None, **one)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="there is no dataset named ''"):
        load_dataset("")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_a_tokenizer_of_16_bits_is_measured_and_trained_further(kind: torch.dtype) -> None:
    rounded = copy.deepcopy(TOKENIZER).to(kind)
    metrics = tokenizer_metrics(rounded, VECTORS)
    widened = copy.deepcopy(rounded).float()
    assert metrics.collision_rate == pytest.approx(
        tokenizer_metrics(widened, VECTORS).collision_rate, abs=0.05
    )
    found, _ = train_rqvae(VECTORS, None, ONE_STEP, start_from=rounded, progress=False)
    expected, _ = train_rqvae(VECTORS, None, ONE_STEP, start_from=widened, progress=False)
    assert numbers_of(found) == numbers_of(expected)
    assert rounded.mean.dtype == kind  # the caller's model stays as it is


# What a function returns is the caller's, and what it was given stays the caller's


def test_writing_into_a_result_changes_no_data_and_no_model() -> None:
    """As who masks items of a history does, or sets the scores of what a user had to −∞."""
    data, order = SPLIT.everything.items.clone(), IDS.order.clone()
    histories, targets = SPLIT.histories_and_targets(SPLIT.test[:4])
    results = [*histories, targets, SPLIT.train[5], SPLIT.everything.before(int(SPLIT.test[3]))]
    results += [*IDS.collision_groups(), IDS.with_prefix(IDS.ids[0, :1])]
    assert len(IDS.collision_groups()) > 1
    for result in results:
        result.fill_(0)
    DATASET.user_history(DATASET.user_ids[5])[:] = 0
    assert torch.equal(SPLIT.everything.items, data)
    assert torch.equal(leave_one_out(DATASET).everything.items, data)
    assert torch.equal(IDS.order, order)
    counts = torch.arange(90.0)
    for model in (Popularity(counts), KNN, SASREC):
        before = model.scores([[3], [5]]).clone()
        found = model.scores([[3], [5]])
        found[0, 3] = -torch.inf
        assert float(found[1, 3]) == float(before[1, 3])
        counts.fill_(7)
        assert torch.equal(model.scores([[3], [5]]), before)


def test_a_tokenizer_of_ones_own_array_is_saved_with_it(tmp_path: Path) -> None:
    """The card is the same whatever held the numbers, so the commands take the file."""
    cards = []
    for vectors in (VECTORS, VECTORS.numpy(), VECTORS.double(), VECTORS.tolist()):
        save_rqvae(tmp_path / "model", TOKENIZER, DATASET, vectors)
        cards.append(load_rqvae(tmp_path / "model")[1])
    assert cards[0] == cards[1] == cards[2] == cards[3]
    assert tensors_sha256(VECTORS) in cards[0].values()
    with pytest.raises(ValueError, match="vectors is one vector"):
        save_rqvae(tmp_path / "model", TOKENIZER, DATASET, VECTORS[0])


# What one function returns, another takes


def test_what_a_dataset_returns_is_what_the_models_take(tmp_path: Any) -> None:
    user = DATASET.user_ids[7]
    history = DATASET.user_history(user)
    expected = recommend(MODEL, [torch.from_numpy(history)], k=4, allowed=ALLOWED)
    found = recommend(MODEL, [history], k=4, allowed=DATASET.item_index(ALLOWED.tolist()))
    assert numbers_of(found) == numbers_of(expected)
    everybody = recommend(MODEL, SPLIT.everything, k=4)
    assert everybody.items[7].tolist() == recommend(MODEL, [history], k=4).items[0].tolist()
    path = tmp_path / "all.parquet"
    rows = np.array([7, 3], np.uint8)
    recommend_to_all(path, MODEL, DATASET, users=rows, k=4, progress=False)
    written = pd.read_parquet(path)
    assert written["user_id"].drop_duplicates().tolist() == DATASET.user_ids[rows].tolist()
    assert DATASET.item_index(written["item_id"][:4]).tolist() == everybody.items[7].tolist()
    for bad, message in (([1.5], "users holds numbers of"), ([-1], "users are from -1 to -1")):
        with pytest.raises(ValueError, match=message):
            recommend_to_all(tmp_path / "b.csv", MODEL, DATASET, users=bad, progress=False)


def test_every_public_function_is_tried_here() -> None:
    """Or takes no arrays."""
    tried = {
        "Dataset", "ItemKNN", "Mixture", "NearPairs", "Popularity", "SemanticIDs", "Split",
        "collaborative_vectors", "evaluate", "recommend", "score_items", "tokenizer_metrics",
        "train_recommender", "train_rqvae", "train_sasrec",
    }  # fmt: skip
    of_ids = {"export_ids", "import_ids", "read_ids", "write_ids"}  # tests/data/test_id_types.py
    others = {
        "DecoderOnlyConfig", "EncoderDecoderConfig", "RECOMMENDER_TRAINING", "RQTransformerConfig",
        "RQVAEConfig", "RQVAE_TRAINING", "SASRecConfig", "TrainingConfig", "Trie", "difference",
        "encode_texts", "global_timestamp", "item_vectors", "leave_last_out", "leave_one_out",
        "load_dataset", "load_embeddings", "load_model", "load_recommender", "load_rqvae",
        "load_sasrec", "save_recommender", "save_rqvae", "save_sasrec",
    }  # fmt: skip
    assert set(rqvae_lib.__all__) == tried | of_ids | others
