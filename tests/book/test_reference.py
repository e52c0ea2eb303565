"""The reference part of the book: library, commands, terms, symbols, papers, tables."""

import ast
import importlib
import json
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pandas as pd
import pytest
import typer
from docutils import nodes
from docutils.core import publish_doctree
from sphinx.util.inventory import InventoryFile

import inventories
import rqvae_lib
from glossary_links import EVERYDAY, first_uses, pattern
from library_api import (
    PAGES,
    anchor,
    chapters_of_module,
    comment_on,
    comments_of,
    face,
    first_sentence,
    is_command,
    layout,
    modules_of_chapters,
    modules_of_page,
    packages,
    public_names,
    signature,
)
from notebooks import code_cells, read_source, source_names
from print_book import toc_pages
from result_tables import origin, shown, summary
from rqvae_lib.cli.main import app
from tables import NOT_RECORDED, note_origin, read_origin, write_rows
from tests.book.test_book import html_of
from tests.helpers import ROOT

BOOK = ROOT / "book"
RESULTS = ROOT / "notebooks" / "results"
BIB = (BOOK / "references.bib").read_text(encoding="utf-8")


def page_text(name: str) -> str:
    return (BOOK / f"{name}.md").read_text(encoding="utf-8")


def prose_of(name: str) -> str:
    """A chapter's text, without its code."""
    notebook = read_source(ROOT / "notebooks" / f"{name}.py")
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def rows_of(text: str) -> list[list[str]]:
    """The cells of every Markdown table's body rows."""
    lines = re.findall(r"^\|(.*)\|$", text, re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")] for line in lines]


def test_reference_pages_are_in_the_table_of_contents() -> None:
    names = ["glossary", "notation", "paper_map", "results", "troubleshooting", "api", "commands"]
    assert {f"book/{name}" for name in names} | set(PAGES) <= set(toc_pages(ROOT))


# The library


def tree_of(module: str) -> ast.Module:
    path = ROOT.joinpath("rqvae_lib", *module.split(".")).with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


def test_the_pages_hold_every_package_once_in_the_layouts_order() -> None:
    order = list(packages(ROOT))
    assert sorted(name for names in PAGES.values() for name in names) == sorted(order)
    for page, names in PAGES.items():
        assert names == sorted(names, key=order.index)
        modules = modules_of_page(ROOT, page)
        assert modules == [name for name in layout(ROOT) if name.split(".")[0] in names]


def test_packages_are_described(built_book: Path) -> None:
    for page, names in PAGES.items():
        sections = html_of(built_book, page).select("section > section:has(> h2)")
        assert [section.h2.code.get_text() for section in sections] == names
        for name, section in zip(names, sections, strict=True):
            said = section.find("p", recursive=False).get_text().replace("’", "'")
            assert said == packages(ROOT)[name].purpose


def test_every_public_name_is_on_the_first_page(built_book: Path) -> None:
    """What the stub lists can be imported; each name has a sentence, and leads to its entry."""
    assert {*face(ROOT), "__version__"} == {*rqvae_lib.__all__, "__version__"}
    rows = html_of(built_book, "book/api").select("table tbody tr")
    assert [row.td.get_text() for row in rows] == sorted(face(ROOT), key=[*names_in_order()].index)
    for row in rows:
        name, said, where = row.find_all("td")
        module = face(ROOT)[name.get_text()]
        assert hasattr(importlib.import_module(f"rqvae_lib.{module}"), name.get_text())
        assert re.fullmatch(r".{12,120}\.", said.get_text()), row.get_text()
        address, fragment = urldefrag(name.a["href"])
        assert fragment == f"rqvae_lib.{module}.{name.get_text()}"
        entries = html_of(built_book, f"book/{address.removesuffix('.html')}")
        assert entries.find(id=fragment)
        assert where.get_text() == module
        assert urldefrag(where.a["href"])[1] == anchor(module)


def names_in_order() -> Iterator[str]:
    """All public names of the library, module by module, as the layout has them."""
    for module in layout(ROOT):
        yield from (
            name for name, _ in public_names(tree_of(module)) if face(ROOT).get(name) == module
        )


@pytest.mark.parametrize(
    ("docstring", "said"),
    [
        ("One. Two.", "One."),
        ("Of a file,\n    of 3.5 MB. More.", "Of a file, of 3.5 MB."),
        ("No end\n\nMore.", "No end"),
        ("", ""),
    ],
)
def test_first_sentence(docstring: str, said: str) -> None:
    assert first_sentence(docstring) == said


@pytest.mark.parametrize("page", PAGES)
def test_every_public_name_is_described(built_book: Path, page: str) -> None:
    ids = {tag["id"] for tag in html_of(built_book, page).select("dt[id]")}
    for module in modules_of_page(ROOT, page):
        for name, node in public_names(tree_of(module)):
            assert f"rqvae_lib.{module}.{name}" in ids
            for part in node.body if isinstance(node, ast.ClassDef) else []:
                method = isinstance(part, ast.FunctionDef) and not part.name.startswith("_")
                if method and ast.get_docstring(part):
                    assert f"rqvae_lib.{module}.{name}.{part.name}" in ids


def test_fields_have_their_comments(built_book: Path) -> None:
    said = {
        " ".join(term.get_text().split()): " ".join(term.find_next("dd").get_text().split())
        for term in html_of(built_book, "book/api_tokenizer").select("dl.simple dt")
    }
    assert said["codebook_size: int = 256"] == "K: codewords per level"
    layers = said["hidden_dims: tuple[int, ...] | None = (512, 256, 128)"]
    assert layers.startswith("Encoder layers; the decoder mirrors them. None: neither exists")


def test_a_comment_is_the_one_of_its_line() -> None:
    source = "# of b\n# and c\nb = 1  # here\nd = 2\n\n# not of e\n\ne = 3\n"
    comments, lines = comments_of(source), source.splitlines()
    said = [comment_on(node, comments, lines) for node in ast.parse(source).body]
    assert said == ["of b and c here", "", ""]


def links_to(html: object, page: str) -> Iterator[tuple[str, str]]:
    """The page and the anchor of each internal link in a part of a page."""
    for link in html.find_all("a", class_="internal", href=True):  # type: ignore[attr-defined]
        address, fragment = urldefrag(unquote(link["href"]))
        path = (Path("/") / page).parent / (address or f"{Path(page).name}.html")
        yield str(path.resolve()).removeprefix("/").removesuffix(".html"), fragment


def test_library_and_chapters_lead_to_each_other(built_book: Path) -> None:
    """Both ways, for every module: what a section names, the chapter's last line names too."""
    from_chapters, from_library = set(), set()
    module_at = {anchor(module): module for module in layout(ROOT)}
    for name in source_names(ROOT):
        line = html_of(built_book, f"notebooks/{name}").select_one("p.in-the-library")
        for _, fragment in links_to(line, f"notebooks/{name}"):
            from_chapters.add((name, module_at[fragment]))
    for page in PAGES:
        for section in html_of(built_book, page).select("section:has(> h3)"):
            module = section.select_one("h3 code").get_text()
            first = section.find("p", recursive=False)
            for target, _ in links_to(first, page):
                from_library.add((target.removeprefix("notebooks/"), module))
    assert from_chapters == from_library
    derived = {
        (name, module)
        for module, (_, chapters) in layout(ROOT).items()
        for name in source_names(ROOT)
        if name[:2] in chapters
    }
    assert derived <= from_library


def test_a_chapter_names_what_it_imports() -> None:
    modules = modules_of_chapters(ROOT)["03_codebook_kmeans"]
    assert {"ops.kmeans", "tokenizer.metrics", "checkpoints.models"} <= set(modules)
    assert "semantic_ids.trie" not in modules
    derived, used = chapters_of_module(ROOT, "ops.kmeans")
    assert derived == ["03_codebook_kmeans"]
    assert "04_residual_quantization" in used


# Other projects' names


@pytest.mark.parametrize("project", inventories.PROJECTS)
def test_inventory_is_what_the_script_writes(project: str) -> None:
    with (inventories.FOLDER / f"{project}.inv").open("rb") as file:
        committed = InventoryFile.load(file, "", lambda _, page: page)
    with_names = {name for entries in committed.values() for name in entries}
    assert with_names == {name.met for name in inventories.PROJECTS[project]}
    assert (inventories.FOLDER / f"{project}.inv").read_bytes().startswith(b"# Sphinx inventory")
    for name in inventories.PROJECTS[project]:
        entry = committed[f"py:{name.role}"][name.met]
        public = name.public or name.met
        assert entry[2] == f"{name.page.format(public)}#{public}"
        module, _, attribute = public.rpartition(".")
        assert hasattr(importlib.import_module(module or "builtins"), attribute)


def test_every_name_of_the_inventories_is_linked(built_book: Path) -> None:
    hrefs = {
        link["href"]
        for page in PAGES
        for link in html_of(built_book, page).select("a.external[href]")
    }
    for names in inventories.PROJECTS.values():
        for name in names:
            public = name.public or name.met
            assert any(href.endswith(f"{name.page.format(public)}#{public}") for href in hrefs), (
                name
            )


def test_a_type_with_a_name_is_written_and_linked_by_it(built_book: Path) -> None:
    """Not as everything that NumPy's ArrayLike stands for."""
    page = html_of(built_book, "book/api_tokenizer")
    signature = page.find(id="rqvae_lib.ops.kmeans.kmeans")
    assert "x: Array" in " ".join(signature.get_text().split())
    assert signature.select_one('a[href$="#rqvae_lib.ops.arrays.Array"]') is not None
    assert page.find(id="rqvae_lib.ops.arrays.Array") is not None
    assert "_SupportsArray" not in page.get_text()


# The commands


def test_every_command_and_option_is_described(built_book: Path) -> None:
    html = html_of(built_book, "book/commands")
    commands = typer.main.get_command(app).commands
    shown = {name for name, command in commands.items() if not command.hidden}
    headings = {code.get_text() for code in html.select("section > h2 code")}
    assert headings == {f"rqvae-lib {name}" for name in shown}
    assert "train-decoder" in set(commands) - shown  # a former name works and is not shown
    for name in shown:
        command = commands[name]
        (section,) = (s for s in html.select("section") if s.get("id") == f"rqvae-lib-{name}")
        terms = {code.get_text() for code in section.select("dt code")}
        for parameter in command.params:
            if parameter.param_type_name == "argument":
                assert any(parameter.name in term.lower() for term in terms), f"{name}: {terms}"
            elif parameter.name != "help":
                assert set(parameter.opts) & terms, f"{name}: {parameter.opts}"


@pytest.mark.parametrize(
    ("written", "marked"),
    [
        ("-k, --top INTEGER RANGE", "`-k`, `--top` INTEGER RANGE"),
        ("--split <leave-one-out|timestamp>", "`--split` leave-one-out | timestamp"),
        ("--resume", "`--resume`"),
        ("[models]...", "`[models]...`"),
    ],
)
def test_an_options_names_are_set_as_code(written: str, marked: str) -> None:
    assert signature(written) == marked


def test_a_command_shows_no_signature_and_its_helpers_do(built_book: Path) -> None:
    assert is_command("rqvae_lib.cli.recommend.recommend_command")
    assert not is_command("rqvae_lib.cli.main.main")
    html = html_of(built_book, "book/api_evaluation")
    shown = html.find(id="rqvae_lib.cli.recommend.recommend_command").get_text()
    assert "recommend_command(...)" in shown
    assert "arguments" in html.find(id="rqvae_lib.cli.main.main").get_text()


# The glossary


def glossary() -> dict[str, str]:
    """Each term, several of one entry apart, and what is said of it."""
    block = re.search(r"```\{glossary\}\n(.*?)```", page_text("glossary"), re.DOTALL)
    found = {}
    for entry in re.split(r"\n\n", block[1].strip()):
        lines = entry.splitlines()
        terms = [line for line in lines if not line.startswith(" ")]
        found.update(dict.fromkeys(terms, " ".join(line.strip() for line in lines[len(terms) :])))
    return found


def test_glossary_is_in_order_and_says_where() -> None:
    heads = [entry.splitlines()[0] for entry in page_text("glossary").split("\n\n")[3:-1]]
    heads = [head.removeprefix("```") for head in heads if head and not head.startswith("[")]
    assert heads == sorted(heads, key=lambda head: head.casefold().replace("–", "-"))
    names = {name[:2] for name in source_names(ROOT)}
    for term, said in glossary().items():
        chapters = re.findall(r"\[[Cc]hapter (\d\d)\]\[(\d\d)\]", said)
        assert chapters, term
        assert all(shown == target and target in names for shown, target in chapters), term
    assert set(glossary()) >= EVERYDAY


def test_each_term_is_used_where_it_is_derived(built_book: Path) -> None:
    ids = {}
    for term in html_of(built_book, "book/glossary").select("dl.glossary dt"):
        ids[term["id"]] = term.get_text().rstrip("#").strip().replace("’", "'")
    used: dict[str, set[str]] = {term: set() for term in glossary()}
    for name in source_names(ROOT):
        links = html_of(built_book, f"notebooks/{name}").select("a.glossary-term")
        terms = [ids[urldefrag(link["href"])[1]] for link in links]
        assert len(terms) == len(set(terms)), "a term is linked at its first use only"
        for term in terms:
            used[term].add(name[:2])
    for term, said in glossary().items():
        derived = set(re.findall(r"\]\[(\d\d)\]", said))
        assert derived <= used[term], f"{term} is not linked in the chapter that derives it"


def test_first_use_is_found() -> None:
    page = publish_doctree(
        "Title with codeword\n===================\n\n"
        "The code below tries. ``codeword`` is no word. Two codewords, and a *code*.\n\n"
        "A codeword again, dead\ncodewords and k-means++ after k-means.\n"
    )
    found = first_uses(page, ["code", "codeword", "dead codeword", "k-means", "k-means++", "trie"])
    words = {term: match[0] for term, (_, match) in found.items()}
    assert words == {
        "codeword": "codewords",
        "code": "code",
        "dead codeword": "dead\ncodewords",
        "k-means++": "k-means++",
        "k-means": "k-means",
    }
    assert isinstance(found["code"][0].parent, nodes.emphasis)


def test_capitals_matter_where_a_term_has_them() -> None:
    assert pattern(["Recall"]).search("to recall") is None
    assert pattern(["trie"]).search("Tries")


# Symbols and equations


def formal(text: str) -> list[str]:
    """Where letters are symbols: formulas, single letters in italics, and shapes."""
    found = re.findall(r"\$([^$\n]+)\$", text)
    found += re.findall(r"(?<!\*)\*(\w)\*(?!\*)", text)
    for inside in re.findall(r"\(([^()\n]{1,40})\)", text):
        words = re.findall(r"[A-Za-z]+", inside)
        if "," in inside and all(len(word) == 1 for word in words):
            found.append(inside)
    return found


def test_each_symbol_is_first_used_where_the_table_says() -> None:
    in_chapters = {}
    for name in source_names(ROOT):
        source = (ROOT / "notebooks" / f"{name}.py").read_text(encoding="utf-8")
        lines = [line for line in source.splitlines() if "#" in line and "mystnb" not in line]
        in_chapters[name[:2]] = formal("\n".join(lines))
    rows = [
        row for row in rows_of(page_text("notation")) if re.fullmatch(r"\[\d\d\]\[\d\d\]", row[-1])
    ]
    rows = [row for row in rows if not row[0].startswith("{eq}")]
    assert len(rows) >= 20
    for symbol, *_, first in rows:
        plain = symbol.strip("$")
        plain = plain if plain.startswith("\\") else plain.split("_")[0]
        sought = re.compile(rf"(?<![A-Za-z\\]){re.escape(plain)}(?![A-Za-z])")
        chapters = [
            chapter
            for chapter, found in in_chapters.items()
            if any(sought.search(place) for place in found)
        ]
        assert first[1:3] in chapters, f"{symbol} is not in chapter {first[1:3]}"
        if symbol not in {"$p_k$", "k", "$x$"}:  # p and k have a plainer use before; x is also code
            assert chapters[0] == first[1:3], f"{symbol} is first in {chapters}"


def test_displayed_equations_are_numbered_and_referred_to() -> None:
    pages = [path.read_text(encoding="utf-8") for path in BOOK.glob("*.md")]
    pages += [prose_of(name) for name in source_names(ROOT)]
    referred = set(re.findall(r"\{eq\}`([\w-]+)`", "\n".join(pages)))
    labels = []
    for name in source_names(ROOT):
        for label in re.findall(r"^\$\$[^$]+\$\$(.*)$", prose_of(name), re.MULTILINE):
            assert re.fullmatch(r" \(eq-[\w-]+\)", label), f"{name}: an equation has no label"
            labels.append(label[2:-1])
    assert len(labels) == len(set(labels)) >= 5
    assert set(labels) == referred


def test_every_figure_is_referred_to_in_its_chapter() -> None:
    for name in source_names(ROOT):
        cells = code_cells(read_source(ROOT / "notebooks" / f"{name}.py"))
        figures = {
            cell.metadata["mystnb"]["figure"]["name"]
            for cell in cells
            if "figure" in cell.metadata.get("mystnb", {})
        }
        assert figures <= set(re.findall(r'<a href="#([\w-]+)">Fig\.', prose_of(name))), name


# Papers


def entries() -> dict[str, str]:
    """Each entry of the bibliography by its key."""
    return dict(re.findall(r"^@\w+\{(\w+),\n(.*?)^\}", BIB, re.MULTILINE | re.DOTALL))


def cited_in(text: str) -> set[str]:
    groups = re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text)
    return {key.strip() for group in groups for key in group.split(",")}


