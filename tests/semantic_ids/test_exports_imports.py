"""IDs in the shapes of other projects: small files as those projects write them, and our own back.

The files of `SHAPES` are written here by hand, from what is known of each project, and not by our
writer. What is written by our writer comes back as the same catalogue.
"""

import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from rqvae_lib.semantic_ids.array_files import python_for_grid
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.config import AS_MANY, ENDINGS, Format
from rqvae_lib.semantic_ids.exports import check_export, export_ids
from rqvae_lib.semantic_ids.files import write_ids
from rqvae_lib.semantic_ids.imports import import_ids

Content = str | bytes | Callable[[Path], object]


class Shape(NamedTuple):
    """A file of another project, and what it says."""

    file: str
    content: Content
    codes: list[list[int]]  # of the items, in the order of `items`
    items: list[Any] | None = None  # the dataset's ids; None: those of the file, in its order
    own: list[Any] | None = None  # the ids that come out, where items is None
    sizes: tuple[int, ...] | None = None
    says: tuple[str, ...] = ()
    how: dict[str, Any] = {}  # noqa: RUF012


def index(*rows: tuple[str, list[str]]) -> str:
    return json.dumps(dict(rows))


def npy(rows: list[list[int]], kind: str = "int64") -> Callable[[Path], object]:
    return lambda path: np.save(path, np.array(rows, dtype=kind))


def parquet(**columns: Any) -> Callable[[Path], object]:
    return lambda path: pq.write_table(pa.table(columns), path)


