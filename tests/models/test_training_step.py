"""Twenty training steps against the plain formulas: whole tables of logits, and autograd alone."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rqvae_lib.models import decoder_only, rq_transformer, sasrec, transformer
from rqvae_lib.models.base import Recommender
from rqvae_lib.models.configs import (
    DecoderOnlyConfig,
    EncoderDecoderConfig,
    RQTransformerConfig,
    SASRecConfig,
    TransformerConfig,
)
from rqvae_lib.models.registry import new_recommender
from rqvae_lib.models.sasrec import SASRec
from rqvae_lib.semantic_ids.catalogue import SemanticIDs

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = TransformerConfig(dim=16, num_layers=2, num_heads=2, mlp_dim=32)
CONFIGS = {
    "SASRec": SASRecConfig(SIZE, max_items=8, num_items=300),
    "RQ-Transformer": RQTransformerConfig(SIZE, max_items=8),
    "RQ-Transformer, codes only": RQTransformerConfig(SIZE, max_items=8, prefix_embeddings=False),
    "decoder-only": DecoderOnlyConfig(SIZE, max_items=8),
    "decoder-only, valid codes only": DecoderOnlyConfig(SIZE, max_items=8, valid_only=True),
    "encoder-decoder": EncoderDecoderConfig(SIZE, max_items=8),
}


def plain_linear(contexts: Tensor, vectors: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    return F.cross_entropy(F.linear(contexts, vectors, bias), targets, reduction="sum")


def plain_grouped(
    contexts: Tensor, vectors: Tensor, bias: Tensor | None, targets: Tensor, *groups: Tensor
) -> Tensor:
    group, first = groups
    of_class = torch.repeat_interleave(first.diff())
    logits = F.linear(contexts, vectors, bias)
    logits = logits.masked_fill(of_class != group[:, None], -torch.inf)
    return F.cross_entropy(logits, targets, reduction="sum")


def plain_mlp(x: Tensor, norm: nn.LayerNorm, mlp: nn.Sequential) -> Tensor:
    result: Tensor = mlp(norm(x))
    return result


def plain_sums(table: Tensor, rows: Tensor, padding: int | None = None) -> Tensor:
    return F.embedding(rows, table, padding_idx=padding).sum(-2)


PLAIN: list[tuple[object, str, Callable[..., Tensor]]] = [
    (sasrec, "linear_cross_entropy", plain_linear),
    (decoder_only, "linear_cross_entropy", plain_linear),
    (decoder_only, "grouped_cross_entropy", plain_grouped),
    (rq_transformer, "grouped_cross_entropy", plain_grouped),
    (rq_transformer, "row_sums", plain_sums),
    (transformer, "residual_mlp", plain_mlp),
]


def losses(name: str) -> list[float]:
    """The losses of twenty steps of AdamW, with dropout, on windows of different lengths."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(8, (300, 2), generator=generator)
    codes[:40] = codes[0]  # a crowd
    torch.manual_seed(0)
    config = CONFIGS[name]
    model: Recommender | SASRec
    if isinstance(config, SASRecConfig):
        model = SASRec(config)
    else:
        model = new_recommender(config, SemanticIDs(codes, 8))
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    found = []
    for _ in range(20):
        items = torch.randint(300, (16, 8), generator=generator)
        lengths = torch.randint(1, 9, (16, 1), generator=generator)
        loss = model.loss(items.masked_fill(torch.arange(8) >= lengths, -1))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        found.append(loss.item())
    return found


@pytest.mark.parametrize("name", CONFIGS)
def test_twenty_steps_have_the_losses_of_the_plain_formulas(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = losses(name)
    for module, function, plain in PLAIN:
        monkeypatch.setattr(module, function, plain)
    expected = losses(name)
    assert found == pytest.approx(expected, rel=1e-5)
    assert found[-1] < found[0]
