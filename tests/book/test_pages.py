"""What the prose pages say is true: commands, tables, counts, the picture."""

import ast
import re
import shlex
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pandas as pd
import pytest
import torch
import typer
from typer.testing import CliRunner

import pipeline_picture
from library_api import layout, packages
from rqvae_lib.checkpoints import models
from rqvae_lib.checkpoints.models import load_rqvae
from rqvae_lib.cli.main import app
from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.splits import Split
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.embeddings.text import load_embeddings
from rqvae_lib.models.base import Recommender
from rqvae_lib.models.decoder_only import DecoderOnly
from rqvae_lib.models.encoder_decoder import EncoderDecoder
from rqvae_lib.models.rq_transformer import RQTransformer
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from tests.book.test_readme import README, commands_in
from tests.helpers import ROOT

LAYOUT = (ROOT / "book" / "library_layout.md").read_text(encoding="utf-8")
DATA = (ROOT / "book" / "data_and_licences.md").read_text(encoding="utf-8")
TOKENIZERS = (ROOT / "book" / "tokenizers.md").read_text(encoding="utf-8")
TROUBLES = (ROOT / "book" / "troubleshooting.md").read_text(encoding="utf-8")
CHOOSING = (ROOT / "book" / "choosing.md").read_text(encoding="utf-8")
PAPERS = (ROOT / "book" / "reading_a_paper.md").read_text(encoding="utf-8")
LIBRARY = ROOT / "rqvae_lib"
PRETRAINED = LIBRARY / "checkpoints" / "pretrained"


# The picture


@pytest.mark.parametrize("name", pipeline_picture.PICTURES)
class TestPicture:
    def test_is_what_the_script_draws(self, name: str) -> None:
        drawn = pipeline_picture.draw(pipeline_picture.PICTURES[name])
        committed = (pipeline_picture.ASSETS / name).read_bytes()
        assert committed == drawn.encode(), "run `python book/makers/pipeline_picture.py`"

    def test_is_well_formed_described_and_loads_nothing(self, name: str) -> None:
        text = (pipeline_picture.ASSETS / name).read_text(encoding="utf-8")
        root = ElementTree.fromstring(text)
        svg = "{http://www.w3.org/2000/svg}"
        assert root.tag == f"{svg}svg"
        assert root.get("role") == "img"
        assert [root[0].tag, root[1].tag] == [f"{svg}title", f"{svg}desc"]
        assert root.get("aria-labelledby") == f"{root[0].get('id')} {root[1].get('id')}"
        drawn = {element.tag.removeprefix(svg) for element in root.iter()}
        assert drawn == {"svg", "title", "desc", "rect", "path", "polygon", "circle", "text"}
        assert text.count("http") == 1  # the namespace
        assert not re.search(r"href|url\(|@import|<style|<script", text)

    def test_is_legible_when_390_pixels_wide(self, name: str) -> None:
        root = ElementTree.fromstring((pipeline_picture.ASSETS / name).read_text(encoding="utf-8"))
        shrunk = 350 / float(root.get("width"))
        sizes = [
            float(element.get("font-size"))
            for element in root.iter()
            if element.text and element.get("font-size")
        ]
        assert min(sizes) * shrunk > 10.5


def test_picture_shows_the_real_embedding_and_true_shapes() -> None:
    movies = load_dataset()
    embedding = load_embeddings()[movies.titles.index("Toy Story (1995)")]
    shown = torch.tensor(pipeline_picture.EMBEDDING)
    torch.testing.assert_close(shown, embedding[: len(shown)], atol=5e-4, rtol=0)
    drawn = pipeline_picture.draw(pipeline_picture.LIGHT)
    assert f"{len(embedding)} numbers" in drawn
    ids = [*pipeline_picture.TRIE]
    assert len(set(ids)) == len(ids)
    assert set(pipeline_picture.HISTORY.values()) < set(ids)


def test_pictures_text_is_the_movies_text() -> None:
    drawn = re.findall(
        r">“(.*)</text>\n.*>(.*)”</text>", pipeline_picture.draw(pipeline_picture.LIGHT)
    )
    assert [" ".join(lines) for lines in drawn] == [load_dataset().texts[0]]


