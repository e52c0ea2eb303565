"""What the commands share: how they find files and devices, and refuse what cannot work.

Seen at work in: chapter 00.
"""

import hashlib
import shlex
import sys
from pathlib import Path

import torch
import typer

from rqvae_lib.cli.command import all_typed
from rqvae_lib.cli.data_options import DataOptions
from rqvae_lib.cli.options import DATASET, RUNS
from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.file_splits import SampleSplit
from rqvae_lib.data.histories_file import HistoriesFile
from rqvae_lib.data.mapped_histories import MappedHistories
from rqvae_lib.data.names import EMBEDDED, NUM_TARGETS, Content, SplitName
from rqvae_lib.data.split_rules import interactions_needed
from rqvae_lib.data.splits import Histories, Split, split_by_name
from rqvae_lib.ops.compiler import COMPILERS, has_cpp_compiler


def command_line() -> str:
    """Return the command as it was typed: what a card says of how its model was made."""
    return shlex.join(["rqvae-lib", *sys.argv[1:]])


def found_in(file: str, folder: Path | None) -> list[Path]:
    """Return the models of this name that are there to be taken by default, the first one first.

    Args:
        file: the name that the commands give to such a model.
        folder: where the command writes; a model that was trained there comes first.
    """
    places = [RUNS] if folder is None else [folder, RUNS]
    found: list[Path] = []
    for path in (place / file for place in places):
        if path.is_file() and not any(path.samefile(other) for other in found):
            found.append(path)
    return found


def choose(given: str | None, file: str, option: str, folder: Path | None = None) -> str:
    """Return what to load: what was given, a file where it is expected, or 'pretrained'.

    What nobody would expect is said on stderr: a model from another folder than the command's, one
    of two that are there, and a shipped one.

    Args:
        given: the option's value.
        file, folder: as `found_in`.
        option: as it is typed.
    """
    if given:
        return given
    found = found_in(file, folder)
    here = RUNS if folder is None else folder
    if not found:
        places = " or ".join(str(place) for place in dict.fromkeys([here, RUNS]))
        typer.echo(f"No {file} in {places}: taking the shipped one ({option}).", err=True)
        return "pretrained"
    first, *others = found
    if others:
        typer.echo(f"Taking {first}, and not {others[0]} ({option}).", err=True)
    elif not here.is_dir() or not first.parent.samefile(here):
        typer.echo(f"No {file} in {here}: taking {first} ({option}).", err=True)
    return str(first)


def origin_of(path: str | Path) -> dict[str, str]:
    """Return what a card says of a file that a model was made from: its path and its hash."""
    with Path(path).open("rb") as file:
        return {
            "file": str(path),
            "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
        }


def shipped(chosen: str) -> str:
    """Return what the loaders call a model: 'pretrained' is the one of the embedded dataset."""
    return DATASET if chosen == "pretrained" else chosen


def load_data(data: DataOptions, histories: Path | None) -> Dataset | HistoriesFile:
    """Read a dataset, or open the file of histories that is named in its place."""
    return data.load() if histories is None else HistoriesFile(histories)


def hold_out(dataset: Dataset | HistoriesFile, name: SplitName) -> Split:
    """Split a dataset, or a sample of a file of histories; or say that nothing is held out."""
    if isinstance(dataset, HistoriesFile):
        split: Split = dataset.sample(name)
    else:
        split = split_by_name(dataset, name)
    if not len(split.validation):  # not by time, which always holds out something
        needed = interactions_needed(NUM_TARGETS[name])
        raise ValueError(
            f"nothing is held out of {dataset.name}: no user has the {needed} interactions that "
            f"--split {name} needs; use more data, or another split"
        )
    return split


def part_to_train_on(split: Split) -> Histories | MappedHistories:
    """Return the training histories of a split: those of all users, if it is a sample's."""
    return split.of_all if isinstance(split, SampleSplit) else split.train


def check_codebook_size(size: int, source: str, num_items: int) -> None:
    """Refuse more codewords than a source has items to start them from."""
    if size > num_items:
        raise ValueError(
            f"--codebook-size is {size}, but {source} has {num_items} item"
            f"{'' if num_items == 1 else 's'}, which cannot fill "
            f"codebooks of {size} codewords: pass --codebook-size {num_items} or less"
        )


def typed(context: typer.Context, *parameters: str) -> list[str]:
    """Return those of a command's options that were given, as they are typed."""
    given = all_typed(context)
    return [given[name] for name in parameters if name in given]


def check_embeddings(embeddings: Path | None, content: Content) -> None:
    """Refuse a file of embeddings that is not there, or that nothing would read."""
    if embeddings is None:
        return
    if content == "collaborative":
        raise ValueError(
            f"--embeddings is {embeddings}, but collaborative vectors come from users' histories "
            "and use no texts: leave it out, or use --content both"
        )
    with embeddings.open("rb"):  # what is not there, or may not be read, is the system's own error
        pass


def say_vectors(dataset: Dataset, embeddings: Path | None) -> None:
    """Say on stderr that shipped embeddings are read, where none were named."""
    if embeddings is None and dataset.name in EMBEDDED:
        typer.echo(f"Using the shipped embeddings of {dataset.name} (--embeddings).", err=True)


def check_csv(path: Path) -> None:
    """Refuse a table's name with another ending, which may be a model's."""
    if path.suffix.lower() != ".csv":
        raise ValueError(f"{path} ends in {path.suffix!r}: name a .csv file")


def check_compiler() -> None:
    """Refuse to compile where there is no C++ compiler, which torch.compile needs on a CPU."""
    if not has_cpp_compiler():
        raise ValueError(
            f"--compile needs a C++ compiler, and none was found ({', '.join(COMPILERS)}): install "
            "one, name it in the variable CXX, or leave --compile out"
        )


def check_device(device: str) -> None:
    """Refuse a device that this machine does not have."""
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise ValueError(f"--device {device} is not usable here ({reason}): try cpu") from None
