"""A tokenizer that leaves Python gives the codes that it gave before, or says that it cannot."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from rqvae_lib.checkpoints.models import load_rqvae
from rqvae_lib.embeddings.text import load_embeddings
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.rqvae import RQVAE, Coder
from rqvae_lib.training.recipes import new_rqvae

SIZES = (1, 2, 7, 1000, 1025)  # rows: fewer than were recorded, as many, more, more than a block
SMALL = RQVAEConfig(384, (16,), 8, codebook_size=16)
CONFIGS = {
    "rotation": RQVAEConfig(384, (16,), 8, codebook_size=16, estimator="rotation"),
    "gumbel": RQVAEConfig(384, (16,), 8, codebook_size=16, estimator="gumbel", learning="gradient"),
    "residual k-means": RQVAEConfig.residual_kmeans(384, codebook_size=16),
}


@pytest.fixture(scope="module", params=["shipped", *CONFIGS])
def model(request: pytest.FixtureRequest) -> RQVAE:
    if request.param == "shipped":
        return load_rqvae("movielens-small-2016")[0]
    return new_rqvae(load_embeddings()[:300], CONFIGS[request.param], seed=0)


def recorded(module: nn.Module, example: Tensor, how: str) -> Callable[[Tensor], object]:
    if how == "trace":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is deprecated, and warns of checks of shapes
            traced: Callable[[Tensor], object] = torch.jit.trace(module, (example,))
        return traced
    rows = {0: torch.export.Dim("rows")}
    strict = how == "strict export"
    return torch.export.export(module, (example,), dynamic_shapes=(rows,), strict=strict).module()


@pytest.mark.parametrize("how", ["export", "strict export", "trace"])
def test_a_recorded_coder_gives_the_codes_of_assign(model: RQVAE, how: str) -> None:
    x = load_embeddings()[-max(SIZES) :]  # not the rows that are recorded
    run = recorded(Coder(model), load_embeddings()[:7], how)
    expected = model.assign(x)
    for size in SIZES:
        found = run(x[:size])
        assert isinstance(found, Tensor)
        assert found.dtype == torch.int64
        assert torch.equal(found, expected[:size]), size
    assert len(expected.unique()) > 10  # it is no constant


@pytest.mark.parametrize("how", ["export", "trace"])
def test_so_does_a_recorded_rqvae(model: RQVAE, how: str) -> None:
    x = load_embeddings()[-1000:]
    run = recorded(model, load_embeddings()[:7], how)
    expected = model(x)
    found = run(x)
    assert isinstance(found, tuple)
    for name, one, other in zip(expected._fields, found, expected, strict=True):
        if name == "codes":
            assert torch.equal(one, other)
        else:
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("method", ["assign", "encode", "tokenize"])
@pytest.mark.parametrize("how", ["export", "trace"])
def test_a_method_that_works_in_blocks_cannot_be_recorded(how: str, method: str) -> None:
    model = new_rqvae(load_embeddings()[:300], SMALL, seed=0)

    class Wrong(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rqvae = model

        def forward(self, x: Tensor) -> Tensor:
            found = getattr(self.rqvae, method)(x)
            return found if isinstance(found, Tensor) else found.ids

    with pytest.raises(RuntimeError, match=rf"RQVAE\.{method} .* export or trace Coder"):
        recorded(Wrong(), load_embeddings()[:7], how)


@pytest.mark.parametrize("how", ["export", "trace"])
def test_training_cannot_be_recorded(how: str) -> None:
    training = new_rqvae(load_embeddings()[:300], SMALL, seed=0).train()
    with pytest.raises(RuntimeError, match=r"call \.eval\(\) first"):
        recorded(training, load_embeddings()[:7], how)


def test_a_coder_of_a_model_that_never_saw_a_catalogue_is_refused() -> None:
    with pytest.raises(ValueError, match="has never seen a catalogue"):
        Coder(RQVAE(SMALL))


def test_torch_func_sees_what_autograd_sees() -> None:
    """The gradient by the input, of each row and of all at once, and no gradient in training."""
    x = load_embeddings()[:7]
    model = new_rqvae(load_embeddings()[:300], SMALL, seed=0)

    def loss_of(rows: Tensor) -> Tensor:
        loss: Tensor = model(rows).loss
        return loss

    known = x.clone().requires_grad_()
    [expected] = torch.autograd.grad(loss_of(known), known)
    torch.testing.assert_close(torch.func.grad(loss_of)(x), expected, rtol=1e-4, atol=1e-6)
    of_rows = torch.vmap(torch.func.grad(lambda row: loss_of(row[None])))(x)
    torch.testing.assert_close(of_rows / len(x), expected, rtol=1e-4, atol=1e-6)
    codes = torch.vmap(lambda row: model(row[None]).codes[0])(x)
    assert torch.equal(codes, model.assign(x))
    with pytest.raises(RuntimeError, match=r"call \.eval\(\) first"):
        torch.func.grad(lambda rows: model.train()(rows).loss)(x)
