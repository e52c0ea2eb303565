"""A training that was interrupted, in whatever way, ends at the same weights, bit for bit."""

import dataclasses
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch.optim import AdamW

from rqvae_lib.checkpoints.models import save_rqvae
from rqvae_lib.data.batches import Batches
from rqvae_lib.io import tensor_files
from rqvae_lib.io.tensor_files import CheckpointError, load_checkpoint
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.training.config import EarlyStop, TrainingConfig
from rqvae_lib.training.recipes import train_rqvae
from rqvae_lib.training.state import Best, load_state, read_training, save_state
from tests.training.test_loop import (
    KINDS,
    RISING,
    Given,
    Line,
    Training,
    assert_same,
    config_of,
    every_kind,
    new_decoder,
    new_rqvae,
    run,
    state_of,
)

pytestmark = pytest.mark.usefixtures("one_thread")


class Interrupted(Exception):
    """Stands for whatever stops a program."""


def failing_at(batches: Batches, bad_step: int) -> Given:
    def batch(step: int) -> torch.Tensor:
        if step == bad_step:
            raise Interrupted
        return batches(step)

    return Given(batch, batches.steps_per_epoch)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.safetensors"


def interrupted(training: Training, bad_step: int, config: TrainingConfig, **kwargs: Any) -> None:
    """Train until the batch of a step, counted from 0, fails."""
    model, loss_of, batches = training
    with pytest.raises(Interrupted):
        run((model, loss_of, failing_at(batches, bad_step)), config, **kwargs)


# Interrupted and resumed


@every_kind
@pytest.mark.parametrize("bad_step", [20, 23, 39])
def test_an_interrupted_training_ends_at_the_same_weights(
    path: Path, new: Callable[[], Training], bad_step: int
) -> None:
    straight = new()
    straight_log = run(straight, config_of())
    torch.manual_seed(99)  # the caller's chance must not matter
    interrupted(new(), bad_step, config_of(), state_path=path)
    resumed = new()
    torch.manual_seed(77)
    log = run(resumed, config_of(), state_path=path, resume=True)
    assert_same(state_of(resumed[0]), state_of(straight[0]))
    assert [entry for entry in log if entry.step > 21] == straight_log[3:]
    assert not resumed[0].training


@pytest.mark.parametrize(
    "changes",
    [
        {"num_steps": None, "num_epochs": 40 / 7},
        {"precision": "bfloat16"},
        {"schedule": "inverse-sqrt"},
        {"schedule": "linear", "final_share": 0.5},
    ],
)
def test_so_it_does_whatever_the_configuration(path: Path, changes: dict[str, Any]) -> None:
    straight, resumed = new_rqvae(), new_rqvae()
    config = config_of(**changes)
    assert run(straight, config)[-1].step == 40
    interrupted(new_rqvae(), 30, config, state_path=path)
    run(resumed, config, state_path=path, resume=True)
    assert_same(state_of(resumed[0]), state_of(straight[0]))


def test_the_temperature_that_those_tests_resume_had_moved() -> None:
    gumbel = KINDS["gumbel"]()
    run(gumbel, config_of())
    assert float(gumbel[0].quantizer.temperature) == pytest.approx(0.97**40, rel=1e-4)


def test_a_finished_run_that_is_resumed_is_only_loaded(path: Path) -> None:
    finished = new_decoder()
    run(finished, config_of(num_steps=8), state_path=path)
    written = path.read_bytes()
    model, loss_of, batches = new_decoder()
    resumed = (model, loss_of, failing_at(batches, 8))
    assert run(resumed, config_of(num_steps=8), state_path=path, resume=True) == []
    assert_same(state_of(model), state_of(finished[0]))
    assert not model.training
    assert path.read_bytes() == written


def test_states_are_saved_when_they_should_be(path: Path) -> None:
    interrupted(new_decoder(), 4, config_of(save_every=5), state_path=path)
    assert not path.exists()
    for bad_step, saved_at in ((5, 5), (9, 5), (12, 10)):
        interrupted(
            new_decoder(), bad_step, config_of(save_every=5), state_path=path, overwrite=True
        )
        assert load_checkpoint(path, ["training-state"]).card["step"] == saved_at
    run(new_decoder(), config_of(num_steps=13, save_every=5), state_path=path, overwrite=True)
    assert load_checkpoint(path, ["training-state"]).card["step"] == 13


