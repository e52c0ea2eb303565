"""The data of the recommender that runs in the page, as one script: catalogue, IDs and weights.

A page that is opened from the disk may not read files, but it may load scripts. The script calls
`liveRecommender.receive` with one object (see book/assets/live/loading.js). It is written when the
book is built, from the checkpoints that the library ships, so it cannot be older than they are, and
the repository does not hold the same weights twice.

The weights are the float16 numbers of the checkpoints. Python computes with the same numbers,
widened to float32, so both get the same recommendations.
"""

import base64
import json
from dataclasses import asdict

import numpy as np
import torch

from rqvae_lib.checkpoints.models import load_recommender
from rqvae_lib.data.dataset import Dataset
from rqvae_lib.datasets.registry import load_dataset
from rqvae_lib.models.base import Recommender

DATASET = "movielens-small-2016"
MODELS = ("rq-transformer", "decoder-only")  # the first is chosen at first


def live_data() -> str:
    """Return the text of the script.

    Raises:
        ValueError: if a model's weights are not float16 numbers, or a code takes more than a byte.
    """
    models = {name: load_recommender(f"{DATASET}-{name}")[0] for name in MODELS}
    ids = models[MODELS[0]].ids
    if any(model.ids.sha256 != ids.sha256 for model in models.values()):
        raise ValueError(f"the models {', '.join(MODELS)} have different catalogues of IDs")
    if max(ids.sizes) > 256:
        raise ValueError(f"the codebooks have {ids.sizes} codes; the script has one byte a code")
    recommenders, weights = [], b""
    for name, model in models.items():
        config = asdict(model.config)
        tensors, own = _packed(name, model, first=len(weights) // 2)
        recommenders.append({"name": name, "config": config, "tensors": tensors})
        weights += own
    data = {
        **_items(load_dataset(DATASET)),
        "sizes": list(ids.sizes),
        "codes": _as_text(ids.ids.numpy().astype(np.uint8).tobytes()),
        "recommenders": recommenders,
        "weights": _as_text(weights),
    }
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"liveRecommender.receive({text});\n"


def _packed(
    name: str, model: Recommender, first: int
) -> tuple[dict[str, dict[str, object]], bytes]:
    """Return {tensor: its shape, and where it starts among all numbers} and the numbers' bytes.

    Args:
        name: the model's, for the message.
        model: a recommender with weights that came from float16.
        first: how many numbers of other models come before.
    """
    tensors, parts = {}, []
    for key, tensor in model.state_dict().items():
        if not tensor.is_floating_point():
            continue  # the semantic IDs, which all models share
        half = tensor.half()
        if not torch.equal(half.float(), tensor):
            raise ValueError(f"tensor {key!r} of {name} is not float16; ship it with half=True")
        tensors[key] = {"shape": list(tensor.shape), "first": first}
        parts.append(half.numpy().astype("<f2").tobytes())
        first += half.numel()
    return tensors, b"".join(parts)


def _items(dataset: Dataset) -> dict[str, list]:
    """Return names, numbers of ratings and genres of all items: bit g is the genre number g."""
    texts = dataset.items["genres"]
    genres = sorted({genre for text in texts for genre in text.split("|")} - {""})
    bits = [sum(1 << genres.index(genre) for genre in text.split("|") if genre) for text in texts]
    ratings = np.bincount(dataset.interactions["item"], minlength=dataset.num_items).tolist()
    return {"names": dataset.titles, "ratings": ratings, "genres": genres, "genreBits": bits}


def _as_text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
