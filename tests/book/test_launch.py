"""A chapter opens elsewhere: the first cell of each notebook, launch buttons, Binder's list."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup

import notebooks
from tests.book.site import build_book
from tests.helpers import ROOT

NAMES = notebooks.source_names(ROOT)
ADDRESS = "https://github.com/someone/semantic-ids"
ELSEWHERE = ("colab.research.google.com", "mybinder.org")


# The first cell


@pytest.mark.parametrize("name", NAMES)
def test_every_notebook_starts_with_the_same_code(name: str) -> None:
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    first, *others = notebooks.code_cells(notebook)
    assert first.source == notebooks.first_cell(ROOT).source
    assert first.metadata == {"tags": ["remove-cell"], "jupyter": {"source_hidden": True}}
    assert first.get("outputs") == []
    assert not any(notebooks.is_first_cell(cell) for cell in others)


def test_the_one_setting_reaches_the_cell(tmp_path: Path) -> None:
    (tmp_path / "_config.yml").write_text(f"repository:\n  url: {ADDRESS}\n  branch: next\n")
    source = notebooks.first_cell(tmp_path).source
    assert f'REPOSITORY = "{ADDRESS}"\nBRANCH = "next"\n' in source
    (tmp_path / "_config.yml").write_text('repository:\n  url: ""\n')
    assert 'REPOSITORY = ""\nBRANCH = "main"\n' in notebooks.first_cell(tmp_path).source


def test_a_new_address_executes_nothing(tmp_path: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "rqvae_lib").mkdir()
    source = tmp_path / "notebooks" / "00_tiny.py"
    source.write_text("# %% [markdown]\n# # Tiny\n\n# %%\nprint(1)\n")
    before = notebooks.read_source(source)
    (tmp_path / "_config.yml").write_text(f"repository:\n  url: {ADDRESS}\n")
    after = notebooks.read_source(source)
    assert notebooks.code_cells(before)[0].source != notebooks.code_cells(after)[0].source
    assert notebooks.make_key(tmp_path, before) == notebooks.make_key(tmp_path, after)
    assert notebooks.with_outputs(after, before) is after


def run_cell(
    root: Path, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> tuple[list[list[str]], Exception | None]:
    """Run the cell that `root`/_config.yml makes; what it had pip do, and what it raised.

    Git is real; pip is written down instead of run.
    """
    asked: list[list[str]] = []

    def run(command: list[str], check: bool) -> None:
        assert check
        if command[0] == "git":
            real(command, check=True, capture_output=True)
        else:
            asked.append(command)

    real = subprocess.run
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if installed else None)
    try:
        exec(compile(notebooks.first_cell(root).source, "first_cell.py", "exec"), {})
    except Exception as error:
        return asked, error
    return asked, None


def test_the_cell_does_nothing_where_the_library_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "_config.yml").write_text(f"repository:\n  url: {ADDRESS}\n")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setenv("PATH", "")  # there is no git to call
    assert run_cell(tmp_path, monkeypatch, installed=True) == ([], None)
    assert Path.cwd() == tmp_path
    assert sorted(tmp_path.rglob("*")) == before


def test_without_an_address_the_cell_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked, error = run_cell(tmp_path, monkeypatch, installed=False)
    assert asked == []
    assert isinstance(error, ModuleNotFoundError)
    for words in ("rqvae_lib is not installed", "names no public address", "make lab"):
        assert words in str(error)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A repository with a notebook's table in it, and the setting that names its address."""
    origin = tmp_path / "origin"
    (origin / "notebooks" / "results").mkdir(parents=True)
    (origin / "notebooks" / "results" / "table.csv").write_text("a\n1\n")
    git = ["git", "-C", str(origin), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run([*git[:3], "init", "-q", "-b", "main"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "The book"], check=True)
    (tmp_path / "_config.yml").write_text(f"repository:\n  url: {origin.as_uri()}\n")
    return tmp_path


def test_elsewhere_the_cell_fetches_the_book_and_goes_there(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (published / "content").mkdir()  # where Colab starts
    monkeypatch.chdir(published / "content")
    asked, error = run_cell(published, monkeypatch, installed=False)
    assert error is None
    package = "./semantic-ids-from-scratch[notebooks]"
    assert asked == [[sys.executable, "-m", "pip", "install", "--quiet", package]]
    assert Path("results/table.csv").read_text() == "a\n1\n"

    there = Path.cwd()  # run again, and again after a restart of the kernel
    assert run_cell(published, monkeypatch, installed=True) == ([], None)
    assert Path.cwd() == there
    os.chdir(published / "content")
    assert run_cell(published, monkeypatch, installed=True) == ([], None)
    assert Path.cwd() == there


def test_the_chapters_need_no_more_than_the_cell_installs() -> None:
    """Imports of all chapters, against the names that the library and the extra bring."""
    brought = {"rqvae_lib", "numpy", "pandas", "pyarrow", "scipy", "torch"}
    brought |= {"IPython"}  # the kernel
    brought |= {"matplotlib", "umap", "sklearn"}  # scikit-learn: what umap-learn stands on
    found = set()
    for name in NAMES:
        code = (ROOT / "notebooks" / f"{name}.py").read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    assert {"rqvae_lib", "torch", "matplotlib", "umap"} <= found
    assert found - set(sys.stdlib_module_names) <= brought


# The buttons


def launch_links(root: Path, output: Path, address: str) -> tuple[list[str], list[str]]:
    """Build a one-notebook book with this address: its launch buttons, and all its links."""
    source = output / "source"
    (source / "notebooks").mkdir(parents=True)
    (source / "book").mkdir()
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    config["repository"]["url"] = address
    (source / "_config.yml").write_text(yaml.safe_dump(config))
    for name in ("_ext", "assets", "_templates", "execution_times.json", "references.bib"):
        (source / "book" / name).symlink_to(root / "book" / name)
    (source / "_toc.yml").write_text("format: jb-book\nroot: notebooks/00_quickstart\n")
    notebook = nbformat.v4.new_notebook(metadata=notebooks.NOTEBOOK_METADATA)
    text = "# Page\n\n**Time:** about 1 minute to read."
    notebook.cells = [nbformat.v4.new_markdown_cell(text), nbformat.v4.new_code_cell("1 + 1")]
    nbformat.write(notebook, source / "notebooks" / "00_quickstart.ipynb")
    result = build_book(source, output)
    assert result.returncode == 0, result.stderr
    html = BeautifulSoup(
        (output / "_build/html/notebooks/00_quickstart.html").read_text(encoding="utf-8"),
        "html.parser",
    )
    shutil.rmtree(source)
    buttons = [link["href"] for link in html.select(".dropdown-launch-buttons a")]
    return buttons, [link["href"] for link in html.find_all("a", href=True)]


def test_buttons_lead_to_the_notebook_in_the_repository(tmp_path: Path) -> None:
    buttons, _ = launch_links(ROOT, tmp_path, ADDRESS)
    path = "notebooks/00_quickstart.ipynb"
    assert sorted(buttons) == [
        f"https://colab.research.google.com/github/someone/semantic-ids/blob/main/{path}",
        f"https://mybinder.org/v2/gh/someone/semantic-ids/main?urlpath=lab/tree/{path}",
    ]


def test_without_an_address_there_is_no_button_and_no_dead_link(tmp_path: Path) -> None:
    buttons, links = launch_links(ROOT, tmp_path, "")
    assert buttons == []
    assert not [link for link in links if any(host in link for host in ELSEWHERE)]


def test_this_books_pages_have_buttons_as_its_setting_says(built_book: Path) -> None:
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    configured = bool(config["repository"]["url"])
    for name in NAMES:
        if (built_book / "notebooks" / f"{name}.html").is_file():  # a chapter in the making is not
            page = (built_book / "notebooks" / f"{name}.html").read_text(encoding="utf-8")
            assert any(host in page for host in ELSEWHERE) == configured, name


# Binder


def test_binder_installs_the_project_with_the_lock_and_without_cuda() -> None:
    lines = (ROOT / ".binder" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "--extra-index-url https://download.pytorch.org/whl/cpu",
        "-c ../requirements.lock",
        "-e .[notebooks,book]",
    ]
    assert (ROOT / ".binder" / "runtime.txt").read_text(encoding="utf-8") == "python-3.11\n"