def test_snapshots_after_an_interruption_are_the_same_bytes(tmp_path: Path, path: Path) -> None:
    config = config_of(snapshot_steps=(5, 20, 22, 30, 40))

    def saving(training: Training, folder: Path) -> dict[str, Any]:
        folder.mkdir()
        model = training[0]
        return {"snapshot": lambda step: save_file(model.state_dict(), folder / str(step))}

    training = new_rqvae()
    run(training, config, **saving(training, tmp_path / "straight"))
    training = new_rqvae()
    before = saving(training, tmp_path / "before")
    interrupted(training, 23, config, state_path=path, **before)
    training = new_rqvae()
    after = saving(training, tmp_path / "after")
    run(training, config, state_path=path, resume=True, **after)
    made = {
        name: {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()}
        for name in ("straight", "before", "after")
    }
    assert made["before"].keys() == {"5", "20", "22"}
    assert made["after"].keys() == {"22", "30", "40"}  # the state was that of step 20
    assert made["before"] | made["after"] == made["straight"]


# Early stop: the best weights are part of the state

QUALITY = {2: 1.0, 4: 5.0, 6: 3.0, 8: 4.0, 10: 4.5, 12: 4.9, 14: 9.0}  # best at 4, too late at 14
STOP = config_of(
    20, save_every=3, measure_every=2, early_stop=EarlyStop("quality", 4, higher_is_better=True)
)


def line_with_quality() -> tuple[Training, Callable[[], dict[str, float]]]:
    """A training, and what its quality is by the number of steps that the weights went through."""
    model = Line()
    reached = {}

    def batch(step: int) -> torch.Tensor:
        reached["done"] = step + 1
        return RISING(step)

    return (model, model.distance, Given(batch)), lambda: {"quality": QUALITY[reached["done"]]}


@pytest.mark.parametrize("bad_step", [3, 4, 6, 7, 11])
def test_early_stop_is_resumed_with_its_best_weights(path: Path, bad_step: int) -> None:
    straight, measure = line_with_quality()
    steps = [entry.step for entry in run(straight, STOP, measure=measure)]
    assert steps[-1] == 12  # four measurements after the best
    training, measure = line_with_quality()
    interrupted(training, bad_step, STOP, measure=measure, state_path=path)
    resumed, measure = line_with_quality()
    log = run(resumed, STOP, measure=measure, state_path=path, resume=True)
    assert [entry.step for entry in log] == [s for s in steps if s > bad_step // 3 * 3]
    assert_same(state_of(resumed[0]), state_of(straight[0]))


def test_the_best_measurement_is_in_the_file(path: Path) -> None:
    training, measure = line_with_quality()
    weights = {}
    config = dataclasses.replace(STOP, snapshot_steps=(4, 6))
    interrupted(
        training, 7, config, measure=measure, state_path=path,
        snapshot=lambda step: weights.update({step: state_of(training[0])}),
    )  # fmt: skip
    _, tensors, _, card = load_checkpoint(path, ["training-state"])
    assert card == {
        "step": 6, "total": 20, "averaged": [0, 1], "best_value": 5.0, "best_step": 4
    }  # fmt: skip
    parts = {
        part: {
            k.removeprefix(f"{part}."): v for k, v in tensors.items() if k.startswith(f"{part}.")
        }
        for part in ("best", "model")
    }
    assert_same(parts["best"], weights[4])
    assert_same(parts["model"], weights[6])


def test_a_training_that_stopped_early_is_only_loaded(path: Path) -> None:
    config = dataclasses.replace(STOP, save_every=5)  # it stops at 12, and saves that too
    stopped, measure = line_with_quality()
    run(stopped, config, measure=measure, state_path=path)
    written = path.read_bytes()
    (model, loss_of, _), measure = line_with_quality()
    nothing = failing_at(RISING, 12)
    assert (
        run((model, loss_of, nothing), config, measure=measure, state_path=path, resume=True) == []
    )
    assert_same(state_of(model), state_of(stopped[0]))
    assert path.read_bytes() == written


# What is refused


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0.02),
        ("seed", 3),
        ("num_steps", 50),
        ("batch_size", 9),
        ("schedule", "linear"),
        ("precision", "bfloat16"),
        ("early_stop", EarlyStop("loss", 3, higher_is_better=False)),
        ("snapshot_steps", (3,)),
    ],
)
def test_another_configuration_is_refused(path: Path, name: str, value: Any) -> None:
    given = {
        "state_path": path,
        "measure": lambda: {"loss": 1.0},
        "snapshot": lambda step: None,
    }
    run(new_decoder(), config_of(num_steps=5), **given)
    training = new_decoder()
    before = state_of(training[0])
    config = dataclasses.replace(config_of(num_steps=5), **{name: value})
    with pytest.raises(CheckpointError, match=rf"state\.safetensors .*{name} was .*now {name}="):
        run(training, config, resume=True, **given)
    assert_same(state_of(training[0]), before)