# Commands and tokenizers


def commands_in_sentences(page: str) -> list[str]:
    """The commands that stand in the text of a page, as `rqvae-lib evaluate`."""
    return [" ".join(found.split()) for found in re.findall(r"`(rqvae-lib\s[^`]+)`", page)]


def test_commands_in_sentences_are_found_over_the_end_of_a_line() -> None:
    assert commands_in_sentences("`rqvae-lib\ninspect` and\n`rqvae-lib append`") == [
        "rqvae-lib inspect",
        "rqvae-lib append",
    ]


@pytest.mark.parametrize(
    "command",
    [
        *commands_in(README),
        *commands_in(TOKENIZERS),
        *commands_in_sentences(TROUBLES),
        *commands_in(CHOOSING),
        *commands_in_sentences(CHOOSING + PAPERS),
        "rqvae-lib train-recommender --tokenizer random",
        "rqvae-lib train-rqvae --start-from pretrained --steps 1000",
    ],
)
def test_commands_on_the_pages_exist_with_their_options(command: str) -> None:
    """Parsed by the real command, which then shows its help instead of running."""
    _, *arguments = shlex.split(command)
    result = CliRunner().invoke(app, [*arguments, "--help"])
    assert result.exit_code == 0, result.output
    (chosen,) = {arguments[0]} & set(typer.main.get_command(app).commands)
    options = typer.main.get_command(app).commands[chosen].params
    known = {name for option in options for name in option.opts}
    assert {argument for argument in arguments if argument.startswith("--")} <= known


def test_the_page_on_tokenizers_tells_what_the_shipped_ones_say_of_themselves() -> None:
    rows = re.findall(r"^\| `(movielens-small-2016\S*)` \| (.*) \|$", TOKENIZERS, re.MULTILINE)
    shipped = {
        path.name.removesuffix("-rqvae.safetensors") for path in PRETRAINED.glob("*-rqvae.*")
    }
    assert {name for name, _ in rows} == shipped
    for name, row in rows:
        _, card = load_rqvae(name)
        metrics = card["metrics"]
        perplexity = " · ".join(f"{number:.0f}" for number in metrics["perplexity"])
        assert row == (
            f"{card['steps']:,} | {perplexity} | {metrics['collision_rate']:.2%} | "
            f"{metrics['variance_lost']:.1%}"
        )
        assert card["command"] in commands_in(TOKENIZERS)


def test_the_table_of_seeds_shows_no_collapse() -> None:
    """The recipe's promise: all codewords used, and fewer collisions than residual k-means."""
    table = pd.read_csv(ROOT / "notebooks" / "results" / "05_tokenizers.csv").set_index("tokenizer")
    trained, baseline = table.loc["RQ-VAE"], table.loc["R-KMeans"]
    assert trained["seed"].tolist() == baseline["seed"].tolist() == [0, 1, 2, 3, 4]
    assert (trained[[f"used_{level}" for level in (1, 2, 3)]] >= 0.99).all(axis=None)
    # What the page says below the table.
    assert 4 * trained["collision_rate"].max() < baseline["collision_rate"].min()
    assert baseline["perplexity_3"].max() < 256 / 2 < trained["perplexity_3"].min()
    assert trained["variance_lost"].min() > baseline["variance_lost"].max()
    shipped = load_rqvae("movielens-small-2016")[1]["metrics"]
    assert shipped["variance_lost"] < baseline["variance_lost"].min()
    assert shipped["collision_rate"] < baseline["collision_rate"].min()


# How the library is laid out


def modules() -> dict[str, ast.Module]:
    """Every module of the library, as "io.atomic", but those that hold exercises' cases."""
    paths = sorted(LIBRARY.glob("*/[!_]*.py"))
    return {
        f"{path.parent.name}.{path.stem}": ast.parse(path.read_text(encoding="utf-8"))
        for path in paths
    }


