"""A bundle: versions that come back whole, or not at all; and appends that move no published ID."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from rqvae_lib.checkpoints.append import append_items, read_arrivals
from rqvae_lib.checkpoints.bundle import (
    Bundle,
    bundle_versions,
    load_bundle,
    new_bundle,
    write_bundle,
)
from rqvae_lib.checkpoints.manifest import read_manifest
from rqvae_lib.data.tables import ITEM_DTYPES
from rqvae_lib.generation.scoring import score_items
from rqvae_lib.io.tensor_files import CheckpointError
from rqvae_lib.models.configs import DecoderOnlyConfig, RQTransformerConfig, TransformerConfig
from rqvae_lib.models.registry import new_recommender
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.health import quantization_errors
from rqvae_lib.training.recipes import new_rqvae

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = TransformerConfig(dim=8, num_layers=1, num_heads=2, mlp_dim=8)
OLD = 30
FILES = ("tokenizer.safetensors", "ids.parquet", "items.parquet", "recommender.safetensors")


def vectors_of(first: int, count: int) -> Tensor:
    """Vectors that depend on the item alone, of so few kinds that codes collide."""
    rows = [
        np.random.default_rng(item % 13).standard_normal(6) for item in range(first, first + count)
    ]
    return torch.tensor(np.array(rows).reshape(count, 6), dtype=torch.float32)


def items_of(first: int, count: int, kind: str = "int64") -> pd.DataFrame:
    numbers = [100 + item for item in range(first, first + count)]
    table = {
        "item_id": [str(number) for number in numbers] if kind == "string" else numbers,
        "title": [None if number % 7 == 0 else f'A "title", {number}' for number in numbers],
        "year": [None if number % 5 == 0 else 1990 for number in numbers],
        "genres": ["" if number % 3 == 0 else "Drama|War" for number in numbers],
        "text": [f"Text {number}." for number in numbers],
    }
    return pd.DataFrame(table).astype(ITEM_DTYPES | {"item_id": kind})


def bundle(kind: str = "int64", with_recommender: bool = True, content: str = "text") -> Bundle:
    vectors = vectors_of(0, OLD)
    config = RQVAEConfig(6, num_levels=2, codebook_size=4, hidden_dims=(5,), latent_dim=3)
    tokenizer = new_rqvae(vectors, config, seed=0).eval()
    torch.manual_seed(0)
    recommender, card = None, None
    if with_recommender:
        ids = tokenizer.tokenize(vectors)
        recommender = new_recommender(RQTransformerConfig(SMALL, max_items=5), ids).eval()
        card = {"items": "of the old ones", "seed": 3}
    return new_bundle(
        tokenizer, {"content": content}, items_of(0, OLD, kind), vectors,
        recommender=recommender, recommender_card=card, encoder="an encoder",
    )  # fmt: skip


def grown(before: Bundle, count: int) -> Bundle:
    first, kind = len(before.ids), str(before.items["item_id"].dtype)
    return append_items(before, items_of(first, count, kind), vectors_of(first, count))


def assert_same(first: Bundle, second: Bundle) -> None:
    assert first.version == second.version
    assert first.ids.sha256 == second.ids.sha256
    pd.testing.assert_frame_equal(first.items, second.items)
    assert torch.equal(first.errors, second.errors)
    assert first.trained_items == second.trained_items
    assert first.encoder == second.encoder
    assert first.tokenizer_card == second.tokenizer_card
    assert first.recommender_card == second.recommender_card
    pairs = [(first.tokenizer, second.tokenizer), (first.recommender, second.recommender)]
    for one, other in pairs:
        if one is None or other is None:
            assert one is other
            continue
        states = one.state_dict(), other.state_dict()
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


# Versions


@pytest.mark.parametrize("kind", ["int64", "string"])
@pytest.mark.parametrize("with_recommender", [True, False])
def test_every_version_comes_back_as_it_was_written(
    tmp_path: Path, kind: str, with_recommender: bool
) -> None:
    written = [write_bundle(tmp_path / "b", bundle(kind, with_recommender))]
    written.append(write_bundle(tmp_path / "b", grown(written[0], 4)))
    written.append(write_bundle(tmp_path / "b", grown(written[1], 1)))
    assert bundle_versions(tmp_path / "b") == [1, 2, 3]
    for version, expected in enumerate(written, 1):
        assert_same(load_bundle(tmp_path / "b", version), expected)
    assert_same(load_bundle(tmp_path / "b"), written[-1])
    manifest = read_manifest(tmp_path / "b")
    assert (manifest.version, manifest.parent) == (3, 2)
    assert (manifest.items, manifest.new_items, manifest.trained_items) == (35, 1, 30)
    assert manifest.health == written[-1].health
    assert manifest.health is not None
    assert manifest.health.drift is not None
    assert manifest.health.drift.items == 5


def test_the_same_append_writes_the_same_files(tmp_path: Path) -> None:
    for name in "ab":
        write_bundle(tmp_path / name, bundle())
        write_bundle(tmp_path / name, grown(load_bundle(tmp_path / name), 7))
    for name in FILES:
        first, second = (tmp_path / folder / "v0002" / name for folder in "ab")
        assert first.read_bytes() == second.read_bytes()


class Killed(BaseException):
    """Ends a process's work where it stands."""


