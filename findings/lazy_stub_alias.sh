#!/usr/bin/env bash
# lazy-loader 0.6: attach_stub ignores the `as` of an import in the stub.
#
# A package's public face can be written once, as a stub __init__.pyi, which type checkers read and from which
# lazy_loader.attach_stub makes __getattr__, __dir__ and __all__.
# Common wrong guess: the stub says what can be imported, so `from .a import f as g` offers `g`.
# What happens: `f` is offered, and `g` is not. A type checker accepts `from pkg import g` and the import fails;
# it rejects `from pkg import f`, which works. Use names as they are defined.
#
# Seen with lazy-loader 0.6 on Python 3.11:
#   __all__ = ['f']; g importable: False; f importable: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "lazy-loader==0.6"
mkdir "$folder/pkg"
echo 'def f() -> int: return 1' > "$folder/pkg/a.py"
echo 'from .a import f as g' > "$folder/pkg/__init__.pyi"
cat > "$folder/pkg/__init__.py" <<'PY'
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
PY
cd "$folder"
venv/bin/python - <<'PY'
from importlib.metadata import version

import pkg

print("lazy-loader", version("lazy-loader"))
print(f"__all__ = {pkg.__all__}; g importable: {hasattr(pkg, 'g')}; f importable: {hasattr(pkg, 'f')}")
assert pkg.__all__ == ["f"] and hasattr(pkg, "f") and not hasattr(pkg, "g"), "this has changed"
PY
