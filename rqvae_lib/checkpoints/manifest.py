"""The manifest of a version of a bundle: what its other files are, and what they hold.

It is written last, so a folder without one is no version. It records the size and the hash of each
file, so that a version is only used while it is the one that was written.

Derived in: chapter 13.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from rqvae_lib.io.json_configs import config_from_json
from rqvae_lib.io.tensor_files import CheckpointError, short
from rqvae_lib.tokenizer.health import CatalogueHealth

FORMAT = "rqvae-lib bundle 1"
MANIFEST = "manifest.json"
TOKENIZER, IDS, ITEMS, RECOMMENDER = (
    "tokenizer.safetensors",
    "ids.parquet",
    "items.parquet",
    "recommender.safetensors",
)
FILES = (TOKENIZER, IDS, ITEMS, RECOMMENDER)
MAX_MANIFEST = 2**20  # bytes
_VERSION = re.compile(r"v\d{4,9}")


@dataclass(frozen=True)
class BundleFile:
    """A file of a version, as its manifest describes it."""

    name: str
    bytes: int
    sha256: str  # hex


@dataclass(frozen=True)
class Manifest:
    """What a version of a bundle consists of."""

    format: str
    version: int
    parent: int  # the version that this one was made from; 0: none
    made: str  # date and time, UTC, as ISO 8601 writes it
    library: str  # the version of rqvae-lib
    items: int
    new_items: int  # not in the parent; all items of a version without a parent
    trained_items: int  # that the tokenizer was trained on
    id_sizes: tuple[int, ...]  # values at each position of an ID
    id_sha256: str  # of the catalogue, as `SemanticIDs.sha256`
    encoder: str | None
    files: tuple[BundleFile, ...]
    health: CatalogueHealth | None = None
    articles_last: bool = False


def bundle_versions(folder: str | Path) -> list[int]:
    """Return the versions of a bundle, the oldest first; none if the folder holds no bundle."""
    names = {path.parent.name for path in Path(folder).glob(f"*/{MANIFEST}")}
    numbers = {int(name[1:]) for name in names if _VERSION.fullmatch(name)}
    # `v00002` is not the folder that `version_folder` would look into.
    return sorted(number for number in numbers if version_folder(folder, number).name in names)


def version_folder(folder: str | Path, version: int) -> Path:
    """Return the folder of a version, such as `bundle/v0002`."""
    return Path(folder) / f"v{version:04}"


def read_manifest(folder: str | Path, version: int | None = None) -> Manifest:
    """Read what a version consists of, without looking at its files.

    Args:
        folder: the bundle's folder.
        version: which one; by default the current one.

    Raises:
        CheckpointError: if the manifest is damaged.
        OSError: if there is no such version, or the manifest cannot be read.
    """
    versions = bundle_versions(folder)
    chosen = max(versions, default=0) if version is None else version
    if chosen not in versions:
        found = "no bundle"
        if versions:
            found = f"no version {version} of a bundle, only {', '.join(map(str, versions))}"
        raise FileNotFoundError(
            f"{folder} holds {found}: name the folder of a bundle, or make "
            "one with rqvae-lib bundle"
        )
    path = version_folder(folder, chosen) / MANIFEST
    with path.open("rb") as file:
        content = file.read(MAX_MANIFEST + 1)
    with naming_manifest(path):
        return parse_manifest(content, chosen)


def parse_manifest(content: bytes, version: int) -> Manifest:
    """Return the manifest of a version; raise an error that does not name it if it is none."""
    if len(content) > MAX_MANIFEST:
        raise ValueError(f"it is larger than {MAX_MANIFEST:,} bytes")
    manifest = config_from_json(Manifest, json.loads(content.decode("utf-8")))
    if manifest.format != FORMAT:
        raise ValueError(f"its format is {manifest.format[:60]!r}; expected {FORMAT!r}")
    if manifest.version != version:
        raise ValueError(f"it says version {manifest.version}, in the folder of {version}")
    names = [file.name for file in manifest.files]
    if sorted(set(names) | {RECOMMENDER}) != sorted(FILES):
        raise ValueError(f"it lists the files {', '.join(names)[:200]}")
    if len(names) != len(set(names)):
        raise ValueError("it lists a file twice")
    return manifest


def file_on_disk(path: Path) -> BundleFile:
    """Return what a manifest is to say of a file."""
    return BundleFile(path.name, path.stat().st_size, _sha256(path))


def check_file(path: Path, expected: BundleFile, version: int) -> None:
    """Raise CheckpointError unless a file is the one that a manifest describes."""
    if not path.is_file():
        raise CheckpointError(
            f"{path} is missing, which the manifest of version {version} lists: restore it, or "
            "use another version"
        )
    size = path.stat().st_size
    found = _sha256(path) if size == expected.bytes else f"{size:,} bytes"
    if found != expected.sha256:
        wanted = expected.sha256[:12] if size == expected.bytes else f"{expected.bytes:,} bytes"
        raise CheckpointError(
            f"{path} was changed after version {version} was written (found {found[:24]}, expected "
            f"{wanted}): restore it, or use another version"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def naming_manifest(path: Path) -> Iterator[None]:
    """Turn what a wrong manifest raises into one sentence about it."""
    try:
        yield
    except CheckpointError:
        raise
    except (
        *(LookupError, ArithmeticError, TypeError, ValueError, RecursionError, OSError),
        pa.ArrowException,
    ) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # without an errno, it is pyarrow's error about a damaged file
        raise CheckpointError(
            f"{path} is not the manifest of a bundle, or does not fit the files beside it "
            f"({short(error)}): restore it, or use another version"
        ) from error
