"""The recipes: what they train is what the public pieces, put together by hand, train."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rqvae_lib.data.batches import RowBatches, WindowBatches
from rqvae_lib.data.histories_file import HistoriesFile
from rqvae_lib.data.pack_histories import pack_histories
from rqvae_lib.data.splits import leave_one_out, split_by_name
from rqvae_lib.io.tensor_files import CheckpointError
from rqvae_lib.models.base import Recommender
from rqvae_lib.models.configs import (
    DecoderOnlyConfig,
    EncoderDecoderConfig,
    HistoryModelConfig,
    SASRecConfig,
    TransformerConfig,
)
from rqvae_lib.models.decoder_only import DecoderOnly
from rqvae_lib.models.encoder_decoder import EncoderDecoder
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.metrics import tokenizer_metrics
from rqvae_lib.tokenizer.rqvae import RQVAE
from rqvae_lib.training import recipes
from rqvae_lib.training.config import EarlyStop, TrainingConfig
from rqvae_lib.training.loop import train
from rqvae_lib.training.recipes import new_rqvae, train_recommender, train_rqvae, train_sasrec
from tests.helpers import small_dataset

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = RQVAEConfig(6, (8,), 4, 2, codebook_size=16, dead_after=2)
TRAINING = TrainingConfig(batch_size=16, num_steps=30, learning_rate=0.01, seed=3)


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def embeddings(seed: int = 0) -> Tensor:
    return torch.randn(70, 6, generator=seeded(seed)).exp()


def trained(*arguments: Any, **kwargs: Any) -> RQVAE:
    kwargs = {"autoencoder_steps": 20, "progress": False} | kwargs
    return train_rqvae(embeddings(), *(arguments or (CONFIG, TRAINING)), **kwargs)[0]


def assert_same(first: torch.nn.Module, second: torch.nn.Module) -> None:
    states = first.state_dict(), second.state_dict()
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def differ(first: RQVAE, second: RQVAE) -> bool:
    return not torch.equal(first.encoder[0].weight, second.encoder[0].weight)


# A tokenizer


@pytest.mark.parametrize(
    ("config", "changes"),
    [
        (CONFIG, {}),
        (CONFIG, {"schedule": "linear", "warmup_steps": 7, "final_share": 0.2}),
        (CONFIG, {"num_steps": None, "num_epochs": 5, "precision": "bfloat16"}),
        (dataclasses.replace(CONFIG, estimator="gumbel", learning="gradient"), {}),
    ],
)
def test_first_the_autoencoder_then_kmeans_then_all_together(
    config: RQVAEConfig, changes: dict[str, Any]
) -> None:
    training = dataclasses.replace(TRAINING, **changes)
    x = embeddings()
    model, log = train_rqvae(x, config, training, autoencoder_steps=20, progress=False)
    by_hand = new_rqvae(x, config, seed=3)
    batches = RowBatches(x, batch_size=16, seed=3)
    alone = dataclasses.replace(
        training, num_steps=20, num_epochs=None, schedule="constant", final_share=0.0
    )
    train(by_hand, by_hand.autoencoder_loss, batches, alone, progress=False)
    by_hand.init_codebooks(x, generator=seeded())
    by_hand_log = train(
        by_hand, lambda batch: by_hand(batch).loss, batches, training, progress=False
    )
    assert_same(model, by_hand)
    assert not model.training
    assert [(entry.step, entry.loss) for entry in log] == [
        (entry.step, entry.loss) for entry in by_hand_log
    ]


def test_a_new_rqvae_is_drawn_from_its_seed_and_started_with_kmeans() -> None:
    torch.manual_seed(8)
    before = torch.get_rng_state()
    model = new_rqvae(embeddings(), CONFIG, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(3)
    by_hand = RQVAE(CONFIG)
    by_hand.fit_to_data(embeddings(), generator=seeded())
    assert_same(model, by_hand)
    assert not model.training
    assert differ(model, new_rqvae(embeddings(), CONFIG, seed=4))


def test_without_arguments_it_is_tigers_architecture_after_300_steps_of_the_autoencoder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lengths = []
    monkeypatch.setattr(
        recipes, "train", lambda model, loss, batches, config, **_: lengths.append(config.num_steps)
    )
    x = torch.randn(300, 6, generator=seeded())
    model, _ = train_rqvae(x)
    assert model.config == RQVAEConfig(input_dim=6)
    assert lengths == [300, 2000]


def test_the_autoencoder_alone_can_be_left_out() -> None:
    by_hand = new_rqvae(embeddings(), CONFIG, seed=3)
    batches = RowBatches(embeddings(), batch_size=16, seed=3)
    train(by_hand, lambda batch: by_hand(batch).loss, batches, TRAINING, progress=False)
    assert_same(trained(autoencoder_steps=0), by_hand)


def test_the_log_has_the_four_numbers_that_show_a_collapse() -> None:
    training = dataclasses.replace(TRAINING, measure_every=12)
    model, log = train_rqvae(embeddings(), CONFIG, training, autoencoder_steps=5, progress=False)
    measured = {entry.step: entry.measured for entry in log if entry.measured}
    assert list(measured) == [12, 24, 30]
    metrics = tokenizer_metrics(model, embeddings())
    assert measured[30] == {
        "utilization": min(metrics.utilization),
        "perplexity": min(metrics.perplexity),
        "collision_rate": metrics.collision_rate,
        "variance_lost": metrics.variance_lost,
    }


def test_early_stop_returns_the_model_that_measured_best() -> None:
    training = dataclasses.replace(
        TRAINING,
        num_steps=60,
        learning_rate=0.05,
        measure_every=2,
        early_stop=EarlyStop("variance_lost", 3, higher_is_better=False),
    )
    model, log = train_rqvae(embeddings(), CONFIG, training, autoencoder_steps=5, progress=False)
    lost = {entry.step: entry.measured["variance_lost"] for entry in log if entry.measured}
    best = min(lost, key=lost.__getitem__)
    assert best + 6 == max(lost) < 60  # stopped, three measurements after the best
    assert tokenizer_metrics(model, embeddings()).variance_lost == lost[best]


def test_snapshots_are_copies_of_the_model_at_their_steps() -> None:
    snapshots = {}
    training = dataclasses.replace(TRAINING, schedule="constant", snapshot_steps=(7, 30))
    model = trained(CONFIG, training, snapshot=lambda step, model: snapshots.update({step: model}))
    assert list(snapshots) == [7, 30]
    for step, snapshot in snapshots.items():
        shorter = trained(CONFIG, dataclasses.replace(training, num_steps=step, snapshot_steps=()))
        assert_same(snapshot, shorter)
        assert not snapshot.training
    assert_same(snapshots[30], model)


def test_one_starts_from_the_weights_of_another_and_leaves_it_alone() -> None:
    start = trained()
    before = copy.deepcopy(start)
    second = dataclasses.replace(TRAINING, seed=5, num_steps=11)
    continued = trained(None, second, start_from=start)
    assert_same(start, before)
    by_hand = copy.deepcopy(start)
    batches = RowBatches(embeddings(), batch_size=16, seed=5)
    train(by_hand, lambda batch: by_hand(batch).loss, batches, second, progress=False)
    assert_same(continued, by_hand)  # no steps of the autoencoder, no k-means
    assert differ(continued, start)
    assert_same(trained(dataclasses.replace(CONFIG), second, start_from=start), continued)
    with pytest.raises(ValueError, match=r"codebook_size=16.* was asked for: leave the architect"):
        trained(dataclasses.replace(CONFIG, codebook_size=8), second, start_from=start)
    assert_same(start, before)


def residual_kmeans() -> RQVAEConfig:
    return RQVAEConfig.residual_kmeans(6, num_levels=2, codebook_size=8)


def test_residual_kmeans_has_nothing_to_train() -> None:
    with pytest.raises(ValueError, match="no weights to train: new_rqvae fits it"):
        trained(residual_kmeans(), TRAINING)


def test_residual_kmeans_cannot_be_continued_either() -> None:
    start = new_rqvae(embeddings(), residual_kmeans(), seed=0)
    with pytest.raises(ValueError, match="no weights to train"):
        trained(None, TRAINING, start_from=start)


class Interrupted(Exception):
    """Stands for whatever stops a program."""


def test_a_training_is_resumed_after_its_autoencoder_steps(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    training = dataclasses.replace(TRAINING, save_every=10, snapshot_steps=(23,))

    def stop(step: int, model: RQVAE) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        trained(CONFIG, training, state_path=path, snapshot=stop)

    def ignore(step: int, model: RQVAE) -> None:
        pass

    resumed = trained(CONFIG, training, state_path=path, resume=True, snapshot=ignore)
    assert_same(resumed, trained(CONFIG, training, snapshot=ignore))
    start = trained(autoencoder_steps=1)
    for refused, name in (
        ({"autoencoder_steps": 21}, "autoencoder_steps was 20; now autoencoder_steps=21"),
        ({"start_from": start}, "start_from was"),
    ):
        with pytest.raises(CheckpointError, match=name):
            trained(CONFIG, training, state_path=path, resume=True, snapshot=ignore, **refused)
    with pytest.raises(CheckpointError, match="embeddings was"):
        train_rqvae(
            embeddings(seed=1), CONFIG, training,
            autoencoder_steps=20, state_path=path, resume=True, snapshot=ignore, progress=False,
        )  # fmt: skip
    with pytest.raises(CheckpointError, match=r"model was RQVAEConfig.*dead_after=2.*dead_after=3"):
        trained(
            dataclasses.replace(CONFIG, dead_after=3),
            training, state_path=path, resume=True, snapshot=ignore,
        )  # fmt: skip


def test_a_continued_training_is_resumed_from_the_same_start_only(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    start, other = trained(), trained(autoencoder_steps=1)
    finished = trained(None, TRAINING, start_from=start, state_path=path)
    resumed = trained(None, TRAINING, start_from=start, state_path=path, resume=True)
    assert_same(resumed, finished)
    with pytest.raises(CheckpointError, match=r"start_from was .*; now start_from="):
        trained(None, TRAINING, start_from=other, state_path=path, resume=True)


# A recommender

DECODER = DecoderOnlyConfig(
    TransformerConfig(dim=8, num_layers=1, num_heads=2, mlp_dim=8, dropout=0.1), max_items=5
)
DECODING = TrainingConfig(batch_size=4, num_steps=6, learning_rate=0.01, seed=2)


def some_ids(num_items: int = 90) -> SemanticIDs:
    return SemanticIDs(torch.randint(6, (num_items, 2), generator=seeded()), [6, 6])


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (DECODER, DecoderOnly),
        (EncoderDecoderConfig(DECODER.transformer, max_items=5), EncoderDecoder),
    ],
)
def test_a_decoder_is_trained_as_by_hand(
    config: HistoryModelConfig, kind: type[Recommender]
) -> None:
    histories = leave_one_out(small_dataset()).train
    model, log = train_recommender(some_ids(), histories, config, DECODING, progress=False)
    torch.manual_seed(2)
    by_hand = kind(config, some_ids())
    batches = WindowBatches(histories, max_items=5, batch_size=4, seed=2)
    assert train(by_hand, by_hand.loss, batches, DECODING, progress=False) == log
    assert_same(model, by_hand)
    assert not model.training


def test_a_configuration_of_no_architecture_is_refused() -> None:
    histories = leave_one_out(small_dataset()).train
    with pytest.raises(ValueError, match="is a HistoryModelConfig; expected DecoderOnlyConfig or"):
        train_recommender(some_ids(), histories, HistoryModelConfig(), DECODING, progress=False)


def test_histories_of_items_without_an_id_are_refused() -> None:
    histories = leave_one_out(small_dataset()).train
    highest = int(histories.items.max())
    with pytest.raises(ValueError, match=f"name item {highest}, but .* 0 to {highest - 1}"):
        train_recommender(some_ids(highest), histories, DECODER, DECODING, progress=False)


def test_a_training_on_mapped_histories_is_the_one_in_memory_bit_for_bit(tmp_path: Path) -> None:
    dataset = small_dataset()
    table = dataset.interactions.assign(
        item_id=dataset.items["item_id"][dataset.interactions["item"]].to_numpy()
    )
    table[["user_id", "item_id", "timestamp"]].to_parquet(tmp_path / "met.parquet")
    items = dataset.items[["item_id"]]
    path = tmp_path / "h.safetensors"
    file = pack_histories(tmp_path / "met.parquet", path, items, time_unit="order")
    ids = SemanticIDs(torch.randint(4, (dataset.num_items, 3), generator=seeded()), [4] * 3)
    training = TrainingConfig(batch_size=4, num_steps=40, learning_rate=0.01, seed=3)
    config = DecoderOnlyConfig(TransformerConfig(16, 2, 1), max_items=6)
    sasrec = SASRecConfig(TransformerConfig(16, 2, 1), 6, num_items=dataset.num_items)
    for name in ("leave-one-out", "timestamp"):
        train_part = split_by_name(dataset, name).train
        options: dict[str, Any] = {"training": training, "progress": False}
        mapped = file.train(name)
        found, log = train_recommender(ids, mapped, config, **options)
        expected, same_log = train_recommender(ids, train_part, config, **options)
        assert log == same_log
        assert_same(found, expected)
        assert_same(
            train_sasrec(mapped, sasrec, **options)[0],
            train_sasrec(train_part, sasrec, **options)[0],
        )
    # A state belongs to one file and one split.
    state = tmp_path / "state.safetensors"
    train_recommender(ids, file.train("timestamp"), config, **options, state_path=state)
    train_recommender(
        ids,
        HistoriesFile(path).train("timestamp"),
        config,
        **options,
        state_path=state,
        resume=True,
    )
    with pytest.raises(CheckpointError, match="histories"):
        train_recommender(
            ids, file.train("last-ten"), config, **options, state_path=state, resume=True
        )
