"""The packages: imports run one way, the public face is whole, and asking for it costs nothing."""

import ast
import inspect
import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from mypy import build
from mypy.modulefinder import BuildSource
from mypy.options import Options

import rqvae_lib
from tests.helpers import ROOT

FACE = ROOT / "rqvae_lib" / "__init__.pyi"
HEAVY = {"torch", "pandas", "numpy", "scipy", "pyarrow", "safetensors", "pooch", "tqdm"}


def python(code: str, *arguments: str) -> str:
    """Run code in a new process, from this checkout; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# Imports run one way

CONTRACT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
[LAYERS] = [contract["layers"] for contract in CONTRACT["contracts"]]
PACKAGES = [name for layer in LAYERS for name in layer.split(" | ")]  # the highest first


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Look at the package rqvae_lib of a folder as `make check` looks at this one."""
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )


def test_the_library_keeps_its_contract() -> None:
    looked = lint_imports(ROOT)
    assert looked.returncode == 0, looked.stdout
    files = len(list((ROOT / "rqvae_lib").rglob("*.py")))
    assert f"Analyzed {files} files" in looked.stdout
    assert "Contracts: 1 kept, 0 broken" in looked.stdout


def test_the_contract_names_every_package_and_no_other() -> None:
    found = {path.parent.name for path in (ROOT / "rqvae_lib").glob("*/__init__.py")}
    assert sorted(PACKAGES) == sorted(found)
    files = sorted(path.name for path in (ROOT / "rqvae_lib").glob("*.py"))
    assert files == ["__init__.py", "__main__.py"]


def miniature(folder: Path, files: dict[str, str]) -> Path:
    """Write a package with all our packages in it, empty but for some files, and our contract."""
    (folder / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text("utf-8"), "utf-8")
    for package in ("", *PACKAGES):
        (folder / "rqvae_lib" / package).mkdir(exist_ok=True)
        (folder / "rqvae_lib" / package / "__init__.py").touch()
    for name, code in files.items():
        (folder / "rqvae_lib" / name).parent.mkdir(exist_ok=True)
        (folder / "rqvae_lib" / name).write_text(code, "utf-8")
    return folder


def test_a_package_may_import_all_that_are_below_it(tmp_path: Path) -> None:
    files = {}
    for number, layer in enumerate(LAYERS):
        below = [name for lower in LAYERS[number + 1 :] for name in lower.split(" | ")]
        for package in layer.split(" | "):
            imports = [f"import rqvae_lib.{name}.part\n" for name in below]
            files[f"{package}/part.py"] = "".join(imports)
    looked = lint_imports(miniature(tmp_path, files))
    assert looked.returncode == 0, looked.stdout
    assert "1 kept, 0 broken" in looked.stdout


@pytest.mark.parametrize(
    ("importer", "code"),
    [
        ("io", "from rqvae_lib.data import part"),
        ("data", "def late() -> None:\n    import rqvae_lib.datasets.part"),
        ("semantic_ids", "from rqvae_lib.datasets.part import x"),  # the same layer
        ("models", "import rqvae_lib.tokenizer.part"),
        ("training", "from rqvae_lib.generation import part"),
        ("generation", "from rqvae_lib import evaluation"),
        ("evaluation", "import rqvae_lib.cli.part"),
        ("cli", "from rqvae_lib.teaching.part import x"),
    ],
)
def test_an_import_the_other_way_breaks_it(importer: str, code: str, tmp_path: Path) -> None:
    files = {f"{package}/part.py": "x = 1\n" for package in PACKAGES}
    looked = lint_imports(miniature(tmp_path, files | {f"{importer}/bad.py": code}))
    assert looked.returncode == 1, looked.stdout
    assert "0 kept, 1 broken" in looked.stdout
    assert f"rqvae_lib.{importer}.bad -> rqvae_lib." in looked.stdout


def test_a_detour_over_another_package_breaks_it_too(tmp_path: Path) -> None:
    files = {
        "ops/a.py": "import rqvae_lib.helpers\n",
        "helpers.py": "import rqvae_lib.cli.part\n",
        "cli/part.py": "",
    }
    looked = lint_imports(miniature(tmp_path, files))
    assert looked.returncode == 1, looked.stdout


def test_a_package_without_a_layer_breaks_it(tmp_path: Path) -> None:
    looked = lint_imports(miniature(tmp_path, {"ranking/__init__.py": ""}))
    assert looked.returncode == 1, looked.stdout
    assert "ranking" in looked.stdout


def imports_of_the_face(code: str) -> list[str]:
    """The statements of a module that go through `rqvae_lib/__init__.py`.

    To import-linter they are imports of the root package, which belongs to no layer. Yet each name
    of the face loads a module, perhaps one of a higher layer.
    """
    found = []
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Import(names=names):
                through = "rqvae_lib" in {alias.name for alias in names}
            case ast.ImportFrom(module="rqvae_lib", names=names, level=0):
                through = bool({alias.name for alias in names} & {*rqvae_lib.__all__, "*"})
            case ast.Attribute(value=ast.Name(id="rqvae_lib"), attr=name):
                through = name in rqvae_lib.__all__  # after `import rqvae_lib.io.atomic`
            case ast.ImportFrom(level=level):
                through = level > 0  # a relative import hides which package it means
            case _:
                through = False
        if through:
            found.append(ast.unparse(node))
    return found


