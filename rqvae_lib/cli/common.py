"""What the commands share: how they find files and devices, and refuse what cannot work.

Seen at work in: chapter 00.
"""

import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import typer

from rqvae_lib.cli.options import DATASET, RUNS
from rqvae_lib.data.dataset import Dataset
from rqvae_lib.data.names import NUM_TARGETS, Content, SplitName
from rqvae_lib.data.splits import Split, split_by_name
from rqvae_lib.io.atomic import check_writable
from rqvae_lib.io.locks import only_process_in
from rqvae_lib.ops.compiler import COMPILERS, has_cpp_compiler


def command_line() -> str:
    """Return the command as it was typed: what a card says of how its model was made."""
    return shlex.join(["rqvae-lib", *sys.argv[1:]])


def choose(given: str | None, file: str) -> str:
    """Return what to load: what was given, the last run's file, or 'pretrained'."""
    return given or (str(RUNS / file) if (RUNS / file).is_file() else "pretrained")


def shipped(chosen: str) -> str:
    """Return what the loaders call a model: 'pretrained' is the one of the embedded dataset."""
    return DATASET if chosen == "pretrained" else chosen


def hold_out(dataset: Dataset, name: SplitName) -> Split:
    """Split a dataset, or say that there is nothing to hold out."""
    split = split_by_name(dataset, name)
    if not len(split.validation):  # not by time, which always holds out something
        needed = 2 * NUM_TARGETS[name] + 1
        raise ValueError(
            f"nothing is held out of {dataset.name}: no user has the {needed} interactions that "
            f"--split {name} needs; use more data, or another split"
        )
    return split


def check_codebook_size(size: int, dataset: Dataset) -> None:
    """Refuse more codewords than there are items to start them from."""
    if size > dataset.num_items:
        raise ValueError(
            f"--codebook-size is {size}, but {dataset.name} has {dataset.num_items} items, which "
            f"cannot fill codebooks of {size} codewords: pass --codebook-size "
            f"{dataset.num_items} or less"
        )


def typed(context: typer.Context, *parameters: str) -> list[str]:
    """Return those of a command's options that were given, as they are typed."""
    options = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    found = []
    for parameter in parameters:
        source = context.get_parameter_source(parameter)  # its class is click's, or typer's copy
        if source and source.name != "DEFAULT":
            found.append(options[parameter])
    return found


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


def check_resumable(state: Path) -> None:
    """Refuse to resume where no state was saved."""
    if not state.is_file():
        raise FileNotFoundError(
            f"{state} does not exist, so there is nothing to resume: leave --resume out, or name "
            "the folder of the training as --output"
        )


def check_not_read(
    output: Path,
    inputs: Iterable[str | Path | None],
    is_output: Callable[[Path], bool] = lambda _: False,
) -> None:
    """Refuse to write over a file that the command reads.

    Args:
        output: the file to write. Links to an input count as that input.
        inputs: the files and folders that the command reads; None for what it does not. In a
            folder, any file may be read, so one that is there already is refused.
        is_output: whether a file that is there was written by this command, which never reads it.
    """
    if not output.exists():
        return
    for path in (Path(given) for given in inputs if given is not None):
        if not path.exists():
            continue
        within = path.is_dir() and output.parent.samefile(path) and not is_output(output)
        if output.samefile(path) or within:
            raise ValueError(
                f"--output is {output}, which the command reads ({path}): name another file, or "
                "another folder"
            )


@contextmanager
def claim_csv(path: Path) -> Iterator[None]:
    """Refuse another ending, which may be a model's, and hold the folder."""
    if path.suffix != ".csv":
        raise ValueError(f"{path} ends in {path.suffix!r}: name a .csv file")
    check_writable(path)
    with only_process_in(path.parent):
        yield


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
