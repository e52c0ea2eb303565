"""A bundle: a catalogue that grows, with all that belongs together, in numbered versions.

A bundle is a folder. Each version is a folder in it, `v0001`, `v0002` and so on, with

    tokenizer.safetensors    the RQ-VAE
    ids.parquet              the IDs, one row per item
    items.parquet            the items, and the quantization error of each
    recommender.safetensors  a generative recommender of these IDs, if there is one
    manifest.json            what the others are: size and sha256 of each; counts, health

The manifest is written last and at once. A folder without one is no version, so a version is there
as a whole or not at all, whenever a process is killed, and a version that is there is never
changed. The highest number is the current version; whoever has to go back deletes its folder.

Derived in: chapter 13.
"""

import datetime
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from rqvae_lib.checkpoints.models import load_recommender, load_rqvae, save_with_card
from rqvae_lib.data.item_texts import display_titles
from rqvae_lib.data.tables import ITEM_DTYPES, check_columns, check_items, plain_ids
from rqvae_lib.io.atomic import remove_unfinished, write_atomically
from rqvae_lib.io.json_configs import config_from_json
from rqvae_lib.io.locks import only_process_in
from rqvae_lib.io.plain_json import plain_json
from rqvae_lib.io.tensor_files import Card, CheckpointError, short
from rqvae_lib.models.base import Recommender
from rqvae_lib.ops.arrays import Array, as_vectors
from rqvae_lib.ops.torch_settings import own_settings
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.files import read_ids, write_ids
from rqvae_lib.tokenizer.health import CatalogueHealth, catalogue_health, quantization_errors
from rqvae_lib.tokenizer.rqvae import RQVAE

FORMAT = "rqvae-lib bundle 1"
MANIFEST = "manifest.json"
TOKENIZER, IDS, ITEMS, RECOMMENDER = (
    "tokenizer.safetensors",
    "ids.parquet",
    "items.parquet",
    "recommender.safetensors",
)
ERROR = "quantization_error"  # a column of the items, beside those of `ITEM_DTYPES`
MAX_MANIFEST = 2**20  # bytes
_VERSION = re.compile(r"v(\d{4,9})")


@dataclass(frozen=True, eq=False)
class Bundle:
    """A catalogue and the models that belong to it. Row i of each part is item i."""

    tokenizer: RQVAE
    tokenizer_card: Card
    ids: SemanticIDs
    items: pd.DataFrame  # with the columns and dtypes of `data.tables.ITEM_DTYPES`
    errors: Tensor  # (N,) float32, quantization errors
    trained_items: int  # the first items, which the tokenizer was trained on
    recommender: Recommender | None = None
    recommender_card: Card | None = None
    encoder: str | None = None  # the sentence encoder of the items' texts; None: not known
    version: int = 0  # as it was loaded or written last; 0: never
    articles_last: bool = False  # whether titles are written "Hobbit, The", as `Dataset` has it

    @cached_property
    def titles(self) -> list[str]:
        """The title to show for each item, as `Dataset.titles`."""
        return display_titles(self.items, articles_last=self.articles_last)

    @cached_property
    def health(self) -> CatalogueHealth:
        """How healthy the catalogue is, and whether the tokenizer still fits what was added."""
        return catalogue_health(self.ids, self.errors, self.trained_items)


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


@own_settings
def new_bundle(
    tokenizer: RQVAE,
    tokenizer_card: Card,
    items: pd.DataFrame,
    vectors: Array,
    *,
    recommender: Recommender | None = None,
    recommender_card: Card | None = None,
    encoder: str | None = None,
    articles_last: bool = False,
) -> Bundle:
    """Return a bundle of a tokenizer, the items that it was trained on, and a recommender.

    Args:
        tokenizer: a trained RQ-VAE, on the CPU.
        tokenizer_card: its card, as `load_rqvae` returns it.
        items: `Dataset.items`, N rows.
        vectors: shape (N, D), numbers, what the tokenizer reads for each item.
        recommender: a generative recommender of the IDs that the tokenizer gives to these vectors.
        recommender_card: its card, as `load_recommender` returns it.
        encoder: the name of the sentence encoder that made the vectors, if it is known.
        articles_last: whether titles are written "Hobbit, The", as `Dataset.articles_last`.

    Raises:
        ValueError: if there is not one vector per item, if the recommender has other IDs, or as
            `RQVAE.assign`.
    """
    check_table(items)
    vectors = as_vectors(vectors, "vectors")
    if len(vectors) != len(items):
        raise ValueError(
            f"there are {len(items):,} items and {len(vectors):,} vectors; expected one vector per "
            "item: pass what the tokenizer was trained on"
        )
    ids = tokenizer.tokenize(vectors)
    if recommender is not None and recommender.ids.sha256 != ids.sha256:
        raise ValueError(
            f"the recommender writes the IDs of catalogue {recommender.ids.sha256[:12]}…, but the "
            f"tokenizer gives these items those of {ids.sha256[:12]}…: bundle the tokenizer that "
            "the recommender was trained with, or train a recommender on these IDs"
        )
    return Bundle(
        tokenizer,
        tokenizer_card,
        ids,
        items.reset_index(drop=True),
        quantization_errors(tokenizer, vectors, ids.codes),
        len(items),
        recommender,
        None if recommender is None else (recommender_card or {}),
        encoder,
        articles_last=articles_last,
    )


