"""The files around the project say what is true: actions, forms, decisions, findings, releases."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import rqvae_lib
from tests import matrix
from tests.helpers import ROOT

FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[0-9]*.yml"))
FINDINGS = sorted(path.name for path in (ROOT / "findings").glob("*.sh"))


def text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_every_action_is_pinned_by_commit_with_its_tag_beside_it() -> None:
    uses = re.findall(r"uses: (.*)", text(".github/workflows/ci.yml"))
    assert uses
    for action in uses:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_the_workflow_tries_the_oldest_python_and_every_way_of_the_matrix() -> None:
    jobs = yaml.safe_load(text(".github/workflows/ci.yml"))["jobs"]
    project = tomllib.loads(text("pyproject.toml"))["project"]
    assert jobs["test"]["strategy"]["matrix"]["python"][0] == project["requires-python"][2:]
    ways = [entry["which"] for entry in jobs["versions"]["strategy"]["matrix"]["include"]]
    assert ways == ["lowest", "newest", "wheel"]


def test_the_lowest_versions_are_the_lower_bounds() -> None:
    bounds = tomllib.loads(text("pyproject.toml"))["project"]["dependencies"]
    assert [line.replace("==", ">=") for line in matrix.lowest_versions()] == bounds
    assert all("==" in line for line in matrix.lowest_versions())


def test_the_matrix_sees_no_code_but_that_of_its_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With PYTHONPATH set to a checkout, the wheel would not be tried at all."""
    (tmp_path / "elsewhere.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("KEPT", "yes")
    code = "import os, importlib.util as u; print(u.find_spec('elsewhere'), os.environ['KEPT'])"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=matrix.surroundings(),
        cwd=Path(sys.executable).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == ["None", "yes"]


def test_the_matrix_leaves_out_what_make_check_leaves_out() -> None:
    (slow,) = re.findall(r"^SLOW := (.*)$", text("Makefile"), re.MULTILINE)
    assert slow.split() == [f"tests/{name}" for name in matrix.SLOW]


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_asks_questions_that_github_understands(form: Path) -> None:
    parsed = yaml.safe_load(form.read_text("utf-8"))
    assert {"name", "description", "body"} <= set(parsed)
    names = [part["id"] for part in parsed["body"]]
    assert len(names) == len(set(names)) >= 3
    for part in parsed["body"]:
        assert part["type"] in ("input", "textarea", "dropdown", "checkboxes")
        assert part["attributes"]["label"]


def test_the_hooks_run_programs_of_the_environment() -> None:
    (repository,) = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"]
    assert repository["repo"] == "local"  # the lock's versions, and no download
    for hook in repository["hooks"]:
        assert hook["entry"].startswith(".venv/bin/")
    assert "book/_tools/notebooks.py --check" in text(".pre-commit-config.yaml")


def test_the_dev_container_makes_the_environment() -> None:
    lines = text(".devcontainer/devcontainer.json").splitlines()
    container = json.loads("\n".join(line for line in lines if not line.startswith("//")))
    assert container["postCreateCommand"].startswith("make .venv")
    assert "chromium" in container["onCreateCommand"]


def test_one_version_everywhere() -> None:
    citation = yaml.safe_load(text("CITATION.cff"))
    assert citation["version"] == rqvae_lib.__version__


def test_every_decision_is_on_its_page_in_order() -> None:
    records = sorted(path.name for path in (ROOT / "book/decisions").glob("*.md"))
    assert re.findall(r"include\} decisions/(\S+)", text("book/decisions.md")) == records
    for number, name in enumerate(records, 1):
        assert name.startswith(f"{number:02}_")
        parts = re.findall(r"^\*\*(.+?)\.\*\*", text(f"book/decisions/{name}"), re.MULTILINE)
        assert parts == ["What", "Why", "What it costs", "When to decide again"]


@pytest.mark.parametrize("page", ["findings/README.md", "book/libraries.md"])
def test_every_finding_is_listed(page: str) -> None:
    assert sorted(re.findall(r"(\w+\.sh)\)", text(page))) == FINDINGS


@pytest.mark.parametrize("name", FINDINGS)
def test_a_finding_says_what_it_is_and_pins_what_it_installs(name: str) -> None:
    script = text(f"findings/{name}")
    assert script.startswith("#!/usr/bin/env bash\n# ")
    for part in ("# Common wrong guess:", "# What happens:", "# Seen with ", "mktemp -d"):
        assert part in script, part
    assert "rqvae" not in script.replace("RQ-VAE", "")
    installed = re.findall(r"install --quiet --disable-pip-version-check (.*(?:\\\n.*)*)", script)
    assert installed
    for line in installed:
        for package in re.findall(r'"([^"]+)"', line):
            assert re.fullmatch(r"[\w.\[\]-]+==[\w.]+", package), package
    assert subprocess.run(["bash", "-n", ROOT / "findings" / name], check=False).returncode == 0


def test_the_wheel_has_the_library_whole_and_nothing_else(tmp_path: Path) -> None:
    """Built from a copy, since setuptools leaves a folder in which old files would stay."""
    tracked = subprocess.run(
        ["git", "ls-files", "rqvae_lib"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    for name in (*tracked, "pyproject.toml", "README.md", "LICENSE"):
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / "source" / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "--wheel-dir", tmp_path, tmp_path / "source"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith("/METADATA"))
        described = archive.read(metadata).decode()
    assert {name for name in names if ".dist-info/" not in name} == set(tracked)
    assert any(name.endswith("LICENSE-movielens.txt") for name in names)
    assert "License-Expression: MIT AND LicenseRef-MovieLens" in described
    assert "no commercial use without permission" in " ".join(described.split())
