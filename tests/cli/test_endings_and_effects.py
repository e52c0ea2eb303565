"""Endings count in any case, and each option of `export` changes the file or is refused."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rqvae_lib import __version__
from rqvae_lib.semantic_ids.config import ENDINGS, Format
from rqvae_lib.semantic_ids.recognition import looks_exported
from tests.cli.running import run, succeeds

SIZES = ("--ids-sizes", "4,4,4")


@pytest.fixture(scope="module")
def ids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another project's table, with items that collide and ids that are no rows."""
    path = tmp_path_factory.mktemp("ids") / "theirs.csv"
    codes = [(0, 1, 2), (0, 1, 2), (3, 0, 1), (2, 2, 2), (3, 0, 1)]
    frame = pd.DataFrame(codes, columns=["codebook_lv1", "codebook_lv2", "codebook_lv3"])
    frame.insert(0, "item_id", [10, 20, 30, 40, 50])
    frame.to_csv(path, index=False)
    return path


OPTIONS = (
    *("--base=1", "--offsets", "--collision-digit=none", "--collision-digit=colliding"),
    *("--keys=rows", "--token-style=openonerec", "--levels-last", "--begin-end"),
)
FORMATS = [(format, ending) for format, endings in ENDINGS.items() for ending in endings]


@pytest.mark.parametrize(("format", "ending"), FORMATS)
def test_each_option_of_an_export_changes_the_file_or_is_refused(
    format: Format, ending: str, ids: Path, tmp_path: Path
) -> None:
    call = ("export", "--ids", ids, *SIZES, "--format", format)
    plain = () if format != "records" else ("--collision-digit", "none")
    changed = 0
    for option in OPTIONS:
        succeeds(*call, *plain, "--output", f"plain{ending}", "--force", folder=tmp_path)
        more = plain if "--collision-digit" not in option else ()
        done = run(*call, *more, option, "--output", f"with{ending}", "--force", folder=tmp_path)
        if done.returncode == 0 and (plain != more and option == "--collision-digit=none"):
            continue  # it is what records are written with
        if format == "tokens" and option == "--collision-digit=colliding":
            continue  # the vocabulary of all digits is also that of some
        if done.returncode == 0:
            ours, theirs = (tmp_path / f"{name}{ending}" for name in ("plain", "with"))
            assert ours.read_bytes() != theirs.read_bytes(), option
            changed += 1
        else:
            assert done.returncode == 2
            assert "leave" in done.stderr or "pass" in done.stderr, done.stderr
    assert changed > 1


@pytest.mark.parametrize(("format", "ending"), FORMATS)
@pytest.mark.parametrize(
    "options",
    [(), ("--base", 1, "--collision-digit", "none", "--token-style", "sid", "--offsets")],
)
def test_an_export_is_known_for_one_and_its_ending_counts_in_any_case(
    format: Format, ending: str, options: tuple[object, ...], ids: Path, tmp_path: Path
) -> None:
    if options and format not in ("index-json", "text-json", "tokens"):
        options = options[:4]
    if format == "records":
        options = ("--collision-digit", "none")
    call = ("export", "--ids", ids, *SIZES, "--format", format, *options)
    lower, upper = f"ids{ending}", f"IDS{ending.upper()}"
    for file in (lower, upper):
        succeeds(*call, "--output", file, folder=tmp_path)
        assert looks_exported(tmp_path / file, format) == (format != "records")
        again = run(*call, "--output", file, folder=tmp_path)
        assert again.returncode == (2 if format == "records" else 0), again.stderr
    assert (tmp_path / lower).read_bytes() == (tmp_path / upper).read_bytes()
    for other, _ in FORMATS:
        if other != format and ending in ENDINGS[other]:
            assert not looks_exported(tmp_path / lower, other)
    if format != "tokens" and ending not in (".npy", ".safetensors"):  # which name no items
        shutil.copy(tmp_path / lower, tmp_path / upper)
        back = ("export", "--ids", upper, "--format", "csv", "--output", "BACK.CSV")
        done = run(*back, *SIZES, "--collision-digit", "none", folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert len(pd.read_csv(tmp_path / "BACK.CSV")) == 5


def test_an_array_of_pairs_is_no_export(tmp_path: Path) -> None:
    np.save(tmp_path / "pairs.npy", np.ones((100, 2), np.int64))
    np.save(tmp_path / "ids.npy", np.ones((4, 100), np.int64))
    assert not looks_exported(tmp_path / "pairs.npy", "grid")
    assert looks_exported(tmp_path / "ids.npy", "grid")


def test_tables_of_other_commands_may_end_in_any_case(shop: Path, tmp_path: Path) -> None:
    data = ("--dataset", shop)
    for file in ("TABLE.CSV", "TABLE.Csv"):
        for _ in range(2):  # it is known for an earlier one
            call = ("evaluate", "popularity", *data, "--output", file)
            succeeds(*call, folder=tmp_path)
    shutil.copy(shop / "interactions.csv", tmp_path / "CLICKS.CSV")
    call = ("evaluate", "popularity", "--interactions", "CLICKS.CSV", "--output", "table.csv")
    succeeds(*call, folder=tmp_path)


def test_the_program_is_a_module_too(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rqvae_lib", "--version"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == f"rqvae-lib {__version__}\n"
