"""The pages that advise: every number on them is that of a table, or of a chapter's output."""

import re
from collections.abc import Callable, Iterator
from functools import cache

import nbformat
import pandas as pd
import pytest

from notebooks import code_cells, output_text
from speed_figures import read
from tests.book.test_pages import CHOOSING, PAPERS
from tests.helpers import ROOT


def one_line(page: str) -> str:
    """The page's words without its line ends and links, so that sentences can be looked for."""
    page = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", page)
    return " ".join(page.split())


CHOICES, QUESTIONS = one_line(CHOOSING), one_line(PAPERS)


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / "notebooks" / "results" / f"{name}.csv")


@cache
def printed(chapter: str) -> str:
    """Everything that a chapter's cells print, as it is committed."""
    (path,) = (ROOT / "notebooks").glob(f"{chapter}_*.ipynb")
    cells = code_cells(nbformat.read(path, as_version=4))
    texts = [output_text(output) for cell in cells for output in cell.outputs]
    return " ".join(" ".join(texts).split())


def recommenders() -> Iterator[str]:
    models = table("11_comparison").groupby(["split", "model"]).mean(numeric_only=True)

    def recall(model: str, split: str = "timestamp") -> str:
        return f"{models.loc[(split, model), 'recall_10']:.3f}"

    best = models.loc["timestamp"].drop(
        index=["popularity", "item-kNN", "SASRec", "near pairs", "near pairs, forward"]
    )
    best = best[~best.index.str.contains("random|untrained")]
    yield (
        f"item-kNN finds {recall('item-kNN')} of the targets, near pairs {recall('near pairs')}, "
        f"and the best model over semantic IDs {best['recall_10'].max():.3f}"
    )
    yield (
        f"item-kNN finds {recall('item-kNN')} of the targets among ten, SASRec "
        f"{recall('SASRec')}, and the RQ-Transformer {recall('RQ-Transformer')}; TIGER's own "
        f"encoder–decoder, at {recall('encoder-decoder')}, is level with popularity, "
        f"{recall('popularity')}"
    )
    yield (
        "Near pairs, which are counted both ways if people rated them close together, reach "
        f"{recall('near pairs')}"
    )
    of_mixtures = table("11_mixtures")
    of_mixtures = of_mixtures[of_mixtures["seed"] != "all"]
    of_mixtures = of_mixtures.groupby(["split", "model", "mixed_with"])["recall_10"].mean()

    def mixture(split: str, mixed_with: str) -> str:
        return f"{of_mixtures[split, 'RQ-Transformer', mixed_with]:.3f}"

    yield (
        f"on leave-one-out a mixture finds {mixture('leave-one-out', 'near pairs')} of the "
        f"targets, the model alone {mixture('leave-one-out', 'nothing')}, near pairs alone "
        f"{recall('near pairs', 'leave-one-out')}"
    )
    yield (
        f"a mixture of the RQ-Transformer with them, {mixture('timestamp', 'near pairs')}, is "
        "level with that"
    )
    splits = ("leave-one-out", "timestamp", "last-ten")
    for name, numbers in (
        ("near pairs", [recall("near pairs", split) for split in splits]),
        ("RQ-Transformer", [mixture(split, "nothing") for split in splits]),
        ("the two, mixed", [mixture(split, "near pairs") for split in splits]),
    ):
        yield f"| {name} | {' | '.join(numbers)} |"
    mixed, text = "RQ-Transformer, text and taste", "RQ-Transformer"
    for words in ("adding taste did not help: Recall@10", "IDs from text and taste gave"):
        yield f"{words} {recall(mixed, 'leave-one-out')} instead of {recall(text, 'leave-one-out')}"
    yield f"and {recall(mixed)} instead of {recall(text)} on the timestamp split"
    yield (
        f"{recall('decoder-only, borrowed')} against "
        f"{recall('decoder-only, borrowed, untrained RQ-VAE')} for the decoder-only model"
    )
    for shown, name in (
        ("RQ-Transformer", "RQ-Transformer"),
        ("the same, codes only", "RQ-Transformer, codes only"),
        ("decoder-only", "decoder-only"),
        ("encoder–decoder, as in TIGER", "encoder-decoder"),
        ("SASRec, no semantic IDs", "SASRec"),
    ):
        size = models.loc[("leave-one-out", name), "parameters"]
        yield f"| {shown} | {size:,.0f} | {recall(name, 'leave-one-out')} | {recall(name)} |"
    yield f"| – | {recall('item-kNN', 'leave-one-out')} | {recall('item-kNN')} |"
    sizes = models.loc["leave-one-out", "parameters"]
    yield f"costs SASRec {sizes['SASRec']:,.0f} parameters"
    yield f"as good as SASRec on leave-one-out has {sizes['RQ-Transformer']:,.0f}"
    yield f"codes only it has {sizes['RQ-Transformer, codes only']:,.0f} parameters"
    trained_on_ids = models[models.index.get_level_values("model").str.contains("Trans|coder")]
    meaning = trained_on_ids[
        ~trained_on_ids.index.get_level_values("model").str.contains("random|untrained")
    ]
    assert meaning["unseen_10"].max() < 0.002
    assert meaning["unseen_10"].max() < 0.0015
    yield "no model over semantic IDs finds more than about 0.1 % here"


