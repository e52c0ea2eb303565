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
import json
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path

import pandas as pd
from torch import Tensor

from rqvae_lib.checkpoints.bundle_items import check_table, holds_items, read_items, write_items
from rqvae_lib.checkpoints.manifest import (
    FILES,
    FORMAT,
    IDS,
    ITEMS,
    MANIFEST,
    RECOMMENDER,
    TOKENIZER,
    Manifest,
    check_file,
    file_on_disk,
    naming_manifest,
    parse_manifest,
    read_manifest,
    version_folder,
)
from rqvae_lib.checkpoints.manifest import bundle_versions as bundle_versions  # for callers, too
from rqvae_lib.checkpoints.models import load_recommender, load_rqvae, save_with_card
from rqvae_lib.data.item_texts import display_titles
from rqvae_lib.data.tables import plain_ids
from rqvae_lib.io.atomic import remove_unfinished, write_atomically
from rqvae_lib.io.headers import kind_of
from rqvae_lib.io.locks import only_process_in
from rqvae_lib.io.plain_json import plain_json
from rqvae_lib.io.tensor_files import Card, short
from rqvae_lib.models.base import Recommender
from rqvae_lib.models.configs import CONFIGS
from rqvae_lib.ops.arrays import Array, as_vectors
from rqvae_lib.ops.torch_settings import own_settings
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.column_files import is_id_table
from rqvae_lib.semantic_ids.files import read_ids, write_ids
from rqvae_lib.tokenizer.health import CatalogueHealth, catalogue_health, quantization_errors
from rqvae_lib.tokenizer.rqvae import RQVAE


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


@own_settings
def write_bundle(folder: str | Path, bundle: Bundle, *, overwrite: bool = False) -> Bundle:
    """Write a bundle as the next version in its folder, whole or not at all.

    The files are loaded again, with all of the loader's checks, before the manifest is written.

    Args:
        folder: the bundle's folder, created if needed. Its current version must be the one that
            `bundle` was made from, so that no version of somebody else's is passed over.
        bundle: what to write.
        overwrite: replace a file that is in the version's folder and that no killed process can
            have left there, because it is of another kind.

    Returns:
        The bundle with the number of the version.

    Raises:
        ValueError: if the folder has another current version, if the version's folder holds a file
            of another kind, or for what `load_bundle` would refuse. The older versions are then
            unchanged, and no new one is there.
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
        for path in (place / name for name in FILES):
            if path.exists() and not (overwrite or could_be_ours(path)):
                raise ValueError(
                    f"{path} exists and is not a file of an unfinished bundle, which would replace "
                    "it: move it elsewhere, or replace it (--force; in Python overwrite=True)"
                )
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
        files=tuple(file_on_disk(place / name) for name in names),
        health=bundle.health,
        articles_last=bundle.articles_last,
    )
    content = json.dumps(plain_json(asdict(manifest), MANIFEST), indent=1, ensure_ascii=False)
    try:
        _load_version(place, parse_manifest(content.encode(), current + 1))
    except ValueError as error:
        raise ValueError(
            f"{place} is not written, because what would be in it could not be loaded again "
            f"({short(error)}): bundle a model, items and errors that belong together"
        ) from error
    with write_atomically(place / MANIFEST) as temporary:
        temporary.write_text(content + "\n", encoding="utf-8")
    return manifest


def could_be_ours(path: Path) -> bool:
    """Return whether a file in a version's folder looks as if `write_bundle` had written it."""
    if path.name == TOKENIZER:
        return kind_of(path) == "rqvae"
    if path.name == RECOMMENDER:
        return kind_of(path) in CONFIGS
    if path.name == ITEMS:
        return holds_items(path)
    return is_id_table(path)


def _remove(place: Path) -> None:
    """Remove the files of a version that has no manifest."""
    if not (place / MANIFEST).exists():
        for name in FILES:
            (place / name).unlink(missing_ok=True)
        with suppress(OSError):  # somebody else's file is in it
            place.rmdir()


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
        check_file(place / file.name, file, manifest.version)
    tokenizer, tokenizer_card = load_rqvae(place / TOKENIZER)
    with naming_manifest(place / MANIFEST):
        items = read_items(place / ITEMS)
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


def _write_files(place: Path, bundle: Bundle) -> list[str]:
    """Write the files of a version but for its manifest; return their names."""
    save_with_card(place / TOKENIZER, bundle.tokenizer, bundle.tokenizer_card)
    own_ids = plain_ids(bundle.items["item_id"])
    write_ids(place / IDS, bundle.ids.to_frame(own_ids, bundle.titles))
    write_items(place / ITEMS, bundle.items, bundle.errors)
    names = [TOKENIZER, IDS, ITEMS]
    if bundle.recommender is not None:
        save_with_card(place / RECOMMENDER, bundle.recommender, bundle.recommender_card or {})
        names.append(RECOMMENDER)
    return names


def _library_version() -> str:
    try:
        return metadata.version("rqvae-lib")
    except metadata.PackageNotFoundError:  # a checkout that is only on the path
        return "not installed"
