"""The commands `bundle` and `append`, on somebody's own shop."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from rqvae_lib.checkpoints.bundle import bundle_versions, load_bundle
from rqvae_lib.checkpoints.models import load_rqvae
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.embeddings import text
from rqvae_lib.embeddings.text import load_embeddings, read_embeddings, save_embeddings
from tests.cli.running import change_card, fails, run, succeeds

NEW = [f"Item {number}" for number in range(90, 96)]


@pytest.fixture(scope="module")
def made(quick: None, shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer and a recommender of the shop, and a bundle of them."""
    folder = tmp_path_factory.mktemp("bundled")
    data, vectors = ("--dataset", shop), ("--embeddings", shop / "vectors.safetensors")
    shape = ("--codebook-size", 8, "--levels", 2, "--residual-kmeans")
    succeeds("train-rqvae", *data, *vectors, *shape, folder=folder)
    briefly = ("--steps", 2, "--architecture", "rq-transformer")
    succeeds("train-recommender", *data, *vectors, *briefly, folder=folder)
    said = succeeds("bundle", "b", *data, *vectors, folder=folder)
    assert said == "Wrote version 1 of b: 90 items.\n"
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, and six new items with vectors."""
    shutil.copytree(made / "b", tmp_path / "b")
    table = pd.DataFrame({"item_id": [f"item{n}" for n in range(90, 96)], "title": NEW})
    table.to_csv(tmp_path / "new.csv", index=False)
    chance = np.random.default_rng(1)
    np.save(tmp_path / "new.npy", chance.standard_normal((6, 8)).astype(np.float32))
    return tmp_path


APPEND = ("append", "b", "--items", "new.csv", "--embeddings", "new.npy")


def test_a_bundle_holds_what_the_commands_made(made: Path, shop: Path) -> None:
    bundle = load_bundle(made / "b")
    tokenizer, card = load_rqvae(made / "runs/rqvae.safetensors")
    vectors = read_embeddings(shop / "vectors.safetensors", load_dataset(shop).texts)
    assert torch.equal(bundle.ids.ids, tokenizer.tokenize(vectors).ids)
    assert bundle.tokenizer_card == card
    assert bundle.encoder == "an encoder"
    assert bundle.titles == load_dataset(shop).titles
    assert bundle.recommender is not None
    assert bundle.recommender.ids.sha256 == bundle.ids.sha256


def test_new_items_get_ids_and_old_ones_keep_theirs(folder: Path) -> None:
    before = load_bundle(folder / "b")
    done = run(*APPEND, folder=folder)
    assert done.returncode == 0
    assert "only the width of its vectors could be checked" in done.stderr
    after = load_bundle(folder / "b")
    assert torch.equal(after.ids.ids[:90], before.ids.ids)
    vectors = torch.from_numpy(np.load(folder / "new.npy"))
    assert torch.equal(after.ids.codes[90:], before.tokenizer.assign(vectors))
    lines = done.stdout.splitlines()
    assert lines[0] == "Wrote version 2 of b: 6 new items, 96 in all. No published ID moved."
    for row, line in enumerate(lines[1:7], 90):
        assert line.split() == ["-".join(map(str, after.ids.id_of(row))), "Item", str(row)]
    assert lines[7].startswith(f"Health: {after.health.unique_share:.1%} distinct tuples")
    drift = after.health.drift
    assert drift is not None
    assert f"quantization error {drift.error_ratio:.2f} times" in lines[9]
    assert lines[10] == "Fewer than 50 items say little about whether a new tokenizer is due."
    assert "can recommend all 6 new items" in lines[-1]
    again = run(*APPEND, folder=folder)
    assert again.stdout == "Nothing is new: b stays at version 2.\n"
    assert again.stderr == "6 items of new.csv are known and keep their IDs.\n"
    assert bundle_versions(folder / "b") == [1, 2]


def test_a_whole_table_may_be_passed_with_its_vectors(folder: Path, shop: Path) -> None:
    """As a shop exports it every week: all items, the new ones among them, in any order."""
    one = folder / "one"
    shutil.copytree(folder, one)
    succeeds(*APPEND, folder=one)
    old = pd.read_csv(shop / "items.csv")
    old.loc[3, "title"] = "Renamed"
    new = pd.read_csv(folder / "new.csv")
    vectors = read_embeddings(shop / "vectors.safetensors", load_dataset(shop).texts).numpy()
    order = np.random.default_rng(0).permutation(90)
    place = [*order[:40], *range(90, 96), *order[40:]]
    table = pd.concat([old, new], ignore_index=True).iloc[place]
    table.to_csv(folder / "all.csv", index=False)
    np.save(folder / "all.npy", np.concatenate([vectors, np.load(folder / "new.npy")])[place])
    options = ("--items", "all.csv", "--embeddings", "all.npy")
    done = run("append", "b", *options, folder=folder)
    assert done.returncode == 0
    assert "90 items of all.csv are known and keep their IDs." in done.stderr
    assert "The rows of 1 of them have changed" in done.stderr
    assert load_bundle(folder / "b").ids.sha256 == load_bundle(one / "b").ids.sha256
    assert load_bundle(folder / "b").titles[3] == "Item 03"


def test_vectors_of_the_whole_catalogue_are_compared_with_the_trainings(
    folder: Path, shop: Path
) -> None:
    vectors = read_embeddings(shop / "vectors.safetensors", load_dataset(shop).texts).numpy()
    every = np.concatenate([vectors, np.load(folder / "new.npy")])
    np.save(folder / "new.npy", every)
    succeeds(*APPEND, folder=folder)
    shutil.rmtree(folder / "b/v0002")
    every[5, 0] += 1
    np.save(folder / "new.npy", every)
    assert "was trained on other text embeddings" in fails(*APPEND, folder=folder)


def test_vectors_in_another_order_than_the_table_are_refused(folder: Path, shop: Path) -> None:
    """With as many rows as the table, but in the bundle's order, they are taken for that."""
    table = pd.concat([pd.read_csv(shop / "items.csv"), pd.read_csv(folder / "new.csv")])
    vectors = read_embeddings(shop / "vectors.safetensors", load_dataset(shop).texts)
    every = np.concatenate([vectors.numpy(), np.load(folder / "new.npy")])
    order = np.random.default_rng(2).permutation(len(table))
    table.iloc[order].to_csv(folder / "mixed.csv", index=False)
    np.save(folder / "mixed.npy", every[order])
    np.save(folder / "bundle.npy", every)
    append = ("append", "b", "--items", "mixed.csv", "--embeddings")
    said = fails(*append, "bundle.npy", folder=folder)
    assert "known items their first code again" in said
    assert "its rows must be in the order of the table" in said
    assert bundle_versions(folder / "b") == [1]
    succeeds(*append, "mixed.npy", folder=folder)
    added = load_bundle(folder / "b").items["item_id"][90:].tolist()
    assert added == [own for own in table.iloc[order]["item_id"] if own in set(added)]


