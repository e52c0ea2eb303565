"""The RQ-VAE's loss, standardization and assignment, each against a computation by hand."""

import math
from dataclasses import fields, replace

import pytest
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn

from rqvae_lib.ops.kmeans import kmeans, kmeans_plus_plus, nearest
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.quantizer import ResidualQuantizer
from rqvae_lib.tokenizer.rqvae import RQVAE, mlp

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


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("num_levels", [1, 2, 5])
@pytest.mark.parametrize("learning", ["average", "gradient"])
def test_the_encoder_learns_as_if_nothing_were_quantized(
    learning: str, num_levels: int, training: bool
) -> None:
    """The reconstruction gradient that reaches the encoder is the decoder's, exactly once."""
    config = replace(CONFIG, num_levels=num_levels, learning=learning, dead_after=0)
    x, model = embeddings(), fitted(config).train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.zero_grad()
    model(x).reconstruction_loss.backward()
    through = [p.grad.clone() for p in model.encoder.parameters()]
    assert model.quantizer.codebooks.grad is None
    model.zero_grad()
    model.load_state_dict(before)
    standard = model.standardize(x)
    latents = model.encoder(standard)
    vectors = model.quantizer(latents).vectors.detach().requires_grad_()
    (model.decoder(vectors) - standard).square().sum(1).mean().backward()
    latents.backward(vectors.grad)
    for ours, parameter in zip(through, model.encoder.parameters(), strict=True):
        torch.testing.assert_close(ours, parameter.grad)
        assert parameter.grad.abs().sum() > 0


def test_standardization_and_a_feature_that_never_varies() -> None:
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


@pytest.mark.parametrize("num_levels", [1, 3])
@pytest.mark.parametrize("hidden_dims", [(8,), None])  # an RQ-VAE, and residual k-means
def test_tokenize_gives_the_catalogue_of_the_codes(
    num_levels: int, hidden_dims: tuple[int, ...] | None
) -> None:
    config = RQVAEConfig(6, hidden_dims, 6, num_levels=num_levels, codebook_size=5)
    x = torch.cat([embeddings(), embeddings()[:7]])  # some items are the same
    model = fitted(config, x)
    assert model.sizes == (5,) * num_levels
    found, expected = model.tokenize(x), SemanticIDs(model.assign(x), model.sizes)
    assert isinstance(found, SemanticIDs)
    assert torch.equal(found.ids, expected.ids)
    assert found.sizes == expected.sizes == (*model.sizes, int(expected.ids[:, -1].max()) + 1)
    assert found.sha256 == expected.sha256
    assert found.ids[:7, :-1].tolist() == found.ids[40:, :-1].tolist()
    assert (found.ids[40:, -1] > found.ids[:7, -1]).all()


def test_tokenize_refuses_what_assign_refuses() -> None:
    with pytest.raises(ValueError, match="never seen a catalogue"):
        RQVAE(CONFIG).tokenize(embeddings())
    with pytest.raises(ValueError, match="reads rows of 6 numbers"):
        fitted().tokenize(embeddings(dim=5))
    with pytest.raises(ValueError, match="row 3 of embeddings holds a NaN"):
        fitted().tokenize(embeddings().index_fill(0, torch.tensor([3]), math.nan))


def test_codebooks_start_at_the_k_means_of_the_latents() -> None:
    x, model = embeddings(), fitted()
    expected = ResidualQuantizer(2, 5, 4)
    expected.init_codebooks(model.encode(x), generator=seeded())
    assert torch.equal(model.quantizer.codebooks, expected.codebooks)
    assert model.quantizer.initialized


@pytest.mark.parametrize("num_codes", [0, 1, 2])
def test_variance_lost_by_hand_for_all_codes_and_for_prefixes(num_codes: int) -> None:
    x = embeddings(1100)  # more than one block of rows
    model = fitted(x=x)
    codes = model.assign(x)[:, :num_codes]
    mean, std = x.double().mean(0), x.double().std(0, correction=0)
    latents = torch.zeros(1100, 4)
    for row, row_codes in enumerate(codes.tolist()):
        for level, code in enumerate(row_codes):
            latents[row] += model.quantizer.codebooks[level, code]
    rebuilt = model.decoder(latents).detach().double()
    lost = float((rebuilt - (x.double() - mean) / std).square().sum())
    # Standardised, each of the 6 features has variance 1 over the 1100 rows.
    assert model.variance_lost(x, codes) == pytest.approx(lost / (6 * 1100), rel=1e-4)