def test_no_module_imports_through_the_face() -> None:
    modules = list((ROOT / "rqvae_lib").glob("*/**/*.py"))
    assert len(modules) > 60
    found = {path: imports_of_the_face(path.read_text("utf-8")) for path in modules}
    assert {str(path): lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "code",
    [
        "import rqvae_lib",
        "import rqvae_lib as library",
        "import os, rqvae_lib",
        "from rqvae_lib import recommend",
        "from rqvae_lib import models, train_rqvae as train",
        "from rqvae_lib import *",
        "from .. import recommend",
    ],
)
def test_an_import_through_the_face_is_found(code: str) -> None:
    assert imports_of_the_face(code) == [code]
    assert imports_of_the_face(f"if late:\n    {code}") == [code]


def test_a_name_of_the_face_is_found_where_it_is_used() -> None:
    code = "import rqvae_lib.io.atomic\nrqvae_lib.recommend(model, histories)"
    assert imports_of_the_face(code) == ["rqvae_lib.recommend"]


def test_an_import_of_a_package_is_no_import_of_the_face() -> None:
    code = "import rqvae_lib.io.atomic\nfrom rqvae_lib import io\nfrom rqvae_lib.io import atomic"
    assert imports_of_the_face(code) == []


# The public face


def named_in_the_stub() -> dict[str, str]:
    """Every name of `__init__.pyi`, and the module that it comes from."""
    tree = ast.parse(FACE.read_text("utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert all(node.level == 1 for node in imports)
    assert all(alias.asname == alias.name for node in imports for alias in node.names)
    return {alias.name: f"rqvae_lib.{node.module}" for node in imports for alias in node.names}


def test_the_names_are_those_of_the_stub() -> None:
    assert sorted(rqvae_lib.__all__) == sorted(named_in_the_stub())
    assert len(set(rqvae_lib.__all__)) == len(rqvae_lib.__all__)
    assert set(rqvae_lib.__all__) <= set(dir(rqvae_lib))
    assert 30 <= len(rqvae_lib.__all__) <= 45
    assert isinstance(rqvae_lib.__version__, str)


def test_a_type_checker_sees_the_same_names() -> None:
    options = Options()
    options.incremental = False
    options.follow_imports = "skip"  # this file alone: it takes no time
    options.ignore_missing_imports = True
    found = build.build([BuildSource(str(FACE), "rqvae_lib")], options)
    assert found.errors == []
    names = found.files["rqvae_lib"].names.items()
    public = {name for name, symbol in names if symbol.module_public and name[:2] != "__"}
    assert public == set(rqvae_lib.__all__)


@pytest.mark.parametrize(("name", "module"), named_in_the_stub().items())
def test_a_name_is_what_its_module_defines_and_says_what_it_is(name: str, module: str) -> None:
    found = getattr(rqvae_lib, name)
    assert found is getattr(import_module(module), name)
    if name.isupper():  # a constant, of a class that says what it is
        assert type(found).__module__ == module
        found = type(found)
    assert found.__module__ == module  # defined there, not passed on
    assert len(inspect.getdoc(found) or "") > 20
    assert not (inspect.getdoc(found) or "").startswith(f"{name}(")  # what a dataclass says itself


def test_all_names_come_with_a_star() -> None:
    code = "from rqvae_lib import *; print(*sorted(name for name in dir() if name[:2] != '__'))"
    assert python(code).split() == sorted(rqvae_lib.__all__)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = rqvae_lib.no_such_name  # type: ignore[attr-defined]


# What importing costs

LOADED = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"


def test_the_face_alone_loads_nothing_heavy() -> None:
    before = set(python(LOADED).split())
    loaded = set(python(f"import rqvae_lib\n{LOADED}").split())
    assert "rqvae_lib" in loaded
    assert not loaded & HEAVY
    third_party = {name for name in loaded - before if name not in sys.stdlib_module_names}
    assert third_party == {"rqvae_lib", "lazy_loader"}


def test_a_name_loads_its_module_and_no_more() -> None:
    code = f"import rqvae_lib\nrqvae_lib.RQVAEConfig, rqvae_lib.TrainingConfig\n{LOADED}"
    assert not set(python(code).split()) & HEAVY
    assert "torch" in python(f"import rqvae_lib\nrqvae_lib.recommend\n{LOADED}").split()


def test_configurations_and_names_are_light() -> None:
    """The command line reads its defaults from them before it does anything."""
    modules = [
        "rqvae_lib.data.names",
        "rqvae_lib.evaluation.config",
        "rqvae_lib.generation.config",
        "rqvae_lib.models.configs",
        "rqvae_lib.semantic_ids.config",
        "rqvae_lib.tokenizer.config",
        "rqvae_lib.training.config",
    ]
    loaded = python(f"import {', '.join(modules)}\n{LOADED}").split()
    assert not set(loaded) & HEAVY


@pytest.mark.parametrize("command", ["", "train-rqvae", "train-recommender", "export", "evaluate"])
def test_help_loads_nothing_heavy(command: str) -> None:
    code = f"""
import sys
from rqvae_lib.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    assert ended.code == 0
{LOADED}
"""
    *said, loaded = python(code, *command.split(), "--help").strip().splitlines()
    assert "Usage:" in "".join(said)
    assert command in "".join(said)
    assert not set(loaded.split()) & HEAVY