def test_other_inputs_and_other_models_are_refused(path: Path) -> None:
    config = config_of(num_steps=2)
    run(new_decoder(), config, state_path=path, inputs={"ids": "abc"})
    with pytest.raises(CheckpointError, match="ids was abc; now ids=xyz"):
        run(new_decoder(), config, state_path=path, inputs={"ids": "xyz"}, resume=True)
    with pytest.raises(CheckpointError, match="holds a model of another shape"):
        run(new_rqvae(), config, state_path=path, inputs={"ids": "abc"}, resume=True)


def test_nothing_to_resume_is_said(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        run(new_decoder(), config_of(), state_path=path, resume=True)


def test_resuming_needs_to_be_told_from_where() -> None:
    with pytest.raises(ValueError, match="resume needs state_path"):
        run(new_decoder(), config_of(), resume=True)


def test_a_damaged_state_is_refused(path: Path) -> None:
    config = config_of(num_steps=2)
    run(new_decoder(), config, state_path=path)
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:-1], whole + b"x", b""):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"state\.safetensors is not a checkpoint"):
            run(new_decoder(), config, state_path=path, resume=True)


@pytest.mark.parametrize("lost", ["optimizer.0.step", "optimizer.1", "model.w"])
def test_a_state_with_a_part_missing_is_refused(path: Path, lost: str) -> None:
    model = Line()
    model.distance(torch.ones(1, 2)).backward()
    model.b.sum().backward()
    optimizer = AdamW(model.parameters())
    optimizer.step()
    save_state(path, model, optimizer, {"a": (1, 2)}, 7)
    other = Line()
    assert load_state(path, other, AdamW(other.parameters()), {"a": (1, 2)}) == 7
    assert_same(state_of(other), state_of(model))
    _, tensors, settings, card = load_checkpoint(path, ["training-state"])
    kept = {name: value for name, value in tensors.items() if not name.startswith(lost)}
    assert len(kept) < len(tensors)
    tensor_files.save_checkpoint(path, "training-state", kept, settings, card)
    with pytest.raises(CheckpointError, match="holds a model of another shape"):
        load_state(path, other, AdamW(other.parameters()), {"a": (1, 2)})


def test_a_parameter_that_no_loss_reaches_does_not_hinder_a_resume(path: Path) -> None:
    straight, resumed = Line(), Line()
    for model, resume in ((straight, False), (resumed, True)):
        run(
            (model, lambda batch, model=model: (model.w - batch).square().sum(), RISING),
            config_of(num_steps=4),
            state_path=path,
            resume=resume,
        )
    assert_same(state_of(resumed), state_of(straight))


def test_best_weights_are_copies_and_come_back() -> None:
    model, best = Line(), Best(higher_is_better=False)
    best.restore(model)
    assert_same(state_of(model), state_of(Line()))  # nothing was measured: nothing changes
    for value, step in ((3.0, 1), (2.0, 2), (2.0, 3), (4.0, 4)):
        with torch.no_grad():
            model.w.fill_(step)
        best.update(value, step, model)
    assert (best.value, best.step) == (2.0, 2)
    best.restore(model)
    assert torch.equal(model.w, torch.full((1, 2), 2.0))


# Killed: other processes, and a signal that no program can catch

PROCESSES = multiprocessing.get_context("forkserver")
# What takes seconds to import is imported once, not in every process.
PROCESSES.set_forkserver_preload(["rqvae_lib.training.recipes", "torch._dynamo"])
SMALL = RQVAEConfig(16, (32,), 8, 3, codebook_size=32, dead_after=2)
LONG = TrainingConfig(
    num_steps=400,
    batch_size=64,
    save_every=10,
    measure_every=50,
    snapshot_steps=(350,),
    early_stop=EarlyStop("variance_lost", patience=100, higher_is_better=False),
)


def train_in(folder: Path, resume: bool = False, dies: str = "") -> None:
    """Train a small RQ-VAE to its end, in the process of its own in which this is called."""
    torch.set_num_threads(1)
    if dies:
        arrange_death(dies)
    model, _ = train_rqvae(
        torch.randn(300, 16, generator=torch.Generator().manual_seed(0)).exp(),
        SMALL,
        LONG,
        autoencoder_steps=30,
        snapshot=lambda step, model: save_rqvae(folder / f"{step}.safetensors", model),
        state_path=folder / "state.safetensors",
        resume=resume,
        progress=False,
    )
    save_rqvae(folder / "model.safetensors", model)


