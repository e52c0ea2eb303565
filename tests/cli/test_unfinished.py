"""A training that is not finished is not lost because --resume was forgotten."""

from pathlib import Path
from typing import Any

import pytest

from rqvae_lib.cli.outputs import keeping_the_old, old_models
from rqvae_lib.io.tensor_files import load_checkpoint, save_checkpoint
from tests.cli.running import fails, run, succeeds

pytestmark = pytest.mark.usefixtures("quick", "no_validation")

TRAININGS: dict[str, tuple[str, list[object]]] = {
    "train-rqvae": ("rqvae", ["--codebook-size", 8, "--levels", 2]),
    "train-recommender": ("recommender", ["--tokenizer", "random"]),
    "train-sasrec": ("sasrec", []),
}
each = pytest.mark.parametrize("command", TRAININGS)


@pytest.fixture
def call(command: str, shop: Path) -> list[object]:
    texts = ["--embeddings", shop / "vectors.safetensors"] if command != "train-sasrec" else []
    return [command, "--dataset", shop, *texts, *TRAININGS[command][1], "--output", "out"]


def stop(state: Path, **card: Any) -> None:
    """Write a state again, as if its training had been interrupted."""
    kind, tensors, config, said = load_checkpoint(state, ["training-state"])
    save_checkpoint(state, kind, tensors, config, said | card)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@each
def test_an_unfinished_training_is_not_replaced(
    command: str, call: list[object], tmp_path: Path
) -> None:
    name, out = TRAININGS[command][0], tmp_path / "out"
    state = out / f"{name}-state.safetensors"
    succeeds(*call, "--steps", 4, folder=tmp_path)
    finished = (out / f"{name}.safetensors").read_bytes()
    stop(state, step=2)
    before = files(out)
    for other, differs in (
        (["--steps", 4], "its settings are the same"),
        (["--steps", 9, "--seed", 5], "num_steps was 4, seed was 0; now num_steps=9, seed=5"),
    ):
        said = fails(*call, *other, folder=tmp_path)
        assert f"out/{name}-state.safetensors holds an unfinished training at step 2 of 4" in said
        assert f"({differs})" in said
        assert "--resume" in said
        assert "another folder" in said
        assert "--force" in said
        assert files(out) == before
    succeeds(*call, "--steps", 3, "--output", "elsewhere", folder=tmp_path)
    assert files(out) == before
    succeeds(*call, "--steps", 4, "--resume", folder=tmp_path)
    stop(state, step=2)
    succeeds(*call, "--steps", 3, "--force", folder=tmp_path)
    assert not (out / f"{name}-old-2.safetensors").exists()  # one was kept at the resumed end
    assert (out / f"{name}.safetensors").read_bytes() != finished


@each
def test_a_finished_training_whose_model_was_never_written_is_not_replaced(
    command: str, call: list[object], tmp_path: Path
) -> None:
    """Killed after the last step, while its model was measured: only the state has the weights."""
    name, out = TRAININGS[command][0], tmp_path / "out"
    model = out / f"{name}.safetensors"
    succeeds(*call, "--steps", 1, folder=tmp_path)
    older = model.read_bytes()
    succeeds(*call, "--steps", 2, "--half" if name != "rqvae" else "--force", folder=tmp_path)
    newer = model.read_bytes()
    for left in (None, older):
        model.unlink(missing_ok=True)
        if left:
            model.write_bytes(left)
        before = files(out)
        said = fails(*call, "--steps", 3, folder=tmp_path)
        assert "finished training at step 2 of 2 (num_steps was 2; now num_steps=3) whose" in said
        assert f"whose model is not in out/{name}.safetensors: write it with --resume" in said
        assert files(out) == before
    model.write_bytes(newer)
    succeeds(*call, "--steps", 3, folder=tmp_path)


@each
def test_a_finished_model_is_kept_when_another_takes_its_place(
    command: str, call: list[object], tmp_path: Path
) -> None:
    name, out = TRAININGS[command][0], tmp_path / "out"
    model, old = out / f"{name}.safetensors", out / f"{name}-old-1.safetensors"
    succeeds(*call, "--steps", 2, folder=tmp_path)
    first = model.read_bytes()
    succeeds(*call, "--steps", 2, folder=tmp_path)  # the same again: nothing to keep
    assert files(out).keys() == {model.name, f"{name}-state.safetensors"}
    again = model.read_bytes()
    done = run(*call, "--steps", 3, folder=tmp_path)
    assert f"The model that was in out/{model.name} is kept as out/{old.name}." in done.stderr
    assert old.read_bytes() == again
    assert model.read_bytes() != first
    succeeds(*call, "--steps", 4, folder=tmp_path)
    assert (out / f"{name}-old-2.safetensors").is_file()
    assert old.read_bytes() == again
    succeeds(*call, "--steps", 5, "--force", folder=tmp_path)
    assert not (out / f"{name}-old-3.safetensors").exists()


@pytest.mark.parametrize("command", ["train-rqvae"])
def test_snapshots_and_residual_kmeans_keep_the_old_too(call: list[object], tmp_path: Path) -> None:
    out = tmp_path / "out"
    succeeds(*call, "--steps", 2, "--snapshots", 1, folder=tmp_path)
    succeeds(*call, "--steps", 2, "--snapshots", 1, "--seed", 1, folder=tmp_path)
    succeeds(*call, "--residual-kmeans", folder=tmp_path)
    assert {path.stem for path in out.iterdir()} == {
        *("rqvae", "rqvae-old-1", "rqvae-old-2", "rqvae-1", "rqvae-1-old-1", "rqvae-state"),
    }
    # The training's model is among those that were kept, so another training loses nothing.
    succeeds(*call, "--steps", 3, folder=tmp_path)


def test_an_interruption_after_the_new_model_is_there_keeps_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "rqvae.safetensors"

    def write(content: bytes) -> None:
        with keeping_the_old(path, force=False):
            path.unlink()
            path.write_bytes(content)
            raise KeyboardInterrupt

    for written, kept in ((b"old", []), (b"new", [tmp_path / "rqvae-old-1.safetensors"])):
        path.write_bytes(b"old")
        with pytest.raises(KeyboardInterrupt):
            write(written)
        assert old_models(path) == kept
    assert kept[0].read_bytes() == b"old"


@pytest.mark.parametrize("command", ["train-rqvae"])
def test_a_state_of_an_older_version_counts_as_well(call: list[object], tmp_path: Path) -> None:
    """It does not say how many steps there were to be, unless they were asked for as steps."""
    state = tmp_path / "out/rqvae-state.safetensors"
    succeeds(*call, "--epochs", 1, folder=tmp_path)
    kind, tensors, config, said = load_checkpoint(state, ["training-state"])
    del said["total"]
    save_checkpoint(state, kind, tensors, config, said)
    assert "unfinished training at step 1 (num_steps" in fails(*call, "--steps", 2, folder=tmp_path)
    succeeds(*call, "--epochs", 1, "--resume", folder=tmp_path)