def groceries() -> Iterator[str]:
    found = table("13_groceries").groupby(["model", "steps", "part"])["recall_10"].mean()

    def recall(model: str, steps: int, part: str = "test") -> str:
        return f"{found[model, steps, part]:.3f}"

    texts = "RQ-Transformer, text, RQ-VAE"
    yield (
        f"In a shop, item-kNN finds {recall('item-kNN, last 1', 0)} and the RQ-Transformer "
        f"{recall(texts, 3000)}, a difference that is open, and SASRec {recall('SASRec', 3000)}"
    )
    yield (
        f"finds {recall(texts, 300)} of the purchases, "
        f"SASRec {recall('SASRec', 300)}, and the RQ-Transformer with IDs dealt out at random "
        f"{recall('RQ-Transformer, random IDs', 300)}"
    )
    yield (
        f"of their own they find {recall(texts, 3000)}, {recall('SASRec', 3000)} and "
        f"{recall('RQ-Transformer, random IDs', 3000)}"
    )
    taste, text, both, rqvae = (
        recall(f"RQ-Transformer, {name}", 300, "validation")
        for name in ("collaborative", "text", "both", "text, RQ-VAE")
    )
    yield f"IDs from taste alone gave {taste}, from text {text}, from both {both}"
    yield f"{rqvae} with the RQ-VAE, {text} with residual k-means"


SIZES = ("3 × 16", "3 × 64", "3 × 256", "4 × 256")