PLAIN = [[236, 231, 226], [0, 17, 3], [255, 0, 0]]
SHAPES = {
    "LC-Rec: three levels, rows as keys": Shape(
        "Games.index.json",
        '{"0": ["<a_236>", "<b_231>", "<c_226>"], "1": ["<a_0>", "<b_17>", "<c_3>"],'
        ' "2": ["<a_255>", "<b_0>", "<c_0>"]}',
        PLAIN,
        items=["B0002", "B0001", "B0003"],
        says=(
            "three levels; codes begin at 0",
            "the keys are rows from 0 on",
            "no collision digit",
        ),
    ),
    "LETTER: a fourth level that is learned": Shape(
        "Yelp.index.json",
        index(
            ("0", ["<a_1>", "<b_2>", "<c_3>", "<d_120>"]),
            ("1", ["<a_1>", "<b_2>", "<c_3>", "<d_7>"]),
            ("2", ["<a_0>", "<b_0>", "<c_9>", "<d_0>"]),
        ),
        [[1, 2, 3, 120], [1, 2, 3, 7], [0, 0, 9, 0]],
        says=("four levels", "no collision digit"),
        own=[0, 1, 2],
    ),
    "a fourth token that counts the items with equal codes": Shape(
        "X.index.json",
        index(
            ("0", ["<a_1>", "<b_2>", "<c_3>", "<d_0>"]),
            ("1", ["<a_0>", "<b_0>", "<c_9>", "<d_0>"]),
            ("2", ["<a_1>", "<b_2>", "<c_3>", "<d_1>"]),
            ("3", ["<a_1>", "<b_2>", "<c_0>", "<d_0>"]),
        ),
        [[1, 2, 3], [0, 0, 9], [1, 2, 3], [1, 2, 0]],
        own=[0, 1, 2, 3],
        says=("the last number is a collision digit", "4 distinct IDs of 4", "2 items share"),
    ),
    "shipped collisions": Shape(
        "X.index.json",
        index(*((str(row), ["<a_5>", "<b_0>", f"<c_{row // 2}>"]) for row in range(5))),
        [[5, 0, 0], [5, 0, 0], [5, 0, 1], [5, 0, 1], [5, 0, 2]],
        own=[0, 1, 2, 3, 4],
        says=("3 distinct IDs of 5 items", "4 items share their codes"),
    ),
    "MiniOneRec, constrained k-means: from 1, and only items that collide have one more": Shape(
        "Industrial.index.json",
        index(
            ("0", ["<a_1>", "<b_256>", "<c_1>"]),
            ("1", ["<a_256>", "<b_1>", "<c_9>", "<d_1>"]),
            ("2", ["<a_256>", "<b_1>", "<c_9>", "<d_2>"]),
            ("3", ["<a_3>", "<b_1>", "<c_256>"]),
        ),
        [[0, 255, 0], [255, 0, 8], [255, 0, 8], [2, 0, 255]],
        own=[0, 1, 2, 3],
        sizes=(256, 256, 256),
        says=("codes begin at 1 (base)", "collision digit, which 2 of 4 items have"),
    ),
    "torch-rechub: keys from 1": Shape(
        "semantic_ids.json",
        index(("1", ["<a_0>", "<b_1>"]), ("2", ["<a_2>", "<b_3>"]), ("3", ["<a_1>", "<b_1>"])),
        [[0, 1], [2, 3], [1, 1]],
        items=[100, 50, 7],
        says=("the keys are rows from 1 on",),
    ),
    "MIMIGenRec: id2sid": Shape(
        "id2sid.json",
        index(("12", ["<a_0>", "<b_1>"]), ("7", ["<a_2>", "<b_3>"])),
        [[2, 3], [0, 1]],
        items=[7, 12],
        says=("the keys are items' ids",),
    ),
    "GRID: levels first, 0 for an item that is alone and 1, 2, … for those that collide": Shape(
        "merged.npy",
        npy([[3, 7, 3, 0, 3, 2], [1, 1, 1, 2, 1, 0], [0, 0, 0, 9, 0, 0], [1, 0, 2, 0, 3, 0]]),
        [[3, 1, 0], [7, 1, 0], [3, 1, 0], [0, 2, 9], [3, 1, 0], [2, 0, 0]],
        own=[0, 1, 2, 3, 4, 5],
        says=("shape (4, 6) is (levels, items)", "the last number is a collision digit"),
    ),
    "NVIDIA sid_gr: the same orientation, as safetensors": Shape(
        "sids.safetensors",
        lambda path: save_file({"sids": np.array([[3, 7, 0], [1, 1, 2]])}, path),
        [[3, 1], [7, 1], [0, 2]],
        items=["x", "y", "z"],
        says=("(levels, items)", "row i for item i"),
    ),
    "UniGenRec: items first": Shape(
        "beauty.npy",
        npy([[5, 0, 0], [0, 3, 0], [5, 0, 1], [2, 2, 0]], "int32"),
        [[5, 0], [0, 3], [5, 0], [2, 2]],
        items=[4, 3, 2, 1],
        says=("(items, levels)", "the last number is a collision digit"),
    ),
    "an array with as many levels as items": Shape(
        "square.npy",
        npy([[9, 1, 2], [3, 0, 5], [6, 7, 8]]),
        [[9, 3, 6], [1, 0, 7], [2, 5, 8]],
        items=[1, 2, 3],
        how={"levels_first": True},
    ),
    "UniGenRec: one text for each item": Shape(
        "beauty.codebook.json",
        '{"0": "<L0_103> <L1_178>", "1": "<L0_0> <L1_4>"}',
        [[103, 178], [0, 4]],
        own=[0, 1],
    ),
    "NVIDIA's catalogue": Shape(
        "catalogue.jsonl",
        '{"item_id": 17, "token_ids": [1, 0, 5], "metadata": {"title": "A"}}\n'
        '{"item_id": 4, "token_ids": [0, 2, 5], "metadata": {}}\n\n',
        [[0, 2, 5], [1, 0, 5]],
        items=[4, 17],
        says=("JSON lines",),
    ),
    "NVIDIA's catalogue with ids of text": Shape(
        "catalogue.jsonl",
        '{"item_id": "b", "token_ids": [0, 3]}\n{"item_id": "a", "token_ids": [2, 0]}',
        [[0, 3], [2, 0]],
        own=["b", "a"],
    ),
    "OpenOneRec: lists": Shape(
        "pid2sid.parquet",
        parquet(pid=[30, 10, 20], codes=[[8191, 0, 5], [0, 1, 1], [4, 4, 4]]),
        [[0, 1, 1], [4, 4, 4], [8191, 0, 5]],
        items=[10, 20, 30],
        sizes=(8192, 5, 6),
    ),
    "OpenOneRec: as its next script reads it": Shape(
        "pid2sid.parquet",
        parquet(
            pid=[30, 10],
            sid=[
                "<|sid_begin|><s_a_1><s_b_0><s_c_3><|sid_end|>",
                "<|sid_begin|><s_a_0><s_b_2><s_c_0><|sid_end|>",
            ],
        ),
        [[1, 0, 3], [0, 2, 0]],
        own=[30, 10],
    ),
    "RPG, ActionPiece: raw ids and 32 codes": Shape(
        "Beauty.sem_ids",
        json.dumps({"B00A": list(range(32)), "007": [0] * 32}),
        [[0] * 32, list(range(32))],
        items=["007", "B00A"],
        says=("32 levels",),
    ),
    "FORGE": Shape(
        "item_sid.csv",
        "item_id,codebook_lv1,codebook_lv2,codebook_lv3\n900,8191,0,12\n17,3,8000,0\n",
        [[3, 8000, 0], [8191, 0, 12]],
        items=[17, 900],
        says=("a table",),
    ),
    "FORGE's tiny set, from a spreadsheet": Shape(
        "tiny_item_sid_base.csv",
        "\ufeffbase62_string,codebook_lv1,codebook_lv2,codebook_lv3\r\naZ,1,0,12\r\n007,0,3,0\r\n",
        [[1, 0, 12], [0, 3, 0]],
        own=["aZ", "007"],
    ),
    "FORGE as text: offsets of 8,192 in the numbers": Shape(
        "sid.json",
        '{"5": "C3C8195C16390", "6": "C8191C8192C24575", "9": "C0C16383C16384"}',
        [[3, 3, 6], [8191, 0, 8191], [0, 8191, 0]],
        own=[5, 6, 9],
        sizes=(8192, 8192, 8192),
        says=("each level's offset is in its numbers",),
    ),
    "eugeneyan: offsets of 256 in the numbers": Shape(
        "sids.json",
        index(
            ("a", ["<|sid_start|>", "<|sid_0|>", "<|sid_256|>", "<|sid_767|>", "<|sid_end|>"]),
            ("b", ["<|sid_start|>", "<|sid_250|>", "<|sid_300|>", "<|sid_512|>", "<|sid_end|>"]),
            ("c", ["<|sid_start|>", "<|sid_255|>", "<|sid_511|>", "<|sid_600|>", "<|sid_end|>"]),
        ),
        [[0, 0, 255], [250, 44, 0], [255, 255, 88]],
        items=["a", "b", "c"],
        says=("each level's offset is in its numbers (offsets)",),
    ),
    "TorchEasyRec: codes joined by commas": Shape(
        "item_to_sid.csv",
        "item_id,origin_codebook,codebook,offset_codebook,index\n"
        '8,"1,0,2","1,0,3","1,256,515",0\n9,"1,0,2","0,0,2","0,256,514",1\n',
        [[1, 0, 3], [0, 0, 2]],
        own=[8, 9],
        says=("codes from 'codebook'; not read: 'origin_codebook, offset_codebook, index'",),
    ),
    "TorchEasyRec: lists": Shape(
        "item_to_sid.parquet",
        parquet(
            item_id=["x", "y"],
            origin_codebook=[[1, 0], [1, 0]],
            codebook=[[1, 1], [0, 0]],
            offset_codebook=[[1, 257], [0, 256]],
            index=[0, 0],
        ),
        [[1, 1], [0, 0]],
        own=["x", "y"],
        how={"collision_digit": False},
    ),
    "xLLM: records": Shape(
        "content.bin",
        struct.pack("<qiii", 2**40, 0, 5, 255) + struct.pack("<qiii", 7, 3, 0, 0),
        [[3, 0, 0], [0, 5, 255]],
        items=[7, 2**40],
        how={"collision_digit": False},
    ),
    "LIGER, converted: row = item − 1": Shape(
        "liger.npy",
        npy([[0, 3, 1], [2, 0, 5], [1, 1, 1], [2, 0, 0]]),
        [[0, 3, 1], [2, 0, 5], [1, 1, 1], [2, 0, 0]],
        items=[1, 2, 3, 4],
    ),
    "a digit that has an offset too": Shape(
        "sids.json",
        json.dumps(
            {"a": [0, 256, 512], "b": [255, 511, 512], "c": [0, 256, 513], "d": [9, 256, 512]}
        ),
        [[0, 0], [255, 255], [0, 0], [9, 0]],
        own=["a", "b", "c", "d"],
        sizes=(256, 256),
        says=("each level's offset", "the last number is a collision digit"),
    ),
    "a digit without the offset that the codes have": Shape(
        "sids.json",
        json.dumps({"a": [0, 256, 0], "b": [255, 511, 0], "c": [0, 256, 1], "d": [1, 256, 0]}),
        [[0, 0], [255, 255], [0, 0], [1, 0]],
        own=["a", "b", "c", "d"],
        sizes=(256, 256),
    ),
    "more items than the catalogue has": Shape(
        "map.csv",
        "item_id,codebook_lv1,codebook_lv2\n1,0,4\n2,1,1\n3,2,0\n",
        [[2, 0], [0, 4]],
        items=[3, 1],
        how={"surplus": "drop"},
        says=("1 items that are not in the catalogue were left out",),
    ),
}


