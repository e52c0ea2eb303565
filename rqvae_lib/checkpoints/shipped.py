"""Which file a name means: a path, or a model that is shipped with the library.

Used by: whatever loads a model by its name.
"""

from importlib import resources
from pathlib import Path

from rqvae_lib.data.names import EMBEDDED


def shipped_models(dataset: str) -> list[str]:
    """Return the names of the models in the package that recommend from a dataset's items.

    Only an embedded dataset has any. Another's name may be a path, or the start of this one's.
    """
    if dataset not in EMBEDDED:
        return []
    names = [file.stem for file in _shipped_folder().glob("*.safetensors")]
    return sorted(
        name for name in names if name.startswith(f"{dataset}-") and not name.endswith("-rqvae")
    )


def _shipped_folder() -> Path:
    return Path(str(resources.files("rqvae_lib.checkpoints") / "pretrained"))


def find_checkpoint(name_or_path: str | Path, stem: str = "recommender") -> Path:
    """Return the path itself, or a shipped file: by its name, or its dataset's and this stem.

    Raises:
        FileNotFoundError: if there is neither.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    ending = ".safetensors"
    shipped = {
        file.name.removesuffix(ending): file for file in _shipped_folder().glob(f"*{ending}")
    }
    shipped |= {
        name.removesuffix(f"-{stem}"): file
        for name, file in shipped.items()
        if name.endswith(f"-{stem}")
    }
    if str(name_or_path) not in shipped:
        raise FileNotFoundError(
            f"{name_or_path} is neither a file nor a shipped checkpoint "
            f"(shipped: {', '.join(sorted(shipped)) or 'none'})"
        )
    return shipped[str(name_or_path)]
