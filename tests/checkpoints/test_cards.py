"""What a card says of a model, and what is refused because of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rqvae_lib.checkpoints.cards import (
    card_of,
    check_data,
    check_items,
    check_split,
    check_text,
    said_by,
)
from rqvae_lib.checkpoints.models import (
    load_model,
    load_rqvae,
    save_recommender,
    save_rqvae,
    save_sasrec,
)
from rqvae_lib.data.splits import global_timestamp, leave_last_out, leave_one_out
from rqvae_lib.embeddings.item_vectors import ItemVectors
from rqvae_lib.io.tensor_files import tensors_sha256
from rqvae_lib.models.base import Recommender
from rqvae_lib.models.configs import DecoderOnlyConfig, SASRecConfig, TransformerConfig
from rqvae_lib.models.decoder_only import DecoderOnly
from rqvae_lib.models.sasrec import SASRec
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from tests.checkpoints.test_models import new_decoder, new_rqvae
from tests.helpers import small_dataset

DATASET = small_dataset()
OTHER = small_dataset(lambda items: items[::-1])  # the same items, met in another order
TEXTS, CHOSEN = torch.arange(180.0).view(90, 2), torch.ones(90, 3)
DATA = {"dataset": "small", "data": DATASET.checksum, "items": DATASET.items_checksum}
TORCH = {"torch": torch.__version__}


def vectors(content: Any) -> ItemVectors:
    parts = {"text": [TEXTS], "collaborative": [CHOSEN], "both": [TEXTS, CHOSEN]}[content]
    text = TEXTS if content != "collaborative" else None
    split = "last-ten" if content != "text" else None
    return ItemVectors(torch.cat(parts, 1), content, text, split)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"dataset": None}, {}),
        ({"dataset": DATASET}, DATA),
        ({"dataset": DATASET, "split": leave_one_out(DATASET)}, DATA | {"split": "leave-one-out"}),
        ({"dataset": None, "split": leave_last_out(DATASET, 3)}, {"split": "last-3"}),
        (
            {"dataset": None, "split": global_timestamp(DATASET, train_share=0.6)},
            {"split": "timestamp-0.6-0.1"},
        ),
        (
            {"dataset": None, "vectors": vectors("text")},
            {"content": "text", "text_embeddings": tensors_sha256(TEXTS)},
        ),
        (
            {"dataset": None, "vectors": vectors("collaborative")},
            {"content": "collaborative", "text_embeddings": "", "split": "last-ten"},
        ),
        (
            {"dataset": DATASET, "vectors": vectors("both"), "more": {"seed": 3}},
            DATA
            | {"content": "both", "text_embeddings": tensors_sha256(TEXTS), "split": "last-ten"}
            | {"seed": 3},
        ),
    ],
)
def test_a_card_says_what_a_model_was_made_from(
    given: dict[str, Any], says: dict[str, Any]
) -> None:
    assert card_of(**given) == TORCH | says


def own_recommender() -> Recommender:
    """A recommender of as many items as the dataset has."""
    ids = SemanticIDs(torch.arange(90)[:, None] % 30, 30)
    return DecoderOnly(DecoderOnlyConfig(TransformerConfig(8, 1, 2, 8), max_items=5), ids)


def test_what_saves_a_model_writes_its_card(tmp_path: Path) -> None:
    path, split = tmp_path / "model", leave_one_out(DATASET)
    save_rqvae(path, new_rqvae(), DATASET, vectors("both"), seed=1, metrics={"loss": 0.5})
    expected = card_of(DATASET, vectors=vectors("both"), more={"seed": 1, "metrics": {"loss": 0.5}})
    assert load_rqvae(path)[1] == expected
    save_rqvae(path, new_rqvae(), DATASET, TEXTS)  # a tensor is what was made of texts
    assert load_rqvae(path)[1] == card_of(DATASET, vectors=vectors("text"))
    save_recommender(path, own_recommender(), DATASET, split, half=True, note="é")
    assert load_model(path)[1] == card_of(DATASET, split=split, more={"note": "é"})


def test_a_model_is_saved_as_one_of_its_own_dataset_only(tmp_path: Path) -> None:
    """A card may not say what is not so; and nothing is written then."""
    path = tmp_path / "model"
    sasrec = SASRec(SASRecConfig(TransformerConfig(8, 1, 2, 8), num_items=30))
    grown = replace(leave_one_out(DATASET), num_items=91)
    for save, what in (
        (lambda: save_recommender(path, new_decoder(), DATASET), "model has 30 items"),
        (lambda: save_recommender(path, own_recommender(), DATASET, grown), "split has 91 items"),
        (lambda: save_sasrec(path, sasrec, DATASET), "model has 30 items"),
        (lambda: save_rqvae(path, new_rqvae(), DATASET, TEXTS[:9]), "vectors has 9 items"),
    ):
        with pytest.raises(ValueError, match=f"the {what}, but small has 90: pass the dataset"):
            save()
    with pytest.raises(ValueError, match="the card's 'data' follows from what the model was"):
        save_recommender(path, own_recommender(), DATASET, data="other")
    assert not list(tmp_path.iterdir())


def test_a_model_is_used_on_its_data_only() -> None:
    card = card_of(DATASET)
    check_data("m.safetensors", card, DATASET)
    check_items("m.safetensors", card, DATASET)
    check_items("m.safetensors", card, OTHER)  # of items nothing has changed
    with pytest.raises(ValueError, match=r"m\.safetensors was trained on other data"):
        check_data("m.safetensors", card, OTHER)
    with pytest.raises(ValueError, match=r"the tokenizer was trained for other items \(abc\)"):
        check_items("the tokenizer", card | {"items": "abc"}, DATASET)


def test_an_older_model_without_its_items_is_known_by_its_data() -> None:
    card = card_of(DATASET)
    del card["items"]
    check_items("m.safetensors", card, DATASET)
    with pytest.raises(ValueError, match=r"m\.safetensors was trained on other data"):
        check_items("m.safetensors", card, OTHER)


@pytest.mark.parametrize("check", [check_data, check_items])
def test_a_model_that_does_not_name_its_data_is_refused(check: Any) -> None:
    with pytest.raises(ValueError, match=r"m.safetensors has no 'data' on its card.*save_rqvae\("):
        check("m.safetensors", card_of(None), DATASET)


def test_a_tokenizer_is_used_on_its_text_embeddings_only() -> None:
    card = card_of(DATASET, vectors=vectors("both"))
    check_text(card, vectors("both"), "e.safetensors")
    check_text(card_of(DATASET, vectors=vectors("collaborative")), vectors("collaborative"), None)
    other = ItemVectors(TEXTS + 1, "text", TEXTS + 1)
    for file, named in (("e.safetensors", "e.safetensors"), (None, "the shipped ones")):
        with pytest.raises(ValueError, match=rf"other text embeddings .* than {named} \("):
            check_text(card, other, file)


def test_a_model_is_evaluated_on_its_split_only() -> None:
    card = card_of(DATASET, split=leave_one_out(DATASET))
    check_split("m.safetensors", card, "leave-one-out")
    with pytest.raises(ValueError, match="targets of 'timestamp': pass --split leave-one-out, or"):
        check_split("m.safetensors", card, "timestamp")
    card = card_of(DATASET, split=leave_last_out(DATASET, 2))
    check_split("m.safetensors", card, "last-2")
    with pytest.raises(ValueError, match="evaluate it on its own split from Python, or train one"):
        check_split("m.safetensors", card, "timestamp")
    with pytest.raises(ValueError, match=r"m\.safetensors has no 'split' on its card"):
        check_split("m.safetensors", card_of(DATASET), "timestamp")


def test_what_a_card_says_is_text() -> None:
    """A card comes from a file, which may say anything."""
    assert said_by({"split": 5}, "split", "m") == "5"
    with pytest.raises(ValueError, match="m has no 'split' on its card"):
        said_by({}, "split", "m")