def imported(tree: ast.Module) -> set[str]:
    """The modules of the library that a module imports, wherever in the file."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        names = [name for name in names if name != "rqvae_lib.__version__"]  # a number, no module
        found |= {".".join(name.split(".")[1:3]) for name in names if name.startswith("rqvae_lib.")}
    return found


def test_layout_lists_every_package_and_module() -> None:
    assert sorted(layout(ROOT)) == sorted(modules())
    folders = {path.parent.name for path in LIBRARY.glob("*/__init__.py")}
    assert set(packages(ROOT)) == folders
    headings = re.findall(r"^### `(\w+)`$", LAYOUT, re.MULTILINE)
    assert headings == list(packages(ROOT)), "the tables of files are in the packages' order"
    others = {path.name for path in LIBRARY.glob("*/*/") if (path / "__init__.py").is_file()}
    assert others == {"exercises"}, "a package inside a package needs a place on the page"


def test_imports_run_one_way() -> None:
    order = list(layout(ROOT))
    for module, tree in modules().items():
        assert imported(tree) <= set(order), f"{module} imports what no row names"
        above = set(order[: order.index(module)])
        assert imported(tree) <= above, f"{module} imports what stands below it"


def test_layout_says_what_each_package_imports_from() -> None:
    found: dict[str, set[str]] = {name: set() for name in packages(ROOT)}
    for module, tree in modules().items():
        package = module.split(".")[0]
        found[package] |= {name.split(".")[0] for name in imported(tree)} - {package}
    for name, package in packages(ROOT).items():
        assert package.imports == sorted(found[name]), name


@pytest.mark.parametrize("name", packages(ROOT))
def test_layout_says_what_the_package_says_of_itself(name: str) -> None:
    tree = ast.parse((LIBRARY / name / "__init__.py").read_text(encoding="utf-8"))
    assert packages(ROOT)[name].purpose == ast.get_docstring(tree)


def test_the_library_names_its_packages_in_the_layouts_order() -> None:
    docstring = ast.get_docstring(ast.parse((LIBRARY / "__init__.py").read_text("utf-8")))
    assert re.findall(r"^    (\w+) ", docstring, re.MULTILINE) == list(packages(ROOT))


def test_layout_has_the_order_that_import_linter_holds() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = settings["tool"]["importlinter"]["contracts"]
    assert contract["exhaustive"]
    assert contract["type"] == "layers"
    layers = [layer.split(" | ") for layer in reversed(contract["layers"])]
    layer_of = {name: number for number, layer in enumerate(layers) for name in layer}
    order = list(packages(ROOT))
    assert sorted(layer_of) == sorted(order)
    assert order == sorted(order, key=layer_of.get)


def test_imported_sees_every_way_to_import() -> None:
    ways = [
        "import rqvae_lib.semantic_ids.trie as t",
        "from rqvae_lib.ops import kmeans",
        "def f(): from rqvae_lib.io.atomic import x",
        "from rqvae_lib import recommend",  # no module of a package: no row names it
    ]
    found = imported(ast.parse("\n".join(ways)))
    assert found == {"semantic_ids.trie", "ops.kmeans", "io.atomic", "recommend"}


@pytest.mark.parametrize("module", modules())
def test_layout_names_the_chapters_of_the_docstring(module: str) -> None:
    docstring = ast.get_docstring(modules()[module]) or ""
    said = re.search(r"Derived in: ([^;.]*)", docstring)
    assert layout(ROOT)[module][1] == (re.findall(r"\d+", said[1]) if said else [])


def is_left_open(method: ast.stmt) -> bool:
    """Whether a method of a base class says only what its subclasses shall do."""
    return isinstance(method, ast.FunctionDef) and ast.unparse(method.body[-1]) == (
        "raise NotImplementedError"
    )


def test_layout_names_the_interface() -> None:
    """What each architecture adds to `Recommender`: the three questions, in order; then `loss`."""
    section = LAYOUT[LAYOUT.index("| Method |") :]
    named = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    (recommender,) = (
        node
        for node in modules()["models.base"].body
        if isinstance(node, ast.ClassDef) and node.name == "Recommender"
    )
    needed = [method.name for method in recommender.body if is_left_open(method)]
    assert named == [*(name for name in needed if name != "loss"), "loss"]
    for architecture in (DecoderOnly, EncoderDecoder, RQTransformer):
        for name in named:
            assert getattr(architecture, name) is not getattr(Recommender, name)


def test_layout_names_what_there_is() -> None:
    """The attributes and functions that the five things mention."""
    section = LAYOUT[LAYOUT.index("## How the parts fit together") :]
    for name, owner in (
        ("item_index", Dataset),
        ("popularity", Split),
        ("id_of", SemanticIDs),
        ("item_of", SemanticIDs),
        ("with_prefix", SemanticIDs),
        ("sha256", SemanticIDs),
        *((f"save_{kind}", models) for kind in ("rqvae", "recommender", "sasrec")),
        ("load_recommender", models),
    ):
        assert hasattr(owner, name)
        assert re.search(rf"`[\w.]*\b{name}\b", section), name
    for path in re.findall(r"`((?:\w+/)+\w+(?:\.py)?)`", LAYOUT):
        assert (ROOT / path).exists() or (LIBRARY / path).exists(), path


# Data and licences


def test_data_page_tells_the_data() -> None:
    movies = load_dataset()
    items, ratings = movies.items, movies.interactions
    texts = pd.Series(movies.texts)
    twins = texts[texts.duplicated(keep=False)]
    titles = pd.Series(movies.titles)
    same_title = titles[titles.duplicated(keep=False) & items["title"].notna()]
    ties = ratings.duplicated(["user_id", "timestamp"], keep=False).mean()
    ends = ratings.groupby("user_id")["timestamp"].agg(
        lambda times: (times == times.max()).sum() > 1
    )
    years = pd.to_datetime(ratings["timestamp"], unit="us")

    assert f"| ratings | {len(ratings):,}, from 0.5 to 5 stars in steps of a half |" in DATA
    assert set(ratings["rating"]) == {half / 2 for half in range(1, 11)}
    fewest = ratings.groupby("user_id").size().min()
    assert f"| users | {movies.num_users}, each with {fewest} ratings or more |" in DATA
    assert f"| movies | {movies.num_items:,}, all of them rated at least once |" in DATA
    assert ratings["item"].nunique() == movies.num_items
    assert f"| time | {years.min():%B %Y} to {years.max():%B %Y} |" in DATA

    assert (items["title"].isna() == items["year"].isna()).all()
    assert f"**{items['title'].isna().sum()} movies have no title and no year.**" in DATA
    assert f"**{(items['genres'] == '').sum()} movies have no genre.**" in DATA
    neither = (items["title"].isna() & (items["genres"] == "")).sum()
    assert f"({neither} of them have no title either.)" in DATA
    assert sorted(twins.value_counts()) == [2, 2]
    assert items["title"][twins.index].isna().all()
    assert "**Two pairs of movies have the same text**" in DATA
    assert sorted(same_title.value_counts().index) == ["Hamlet (2000)", "War of the Worlds (2005)"]
    assert sorted(same_title.value_counts()) == [2, 2]
    assert f"**{ties:.0%} of the ratings".replace("%", " %") in DATA
    assert f"{ends.mean():.0%} of the users".replace("%", " %") in DATA
    assert "{:,} rows and {} columns".format(*load_embeddings().shape) in DATA


def test_prose_names_no_path_of_a_machine() -> None:
    for page in [ROOT / "README.md", *(ROOT / "book").glob("*.md")]:
        assert not re.search(r"(?<![\w.])/(home|work|Users|root|tmp)/", page.read_text("utf-8")), (
            page
        )


def test_pages_link_to_pages_that_exist() -> None:
    """Links from one Markdown file to another work on the repository's site too."""
    for page in (ROOT / "book").glob("*.md"):
        links = re.findall(r"\]\((?!https?:)([^)#\s]+\.(?:md|ipynb))\)", page.read_text("utf-8"))
        for link in links:
            assert Path(page.parent, link).exists(), f"{page.name}: {link}"
