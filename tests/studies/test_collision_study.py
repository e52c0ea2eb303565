"""The parts of the collision study against brute force, and its tables are complete."""

import csv
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

import collision_study
from collision_study import (
    RESULTS,
    STUDIES,
    Study,
    growth,
    held_out_movies,
    knowledge,
    method_row,
    path_of,
    remedies,
    run,
    shuffled,
    spread_within,
    texts_without_year,
    tokenizer,
    variance_lost,
    whole_catalogue,
    without_year,
)
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.embeddings.text import save_embeddings
from rqvae_lib.training.recipes import train_rqvae
from tables import read_rows, rows_of

N = 600


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tensor]:
    """600 vectors of 12 numbers, and a data set of as many movies, in place of the real ones."""
    rows = torch.randn(N, 12, generator=torch.Generator().manual_seed(0))
    rows = rows * torch.linspace(0.1, 3, 12) + 5
    rows[:, 3] = 1.0  # a feature that never varies
    rows[500:520] = rows[:20]  # collisions that no tokenizer can avoid
    years = pd.Series(np.random.default_rng(0).integers(1960, 2016, N), dtype="Int16")
    years[7] = pd.NA
    genres = pd.Series(["Comedy|Drama", "Horror", ""] * (N // 3), dtype="string")
    items = pd.DataFrame({"year": years, "genres": genres})
    whole_catalogue.cache_clear()
    monkeypatch.setattr(collision_study, "vectors_of", lambda content: rows)
    monkeypatch.setattr(collision_study, "load_dataset", lambda: SimpleNamespace(items=items))
    monkeypatch.setattr(collision_study, "SHORT", 3)
    quick = partial(train_rqvae, autoencoder_steps=2)
    monkeypatch.setattr(collision_study, "train_rqvae", quick)
    yield rows
    whole_catalogue.cache_clear()


def test_texts_without_year_differ_by_the_year_only() -> None:
    dataset = load_dataset()
    short = texts_without_year(dataset)
    assert short[0] == "Toy Story. Genres: Adventure, Animation, Children, Comedy, Fantasy."
    years = dataset.items["year"]
    for text, less, year in zip(dataset.texts, short, years, strict=True):
        if pd.isna(year):
            assert less == text
        else:  # of several such numbers, the last is the year
            assert "".join(text.rsplit(f" ({year})", 1)) == less


def test_vectors_without_year_are_kept_and_checked(tmp_path) -> None:
    dataset = load_dataset()
    path, texts = tmp_path / "kept.safetensors", texts_without_year(dataset)
    save_embeddings(path, torch.ones(len(texts), 2), texts, "a model")
    assert without_year(dataset, path).shape == (len(texts), 2)
    save_embeddings(path, torch.ones(len(texts), 2), dataset.texts, "a model")
    with pytest.raises(ValueError, match="was made from texts"):
        without_year(dataset, path)


def test_shuffled_codes_use_each_codebook_as_before() -> None:
    codes = torch.randint(9, (200, 3), generator=torch.Generator().manual_seed(0)) ** 2 // 9
    mixed = shuffled(codes, 1)
    for level in range(3):
        assert torch.equal(torch.bincount(mixed[:, level]), torch.bincount(codes[:, level]))
    repeated = codes[:, :1].expand(-1, 3)
    assert not torch.equal(shuffled(repeated, 1)[:, 0], shuffled(repeated, 1)[:, 1])


def test_spread_within_by_hand() -> None:
    groups = torch.tensor([0, 0, 2, 2, 2, 1])
    values = torch.tensor([1990, 1994, 2000, 2001, 2005, 1950])
    squares = 2 * 2.0**2 + 2.0**2 + 1.0**2 + 3.0**2
    assert spread_within(groups, values) == pytest.approx((squares / (1 + 2)) ** 0.5)
    many = torch.randint(100, (5000,), generator=torch.Generator().manual_seed(0))
    years = torch.randint(1950, 2015, (5000,), generator=torch.Generator().manual_seed(1))
    alone = float(years.double().std())
    assert spread_within(many, years) == pytest.approx(alone, rel=0.02)


@pytest.mark.parametrize("which", ["random", "newest"])
def test_held_out_movies_are_a_part_of_all(which: str) -> None:
    old, new = held_out_movies(which, 0)
    years = load_dataset().items["year"].fillna(0).astype("int64").to_numpy()
    assert len(new) == len(years) // 10
    assert torch.equal(torch.cat([old, new]).sort()[0], torch.arange(len(years)))
    assert torch.equal(old, old.sort()[0])
    assert (years[new].min() >= years[old].max()) == (which == "newest")
    assert not torch.equal(new, held_out_movies(which, 1)[1])


def test_variance_lost_is_the_library_s_for_all_items(small: Tensor) -> None:
    everything = torch.arange(N)
    for name in ("R-KMeans", "RQ-VAE"):
        model = tokenizer(name, small, 0, 3, levels=2, size=8)
        codes = model.assign(small)
        ours = variance_lost(model, small, codes, everything)
        assert ours == pytest.approx(model.variance_lost(small, codes), rel=1e-4)
    # Trained on a part with another mean and spread, it is still measured in the units of all.
    part = tokenizer("R-KMeans", small[:50], 0, 3, levels=1, size=1)  # rebuilds the part's mean
    scale = small.std(0, correction=0).clamp(min=1e-6)
    error = ((small[:50].mean(0) - small[60:]) / scale).square().sum()
    total = ((small.mean(0) - small[60:]) / scale).square().sum()
    found = variance_lost(part, small, part.assign(small), torch.arange(60, N))
    assert found == pytest.approx(float(error / total), rel=1e-4)


def test_the_grid_reads_shorter_r_kmeans_off_a_longer_one(small: Tensor) -> None:
    rows = list(collision_study.grid("R-KMeans", "8", "3", "1"))
    assert [row["levels"] for row in rows] == ["1", "2", "3"]
    for row in rows:
        model = tokenizer("R-KMeans", small, 1, 0, levels=int(row["levels"]), size=8)
        codes = model.assign(small)
        rate = 1 - len(torch.unique(codes, dim=0)) / N
        assert float(row["collision_rate"]) == pytest.approx(rate, rel=1e-4)
        assert float(row["variance_lost"]) == pytest.approx(
            model.variance_lost(small, codes), rel=1e-4
        )
    (row,) = collision_study.grid("RQ-VAE", "8", "3", "1")
    assert (row["levels"], row["steps"]) == ("3", "3")


def test_a_row_of_methods_counts_what_a_loop_counts() -> None:
    codes = torch.tensor([[0, 1], [0, 1], [2, 2], [0, 1], [2, 2], [5, 0]])
    row = method_row("name", "3", "0", codes, None)
    assert float(row["items_colliding"]) == 5
    assert float(row["largest_group"]) == 3
    assert float(row["collision_rate"]) == pytest.approx(3 / 6)
    assert row["variance_lost"] == ""


def test_growth_by_brute_force(small: Tensor) -> None:
    (row,) = growth("R-KMeans", "random", "0")
    old, new = held_out_movies("random", 0)
    model = tokenizer("R-KMeans", small[old], 0, 0)
    met = {tuple(codes) for codes in model.assign(small)[old].tolist()}
    taken = 0
    for codes in map(tuple, model.assign(small)[new].tolist()):
        taken += codes in met
        met.add(codes)
    assert taken > 0
    assert float(row["collide_new"]) == pytest.approx(taken / len(new), rel=1e-4)
    assert float(row["lost_new"]) > float(row["lost_new_if_trained_on"])


def test_knowledge_leaves_out_what_is_unknown_and_has_controls(small: Tensor) -> None:
    rows = list(knowledge("text", "R-KMeans", "0"))
    assert [row["length"] for row in rows] == ["1", "2", "3"]
    for row in rows:
        assert float(row["purity_genre"]) >= float(row["groups"]) / N
        assert 0.4 < float(row["pairs_genre_shuffled"]) < 0.6  # of two genres; "" is left out


def test_remedies_of_equal_vectors(small: Tensor) -> None:
    rows = {(row["tokenizer"], row["remedy"]): row for row in remedies("0")}
    assert len(rows) == 6
    kept, moved = rows["R-KMeans", "disambiguation"], rows["R-KMeans", "nearest-free"]
    assert float(kept["collision_rate"]) == pytest.approx(20 / N, rel=1e-3)  # equal vectors
    assert (kept["items_moved"], float(kept["added_error"])) == ("0", 0.0)
    assert float(moved["collision_rate"]) == 0
    assert int(moved["items_moved"]) >= 20


def test_an_interrupted_run_goes_on(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []

    def measure(name: str, seed: str) -> Iterator[dict[str, str]]:
        measured.append((name, seed))
        yield {"name": name, "seed": seed, "rate": "0.5"}

    cells = (("a", "0"), ("a", "1"), ("b", "0"))
    monkeypatch.setitem(STUDIES, "toy", Study(("name", "seed"), cells, measure))
    path_of("toy", tmp_path).write_text("name,seed,rate\na,0,0.123\n")
    run("toy", tmp_path)
    rows = read_rows(path_of("toy", tmp_path))
    assert [row["rate"] for row in rows] == ["0.123", "0.5", "0.5"]  # kept, not measured again
    assert measured == [("a", "1"), ("b", "0")]


@pytest.mark.parametrize("name", STUDIES)
def test_the_tables_are_complete(name: str) -> None:
    study = STUDIES[name]
    with path_of(name, RESULTS).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    keys = [tuple(row[key] for key in study.keys) for row in rows]
    assert len(keys) == len(set(keys))
    for cell in study.cells:
        known = dict(zip(study.keys, cell, strict=False))
        assert rows_of(rows, known), cell
    for row in rows:
        for column in row:
            if "rate" in column or "purity" in column or "nmi" in column or "pairs" in column:
                assert 0 <= float(row[column]) <= 1, (name, row)
