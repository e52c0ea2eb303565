"""The transformer against torch's own layer, and its cache against reading everything again."""

import pytest
import torch
from torch import Tensor, nn

from rqvae_lib.models.configs import TransformerConfig
from rqvae_lib.models.transformer import Block, Transformer

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = TransformerConfig(dim=12, num_layers=3, num_heads=3, mlp_dim=20)


def random_transformer(config: TransformerConfig = CONFIG, seed: int = 0) -> Transformer:
    torch.manual_seed(seed)
    model = Transformer(config).eval()
    for parameter in model.parameters():  # norms too, or a missing one would go unnoticed
        nn.init.normal_(parameter, std=0.4)
    return model


def tokens(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, 12, generator=torch.Generator().manual_seed(seed))


def record_dropout(model: nn.Module) -> list[Tensor]:
    """Return a list to which every input of `model.dropout` is added from now on."""
    dropped: list[Tensor] = []
    model.dropout.register_forward_hook(lambda _module, inputs, _output: dropped.append(inputs[0]))
    return dropped


def torch_layer(block: Block, config: TransformerConfig) -> nn.TransformerEncoderLayer:
    """PyTorch's layer with the same weights."""
    layer = nn.TransformerEncoderLayer(
        config.dim,
        config.num_heads,
        config.mlp_dim,
        dropout=0.0,
        activation="gelu",
        norm_first=True,
        batch_first=True,
    )
    pairs = [
        (layer.self_attn.in_proj_weight, block.qkv.weight),
        (layer.self_attn.in_proj_bias, block.qkv.bias),
        (layer.self_attn.out_proj.weight, block.out.weight),
        (layer.self_attn.out_proj.bias, block.out.bias),
        (layer.linear1.weight, block.mlp[0].weight),
        (layer.linear1.bias, block.mlp[0].bias),
        (layer.linear2.weight, block.mlp[2].weight),
        (layer.linear2.bias, block.mlp[2].bias),
        (layer.norm1.weight, block.attention_norm.weight),
        (layer.norm1.bias, block.attention_norm.bias),
        (layer.norm2.weight, block.mlp_norm.weight),
        (layer.norm2.bias, block.mlp_norm.bias),
    ]
    assert len(pairs) == len(list(layer.parameters())) == len(list(block.parameters()))
    with torch.no_grad():
        for theirs, ours in pairs:
            theirs.copy_(ours)
    return layer


def test_the_block_equals_torchs_encoder_layer_and_so_do_its_gradients() -> None:
    block, config = random_transformer().blocks[0], CONFIG
    layer = torch_layer(block, config)  # in training mode, so no fast path of its own
    x = tokens(4, 9)
    mask = nn.Transformer.generate_square_subsequent_mask(9)
    ours_in, theirs_in = x.clone().requires_grad_(), x.clone().requires_grad_()
    ours, cache = block(ours_in)
    theirs = layer(theirs_in, src_mask=mask, is_causal=True)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert cache.keys.shape == cache.values.shape == (4, 3, 9, 4)
    weights = tokens(4, 9, seed=2)
    (ours * weights).sum().backward()
    (theirs * weights).sum().backward()
    torch.testing.assert_close(ours_in.grad, theirs_in.grad, rtol=1e-4, atol=1e-4)


def test_the_stack_equals_torchs_layers_and_a_last_norm() -> None:
    model = random_transformer()
    x = expected = tokens(2, 7)
    mask = nn.Transformer.generate_square_subsequent_mask(7)
    for block in model.blocks:
        expected = torch_layer(block, CONFIG)(expected, src_mask=mask, is_causal=True)
    torch.testing.assert_close(model(x), model.norm(expected), rtol=1e-4, atol=1e-4)


def test_no_token_sees_a_later_one() -> None:
    model = random_transformer()
    x = tokens(2, 8)
    before = model(x)
    for changed in range(8):
        other = x.clone()
        other[:, changed] += tokens(2, seed=3)  # not a constant: a norm would take it away
        after = model(other)
        torch.testing.assert_close(after[:, :changed], before[:, :changed])
        assert (after[:, changed:] - before[:, changed:]).abs().amax((0, 2)).min() > 1e-4


