"""Nothing of the user's is written over by mistake, and what cannot be written is said at once.

The commands are walked, not listed: what holds for one holds for all, also for the next one.
"""

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.core import TyperCommand

from rqvae_lib.cli.outputs import RULE
from rqvae_lib.embeddings.text import save_embeddings
from rqvae_lib.io.locks import LOCK_FILE
from tests.cli.running import fails, run
from tests.cli.walking import (
    CALLS,
    COMMANDS,
    WRITING,
    outputs_of,
    prepare,
    refusal,
    takes_text,
    words_of,
)
from tests.helpers import ROOT

MINE = "user's own, not to be lost\n"
OUTPUT_OPTIONS = {"output", "bundle"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TyperCommand, "invoke", lambda *_: pytest.fail("it went to work"))


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Instead of working, a command only says that it would."""
    began: list[str] = []
    monkeypatch.setattr(TyperCommand, "invoke", lambda self, _: began.append(self.name))
    return began


def everything(folder: Path) -> dict[str, bytes | None]:
    """Return all files with their content, and all folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def test_every_command_is_walked() -> None:
    assert CALLS.keys() == COMMANDS.keys()
    for name, command in COMMANDS.items():
        names = {parameter.name for parameter in command.params}
        writes = {"output", "force"} & names or name in ("bundle", "append")
        assert (name in WRITING) == bool(writes), name
        if name in WRITING:
            assert "force" in names
            assert set(command.callback.output_options) <= OUTPUT_OPTIONS


def _outputs(command: str) -> list[Path]:
    return [output.path for output in outputs_of(words_of(command))]


# 1. An output that is an input


LINKS = [(None, []), (os.symlink, ["--force"]), (os.link, []), (None, ["--force"])]


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("command", WRITING)
def test_an_output_that_is_an_input_is_refused(command: str, folder: Path) -> None:
    """Whatever option names it, and by whatever name: the same one, or a link of either kind."""
    options, outputs = takes_text(command), _outputs(command)
    if command == "append":
        outputs.remove(Path("catalogue/v0002/manifest.json"))  # it would make a version of it
    refused = 0
    for turn, option in enumerate(options * 2):
        output, (link, force) = outputs[turn % len(outputs)], LINKS[turn % len(LINKS)]
        output.parent.mkdir(parents=True, exist_ok=True)
        mine = output.with_name(f"mine{output.suffix}") if link else output
        mine.write_text(MINE)
        if link:
            link(mine.resolve(), output)
        before = everything(folder)
        words = words_of(command)
        if option == "--items" in words:
            words = words[: words.index("--items")]
        said = refusal([*words, option, str(mine), *force])
        assert said is not None, (words, option)
        assert everything(folder) == before
        # Some options cannot go with the call, and are refused for that.
        other = re.search("leave|pass|expected numbers", said)
        assert "the command reads it" in said or other, said
        refused += "the command reads it" in said
        output.unlink()
        mine.unlink(missing_ok=True)
    assert refused > 0.6 * 2 * len(options)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("command", WRITING)
def test_a_file_in_a_folder_that_is_read_is_refused(command: str, folder: Path) -> None:
    if "--dataset" not in takes_text(command):
        pytest.skip("it reads no folder")
    for output in _outputs(command):
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(MINE)
        before = everything(folder)
        for given in (output.parent, "."):
            said = fails(*words_of(command), "--dataset", given, "--force", folder=folder)
            assert "the command reads" in said
            assert everything(folder) == before
        output.unlink()


TABLES = {
    "ids.csv": "item_id,title,code_1,disambiguation,semantic_id\n1,A,0,0,0-0\n",
    "all.csv": '"user_id","rank","item_id","title","semantic_id","probability"\n',
}


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("options", [[], ["--force"]])
@pytest.mark.parametrize("name", ["items.csv", "interactions.csv"])
def test_a_table_of_a_dataset_is_an_input_whoever_wrote_it(
    folder: Path, name: str, options: list[str]
) -> None:
    """Also one that the same command wrote there, and one that is not there yet."""
    shop = folder / "shop"
    shop.mkdir()
    (shop / "interactions.csv").write_text("user_id,item_id\na,1\n")
    for command, words in (
        ("ids.csv", ["inference-rqvae", "--dataset", "shop", "--output", f"shop/{name}"]),
        ("all.csv", ["recommend", "--all", "--dataset", "shop", "--output", f"shop/{name}"]),
    ):
        (shop / "items.csv").unlink(missing_ok=True)
        before = everything(folder)
        said = fails(*words, *options, folder=folder)
        there = "would be written, but the command reads it (shop)"
        missing = "would be read as a table of shop, the dataset that the command reads"
        assert (missing if name == "items.csv" else there) in said
        assert everything(folder) == before
        (shop / name).write_text(TABLES[command])
        before = everything(folder)
        assert there in fails(*words, *options, folder=folder)
        assert everything(folder) == before


