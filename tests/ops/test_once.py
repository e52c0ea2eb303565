"""First derivatives as ever; a second one is an error, also where torch alone would say nothing.

So is a transform of torch.func, which cannot see into what is computed in blocks.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from rqvae_lib.models.configs import CONFIGS, SASRecConfig, TransformerConfig
from rqvae_lib.models.registry import new_recommender
from rqvae_lib.models.sasrec import SASRec
from rqvae_lib.ops.cross_entropy import grouped_cross_entropy, linear_cross_entropy
from rqvae_lib.ops.residual_mlp import residual_mlp
from rqvae_lib.semantic_ids.catalogue import SemanticIDs


def dense(x: Tensor) -> Tensor:
    return linear_cross_entropy(x, torch.eye(6, dtype=x.dtype), None, torch.arange(4))


def grouped(x: Tensor) -> Tensor:
    targets, first = torch.tensor([0, 1, 4, 5]), torch.tensor([0, 2, 6])
    group = torch.tensor([0, 0, 1, 1])
    return grouped_cross_entropy(x, torch.eye(6, dtype=x.dtype), None, targets, group, first)


def mlp(x: Tensor) -> Tensor:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 6)).to(x.dtype)
    return residual_mlp(x, nn.LayerNorm(6, dtype=x.dtype), network).sum()


@pytest.mark.parametrize("function", [dense, grouped, mlp])
def test_only_the_first_derivative_exists(function: Callable[[Tensor], Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 6, dtype=torch.float64, generator=generator).requires_grad_()
    assert torch.autograd.gradcheck(function, x)
    [expected] = torch.autograd.grad(function(x), x)
    loss = function(x)
    [first] = torch.autograd.grad(loss, x, create_graph=True)
    assert torch.equal(first, expected)
    with pytest.raises(RuntimeError, match="cannot be differentiated again"):
        (loss + first.square().sum()).backward()


SMALL = TransformerConfig(dim=8, num_layers=1, num_heads=2, mlp_dim=8)
BATCH = torch.tensor([[0, 3, 2, 1], [4, 1, 5, 0]])


def model_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "sasrec":
        return SASRec(SASRecConfig(num_items=6, transformer=SMALL)).eval()
    codes = torch.tensor([[0, 0], [0, 0], [1, 0], [1, 1], [2, 2], [2, 2]])
    return new_recommender(CONFIGS[name](transformer=SMALL), SemanticIDs(codes, [3, 3])).eval()


@pytest.mark.parametrize("name", [*CONFIGS, "sasrec"])
def test_a_transformed_loss_is_refused_in_a_sentence_with_a_way_out(name: str) -> None:
    model = model_of(name)
    parameters = dict(model.named_parameters())

    def loss_of(weights: dict[str, Tensor], items: Tensor) -> Tensor:
        wrapped = Loss(model)
        named = {f"model.{key}": value for key, value in weights.items()}
        return torch.func.functional_call(wrapped, named, (items,))

    for transformed in (
        torch.func.grad(loss_of),
        torch.func.vmap(torch.func.grad(loss_of), in_dims=(None, 0)),
        torch.func.jacrev(loss_of),
    ):
        with pytest.raises(RuntimeError, match=r"one row of the batch at a time"):
            transformed(parameters, BATCH[:, None] if "vmap" in str(transformed) else BATCH)
    # The way out that the sentence names. All rows are equally long, so their mean is the batch's.
    learned = list(model.parameters())
    of_rows = [
        torch.autograd.grad(model.loss(row[None]), learned, allow_unused=True) for row in BATCH
    ]
    of_batch = torch.autograd.grad(model.loss(BATCH), learned, allow_unused=True)
    for one, other, both in zip(*of_rows, of_batch, strict=True):
        if both is not None:
            torch.testing.assert_close((one + other) / 2, both, rtol=1e-4, atol=1e-6)


class Loss(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, items: Tensor) -> Tensor:
        return self.model.loss(items)  # type: ignore[no-any-return,operator]
