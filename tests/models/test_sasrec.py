"""SASRec: its loss against its own scores, item by item, and against torch's layers."""

import pytest
import torch
from torch import Tensor, nn

from rqvae_lib.data.batches import PADDING
from rqvae_lib.models.configs import SASRecConfig, TransformerConfig
from rqvae_lib.models.sasrec import SASRec
from tests.models.test_transformer import record_dropout

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = TransformerConfig(dim=12, num_layers=2, num_heads=3, mlp_dim=20)
NOTHING = torch.empty(0, dtype=torch.int64)


def random_model(num_items: int = 9, max_items: int = 6) -> SASRec:
    torch.manual_seed(0)
    model = SASRec(SASRecConfig(num_items=num_items, transformer=SMALL, max_items=max_items)).eval()
    for parameter in model.parameters():  # start and bias too: at zero they would hide mistakes
        nn.init.normal_(parameter, std=0.4)
    return model


def mean_nats(model: SASRec, row: list[int]) -> float:
    """The mean of −log p over the items of a row, each scored from those before it on its own."""
    nats = [
        -model.scores([torch.tensor(row[:place], dtype=torch.int64)])[0].log_softmax(0)[item]
        for place, item in enumerate(row)
    ]
    return float(torch.stack(nats).mean())


def test_the_loss_is_the_mean_over_all_items_each_scored_from_those_before_it() -> None:
    model = random_model()
    rows = [[3, 1, 4, 1, 5, 0], [2], [6, 8]]
    padded = nn.utils.rnn.pad_sequence(
        [torch.tensor(row) for row in rows], batch_first=True, padding_value=PADDING
    )
    count = sum(map(len, rows))
    expected = sum(len(row) * mean_nats(model, row) for row in rows) / count
    with torch.no_grad():
        assert float(model.loss(padded)) == pytest.approx(expected, rel=1e-5)


def test_scores_by_torchs_own_layers() -> None:
    model = random_model()
    history = torch.tensor([3, 1, 4])
    x = torch.cat([model.start[None], model.item_embedding(history) + model.position.weight[:3]])
    mask = nn.Transformer.generate_square_subsequent_mask(4)
    for block in model.transformer.blocks:
        layer = nn.TransformerEncoderLayer(
            12, 3, 20, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias = (
            block.qkv.weight,
            block.qkv.bias,
        )
        layer.self_attn.out_proj = block.out
        layer.norm1, layer.norm2 = block.attention_norm, block.mlp_norm
        layer.linear1, layer.linear2 = block.mlp[0], block.mlp[2]
        x = layer(x[None], src_mask=mask)[0]
    expected = model.item_embedding.weight @ model.transformer.norm(x)[-1] + model.bias
    torch.testing.assert_close(model.scores([history])[0], expected.detach(), rtol=1e-4, atol=1e-5)


def test_users_in_a_batch_do_not_see_each_other() -> None:
    model = random_model()
    histories = [torch.tensor([3, 1, 4, 1]), NOTHING, torch.tensor([2])]
    together = model.scores(histories)
    for row, history in enumerate(histories):
        torch.testing.assert_close(together[row], model.scores([history])[0])


def test_a_long_history_is_cut_to_the_last_items_of_a_window() -> None:
    model = random_model(max_items=4)
    long = torch.tensor([7, 7, 5, 3, 1])
    torch.testing.assert_close(model.scores([long]), model.scores([long[-3:]]))
    assert not torch.allclose(model.scores([long]), model.scores([long[-2:]]))


def test_it_learns_to_count() -> None:
    torch.manual_seed(0)
    model = SASRec(SASRecConfig(num_items=8, transformer=SMALL, max_items=6)).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    starts = torch.arange(8)[:, None]
    rows = (starts + torch.arange(6)) % 8
    for _ in range(150):
        optimizer.zero_grad()
        model.loss(rows).backward()
        optimizer.step()
    found = model.eval().scores([torch.tensor([2, 3, 4]), torch.tensor([7])]).argmax(1)
    assert found.tolist() == [5, 0]


def test_training_drops_numbers_of_the_items_that_are_read() -> None:
    model, items = random_model().train(), torch.tensor([[3, 1, 4]])
    dropped = record_dropout(model)
    model.loss(items)
    assert [tensor.shape for tensor in dropped] == [(1, 3, 12)]  # the start, and two items
    assert model.dropout.p == model.config.embedding_dropout == 0.2
    model.scores([NOTHING])
    assert len(dropped) == 1


def test_nobody_has_no_scores() -> None:
    assert random_model().scores([]).shape == (0, 9)


@pytest.mark.parametrize("bad", [-1, 9])
def test_an_item_outside_the_catalogue_is_named(bad: int) -> None:
    with pytest.raises(ValueError, match=f"history 1 names items.*{bad}"):
        random_model().scores([NOTHING, torch.tensor([0, bad])])


@pytest.mark.parametrize(
    ("num_items", "max_items", "says"), [(0, 5, "num_items is 0"), (5, 1, "max_items is 1")]
)
def test_sizes_out_of_range_are_refused(num_items: int, max_items: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        SASRecConfig(num_items=num_items, max_items=max_items)


def test_every_parameter_learns() -> None:
    model = random_model().train()
    model.loss(torch.tensor([[3, 1, 4]])).backward()
    for name, parameter in model.named_parameters():
        gradient: Tensor | None = parameter.grad
        assert gradient is not None, name
        assert gradient.abs().sum() > 0, name
