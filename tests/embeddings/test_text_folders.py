"""Texts become vectors file by file; what is done is not done again, nothing is half-written."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from rqvae_lib.embeddings import text_folders
from rqvae_lib.embeddings.text_folders import Embedded, embed_folder
from rqvae_lib.embeddings.vector_folders import read_vectors

TEXTS = {f"item {number:02}": "word " * (number + 1) for number in range(40)}


class Encoder:
    """A stand-in: a text's vector is its length and its number of words."""

    asked: list[str]
    fails_at = -1

    def __init__(self) -> None:
        self.asked = []

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        self.asked += texts
        if len(self.asked) > self.fails_at > 0:
            raise KeyboardInterrupt
        return torch.tensor([[len(text), len(text.split())] for text in texts]).float()


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> Encoder:
    found = Encoder()
    monkeypatch.setattr(text_folders, "load_encoder", lambda *_: found)
    monkeypatch.setattr(text_folders, "_BATCH_ROWS", 4)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ids = list(TEXTS)
    for name, part in (("a", ids[30:]), ("below/b", ids[:13]), ("c", ids[13:30])):
        write(tmp_path / "texts" / f"{name}.parquet", part)
    empty = pa.table({"item_id": pa.array([], pa.string()), "text": pa.array([], pa.string())})
    pq.write_table(empty, tmp_path / "texts/empty.parquet")
    return tmp_path / "texts"


def write(path: Path, ids: list[str], texts: list[Any] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [TEXTS[one] for one in ids] if texts is None else texts
    pq.write_table(pa.table({"item_id": ids, "text": texts}), path, row_group_size=7)


def run(folder: Path, model: str = "mine") -> Embedded:
    return embed_folder(folder, folder.parent / "vectors", model, progress=False)


def files_of(folder: Path) -> list[str]:
    vectors = folder.parent / "vectors"
    return sorted(str(one.relative_to(vectors)) for one in vectors.rglob("*") if one.is_file())


def test_each_item_gets_the_vector_of_its_text(encoder: Encoder, folder: Path) -> None:
    assert run(folder) == (40, 40)
    assert files_of(folder) == ["a.parquet", "below/b.parquet", "c.parquet"]
    found = read_vectors(folder.parent / "vectors")
    assert found.item_ids.tolist() == list(TEXTS)
    expected = [[len(text), len(text.split())] for text in TEXTS.values()]
    assert found.tensor.tolist() == expected
    kind = pq.read_schema(folder.parent / "vectors/a.parquet").field("vector").type
    assert kind == pa.list_(pa.float16(), 2)
    assert sorted(encoder.asked) == sorted(TEXTS.values())


def test_an_interrupted_run_goes_on_where_it_stopped(encoder: Encoder, folder: Path) -> None:
    encoder.fails_at = 15
    with pytest.raises(KeyboardInterrupt):
        run(folder)
    assert files_of(folder) == ["a.parquet"]
    encoder.asked, encoder.fails_at = [], -1
    assert run(folder) == (40, 30)
    assert len(encoder.asked) == 30
    assert len(read_vectors(folder.parent / "vectors").item_ids) == 40
    assert run(folder) == (40, 0)
    assert len(encoder.asked) == 30


def test_changed_texts_and_another_model_are_encoded_again(encoder: Encoder, folder: Path) -> None:
    run(folder)
    write(folder / "a.parquet", list(TEXTS)[30:], ["new"] * 10)
    assert run(folder) == (40, 10)
    assert read_vectors(folder.parent / "vectors").tensor[35].tolist() == [3, 1]
    assert run(folder, "another") == (40, 40)


def test_what_is_wrong_is_named_before_anything_is_encoded(encoder: Encoder, folder: Path) -> None:
    write(folder / "d.parquet", ["item 02"], ["again"])
    with pytest.raises(ValueError, match="found 'item 02', expected each item once, but row 2 of"):
        run(folder)
    assert not encoder.asked


@pytest.mark.parametrize(("text", "shown"), [(None, "nothing"), ("", "''"), (" \t", r"' \\t'")])
def test_an_item_without_a_text_is_named(
    text: str | None, shown: str, encoder: Encoder, folder: Path
) -> None:
    write(folder / "d.parquet", [f"x{row}" for row in range(11)], ["a text"] * 9 + [text, "two"])
    says = rf"d\.parquet, row 9, column 'text': found {shown}, expected a text for each item"
    with pytest.raises(ValueError, match=says):
        run(folder)
    assert text not in encoder.asked
    assert files_of(folder) == ["a.parquet", "below/b.parquet", "c.parquet"]


@pytest.mark.parametrize(
    ("texts", "says"),
    [([7, 8], "int64"), ([b"a", b"b"], "binary"), ([["a"], ["b"]], r"list<.*string>")],
)
def test_what_is_no_text_is_not_encoded(
    texts: list[Any], says: str, encoder: Encoder, folder: Path
) -> None:
    write(folder / "d.parquet", ["x", "y"], texts)
    with pytest.raises(ValueError, match=rf"d\.parquet, column 'text' holds {says}, expected text"):
        run(folder)
    assert not encoder.asked


@pytest.mark.parametrize("kind", ["string", "large_string", "category"])
def test_text_is_read_in_each_of_its_types(kind: str, encoder: Encoder, folder: Path) -> None:
    texts = pa.array(["one", "two words", "one"])
    texts = texts.dictionary_encode() if kind == "category" else texts.cast(kind)
    pq.write_table(pa.table({"item_id": ["x", "y", "z"], "text": texts}), folder / "d.parquet")
    assert run(folder) == (43, 43)
    assert read_vectors(folder.parent / "vectors").tensor[-3:].tolist() == [[3, 1], [9, 2], [3, 1]]


def test_vectors_of_other_items_are_not_left_among_them(encoder: Encoder, folder: Path) -> None:
    run(folder)
    (folder / "c.parquet").unlink()
    with pytest.raises(ValueError, match=r"c\.parquet is not made of a file in"):
        run(folder)
    for output in (folder, folder / "vectors"):
        with pytest.raises(ValueError, match="whose files are read: name another output"):
            embed_folder(folder, output, progress=False)


def test_a_vector_that_float16_does_not_hold_is_refused(encoder: Encoder, folder: Path) -> None:
    write(folder / "a.parquet", ["long"], ["x" * 70_000])
    with pytest.raises(ValueError, match=r"a\.parquet, rows 0 to 0, does not fit into float16"):
        run(folder)
