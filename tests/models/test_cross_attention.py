"""The decoder with cross-attention, and the encoder, against torch's own layers."""

import pytest
import torch
from torch import Tensor, nn

from rqvae_lib.models.cross_attention import CrossBlock, CrossTransformer
from tests.models.test_transformer import (
    CONFIG,
    random_transformer,
    record_dropout,
    tokens,
    torch_layer,
)

pytestmark = pytest.mark.usefixtures("one_thread")

LENGTHS = torch.tensor([6, 1, 4])
REAL = torch.arange(6) < LENGTHS[:, None]  # (3, 6)
MASK = REAL[:, None, None]  # (3, 1, 1, 6)


def random_decoder() -> CrossTransformer:
    torch.manual_seed(0)
    model = CrossTransformer(CONFIG).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model


def torch_decoder_layer(block: CrossBlock) -> nn.TransformerDecoderLayer:
    """PyTorch's layer with the same weights."""
    layer = nn.TransformerDecoderLayer(
        CONFIG.dim, CONFIG.num_heads, CONFIG.mlp_dim, dropout=0.0, activation="gelu",
        norm_first=True, batch_first=True,
    )  # fmt: skip
    cross = layer.multihead_attn
    pairs = [
        (layer.self_attn.in_proj_weight, block.qkv.weight),
        (layer.self_attn.in_proj_bias, block.qkv.bias),
        (layer.self_attn.out_proj.weight, block.out.weight),
        (layer.self_attn.out_proj.bias, block.out.bias),
        (cross.in_proj_weight, torch.cat([block.cross_q.weight, block.cross_kv.weight])),
        (cross.in_proj_bias, torch.cat([block.cross_q.bias, block.cross_kv.bias])),
        (cross.out_proj.weight, block.cross_out.weight),
        (cross.out_proj.bias, block.cross_out.bias),
        (layer.linear1.weight, block.mlp[0].weight),
        (layer.linear1.bias, block.mlp[0].bias),
        (layer.linear2.weight, block.mlp[2].weight),
        (layer.linear2.bias, block.mlp[2].bias),
        (layer.norm1.weight, block.attention_norm.weight),
        (layer.norm1.bias, block.attention_norm.bias),
        (layer.norm2.weight, block.cross_norm.weight),
        (layer.norm2.bias, block.cross_norm.bias),
        (layer.norm3.weight, block.mlp_norm.weight),
        (layer.norm3.bias, block.mlp_norm.bias),
    ]
    assert len(pairs) == len(list(layer.parameters()))
    with torch.no_grad():
        for theirs, ours in pairs:
            theirs.copy_(ours)
    return layer


def test_the_decoder_equals_torchs_layers_and_so_do_its_gradients() -> None:
    model = random_decoder()
    x, encoded = tokens(3, 5), tokens(3, 6, seed=2).requires_grad_()
    expected: Tensor = x
    causal = nn.Transformer.generate_square_subsequent_mask(5)
    for block in model.blocks:
        expected = torch_decoder_layer(block)(
            expected, encoded, tgt_mask=causal, memory_key_padding_mask=~REAL
        )
    expected = model.norm(expected)
    found = model(x, model.read(encoded, MASK))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    weights = tokens(3, 5, seed=3)
    [ours] = torch.autograd.grad((found * weights).sum(), encoded)
    [theirs] = torch.autograd.grad((expected * weights).sum(), encoded)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
    assert not ours[~REAL].any()  # padding has no say


def test_an_encoder_equals_torchs_layers_on_padded_sequences() -> None:
    model = random_transformer()
    x = expected = tokens(3, 6)
    for block in model.blocks:
        expected = torch_layer(block, CONFIG)(expected, src_key_padding_mask=~REAL)
    found = model(x, MASK)
    torch.testing.assert_close(found[REAL], model.norm(expected)[REAL], rtol=1e-4, atol=1e-4)


def test_attention_equals_attention_by_hand() -> None:
    """Softmax of scaled products, a head at a time, of one token to an encoded sequence."""
    [block, *_] = random_decoder().blocks
    x, encoded = tokens(3, 1), tokens(3, 6, seed=2)
    found = block._look(x, block.keys_and_values(encoded), MASK)
    for row in range(3):
        q = block.cross_q(block.cross_norm(x[row, 0]))  # (12,)
        keys, values = block.cross_kv(encoded[row, : LENGTHS[row]]).split(12, 1)
        heads = []
        for head in range(3):
            part = slice(4 * head, 4 * head + 4)
            exponentials = (keys[:, part] @ q[part] / 2).exp()  # the root of 4 is 2
            heads.append(exponentials / exponentials.sum() @ values[:, part])
        expected = x[row, 0] + block.cross_out(torch.cat(heads))
        torch.testing.assert_close(found[row, 0], expected, rtol=1e-4, atol=1e-4)


def test_a_block_drops_what_each_of_its_three_parts_adds() -> None:
    [block, *_] = random_decoder().blocks
    x, encoded = tokens(3, 5), block.keys_and_values(tokens(3, 6, seed=2))
    dropped = record_dropout(block)
    found = block.read(x, encoded, MASK)
    assert len(dropped) == 3
    torch.testing.assert_close(found, x + sum(dropped))  # in evaluation mode all of it is kept
    nothing = torch.empty(3, 1, 2, 3, 0, 4)
    block.step(x[:, :1], encoded, MASK, nothing)
    assert len(dropped) == 6


def test_the_cache_equals_reading_everything_at_every_position() -> None:
    model = random_decoder()
    memory = model.read(tokens(3, 6, seed=2), MASK)
    first = tokens(3, 1)
    hidden, own = model.step(first, memory)
    torch.testing.assert_close(hidden, model(first, memory), rtol=1e-4, atol=1e-4)
    texts = first[:, None]  # (3, K, n, 12), what each beam has read
    generator = torch.Generator().manual_seed(5)
    for step, num_beams in enumerate([4, 2, 7]):
        parents = torch.randint(texts.shape[1], (3, num_beams), generator=generator)
        new = tokens(3, num_beams, seed=10 + step)
        hidden, own = model.step(new, own.select(parents))
        texts = torch.cat([texts[torch.arange(3)[:, None], parents], new[:, :, None]], 2)
        for beam in range(num_beams):
            expected = model(texts[:, beam], memory)[:, -1]
            torch.testing.assert_close(hidden[:, beam], expected, rtol=1e-4, atol=1e-4)
        assert own.history[0].keys.shape == (3, 3, 6, 4)  # shared, never copied for a beam