def test_a_table_with_names_of_its_own_is_appended(folder: Path) -> None:
    table = pd.read_csv(folder / "new.csv")
    table.columns = ["my article", "label"]
    table.to_csv(folder / "new.csv", index=False, sep=";")
    names = "item=my article,title=label"
    succeeds(*APPEND, "--columns", names, "--separator", ";", folder=folder)
    assert load_bundle(folder / "b").items["title"].tolist()[-6:] == NEW


def test_another_encoder_is_refused(folder: Path) -> None:
    vectors = torch.from_numpy(np.load(folder / "new.npy"))
    texts = [f"{title}." for title in NEW]
    options = ("append", "b", "--items", "new.csv", "--embeddings")
    save_embeddings(folder / "own.safetensors", vectors, texts, "another", "shop")
    said = fails(*options, "own.safetensors", folder=folder)
    assert "own.safetensors was made by the encoder 'another'" in said
    save_embeddings(folder / "own.safetensors", vectors, texts, "an encoder", "shop")
    done = run(*options, "own.safetensors", folder=folder)
    assert done.returncode == 0
    assert done.stderr == ""
    save_embeddings(folder / "own.safetensors", vectors, texts[::-1], "an encoder", "shop")
    shutil.rmtree(folder / "b/v0002")
    assert "fits neither the 6 rows of new.csv nor" in fails(
        *options, "own.safetensors", folder=folder
    )


