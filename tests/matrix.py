"""The packages' tests on other versions of the dependencies, and the wheel in an empty environment.

    python tests/matrix.py lowest   # each direct dependency at the lower bound of pyproject.toml
    python tests/matrix.py newest   # each at its newest version
    python tests/matrix.py wheel    # the built wheel, with no test tool and no checkout beside it

Each way has an environment of its own, `.venv-lowest` and so on, which is made afresh and does not
see your PYTHONPATH. `lowest` is what resolvers call lowest-direct: what the dependencies themselves
depend on is the newest that fits. Test tools and the notebooks' libraries are the newest in both.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
# What the packages' tests import beside the extras `test` and `notebooks`.
TOOLS = ["beautifulsoup4", "jupytext", "nbclient", "packaging"]
SLOW = ["book", "studies", "robustness"]  # as in the Makefile


def surroundings() -> dict[str, str]:
    """Return the environment variables without those that put other code on Python's path."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}


def lowest_versions() -> list[str]:
    """Return each direct dependency at its lower bound, as "name==version"."""
    return [re.sub(r"^([\w-]+)>=([\w.]+)$", r"\1==\2", line) for line in PROJECT["dependencies"]]


def new_environment(name: str) -> Path:
    """Make an empty environment; return its folder of programs."""
    folder = ROOT / f".venv-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder / "bin"


def install(programs: Path, *what: str, torch_index: str | None) -> None:
    index = ["--extra-index-url", torch_index] if torch_index else []
    pip = [programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *index, *what], check=True, cwd=ROOT, env=surroundings())


def test_packages(which: str, torch_index: str | None, jobs: int) -> None:
    """Run the packages' tests with the lowest or the newest versions."""
    print(f"== matrix: {which} versions, in .venv-{which}", flush=True)
    programs = new_environment(which)
    wanted = lowest_versions() if which == "lowest" else []
    install(programs, "-e", ".[test,notebooks]", *TOOLS, *wanted, torch_index=torch_index)
    print("  ".join(installed(programs)), flush=True)
    pytest = [programs / "python", "-m", "pytest", "-p", "no:cacheprovider", "-q"]
    left_out = [f"--ignore=tests/{name}" for name in SLOW]
    subprocess.run(
        [*pytest, "-n", str(jobs), "--dist", "loadfile", "tests", *left_out],
        check=True,
        cwd=ROOT,
        env=surroundings() | {"OMP_NUM_THREADS": "1"},
    )


def installed(programs: Path) -> list[str]:
    """Return the versions of the direct dependencies in an environment."""
    names = [re.split(r"\W*[>=]", line)[0] for line in PROJECT["dependencies"]]
    code = "import sys; from importlib.metadata import version\n"
    code += "for name in sys.argv[1:]: print(name, version(name))"
    command = [programs / "python", "-c", code, *names]
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=surroundings())
    return found.stdout.splitlines()


def try_wheel(torch_index: str | None) -> None:
    """Build the wheel, install it into an empty environment, and use it as the README does."""
    print("== wheel: built into dist, tried in .venv-wheel", flush=True)
    for folder in ("build", "dist"):  # setuptools would put what is left in `build` into the wheel
        shutil.rmtree(ROOT / folder, ignore_errors=True)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "dist"]
    subprocess.run([*build, "."], check=True, cwd=ROOT)
    (wheel,) = (ROOT / "dist").glob("*.whl")
    programs = new_environment("wheel")
    install(programs, str(wheel), torch_index=torch_index)
    readme = (ROOT / "README.md").read_text("utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    command = programs / "rqvae-lib"
    with tempfile.TemporaryDirectory() as elsewhere:  # so that no checkout is on the path
        for call in (
            [command, "--version"],
            [command, "recommend", "--user", "1"],
            [command, "evaluate", "popularity", "item-knn", "near-pairs"],
            [programs / "python", "-c", example],
            [command, "recommend", "--user", "1"],  # now with the models of the example
        ):
            shown = [str(part).splitlines()[0] for part in call]
            print("$", *shown, flush=True)
            subprocess.run(call, check=True, cwd=elsewhere, env=surroundings())
    print(f"== wheel: {wheel.name} works", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("which", choices=["lowest", "newest", "wheel"])
    parser.add_argument("--torch-index", help="take torch from there")
    parser.add_argument("--jobs", type=int, default=2, help="tests that run side by side")
    chosen = parser.parse_args()
    if chosen.which == "wheel":
        try_wheel(chosen.torch_index)
    else:
        test_packages(chosen.which, chosen.torch_index, chosen.jobs)
