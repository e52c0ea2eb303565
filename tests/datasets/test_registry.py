"""One way to ask for data: a name, a folder, or tables."""

from pathlib import Path

import pandas as pd
import pytest

import rqvae_lib
from rqvae_lib.data.dataset import Dataset
from rqvae_lib.datasets import embedded, registry
from rqvae_lib.datasets.registry import DOWNLOADED, NAMES, load_dataset

NAME = "movielens-small-2016"
BOUGHT = pd.DataFrame({"user_id": ["ann", "ann", "bob"], "item_id": [7, 3, 3]})
LISTED = pd.DataFrame({"item_id": [3, 7, 9], "title": ["Tea", "Jam", "Rye"]})


def written(folder: Path, *tables: str, ending: str = "csv") -> Path:
    folder.mkdir(exist_ok=True)
    for name in tables:
        table = {"interactions": BOUGHT, "items": LISTED}[name]
        path = folder / f"{name}.{ending}"
        table.to_parquet(path) if ending == "parquet" else table.to_csv(path, index=False)
    return folder


def test_it_is_the_public_one() -> None:
    assert rqvae_lib.load_dataset is load_dataset


# A name


def test_the_embedded_data_are_the_default_and_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []
    real = pd.read_parquet
    monkeypatch.setattr(
        embedded.pd, "read_parquet", lambda file: (read.append(file), real(file))[1]
    )
    data = load_dataset()
    assert len(read) == 2  # items and interactions
    assert (data.name, data.num_items) == (NAME, 9_066)
    assert load_dataset(NAME).checksum == load_dataset(Path(NAME)).checksum == data.checksum
    again = load_dataset()
    assert again.items is not data.items
    pd.testing.assert_frame_equal(again.items, data.items)


def test_a_name_that_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Dataset.from_tables(BOUGHT)
    for name in DOWNLOADED:
        monkeypatch.setitem(registry.DOWNLOADED, name, lambda: data)
        assert load_dataset(name) is data
    assert set(NAMES) == {NAME, *DOWNLOADED}


def test_an_unknown_name_is_refused_with_all_that_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no dataset named 'ml-2m', and no such folder") as refused:
        load_dataset("ml-2m")
    assert all(name in str(refused.value) for name in NAMES)


def test_a_folder_of_that_name_does_not_take_the_place_of_embedded_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / NAME, "interactions")
    assert load_dataset(NAME).num_items == 9_066
    assert load_dataset(f"./{NAME}").num_items == 2


# A folder


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder_of_tables(tmp_path: Path, ending: str, kind: type[str] | type[Path]) -> None:
    alone = load_dataset(kind(written(tmp_path / "a", "interactions", ending=ending)))
    assert alone.checksum == Dataset.from_tables(BOUGHT).checksum
    both = load_dataset(kind(written(tmp_path / "b", "interactions", "items", ending=ending)))
    assert both.checksum == Dataset.from_tables(BOUGHT, LISTED).checksum
    assert both.name == "b"
    assert both.titles == ["Tea", "Jam", "Rye"]


def test_a_folder_with_two_tables_for_one_is_refused(tmp_path: Path) -> None:
    folder = written(written(tmp_path, "interactions"), "interactions", ending="parquet")
    with pytest.raises(ValueError, match=r"both interactions\.csv and interactions\.parquet"):
        load_dataset(folder)


@pytest.mark.parametrize("tables", [[], ["items"]])
def test_a_folder_without_interactions_is_refused(tmp_path: Path, tables: list[str]) -> None:
    with pytest.raises(FileNotFoundError, match=r"none of the files .* expected interactions\.csv"):
        load_dataset(written(tmp_path, *tables))


# Tables


def test_frames_are_what_from_tables_makes_of_them() -> None:
    alone = load_dataset(interactions=BOUGHT)
    assert alone.checksum == Dataset.from_tables(BOUGHT).checksum
    assert alone.num_items == 2  # those that somebody met
    both = load_dataset(interactions=BOUGHT, items=LISTED)
    assert both.checksum == Dataset.from_tables(BOUGHT, LISTED).checksum
    assert both.num_items == 3
    assert [both.titles[item] for item in both.user_history("ann")] == ["Jam", "Tea"]


def test_frames_and_files_go_together(tmp_path: Path) -> None:
    written(tmp_path, "items", "interactions", ending="parquet")
    for items in (LISTED, tmp_path / "items.parquet", str(tmp_path / "items.parquet")):
        data = load_dataset(interactions=tmp_path / "interactions.parquet", items=items)
        assert data.checksum == load_dataset(interactions=BOUGHT, items=LISTED).checksum


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"interactions": BOUGHT}, "interactions"),
        ({"interactions": BOUGHT, "items": LISTED}, "interactions"),
        ({"items": LISTED}, "items"),
        ({"interactions": "orders.csv"}, r"orders\.csv"),
        ({"items": Path("goods.csv")}, r"goods\.csv"),
    ],
)
def test_a_name_and_tables_are_refused(tables: dict[str, object], said: str) -> None:
    for name in (NAME, "nowhere"):
        with pytest.raises(
            ValueError, match=rf"here {name}\) or a table .*\(here {said}\), not both"
        ):
            load_dataset(name, **tables)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("items", "said"), [(LISTED, "items"), ("goods.csv", r"goods\.csv"), (Path("g.csv"), r"g\.csv")]
)
def test_items_that_nobody_met_are_refused(items: pd.DataFrame | str | Path, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said} lists items, but nobody met them: name a table"):
        load_dataset(items=items)