def tokenizers() -> Iterator[str]:
    five = table("05_tokenizers").groupby("tokenizer").mean()
    lost, collide = five["variance_lost"], five["collision_rate"]
    yield (
        f"it loses {lost['R-KMeans']:.3f}, an RQ-VAE of 2,000 steps {lost['RQ-VAE']:.3f}, "
        "five seeds each"
    )
    unseen = table("05_unseen")
    unseen = unseen[(unseen["held_out"] == 0.1) & (unseen["at"] == unseen["steps"])]
    of_held_out = unseen.groupby(["tokenizer", "steps"])["lost_unseen"].mean()
    assert f"{of_held_out['RQ-VAE', 1000]:.2f}" == f"{of_held_out['RQ-VAE', 2000]:.2f}"
    yield (
        f"1,000 and 2,000 steps lose {of_held_out['RQ-VAE', 2000]:.2f}, 6,000 steps "
        f"{of_held_out['RQ-VAE', 6000]:.2f}, and residual k-means "
        f"{of_held_out['residual k-means', 0]:.2f}"
    )
    small = table("06_measures").groupby("tokenizer")["recall_10"].mean()
    *first, last = (f"{small[f'R-KMeans, {size}']:.3f}" for size in SIZES)
    yield f"found {', '.join(first)} and {last} of each person's last ten movies"
    yield (
        f"found {small['R-KMeans, collaborative']:.3f} of each person's last ten movies, those of "
        f"the shipped tokenizer {small['RQ-VAE, 500,000 steps']:.3f}"
    )
    moved = small["R-KMeans, 3 × 64"] - small["R-KMeans, 3 × 64, nearest-free"]
    yield f"the nearest free codes cost {moved:.3f} of Recall@10"
    for words in ("collide instead of", "collide, against"):
        yield f"{collide['RQ-VAE']:.2%} of the movies {words} {collide['R-KMeans']:.2%}"
    grid = table("06_grid").groupby(["levels", "codebook_size", "tokenizer"]).mean()
    for levels, size in ((3, 64), (2, 256), (3, 256), (4, 256)):
        ours, kmeans = (grid.loc[(levels, size, name)] for name in ("RQ-VAE", "R-KMeans"))
        rare = 2 if ours["collision_rate"] < 0.001 else 1
        yield (
            f"| {levels} × {size} | {ours['collision_rate']:.{rare}%} | "
            f"{ours['variance_lost']:.2f} | {kmeans['collision_rate']:.1%} | "
            f"{kmeans['variance_lost']:.2f} |"
        )
    many = grid.loc[(4, 64, "R-KMeans")]
    yield f"| 4 × 64 | – | – | {many['collision_rate']:.1%} | {many['variance_lost']:.2f} |"
    ablation = table("05_collapse").groupby("variant").mean(numeric_only=True)
    three = ablation.loc[["all", "without loss_sum", "both losses averaged"]]
    worst = three[[f"perplexity_{level}" for level in (1, 2, 3)]].min(axis=1)
    yield "the three lose {:.2f}, {:.2f} and {:.2f} of the variance".format(*three["variance_lost"])
    yield "the worst level is {:.0f}, {:.0f} and {:.0f}".format(*worst)
    yield f"the worst level falls from {worst.iloc[0]:.0f} to {worst.iloc[1]:.0f}"
    knows = table("06_knowledge").query("length == 1 and tokenizer == 'RQ-VAE'")
    knows = knows.groupby("content").mean(numeric_only=True).loc[["text", "text without year"]]
    decade, without = knows["pairs_decade"]
    yield f"share it, {decade:.0%} are of one decade; with the year left out"
    yield f"the text it is {without:.0%}"
    yield "one genre rises from {:.0%} to {:.0%}".format(*knows["pairs_genre"])


def catalogues() -> Iterator[str]:
    cost = table("06_remedies").groupby(["tokenizer", "remedy"]).mean()
    for words, name in (("nearest free codes", "nearest-free"), ("{cite}`zheng2024lcrec`", "bal")):
        row = cost.loc["RQ-VAE"].filter(like=name, axis=0).iloc[0]
        yield f"{words} | {row['items_moved']:.0f} | {row['added_error']:.0%} |"
    lost = cost.loc["R-KMeans", "variance_lost"]
    yield f"it loses {lost['balanced']:.3f} instead of {lost['disambiguation']:.3f}"
    grown = table("06_growth").groupby(["tokenizer", "held_out"]).mean(numeric_only=True)
    new, old = grown["lost_new"], grown["lost_new_if_trained_on"]
    for words, name in (("500 steps loses", "RQ-VAE"), ("residual k-means", "R-KMeans")):
        yield f"{words} {new[name, 'newest']:.3f}"
        yield f"instead of {old[name, 'newest']:.3f}"
    yield f"of a random tenth, {new['RQ-VAE', 'random']:.3f} and {new['R-KMeans', 'random']:.3f}"
    drift = table("13_drift").groupby("added")["error_ratio"].agg(["min", "max"])
    low, high = drift.loc["a tenth, at random"]
    yield f"those drawn at random stay at {low:.1f} to {high:.1f} times"
    old_kinds = drift.loc[["Documentary", "before 1950"]]
    yield f"before 1950 are at {old_kinds['min'].min():.2f} to {old_kinds['max'].max():.2f}"
    yield "groceries among movies at {:.1f} to {:.1f}".format(*drift.loc["groceries"])


