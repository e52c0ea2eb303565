"""The page on troubles: each message that it quotes is what the library says."""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from rqvae_lib.checkpoints.models import load_recommender, save_rqvae
from rqvae_lib.cli.catalogue import find_tokenizer
from rqvae_lib.data.batches import RowBatches
from rqvae_lib.data.dataset import Dataset
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.embeddings.item_vectors import item_vectors
from rqvae_lib.embeddings.text import read_embeddings, save_embeddings
from rqvae_lib.evaluation.metrics import ranks_in_scores
from rqvae_lib.generation.beam_search import recommend
from rqvae_lib.io.tensor_files import save_checkpoint
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.newcomers import check_grown
from rqvae_lib.tokenizer.analysis import expected_collision_rate
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.metrics import tokenizer_metrics
from rqvae_lib.tokenizer.rqvae import RQVAE
from rqvae_lib.training.config import TrainingConfig
from rqvae_lib.training.loop import train
from rqvae_lib.training.recipes import new_rqvae
from rqvae_lib.training.state import save_state
from tests.helpers import ROOT

PAGE = (ROOT / "book" / "troubleshooting.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.usefixtures("one_thread")


def small_tokenizer() -> tuple[torch.Tensor, RQVAE]:
    """Embeddings of 64 items, and an RQ-VAE that is fitted to them and not trained."""
    embeddings = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    rqvae = RQVAE(RQVAEConfig(8, (8,), 4, codebook_size=8))
    rqvae.fit_to_data(embeddings, generator=torch.Generator().manual_seed(0))
    return embeddings, rqvae


def diverges() -> None:
    embeddings, rqvae = small_tokenizer()
    config = TrainingConfig(  # a decay would be named, too: its product with this rate is above 1
        batch_size=8, num_steps=100, learning_rate=1e30, weight_decay=0.0, schedule="constant"
    )
    batches = RowBatches(embeddings, batch_size=8, seed=0)
    train(rqvae, lambda rows: rqvae(rows).loss, batches, config, progress=False)


def unknown_item() -> None:
    SemanticIDs(torch.tensor([[0, 1], [1, 0]]), 2).id_of(862)


def other_catalogue() -> None:
    shipped, _ = load_recommender("movielens-small-2016")
    *sizes, _ = shipped.ids.sizes
    reversed_ids = SemanticIDs(shipped.ids.ids.flip(0)[:, :-1], sizes)
    load_recommender("movielens-small-2016", expected_ids=reversed_ids)


def other_split() -> None:
    dataset = load_dataset()
    path = Path("rqvae.safetensors")
    vectors = item_vectors(dataset, "collaborative")
    rqvae = new_rqvae(vectors.tensor, RQVAEConfig(64, None, 64), seed=0)
    save_rqvae(path, rqvae, dataset, vectors)
    find_tokenizer(str(path), None, "timestamp")


def no_user_column() -> None:
    pd.DataFrame({"buyer": ["a"], "item_id": [1]}).to_csv("orders.csv", index=False)
    Dataset.from_tables("orders.csv")


def sorted_again() -> None:
    texts = [f"Movie {number}." for number in range(3)]
    save_embeddings("embeddings.safetensors", torch.eye(3), texts[::-1], "an encoder")
    read_embeddings("embeddings.safetensors", texts)


def missing_vector() -> None:
    embeddings = torch.zeros(4, 8)
    embeddings[2, 5] = torch.nan
    rqvae = RQVAE(RQVAEConfig(8, (8,), 4, codebook_size=2))
    rqvae.fit_to_data(embeddings, generator=torch.Generator().manual_seed(0))


def score_is_nan() -> None:
    ranks_in_scores(torch.tensor([[0.1, torch.nan]]), torch.tensor([0]), [torch.tensor([])])


def too_few_beams() -> None:
    model, _ = load_recommender("movielens-small-2016")
    recommend(model, [torch.tensor([0])], k=10, beams=5)


def own_ids_as_rows() -> None:
    model, _ = load_recommender("movielens-small-2016")
    recommend(model, [torch.tensor([0])], forbidden=[torch.tensor([109487])])


def renamed_when_grown() -> None:
    old = SemanticIDs(torch.tensor([[0, 1], [1, 0]]), 2)
    check_grown(old, SemanticIDs(old.codes.flip(0), 2))


def not_a_checkpoint() -> None:
    save_checkpoint(Path("recommender.safetensors"), "map", {"x": torch.zeros(1)}, {}, {})
    load_recommender("recommender.safetensors")


def resume_is_forgotten() -> None:
    model = torch.nn.Linear(4, 4)
    batches = RowBatches(torch.ones(8, 4), batch_size=8, seed=0)
    config = TrainingConfig(batch_size=8, num_steps=2)

    def loss(rows: torch.Tensor) -> torch.Tensor:
        return model(rows).square().mean()

    optimizer = torch.optim.AdamW(model.parameters())
    save_state(Path("state.safetensors"), model, optimizer, {}, 1, total=2)
    train(model, loss, batches, config, state_path="state.safetensors", progress=False)


QUOTED = [
    resume_is_forgotten,
    diverges,
    unknown_item,
    other_catalogue,
    other_split,
    no_user_column,
    sorted_again,
    missing_vector,
    score_is_nan,
    too_few_beams,
    own_ids_as_rows,
    not_a_checkpoint,
    renamed_when_grown,
]


def quotations() -> list[str]:
    """The messages on the page, each in a block of its own, lines joined."""
    return [" ".join(block.split()) for block in re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)]


