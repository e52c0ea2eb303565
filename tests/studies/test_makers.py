"""The makers of the two catalogues make again what is committed, from tables like their sources."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
import torch
from safetensors import safe_open

import prepare_groceries
import prepare_movielens
from tests.helpers import ROOT

MOVIES = ROOT / "rqvae_lib" / "datasets" / "movielens-small-2016"
GROCERIES = ROOT / "notebooks" / "groceries"


def source_of_movies() -> pd.DataFrame:
    """The ratings as the source has them, but in our order, which a stable sort keeps."""
    items = pd.read_parquet(MOVIES / "items.parquet")
    items["genres"] = items["genres"].replace("", "(no genres listed)")
    ratings = pd.read_parquet(MOVIES / "interactions.parquet")
    names = {"user_id": "userId", "item_id": "movieId"}
    return ratings.merge(items, on="item_id", how="left").rename(columns=names)


def source_of_groceries() -> dict[str, pd.DataFrame]:
    def both(name: str, read: Callable[[Path], pd.DataFrame]) -> pd.DataFrame:
        return pd.concat([read(GROCERIES / f"{prefix}{name}") for prefix in ("", "new_")])

    bought = both("interactions.parquet", pd.read_parquet)
    products = both("items.csv", pd.read_csv)
    ours = {"type": "product_type", "category": "product_category", "size": "package_size"}
    return {
        "transactions": bought.rename(columns={"bought_at": "transaction_timestamp"}),
        "products": products.rename(columns=ours),
    }


def stored(folder: Path) -> torch.Tensor:
    with safe_open(folder / "embeddings.safetensors", framework="pt") as file:
        return file.get_tensor("embeddings")


@pytest.mark.parametrize(
    ("maker", "folder", "source"),
    [
        (prepare_movielens, MOVIES, source_of_movies),
        (prepare_groceries, GROCERIES, source_of_groceries),
    ],
    ids=["movies", "groceries"],
)
def test_made_twice_the_files_are_the_same_and_those_that_are_committed(
    maker: ModuleType,
    folder: Path,
    source: Callable[[], object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The encoder is replaced: its vectors are compared with the stored ones elsewhere."""
    assert folder == maker.FOLDER
    monkeypatch.setattr(maker, "read_source", source)
    monkeypatch.setattr(maker, "encode_texts", lambda *_, **__: stored(folder))
    for time in ("once", "twice"):
        (tmp_path / time).mkdir()
        monkeypatch.setattr(maker, "FOLDER", tmp_path / time)
        maker.main()
    made = sorted((tmp_path / "once").iterdir())
    licences = [path.name for path in folder.glob("LICENSE*")]  # written by hand
    assert [path.name for path in made] == sorted(
        path.name for path in folder.iterdir() if path.name not in licences
    )
    for path in made:
        assert path.read_bytes() == (tmp_path / "twice" / path.name).read_bytes()
        if path.suffix == ".parquet":  # its bytes also say which version of pyarrow wrote it
            pd.testing.assert_frame_equal(
                pd.read_parquet(path), pd.read_parquet(folder / path.name)
            )
        elif path.name != "PROVENANCE.json":
            assert path.read_bytes() == (folder / path.name).read_bytes()
    said, expected = (
        json.loads((where / "PROVENANCE.json").read_text("utf-8"))
        for where in (tmp_path / "once", folder)
    )
    assert said["sha256"].keys() == expected["sha256"].keys()
    for provenance in (said, expected):  # these name the machine's own versions
        del provenance["sha256"], provenance["encoder"]
    assert said == expected