def arrange_death(when: str) -> None:
    """Let the process kill itself while it writes its fourth state."""
    saves = []

    def save_half(tensors: dict[str, torch.Tensor], file: Path, metadata: dict[str, str]) -> None:
        saves.append(file)
        save_file(tensors, file, metadata)
        if len(saves) == 4 and when == "half is written":
            os.truncate(file, Path(file).stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    def replace(source: Path, target: Path) -> None:
        if len(saves) == 4 and when == "it is not yet in place":
            os.kill(os.getpid(), signal.SIGKILL)
        os.replace(source, target)

    tensor_files.save_file = save_half
    Path.replace = replace  # type: ignore[assignment]


def started(*arguments: Any) -> Any:
    process = PROCESSES.Process(target=train_in, args=arguments)
    process.start()
    return process


def results(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("[!.]*.safetensors")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a training in a process of its own writes when nothing happens to it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    process = started(folder)
    process.join()
    assert process.exitcode == 0
    written = results(folder)
    assert written.keys() == {"model.safetensors", "state.safetensors", "350.safetensors"}
    return written


def test_a_training_killed_again_and_again_ends_at_the_same_weights(
    tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    """kill -9 at random moments, each time in a new process that goes on where it can."""
    chance = random.Random(0)
    state = tmp_path / "state.safetensors"
    steps = []
    for _ in range(3):
        resume = state.exists()
        begun = state.stat().st_mtime_ns if resume else 0
        process = started(tmp_path, resume)
        while process.is_alive() and (not state.exists() or state.stat().st_mtime_ns == begun):
            time.sleep(0.001)  # until it has saved a state of its own
        time.sleep(chance.uniform(0, 0.05))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not (tmp_path / "model.safetensors").exists()  # it was still at work
        steps.append(load_checkpoint(state, ["training-state"]).card["step"])
    assert sorted(set(steps)) == steps  # each came further
    process = started(tmp_path, True)
    process.join()
    assert process.exitcode == 0
    assert results(tmp_path) == undisturbed


@pytest.mark.parametrize("dies", ["half is written", "it is not yet in place"])
def test_a_kill_while_the_state_is_written_leaves_the_old_one(
    tmp_path: Path, undisturbed: dict[str, bytes], dies: str
) -> None:
    process = started(tmp_path, False, dies)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert load_checkpoint(tmp_path / "state.safetensors", ["training-state"]).card["step"] == 30
    process = started(tmp_path, True)
    process.join()
    assert results(tmp_path) == undisturbed


# A state that another training would replace


def test_an_unfinished_training_is_not_replaced(path: Path) -> None:
    interrupted(new_decoder(), 20, config_of(save_every=10), state_path=path)
    written = path.read_bytes()
    for config, differs in (
        (config_of(save_every=10), "its settings are the same"),
        (config_of(save_every=10, seed=8), r"seed was \d+; now seed=8"),
    ):
        training = new_decoder()
        before = state_of(training[0])
        with pytest.raises(
            CheckpointError, match=rf"unfinished training at step 20 of 40 \({differs}"
        ):
            run(training, config, state_path=path)
        assert_same(state_of(training[0]), before)
        assert path.read_bytes() == written
    run(new_decoder(), config_of(num_steps=3), state_path=path, overwrite=True)
    run(new_decoder(), config_of(num_steps=4), state_path=path)  # the one before is finished
    assert read_training(path).step == 4


def test_a_training_that_stopped_early_is_finished(path: Path) -> None:
    stopped, measure = line_with_quality()
    run(stopped, STOP, measure=measure, state_path=path)
    saved = read_training(path)
    assert saved.finished
    assert saved.step < (saved.total or 0)
    assert_same(dict(saved.weights), state_of(stopped[0]))  # the best ones
    again, measure = line_with_quality()
    run(again, STOP, measure=measure, state_path=path)


def test_what_is_no_state_is_not_replaced(path: Path, tmp_path: Path) -> None:
    path.write_text("the user's own")
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        run(new_decoder(), config_of(), state_path=path)
    assert path.read_text() == "the user's own"
    run(new_decoder(), config_of(num_steps=1), state_path=path, overwrite=True)
    with pytest.raises(OSError, match="cannot write"):
        run(new_decoder(), config_of(), state_path=path / "below")
    with pytest.raises(OSError, match="is a folder"):
        run(new_decoder(), config_of(), state_path=tmp_path)


def test_arguments_that_would_change_nothing_are_refused(path: Path) -> None:
    for arguments, says in (
        ({"overwrite": True}, "overwrite needs state_path"),
        ({"overwrite": True, "resume": True, "state_path": path}, "pass one"),
    ):
        with pytest.raises(ValueError, match=says):
            run(new_decoder(), config_of(), **arguments)
    with pytest.raises(ValueError, match="nothing takes the snapshots"):
        run(new_decoder(), config_of(snapshot_steps=(3,)))
