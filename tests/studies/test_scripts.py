"""The studies and makers start as their docstrings say, from any folder."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT

FILES = sorted(
    path for name in ("studies", "makers") for path in (ROOT / "book" / name).glob("*.py")
)
SCRIPTS = [path for path in FILES if 'if __name__ == "__main__"' in path.read_text("utf-8")]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_says_how_it_is_started(path: Path) -> None:
    said = ast.get_docstring(ast.parse(path.read_text("utf-8")))
    assert said
    assert f"python {path.relative_to(ROOT)}" in said


def test_each_file_finds_what_it_imports(tmp_path: Path) -> None:
    """Python puts a script's own folder on the path, and nothing else of this checkout."""
    assert len(SCRIPTS) >= 10
    code = f"""
import runpy, sys
from pathlib import Path
elsewhere = list(sys.path)
for path in map(Path, {[str(path) for path in FILES]!r}):
    sys.path[:] = [str(path.parent), *elsewhere]
    runpy.run_path(str(path), run_name="imported")
    for name, module in list(sys.modules.items()):
        if Path(getattr(module, "__file__", None) or "/").is_relative_to({str(ROOT / "book")!r}):
            del sys.modules[name]
"""
    (tmp_path / "rqvae_lib").symlink_to(
        ROOT / "rqvae_lib"
    )  # this checkout's, whichever is installed
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