def put(folder: Path, name: str, content: Content) -> Path:
    path = folder / name
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8", newline="")
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content(path)
    return path


@pytest.mark.parametrize("name", SHAPES)
def test_another_projects_file_is_understood(name: str, tmp_path: Path) -> None:
    shape = SHAPES[name]
    path = put(tmp_path, shape.file, shape.content)
    found = import_ids(path, shape.items, **shape.how)
    assert found.ids.codes.tolist() == shape.codes
    sizes = shape.sizes or tuple(1 + max(column) for column in zip(*shape.codes, strict=True))
    assert found.ids.sizes[:-1] == sizes
    assert found.item_ids.tolist() == (shape.own if shape.items is None else shape.items)
    said = "\n".join(found.said)
    assert all(one in said for one in shape.says), said


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("format", [one for one in get_args(Format) if one != "tokens"])
def test_each_of_them_goes_on_to_every_other_project(
    name: str, format: Format, tmp_path: Path
) -> None:
    """Any shape can be read and written as any other, and is the same catalogue again."""
    shape = SHAPES[name]
    found = import_ids(put(tmp_path, shape.file, shape.content), shape.items, **shape.how)
    digit = "none" if format == "records" else "all"
    if format == "records" and (len(found.ids.sizes) != 4 or found.item_ids.dtype == object):
        path = tmp_path / "on.bin"
        with pytest.raises(ValueError, match="records hold"):
            export_ids(path, found.ids, found.item_ids, format=format, collision_digit=digit)
        return
    for ending in ENDINGS[format]:
        path = tmp_path / f"on{ending}"
        export_ids(path, found.ids, found.item_ids, format=format, collision_digit=digit)
        sizes = found.ids.sizes[:-1]
        keys = None if format == "grid" else "items"
        levels_first = True if format == "grid" else None
        back = import_ids(
            path,
            found.item_ids,
            base=0,
            offsets=False,
            codebook_sizes=sizes,
            keys=keys,  # type: ignore[arg-type]
            levels_first=levels_first,
        )
        assert back.ids.sha256 == found.ids.sha256


# What the files look like

CODES = torch.tensor([[2, 1], [0, 1], [2, 1], [2, 0], [2, 1]])
IDS = SemanticIDs(CODES, [3, 2])
OWN = np.array([10, 7, 30, 4, 5])


def exported(path: Path, **how: Any) -> str:
    export_ids(path, IDS, OWN, **how)
    return path.read_text(encoding="utf-8")


def test_an_index_has_a_list_of_tokens_for_each_item(tmp_path: Path) -> None:
    text = exported(tmp_path / "x.json", format="index-json")
    assert json.loads(text) == {
        "10": ["<a_2>", "<b_1>", "<c_0>"],
        "7": ["<a_0>", "<b_1>", "<c_0>"],
        "30": ["<a_2>", "<b_1>", "<c_1>"],
        "4": ["<a_2>", "<b_0>", "<c_0>"],
        "5": ["<a_2>", "<b_1>", "<c_2>"],
    }
    text = exported(
        tmp_path / "x.json", format="index-json", keys="rows", collision_digit="colliding", base=1
    )
    assert json.loads(text) == {
        "0": ["<a_3>", "<b_2>", "<c_1>"],
        "1": ["<a_1>", "<b_2>"],
        "2": ["<a_3>", "<b_2>", "<c_2>"],
        "3": ["<a_3>", "<b_1>"],
        "4": ["<a_3>", "<b_2>", "<c_3>"],
    }


STYLED = {
    "lc-rec": ("<a_2>", "<b_1>", "<c_1>"),
    "openonerec": ("<s_a_2>", "<s_b_1>", "<s_c_1>"),
    "unigenrec": ("<L0_2>", "<L1_1>", "<L2_1>"),
    "forge": ("C2", "C4", "C6"),
    "sid": ("<|sid_2|>", "<|sid_4|>", "<|sid_6|>"),
}


@pytest.mark.parametrize("style", STYLED)
def test_tokens_look_as_each_project_writes_them(style: str, tmp_path: Path) -> None:
    how = {"token_style": style, "offsets": style in ("forge", "sid")}
    path = tmp_path / "x.json"
    assert json.loads(exported(path, format="index-json", **how))["30"] == list(STYLED[style])
    sizes = {"codebook_sizes": [3, 2]}
    assert import_ids(path, OWN, **sizes).ids.sha256 == IDS.sha256
    for begin_end in (False, True):
        how["begin_end"] = begin_end
        text = json.loads(exported(path, format="text-json", **how))["30"]
        between = " " if style == "unigenrec" else ""
        markers = ("<|sid_begin|>", "<|sid_end|>") if begin_end else ("", "")
        assert text == between.join(filter(None, [markers[0], *STYLED[style], markers[1]]))
        assert import_ids(path, OWN, **sizes).ids.sha256 == IDS.sha256
    tokens = exported(tmp_path / "x.txt", format="tokens", **how).split()
    assert set(STYLED[style]) <= set(tokens)
    assert len(set(tokens)) == len(tokens) == 3 + 2 + 3 + 2


def test_a_grid_has_levels_first_and_grids_own_digit(tmp_path: Path) -> None:
    for ending in (".npy", ".safetensors"):
        path = tmp_path / f"x{ending}"
        export_ids(path, IDS, OWN, format="grid")
        back = import_ids(path, OWN, codebook_sizes=[3, 2])
        assert back.ids.sha256 == IDS.sha256
    export_ids(tmp_path / "y.npy", IDS, OWN, format="grid", levels_first=False)
    found = np.load(tmp_path / "x.npy")
    assert np.load(tmp_path / "y.npy").tolist() == found.T.tolist()
    assert found.dtype == np.int64
    assert found.tolist() == [[2, 0, 2, 2, 2], [1, 1, 1, 0, 1], [1, 0, 2, 0, 3]]