def bundle_versions(folder: str | Path) -> list[int]:
    """Return the versions of a bundle, the oldest first; none if the folder holds no bundle."""
    found = (_VERSION.fullmatch(path.parent.name) for path in Path(folder).glob(f"*/{MANIFEST}"))
    return sorted(int(name[1]) for name in found if name)


def version_folder(folder: str | Path, version: int) -> Path:
    """Return the folder of a version, such as `bundle/v0002`."""
    return Path(folder) / f"v{version:04}"


@own_settings
def write_bundle(folder: str | Path, bundle: Bundle) -> Bundle:
    """Write a bundle as the next version in its folder, whole or not at all.

    The files are loaded again, with all of the loader's checks, before the manifest is written.

    Args:
        folder: the bundle's folder, created if needed. Its current version must be the one that
            `bundle` was made from, so that no version of somebody else's is passed over.
        bundle: what to write.

    Returns:
        The bundle with the number of the version.

    Raises:
        ValueError: if the folder has another current version, or for what `load_bundle` would
            refuse. The older versions are then unchanged, and no new one is there.
        BlockingIOError: if another process writes into the folder.
        OSError: if a file cannot be written. The older versions are then unchanged.
    """
    folder = Path(folder)
    with only_process_in(folder):
        current = max(bundle_versions(folder), default=0)
        if current != bundle.version:
            advice = "append to that, or name a new folder"
            if bundle.version:
                advice = "load the current version, and append to that (on the command line: again)"
            raise ValueError(
                f"{folder} has the current version {current}, but this bundle comes from version "
                f"{bundle.version}: {advice}"
            )
        place = version_folder(folder, current + 1)
        place.mkdir(exist_ok=True)  # a killed process may have left it, without a manifest
        remove_unfinished(place, older_than=0.0)
        older = read_manifest(folder, current).items if current else 0
        try:
            manifest = _write_version(place, bundle, current, older)
        except BaseException:
            _remove(place)
            raise
    return replace(bundle, version=manifest.version)


def _write_version(place: Path, bundle: Bundle, current: int, older: int) -> Manifest:
    """Write the files of a version, load them again, and let the manifest vouch for them.

    Args:
        place: the version's folder.
        bundle: what to write.
        current: the version before, 0 if there is none.
        older: items of that version.
    """
    names = _write_files(place, bundle)
    manifest = Manifest(
        format=FORMAT,
        version=current + 1,
        parent=current,
        made=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        library=_library_version(),
        items=len(bundle.ids),
        new_items=len(bundle.ids) - older,
        trained_items=bundle.trained_items,
        id_sizes=bundle.ids.sizes,
        id_sha256=bundle.ids.sha256,
        encoder=bundle.encoder,
        files=tuple(_described(place / name) for name in names),
        health=bundle.health,
        articles_last=bundle.articles_last,
    )
    content = json.dumps(plain_json(asdict(manifest), MANIFEST), indent=1, ensure_ascii=False)
    try:
        _load_version(place, _parsed(content.encode(), current + 1))
    except ValueError as error:
        raise ValueError(
            f"{place} is not written, because what would be in it could not be loaded again "
            f"({short(error)}): bundle a model, items and errors that belong together"
        ) from error
    with write_atomically(place / MANIFEST) as temporary:
        temporary.write_text(content + "\n", encoding="utf-8")
    return manifest


def _remove(place: Path) -> None:
    """Remove the files of a version that has no manifest."""
    if not (place / MANIFEST).exists():
        for name in (TOKENIZER, IDS, ITEMS, RECOMMENDER):
            (place / name).unlink(missing_ok=True)
        with suppress(OSError):  # somebody else's file is in it
            place.rmdir()


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
    with _describing(path):
        return _parsed(content, chosen)


def _parsed(content: bytes, version: int) -> Manifest:
    """Return the manifest of a version; raise an error that does not name it if it is none."""
    if len(content) > MAX_MANIFEST:
        raise ValueError(f"it is larger than {MAX_MANIFEST:,} bytes")
    manifest = config_from_json(Manifest, json.loads(content.decode("utf-8")))
    if manifest.format != FORMAT:
        raise ValueError(f"its format is {manifest.format[:60]!r}; expected {FORMAT!r}")
    if manifest.version != version:
        raise ValueError(f"it says version {manifest.version}, in the folder of {version}")
    names = [file.name for file in manifest.files]
    if sorted(set(names) | {RECOMMENDER}) != sorted({TOKENIZER, IDS, ITEMS, RECOMMENDER}):
        raise ValueError(f"it lists the files {', '.join(names)[:200]}")
    if len(names) != len(set(names)):
        raise ValueError("it lists a file twice")
    return manifest