def test_variance_lost_is_zero_when_perfect_and_one_for_the_mean_of_all() -> None:
    x = embeddings(5)
    model = fitted(RQVAEConfig.residual_kmeans(6, num_levels=1, codebook_size=5), x)
    assert model.variance_lost(x, model.assign(x)) == pytest.approx(0, abs=1e-9)
    assert model.variance_lost(x, model.assign(x)[:, :0]) == pytest.approx(1, rel=1e-5)
    assert model.variance_lost(x[:0], model.assign(x[:0])) == 0


@pytest.mark.parametrize("shape", [(3, 5), (3, 7), (6,), (3, 6, 1)])
def test_another_width_is_refused_everywhere(shape: tuple[int, ...]) -> None:
    model, wrong = fitted(), torch.zeros(shape)
    for read in (
        model,
        model.encode,
        model.assign,
        model.autoencoder_loss,
        lambda x: model.variance_lost(x, torch.zeros(3, 2, dtype=torch.int64)),
        lambda x: model.init_codebooks(x, generator=seeded()),
        lambda x: model.fit_to_data(x, generator=seeded()),
    ):
        with pytest.raises(ValueError, match=r"reads rows of 6|is one vector|expected a matrix"):
            read(wrong)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_refused_and_its_row_named(bad: float) -> None:
    x, model = embeddings(), fitted()
    x[11, 3] = bad
    for read in (
        model.encode,
        model.assign,
        lambda x: model.init_codebooks(x, generator=seeded()),
        lambda x: model.fit_to_data(x, generator=seeded()),
    ):
        with pytest.raises(ValueError, match="row 11 of embeddings holds a NaN"):
            read(x)


def test_a_bad_row_of_a_later_block_is_named_by_its_place_in_the_catalogue() -> None:
    x, model = embeddings(2500), fitted()
    x[2100, 3], x[2200, 0] = math.inf, -math.inf  # their sum is NaN, not infinite
    for read in (model.encode, model.assign):
        with pytest.raises(ValueError, match=r"row 2100 of embeddings holds a NaN.*2 such rows"):
            read(x)


def test_large_finite_numbers_whose_sum_is_not_are_no_mistake() -> None:
    x, model = embeddings(), fitted()
    x[:, 0] = 3e38
    assert not x.sum().isfinite()
    assert model.encode(x).shape == (40, 4)


def test_fewer_items_than_codewords_are_refused() -> None:
    with pytest.raises(ValueError, match="4 items cannot fill codebooks of 5"):
        fitted(x=embeddings(4))
    model = fitted()
    with pytest.raises(ValueError, match="num_clusters is 5, but x has 3 rows"):
        model.init_codebooks(embeddings(3), generator=seeded())


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
        ("dead_after", -1),
        ("estimator", "sideways"),
        ("learning", "osmosis"),
        ("temperature", 0.0),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("final_temperature", 0.0),
        ("final_temperature", 1.5),  # above the first
        ("temperature_decay", 0.0),
        ("temperature_decay", 1.1),
        ("commitment_weight", -0.5),
        ("commitment_weight", math.nan),
    ],
)
def test_an_impossible_configuration_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} {value}|{name} is"):
        RQVAEConfig(**{name: value})


def test_the_limits_of_a_configuration_are_allowed() -> None:
    config = RQVAEConfig(
        dead_after=0, ema_decay=0.0, commitment_weight=0.0, temperature_decay=1.0,
        temperature=0.2, final_temperature=0.2,
    )  # fmt: skip
    assert (config.dead_after, config.temperature_decay) == (0, 1.0)


def test_gumbel_softmax_needs_codewords_that_learn_by_gradient() -> None:
    with pytest.raises(ValueError, match="choose learning='gradient' with it"):
        RQVAEConfig(estimator="gumbel")
    assert RQVAEConfig(estimator="gumbel", learning="gradient").learning == "gradient"