def test_the_commands_for_grid_make_its_pickle_and_read_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for ending in (".npy", ".safetensors"):
        export_ids(f"x{ending}", IDS, OWN, format="grid")
        there, back = python_for_grid(Path(f"x{ending}")).splitlines()
        for line in (there, back):
            exec(line.split('"')[1], {})
        assert torch.load("merged_predictions_tensor.pt", weights_only=True).shape == (3, 5)
        found = import_ids("merged_predictions_tensor.npy", OWN, codebook_sizes=[3, 2])
        assert found.ids.sha256 == IDS.sha256


def test_lines_lists_and_tables(tmp_path: Path) -> None:
    titles = ['A "quoted" one', "七人の侍", "", "two\nlines", "NA"]
    path = tmp_path / "x.jsonl"
    export_ids(path, IDS, OWN, format="catalogue-jsonl", titles=titles, offsets=True)
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert lines[2] == {"item_id": 30, "token_ids": [2, 4, 6], "metadata": {"title": ""}}
    assert [line["metadata"]["title"] for line in lines] == titles
    assert json.loads(exported(tmp_path / "x.sem_ids", format="sem-ids", base=1))["5"] == [3, 2, 3]
    export_ids(tmp_path / "x.parquet", IDS, OWN, format="parquet", collision_digit="none")
    table = pq.read_table(tmp_path / "x.parquet").to_pydict()
    assert table == {"pid": OWN.tolist(), "codes": CODES.tolist()}
    text = exported(tmp_path / "x.csv", format="csv", collision_digit="none")
    assert text.splitlines()[:2] == ["item_id,codebook_lv1,codebook_lv2", "10,2,1"]
    how: dict[str, Any] = {"format": "item-to-sid", "collision_digit": "none"}
    first, *rows = exported(tmp_path / "y.csv", **how).splitlines()
    assert first == "item_id,origin_codebook,codebook,offset_codebook,index"
    assert rows[0] == '10,"2,1","2,1","2,4",0'  # level 2 begins behind the three codes of level 1
    assert [row[-1] for row in rows] == ["0", "0", "1", "0", "2"]
    export_ids(tmp_path / "y.parquet", IDS, OWN, **how)
    table = pq.read_table(tmp_path / "y.parquet").to_pydict()
    assert table["item_id"] == OWN.tolist()
    assert table["codebook"] == table["origin_codebook"] == CODES.tolist()
    assert table["offset_codebook"] == [[first, second + 3] for first, second in CODES.tolist()]
    assert table["index"] == [0, 0, 1, 0, 2]


def test_records_are_twenty_bytes_each(tmp_path: Path) -> None:
    export_ids(tmp_path / "x.bin", IDS, OWN, format="records")
    data = (tmp_path / "x.bin").read_bytes()
    assert struct.unpack("<qiii", data[40:60]) == (30, 2, 1, 1)
    assert len(data) == 100


def test_what_is_lost_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x"
    rows = np.arange(5)
    (said,) = export_ids(path.with_suffix(".npy"), IDS, rows, format="grid")
    assert said == "not in the file: the codebook sizes (3, 2)"
    (said,) = export_ids(path.with_suffix(".npy"), IDS, OWN, format="grid", titles=["t"] * 5)
    assert "titles; the item ids (row numbers stand for them)" in said
    said = "\n".join(
        export_ids(path.with_suffix(".json"), IDS, OWN, format="index-json", collision_digit="none")
    )
    assert "(--keys rows)" in said
    assert "2 of 5 items have the ID of an earlier item" in said
    (said,) = export_ids(path.with_suffix(".txt"), IDS, OWN, format="tokens")
    assert said.startswith("8 tokens")


BAD_EXPORTS = [
    ("x.txt", {"format": "csv"}, r"ends in '\.txt': name a \.csv file for csv"),
    ("x.csv", {"format": "csv", "collision_digit": "colliding"}, "as many numbers for each item"),
    ("x.npy", {"format": "grid", "collision_digit": "colliding"}, "as many numbers for each item"),
    ("x.bin", {"format": "records", "collision_digit": "none"}, "records hold 3 numbers"),
    ("x.json", {"format": "index-json", "token_style": "sid"}, "such as <.sid_12.> does not say"),
    ("x.csv", {"format": "csv", "base": 2}, "base is 2; expected 0 or 1"),
    ("x.csv", {"format": "csv", "item_ids": [1]}, "there are 1 item_ids for 5 IDs"),
    ("x.bin", {"format": "records", "item_ids": list("abcde")}, r"but these are text, such as 'a'"),
]


@pytest.mark.parametrize(("name", "how", "says"), BAD_EXPORTS)
def test_what_a_format_cannot_hold_is_refused(
    name: str, how: dict[str, Any], says: str, tmp_path: Path
) -> None:
    own = how.get("item_ids", OWN)
    with pytest.raises(ValueError, match=says):
        export_ids(tmp_path / name, IDS, own, **{k: v for k, v in how.items() if k != "item_ids"})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", get_args(Format))
def test_a_write_that_fails_leaves_the_old_file(
    format: Format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"x{ENDINGS[format][0]}"
    export_ids(path, IDS, OWN, format=format)
    before = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="No space"):
        export_ids(path, IDS, OWN, format=format, base=1)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# Our own table


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_our_own_table_is_read_too_with_its_titles(ending: str, tmp_path: Path) -> None:
    path, titles = tmp_path / f"ids{ending}", ["Alien", 'a "b", c', "七", "", "NA"]
    write_ids(path, IDS.to_frame(OWN, titles))
    back = import_ids(path, codebook_sizes=[3, 2])
    assert back.ids.sha256 == IDS.sha256
    assert back.item_ids.tolist() == OWN.tolist()
    assert back.titles == titles
    some = import_ids(path, [5, 10], surplus="drop")
    assert some.titles == ["NA", "Alien"]
    assert some.ids.codes.tolist() == [[2, 1], [2, 1]]
    with pytest.raises(ValueError, match=r"column 'item_id': item 99 is missing"):
        import_ids(path, [*OWN, 99])
    spoilt = pd.DataFrame(IDS.to_frame(OWN, titles)).assign(disambiguation=0)
    write_ids(path, spoilt)
    with pytest.raises(ValueError, match="row 2, column 'disambiguation': found '0', expected 1"):
        import_ids(path)


