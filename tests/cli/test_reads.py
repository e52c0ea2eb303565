"""A command does once what takes long.

Counted are: data sets loaded, safetensors files opened, splits made, items counted, and data, texts
and vectors hashed. How often a loader opens its tables is not counted: for your own CSV files it is
twice, since the header is read first.
"""

from collections import Counter
from collections.abc import Callable
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.splits import Split
from tests.cli.running import succeeds

SHAPE = ("--codebook-size", 8, "--levels", 2)
BOTH = ("--content", "both")
BRIEFLY = ("--steps", 2)
RQVAE, RECOMMENDER, SASREC = (
    f"runs/{name}.safetensors" for name in ("rqvae", "recommender", "sasrec")
)


@pytest.fixture(scope="module")
def trained(quick: None, shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of each kind."""
    folder = tmp_path_factory.mktemp("trained")
    data, texts = ("--dataset", shop), ("--embeddings", shop / "vectors.safetensors")
    succeeds("train-rqvae", *data, *texts, *BOTH, *SHAPE, *BRIEFLY, folder=folder)
    succeeds("train-recommender", *data, *texts, *BRIEFLY, folder=folder)
    succeeds("train-sasrec", *data, *BRIEFLY, folder=folder)
    return folder


@pytest.fixture
def work(quick: None, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what costs time, by what it is done to."""
    count: Counter[str] = Counter()

    def watch(module: str, name: str, what: Callable[[Any, Any], str]) -> None:
        """Count the calls of a function; `what` names them by their first argument and result."""
        place = import_module(f"rqvae_lib.{module}")
        original = getattr(place, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            count[what(args[0], result)] += 1
            return result

        monkeypatch.setattr(place, name, counted)

    def watch_property(kind: type, name: str, what: str) -> None:
        found = kind.__dict__[name]
        assert isinstance(found, cached_property)
        original = found.func

        def counted(owner: Any) -> Any:
            count[what] += 1
            return original(owner)

        monkeypatch.setattr(found, "func", counted)

    for module in ("io.tensor_files", "embeddings.text"):
        watch(module, "safe_open", lambda path, _: f"open {Path(path).name}")
    watch("data.splits", "_histories", lambda *_: "split")
    for module in ("embeddings.item_vectors", "training.recipes", "data.splits"):
        watch(module, "tensors_sha256", lambda _, digest: f"hash {digest}")
    watch("embeddings.text", "texts_sha256", lambda _, digest: f"hash texts {digest}")
    watch("datasets.registry", "load_dataset", lambda *_: "data")
    watch_property(Split, "popularity", "popularity")
    watch_property(Dataset, "checksum", "hash data")
    watch_property(Dataset, "items_checksum", "hash items")
    return count


EMBEDDINGS = {"open vectors.safetensors"}
COMMANDS: dict[str, tuple[tuple[object, ...], set[str]]] = {
    # The options, and what is done: nothing else of this kind, and each of it once.
    "train-rqvae": (
        (*BOTH, *SHAPE, *BRIEFLY, "--snapshots", "1,2"),
        {"split", "hash data", "hash items", "open rqvae-state.safetensors", *EMBEDDINGS},
    ),
    "train-rqvae of texts": (
        (*SHAPE, *BRIEFLY),
        {"hash data", "hash items", "open rqvae-state.safetensors", *EMBEDDINGS},
    ),
    "train-rqvae from another": (
        (*BOTH, *BRIEFLY, "--start-from", RQVAE, "--output", "more"),
        {
            *("split", "hash data", "hash items", "open rqvae.safetensors"),
            *("open rqvae-state.safetensors", *EMBEDDINGS),
        },
    ),
    "train-rqvae, residual k-means": (
        ("--residual-kmeans", *SHAPE),
        {"hash data", "hash items", *EMBEDDINGS},
    ),
    "compare-tokenizers": ((*BOTH, *SHAPE, *BRIEFLY, "--seeds", 2), {"split", *EMBEDDINGS}),
    "inference-rqvae": (
        ("--tokenizer", RQVAE),
        {"split", "hash data", "open rqvae.safetensors", *EMBEDDINGS},
    ),
    "train-recommender": (
        ("--tokenizer", RQVAE, *BRIEFLY),
        {
            *("split", "popularity", "hash data", "hash items", "open rqvae.safetensors"),
            *EMBEDDINGS,
        },
    ),
    "train-sasrec": (BRIEFLY, {"split", "popularity", "hash data", "hash items"}),
    "evaluate": (
        ("item-knn", RECOMMENDER, SASREC, RECOMMENDER, "--mix", "near-pairs"),
        {
            *("split", "popularity", "hash data"),
            *("open recommender.safetensors", "open sasrec.safetensors"),
        },
    ),
    "recommend": (
        ("--user", "user07", "--model", RECOMMENDER),
        {"hash items", "open recommender.safetensors"},
    ),
    "recommend to all": (
        ("--all", "--output", "all.parquet", "--model", RECOMMENDER),
        {"hash data", "hash items", "open recommender.safetensors"},
    ),
}
WITH_TEXTS = ("train-rqvae", "compare-tokenizers", "inference-rqvae", "train-recommender")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_does_nothing_twice(
    name: str, shop: Path, trained: Path, tmp_path: Path, work: Counter[str]
) -> None:
    (tmp_path / "runs").mkdir()
    for path in (trained / "runs").glob("*.safetensors"):
        if not path.stem.endswith("-state"):
            (tmp_path / "runs" / path.name).write_bytes(path.read_bytes())
    options, expected = COMMANDS[name]
    command = name.replace(",", "").split()[0]
    texts = ("--embeddings", shop / "vectors.safetensors") if command in WITH_TEXTS else ()
    succeeds(command, "--dataset", shop, *texts, *options, folder=tmp_path)
    assert {what: times for what, times in work.items() if times > 1} == {}
    found = {what for what in work if not what.startswith("hash ") or what.split()[1] in NAMED}
    assert found == expected | {"data"}


NAMED = ("data", "items")  # what is hashed besides has its digest for a name


def test_a_resumed_training_reads_its_state_when_it_starts_and_when_it_ends(
    shop: Path, tmp_path: Path, work: Counter[str]
) -> None:
    """In between the file may have been written again: at the end it says which step was kept."""
    texts = ("--embeddings", shop / "vectors.safetensors")
    command = ("train-rqvae", "--dataset", shop, *texts, *SHAPE, *BRIEFLY)
    succeeds(*command, folder=tmp_path)
    work.clear()
    succeeds(*command, "--resume", folder=tmp_path)
    assert {what: times for what, times in work.items() if times > 1} == {
        "open rqvae-state.safetensors": 2
    }


def test_what_is_done_twice_would_be_seen(shop: Path, work: Counter[str]) -> None:
    """Or the tests above would pass whatever a command did."""
    registry, vectors, splits, files = (
        import_module(f"rqvae_lib.{name}")
        for name in (
            *("datasets.registry", "embeddings.item_vectors", "data.splits"),
            "checkpoints.models",
        )
    )
    for _ in range(2):
        dataset = registry.load_dataset(shop)
        split = splits.leave_one_out(dataset)
        _ = split.popularity, split.popularity, dataset.checksum, dataset.items_checksum
        known = vectors.item_vectors(dataset, "both", shop / "vectors.safetensors", split)
        _ = known.text_sha256, known.text_sha256, known.sha256, known.sha256
        files.load_rqvae("movielens-small-2016")
    assert set(work.values()) == {2}
    digests = [what for what in work if what.startswith("hash ") and len(what) > 50]
    assert len(digests) == 3  # of the texts, of their vectors, and of all vectors
    assert work.keys() - set(digests) == {
        *("data", "split", "popularity", "hash data", "hash items", "open vectors.safetensors"),
        "open movielens-small-2016-rqvae.safetensors",
    }