def texts() -> dict[str, str]:
    found = {path.stem: path.read_text(encoding="utf-8") for path in BOOK.glob("*.md")}
    return found | {name: prose_of(name) for name in source_names(ROOT)}


def test_no_entry_is_unused_and_none_is_missing() -> None:
    cited = set().union(*(cited_in(text) for text in texts().values()))
    assert cited == set(entries())


def test_papers_that_docstrings_name_are_in_the_bibliography() -> None:
    known = set(re.findall(r"^\s*eprint\s*=\s*\{([\d.]+)\}", BIB, re.MULTILINE))
    for path in [*(ROOT / "rqvae_lib").rglob("*.py"), *BOOK.glob("*.md")]:
        named = set(re.findall(r"arXiv[: ]?(\d{4}\.\d{4,5})", path.read_text(encoding="utf-8")))
        assert named <= known, path.name


def surnames(entry: str) -> str:
    names = re.search(r"author\s*=\s*\{(.*)\},?$", entry, re.MULTILINE)[1]
    plain = re.sub(r"\{\\?[^\w]?\s?(\w+)\}|\{\\\W\{?(\w)\}?\}", lambda m: m[1] or m[2], names)
    return plain.split(" and ")[0].split(",")[0]


def test_who_is_named_is_cited() -> None:
    """A page that says "Lee et al." cites that first author; a reference has its citation."""
    for page, text in texts().items():
        authors = {surnames(entries()[key]) for key in cited_in(text)}
        for name in re.findall(
            r"((?:van den |De )?\w+(?: \w+)??),? et al\.", text.replace("\n", " ")
        ):
            last = name.split()[-1]
            assert any(author.split()[-1] == last for author in authors), f"{page}: {name} et al."
        tail = text.partition("## References")[2]
        for bullet in re.findall(r"^- (?:.+\n?(?:  .+\n?)*)", tail, re.MULTILINE):
            assert cited_in(bullet), f"{page}: {bullet}"