def test_without_an_encoder_latents_are_as_wide_as_embeddings() -> None:
    with pytest.raises(ValueError, match=r"latent_dim is 32, .* must be input_dim, 384"):
        RQVAEConfig(hidden_dims=None)


def test_every_setting_reaches_the_quantizer() -> None:
    """Each differs from its default, so a setting that is dropped on the way shows."""
    config = RQVAEConfig(
        input_dim=6, hidden_dims=(8,), latent_dim=4, num_levels=2, codebook_size=5,
        commitment_weight=0.6, estimator="gumbel", learning="gradient", ema_decay=0.7,
        dead_after=3, temperature=2.0, final_temperature=0.3, temperature_decay=0.9,
    )  # fmt: skip
    for field in fields(RQVAEConfig):
        assert getattr(config, field.name) != field.default, field.name
    quantizer = RQVAE(config).quantizer
    assert quantizer.codebooks.shape == (2, 5, 4)
    for name in ("commitment_weight", "estimator", "learning", "ema_decay", "dead_after"):
        assert getattr(quantizer, name) == getattr(config, name), name
    assert float(quantizer.temperature) == 2.0
    assert (quantizer.final_temperature, quantizer.temperature_decay) == (0.3, 0.9)


def test_a_list_of_widths_becomes_a_tuple() -> None:
    assert RQVAEConfig(hidden_dims=[3, 2]).hidden_dims == (3, 2)
    assert RQVAEConfig(hidden_dims=()).hidden_dims == ()


# Before the quantizer: the autoencoder alone


def test_the_autoencoder_loss_and_its_gradient_leave_the_quantizer_out() -> None:
    x, model = embeddings(), fitted(replace(CONFIG, learning="gradient"))
    loss = model.autoencoder_loss(x)
    loss.backward()
    got = [p.grad.clone() for p in (*model.encoder.parameters(), *model.decoder.parameters())]
    assert model.quantizer.codebooks.grad is None
    model.zero_grad()
    standard = (x - x.mean(0)) / x.std(0, correction=0)
    layers = [model.encoder[0], model.encoder[2], model.decoder[0], model.decoder[2]]
    flow = standard
    for number, layer in enumerate(layers):
        flow = flow @ layer.weight.T + layer.bias
        if number in (0, 2):
            flow = flow.clamp(min=0)
    by_hand = sum((row**2).sum() for row in flow - standard) / 40
    by_hand.backward()
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-4)
    expected = [p.grad for p in (*model.encoder.parameters(), *model.decoder.parameters())]
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)
    assert all(part.abs().sum() > 0 for part in got)


# Starting the codebooks


def test_the_codebooks_start_on_the_whole_catalogue_in_one_pass() -> None:
    x = embeddings(2500)  # three blocks of rows
    model = fitted(x=x)
    with torch.no_grad():
        latents = model.encoder((x - x.mean(0)) / x.std(0, correction=0))
    generator, residual = seeded(), latents
    for level in range(2):
        expected = kmeans(residual, 5, generator=generator)
        torch.testing.assert_close(
            model.quantizer.codebooks[level], expected.centroids, rtol=1e-4, atol=1e-5
        )
        residual = residual - expected.centroids[expected.codes]


def test_codebooks_can_start_again_once_the_encoder_has_learned() -> None:
    x, model = embeddings(), fitted()
    mean, std = model.mean.clone(), model.std.clone()
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.mul_(1.5)
    model.init_codebooks(x, generator=seeded(3))
    expected = ResidualQuantizer(2, 5, 4)
    expected.init_codebooks(model.encode(x), generator=seeded(3))
    assert torch.equal(model.quantizer.codebooks, expected.codebooks)
    assert torch.equal(model.mean, mean)
    assert torch.equal(model.std, std)


