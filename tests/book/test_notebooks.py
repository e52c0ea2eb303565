"""The published notebooks: made from their .py, current, without errors; and what makes them."""

import json
import os
import re
import subprocess
import sys
import textwrap
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbval.plugin import metadata_tags

import notebooks
from imports import imported_modules
from tests.helpers import ROOT

FOLDER = ROOT / "notebooks"
NAMES = notebooks.source_names(ROOT)
COMPARED = "nbval-check-output"  # the tag of a cell whose output nbval compares


def published(name: str) -> NotebookNode:
    path = FOLDER / f"{name}.ipynb"
    assert path.is_file(), f"there is no notebooks/{path.name}: run `make notebooks`"
    return nbformat.read(path, as_version=4)


# --- What is published ----------------------------------------------------------------------------


def test_there_is_a_notebook() -> None:
    assert NAMES, "notebooks/ is empty: the tests below had nothing to look at"


def test_sources_notebooks_and_keys_come_together() -> None:
    for pattern in ("*.ipynb", ".keys/*.key"):
        assert sorted(path.stem for path in FOLDER.glob(pattern)) == NAMES
    assert sorted(path.stem for path in FOLDER.glob("*.py")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_jupyterlab_shows_every_figures_caption_and_number(name: str) -> None:
    """It knows neither captions in metadata nor references that Sphinx makes of them."""
    cells = published(name).cells
    assert not any("{numref}" in cell.source for cell in cells)
    captions = []
    for cell, below in pairwise(cells):
        figure = cell.metadata.get("mystnb", {}).get("figure")
        if figure:
            number = ".".join([name[:2].lstrip("0"), str(len(captions) + 1)]).lstrip(".")
            assert below.source == f"({figure['name']})=\n**Fig. {number}.** {figure['caption']}"
            # The page has it in the figure; with a hidden source, JupyterLab would fold it away.
            assert below.metadata == {"tags": ["remove-cell"]}
            captions.append((figure["name"], number))
    prose = "\n".join(cell.source for cell in cells)
    for reference in re.findall(r'<a href="#(fig-[\w-]+)">Fig\. ([\d.]+)</a>', prose):
        assert reference in captions


@pytest.mark.parametrize("name", NAMES)
def test_notebook_is_what_the_source_makes(name: str) -> None:
    """Every byte but the outputs: cells, ids, metadata."""
    made = notebooks.with_outputs(notebooks.read_source(FOLDER / f"{name}.py"), published(name))
    assert made is not None, f"the code of {name}.py and .ipynb differ: run `make notebooks`"
    text = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    assert notebooks.as_text(made) == text, f"{name}.ipynb is old: run `make notebooks`"


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_current(name: str) -> None:
    reasons = notebooks.stale_reasons(ROOT, name)
    assert reasons == [], f"{name} is stale: run `make notebooks` and commit what it writes"


@pytest.mark.parametrize("name", NAMES)
def test_no_output_is_an_error_or_differs_from_run_to_run(name: str) -> None:
    for cell in notebooks.code_cells(published(name)):
        for output in cell.outputs:
            assert output.output_type != "error", cell.source
            assert output.get("name") != "stderr", cell.source
            said = notebooks.output_text(output, "text/")
            assert not re.search(r" at 0x[0-9a-f]{6}", said), cell.source
            machine_path = r"(?<![\w/])/(home|root|tmp|Users)/|[A-Z]:\\Users"
            assert not re.search(machine_path, said), cell.source


@pytest.mark.parametrize("name", NAMES)
def test_cells_were_run_in_order_and_tagged_ones_have_outputs(name: str) -> None:
    """nbval compares nothing where there is no output, so a tagged cell must have one."""
    cells = [cell for cell in notebooks.code_cells(published(name)) if cell.source.strip()]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    tagged = [cell for cell in cells if is_compared(cell)]
    assert tagged, f"{name} has no cell with the tag {COMPARED}"
    assert all(cell.outputs for cell in tagged)


@pytest.mark.parametrize("name", NAMES)
def test_a_chapter_tells_nbval_by_tags_that_nbval_knows(name: str) -> None:
    assert nbval_problems(notebooks.code_cells(published(name))) == []


def is_compared(cell: NotebookNode) -> bool:
    return COMPARED in cell.metadata.get("tags", [])


def nbval_problems(cells: list[NotebookNode]) -> list[str]:
    """What is wrong with how a chapter tells nbval which outputs to compare."""
    tags = {tag for cell in cells for tag in cell.metadata.get("tags", []) if "nbval" in tag}
    found = [f"nbval knows no tag {tag}" for tag in sorted(tags - set(metadata_tags))]
    if any("# NBVAL_" in cell.source for cell in cells):
        found.append(f"a comment of nbval would be printed on the page: use the tag {COMPARED}")
    return found


def test_a_comment_and_an_unknown_tag_of_nbval_are_found() -> None:
    tagged = nbformat.v4.new_code_cell("print(1)", metadata={"tags": [COMPARED]})
    commented = nbformat.v4.new_code_cell("# NBVAL_CHECK_OUTPUT\nprint(1)")
    misspelt = nbformat.v4.new_code_cell("print(1)", metadata={"tags": ["nbval-check-outputs"]})
    assert is_compared(tagged)
    assert not is_compared(commented)
    assert nbval_problems([tagged]) == []
    assert nbval_problems([tagged, commented]) == [
        "a comment of nbval would be printed on the page: use the tag nbval-check-output"
    ]
    assert nbval_problems([misspelt]) == ["nbval knows no tag nbval-check-outputs"]


def test_times_are_measured_and_the_book_is_quick() -> None:
    times = json.loads((ROOT / "book" / "execution_times.json").read_text(encoding="utf-8"))
    assert sorted(times) == NAMES
    assert sum(entry["seconds"] for entry in times.values()) <= 12 * 60


# --- The tool -------------------------------------------------------------------------------------

TINY = """\
# %% [markdown]
# # Tiny

# %% tags=["nbval-check-output"]
print(2 + 2)

# %% tags=["hide-cell"]
print("a", flush=True)
print("b")
"""


LIBRARY = {
    "__init__.py": """\
        \"\"\"The library.\"\"\"
        import lazy_loader
        __getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
        __version__ = "0.1"
        """,
    "__init__.pyi": """\
        from .data.tables import read as read
        from .models.search import find as find
        __version__: str
        """,
    "data/__init__.py": "",
    "data/tables.py": "def read():\n    return 1\n",
    "data/set/items.csv": "1\n",
    "models/__init__.py": '"""Says what it is, and does nothing."""\n',
    "models/deep.py": "def g():\n    return 1\n",
    "models/pretrained/model.safetensors": "x",
    "models/search.py": """\
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from rqvae_lib.data.tables import read
        def find():
            \"\"\"Late.\"\"\"
            from .deep import g
            return g()
        """,
    "other.py": "x = 1\n",
    "cli/__init__.py": "",
    "cli/main.py": "def main():\n    from rqvae_lib.cli.recommend import command\n",
    "cli/recommend.py": "def command():\n    from rqvae_lib import find\n",
}
SEARCH = {"__init__", "models/search", "models/deep"}
DATA = {"__init__", "data/tables"}


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A project with one small notebook and a small library: packages, and a public face."""
    for folder in ("notebooks", "book"):
        (tmp_path / folder).mkdir()
    (tmp_path / "notebooks" / "00_tiny.py").write_text(TINY)
    for name, text in LIBRARY.items():
        path = tmp_path / "rqvae_lib" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return tmp_path


def key_of(root: Path, code: str, tags: str = "") -> dict[str, str]:
    notebooks.without_docstrings.cache_clear()
    source = root / "notebooks" / "00_tiny.py"
    source.write_text(f"# %% [markdown]\n# # Tiny\n\n# %%{tags}\n{code}\n")
    return notebooks.make_key(root, notebooks.read_source(source))


def modules_in(key: dict[str, str]) -> set[str]:
    names = {name.removeprefix("rqvae_lib/") for name in key}
    return {name.removesuffix(".py") for name in names if name.endswith(".py")}


@pytest.mark.parametrize(
    ("code", "modules"),
    [
        ("import torch", set()),
        ("import rqvae_lib.other as o", {"__init__", "other"}),
        ("from rqvae_lib import other", {"__init__", "other"}),
        ("from rqvae_lib.models import search", SEARCH),
        ("from rqvae_lib.models.search import find", SEARCH),
        ("def h():\n    from rqvae_lib.models.deep import g", {"__init__", "models/deep"}),
        ("%matplotlib inline\nfrom rqvae_lib import other", {"__init__", "other"}),
        # What type checkers import is never run; what stands after `else` is.
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import rqvae_lib", set()),
        (
            "import typing\nif typing.TYPE_CHECKING:\n    pass\nelse:\n    import rqvae_lib.other",
            {"__init__", "other"},
        ),
        # The public face: a name counts as the module that defines it.
        ("from rqvae_lib import find", SEARCH),
        ("from rqvae_lib import read as f", DATA),
        ("from rqvae_lib import find, read", SEARCH | DATA),
        ("from rqvae_lib import *", SEARCH | DATA),
        ("from rqvae_lib import __version__", {"__init__"}),
        ("import rqvae_lib", {"__init__"}),
        ("import rqvae_lib\nrqvae_lib.find()", SEARCH),
        ("import rqvae_lib as lib\nlib.read()", DATA),
        ("import rqvae_lib.other\nrqvae_lib.find()", SEARCH | {"other"}),
        ("import rqvae_lib\ngetattr(rqvae_lib, name)", SEARCH | DATA),
        # A command counts as all that the commands import, at their top or when they run.
        ("!rqvae-lib recommend", SEARCH | {"cli/main", "cli/recommend"}),
    ],
)
def test_key_follows_imports(tiny: Path, code: str, modules: set[str]) -> None:
    assert modules_in(key_of(tiny, code)) == modules


def test_a_new_name_of_the_face_changes_no_key_and_a_moved_one_its_own(tiny: Path) -> None:
    codes = ["from rqvae_lib import find", "from rqvae_lib import read", "import rqvae_lib"]
    before = [key_of(tiny, code) for code in codes]
    stub = tiny / "rqvae_lib" / "__init__.pyi"
    stub.write_text("from .other import x as x\n" + stub.read_text())
    init = tiny / "rqvae_lib" / "__init__.py"
    init.write_text(init.read_text().replace("The library", "All").replace("0.1", "0.2"))
    assert [key_of(tiny, code) for code in codes] == before
    stub.write_text(stub.read_text().replace(".models.search", ".other"))
    assert [key_of(tiny, code) == key for code, key in zip(codes, before, strict=True)] == [
        False,
        True,
        True,
    ]
    init.write_text(init.read_text() + "\nimport torch\ntorch.set_default_dtype(torch.float64)\n")
    assert all(key_of(tiny, code) != key for code, key in zip(codes, before, strict=True))


def test_an_edit_behind_the_face_stales_who_imports_that_name_and_no_other(tiny: Path) -> None:
    codes = ["from rqvae_lib import find", "from rqvae_lib import read", "import rqvae_lib"]
    for module, stale in (("models/deep", codes[0]), ("data/tables", codes[1])):
        before = [key_of(tiny, code) for code in codes]
        path = tiny / "rqvae_lib" / f"{module}.py"
        path.write_text(path.read_text().replace("return 1", "return 2"))
        assert [
            code for code, key in zip(codes, before, strict=True) if key_of(tiny, code) != key
        ] == [stale]


def test_an_empty_init_counts_once_it_says_something(tiny: Path) -> None:
    code = "from rqvae_lib import find"
    assert "rqvae_lib/models/__init__.py" not in key_of(tiny, code)
    (tiny / "rqvae_lib" / "models" / "__init__.py").write_text("import rqvae_lib.other\n")
    assert modules_in(key_of(tiny, code)) == SEARCH | {"models/__init__", "other"}


def test_key_counts_the_parts_of_a_module_that_are_not_python(tiny: Path) -> None:
    part = tiny / "rqvae_lib" / "other.js"
    part.write_text("let x = 1;\n")
    assert "rqvae_lib/other.js" not in key_of(tiny, "from rqvae_lib import find")
    before = key_of(tiny, "from rqvae_lib import other")
    assert "rqvae_lib/other.js" in before
    part.write_text("let x = 2;\n")
    assert key_of(tiny, "from rqvae_lib import other") != before


def test_key_counts_the_files_of_the_widgets_that_are_named_and_no_others(tiny: Path) -> None:
    teaching = tiny / "rqvae_lib" / "teaching"
    (teaching / "widget_files").mkdir(parents=True)
    for name in ("shared.js", "shared.css", "tree.js", "trees.js", "map.js", "map.css"):
        (teaching / "widget_files" / name).write_text("1\n")
    (teaching / "__init__.py").write_text("")
    (teaching / "checks.py").write_text("x = 1\n")
    (teaching / "widgets.py").write_text("def widget(name):\n    return name\n")
    (teaching / "maps.py").write_text(
        "from rqvae_lib.teaching.widgets import widget\ndef show():\n    widget('map')\n"
    )

    def counted(code: str) -> set[str]:
        key = key_of(tiny, code)
        return {Path(name).name for name in key if "/widget_files/" in name}

    shared = {"shared.js", "shared.css"}
    assert counted("from rqvae_lib.teaching import checks") == set()
    widget = "from rqvae_lib.teaching.widgets import widget\nwidget('tree')"
    assert counted(widget) == shared | {"tree.js"}
    maps = "from rqvae_lib.teaching.maps import show"
    assert counted(maps) == shared | {"map.js", "map.css"}
    before = key_of(tiny, widget)
    (teaching / "widget_files" / "map.js").write_text("2\n")
    assert key_of(tiny, widget) == before
    (teaching / "widget_files" / "tree.js").write_text("2\n")
    assert key_of(tiny, widget) != before


@pytest.mark.parametrize("folder", ["results", "groceries"])
def test_key_counts_the_files_beside_it_that_the_code_names(tiny: Path, folder: str) -> None:
    results = tiny / "notebooks" / folder
    results.mkdir()
    for name in ("named.csv", "other.csv"):
        (results / name).write_text("1\n")
    code = f"open('{folder}/named.csv')"
    before = key_of(tiny, code)
    (results / "other.csv").write_text("2\n")
    assert key_of(tiny, code) == before
    (results / "named.csv").write_text("2\n")
    assert key_of(tiny, code) != before


def test_key_counts_every_module_when_imports_are_hidden(tiny: Path) -> None:
    with_statements = {
        name.removesuffix(".py")
        for name in LIBRARY
        if name.endswith(".py") and not name.endswith("/__init__.py")
    }
    by_name = "import importlib\nimportlib.import_module('x')"
    assert modules_in(key_of(tiny, by_name)) == with_statements
    recommend = tiny / "rqvae_lib" / "cli" / "recommend.py"
    recommend.write_text("import importlib\nimportlib.import_module('x')\n")
    assert modules_in(key_of(tiny, "!rqvae-lib recommend")) == with_statements
    assert modules_in(key_of(tiny, "import rqvae_lib")) == {"__init__"}
    (tiny / "rqvae_lib" / "__init__.pyi").unlink()  # nothing says where a name comes from
    assert modules_in(key_of(tiny, "from rqvae_lib import find")) == with_statements
    lazy = "def __getattr__(name):\n    raise AttributeError(name)\n"
    (tiny / "rqvae_lib" / "__init__.py").write_text(lazy)
    assert modules_in(key_of(tiny, "from rqvae_lib import find")) == with_statements


def test_key_ignores_docstrings_comments_and_layout(tiny: Path) -> None:
    before = key_of(tiny, "from rqvae_lib import find")
    deep = tiny / "rqvae_lib" / "models" / "deep.py"
    deep.write_text('"""New."""\n\n\ndef g():  # why\n    return (1)\n')
    assert key_of(tiny, "from rqvae_lib import find") == before


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("rqvae_lib/models/deep.py", "def g():\n    return 2\n"),
        ("rqvae_lib/models/deep.py", "def g():\n    return None\n"),
        ("rqvae_lib/models/deep.py", "def g(x=1):\n    return 1\n"),
        ("rqvae_lib/models/deep.py", "def g():\n    return 1.0\n"),
        ("rqvae_lib/models/pretrained/model.safetensors", "y"),
        ("rqvae_lib/models/pretrained/new.safetensors", "x"),
    ],
)
def test_key_sees_what_the_outputs_depend_on(tiny: Path, path: str, text: str) -> None:
    before = key_of(tiny, "from rqvae_lib import find")
    (tiny / path).write_text(text)
    after = key_of(tiny, "from rqvae_lib import find")
    assert {name for name in after if after[name] != before.get(name)} == {path}


def test_key_counts_the_data_of_the_packages_that_are_imported(tiny: Path) -> None:
    shipped = {"rqvae_lib/data/set/items.csv", "rqvae_lib/models/pretrained/model.safetensors"}
    for code, expected in (
        ("import torch", 0),
        ("from rqvae_lib import find", 1),
        ("from rqvae_lib import find, read", 2),
    ):
        assert len(shipped & key_of(tiny, code).keys()) == expected


def test_every_package_reads_the_data_of_its_own_or_of_one_that_it_imports() -> None:
    """What the rule above rests on: no module reads files of a package that no import names."""
    reading = 0
    for path in (ROOT / "rqvae_lib").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        calls = re.findall(r"resources\.files\((.*?)\)", text)
        needed = [path, *imported_modules(ROOT, text)] if calls else []
        for argument in calls:
            package = re.fullmatch(r'"(rqvae_lib\.\w+)"', argument)
            assert package, f"{path}: name the package in resources.files({argument})"
            assert ROOT.joinpath(*package[1].split(".")) in {module.parent for module in needed}
        reading += len(calls)
    assert reading >= 3


def test_key_sees_code_comments_and_tags_but_not_unused_modules(tiny: Path) -> None:
    before = key_of(tiny, "from rqvae_lib import find")
    assert key_of(tiny, "from rqvae_lib import find  # why") != before
    assert key_of(tiny, "from rqvae_lib import find", ' tags=["hide-cell"]') != before
    (tiny / "rqvae_lib" / "other.py").write_text("x = 2\n")
    assert key_of(tiny, "from rqvae_lib import find") == before


def snapshot(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files}


def test_making_twice_changes_no_byte_and_prose_needs_no_run(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebooks.make(tiny, "00_tiny")
    assert notebooks.stale_notebooks(tiny) == []
    first = snapshot(tiny)
    notebooks.make(tiny, "00_tiny", force=True)
    times = str(tiny / "book" / "execution_times.json")
    assert {**snapshot(tiny), times: b""} == {**first, times: b""}  # only the clock differs

    monkeypatch.setattr(notebooks, "execute", lambda *_: pytest.fail("executed"))
    notebooks.make(tiny, "00_tiny")
    source = tiny / "notebooks" / "00_tiny.py"
    source.write_text(TINY.replace("# # Tiny", "# # Small"))
    notebooks.make(tiny, "00_tiny")
    notebook = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    assert notebook.cells[0].source == "# Small"
    assert notebooks.is_first_cell(notebook.cells[1])
    said = [notebooks.output_text(cell.outputs[0], "text/") for cell in notebook.cells[2:]]
    assert said == ["4\n", "a\nb\n"]
    assert notebook.cells[3].metadata == {"tags": ["hide-cell"], "jupyter": {"source_hidden": True}}


@pytest.mark.parametrize("code", ["1 / 0", "import sys; print('careful', file=sys.stderr)"])
def test_a_failing_cell_leaves_every_file_alone(tiny: Path, code: str) -> None:
    notebooks.make(tiny, "00_tiny")
    (tiny / "notebooks" / "00_tiny.py").write_text(f"{TINY}\n# %%\n{code}\n")
    before = snapshot(tiny)
    with pytest.raises(notebooks.NotebookError, match="00_tiny"):
        notebooks.make(tiny, "00_tiny")
    assert snapshot(tiny) == before


def test_check_says_what_changed(tiny: Path) -> None:
    assert notebooks.stale_reasons(tiny, "00_tiny")[0] == "there is no notebooks/00_tiny.ipynb"
    source = tiny / "notebooks" / "00_tiny.py"
    imports = "if False:\n    from rqvae_lib import read  # the kernel has the real library"
    source.write_text(f"{TINY}\n# %%\n{imports}\n")
    notebooks.make(tiny, "00_tiny")
    (tiny / "rqvae_lib" / "data" / "set" / "items.csv").write_text("2\n")
    assert notebooks.stale_reasons(tiny, "00_tiny") == ["rqvae_lib/data/set/items.csv changed"]


def corrupt(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[2].outputs[0].text = "5\n"
    nbformat.write(notebook, path)


def test_nbval_compares_tagged_outputs(tiny: Path) -> None:
    """The guard is awake: the same notebook passes, and fails with one tagged output changed."""
    notebooks.make(tiny, "00_tiny")
    path = tiny / "notebooks" / "00_tiny.ipynb"
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", str(path)]
    environment = {key: value for key, value in os.environ.items() if key != "PYTEST_ADDOPTS"}

    def run() -> subprocess.CompletedProcess[str]:
        options = {"cwd": tiny, "env": environment, "capture_output": True, "text": True}
        return subprocess.run([*command, "-p", "no:cacheprovider"], check=False, **options)

    good = run()
    assert good.returncode == 0, good.stdout
    assert "3 passed" in good.stdout
    corrupt(path)
    bad = run()
    assert bad.returncode == 1
    assert "1 failed, 2 passed" in bad.stdout


def test_a_corrupted_output_is_stale_too(tiny: Path) -> None:
    notebooks.make(tiny, "00_tiny")
    corrupt(tiny / "notebooks" / "00_tiny.ipynb")
    assert notebooks.stale_reasons(tiny, "00_tiny") == ["the committed outputs changed"]