def pattern(quotation: str) -> re.Pattern[str]:
    """A quotation as a pattern: … stands for what differs from one case to the next."""
    return re.compile(".+?".join(re.escape(part) for part in quotation.split("…")))


@pytest.mark.parametrize("trouble", QUOTED)
def test_message_is_quoted_as_it_is(
    trouble: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, FloatingPointError)) as raised:
        trouble()
    message = " ".join(str(raised.value).split())
    assert [text for text in quotations() if pattern(text).fullmatch(message)], message


def test_no_other_message_is_quoted() -> None:
    assert len(quotations()) == len(QUOTED)


SYMPTOMS = dict(
    re.findall(r"^### (.+)\n((?:(?!^##).*\n?)*)", PAGE, flags=re.MULTILINE)  # heading → answer
)
PARTS = ["Check", "Cause", "Fix"]


def test_the_page_has_all_symptoms() -> None:
    assert len(SYMPTOMS) == PAGE.count("\n### ") >= 30


@pytest.mark.parametrize("symptom", SYMPTOMS)
def test_every_symptom_has_a_check_a_cause_and_a_fix_that_is_backed(symptom: str) -> None:
    """A chapter, a function, a command or a page of this book stands in each answer."""
    answer = SYMPTOMS[symptom]
    assert re.findall(r"^- \*\*(\w+):\*\* ", answer, re.MULTILINE) == PARTS
    assert re.search(r"\.ipynb\)|\{py:obj\}|`rqvae-lib|\.md\)", answer)


def python_checks() -> list[str]:
    """The lines of Python that the page gives as checks."""
    checks = re.findall(r"^- \*\*Check:\*\* ((?:(?!^- |^###|^```).*\n)*)", PAGE, re.MULTILINE)
    code = [" ".join(one.split()) for text in checks for one in re.findall(r"`([^`]+)`", text)]
    return [
        one for one in code if re.match(r"(tokenizer_metrics|rqvae|ids|expected|data)\b(?!-)", one)
    ]


def test_there_are_checks_in_python() -> None:
    assert len(python_checks()) >= 10


@pytest.mark.parametrize("check", python_checks())
def test_checks_in_python_run(check: str) -> None:
    embeddings, rqvae = small_tokenizer()
    ids = rqvae.tokenize(embeddings)
    names = {
        "rqvae": rqvae,
        "embeddings": embeddings,
        "ids": ids,
        "codes": rqvae.assign(embeddings[:3] + 1),
        "data": load_dataset(),
        "tokenizer_metrics": tokenizer_metrics,
        "expected_collision_rate": expected_collision_rate,
    }
    found = eval(check, names)  # a line of our own page
    if check.startswith("ids.with_new_items"):
        assert torch.equal(found, ids.ids)
    if check.startswith("ids.item_of"):
        assert found == 0


def test_names_on_the_page_exist() -> None:
    for full in re.findall(r"\{py:obj\}`[^`<]*<rqvae_lib\.([\w.]+)>`", PAGE):
        module, *names = full.split(".")
        found = __import__(f"rqvae_lib.{module}", fromlist=[names[0]])
        for name in names:
            found = getattr(found, name)
