"""The RQ-VAE's loss, standardisation and assignment, each against a computation by hand."""

import math

import pytest
import torch
from torch import Tensor, nn

from rqvae_lib.quantize import ResidualQuantizer
from rqvae_lib.rqvae import RQVAE, RQVAEConfig, mlp

CONFIG = RQVAEConfig(input_dim=6, hidden_dims=(8,), latent_dim=4, num_levels=2, codebook_size=5)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def embeddings(num: int = 40, dim: int = 6, seed: int = 1) -> Tensor:
    scale = torch.arange(1, dim + 1)
    return torch.randn(num, dim, generator=seeded(seed)) * scale + 10 * scale


def fitted(config: RQVAEConfig = CONFIG, x: Tensor | None = None) -> RQVAE:
    torch.manual_seed(0)
    model = RQVAE(config)
    model.fit_to_data(embeddings() if x is None else x, generator=seeded())
    return model.eval()


def test_the_encoder_has_the_widths_asked_for_and_the_decoder_mirrors_them() -> None:
    model = RQVAE(RQVAEConfig())  # TIGER: 512-256-128, latent 32
    widths = [(m.in_features, m.out_features) for m in model.encoder if isinstance(m, nn.Linear)]
    assert widths == [(384, 512), (512, 256), (256, 128), (128, 32)]
    mirrored = [(m.in_features, m.out_features) for m in model.decoder if isinstance(m, nn.Linear)]
    assert mirrored == [(b, a) for a, b in reversed(widths)]
    kinds = [type(m) for m in mlp((3, 4, 5, 2))]
    assert kinds == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert [type(m) for m in mlp((3, 2))] == [nn.Linear]


def test_loss_by_hand() -> None:
    x, model = embeddings(), fitted()
    with torch.no_grad():
        output = model(x)
        standard = (x - x.mean(0)) / x.std(0, correction=0)
        latents = model.encoder(standard)
        codes, vectors, commitment = model.quantizer(latents)
        rebuilt = model.decoder(vectors)
    reconstruction = sum(
        float((a - b).square().sum()) for a, b in zip(rebuilt, standard, strict=True)
    )
    by_hand = reconstruction / 40
    assert float(output.reconstruction_loss) == pytest.approx(by_hand, rel=1e-4)
    assert float(output.quantization_loss) == pytest.approx(float(commitment.sum()) / 40, rel=1e-5)
    assert float(output.loss) == pytest.approx(
        float(output.reconstruction_loss) + float(output.quantization_loss)
    )
    assert torch.equal(output.codes, codes)
    torch.testing.assert_close(
        output.reconstruction, rebuilt * x.std(0, correction=0) + x.mean(0), rtol=1e-4, atol=1e-4
    )


def test_the_encoder_learns_as_if_nothing_were_quantized() -> None:
    """The reconstruction gradient that reaches the encoder is the decoder's, exactly once."""
    x, model = embeddings(), fitted()
    model.zero_grad()
    model(x).reconstruction_loss.backward()
    through = [p.grad.clone() for p in model.encoder.parameters()]
    model.zero_grad()
    standard = model.standardize(x)
    latents = model.encoder(standard)
    vectors = model.quantizer(latents).vectors.detach().requires_grad_()
    (model.decoder(vectors) - standard).square().sum(1).mean().backward()
    latents.backward(vectors.grad)
    for ours, parameter in zip(through, model.encoder.parameters(), strict=True):
        torch.testing.assert_close(ours, parameter.grad)
        assert parameter.grad.abs().sum() > 0


def test_standardisation_and_a_feature_that_never_varies() -> None:
    x = embeddings()
    x[:, 2] = 7.5
    model = fitted(x=x)
    standard = model.standardize(x)
    varying = [0, 1, 3, 4, 5]
    torch.testing.assert_close(standard.mean(0), torch.zeros(6), rtol=0, atol=1e-4)
    torch.testing.assert_close(standard[:, varying].std(0, correction=0), torch.ones(5))
    assert torch.equal(standard[:, 2], torch.zeros(40))
    assert model.std[2] == 1
    assert model(x).loss.isfinite()


def test_assign_equals_the_codes_of_the_latents_in_one_go() -> None:
    x = embeddings(1100)  # more than one block of rows
    model = fitted(x=x)
    with torch.no_grad():
        latents = model.encoder((x - model.mean) / model.std)
        torch.testing.assert_close(model.encode(x), latents, rtol=1e-4, atol=1e-5)
        expected = model.quantizer.encode(latents)
    assert torch.equal(model.assign(x), expected)
    assert torch.equal(model(x).codes, expected)


def test_codebooks_start_at_the_k_means_of_the_latents() -> None:
    x, model = embeddings(), fitted()
    expected = ResidualQuantizer(2, 5, 4)
    expected.init_codebooks(model.encode(x), generator=seeded())
    assert torch.equal(model.quantizer.codebooks, expected.codebooks)
    assert model.quantizer.initialized


def test_reconstruction_error_is_the_share_of_variance_lost() -> None:
    x, model = embeddings(), fitted()
    with torch.no_grad():
        rebuilt = model(x).reconstruction
    lost = ((rebuilt - x) / x.std(0, correction=0)).square().sum()
    # Standardised, each of the 6 features has variance 1 over the 40 rows.
    assert model.reconstruction_error(x) == pytest.approx(float(lost) / 240, rel=1e-3)


@pytest.mark.parametrize("shape", [(3, 5), (3, 7), (6,), (3, 6, 1)])
def test_another_width_is_refused_everywhere(shape: tuple[int, ...]) -> None:
    model, wrong = fitted(), torch.zeros(shape)
    for read in (
        model,
        model.encode,
        model.assign,
        model.reconstruction_error,
        lambda x: model.fit_to_data(x, generator=seeded()),
    ):
        with pytest.raises(ValueError, match="reads rows of 6 numbers"):
            read(wrong)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_refused_and_its_row_named(bad: float) -> None:
    x, model = embeddings(), fitted()
    x[11, 3] = bad
    for read in (
        model.encode,
        model.assign,
        model.reconstruction_error,
        lambda x: model.fit_to_data(x, generator=seeded()),
    ):
        with pytest.raises(ValueError, match="row 11 of embeddings holds a NaN"):
            read(x)


def test_fewer_items_than_codewords_are_refused() -> None:
    with pytest.raises(ValueError, match="5 clusters were asked of 4 rows"):
        fitted(x=embeddings(4))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("input_dim", 0),
        ("latent_dim", 0),
        ("num_levels", -1),
        ("codebook_size", 0),
        ("hidden_dims", (8, 0)),
        ("ema_decay", 1.0),
        ("ema_decay", -0.1),
        ("dead_after", 0),
        ("commitment_weight", -0.5),
        ("commitment_weight", math.nan),
    ],
)
def test_an_impossible_configuration_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} is"):
        RQVAEConfig(**{name: value})


def test_a_list_of_widths_becomes_a_tuple() -> None:
    assert RQVAEConfig(hidden_dims=[3, 2]).hidden_dims == (3, 2)
    assert RQVAEConfig(hidden_dims=()).hidden_dims == ()
