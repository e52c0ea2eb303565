"""One set of pins for everybody: pip, conda and CI install the same project in the same way."""

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.helpers import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def pins() -> dict[str, Version]:
    """{canonical name: version} of requirements.lock."""
    pairs = (line.split(";")[0].split("==") for line in LOCK if line and not line.startswith("#"))
    return {canonicalize_name(name.strip()): Version(version.strip()) for name, version in pairs}


def test_lock_holds_exact_versions_and_nothing_else() -> None:
    """No path, address or option of the machine that made it, no version of one index only."""
    for line in LOCK:
        if not line or re.fullmatch(r"# [^/]*", line):  # pip-tools remarks on setuptools
            continue
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9A-Za-z.]+( ?; .+)?", line), line


def requirements() -> list[str]:
    extras = PROJECT["optional-dependencies"].values()
    return [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]


@pytest.mark.parametrize("line", requirements())
def test_every_dependency_is_pinned_to_a_version_it_allows(line: str) -> None:
    requirement = Requirement(line)
    pinned = pins().get(canonicalize_name(requirement.name))
    assert pinned is not None, f"{requirement.name} is not in requirements.lock: run `make lock`"
    assert requirement.specifier.contains(pinned, prereleases=True)


def pip_lines() -> list[str]:
    return next(entry["pip"] for entry in ENVIRONMENT["dependencies"] if isinstance(entry, dict))


def test_conda_users_get_the_same_pins_and_extras() -> None:
    extras = re.search(r"^EXTRAS := (.*)$", MAKEFILE, re.MULTILINE)[1]
    assert pip_lines() == ["-c requirements.lock", f"-e .[{extras}]"]
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])


def test_conda_users_get_a_python_that_the_project_supports() -> None:
    python = next(
        entry for entry in ENVIRONMENT["dependencies"] if str(entry).startswith("python=")
    )
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert Version(python.removeprefix("python=")) >= Version(oldest)
    assert "pip" in ENVIRONMENT["dependencies"]


def test_make_installs_with_the_lock() -> None:
    assert "-c requirements.lock" in MAKEFILE
    assert re.search(r"^\.venv/installed: pyproject\.toml requirements\.lock$", MAKEFILE, re.M)


@pytest.mark.parametrize("target", ["book", "linkcheck", "notebooks", "test", "lab", "lock"])
def test_targets_make_their_own_environment(target: str) -> None:
    assert re.search(rf"^{target}: \.venv  ##", MAKEFILE, re.MULTILINE)


def test_ci_runs_the_same_command_with_a_browser() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert script.rstrip().endswith("make test")
    assert "set -euo pipefail" in script
    assert "REQUIRE_BROWSER=1" in script
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    commands = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    assert any(command.startswith("make test") for command in commands)
    assert any(command.startswith("make book") for command in commands)