def test_map_names_what_exists_and_the_chapter_that_shows_it() -> None:
    rows = [row for row in rows_of(page_text("paper_map")) if row[0].startswith("{cite:t}")]
    assert len(rows) >= 40
    chapters = {name[:2]: modules for name, modules in modules_of_chapters(ROOT).items()}
    for paper, _, where, chapter, *_ in rows:
        assert cited_in(paper) <= set(entries())
        number = re.fullmatch(r"\[(\d\d)\]\[\1\]", chapter)[1]
        name = re.fullmatch(r"\{py:obj\}`([\w.]+) <rqvae_lib\.([\w.]+)>`", where)
        if name is None:
            assert where == "none: by hand in the chapter"
            continue
        package, file, *attributes = name[2].split(".")
        module = f"{package}.{file}"
        assert ".".join(attributes) == name[1]
        found = importlib.import_module(f"rqvae_lib.{module}")
        for attribute in attributes:
            found = getattr(found, attribute)
        assert module in chapters[number], f"chapter {number} has nothing of {module}"


# Tables


def test_every_measured_table_is_on_the_page_of_results() -> None:
    shown_tables = re.findall(r"```\{result-table\} (\w+)", page_text("results"))
    assert sorted(shown_tables) == sorted(path.stem for path in RESULTS.glob("*.csv"))


