"""Kill the commands that write, again and again, and see what they leave.

    python -m tests.robustness.kill --kills 50

Each command runs in a process of its own and is killed as no program can catch (kill -9): half of
the times at a random moment of its life, half just when it writes. After each kill every output
file must be the old one or the new one, complete, and the next run must not stumble over what the
killed one left. A training goes on with --resume, is killed again, and in the end must have the
same weights as one that was never interrupted.
"""

import argparse
import hashlib
import itertools
import math
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import torch

from rqvae_lib.checkpoints.bundle import bundle_versions, load_bundle
from rqvae_lib.checkpoints.models import load_recommender, load_rqvae, load_sasrec
from rqvae_lib.cli.main import main as main_of_the_library
from rqvae_lib.generation.everybody import parts_of
from rqvae_lib.io.tensor_files import load_checkpoint

SAID = "said.txt"

NEXT = ("pretrained", "movielens-small-2016-1k")  # the word of a command that changes, old and new
PROCESSES = multiprocessing.get_context("fork")  # torch takes seconds to import: once is enough
# No more of each training than its states need: one every 1000 steps, one every 100, and the last.
TRAININGS = {
    "rqvae": "train-rqvae --steps 1020 --batch-size 16 --codebook-size 16 --force "
    "--snapshots 400,1010",
    "recommender": "train-recommender --steps 110 --batch-size 2 --tokenizer pretrained --force",
    "sasrec": "train-sasrec --steps 110 --batch-size 2 --force",
}
# Commands that write one file, by its name, each in two ways: the old file's and the new one's.
WRITERS = {
    "ids.csv": ("inference-rqvae --tokenizer pretrained", NEXT),
    "ids.parquet": ("inference-rqvae --tokenizer pretrained", NEXT),
    **{
        name: (f"export --format {shape} --tokenizer pretrained", NEXT)
        for name, shape in {
            "x.index.json": "index-json",
            "merged_predictions_tensor.npy": "grid",
            "catalogue.jsonl": "catalogue-jsonl",
            "pid.parquet": "parquet",
            "ids.bin": "records",
            "tokens.txt": "tokens",
        }.items()
    },
    "histories.safetensors": (
        "pack-histories --interactions met.parquet --repeats keep",
        ("keep", "last"),
    ),
    "vectors.safetensors": (
        "embed --interactions met.csv --items items.csv --model one",
        ("one", "other"),
    ),
}
SECONDS = 1200.0  # that a command may take on a very busy machine


def start(command: str, folder: Path) -> BaseProcess:
    """Start a command in a folder, in a process of its own; what it says goes to a file there."""
    process = PROCESSES.Process(target=_command, args=(command.split(), folder))
    process.start()
    return process