@own_settings
def load_bundle(folder: str | Path, version: int | None = None) -> Bundle:
    """Load a version of a bundle, and check all of it.

    Args:
        folder: the bundle's folder.
        version: which one; by default the current one.

    Raises:
        CheckpointError: if a file is not the one that the manifest describes, or the files do not
            belong together; the message names the file.
        OSError: if there is no such version, or a file cannot be read.
    """
    manifest = read_manifest(folder, version)
    return _load_version(version_folder(folder, manifest.version), manifest)


def _load_version(place: Path, manifest: Manifest) -> Bundle:
    """Load the files of a version that its manifest describes."""
    for file in manifest.files:
        _check_file(place / file.name, file, manifest.version)
    tokenizer, tokenizer_card = load_rqvae(place / TOKENIZER)
    with _describing(place / MANIFEST):
        items = _read_items(place / ITEMS)
        table = read_ids(place / IDS, tokenizer.sizes, plain_ids(items.frame["item_id"]))
        if (table.ids.sha256, table.ids.sizes) != (manifest.id_sha256, manifest.id_sizes):
            raise ValueError(f"{IDS} holds another catalogue than it records")
        if not manifest.trained_items <= manifest.items == len(table.ids):
            raise ValueError(f"{IDS} holds {len(table.ids):,} items, and it counts others")
    recommender, recommender_card = None, None
    if RECOMMENDER in [file.name for file in manifest.files]:
        recommender, recommender_card = load_recommender(place / RECOMMENDER, table.ids)
    return Bundle(
        tokenizer,
        tokenizer_card,
        table.ids,
        items.frame,
        items.errors,
        manifest.trained_items,
        recommender,
        recommender_card,
        manifest.encoder,
        manifest.version,
        manifest.articles_last,
    )


def check_table(items: pd.DataFrame) -> None:
    """Raise ValueError unless a table has the columns and dtypes of `Dataset.items`."""
    check_columns("the items", items, ITEM_DTYPES)
    check_items("the items", items)


class _Items(NamedTuple):
    frame: pd.DataFrame
    errors: Tensor  # (N,) float32


def _write_files(place: Path, bundle: Bundle) -> list[str]:
    """Write the files of a version but for its manifest; return their names."""
    save_with_card(place / TOKENIZER, bundle.tokenizer, bundle.tokenizer_card)
    own_ids = plain_ids(bundle.items["item_id"])
    write_ids(place / IDS, bundle.ids.to_frame(own_ids, bundle.titles))
    with write_atomically(place / ITEMS) as temporary:
        errors = bundle.errors.numpy().astype(np.float32)
        bundle.items.assign(**{ERROR: errors}).to_parquet(temporary, index=False)
    names = [TOKENIZER, IDS, ITEMS]
    if bundle.recommender is not None:
        save_with_card(place / RECOMMENDER, bundle.recommender, bundle.recommender_card or {})
        names.append(RECOMMENDER)
    return names


def _read_items(path: Path) -> _Items:
    """Read the items as they were written, and their errors."""
    with pq.ParquetFile(path) as file:
        names = list(file.schema_arrow.names)
        if names != [*ITEM_DTYPES, ERROR]:
            raise ValueError(f"{path.name} has the columns {', '.join(names)[:200]}")
        # Repeated values take almost no space, so a small file can unpack to more than the memory.
        rows, size = file.metadata.num_rows, path.stat().st_size
        if rows > size:
            raise ValueError(f"{path.name} holds {rows:,} rows in {size:,} bytes")
        table = file.read()
        table.validate(full=True)  # checks, for example, that text is UTF-8
    dtypes = dict(ITEM_DTYPES)
    if not pa.types.is_integer(table.schema.field("item_id").type):
        dtypes["item_id"] = "string"
    # Only the columns count, and not what pandas stored beside them.
    frame = table.to_pandas(ignore_metadata=True)
    items = frame[list(ITEM_DTYPES)].astype(dtypes)
    check_table(items)
    errors = torch.from_numpy(frame[ERROR].to_numpy(np.float32).copy())
    if not bool((errors.isfinite() & (errors >= 0)).all()):
        raise ValueError(f"{path.name}, column {ERROR!r} holds a number below 0 or not finite")
    return _Items(items, errors)


def _library_version() -> str:
    try:
        return metadata.version("rqvae-lib")
    except metadata.PackageNotFoundError:  # a checkout that is only on the path
        return "not installed"


def _described(path: Path) -> BundleFile:
    return BundleFile(path.name, path.stat().st_size, _sha256(path))


def _check_file(path: Path, expected: BundleFile, version: int) -> None:
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
def _describing(path: Path) -> Iterator[None]:
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