def test_a_table_of_ours_with_one_more_column_is_read_as_any_table(tmp_path: Path) -> None:
    path = tmp_path / "ids.csv"
    IDS.to_frame(OWN, list("abcde")).assign(price=3).to_csv(path, index=False)
    found = import_ids(path, OWN, codebook_sizes=[3, 2])
    assert found.ids.sha256 == IDS.sha256
    assert "not read: 'title, disambiguation, semantic_id, price'" in found.said[0]


@pytest.mark.parametrize("between", [", ", ",", " ", "  "])
def test_lists_that_pandas_wrote_into_a_csv_are_read(between: str, tmp_path: Path) -> None:
    lists = [f"[{between.join(map(str, row))}]" for row in IDS.codes.tolist()]
    pd.DataFrame({"pid": OWN, "codes": lists}).to_csv(tmp_path / "x.csv", index=False)
    found = import_ids(tmp_path / "x.csv", OWN, codebook_sizes=[3, 2], collision_digit=False)
    assert found.ids.sha256 == IDS.sha256


USELESS: list[tuple[str, dict[str, Any], str]] = [
    ("own.csv", {"base": 1}, "codes from 0, without offsets, and with a collision digit"),
    ("own.csv", {"offsets": True}, "codes from 0, without offsets, and with a collision digit"),
    ("own.csv", {"collision_digit": False}, "leave base, offsets and collision_digit out"),
    ("x.json", {"levels_first": False}, "x.json is not an array"),
    ("x.npy", {"keys": "items", "item_ids": OWN}, "x.npy is an array, which has no item ids"),
    ("x.json", {"keys": "rows"}, "without item_ids, all items of"),
    ("x.json", {"surplus": "drop"}, "without item_ids, all items of"),
]


@pytest.mark.parametrize(("name", "how", "says"), USELESS)
def test_an_argument_that_would_change_nothing_is_refused(
    name: str, how: dict[str, Any], says: str, tmp_path: Path
) -> None:
    write_ids(tmp_path / "own.csv", IDS.to_frame(OWN, list("abcde")))
    export_ids(tmp_path / "x.json", IDS, OWN, format="index-json")
    export_ids(tmp_path / "x.npy", IDS, OWN, format="grid")
    with pytest.raises(ValueError, match=says):
        import_ids(tmp_path / name, **how)


# Collisions


def test_items_without_a_digit_are_not_taken_for_repeated(tmp_path: Path) -> None:
    """Only the items that collide have a digit, and another item comes before and after them."""
    rows = {"a": [0, 0, 0], "b": [0, 0, 1], "c": [0, 1], "d": [1, 0, 0], "e": [1, 0, 1]}
    (tmp_path / "x.json").write_text(json.dumps(rows), encoding="utf-8")
    found = import_ids(tmp_path / "x.json", collisions="refuse")
    assert "5 distinct IDs of 5 items" in found.said


def test_collisions_are_counted_and_told_apart_or_kept_or_refused(tmp_path: Path) -> None:
    rows = {"a": [1, 0, 1], "b": [0, 0, 0], "c": [1, 0, 0], "d": [1, 0, 1]}
    path = put(tmp_path, "x.json", json.dumps(rows))
    how = {"collision_digit": True}
    found = import_ids(path, **how)
    assert found.ids.ids.tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 1], [1, 0, 2]]
    said = "\n".join(found.said)
    assert "3 distinct IDs of 4 items" in said
    assert "3 items share their codes" in said
    assert "for 2 items it differs from the file's" in said  # c was before a
    kept = import_ids(path, **how, collisions="keep")
    assert kept.ids.codes.tolist() == list(rows.values())
    assert kept.ids.ids[:, -1].tolist() == [0, 0, 0, 1]
    with pytest.raises(ValueError, match=r"item 'd': its ID, codes \[1, 0\], is that of an earl"):
        import_ids(path, **how, collisions="refuse")
    unique = put(tmp_path, "y.json", json.dumps({"a": [1, 0, 0], "b": [1, 0, 1]}))
    assert import_ids(unique, **how, collisions="refuse").ids.ids.tolist() == [[1, 0, 0], [1, 0, 1]]


def test_a_kept_digit_that_only_some_items_have_is_0_for_the_others(tmp_path: Path) -> None:
    path = put(tmp_path, "x.json", json.dumps({"a": [0, 5], "b": [0, 2, 0], "c": [0, 2, 1]}))
    kept = import_ids(path, collisions="keep", offsets=False)
    assert kept.ids.codes.tolist() == [[0, 5, 0], [0, 2, 1], [0, 2, 2]]
    assert kept.ids.sizes == (1, 6, 3, 1)


def test_items_without_a_digit_are_told_apart_by_their_codes(tmp_path: Path) -> None:
    written = {"a": [0, 1, 2], "b": [3, 4, 5], "c": [6, 7, 1], "d": [3, 4, 5, 1], "e": [2, 2, 2]}
    path = put(tmp_path, "x.json", json.dumps(written))
    found = import_ids(path, collisions="refuse")
    assert found.ids.ids[:, -1].tolist() == [0, 0, 0, 1, 0]
    assert "5 distinct IDs of 5 items" in found.said


# Which item is which


def test_keys_that_could_be_ids_or_rows_are_asked_for(tmp_path: Path) -> None:
    path = put(tmp_path, "x.json", '{"0": [0, 5], "1": [1, 6], "2": [2, 0]}')
    assert import_ids(path, [0, 1, 2]).ids.codes.tolist() == [[0, 5], [1, 6], [2, 0]]
    with pytest.raises(ValueError, match="its keys may be items' ids or rows from 0 on of the cat"):
        import_ids(path, [2, 0, 1])
    by_id = import_ids(path, [2, 0, 1], keys="items")
    assert by_id.ids.codes.tolist() == [[2, 0], [0, 5], [1, 6]]
    by_row = import_ids(path, [2, 0, 1], keys="rows")
    assert by_row.ids.codes.tolist() == [[0, 5], [1, 6], [2, 0]]


def test_missing_and_surplus_items_are_counted_with_examples(tmp_path: Path) -> None:
    path = put(tmp_path, "x.json", '{"a": [0, 5], "b": [1, 6], "c": [2, 0], "d": [2, 2]}')
    with pytest.raises(
        ValueError, match=r"no ID for 2 of the catalogue's 4 items, such as 'x', 'y'"
    ):
        import_ids(path, ["a", "x", "b", "y"])
    with pytest.raises(ValueError, match=r"has 2 items that are not in the cat.*such as 'b', 'c' "):
        import_ids(path, ["a", "d"])
    assert import_ids(path, ["d", "a"], surplus="drop").ids.codes.tolist() == [[2, 2], [0, 5]]