def test_texts_are_encoded_where_no_vectors_are_passed(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The encoder must give old items their codes again: it is known by them."""
    said = succeeds("bundle", "b", "--model", "none", folder=tmp_path)
    assert said == "Wrote version 1 of b: 9,066 items.\n"
    bundle = load_bundle(tmp_path / "b")
    assert bundle.recommender is None
    assert bundle.encoder == "all-MiniLM-L6-v2"
    table = bundle.items.iloc[[4]].assign(item_id=10**6)
    table.to_csv(tmp_path / "new.csv", index=False)
    known = dict(zip(bundle.items["text"], load_embeddings(), strict=True))
    turned = False

    def encode(texts: list[str], model: str, show_progress: bool) -> torch.Tensor:
        assert model == "all-MiniLM-L6-v2"
        found = torch.stack([known[one] for one in texts])
        return found.flip(1) if turned else found

    monkeypatch.setattr(text, "encode_texts", encode)
    succeeds("append", "b", "--items", "new.csv", folder=tmp_path)
    after = load_bundle(tmp_path / "b")
    assert after.ids.codes[-1].tolist() == after.ids.codes[4].tolist()
    assert int(after.ids.ids[-1, -1]) == int(after.ids.ids[4, -1]) + 1
    turned = True
    table.assign(item_id=10**6 + 1).to_csv(tmp_path / "new.csv", index=False)
    assert "their first code again" in fails("append", "b", "--items", "new.csv", folder=tmp_path)


def test_what_cannot_be_bundled_or_appended_is_refused(
    folder: Path, made: Path, shop: Path
) -> None:
    data, vectors = ("--dataset", shop), ("--embeddings", shop / "vectors.safetensors")
    said = fails("bundle", "b", *data, *vectors, folder=folder)
    assert "b holds a bundle already" in said
    said = fails("bundle", "c", *data, *vectors, "--tokenizer", "random", folder=folder)
    assert "'random', which is not kept in any file" in said
    said = fails("append", "c", "--items", "new.csv", folder=folder)
    assert "c holds no bundle" in said
    assert not (folder / "c").exists()
    np.save(folder / "new.npy", np.zeros((6, 5), np.float32))
    assert "gives vectors of 5 numbers, but the bundle's tokenizer reads 8" in fails(
        *APPEND, folder=folder
    )
    np.save(folder / "new.npy", np.zeros((7, 8), np.float32))
    said = fails(*APPEND, folder=folder)
    assert "fits neither the 6 rows of new.csv nor the 90 items of the bundle with the 6" in said
    (folder / "new.csv").write_text("title\nItem\n")
    assert "has no column 'item_id'" in fails(*APPEND, folder=folder)
    assert bundle_versions(folder / "b") == [1]


def test_a_tokenizer_that_reads_histories_takes_no_new_items(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "b", tmp_path / "b")
    path = tmp_path / "b/v0001/tokenizer.safetensors"
    change_card(path, path, content="both")
    manifest = tmp_path / "b/v0001/manifest.json"
    described = json.loads(manifest.read_text("utf-8"))
    described["files"][0] |= {
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    manifest.write_text(json.dumps(described), "utf-8")
    pd.DataFrame({"item_id": ["new"]}).to_csv(tmp_path / "new.csv", index=False)
    said = fails("append", "b", "--items", "new.csv", folder=tmp_path)
    assert "'both' vectors: a part of its vectors is made from who chose which item" in said
