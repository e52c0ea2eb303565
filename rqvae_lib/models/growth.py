"""A trained recommender on a catalogue that has grown, without training it again.

The weights stay. What depends on the catalogue is made again or mapped from the old one:

- the IDs, and the trie of their prefixes, are those of the grown catalogue;
- a disambiguation code above all old ones starts with the vector and the bias of the highest old
  one, which also names the last item of a crowded prefix;
- the RQ-Transformer's vector of a prefix moves to the prefix's new place, and a prefix that has
  siblings only now starts with zeros. It has the vector of its last code and nothing else. With
  zeros, an old item is read exactly as before, even if it just got its first sibling.

So the model reads every old history as before. Where it chooses among the same codes as before, old
items keep their probabilities; where a new item adds a choice, the old ones share what it leaves
them, in their old proportions. A code-sequence model that was trained without `valid_only` divides
by all codes, whether they lead to an item or not. For it, old items lose nothing unless there is a
new disambiguation code.

Derived in: chapter 13.
"""

import torch
from torch import Tensor

from rqvae_lib.models.base import Recommender
from rqvae_lib.models.registry import new_recommender
from rqvae_lib.models.rq_transformer import RQTransformer
from rqvae_lib.ops.torch_settings import own_settings
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.newcomers import check_grown


@own_settings
def extend_catalogue(model: Recommender, ids: SemanticIDs) -> Recommender:
    """Return a recommender with the same weights that recommends from a grown catalogue.

    It can generate the ID of every new item. How good its guess is depends on what it knows of the
    item's codes; `semantic_ids.newcomers` says that for each item. Nothing is trained.

    Args:
        model: a generative recommender. It is not changed.
        ids: its catalogue, grown by `SemanticIDs.with_new_items`.

    Returns:
        A new model on the same device and in the same mode. Without new items, its weights and
        scores equal those of `model`.

    Raises:
        ValueError: if the model has no semantic IDs, such as a SASRec, or if `ids` is not its
            catalogue with items added at the end.
    """
    if not isinstance(model, Recommender):
        raise ValueError(
            f"a {type(model).__name__} cannot recommend new items: it has a number or a vector for "
            "each item, and none for an item that it was not trained on; train it again, or extend "
            "a recommender with semantic IDs"
        )
    check_grown(model.ids, ids)
    with torch.device("meta"):  # no memory yet, and no draw from the caller's random numbers
        grown = new_recommender(model.config, ids)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    device = state["semantic_ids"].device
    state["semantic_ids"] = ids.ids.to(device)
    more = ids.sizes[-1] - model.sizes[-1]  # the last codes of the table are the disambiguation's
    for name in ("code_embedding.weight", "bias"):
        if name in state:
            state[name] = torch.cat([state[name], *[state[name][-1:]] * more])
    name = "prefix_embedding.weight"
    if name in state and isinstance(model, RQTransformer) and isinstance(grown, RQTransformer):
        state[name] = _moved_rows(model, grown, state[name])
    grown.load_state_dict(state, assign=True)
    return grown.to(device).train(model.training)


def _moved_rows(model: RQTransformer, grown: RQTransformer, old: Tensor) -> Tensor:
    """Return the vectors of the grown catalogue's prefixes, (P' + 1, D), from the old (P + 1, D).

    A prefix is known by an item that has it, since the old items are the first of the new ones.
    """
    vectors = old.new_zeros(sum(grown.num_prefixes) + 1, old.shape[1])
    before = model.prefix_rows  # (N, L)
    after = grown.prefix_rows[: len(before)].to(before.device)  # (N, L)
    has_vector = before < sum(model.num_prefixes)
    vectors[after[has_vector]] = old[before[has_vector]]
    return vectors