# What can be read in two ways


AMBIGUOUS = [
    (
        {"a": [0, 0], "b": [0, 1]},
        {},
        "may be a collision digit, which counts .*2 of 2.*, or a level",
    ),
    ({"a": [3, 9], "b": [5, 4]}, {}, "codes may begin at 0 or at 1: pass base=0 or base=1"),
    ({"a": [0, 40], "b": [33, 41]}, {}, r"pass codebook_sizes \(--ids-sizes\), or offsets=False"),
    ({"a": [1, 1], "b": [1, 1]}, {"codebook_sizes": [1, 2]}, ""),
    ({"a": [0, 1], "b": [0, 1]}, {"codebook_sizes": [1, 2]}, "with each level's offset in them"),
    (
        {"a": [0, 1, 2], "b": [0, 1, 3]},
        {"codebook_sizes": [3]},
        "names one level; expected as many",
    ),
    (
        {"a": [0, 1, 2], "b": [0, 1]},
        {"codebook_sizes": [1, 2, 3]},
        "codebook_sizes asks for one wi",
    ),
    (
        {"a": [0, 1, 2], "b": [0, 1]},
        {"collision_digit": False},
        "collision_digit asks for one with",
    ),
    (
        {"a": [0], "b": [1]},
        {"collision_digit": True},
        "one number, so it cannot be a collision dig",
    ),
]


@pytest.mark.parametrize(("rows", "how", "says"), AMBIGUOUS)
def test_what_can_be_read_in_two_ways_is_refused(
    rows: dict[str, list[int]], how: dict[str, Any], says: str, tmp_path: Path
) -> None:
    path = put(tmp_path, "x.json", json.dumps(rows))
    if not says:
        import_ids(path, **how)
        return
    with pytest.raises(ValueError, match=says) as caught:
        import_ids(path, **how)
    assert str(caught.value).startswith(str(path))


# Files that are refused