def _command(words: list[str], folder: Path) -> None:
    os.chdir(folder)
    sys.argv = ["rqvae-lib", *words]
    with open(SAID, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    main_of_the_library(words)


def run(command: str, folder: Path) -> float:
    """Run a command to its end and return how many seconds it took."""
    began = time.monotonic()
    process = start(command, folder)
    process.join(SECONDS)
    assert process.exitcode == 0, (command, folder, process.exitcode, (folder / SAID).read_text())
    return time.monotonic() - began


def unfinished(folder: Path) -> set[str]:
    """Return the names of the files that are being written, or were when a process was killed."""
    return {name for _, _, names in os.walk(folder) for name in names if ".unfinished-" in name}


def kill(command: str, folder: Path, into: Path, lasts: float, chance: random.Random) -> str:
    """Start a command and kill it; return when: "writing", "any" or "too late".

    Args:
        command, folder: what to start, and where.
        into: the folder into which it writes.
        lasts: how many seconds it takes when nobody kills it.
        chance: when to kill.
    """
    moment = chance.choice(["writing", "any"])
    there = unfinished(into)
    process = start(command, folder)
    began, wait = time.monotonic(), chance.uniform(0, lasts)
    writes = chance.randrange(3)  # of the files that it writes, one of the first
    while process.is_alive() and time.monotonic() - began < SECONDS:
        if moment == "any" and time.monotonic() - began >= wait:
            break
        if moment == "writing" and unfinished(into) - there:
            if writes == 0:
                time.sleep(chance.uniform(0, 0.004))
                break
            writes, there = writes - 1, unfinished(into)
        time.sleep(0.001)
    process.kill()
    process.join()
    if process.exitcode == -signal.SIGKILL:
        after = time.monotonic() - began
        print(f"    killed {command.split()[0]} after {after:.1f} s ({moment})", flush=True)
        return moment
    assert process.exitcode == 0, f"{command} stumbled: {(folder / SAID).read_text()}"
    return "too late"


def weights(path: Path) -> dict[str, torch.Tensor]:
    """Load a model by its own loader, which checks all of it, and return its weights."""
    loaders = {"recommender": load_recommender, "sasrec": load_sasrec, "rqvae": load_rqvae}
    model, _ = loaders[path.stem.split("-")[0]](path)
    return model.state_dict()


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


def outputs(folder: Path, name: str) -> list[Path]:
    """Return the models that a training wrote: the last one and its snapshots."""
    found = sorted((folder / "runs").glob(f"{name}*.safetensors"))
    return [path for path in found if not path.stem.endswith("-state")]


def kill_training(name: str, kills: int, place: Path, chance: random.Random) -> Counter[str]:
    """Kill a training so many times; return how many of them came when."""
    command, state = TRAININGS[name], f"runs/{name}-state.safetensors"
    before, straight = place / f"{name}-before", place / f"{name}-straight"
    before.mkdir()
    straight.mkdir()
    run(f"{command} --seed 7", before)  # the old files, which stand in the way
    lasts = run(command, straight)
    old = {path.name: weights(path) for path in outputs(before, name)}
    new = {path.name: weights(path) for path in outputs(straight, name)}
    old_state = (before / state).read_bytes()
    assert not any(same(old[file], new[file]) for file in new)
    count: Counter[str] = Counter()
    for life in itertools.count():  # it may come to its end before there were enough kills
        folder = place / f"{name}-{life}"
        shutil.copytree(before, folder)
        moment = resume = ""
        while moment != "too late" and count["writing"] + count["any"] < kills:
            moment = kill(command + resume, folder, folder / "runs", lasts, chance)
            count[moment] += 1
            for path in outputs(folder, name):
                found = weights(path)
                assert same(found, new[path.name]) or same(found, old[path.name]), path
            load_checkpoint(folder / state, ["training-state"])
            resume = " --resume" if (folder / state).read_bytes() != old_state else ""
        if moment != "too late":
            run(command + resume, folder)
        for path in outputs(folder, name):
            assert same(weights(path), new[path.name]), f"{path} is not as without kills"
        assert (folder / state).read_bytes() == (straight / state).read_bytes(), folder / state
        if count["writing"] + count["any"] >= kills:
            return count


def kill_writer(name: str, kills: int, place: Path, chance: random.Random) -> Counter[str]:
    """Kill a command that writes one file so many times; return how many of them came when."""
    folder = place / name
    folder.mkdir()
    write_tables(folder)
    command, (old_word, new_word) = WRITERS[name]
    command += f" --output {name}"
    run(command, folder)
    old = (folder / name).read_bytes()
    command = command.replace(old_word, new_word)
    lasts = run(command, folder)
    new = (folder / name).read_bytes()
    assert old != new or name == "tokens.txt"  # whose codes are the same for both tokenizers
    count: Counter[str] = Counter()
    while count["writing"] + count["any"] < kills:
        (folder / name).write_bytes(old)
        count[kill(command, folder, folder, lasts, chance)] += 1
        assert (folder / name).read_bytes() in (old, new), f"{folder / name} is neither"
    run(command, folder)
    assert (folder / name).read_bytes() == new
    return count


def write_tables(folder: Path) -> None:
    """Write a small catalogue of one's own, and who met what."""
    items = "".join(f"{n},Movie {n},Drama\n" for n in range(40))
    (folder / "items.csv").write_text(f"item_id,title,genres\n{items}", "utf-8")
    met = "".join(f"{n % 7},{n},{n}\n" for n in range(40))
    (folder / "met.csv").write_text(f"user_id,item_id,timestamp\n{met}", "utf-8")
    rows = [(n % 7, n % 5) for n in range(100)]
    pd.DataFrame(rows, columns=["user", "item"]).to_parquet(folder / "met.parquet")


class Encoder:
    """Stands in for a sentence encoder, which takes many seconds to load."""

    def __init__(self, model: str, **_: object) -> None:
        self.model = model

    def encode(self, texts: list[str], **_: object) -> torch.Tensor:
        digests = [hashlib.sha256(f"{self.model} {text}".encode()).digest() for text in texts]
        return torch.tensor([list(digest) for digest in digests]) / 256


def kill_recommend_all(name: str, kills: int, place: Path, chance: random.Random) -> Counter[str]:
    """Kill recommendations for everybody so many times; return how many of them came when."""
    folder = place / name
    folder.mkdir()
    command = f"recommend --all --model pretrained --beams 10 --output {name}"
    run(f"{command} --top 1", folder)
    old = pd.read_parquet(folder / name)
    (folder / name).rename(folder / "before")
    lasts = run(f"{command} --top 5", folder)
    new = pd.read_parquet(folder / name)
    assert len(new) == 5 * len(old) > 0
    count: Counter[str] = Counter()
    while count["writing"] + count["any"] < kills:
        shutil.copy(folder / "before", folder / name)
        moment = resume = ""
        while moment != "too late" and count["writing"] + count["any"] < kills:
            moment = kill(f"{command} --top 5{resume}", folder, folder, lasts, chance)
            count[moment] += 1
            found = pd.read_parquet(folder / name)
            assert found.equals(old) or found.equals(new), f"{folder / name} is neither"
            # What was done is not lost: only with --resume does the next run go on from it.
            resume = " --resume" if (parts_of(folder / name) / "run.json").exists() else ""
        run(f"{command} --top 5{resume}", folder)
        assert pd.read_parquet(folder / name).equals(new)
        assert not parts_of(folder / name).exists()
    return count


def kill_bundle(name: str, kills: int, place: Path, chance: random.Random) -> Counter[str]:
    """Kill the making of a bundle so many times; return how many of them came when."""
    folder = place / name
    folder.mkdir()
    command = "bundle bundle --tokenizer pretrained --model pretrained"
    lasts = run(command, folder)
    whole = load_bundle(folder / "bundle")
    count: Counter[str] = Counter()
    while count["writing"] + count["any"] < kills:
        shutil.rmtree(folder / "bundle", ignore_errors=True)
        moment = ""
        while moment != "too late" and count["writing"] + count["any"] < kills:
            if bundle_versions(folder / "bundle"):  # killed after the last file was there
                break
            moment = kill(command, folder, folder, lasts, chance)
            count[moment] += 1
        if not bundle_versions(folder / "bundle"):
            run(command, folder)  # nothing of the killed ones stands in the way
        assert bundle_versions(folder / "bundle") == [1]
        assert load_bundle(folder / "bundle").ids.sha256 == whole.ids.sha256
    return count


NEW_ITEMS = "item_id,title,genres\n" + "".join(
    f"{n},New movie {n},Drama\n" for n in range(900_000, 900_020)
)


def kill_append(name: str, kills: int, place: Path, chance: random.Random) -> Counter[str]:
    """Kill an append to a bundle so many times; return how many of them came when."""
    folder = place / name
    folder.mkdir()
    (folder / "items.csv").write_text(NEW_ITEMS, "utf-8")
    vectors = np.random.default_rng(0).standard_normal((20, 384)).astype(np.float32)
    np.save(folder / "vectors.npy", vectors)
    command = "append bundle --items items.csv --embeddings vectors.npy"
    run("bundle bundle --tokenizer pretrained --model pretrained", folder)
    old = load_bundle(folder / "bundle")
    shutil.copytree(folder / "bundle", folder / "before")
    lasts = run(command, folder)
    new = load_bundle(folder / "bundle")
    assert (old.version, new.version) == (1, 2)
    count: Counter[str] = Counter()
    while count["writing"] + count["any"] < kills:
        shutil.rmtree(folder / "bundle")
        shutil.copytree(folder / "before", folder / "bundle")
        (folder / "bundle/v0002").mkdir()  # where it will write, as after an earlier kill
        count[kill(command, folder, folder / "bundle/v0002", lasts, chance)] += 1
        found = load_bundle(folder / "bundle")  # which checks every file
        assert found.ids.sha256 in (old.ids.sha256, new.ids.sha256), folder
        assert found.ids.sha256 == (old, new)[found.version - 1].ids.sha256, folder
        assert load_bundle(folder / "bundle", 1).ids.sha256 == old.ids.sha256
        run(command, folder)  # the rest, or nothing
        assert load_bundle(folder / "bundle").ids.sha256 == new.ids.sha256
        assert bundle_versions(folder / "bundle") == [1, 2]
    return count


JOBS: dict[str, Callable[[str, int, Path, random.Random], Counter[str]]] = {
    **dict.fromkeys(TRAININGS, kill_training),
    **dict.fromkeys(WRITERS, kill_writer),
    "all.parquet": kill_recommend_all,
    "bundle": kill_bundle,
    "append": kill_append,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill the commands that write, again and again.")
    parser.add_argument("--kills", type=int, default=50, help="in all")
    parser.add_argument("--seed", type=int, default=0)
    torch.set_num_threads(1)  # and so in the processes that are forked
    fake: Any = ModuleType("sentence_transformers")
    fake.SentenceTransformer = Encoder
    sys.modules["sentence_transformers"] = fake  # likewise
    parser.add_argument("--only", nargs="+", choices=JOBS, default=list(JOBS)[::-1])
    chosen = parser.parse_args()
    chance, began = random.Random(chosen.seed), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kill-") as folder:
        for name in chosen.only:
            each = math.ceil(chosen.kills / len(chosen.only))
            count = JOBS[name](name, each, Path(folder), chance)
            print(
                f"{name}: {count['writing']} kills while it wrote and {count['any']} at any "
                f"moment ({count['too late']} came too late); every file was whole",
                flush=True,
            )
    print(f"{time.monotonic() - began:.0f} seconds, nothing amiss.")


if __name__ == "__main__":
    main()