@pytest.mark.parametrize("writes", range(5))
def test_a_version_that_was_not_finished_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    first = write_bundle(tmp_path, bundle())
    before = {path: path.read_bytes() for path in (tmp_path / "v0001").iterdir()}
    original, left = Path.replace, [writes]

    def replace(path: Path, target: Path) -> Path:
        if left[0] == 0:
            raise Killed
        left[0] -= 1
        return original(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", replace)
        with pytest.raises(Killed):
            write_bundle(tmp_path, grown(first, 3))
    assert bundle_versions(tmp_path) == [1]
    assert_same(load_bundle(tmp_path), first)
    second = write_bundle(tmp_path, grown(load_bundle(tmp_path), 3))
    assert_same(load_bundle(tmp_path), second)
    assert {path: path.read_bytes() for path in (tmp_path / "v0001").iterdir()} == before
    assert sorted(path.name for path in (tmp_path / "v0002").iterdir()) == sorted(
        [*FILES, "manifest.json"]
    )


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_no_killed_process_left_is_not_replaced(tmp_path: Path, name: str) -> None:
    """A folder `v0001` without a manifest may be somebody else's."""
    mine = tmp_path / "v0001" / name
    mine.parent.mkdir()
    frame = pd.DataFrame({"a": [1, 2]})
    frame.to_parquet(mine) if name.endswith("parquet") else mine.write_bytes(b"mine")
    before = mine.read_bytes()
    with pytest.raises(ValueError, match=rf"{name} exists and is not a file of an unfinished"):
        write_bundle(tmp_path, bundle())
    assert [path.name for path in mine.parent.iterdir()] == [name]
    assert mine.read_bytes() == before
    assert_same(write_bundle(tmp_path, bundle(), overwrite=True), load_bundle(tmp_path))


def test_only_the_folder_of_a_version_is_one(tmp_path: Path) -> None:
    first = write_bundle(tmp_path, bundle())
    for name in ("v00002", "v000000001", "v2", "v0003x"):
        shutil.copytree(tmp_path / "v0001", tmp_path / name)
    assert bundle_versions(tmp_path) == [1]
    assert_same(load_bundle(tmp_path), first)
    assert write_bundle(tmp_path, grown(first, 2)).version == 2


def test_nobody_passes_over_anothers_version(tmp_path: Path) -> None:
    first = write_bundle(tmp_path, bundle())
    write_bundle(tmp_path, grown(first, 2))
    with pytest.raises(ValueError, match="has the current version 2, but this bundle comes from"):
        write_bundle(tmp_path, grown(first, 3))
    with pytest.raises(ValueError, match="append to that, or name a new folder"):
        write_bundle(tmp_path, bundle())
    assert bundle_versions(tmp_path) == [1, 2]


def test_what_is_no_bundle_is_not_one(tmp_path: Path) -> None:
    (tmp_path / "v0001").mkdir()
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / "manifest.json").write_text("{}")
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert bundle_versions(folder) == []
        with pytest.raises(FileNotFoundError, match="holds no bundle: name"):
            load_bundle(folder)
    write_bundle(tmp_path, bundle())
    with pytest.raises(FileNotFoundError, match="holds no version 7 of a bundle, only 1"):
        load_bundle(tmp_path, 7)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["a bit", "shorter", "gone"])