def costs() -> Iterator[str]:
    stages = table("12_growth")

    def row(query: str, digits: int) -> str:
        (found,) = stages.query(query).itertuples()
        return f"| {found.seconds:.{digits}f} s | {found.mib:,} MiB |"

    step = "stage == 'step' and batch == 64 and dim == 64"
    search = "stage == 'search' and beams == 50 and batch == 64 and dim == 64"
    yield "encode 1,000 texts " + row("stage == 'encode' and items == 1000", 1)
    yield "assign 1 million items " + row("stage == 'assign' and items == 1000000", 1)
    yield "IDs into a trie " + row("stage == 'index' and items == 1000000", 2)
    yield "for each prefix " + row(f"{step} and items == 10000 and vectors == 1", 2)
    yield "with 1 million items " + row(f"{step} and items == 1000000 and vectors == 1", 2)
    yield "from a network " + row(f"{step} and items == 1000000 and vectors == 0", 2)
    yield "100,000 items " + row(f"{search} and items == 100000", 2)
    yield "10 million items " + row(f"{search} and items == 10000000", 2)
    seconds = table("12_processes").set_index(["batch", "processes"])["seconds"]
    yield f"64 windows {seconds[64, 1] / seconds[64, 2]:.2f} times as fast"
    yield f"16 windows {seconds[16, 1] / seconds[16, 2]:.2f} times"
    _, sections = read((ROOT / "book" / "_speed.md").read_text(encoding="utf-8"))
    times = {(part.title, case.case): case.milliseconds for part in sections for case in part.rows}
    windows = "A training step of 32 windows of 50 items, 2 blocks of 64 numbers"
    one, four = times[windows, "RQ-Transformer"], times[windows, "decoder-only"]
    yield f"takes {one:.1f} ms where the decoder-only model takes {four:.1f}"
    assert 0.25 < one / four < 0.4
    yield "a training step takes a third of the time"
    rows = times["A training step, 1,024 items of 384 numbers", "rqvae_lib"]
    yield f"A step of 1,024 items takes {rows:.0f} ms"


@pytest.mark.parametrize("said", [recommenders, groceries, tokenizers, catalogues, costs])
def test_choosing_says_what_the_tables_say(said: Callable[[], Iterator[str]]) -> None:
    sentences = [re.sub(r"(?<=\d)%", " %", words) for words in said()]
    assert [words for words in sentences if words not in CHOICES] == []