BAD = {
    "a repeated key": (
        "x.json",
        '{"7": [0, 1], "7": [1, 0]}',
        "row 1: found '7', expected each item",
    ),
    "a list": ("x.json", "[[0, 1], [1, 0]]", "holds a list, expected a JSON object"),
    "no items": ("x.json", "{}", "has no items"),
    "no JSON": ("x.json", '{"7": [0, 1}', "is not JSON"),
    "no bytes": ("x.json", "", "is not JSON"),
    "a blank key": ("x.json", '{"7": [0, 1], " ": [1, 0]}', "row 1: found ' ', expected an id"),
    "half a character": (
        "x.json",
        '{"7": [0, 1], "a\\ud800": [1, 0]}',
        r"row 1: found 'a\\ud800', expected an id of whole characters",
    ),
    "too deep": ("x.json", "[" * 100_000, "is not JSON"),
    "Latin-1": ("x.json", b'{"\xe9": [0]}', "is not UTF-8 text"),
    "a fraction": ("x.json", '{"7": [0, 1.0]}', "item '7', level 2: found 1.0, expected a code"),
    "true": ("x.json", '{"7": [0, true]}', "item '7', level 2: found True, expected a code"),
    "below 0": ("x.json", '{"7": [0, -1]}', "item '7', level 2: found -1, expected a code from 0"),
    "too large": ("x.json", f'{{"7": [{2**31}]}}', "item '7', level 1: found 2147483648"),
    "very large": ("x.json", f'{{"7": [{10**30}]}}', "item '7', level 1: found 1000"),
    "null": ("x.json", '{"7": null}', "item '7': found None, expected a list of codes"),
    "nothing": ("x.json", '{"7": [0], "8": []}', r"item '8': found \[\], expected at least one"),
    "an object": ("x.json", '{"7": [{"a": 1}]}', "item '7', level 1: found {'a': 1}"),
    "mixed": (
        "x.json",
        '{"7": ["<a_0>"], "8": [1]}',
        "item '8', level 1: found 1, expected a token",
    ),
    "another token": (
        "x.json",
        '{"7": ["<a_0>", "<b_x>"]}',
        "item '7': found '<b_x>', expected a tok",
    ),
    "levels swapped": ("x.json", '{"7": ["<b_0>", "<a_0>"]}', "item '7', level 1: found '<b_0>'"),
    "upper case": ("x.json", '{"7": ["<A_0>"]}', "item '7': found '<A_0>', expected a token such"),
    "a marker inside": (
        "x.json",
        '{"7": "C0<|sid_end|>C1"}',
        "expected it first or last in an item",
    ),
    "only markers": ("x.json", '{"7": ["<|sid_begin|>"]}', "item '7': found"),
    "other words": ("x.json", '{"7": "C0 and C1"}', "item '7': found 'C0 and C1', expected tokens"),
    "a level too few": (
        "x.json",
        '{"7": [0, 1, 2, 3], "8": [0, 1]}',
        "item '8': found 'two numbers', expected 4, or one less",
    ),
    "a line that is none": (
        "x.jsonl",
        '{"item_id": 1, "token_ids": [0, 1]}\n[3]\n',
        "line 2: found '.3.', expected an object with item_id, token_ids",
    ),
    "a line cut off": (
        "x.jsonl",
        '{"item_id": 1, "token_ids": [0, 1]}\n{"item',
        "line 2 is not JSON",
    ),
    "ids of two types": (
        "x.jsonl",
        '{"item_id": 1, "token_ids": [0]}\n{"item_id": "b", "token_ids": [1]}',
        "line 2, 'item_id': found 'b', expected an id, all whole numbers or all text",
    ),
    "an empty line": ("x.jsonl", '{"item_id": 1, "token_ids": [0]}\n\n{}', "line 2 is not JSON"),
    "a line's code": (
        "x.jsonl",
        '{"item_id": 1, "token_ids": [0, 2]}\n{"item_id": 2, "token_ids": [0, "x"]}',
        "line 2, level 2: found 'x', expected a code",
    ),
    "an id of 65 bits": (
        "x.jsonl",
        f'{{"item_id": {2**63}, "token_ids": [0]}}',
        "line 1, 'item_id': found 9223372036854775808, expected an id of 64 bits",
    ),
    "other columns": (
        "x.csv",
        "item,lv1\n1,2\n",
        "has the columns 'item, lv1', expected a column of",
    ),
    "a column twice": ("x.csv", "item_id,code_1,code_1\n1,2,3\n", "has the columns"),
    "an empty field": (
        "x.csv",
        "item_id,codebook_lv1,codebook_lv2\n1,2,0\n2,,1\n3,,1\n",
        r"row 1, column 'codebook_lv1': found '', expected a code .* \(2 such rows\)",
    ),
    "a float": (
        "x.csv",
        "item_id,codebook_lv1\n1,2.0\n",
        "row 0, column 'codebook_lv1': found '2.0', expected a code",
    ),
    "a level that is missing": (
        "x.csv",
        "item_id,codebook_lv1,codebook_lv3\n1,2,0\n2,0,0\n",
        "'codebook_lv1, codebook_lv3', expected one for each level, numbered from 0 or 1",
    ),
    "a row too long": ("x.csv", "item_id,codebook_lv1\n1,2\n3,4,5\n", "is not a table of IDs"),
    "no id": ("x.csv", "item_id,codebook_lv1\n ,2\n", "row 0, column 'item_id': found ''"),
    "an id twice": ("x.csv", "item_id,codebook_lv1\n5,2\n5,3\n", "row 1: found '5', expected each"),
    "no rows": ("x.csv", "item_id,codebook_lv1\n", "has no rows"),
    "a joined code": (
        "x.csv",
        'item_id,codebook\n1,"1,2"\n2,"1,x"\n',
        "row 1, column 'codebook': found '1,x', expected codes with ',' between them",
    ),
    "a column of floats": (
        "x.parquet",
        parquet(pid=[1], codes=[[1.5]]),
        "column 'codes' holds list<.*double>, expected lists of whole numbers",
    ),
    "a missing list": (
        "x.parquet",
        parquet(pid=[1, 2], codes=[[1], None]),
        "row 1, column 'codes': found None, expected an ID",
    ),
    "a missing code": (
        "x.parquet",
        parquet(pid=[1, 2], codes=[[1, 2], [3, None]]),
        r"row 1, column 'codes': found \[3, None\], expected codes, none missing",
    ),
    "an empty list": (
        "x.parquet",
        parquet(pid=[1, 2], codes=[[1, 2], []]),
        r"row 1, column 'codes': found \[\], expected at least one",
    ),
    "a code below 0": (
        "x.parquet",
        parquet(pid=[1, 2], codes=[[1, 2], [3, -4]]),
        r"row 1, column 'codes': found \[3, -4\], expected codes from 0",
    ),
    "a missing id": (
        "x.parquet",
        parquet(pid=[1, None], codes=[[1], [2]]),
        "row 1, column 'pid': found None, expected an id",
    ),
    "no parquet": ("x.parquet", b"PAR1 or not", "is not a table of IDs|is a pickle"),
    "embeddings": ("x.npy", npy([[1, 2]], "float32"), r"holds float32 of shape \(1, 2\), expected"),
    "one dimension": (
        "x.npy",
        lambda path: np.save(path, np.arange(5)),
        r"holds int64 of shape \(5,\), expected whole numbers of shape \(levels, items\)",
    ),
    "objects": (
        "x.npy",
        lambda path: np.save(path, np.array([[{}]]), allow_pickle=True),
        r"is not a \.npy file of numbers",
    ),
    "a square": ("x.npy", npy([[0, 1], [1, 0]]), "either side may be the items: pass levels_first"),
    "two tensors": (
        "x.safetensors",
        lambda path: save_file({"a": np.zeros((1, 2)), "b": np.zeros((1, 2))}, path),
        "holds 2 tensors, expected one, or one named 'semantic_ids'",
    ),
    "no safetensors": ("x.safetensors", b"\xff" * 100, "is not a .safetensors file"),
    "half a record": ("x.bin", b"\0" * 30, "has 30 bytes, expected a multiple of 20"),
    "no record": ("x.bin", b"", "has 0 bytes"),
    "a code below 0 in a record": (
        "x.bin",
        struct.pack("<qiii", 5, 0, -1, 2),
        "row 0, level 2: found -1, expected a code from 0",
    ),
    "another ending": ("x.xlsx", b"whatever", r"ends in '\.xlsx': name a file of IDs that ends in"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_gives_one_sentence_and_is_left_as_it_is(name: str, tmp_path: Path) -> None:
    file, content, says = BAD[name]
    path = put(tmp_path, file, content)  # type: ignore[arg-type]
    before = path.read_bytes()
    with pytest.raises(ValueError, match=says) as caught:
        import_ids(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 400
    assert path.read_bytes() == before


def test_a_pickle_is_not_opened_and_the_way_to_convert_it_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pickle

    monkeypatch.chdir(tmp_path)
    rows = np.array([[3, 7, 0, 5], [1, 1, 2, 0]])
    torch.save(torch.from_numpy(rows), "merged.pt")
    Path("liger.pkl").write_bytes(pickle.dumps(rows))
    for name in ("merged.pt", "liger.pkl"):
        with pytest.raises(ValueError, match=rf"{name} is a pickle\. Opening one runs") as caught:
            import_ids(name)
        exec(str(caught.value).split('"')[1], {})
        assert import_ids(Path(name).with_suffix(".npy")).ids.codes.tolist() == rows.T.tolist()
    Path("merged.pt").rename("disguised.json")
    with pytest.raises(ValueError, match="is a pickle"):
        import_ids("disguised.json")


@pytest.mark.parametrize("ending", sorted({one for some in ENDINGS.values() for one in some}))
def test_a_folder_or_no_file_is_the_systems_error(ending: str, tmp_path: Path) -> None:
    (tmp_path / f"folder{ending}").mkdir()
    for name in ("nowhere", "folder"):
        with pytest.raises(OSError, match=name):
            import_ids(tmp_path / f"{name}{ending}")


@pytest.mark.parametrize("rows", [[4, 5], [5, 4], [3, 5], [5, 3], [1, 5]])
def test_an_array_of_another_catalogue_is_refused(rows: list[int], tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(rows, dtype=np.int64))
    with pytest.raises(ValueError, match=r"but the catalogue has 6 items"):
        import_ids(tmp_path / "x.npy", range(6))  # type: ignore[arg-type]


def test_a_code_outside_its_codebook_is_named_as_the_file_writes_it(tmp_path: Path) -> None:
    path = put(tmp_path, "x.json", '{"7": [1, 2], "9": [3, 1]}')
    with pytest.raises(ValueError, match="item '9', level 1: found 3, expected 1 to 2"):
        import_ids(path, base=1, codebook_sizes=[2, 2], collision_digit=False)
    with pytest.raises(ValueError, match="item '7', level 2: found 2, expected 3 to 11"):
        import_ids(path, base=0, offsets=True, codebook_sizes=[3, 9])
    path = put(tmp_path, "x.json", '{"7": [0, 2], "9": [3, 1]}')
    with pytest.raises(ValueError, match="item '7', level 1: found 0, expected a number from 1 on"):
        import_ids(path, base=1)
    with pytest.raises(ValueError, match="base is 2; expected 0 or 1"):
        import_ids(path, base=2)


# Any catalogue


@st.composite
def catalogues(draw: st.DrawFn) -> tuple[SemanticIDs, np.ndarray]:
    sizes = draw(st.lists(st.integers(1, 300), min_size=1, max_size=5))
    few = [min(size, draw(st.sampled_from([2, 300]))) for size in sizes]  # so that items collide
    row = st.tuples(*(st.integers(0, size - 1) for size in few))
    rows = draw(st.lists(row, min_size=1, max_size=20))
    text = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1)
    kinds = [st.integers(-(2**63), 2**63 - 1), text.filter(str.strip).map(lambda one: one + "x")]
    own = draw(
        st.one_of(
            *(st.lists(k, unique=True, min_size=len(rows), max_size=len(rows)) for k in kinds)
        )
    )
    return SemanticIDs(torch.tensor(rows), sizes), np.array(
        own, dtype=None if own == [] else object
    )


@pytest.mark.parametrize("format", [one for one in get_args(Format) if one != "tokens"])
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_any_catalogue_comes_back(
    format: Format, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ids, own = data.draw(catalogues())
    digits = ["all", "none"] if format in AS_MANY else ["all", "colliding", "none"]
    how = {
        "base": data.draw(st.sampled_from([0, 1])),
        "offsets": data.draw(st.booleans()),
        "collision_digit": data.draw(st.sampled_from(digits)),
        "keys": data.draw(st.sampled_from(["items", "rows"])),
    }
    ending = data.draw(st.sampled_from(ENDINGS[format]))
    path = tmp_path_factory.mktemp("exchange") / f"x{ending}"
    width = len(ids.sizes) - (how["collision_digit"] == "none")
    if format == "records" and (width != 3 or isinstance(own[0], str)):
        return
    own = np.array(own.tolist(), dtype=object if isinstance(own[0], str) else np.int64)
    export_ids(path, ids, own, format=format, **how)
    has_digit = how["collision_digit"] == "all" or (
        how["collision_digit"] == "colliding" and bool((ids.ids[:, -1] > 0).any())
    )
    back = import_ids(
        path,
        own,
        base=how["base"],
        offsets=how["offsets"],
        collision_digit=has_digit,
        codebook_sizes=ids.sizes[:-1],
        keys=None if format == "grid" else how["keys"],
        levels_first=True if format == "grid" else None,
    )
    assert back.ids.sha256 == ids.sha256
    assert back.item_ids.tolist() == own.tolist()


@pytest.mark.parametrize("size", [16, 256])
@pytest.mark.parametrize("format", ["index-json", "grid", "catalogue-jsonl", "sem-ids", "parquet"])
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_nothing_needs_to_be_said_where_the_numbers_say_it(
    size: int, format: Format, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Items enough that each level's first and last code is used: the rest is inferred."""
    levels = data.draw(st.integers(2, 5))
    chance = np.random.default_rng(data.draw(st.integers(0, 1000)))
    codes = chance.integers(0, size, (3 * size, levels))
    codes[0], codes[1], codes[2] = 0, size - 1, codes[3]
    ids = SemanticIDs(torch.from_numpy(codes), size)
    how = {
        "base": data.draw(st.sampled_from([0, 1])),
        # A token says its level, so nobody adds offsets too.
        "offsets": format != "index-json" and data.draw(st.booleans()),
        "collision_digit": data.draw(st.sampled_from(["all", "none"])),
    }
    path = tmp_path_factory.mktemp("inferred") / f"x{ENDINGS[format][0]}"
    own = np.arange(len(ids)) + 10_000
    export_ids(path, ids, own, format=format, **how)
    back = import_ids(path, own)
    assert back.ids.sha256 == ids.sha256, back.said


def test_a_large_table_of_repeats_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    table = pa.table(
        {"pid": pa.array(np.zeros(2_000_000, dtype=np.int64)), "sid": ["1,2"] * 2_000_000}
    )
    written = io.BytesIO()
    pq.write_table(table, written, compression="zstd")
    (tmp_path / "x.parquet").write_bytes(written.getvalue())
    with pytest.raises(ValueError, match=r"rows in .* bytes, so they cannot all differ"):
        import_ids(tmp_path / "x.parquet")


def test_every_format_has_its_endings() -> None:
    assert set(ENDINGS) == set(get_args(Format))
    for format, endings in ENDINGS.items():
        for ending in endings:
            check_export(f"x{ending}", format)


def test_ids_keep_the_type_that_a_file_gives_them(tmp_path: Path) -> None:
    lines = '{"item_id": "7", "token_ids": [0, 3]}\n{"item_id": "8", "token_ids": [2, 0]}'
    assert import_ids(put(tmp_path, "x.jsonl", lines)).item_ids.tolist() == ["7", "8"]
    table = parquet(pid=["7", "8"], codes=[[0, 3], [2, 0]])
    assert import_ids(put(tmp_path, "x.parquet", table)).item_ids.tolist() == ["7", "8"]
    keys = '{"7": [0, 3], "8": [2, 0]}'
    assert import_ids(put(tmp_path, "x.json", keys)).item_ids.tolist() == [7, 8]
    rows = "item_id,codebook_lv1,codebook_lv2\n007,0,3\n8,2,0\n"
    assert import_ids(put(tmp_path, "x.csv", rows)).item_ids.tolist() == ["007", "8"]
    for wanted in ([7, 8], ["7", "8"]):
        found = import_ids(tmp_path / "x.jsonl", wanted)  # type: ignore[arg-type]
        assert found.item_ids.tolist() == wanted


def test_a_header_that_begins_like_a_zip_file_is_no_pickle(tmp_path: Path) -> None:
    path = put(tmp_path, "x.csv", "PK,item_id,codebook_lv1\n5,1,0\n6,2,1\n")
    assert import_ids(path).ids.codes.tolist() == [[0], [1]]


def test_no_items_are_no_catalogue(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="item_ids is empty"):
        import_ids(put(tmp_path, "x.json", '{"7": [0, 3]}'), [])
