"""What commands write, and what they do not write over: one rule for all of them.

A command declares the files that it is going to write (`writes`), and before it does anything else,
each of them is checked:

- It must be possible to write it.
- It must not be a file that the command reads, also through a link.
- It must not be named as a table of a dataset's folder that the command reads, since it would be
  read as one the next time.
- If it is there already, it must be such a file as the command writes. Anything else is only
  replaced with --force.

So running a command again is easy, and a wrong --output destroys nothing.

Used by: the commands that write.
"""

import filecmp
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from rqvae_lib.cli.options import adding
from rqvae_lib.data.names import TABLES
from rqvae_lib.io.atomic import check_name, check_writable
from rqvae_lib.io.headers import kind_of, read_header
from rqvae_lib.io.locks import LOCK_FILE

RULE = (
    "A file that is there already is replaced if this command could have written it, and never if "
    "the command reads it."
)
Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Replace also a file of another kind, an unfinished training, and a trained model, "
        "which is kept as …-old-N otherwise. " + RULE,
    ),
]


class OutputFile(NamedTuple):
    """A file that a command is going to write."""

    path: Path
    what: str  # "a table of IDs"
    is_own: Callable[[Path], bool]  # whether a file looks as if the same command had written it


class Writes(NamedTuple):
    """What a command is going to write."""

    files: tuple[OutputFile, ...]
    folders: tuple[Path, ...] = ()  # of its own, in which no input may lie
    reads: tuple[Path, ...] = ()  # inputs that no option names, such as a model found by default


def writes(
    outputs: Callable[[Mapping[str, Any]], Writes], *options: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Declare what a command writes, and give it --force. Its value is in its context's `params`.

    Args:
        outputs: returns what is written, given the command's options by name. It may raise
            ValueError for a wrong ending.
        options: the options that name outputs; all others may name inputs.
    """

    def declare(command: Callable[..., None]) -> Callable[..., None]:
        with_force = adding({"force": (Force, False)}, command)
        with_force.outputs = outputs  # type: ignore[attr-defined]
        with_force.output_options = options  # type: ignore[attr-defined]
        return with_force

    return declare


def made_plain(command: Callable[..., None] | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a command's options with its outputs named as they will be when they are written.

    `new/../items.csv` does not exist while there is no folder `new`. Writing it would make the
    folder, and then it is `items.csv`, which nobody would have checked.

    Args:
        command, given: as `check_outputs`.
    """
    options: tuple[str, ...] = getattr(command, "output_options", ())
    return {
        name: _made_plain(value) if name in options and isinstance(value, Path) else value
        for name, value in given.items()
    }


def _made_plain(path: Path) -> Path:
    if ".." not in path.parts or _exists(path.parent):
        return path
    with suppress(ValueError):  # a name that no file can have is refused later
        if path.name == "..":
            return Path(os.path.realpath(path))
        return Path(os.path.realpath(path.parent), path.name)  # a link at its end stays one
    return path


def check_outputs(command: Callable[..., None] | None, given: Mapping[str, Any]) -> None:
    """Refuse what must not or cannot be written, before a command begins.

    Args:
        command: what `writes` declared outputs of; for another, nothing happens.
        given: the values of its options, by name.
    """
    outputs = getattr(command, "outputs", None)
    if outputs is None:
        return
    options: tuple[str, ...] = getattr(command, "output_options", ())
    for name in options:
        if given[name] is not None:
            check_name(given[name])
    found: Writes = outputs(given)
    inputs = [*found.reads, *_inputs(given, options)]
    for output in found.files:
        _check_not_read(output, inputs)
    for folder in found.folders:
        _check_apart(folder, inputs)
    for output in found.files:
        check_replaceable(output, force=given["force"])
    for output in found.files:
        check_writable(output.path)


def check_replaceable(output: OutputFile, *, force: bool) -> None:
    """Refuse to replace a file that the command would not have written itself.

    Raises:
        ValueError: if there is such a file, and `force` is not given.
    """
    path = output.path
    if force or not path.is_file() or output.is_own(path):
        return
    raise ValueError(
        f"{path} exists and is not {output.what}, which would replace it: name another file, or "
        "replace it with --force"
    )


def _inputs(given: Mapping[str, Any], outputs: tuple[str, ...]) -> Iterator[Path]:
    """Yield every file and folder that an option names, other than the outputs."""
    for name, value in given.items():
        if name in outputs:
            continue
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str | Path):
                with suppress(OSError, ValueError):  # a text that can be no path
                    if Path(one).exists():
                        yield Path(one)


def _check_not_read(output: OutputFile, inputs: list[Path]) -> None:
    path = output.path
    # The lock is written, and deleted, in the same folder.
    for written in (path, path.parent / LOCK_FILE):
        if not _exists(written):
            continue
        for read in inputs:
            if read.is_dir():
                is_input = written == path and _is_read_in(read, output)
            else:
                is_input = _same(written, read)
            if is_input:
                raise ValueError(
                    f"{written} would be written, but the command reads it ({read}): name another "
                    "output"
                )
    for read in inputs:
        if _same(path.parent, read) and _would_be_a_table(path):
            raise ValueError(
                f"{path} would be read as a table of {read}, the dataset that the command reads: "
                "name another output"
            )