# What the pages take from a chapter's cells: the page's words, the chapter, what it prints.
QUOTED = [
    (CHOICES, "by 0.052 [0.028, 0.075] of Recall@10", "11", "Recall@10 +0.052 [+0.028, +0.075]"),
    (CHOICES, "is −0.005 [−0.014, 0.003]", "11", "Recall@10 -0.005 [-0.014, +0.003]"),
    (CHOICES, "0.070 by taste and 0.040 by text", "02", "test taste 0.070"),
    (CHOICES, "0.070 by taste and 0.040 by text", "02", "test text 0.040"),
    (CHOICES, "finds 2 of those 35 movies", "02", "text finds 2 of these"),
    (CHOICES, "the timestamp split (82 here)", "11", "10,000 targets of 82 people"),
    (
        CHOICES,
        "518 have the text of an earlier one",
        "13",
        "518 products have the text of an earlier",
    ),
    (CHOICES, "more than half collide", "13", "55% of the products collide"),
    (CHOICES, "steps lost 0.63, 0.54, 0.47 and 0.40", "05", "500,000: lost 0.40"),
    (CHOICES, "for 3 of 2,294 households", "13", "3 of 2,294 households: one among the first 10"),
    (CHOICES, "14.2 % and 12.3 % of them", "13", "most active 12.3% bought"),
    (CHOICES, "of all households 3.6 %", "13", "anybody 3.6% bought"),
    (CHOICES, "and 0 published IDs moved", "13", "0 of the published IDs moved"),
    (QUESTIONS, "nine in ten leave-one-out targets", "01", "targets rated within the hour: 90%"),
    (QUESTIONS, "popularity scores 0.033", "01", "one vote a target: 0.033"),
    (QUESTIONS, "0.050 with one vote a person", "01", "one vote a person: 0.050"),
    (QUESTIONS, "52 % of the training data", "01", "the median target: 52% of it is later"),
    (QUESTIONS, "find 0.076 with it and 0.058 without", "01", "test 0.076 0.058"),
    (QUESTIONS, "item-kNN is +0.052", "11", "Recall@10 +0.052"),
    (QUESTIONS, "0.043 among all movies and 0.551", "11", "popularity 0.043 (11) 0.551"),
    (QUESTIONS, "second, 0.086 and 0.446", "11", "full 0.086 and 0.043, drawn 0.446"),
    (QUESTIONS, "90 % of the ratings here and 39 %", "01", "39% of the movies 90% of the ratings"),
    (QUESTIONS, "and 548 movies owe", "01", "548 of these movies had fewer"),
    (QUESTIONS, "For 19 % of the people", "01", "that is 19% of the people"),
    (QUESTIONS, "0.073 instead of 0.034", "13", "rows as filed: 0.034 and 0.073"),
    (QUESTIONS, "returns NaN perfect: 1.000", "11", "Recall@10 of a broken model: 1.000"),
    (QUESTIONS, "44 % name a movie", "09", "10 tuples: 0.0% no movie, 44% rated before"),
    (QUESTIONS, "from 0.024 to 0.070", "11", "SASRec 12 trials, NDCG@10 0.024 to 0.070"),
    (QUESTIONS, "item-kNN's by 58 %", "11", "+58% NDCG"),
    (QUESTIONS, "0.053 on validation, and five", "11", "best trial 0.053, test 0.040"),
    (QUESTIONS, "brings the RQ-Transformer 0.023", "11", "Recall@10 +0.023"),
    (QUESTIONS, "and −0.002 on the timestamp split", "11", "Recall@10 -0.002"),
    (QUESTIONS, "from 0.127 to 0.143", "11", "seeds 0.127–0.143"),
    (QUESTIONS, "from 0.116 to 0.163", "11", "RQ-Transformer 0.138 [0.116, 0.163]"),
    (QUESTIONS, "there takes 2,314 people", "11", "σ 0.172: 2,314 people, here 671"),
    (QUESTIONS, "0.23 % of the movies collide", "06", "collision rate: 0.23%"),
    (QUESTIONS, "groups of up to 22", "13", "largest group: 22 products"),
    (QUESTIONS, "23 % of the targets are unseen", "11", "2,300 of 10,000 targets (23%) unseen"),
    (QUESTIONS, "asked about 1,859,750 movies", "10", "about 1,859,750 targets"),
    (QUESTIONS, "encoder–decoder about 384,000", "10", "about 384,000 targets"),
]


@pytest.mark.parametrize(("page", "said", "chapter", "shown"), QUOTED)
def test_a_page_quotes_what_the_chapter_prints(
    page: str, said: str, chapter: str, shown: str
) -> None:
    assert said in page
    assert shown in printed(chapter)


def test_a_paper_is_asked_at_most_fifteen_questions_each_with_a_place_in_the_book() -> None:
    questions = re.split(r"^\*\*\d+\. ", PAPERS, flags=re.MULTILINE)[1:]
    numbers = re.findall(r"^\*\*(\d+)\. ", PAPERS, re.MULTILINE)
    assert numbers == [str(number) for number in range(1, len(questions) + 1)]
    assert 10 <= len(questions) <= 15
    for question in questions:
        assert re.search(r"\.ipynb\)", question), question
        assert re.search(r"\d", question.split("**", 1)[1]), question


def test_every_decision_of_the_table_has_its_paragraph() -> None:
    rows = re.findall(r"^\| \[.+?\]\(#(.+?)\) \|", CHOOSING, re.MULTILINE)
    headings = re.findall(r"^## (.+)$", CHOOSING, re.MULTILINE)
    slugs = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings]
    assert len(rows) >= 12
    assert [row for row in rows if row not in slugs] == []