def test_the_cache_equals_reading_everything_at_every_position() -> None:
    """Three users of other lengths, five own tokens each, four beams that change parents."""
    model = random_transformer()
    lengths = torch.tensor([6, 1, 4])
    history = tokens(3, 6)
    padded = history.clone()
    padded[1, 1:] = padded[2, 4:] = 1e4  # padding must have no say
    hidden, memory = model.read(padded, lengths)
    assert hidden.shape == (3, 1, 12)
    # What each beam has read so far, to be read again by the plain transformer.
    texts = [[history[user, : lengths[user]]] for user in range(3)]
    for user in range(3):
        expected = model(texts[user][0][None])[0, -1]
        torch.testing.assert_close(hidden[user, 0], expected, rtol=1e-4, atol=1e-4)
    generator = torch.Generator().manual_seed(5)
    for step in range(5):
        num_parents, num_beams = len(texts[0]), [4, 4, 2, 7, 3][step]
        parents = torch.randint(num_parents, (3, num_beams), generator=generator)
        new = tokens(3, num_beams, seed=10 + step)
        hidden, memory = model.step(new, memory.select(parents))
        texts = [
            [torch.cat([texts[u][parents[u, k]], new[u, k][None]]) for k in range(num_beams)]
            for u in range(3)
        ]
        for user in range(3):
            for beam in range(num_beams):
                expected = model(texts[user][beam][None])[0, -1]
                torch.testing.assert_close(hidden[user, beam], expected, rtol=1e-4, atol=1e-4)
        assert memory.own[0].keys.shape == (3, num_beams, 3, step + 1, 4)
        assert memory.history[0].keys.shape == (3, 3, 6, 4)  # shared, never copied for a beam


def test_a_step_leaves_the_memory_that_it_was_given_alone() -> None:
    model = random_transformer()
    _, memory = model.read(tokens(2, 3), torch.tensor([3, 3]))
    zeros = torch.zeros(2, 1, dtype=torch.int64)
    first, _ = model.step(tokens(2, 1, seed=3), memory.select(zeros))
    model.step(tokens(2, 1, seed=4), memory.select(zeros))
    again, _ = model.step(tokens(2, 1, seed=3), memory.select(zeros))
    assert torch.equal(first, again)


def test_dropout_acts_in_training_only() -> None:
    config = TransformerConfig(dim=12, num_layers=1, num_heads=3, mlp_dim=20, dropout=0.5)
    model, x = random_transformer(config), tokens(2, 5)
    assert torch.equal(model(x), model(x))
    plain = random_transformer(TransformerConfig(dim=12, num_layers=1, num_heads=3, mlp_dim=20))
    torch.testing.assert_close(model(x), plain(x))
    model.train()
    assert not torch.equal(model(x), model(x))


def test_another_layer_may_take_the_place_of_a_linear_one() -> None:
    """As `torch.ao.quantization.quantize_dynamic` puts one there, which has no such weights."""
    model = random_transformer()
    x, lengths = torch.randn(2, 5, CONFIG.dim), torch.tensor([5, 3])
    expected, memory = model.read(x, lengths)
    for block in model.blocks:
        linear = block.qkv
        block.qkv = nn.Identity()
        block.qkv.forward = linear.forward
    found, other = model.read(x, lengths)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(other.history, memory.history)


def test_a_block_drops_what_attention_adds_and_what_the_mlp_adds() -> None:
    block, x = random_transformer().blocks[0], tokens(2, 5)
    dropped = record_dropout(block)
    _, history = block(x)
    assert len(dropped) == 2
    torch.testing.assert_close(dropped[1], block.mlp(block.mlp_norm(x + dropped[0])))
    mask = torch.ones(2, 1, 1, 5, dtype=torch.bool)
    nothing = torch.empty(2, 1, 2, 3, 0, 4)
    block.step(x[:, :1], history, mask, nothing)
    assert len(dropped) == 4


@pytest.mark.parametrize(("dim", "num_heads"), [(10, 3), (8, 16)])
def test_heads_that_do_not_divide_the_width_are_refused(dim: int, num_heads: int) -> None:
    with pytest.raises(ValueError, match=f"dim is {dim} and num_heads is {num_heads}"):
        TransformerConfig(dim=dim, num_heads=num_heads)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, bad) for name in ("dim", "num_layers", "num_heads", "mlp_dim") for bad in (0, -2)),
        *(("dropout", bad) for bad in (-0.1, 1.0, float("nan"))),
    ],
)
def test_a_number_outside_its_range_is_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{name} is {value}; it must be"):
        TransformerConfig(**{name: value})