def test_a_file_that_was_changed_is_refused(tmp_path: Path, name: str, how: str) -> None:
    write_bundle(tmp_path, bundle())
    path = tmp_path / "v0001" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content) if how == "a bit" else content[:-1])
    if how == "gone":
        path.unlink()
    says = "is missing" if how == "gone" else "was changed after version 1 was written"
    with pytest.raises(CheckpointError, match=f"{name} {says}"):
        load_bundle(tmp_path)


def entry(of: str, **changes: object) -> Callable[[dict], object]:
    def change(manifest: dict) -> None:
        next(file for file in manifest["files"] if file["name"] == of).update(changes)

    return change


CHANGES: dict[str, Callable[[dict], object]] = {
    "its format is 'rqvae-lib bundle 2'": lambda m: m.update(format="rqvae-lib bundle 2"),
    "it says version 2, in the folder of 1": lambda m: m.update(version=2),
    "it lists the files": lambda m: m["files"].pop(0),
    "it lists a file twice": lambda m: m["files"].append(m["files"][0]),
    "it lists the files tokenizer.safetensors, ../x": entry("ids.parquet", name="../x"),
    "items is '30'": lambda m: m.update(items="30"),
    "it has a setting 'more'": lambda m: m.update(more=1),
    "missing 1 required positional argument: 'made'": lambda m: m.pop("made"),
    "holds another catalogue than it records": lambda m: m.update(id_sha256="0" * 64),
    "another catalogue": lambda m: m["id_sizes"].append(2),
    "holds 30 items, and it counts others": lambda m: m.update(items=31),
    "and it counts others": lambda m: m.update(trained_items=31),
}


@pytest.mark.parametrize("says", CHANGES)
def test_a_manifest_that_was_changed_is_refused(tmp_path: Path, says: str) -> None:
    write_bundle(tmp_path, bundle())
    path = tmp_path / "v0001" / "manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    CHANGES[says](manifest)
    path.write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(CheckpointError, match="is not the manifest of a bundle") as refused:
        load_bundle(tmp_path)
    assert says in str(refused.value)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"{", b"[" * 10**5, b" " * (2**20 + 1)])
def test_what_is_no_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    write_bundle(tmp_path, bundle())
    (tmp_path / "v0001" / "manifest.json").write_bytes(content)
    with pytest.raises(CheckpointError, match="is not the manifest of a bundle"):
        load_bundle(tmp_path)


# Appends


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_over_many_appends_no_published_id_moves(tmp_path: Path, batches: list[int]) -> None:
    folder = tmp_path / "b"
    shutil.rmtree(folder, ignore_errors=True)
    write_bundle(folder, bundle(with_recommender=False))
    published: dict[int, tuple[str, str]] = {}
    for count in [0, *batches]:
        if count:
            write_bundle(folder, grown(load_bundle(folder), count))
        current = load_bundle(folder)
        table = pd.read_parquet(folder / f"v{current.version:04}" / "ids.parquet")
        rows = zip(table["item_id"], table["semantic_id"], table["title"], strict=True)
        found = {item_id: (semantic_id, title) for item_id, semantic_id, title in rows}
        assert table["semantic_id"].is_unique
        assert {item_id: found[item_id] for item_id in published} == published
        published = found
    assert len(published) == OLD + sum(batches)
    once = grown(bundle(with_recommender=False), sum(batches))
    assert once.ids.sha256 == load_bundle(folder).ids.sha256


def test_a_row_of_a_batch_is_what_the_tokenizer_says(tmp_path: Path) -> None:
    before = bundle()
    after = grown(before, 9)
    codes = before.tokenizer.assign(vectors_of(OLD, 9))
    assert torch.equal(after.ids.codes[OLD:], codes)
    assert torch.equal(
        after.errors[OLD:], quantization_errors(before.tokenizer, vectors_of(OLD, 9), codes)
    )
    assert len(before.ids) == len(before.items) == OLD  # it is left alone


def test_the_recommender_goes_on_and_recommends_new_items() -> None:
    before = bundle()
    after = grown(before, 9)
    assert before.recommender is not None
    assert after.recommender is not None
    histories = [torch.tensor([1, 2, 33])]
    scores = score_items(after.recommender, histories)
    assert scores.shape == (1, 39)
    assert bool(scores.isfinite().all())
    assert after.recommender_card == {
        "items": after.recommender_card["items"] if after.recommender_card else "",
        "seed": 3,
        "trained_items": 30,
    }
    again = grown(after, 1)
    assert again.recommender_card is not None
    assert again.recommender_card["trained_items"] == 30


