"""Which modules of the library a piece of code imports, read from the code and not by running it.

The keys of the notebooks ask for all that a chapter depends on (`imported_modules`); the reference
asks which modules a chapter names (`imported_names`, `files_of`). Both follow a name of the public
face to the module that defines it: `rqvae_lib/__init__.pyi` says which that is.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager

PACKAGE = "rqvae_lib"


def imported_modules(root: Path, code: str) -> list[Path]:
    """The files of `rqvae_lib` that `code` imports, directly or not, inside functions too.

    A name of the public face counts as the module that defines it, so `from rqvae_lib import
    recommend` needs what beam search needs and no more. What is imported for type checkers only is
    never run, so it does not count. A module that imports by name at run time (`import_module`, a
    `__getattr__` of the module without a stub beside it) hides what it needs, so then the whole
    package counts. The command `rqvae-lib` counts as the module that runs it, with all that its
    commands import.
    """
    # IPython's own rewriting turns `%magic` and `!command` into calls, which parse.
    tree = ast.parse(TransformerManager().transform_cell(code))
    hidden = _imports_by_name(tree)
    todo = [*imported_names(tree, "")]
    if "rqvae-lib" in code:
        todo.append(f"{PACKAGE}.cli.main")
    found: set[Path] = set()
    while todo and not hidden:
        for path in files_of(root, todo.pop()):
            if path not in found:
                found.add(path)
                tree = ast.parse(path.read_text(encoding="utf-8"))
                hidden |= _imports_by_name(tree, has_stub=path.with_suffix(".pyi").is_file())
                todo.extend(imported_names(tree, ".".join(path.parent.relative_to(root).parts)))
    return sorted((root / PACKAGE).rglob("*.py") if hidden else found)


def files_of(root: Path, name: str) -> Iterator[Path]:
    """The files behind a full name: the packages around it, its module, who defines it.

    `a.b.c` may be a module, a name in the module `a.b`, or a name that the stub of `a.b` takes from
    another module. `a.b.*` is every name that the stub of `a.b` lists.
    """
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        path = root.joinpath(*parts[:end])
        file = next(filter(Path.is_file, (path.with_suffix(".py"), path / "__init__.py")), None)
        if file is None:
            defined = public_face(path.parent / "__init__.pyi", ".".join(parts[: end - 1]))
            wanted = defined if parts[end - 1] == "*" else {parts[end - 1]} & defined.keys()
            for module in {defined[each] for each in wanted}:
                yield from files_of(root, module)
            return
        yield file


def public_face(stub: Path, package: str) -> dict[str, str]:
    """The names that a package's stub lists, each with the full name of the module it is from."""
    if not stub.is_file():
        return {}
    listed = ast.parse(stub.read_text(encoding="utf-8")).body
    return {
        alias.asname or alias.name: absolute(node, package)
        for node in listed
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def absolute(node: ast.ImportFrom, package: str) -> str:
    """The module that `from module import …` names in a file of `package`."""
    parents = package.split(".")
    above = parents[: len(parents) - node.level + 1] if node.level else []
    return ".".join([*above, *filter(None, [node.module])])


def imported_names(tree: ast.AST, package: str) -> list[str]:
    """The full names of the library that `tree`, a file of `package`, imports or looks up.

    `import rqvae_lib` imports nothing by itself; it is the names that are looked up in it which
    count: `rqvae_lib.recommend`. Where the package itself is handed on, every name may be meant.
    """
    names, known = [], {}  # known: what a variable stands for
    nodes = list(_run_nodes(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                names.append(alias.name)
                top = alias.name.partition(".")[0]
                known[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom):
            base = absolute(node, package)
            # What is imported from `base` is a module, or a name in it.
            names.extend([base, *(f"{base}.{alias.name}" for alias in node.names)])
    looked_in = set()
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            looked_in.add(node.value)
            if node.value.id in known:
                names.append(f"{known[node.value.id]}.{node.attr}")
    for node in nodes:
        if isinstance(node, ast.Name) and node.id in known and node not in looked_in:
            names.append(f"{known[node.id]}.*")
    return [name for name in names if name.split(".")[0] == PACKAGE]


def _run_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node of `tree` but those under `if TYPE_CHECKING:`, which are never run."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            todo.extend(node.orelse)
        else:
            todo.extend(ast.iter_child_nodes(node))


def _imports_by_name(tree: ast.Module, has_stub: bool = False) -> bool:
    """Whether a module imports what no `import` statement in it, or in its stub, names."""
    named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    named |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    lazy = "__getattr__" in functions | {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    return bool(named & {"import_module", "__import__"}) or (lazy and not has_stub)