def _is_read_in(folder: Path, output: OutputFile) -> bool:
    """Tell whether an output that exists is a file of somebody else's in a folder that is read.

    One's own is none, so that a command can be run again, unless it is named as a table is.
    """
    path = output.path
    is_own = path.is_file() and output.is_own(path)  # to open a pipe would wait for its writer
    if not is_own and any(_same(parent, folder) for parent in path.resolve().parents):
        return True
    with suppress(OSError):  # a file there may be a link to the output
        return any(
            _same(one, path) and (not is_own or _would_be_a_table(one)) for one in folder.iterdir()
        )
    return False


def _would_be_a_table(path: Path) -> bool:
    """Tell whether a file of this name, in its folder, is one of a user's own two tables."""
    interactions, _ = TABLES
    name, _, ending = path.name.partition(".")
    if name not in TABLES:
        return False
    from rqvae_lib.data.table_files import ENDINGS

    is_table = f".{ending}" in ENDINGS
    return is_table and (name == interactions or any(path.parent.glob(f"{interactions}.*")))


def _check_apart(folder: Path, inputs: list[Path]) -> None:
    for read in inputs:
        if any(_same(part, folder) for part in (read, *read.resolve().parents)):
            raise ValueError(
                f"{read}, which the command reads, lies in {folder}, where it writes: name another "
                "output, or move the file"
            )


def _exists(path: Path) -> bool:
    with suppress(OSError):  # too long a name, or a loop of links
        return path.exists()
    return False


def _same(one: Path, other: Path) -> bool:
    with suppress(OSError):
        return one.samefile(other)
    return False


# Which files are one's own


def checkpoint_of(*kinds: str) -> Callable[[Path], bool]:
    """Return a function that tells whether a file is a checkpoint of one of these kinds."""
    return lambda path: kind_of(path) in kinds


def embeddings_by(model: str) -> Callable[[Path], bool]:
    """Return a function that tells whether a file looks as if `embed --model` had written it."""

    def is_by(path: Path) -> bool:
        header = read_header(path)
        said = {} if header is None else header.metadata
        return "texts_sha256" in said and said.get("model") == model

    return is_by


def is_vectors(path: Path) -> bool:
    """Tell whether a file looks as if `embed` had written it of a file of texts."""
    from rqvae_lib.embeddings.text_folders import said_by_vectors

    return said_by_vectors(path) is not None


def is_large_table(path: Path) -> bool:
    """Tell whether a file looks as if `write_large_table` had written it."""
    from rqvae_lib.semantic_ids.large_tables import sizes_in

    return sizes_in(path) is not None


def described_as(format: str) -> Callable[[Path], bool]:
    """Return a function that tells whether a JSON file says that it has a format of ours."""

    def is_described(path: Path) -> bool:
        with path.open("rb") as file:
            beginning = file.read(2**12).decode("utf-8", "replace")
        return f'"format": "{format}"' in beginning

    return is_described


def table_beginning(*columns: str) -> Callable[[Path], bool]:
    """Return a function that tells whether a .csv file begins with these columns."""

    def begins(path: Path) -> bool:
        with path.open("rb") as file:
            line = file.readline(2**14).decode("utf-8", "replace").strip()
        return line.split(",")[: len(columns)] == list(columns)

    return begins


# A trained model that another one takes the place of


@contextmanager
def keeping_the_old(path: Path, *, force: bool) -> Iterator[None]:
    """Keep a trained model that is about to be replaced by another, under another name.

    It is not kept if the new one has the same weights, or with `force`.

    Args:
        path: the model's file, which is written inside.
        force: --force.
    """
    spare = None if force or not path.is_file() else _linked(path)
    try:
        yield
    finally:
        # After an interruption too: it may have come when the new model was there already.
        is_kept = spare is not None and not (path.is_file() and _same_weights(spare, path))
        if spare and not is_kept:
            spare.unlink(missing_ok=True)
    if is_kept:
        typer.echo(f"The model that was in {path} is kept as {spare}.", err=True)


def old_models(path: Path) -> list[Path]:
    """Return the models that `keeping_the_old` has kept of a file."""
    return sorted(path.parent.glob(f"{path.stem}-old-*{path.suffix}"))


def _linked(path: Path) -> Path:
    """Return a new name of a file, or a copy of it where there are no hard links."""
    for number in range(1, 100_000):
        spare = path.with_name(f"{path.stem}-old-{number}{path.suffix}")
        if spare.exists():
            continue
        try:
            os.link(path, spare)
        except FileExistsError:
            continue
        except OSError:
            shutil.copy2(path, spare)
        return spare
    raise FileExistsError(f"{path.parent} holds too many old models: move them elsewhere")


def _same_weights(one: Path, other: Path) -> bool:
    """Tell whether two checkpoints differ in nothing but their cards."""
    if filecmp.cmp(one, other, shallow=False):
        return True
    headers = read_header(one), read_header(other)
    if headers[0] is None or headers[1] is None:
        return False
    if sorted(headers[0].tensors) != sorted(headers[1].tensors):
        return False
    tails = []
    for path, header in zip((one, other), headers, strict=True):
        with path.open("rb") as file:
            file.seek(header.size if header else 0)
            tails.append(file.read())
    return tails[0] == tails[1]
