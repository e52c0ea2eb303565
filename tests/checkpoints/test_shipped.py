"""The shipped checkpoints do what they did when they were shipped: a format may move, they may not.

`shipped.json` was recorded with torch 2.13 on a CPU: `python -m tests.checkpoints.test_shipped`.
"""

import json
from pathlib import Path

import pytest
import torch

from rqvae_lib import load_dataset, load_embeddings, load_rqvae, recommend
from rqvae_lib.checkpoints.models import load_model, shipped_models
from rqvae_lib.models.base import Recommender

RECORDED = Path(__file__).with_name("shipped.json")
DATASET = "movielens-small-2016"
# Steps of the shipped tokenizer's training, and the tokenizer itself.
TOKENIZERS = [f"{DATASET}-{steps}rqvae" for steps in ("1k-", "10k-", "100k-", "")]


def recommendations(name: str) -> dict[str, list]:
    """The ten best movies for the first user, and the log-probabilities or scores of each."""
    model, _ = load_model(name)
    history = torch.from_numpy(load_dataset().user_history(1))
    if isinstance(model, Recommender):
        found = recommend(model, [history], k=10)
        items, scores = found.items[0], found.log_probabilities[0]
    else:
        all_scores = model.scores([history])[0].detach()
        all_scores[history] = -torch.inf
        scores, items = all_scores.topk(10)
    return {"items": items.tolist(), "scores": [round(float(score), 4) for score in scores]}


def codes(name: str) -> list[list[int]]:
    """The codes of every 50th movie."""
    rqvae, _ = load_rqvae(name)
    return rqvae.assign(load_embeddings()[::50]).tolist()


def test_every_shipped_file_was_recorded() -> None:
    recorded = json.loads(RECORDED.read_text("utf-8"))
    assert set(recorded) == {*TOKENIZERS, *shipped_models(DATASET)}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_shipped_tokenizer_gives_the_codes_that_it_gave(name: str) -> None:
    was = torch.tensor(json.loads(RECORDED.read_text("utf-8"))[name])
    same = (torch.tensor(codes(name)) == was).all(1)
    assert (~same).sum() <= 1  # another processor may round a near tie to the other side


@pytest.mark.parametrize("name", shipped_models(DATASET))
def test_a_shipped_model_recommends_what_it_recommended(name: str) -> None:
    was, now = json.loads(RECORDED.read_text("utf-8"))[name], recommendations(name)
    assert now["scores"] == pytest.approx(was["scores"], abs=2e-3)
    last = min(was["scores"])
    for item, score in zip(was["items"], was["scores"], strict=True):
        # Another processor rounds otherwise: near ties may change places, also at the list's end.
        found = dict(zip(now["items"], now["scores"], strict=True)).get(item, last)
        assert found == pytest.approx(score, abs=2e-3), item


if __name__ == "__main__":
    rows = {name: codes(name) for name in TOKENIZERS}
    rows |= {name: recommendations(name) for name in shipped_models(DATASET)}
    lines = (f"{json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
    RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
