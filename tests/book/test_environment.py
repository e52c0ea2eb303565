"""One set of pins for everybody: pip, conda and CI install the same project in the same way."""

import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.conftest import LONGEST, rank
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


TARGETS = (
    *("book", "linkcheck", "notebooks", "check", "test", "matrix", "wheel"),
    *("fuzz", "kill", "lab", "lock"),
)


@pytest.mark.parametrize("target", TARGETS)
def test_targets_make_their_own_environment(target: str) -> None:
    first = re.search(rf"^{target}: (\S+)  ##", MAKEFILE, re.MULTILINE)[1]
    assert first == ("check" if target == "test" else ".venv")


def recipe(target: str) -> str:
    """The commands of a target as make would run them, whatever is installed."""
    if shutil.which("make") is None:
        pytest.skip("there is no make")
    command = ["make", "--dry-run", "--assume-old=.venv/installed", "--assume-old=.venv", target]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_check_and_test_run_every_test_once() -> None:
    """What `check` leaves out `test` names, and nothing falls between the two."""
    (first,) = re.findall(r"pytest .* tests (--ignore=.*)", recipe("check"))
    left_out = re.findall(r"--ignore=(\S+)", first)
    assert left_out == ["tests/book", "tests/studies", "tests/robustness"]
    rest = recipe("test").replace("\\\n", "").removeprefix(recipe("check"))
    assert f" {' '.join(left_out)} notebooks --nbval-lax" in rest
    for folder in (*left_out, "notebooks"):
        assert (ROOT / folder).is_dir()


@pytest.mark.parametrize("command", ["ruff check", "ruff format", "lint-imports", "mypy", "pytest"])
def test_check_asks_all_that_answer_quickly(command: str) -> None:
    assert f".venv/bin/{command}" in recipe("check").replace("python -m ", "")


def test_a_notebook_stays_with_one_worker_and_long_files_come_first() -> None:
    assert "--dist loadfile --no-loadscope-reorder" in recipe("test")
    order = ["tests/io/test_atomic.py", "notebooks/02.ipynb", "notebooks/07.ipynb", LONGEST[0]]
    seconds = {"02": 1.0, "07": 50.0}
    assert sorted(order, key=lambda path: rank(path, seconds)) == [
        LONGEST[0],
        "notebooks/07.ipynb",
        "notebooks/02.ipynb",
        "tests/io/test_atomic.py",
    ]
    for start in LONGEST:
        assert (ROOT / start).exists(), f"{start} is gone: say what takes long now"


def test_fuzz_and_kill_are_modules_that_exist() -> None:
    targets = re.findall(r"python -m (tests\.robustness\.[\w.]+)", recipe("kill"))
    listed = re.search(r"for target in (.*); do", recipe("fuzz"))[1].split()
    files = sorted((ROOT / "tests" / "robustness" / "fuzz").glob("fuzz_*.py"))
    assert listed == [path.stem for path in files]
    for name in [*targets, *(f"tests.robustness.fuzz.{target}" for target in listed)]:
        assert ROOT.joinpath(*name.split(".")).with_suffix(".py").is_file()


def test_ci_runs_the_same_command_with_a_browser() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert script.rstrip().endswith("make test")
    assert "set -euo pipefail" in script
    assert "REQUIRE_BROWSER=1" in script
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    commands = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    assert any(command.startswith("make check") for command in commands)
    assert any(command.startswith("make test") for command in commands)
    assert any(command.startswith("make book") for command in commands)


WITHOUT_A_BROWSER = """
import sys
sys.modules["playwright"] = sys.modules["axe_playwright_python"] = None  # importing them raises
import pytest
sys.exit(pytest.main(["-q", "--collect-only", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


@pytest.mark.parametrize(
    ("tests", "works"),
    [(["tests", "--ignore=tests/book"], True), (["tests/book/test_print.py"], False)],
    ids=["the others", "the book's"],
)
def test_only_the_books_tests_need_a_browser(tests: list[str], works: bool) -> None:
    command = [sys.executable, "-c", WITHOUT_A_BROWSER, *tests]
    result = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert (result.returncode == 0) == works, result.stdout
    assert works or "playwright" in result.stdout + result.stderr
