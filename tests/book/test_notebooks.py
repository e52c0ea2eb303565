"""The published notebooks: made from their .py, current, without errors; and what makes them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

import notebooks
from tests.helpers import ROOT

FOLDER = ROOT / "notebooks"
NAMES = notebooks.source_names(ROOT)
TAGGED = "# NBVAL_CHECK_OUTPUT"


def published(name: str) -> NotebookNode:
    path = FOLDER / f"{name}.ipynb"
    assert path.is_file(), f"there is no notebooks/{path.name}: run `make notebooks`"
    return nbformat.read(path, as_version=4)


def output_text(output: NotebookNode) -> str:
    return output.get("text", "") + "".join(
        value for kind, value in output.get("data", {}).items() if kind.startswith("text/")
    )


# --- What is published ----------------------------------------------------------------------------


def test_there_is_a_notebook() -> None:
    assert NAMES, "notebooks/ is empty: the tests below had nothing to look at"


def test_sources_notebooks_and_keys_come_together() -> None:
    for suffix in (".ipynb", ".key"):
        assert sorted(path.stem for path in FOLDER.glob(f"*{suffix}")) == NAMES
    assert sorted(path.stem for path in FOLDER.glob("*.py")) == NAMES


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
            assert not re.search(r" at 0x[0-9a-f]{6}", output_text(output)), cell.source
            machine_path = r"(?<![\w/])/(home|root|tmp|Users)/|[A-Z]:\\Users"
            assert not re.search(machine_path, output_text(output)), cell.source


@pytest.mark.parametrize("name", NAMES)
def test_cells_were_run_in_order_and_tagged_ones_have_outputs(name: str) -> None:
    """nbval compares nothing where there is no output, so a tagged cell must have one."""
    cells = [cell for cell in notebooks.code_cells(published(name)) if cell.source.strip()]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    tagged = [cell for cell in cells if TAGGED in cell.source]
    assert tagged, f"{name} has no cell with {TAGGED}"
    assert all(cell.outputs for cell in tagged)


def test_times_are_measured_and_the_book_is_quick() -> None:
    times = json.loads((ROOT / "book" / "execution_times.json").read_text(encoding="utf-8"))
    assert sorted(times) == NAMES
    assert sum(entry["seconds"] for entry in times.values()) <= 12 * 60


# --- The tool -------------------------------------------------------------------------------------

TINY = """\
# %% [markdown]
# # Tiny

# %%
# NBVAL_CHECK_OUTPUT
print(2 + 2)

# %% tags=["hide-cell"]
print("a", flush=True)
print("b")
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A project with one small notebook and a small library of three modules."""
    for folder in ("notebooks", "book", "rqvae_lib/data/set", "rqvae_lib/checkpoints/pretrained"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "notebooks" / "00_tiny.py").write_text(TINY)
    (tmp_path / "rqvae_lib" / "__init__.py").write_text('"""The library."""\n')
    (tmp_path / "rqvae_lib" / "top.py").write_text(
        'def f():\n    """Late."""\n    from .deep import g\n    return g()\n'
    )
    (tmp_path / "rqvae_lib" / "deep.py").write_text("def g():\n    return 1\n")
    (tmp_path / "rqvae_lib" / "other.py").write_text("x = 1\n")
    (tmp_path / "rqvae_lib" / "data" / "set" / "items.csv").write_text("1\n")
    return tmp_path


def key_of(root: Path, code: str, tags: str = "") -> dict[str, str]:
    notebooks.without_docstrings.cache_clear()
    source = root / "notebooks" / "00_tiny.py"
    source.write_text(f"# %% [markdown]\n# # Tiny\n\n# %%{tags}\n{code}\n")
    return notebooks.make_key(root, notebooks.read_source(source))


def modules_in(key: dict[str, str]) -> set[str]:
    return {Path(name).stem for name in key if name.endswith(".py")}


@pytest.mark.parametrize(
    ("code", "modules"),
    [
        ("import torch", set()),
        ("import rqvae_lib", {"__init__"}),
        ("import rqvae_lib.other as o", {"__init__", "other"}),
        ("from rqvae_lib import top", {"__init__", "top", "deep"}),
        ("from rqvae_lib.top import f", {"__init__", "top", "deep"}),
        ("def h():\n    from rqvae_lib.deep import g", {"__init__", "deep"}),
        ("%matplotlib inline\nfrom rqvae_lib import other", {"__init__", "other"}),
    ],
)
def test_key_follows_imports(tiny: Path, code: str, modules: set[str]) -> None:
    assert modules_in(key_of(tiny, code)) == modules


def test_key_counts_the_parts_of_a_module_that_are_not_python(tiny: Path) -> None:
    part = tiny / "rqvae_lib" / "other.js"
    part.write_text("let x = 1;\n")
    assert "rqvae_lib/other.js" not in key_of(tiny, "from rqvae_lib import top")
    before = key_of(tiny, "from rqvae_lib import other")
    assert "rqvae_lib/other.js" in before
    part.write_text("let x = 2;\n")
    assert key_of(tiny, "from rqvae_lib import other") != before


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
    everything = {"__init__", "top", "deep", "other"}
    by_name = "import importlib\nimportlib.import_module('x')"
    assert modules_in(key_of(tiny, by_name)) == everything
    lazy = "def __getattr__(name):\n    raise AttributeError(name)\n"
    (tiny / "rqvae_lib" / "__init__.py").write_text(lazy)
    assert modules_in(key_of(tiny, "from rqvae_lib import f")) == everything
    (tiny / "rqvae_lib" / "__init__.py").write_text("")
    (tiny / "rqvae_lib" / "cli.py").write_text("import importlib\nimportlib.import_module('x')\n")
    assert modules_in(key_of(tiny, "!rqvae-lib recommend")) == {*everything, "cli"}


def test_key_ignores_docstrings_comments_and_layout(tiny: Path) -> None:
    before = key_of(tiny, "from rqvae_lib import top")
    (tiny / "rqvae_lib" / "deep.py").write_text('"""New."""\n\n\ndef g():  # why\n    return (1)\n')
    assert key_of(tiny, "from rqvae_lib import top") == before


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("rqvae_lib/deep.py", "def g():\n    return 2\n"),
        ("rqvae_lib/deep.py", "def g():\n    return None\n"),
        ("rqvae_lib/deep.py", "def g(x=1):\n    return 1\n"),
        ("rqvae_lib/deep.py", "def g():\n    return 1.0\n"),
        ("rqvae_lib/data/set/items.csv", "2\n"),
        ("rqvae_lib/data/new.csv", "1\n"),
        ("rqvae_lib/checkpoints/pretrained/model.safetensors", "x"),
    ],
)
def test_key_sees_what_the_outputs_depend_on(tiny: Path, path: str, text: str) -> None:
    before = key_of(tiny, "from rqvae_lib import top")
    (tiny / path).write_text(text)
    after = key_of(tiny, "from rqvae_lib import top")
    assert {name for name in after if after[name] != before.get(name)} == {path}


def test_key_sees_code_comments_and_tags_but_not_unused_modules(tiny: Path) -> None:
    before = key_of(tiny, "from rqvae_lib import top")
    assert key_of(tiny, "from rqvae_lib import top  # why") != before
    assert key_of(tiny, "from rqvae_lib import top", ' tags=["hide-cell"]') != before
    (tiny / "rqvae_lib" / "other.py").write_text("x = 2\n")
    assert key_of(tiny, "from rqvae_lib import top") == before


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
    assert [output_text(cell.outputs[0]) for cell in notebook.cells[2:]] == ["4\n", "a\nb\n"]
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