@pytest.mark.usefixtures("no_work")
def test_a_table_of_a_dataset_is_an_input_through_a_link(folder: Path) -> None:
    (folder / "shop").mkdir()
    (folder / "shop/interactions.csv").write_text("user_id,item_id\na,1\n")
    (folder / "ids.csv").write_text(TABLES["ids.csv"])
    (folder / "shop/items.csv").symlink_to("../ids.csv")
    words = ("inference-rqvae", "--dataset", "shop", "--output", "ids.csv", "--force")
    assert "ids.csv would be written, but the command reads it" in fails(*words, folder=folder)
    (folder / "shop/items.csv").rename(folder / "shop/notes.csv")
    (folder / "ids.csv").write_text(MINE)
    assert "ids.csv would be written, but the command reads it" in fails(*words, folder=folder)


@pytest.mark.usefixtures("no_work")
def test_a_pipe_beside_a_dataset_is_refused_and_not_waited_for(folder: Path) -> None:
    (folder / "shop").mkdir()
    (folder / "shop/interactions.csv").write_text("user_id,item_id\na,1\n")
    for output in ("ids.csv", "shop/ids.csv"):
        os.mkfifo(folder / output)
        for options in ([], ["--force"]):
            words = ("inference-rqvae", "--dataset", "shop", "--output", output, *options)
            assert re.search("is a device, a pipe|command reads it", fails(*words, folder=folder))


def test_embeddings_of_another_encoder_are_replaced_with_force_only(
    folder: Path, worked: list[str]
) -> None:
    """They took as long to make, and nothing in a command's words says that they go."""
    save_embeddings(folder / "v.safetensors", torch.ones(2, 3), ["a", "b"], "my/encoder")
    before = everything(folder)
    words = ("embed", "--output", "v.safetensors")
    said = fails(*words, folder=folder)
    assert "v.safetensors exists and is not a file of embeddings by all-MiniLM-L6-v2" in said
    assert not worked
    for more in (["--force"], ["--model", "my/encoder"]):
        assert run(*words, *more, folder=folder).returncode == 0
    assert worked == ["embed", "embed"]
    assert everything(folder) == before


def test_what_no_dataset_is_read_from_is_written_beside_it(folder: Path, worked: list[str]) -> None:
    (folder / "shop").mkdir()
    (folder / "shop/interactions.csv").write_text("user_id,item_id\na,1\n")
    (folder / "shop/ids.csv").write_text(TABLES["ids.csv"])
    for name in ("ids.csv", "itemsets.csv", "other.csv"):
        words = ("inference-rqvae", "--dataset", "shop", "--output", f"shop/{name}")
        assert run(*words, folder=folder).returncode == 0
    words = ("embed", "--dataset", "shop", "--output", "shop/items.safetensors")
    assert run(*words, folder=folder).returncode == 0
    assert len(worked) == 4


@pytest.mark.usefixtures("no_work")
def test_an_input_among_the_parts_is_refused(folder: Path) -> None:
    (folder / "all.csv.parts").mkdir()
    mine = folder / "all.csv.parts/000007.parquet"
    mine.write_text(MINE)
    said = fails(*words_of("recommend"), "--interactions", mine, folder=folder)
    assert "lies in all.csv.parts" in said
    assert mine.read_text() == MINE


@pytest.mark.usefixtures("no_work")
def test_a_model_that_is_found_by_default_is_an_input(folder: Path) -> None:
    (folder / "runs").mkdir()
    found = folder / "runs/rqvae.safetensors"
    found.write_text(MINE)
    (folder / "ids.csv").symlink_to(found)
    (folder / "out").mkdir()
    (folder / "out/recommender.safetensors").symlink_to(found)
    for command in ("inference-rqvae", "train-recommender"):
        for force in ([], ["--force"]):
            said = fails(*words_of(command), *force, folder=folder)
            assert "the command reads it (runs/rqvae.safetensors)" in said
    assert found.read_text() == MINE


@pytest.mark.usefixtures("no_work")
def test_the_lock_is_an_output_too(folder: Path) -> None:
    (folder / LOCK_FILE).write_text(MINE)
    said = fails(*words_of("inference-rqvae"), "--embeddings", LOCK_FILE, folder=folder)
    assert "the command reads it" in said
    assert (folder / LOCK_FILE).read_text() == MINE


# A file of another kind


CONTENTS = [b"item_id,title\n1,Mine\n", MINE.encode(), b"\x80\x02", b""]