def test_a_model_that_never_saw_a_catalogue_assigns_no_codes() -> None:
    model = RQVAE(CONFIG)
    for rows in (embeddings(), embeddings(0)):
        with pytest.raises(ValueError, match=r"never seen a catalogue.*fit_to_data"):
            model.assign(rows)
    model.fit_to_data(embeddings(), generator=seeded())
    other = RQVAE(CONFIG)
    other.load_state_dict(model.state_dict())  # a loaded one has seen it
    assert torch.equal(other.assign(embeddings()), model.assign(embeddings()))


# R-KMeans


def test_residual_k_means_equals_a_chain_of_scikit_learns() -> None:
    x = embeddings(600).double()
    config = RQVAEConfig.residual_kmeans(6, num_levels=3, codebook_size=8)
    model = RQVAE(config).double()
    model.fit_to_data(x, generator=seeded(2))
    generator = seeded(2)
    residual = (x - x.mean(0)) / x.std(0, correction=0)
    codes = []
    for level in range(3):
        center = residual.mean(0)
        start = kmeans_plus_plus(residual - center, 8, generator=generator, num_candidates=4)
        start = start + center
        theirs = KMeans(8, init=start.numpy(), n_init=1, max_iter=25, tol=0).fit(residual.numpy())
        centroids = torch.from_numpy(theirs.cluster_centers_)
        torch.testing.assert_close(model.quantizer.codebooks[level].detach(), centroids)
        codes.append(torch.from_numpy(theirs.labels_).long())
        residual = residual - centroids[codes[-1]]
    assert torch.equal(model.assign(x), torch.stack(codes, 1))
    lost = float(residual.square().sum()) / (6 * 600)
    assert model.variance_lost(x, model.assign(x)) == pytest.approx(lost)


def test_residual_k_means_has_no_network_and_rebuilds_in_the_units_of_the_input() -> None:
    config = RQVAEConfig.residual_kmeans(6, num_levels=2, codebook_size=7)
    assert (config.hidden_dims, config.latent_dim, config.input_dim) == (None, 6, 6)
    assert (config.num_levels, config.codebook_size) == (2, 7)
    assert RQVAEConfig.residual_kmeans(6).codebook_size == RQVAEConfig().codebook_size
    x = embeddings()
    model = fitted(config, x)
    assert [name for name, p in model.named_parameters() if p.requires_grad] == []
    assert torch.equal(model.encode(x), model.standardize(x))
    output = model(x)
    words = sum(model.quantizer.codebooks[level][output.codes[:, level]] for level in range(2))
    torch.testing.assert_close(
        output.reconstruction, words * x.std(0, correction=0) + x.mean(0), rtol=1e-4, atol=1e-4
    )