def test_the_order_of_items_decides_and_is_kept() -> None:
    """Two items with one vector: the first of them gets the lower digit."""
    same = vectors_of(0, 1).expand(2, -1)
    items = items_of(OLD, 2)
    first, second = append_items(bundle(), items, same).ids.ids[-2:].tolist()
    assert first[:-1] == second[:-1]
    assert second[-1] == first[-1] + 1
    turned = append_items(bundle(), items.iloc[::-1].reset_index(drop=True), same)
    assert turned.items["item_id"].tolist()[-2:] == [131, 130]
    assert turned.ids.ids[-2:].tolist() == [first, second]


def test_what_cannot_be_appended_is_refused() -> None:
    with pytest.raises(ValueError, match="item 129 is in the bundle already, and keeps its ID"):
        append_items(bundle(), items_of(OLD - 1, 2), vectors_of(OLD - 1, 2))
    with pytest.raises(ValueError, match="there are 2 new items and 3 vectors"):
        append_items(bundle(), items_of(OLD, 2), vectors_of(OLD, 3))
    with pytest.raises(ValueError, match="this RQ-VAE reads rows of 6 numbers"):
        append_items(bundle(), items_of(OLD, 2), torch.zeros(2, 5))
    for content, part in [("collaborative", "its vectors are"), ("both", "a part of its vectors")]:
        with pytest.raises(ValueError, match=f"'{content}' vectors: {part}"):
            append_items(bundle(content=content), items_of(OLD, 2), vectors_of(OLD, 2))
    with pytest.raises(ValueError, match="there are 30 items and 29 vectors"):
        new_bundle(bundle().tokenizer, {}, items_of(0, OLD), vectors_of(0, OLD - 1))
    other = new_recommender(DecoderOnlyConfig(SMALL), grown(bundle(), 1).ids)
    with pytest.raises(ValueError, match="the recommender writes the IDs of catalogue"):
        new_bundle(bundle().tokenizer, {}, items_of(0, OLD), vectors_of(0, OLD), recommender=other)


def test_arrivals_are_told_from_known_items(tmp_path: Path) -> None:
    table = pd.concat([items_of(27, 3), items_of(40, 2), items_of(3, 1)], ignore_index=True)
    table.loc[1, "title"] = "Another title"
    table.to_csv(tmp_path / "items.csv", index=False)
    for source in (table, tmp_path / "items.csv"):
        found = read_arrivals(source, bundle())
        assert found.is_new.tolist() == [False, False, False, True, True, False]
        assert found.is_changed.sum() == 1
        pd.testing.assert_frame_equal(found.new, items_of(40, 2))
        assert append_items(bundle(), found.new, vectors_of(40, 2)).items.shape == (32, 5)


def test_ids_are_of_the_bundles_type() -> None:
    text = bundle("string")
    found = read_arrivals(items_of(28, 4), text)  # numbers, where the bundle has text
    assert found.is_new.tolist() == [False, False, True, True]
    assert found.items["item_id"].tolist() == ["128", "129", "130", "131"]
    with pytest.raises(ValueError, match="row 1: found the id '007', expected a whole number"):
        read_arrivals(pd.DataFrame({"item_id": ["1001", "007"]}), bundle())
    with pytest.raises(ValueError, match=r"row 0: found the id '9{20}', expected a whole number"):
        read_arrivals(pd.DataFrame({"item_id": ["9" * 20, "7"]}), bundle())
    for same in (["128", "7"], pd.Categorical([128.0, 7.0]), pd.array([128, 7], "int64[pyarrow]")):
        found = read_arrivals(pd.DataFrame({"item_id": same}), bundle())
        assert found.items["item_id"].tolist() == [128, 7]
        assert found.items["item_id"].dtype == "int64"


def test_a_missing_text_is_made_as_a_dataset_makes_it() -> None:
    table = pd.DataFrame(
        {"item_id": [7, 8], "title": ["Hobbit, The", None], "genres": ["Fantasy", None]}
    )
    for articles_last, title in ((False, "Hobbit, The"), (True, "The Hobbit")):
        found = read_arrivals(table, replace(bundle(), articles_last=articles_last))
        assert found.new["text"].tolist() == [f"{title}. Genres: Fantasy.", "An untitled item."]
    silent = bundle()
    silent.items["text"] = pd.Series([""] * OLD, dtype="string")
    assert read_arrivals(table, silent).new["text"].tolist() == ["", ""]