@pytest.mark.parametrize("command", WRITING)
def test_a_file_of_another_kind_needs_force(command: str, folder: Path, worked: list[str]) -> None:
    for number, output in enumerate(_outputs(command)):
        content = CONTENTS[number % len(CONTENTS)]
        if (command, output.name) == ("append", "manifest.json"):
            continue  # it would make a version of it
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(content)
        before = everything(folder)
        said = fails(*words_of(command), folder=folder)
        assert f"{output} exists and is not" in said
        assert "--force" in said
        assert everything(folder) == before
        assert not worked
        assert run(*words_of(command), "--force", folder=folder).returncode == 0
        assert worked
        worked.clear()
        assert everything(folder) == before
        output.unlink()


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("command", [name for name in WRITING if name != "append"])
def test_a_folder_that_is_still_to_be_made_hides_nothing(command: str, folder: Path) -> None:
    """`new/../items.csv` is not there before `new` is made, and `items.csv` is after that."""
    words = words_of(command)
    place = words.index("--output") + 1 if "--output" in words else 1
    words[place] = f"new/../{words[place]}"
    for output in _outputs(command):
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(MINE)
        before = everything(folder)
        said = refusal(words)
        assert f"{output.resolve()} exists and is not" in str(said)
        option = next(name for name in takes_text(command) if name not in words)
        said = str(refusal([*words, "--force", option, str(output)]))
        assert "the command reads it" in said or re.search("leave|pass", said), said
        assert everything(folder) == before
        output.unlink()


# 4. What cannot be written


def _is_folder(output: Path) -> None:
    output.mkdir(parents=True)


def _parent_is_file(output: Path) -> None:
    output.parent.parent.mkdir(parents=True, exist_ok=True)
    output.parent.write_text(MINE)


def _is_pipe(output: Path) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(output)


def _is_socket(output: Path) -> socket.socket:
    output.parent.mkdir(parents=True, exist_ok=True)
    opened = socket.socket(socket.AF_UNIX)
    opened.bind(str(output))
    return opened


def _loop(output: Path) -> None:
    output.parent.parent.mkdir(parents=True, exist_ok=True)
    output.parent.symlink_to(output.parent.name)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("spoil", [_is_folder, _parent_is_file, _is_pipe, _is_socket, _loop])
@pytest.mark.parametrize("command", WRITING)
def test_what_cannot_be_written_is_refused_before_the_work(
    command: str, spoil: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For each file that a command writes: the model, its state, a snapshot, a table."""
    for number in range(9):
        folder = tmp_path / str(number)
        prepare(folder)
        monkeypatch.chdir(folder)
        outputs = _outputs(command)
        if number >= len(outputs):
            assert number
            return
        output = outputs[number]
        if output.parent == Path() and spoil in (_parent_is_file, _loop):
            continue  # it is written into the working folder
        if (command, output.name) == ("append", "manifest.json"):
            continue
        opened = spoil(output)
        before = everything(folder)
        fails(*words_of(command), *(["--force"] if number % 2 else []), folder=folder)
        assert everything(folder) == before
        if opened:
            opened.close()


NAMES = {
    "NUL": "a\0b",
    "not UTF-8": "a\udcffb",
    "too long": "x" * 300,
    "too long in bytes": "é" * 130,
    "too deep": "/".join(["deep" * 50] * 30),
    "empty": "",
}


def _named(command: str, name: str) -> list[str]:
    """Return a command's call with another name for what it writes, with the same ending."""
    words = words_of(command)
    place = words.index("--output") + 1 if "--output" in words else 1
    words[place] = name and name + Path(words[place]).suffix
    return words


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("command", WRITING)
def test_a_name_that_no_file_can_have_is_refused_before_the_work(
    command: str, name: str, folder: Path
) -> None:
    before = everything(folder)
    if command == "append" and name not in ("", "a\0b", "a\udcffb"):
        pytest.skip("a bundle that is there has a name that can be")
    said = fails(*_named(command, name), folder=folder)
    assert said.isprintable()
    assert everything(folder) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("command", WRITING)
def test_a_folder_that_is_read_only_is_refused_before_the_work(command: str, folder: Path) -> None:
    for output in _outputs(command):
        output.parent.mkdir(parents=True, exist_ok=True)
        output.parent.chmod(0o500)
        try:
            assert f"cannot write {output}" in fails(*words_of(command), folder=folder)
        finally:
            output.parent.chmod(0o700)


@pytest.mark.parametrize("name", ["ends with a dot.", "ends with a space ", " - ", "x" * 240, "é"])
@pytest.mark.parametrize("command", [name for name in WRITING if name != "append"])
def test_an_odd_name_is_fine(command: str, name: str, folder: Path, worked: list[str]) -> None:
    before = everything(folder)
    done = run(*_named(command, name), folder=folder)
    assert done.returncode == 0, done.stderr
    assert worked
    assert everything(folder) == before  # the check leaves nothing behind


def test_the_rule_is_said_once_and_in_every_help(folder: Path) -> None:
    page = (ROOT / "book/commands.md").read_text(encoding="utf-8")
    assert "--force" in page
    for command in WRITING:
        (force,) = [one for one in COMMANDS[command].params if one.name == "force"]
        assert RULE in force.help