# Short numbers


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("estimator", "learning"),
    [("straight-through", "average"), ("rotation", "average"), ("rotation", "gradient")],
)
def test_the_quantizer_stays_in_float32_under_bf16_autocast(
    estimator: str, learning: str, training: bool
) -> None:
    config = RQVAEConfig(
        input_dim=6, hidden_dims=(8,), latent_dim=4, num_levels=3, codebook_size=64,
        estimator=estimator, learning=learning,
    )  # fmt: skip
    x = embeddings(500)
    model = fitted(config, x).train(training)
    books = model.quantizer.codebooks.detach().clone()
    seen = {}
    model.encoder.register_forward_hook(lambda _, __, out: seen.update(latents=out))
    model.decoder.register_forward_pre_hook(lambda _, args: seen.update(vectors=args[0]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(x)
    assert seen["latents"].dtype == torch.bfloat16  # the MLP alone was short
    assert seen["vectors"].dtype == torch.float32
    residual, codes = seen["latents"].detach().float(), []
    for book in books:
        codes.append(nearest(residual, book))
        residual = residual - book[codes[-1]]
    assert torch.equal(output.codes, torch.stack(codes, 1))
    exact = sum(book[level] for book, level in zip(books, codes, strict=True))
    assert torch.equal(seen["vectors"].detach(), exact)
    for part in (output.reconstruction, output.loss, output.quantization_loss):
        assert part.dtype == torch.float32
    if training:
        output.loss.backward()
        assert all(p.grad.isfinite().all() for p in model.encoder.parameters())


def test_the_gumbel_mixture_is_float32_under_bf16_autocast_too() -> None:
    config = replace(CONFIG, estimator="gumbel", learning="gradient", dead_after=0)
    x, seen = embeddings(), {}
    model = fitted(config).train()
    model.encoder.register_forward_hook(lambda _, __, out: seen.update(latents=out))
    model.decoder.register_forward_pre_hook(lambda _, args: seen.update(vectors=args[0]))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(x)
    model.load_state_dict(before)  # the temperature has fallen
    torch.manual_seed(3)
    expected = model.quantizer(seen["latents"].float())
    assert torch.equal(seen["vectors"], expected.vectors)
    assert torch.equal(output.codes, expected.codes)
    assert output.quantization_loss.item() == pytest.approx(expected.loss.mean().item())


# Catalogues at the edge


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1000.1])
@pytest.mark.parametrize(
    "config", [CONFIG, RQVAEConfig.residual_kmeans(6, num_levels=2, codebook_size=5)]
)
def test_items_that_are_all_alike_get_the_same_codes_and_no_nan(
    config: RQVAEConfig, value: float
) -> None:
    x = torch.full((40, 6), value)
    model = fitted(config, x)
    codes = model.assign(x)
    assert torch.equal(codes, codes[:1].expand(40, -1))
    torch.testing.assert_close(model.standardize(x), torch.zeros(40, 6), rtol=0, atol=1e-4)
    output = model.train()(x)
    assert torch.equal(output.codes, codes)
    for name, numbers in (*output._asdict().items(), *model.state_dict().items()):
        assert numbers.isfinite().all(), name


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_items_that_are_all_alike_have_no_variance_to_lose(value: float) -> None:
    x = torch.full((40, 6), value)
    model = fitted(x=x)
    assert model.variance_lost(x, model.assign(x)) <= 1


def test_one_item_with_a_codeword_of_its_own() -> None:
    x = embeddings(1)
    model = fitted(replace(CONFIG, codebook_size=1), x)
    assert model.assign(x).tolist() == [[0, 0]]
    torch.testing.assert_close(model.quantizer.decode(model.assign(x)), model.encode(x))
    assert model.train()(x).loss.isfinite()
    with pytest.raises(ValueError, match="1 items cannot fill codebooks of 5"):
        fitted(x=x)


def test_no_items_have_no_latents_and_no_codes() -> None:
    model = fitted()
    assert model.encode(embeddings(0)).shape == (0, 4)
    assert model.assign(embeddings(0)).shape == (0, 2)
    assert model.assign(embeddings(0)).dtype == torch.int64
    with pytest.raises(ValueError, match="num_clusters is 5, but x has 0 rows"):
        model.init_codebooks(embeddings(0), generator=seeded())


@pytest.mark.parametrize("num_items", [0, 4])
def test_a_catalogue_that_is_refused_changes_nothing(num_items: int) -> None:
    model = fitted()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match="cannot fill codebooks of 5"):
        model.fit_to_data(embeddings(num_items, seed=3), generator=seeded())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int64])
def test_another_number_type_is_converted(dtype: torch.dtype) -> None:
    model = fitted()
    x = embeddings().to(dtype)
    for read in (model.assign, model.encode, model.standardize, lambda x: model(x).codes):
        assert torch.equal(read(x), read(x.float()))


def test_numbers_that_float32_cannot_hold_are_refused() -> None:
    model = fitted()
    for unit in (1e60, 1e-60):
        with pytest.raises(ValueError, match=r"embeddings holds numbers up to .* another unit"):
            model.assign(embeddings().double() * unit)


@pytest.mark.parametrize(
    ("estimator", "learning"), [("straight-through", "average"), ("gumbel", "gradient")]
)
def test_a_training_step_is_compiled_in_one_piece(estimator: str, learning: str) -> None:
    """Whatever looks for other processes must not cut it."""
    config = replace(CONFIG, estimator=estimator, learning=learning)
    model = fitted(config).train()
    found = torch._dynamo.explain(lambda batch: model(batch).loss)(embeddings())
    torch._dynamo.reset()
    assert (found.graph_count, found.graph_break_count) == (1, 0), found.break_reasons
