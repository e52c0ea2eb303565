"""What messages, help and pages advise exists: every option and every command that they name."""

import ast
import re
from pathlib import Path

import pytest

from tests.cli.walking import COMMANDS
from tests.helpers import ROOT

SOURCES = sorted((ROOT / "rqvae_lib").rglob("*.py"))
PAGES = [ROOT / "book" / name for name in ("commands.md", "troubleshooting.md", "id_formats.md")]
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*[a-z0-9](?![\w-])")
# A command with what follows it, up to the end of the sentence or of the quotation.
CALL = re.compile(r"\brqvae-lib ([a-z][a-z-]+[a-z])([^`.;:\n]*)")
OPTIONS = {
    name: {word for one in command.params for word in (*one.opts, *one.secondary_opts)} | {"--help"}
    for name, command in COMMANDS.items()
}
OF_TORCHRUN = {"--standalone", "--nproc-per-node"}
ALL = set().union(*OPTIONS.values()) | {"--version"} | OF_TORCHRUN
# In sentences: not commands, but words after the program's name.
NOT_COMMANDS = {
    *("recommendations", "bundle", "vectors", "large"),  # names of formats
}


def texts_of(path: Path) -> list[str]:
    """Return the texts of a program, with … for what is put in, or the page."""
    if path.suffix == ".md":
        return [path.read_text(encoding="utf-8")]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in ast.walk(node)
        if part is not node
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (one.value if isinstance(one, ast.Constant) else "…" for one in node.values)
            found.append("".join(map(str, parts)))
        elif isinstance(node, ast.Constant) and id(node) not in inside:
            found += [node.value] if isinstance(node.value, str) else []
    return found


@pytest.mark.parametrize("path", [*SOURCES, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_options_and_commands_that_are_named_exist(path: Path) -> None:
    for text in texts_of(path):
        for option in OPTION.findall(text):
            assert option in ALL, (option, text[:300])
        for command, rest in CALL.findall(text):
            if command in NOT_COMMANDS and "--" not in rest:
                continue
            assert command in COMMANDS, (command, text[:300])
            for option in OPTION.findall(rest):
                assert option in OPTIONS[command], (command, option, text[:300])


def test_the_words_are_found_at_all() -> None:
    """The test above would pass if it found nothing."""
    text = "pass --user, or `rqvae-lib train-rqvae --content both`; rqvae-lib embed --output x.y"
    assert OPTION.findall(text) == ["--user", "--content", "--output"]
    assert CALL.findall(text) == [
        ("train-rqvae", " --content both"),
        ("embed", " --output x"),
    ]
    named = {
        option for path in SOURCES for text in texts_of(path) for option in OPTION.findall(text)
    }
    assert len(named) > 60
