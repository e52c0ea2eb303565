"""On a GPU everything computes there, and says what the CPU says. Skipped where there is none.

python -m pytest tests/robustness/test_cuda.py
"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rqvae_lib.checkpoints.models import (
    load_model,
    load_recommender,
    load_rqvae,
    shipped_models,
)
from rqvae_lib.cli.main import main
from rqvae_lib.data.splits import leave_one_out
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.embeddings.text import load_embeddings
from rqvae_lib.evaluation.evaluator import evaluate
from rqvae_lib.generation.beam_search import recommend
from rqvae_lib.generation.scoring import score_items
from rqvae_lib.models.base import ScoresItems
from rqvae_lib.models.configs import (
    DecoderOnlyConfig,
    EncoderDecoderConfig,
    HistoryModelConfig,
    RQTransformerConfig,
    SASRecConfig,
    TransformerConfig,
)
from rqvae_lib.models.growth import extend_catalogue
from rqvae_lib.models.registry import new_recommender
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.metrics import tokenizer_metrics
from rqvae_lib.training.config import TrainingConfig
from rqvae_lib.training.recipes import train_recommender, train_rqvae, train_sasrec
from tests.worlds import in_world

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

NAME = "movielens-small-2016"
SHORT = TrainingConfig(num_steps=12, batch_size=8, learning_rate=1e-3, log_every=1)
NO_DROPOUT = {"transformer": TransformerConfig(dropout=0.0), "embedding_dropout": 0.0}


def test_a_tokenizer_trained_there_is_as_good() -> None:
    vectors = load_embeddings(NAME)
    training = TrainingConfig(num_steps=300, batch_size=256, learning_rate=1e-3)
    config = RQVAEConfig(vectors.shape[1])
    lost = []
    for device in ("cpu", "cuda"):
        model, _ = train_rqvae(
            vectors, config, training, autoencoder_steps=100, device=device, progress=False
        )
        assert next(model.parameters()).device.type == "cpu"
        lost.append(tokenizer_metrics(model, vectors).worst()["variance_lost"])
    assert lost[1] == pytest.approx(lost[0], rel=0.03)


def test_the_shipped_tokenizer_gives_the_same_ids() -> None:
    model, _ = load_rqvae(NAME)
    vectors = load_embeddings(NAME)
    codes = model.assign(vectors)
    there = model.to("cuda").assign(vectors.to("cuda"))
    assert there.device.type == "cuda"
    same = (codes == there.cpu()).all(1).float().mean()
    assert same > 0.999  # what lies as near to two codewords as float32 can tell may go either way


@pytest.mark.parametrize("name", shipped_models(NAME))
def test_shipped_models_score_and_recommend_the_same(name: str) -> None:
    dataset = load_dataset()
    split = leave_one_out(dataset)
    histories, targets = split.histories_and_targets(split.test[:40])
    model, _ = load_model(name)
    found = []
    for device in ("cpu", "cuda"):
        model.to(device)
        if isinstance(model, ScoresItems):
            scores = model.scores(histories)
        else:
            scores = score_items(model, histories)
            lists = recommend(model, histories, k=10, beams=20).items
            assert lists.device.type == device
        assert scores.device.type == device
        found.append(scores.cpu())
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=2e-3)
    one, other = (evaluate(model.to(device), split, split.test[:40]) for device in ("cpu", "cuda"))
    assert (one.lists[:, :10] == other.lists[:, :10]).float().mean() > 0.98
    assert torch.equal(one.targets, targets)


@pytest.mark.parametrize(
    "config",
    [
        DecoderOnlyConfig(**NO_DROPOUT),
        DecoderOnlyConfig(valid_only=True, **NO_DROPOUT),
        EncoderDecoderConfig(valid_only=True, max_items=11, **NO_DROPOUT),
        RQTransformerConfig(**NO_DROPOUT),
        RQTransformerConfig(prefix_embeddings=False, **NO_DROPOUT),
        SASRecConfig(num_items=9066, **NO_DROPOUT),
    ],
    ids=lambda config: type(config).__name__,
)
def test_a_training_there_begins_as_it_does_here(
    config: HistoryModelConfig, tmp_path: Path
) -> None:
    """Without dropout both see the same numbers, until rounding drives them apart."""
    dataset = load_dataset()
    ids = load_recommender(NAME)[0].ids
    train = leave_one_out(dataset).train

    def losses(device: str, **more: object) -> list[float]:
        if isinstance(config, SASRecConfig):
            log = train_sasrec(train, config, SHORT, device=device, progress=False, **more)[1]
        else:
            log = train_recommender(
                ids, train, config, SHORT, device=device, progress=False, **more
            )[1]
        return [entry.loss for entry in log]

    assert losses("cuda") == pytest.approx(losses("cpu"), rel=2e-3)
    assert losses("cuda", state_path=tmp_path / "state") == pytest.approx(losses("cuda"), rel=1e-3)
    assert losses("cuda", state_path=tmp_path / "state", resume=True) == []


@pytest.mark.parametrize("name", ["decoder-only", "rq-transformer"])
def test_a_catalogue_grows_there_as_it_does_here(name: str) -> None:
    model, _ = load_recommender(NAME)
    if name == "rq-transformer":
        torch.manual_seed(0)
        model = new_recommender(RQTransformerConfig(), model.ids).eval()
    ids = model.ids.with_new_items(model.ids.codes[:40].flip(1))
    histories = [torch.tensor([3, 1, 4]), torch.tensor([len(ids) - 1])]
    here = score_items(extend_catalogue(model, ids), histories)
    grown = extend_catalogue(model.to("cuda"), ids)
    assert grown.semantic_ids.device.type == "cuda"
    there = score_items(grown, histories)
    assert there.device.type == "cuda"
    torch.testing.assert_close(there.cpu(), here, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("change", [{"precision": "bfloat16"}, {"compile": True}])
def test_sixteen_bits_and_compiling_learn_too(change: dict[str, object]) -> None:
    ids = load_recommender(NAME)[0].ids
    train = leave_one_out(load_dataset()).train
    training = replace(SHORT, num_steps=30, **change)
    config = DecoderOnlyConfig(**NO_DROPOUT)
    _, log = train_recommender(ids, train, config, training, device="cuda", progress=False)
    assert log[-1].loss < log[0].loss - 0.5


def losses_with_dropout(config: HistoryModelConfig) -> list[float]:
    ids = load_recommender(NAME)[0].ids
    train = leave_one_out(load_dataset()).train
    log = train_recommender(ids, train, config, SHORT, device="cuda", progress=False)[1]
    return [entry.loss for entry in log]


@pytest.mark.parametrize("backend", ["gloo, one GPU for both", "NCCL, a GPU for each"])
@pytest.mark.parametrize("config", [DecoderOnlyConfig(), EncoderDecoderConfig(max_items=11)])
def test_two_processes_train_there_as_one_does(config: HistoryModelConfig, backend: str) -> None:
    """With dropout: what is random is the same for a row, whichever process computes it."""
    if backend.startswith("NCCL") and torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU only")
    expected = losses_with_dropout(config)
    device = "cuda" if backend.startswith("NCCL") else "cpu"  # where gloo keeps what it sends
    for found in in_world(2, losses_with_dropout, config, device=device):
        assert found == pytest.approx(expected, rel=2e-3)


def test_the_whole_pipeline_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (
        "train-rqvae --steps 20 --output runs",
        "inference-rqvae --tokenizer runs/rqvae.safetensors --output ids.csv",
        "train-recommender --steps 5 --architecture decoder-only --output a",
        "train-recommender --steps 5 --architecture rq-transformer --output b",
        "train-recommender --steps 5 --architecture encoder-decoder --split timestamp --output c",
        "train-sasrec --steps 5 --output d",
        "recommend --user 1 --model b/recommender.safetensors",
        "evaluate popularity d/sasrec.safetensors b/recommender.safetensors",
    ):
        with pytest.raises(SystemExit) as stopped:
            main([*command.split(), "--device", "cuda"])
        assert not stopped.value.code, command