def test_results_page_shows_the_means(built_book: Path) -> None:
    frame = pd.read_csv(RESULTS / "11_comparison.csv")
    text = " ".join(html_of(built_book, "book/results").get_text().split())
    for _, group in frame.groupby(["split", "model"]):
        assert shown(group["recall_10"]) in html_of(built_book, "book/results").get_text()
    assert "11_comparison.csv" in text


def test_summary_takes_new_models_and_columns_and_lacks_old_ones() -> None:
    frame = pd.DataFrame(
        {
            "model": ["a", "a", "new"],
            "seed": [0, 1, 0],
            "recall": [0.1, 0.3, None],
            "device": ["cpu", "cuda", "cpu"],
        }
    )
    assert summary(frame, ["split", "model"], ["recall", "ndcg", "device"]) == [
        "| `model` | `recall` | `device` | rows |",
        "| --- | ---: | ---: | ---: |",
        "| a | 0.2000\u00a0±\u00a00.1414 | cpu, cuda | 2 |",
        "| new | – | cpu | 1 |",
    ]
    assert summary(frame, ["model"], ["-"])[-1] == "| new | 1 |"
    assert summary(frame, ["model"], [])[0] == "| `model` | `recall` | `device` | rows |"


def test_a_tables_origin_is_that_of_this_very_table(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_rows(path, ["a"], [{"a": "1"}])
    recorded = read_origin(path)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", recorded["date"])
    (here,) = recorded["measured_on"]
    assert f"torch {metadata.version('torch')}" in here
    assert origin(path).endswith(f"on {here}.")
    path.write_text("a\n2\n")  # by hand: nothing is known of it
    assert read_origin(path) == {}
    assert "not recorded" in origin(path)
    path.with_suffix(".json").unlink()
    assert read_origin(path) == {}


def test_rows_from_several_machines_name_all_of_them(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_rows(path, ["a"], [{"a": "1"}])
    (here,) = read_origin(path)["measured_on"]
    note_origin(path, ["another machine"])
    write_rows(path, ["a"], [{"a": "1"}, {"a": "2"}])
    assert read_origin(path)["measured_on"] == ["another machine", here]
    path.with_suffix(".json").unlink()
    write_rows(path, ["a"], [{"a": "1"}, {"a": "3"}])
    assert read_origin(path)["measured_on"] == [NOT_RECORDED, here]
    write_rows(path, ["a"], [{"a": "4"}])  # nothing of the old ones is left
    assert read_origin(path)["measured_on"] == [here]


def test_published_numbers_are_those_of_chapter_11() -> None:
    chapter = prose_of("11_honest_evaluation")
    table = chapter[chapter.index("| model | HR@10") :].split("\n\n")[0]
    numbers = {row[0]: row[1:3] for row in rows_of(table)[2:]}
    page = {row[0]: row[1:3] for row in rows_of(page_text("results"))}
    assert len(numbers) >= 8
    for model, values in numbers.items():
        assert page[model] == values


def test_origins_are_json() -> None:
    for path in RESULTS.glob("*.json"):
        assert path.with_suffix(".csv").exists()
        assert {"sha256", "date"} <= set(json.loads(path.read_text(encoding="utf-8")))
