"""The recommenders: their loss against probabilities written out code by code."""

import pytest
import torch
from torch import Tensor, nn

from rqvae_lib.data.batches import PADDING
from rqvae_lib.models.base import Recommender
from rqvae_lib.models.configs import (
    DecoderOnlyConfig,
    EncoderDecoderConfig,
    RQTransformerConfig,
    TransformerConfig,
)
from rqvae_lib.models.decoder_only import DecoderOnly
from rqvae_lib.models.encoder_decoder import EncoderDecoder
from rqvae_lib.models.rq_transformer import RQTransformer
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.trie import Trie
from tests.models.test_transformer import record_dropout

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = TransformerConfig(dim=12, num_layers=2, num_heads=3, mlp_dim=20)


def random_ids(num_items: int = 30, sizes: tuple[int, ...] = (4, 3), seed: int = 0) -> SemanticIDs:
    generator = torch.Generator().manual_seed(seed)
    columns = [torch.randint(size, (num_items,), generator=generator) for size in sizes]
    return SemanticIDs(torch.stack(columns, 1), sizes)


ARCHITECTURES = {
    "decoder-only": (DecoderOnly, DecoderOnlyConfig),
    "encoder-decoder": (EncoderDecoder, EncoderDecoderConfig),
    "rq-transformer": (RQTransformer, RQTransformerConfig),
}
every = pytest.mark.parametrize("architecture", ARCHITECTURES)
of_codes = pytest.mark.parametrize("architecture", ["decoder-only", "encoder-decoder"])
all_positions = ("decoder-only", "rq-transformer")  # every item of a row is a target


def random_model(
    architecture: str, ids: SemanticIDs | None = None, max_items: int = 6
) -> Recommender:
    torch.manual_seed(0)
    kind, config = ARCHITECTURES[architecture]
    model = kind(config(SMALL, max_items=max_items), random_ids() if ids is None else ids).eval()
    for parameter in model.parameters():  # start and bias too: at zero they would hide mistakes
        nn.init.normal_(parameter, std=0.4)
    return model


def random_decoder(ids: SemanticIDs | None = None, max_items: int = 6) -> DecoderOnly:
    return random_model("decoder-only", ids, max_items)


@torch.no_grad()
def nats_of(model: Recommender, history: list[int], item: int) -> float:
    """−log p(item | history), code by code through the interface that generation uses."""
    state = model.encode_history([torch.tensor(history, dtype=torch.int64)])
    nats = 0.0
    for level, code in enumerate(model.semantic_ids[item].tolist()):
        logits = model.next_code_logits(state)
        assert logits.shape == (1, 1, model.sizes[level])
        exponentials = logits[0, 0].double().exp()
        nats -= float((exponentials[code] / exponentials.sum()).log())
        if level + 1 < len(model.sizes):
            state = model.extend(state, torch.tensor([[0]]), torch.tensor([[code]]))
    return nats


ROWS = [[3, 7, 7, 29, 0, 12], [5], [11, 2, 28]]


@torch.no_grad()
def loss_of(model: Recommender, items: Tensor) -> Tensor:
    return model.loss(items)


def padded(rows: list[list[int]], width: int = 0) -> Tensor:
    width = max(width, *map(len, rows))
    return torch.tensor([row + [PADDING] * (width - len(row)) for row in rows])


@pytest.mark.parametrize("sizes", [(4, 3), (7,), (2, 2, 2, 2)])
def test_loss_equals_the_nats_of_every_item_through_the_generation_interface(
    sizes: tuple[int, ...],
) -> None:
    model = random_decoder(random_ids(sizes=sizes))
    nats = [nats_of(model, row[:i], row[i]) for row in ROWS for i in range(len(row))]
    assert float(loss_of(model, padded(ROWS))) == pytest.approx(sum(nats) / len(nats), rel=1e-4)


@every
def test_probabilities_over_all_tuples_of_codes_sum_to_one(architecture: str) -> None:
    """Every tuple of codes is an item here, so that the items' probabilities must sum to 1."""
    codes = torch.cartesian_prod(torch.arange(4), torch.arange(3))
    model = random_model(architecture, SemanticIDs(codes, [4, 3]))
    total = sum(torch.tensor([-nats_of(model, [3, 1], item) for item in range(12)]).exp())
    assert float(total) == pytest.approx(1, abs=1e-4)


@every
def test_the_position_of_items_and_the_order_of_history_matter(architecture: str) -> None:
    model = random_model(architecture)
    first = nats_of(model, [1, 2], 3)
    assert abs(nats_of(model, [2, 1], 3) - first) > 1e-3
    assert abs(nats_of(model, [2], 3) - first) > 1e-3


@every
def test_padding_changes_neither_loss_nor_logits(architecture: str) -> None:
    model = random_model(architecture)
    # A row counts as often as it has targets.
    counts = [len(row) if architecture in all_positions else 1 for row in ROWS]
    losses = [model.loss(padded([row])) * n for row, n in zip(ROWS, counts, strict=True)]
    together = model.loss(padded(ROWS))
    torch.testing.assert_close(together, torch.stack(losses).sum() / sum(counts))
    # More padding than needed.
    torch.testing.assert_close(model.loss(padded(ROWS[1:])), model.loss(padded(ROWS[1:], 6)))
    histories = [torch.tensor(row[:5]) for row in ROWS]
    state = model.encode_history(histories)
    parents = torch.tensor([[0, 0]] * 3)
    codes = torch.tensor([[1, 3], [0, 2], [2, 2]])
    further = model.next_code_logits(model.extend(state, parents, codes))
    for row, history in enumerate(histories):
        alone = model.encode_history([history])
        torch.testing.assert_close(
            model.next_code_logits(alone)[0], model.next_code_logits(state)[row],
            rtol=1e-4, atol=1e-4,
        )  # fmt: skip
        alone = model.extend(alone, parents[:1], codes[row : row + 1])
        torch.testing.assert_close(
            model.next_code_logits(alone)[0], further[row], rtol=1e-4, atol=1e-4
        )


@every
def test_a_long_history_is_cut_to_the_last_items_of_a_window(architecture: str) -> None:
    model = random_model(architecture, max_items=4)
    long = torch.tensor([9, 8, 7, 1, 2, 3])
    cut = model.next_code_logits(model.encode_history([long]))
    torch.testing.assert_close(cut, model.next_code_logits(model.encode_history([long[-3:]])))
    other = model.next_code_logits(model.encode_history([long[-2:]]))
    assert not torch.allclose(cut, other, atol=1e-3)


@every
def test_empty_histories_are_welcome_alone_and_among_others(architecture: str) -> None:
    model = random_model(architecture)
    empty, some = torch.empty(0, dtype=torch.int64), torch.tensor([4, 5])
    alone = model.next_code_logits(model.encode_history([empty]))
    together = model.next_code_logits(model.encode_history([some, empty]))
    torch.testing.assert_close(alone[0], together[1], rtol=1e-4, atol=1e-4)
    # An item that starts a row of the loss has the same probability.
    assert float(loss_of(model, torch.tensor([[7]]))) == pytest.approx(
        nats_of(model, [], 7), rel=1e-4
    )


@every
@pytest.mark.parametrize("bad", [-1, 30, 10**6])
def test_an_item_outside_the_catalogue_is_named(bad: int, architecture: str) -> None:
    with pytest.raises(ValueError, match=rf"history 1 names.*{bad}.*items 0 to 29"):
        random_model(architecture).encode_history([torch.tensor([3]), torch.tensor([0, bad])])


def test_a_later_item_changes_no_earlier_prediction() -> None:
    model = random_decoder()
    items = padded([ROWS[0]])

    def nats_of_prefixes(row: Tensor) -> list[float]:
        return [float(loss_of(model, row[:, : n + 1])) * (n + 1) for n in range(6)]

    before = nats_of_prefixes(items)
    for changed in range(6):
        other = items.clone()
        other[0, changed] = (other[0, changed] + 1) % 30
        after = nats_of_prefixes(other)
        assert after[:changed] == before[:changed]
        assert after[changed] != before[changed]
    # The same from within: gradients of a prediction reach no later embedding.
    tokens = model.embed_items(items)[:, :-1].detach().requires_grad_()
    hidden = model.transformer(tokens)
    for position in range(tokens.shape[1]):
        [gradient] = torch.autograd.grad(
            hidden[0, position].square().sum(), tokens, retain_graph=True
        )
        assert torch.equal(
            gradient[0, position + 1 :], torch.zeros_like(gradient[0, position + 1 :])
        )


@every
def test_every_parameter_learns(architecture: str) -> None:
    model = random_model(architecture)
    model.loss(padded(ROWS)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@every
def test_a_new_model_is_nearly_uniform(architecture: str) -> None:
    """Before training each code is worth about the logarithm of its codebook's size."""
    ids = random_ids(200, (16, 8))
    kind, config = ARCHITECTURES[architecture]
    model = kind(config(SMALL), ids)
    expected = sum(torch.tensor(ids.sizes).double().log())
    if architecture == "rq-transformer":  # it chooses among siblings only
        trie, expected = Trie(ids), 0.0
        for level in range(trie.depth):
            above = trie.node_above(level, trie.leaf_of[padded(ROWS)[padded(ROWS) >= 0]])
            expected += float(trie.children_of(level, above).valid.sum(1).double().log().mean())
    assert float(loss_of(model, padded(ROWS))) == pytest.approx(float(expected), rel=0.1)


@every
def test_training_drops_numbers_of_all_that_is_read(architecture: str) -> None:
    model = random_model(architecture).train()
    dropped = record_dropout(model)
    torch.manual_seed(0)
    losses = {float(loss_of(model, padded(ROWS))) for _ in range(5)}
    assert len(losses) == 5
    readers = 2 if architecture == "encoder-decoder" else 1  # what encoder and decoder read
    assert len(dropped) == 5 * readers
    assert len({tensor.shape for tensor in dropped[:2]}) == readers
    assert model.dropout.p == model.config.embedding_dropout == 0.2


@every
def test_the_configuration(architecture: str) -> None:
    _, config = ARCHITECTURES[architecture]
    with pytest.raises(ValueError, match="max_items is 1"):
        config(max_items=1)


# Softmax over the codes that exist


def valid_only(architecture: str, ids: SemanticIDs) -> Recommender:
    torch.manual_seed(0)
    kind, config = ARCHITECTURES[architecture]
    model = kind(config(SMALL, max_items=6, valid_only=True), ids).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model


@of_codes
@pytest.mark.parametrize("sizes", [(4, 3), (7,), (3, 3, 3, 3)])
def test_probabilities_of_the_items_alone_sum_to_one_with_valid_only(
    architecture: str, sizes: tuple[int, ...]
) -> None:
    ids = random_ids(12, sizes)
    model = valid_only(architecture, ids)
    plain = random_model(architecture, ids)
    plain.load_state_dict(model.state_dict())
    for history in ([], [3, 1]):
        nats = [nats_of(model, history, item) for item in range(12)]
        assert float((-torch.tensor(nats)).exp().sum()) == pytest.approx(1, abs=1e-4)
        for item, found in enumerate(nats):  # by brute force over the codes that exist
            own = ids.ids[item].tolist()
            state = plain.encode_history([torch.tensor(history, dtype=torch.int64)])
            expected = 0.0
            for level, code in enumerate(own):
                rows = ids.ids[(ids.ids[:, :level] == ids.ids[item, :level]).all(1)]
                exist = rows[:, level].unique()
                logits = plain.next_code_logits(state)[0, 0]
                expected += float((logits[exist].logsumexp(0) - logits[code]).detach())
                if level + 1 < len(own):
                    state = plain.extend(state, torch.tensor([[0]]), torch.tensor([[code]]))
            assert found == pytest.approx(expected, abs=1e-4)


@of_codes
def test_the_loss_with_valid_only_equals_the_nats_of_generation(architecture: str) -> None:
    model = valid_only(architecture, random_ids())
    rows = [row[: n + 1] for row in ROWS for n in range(len(row))]
    nats = [nats_of(model, row[:-1], row[-1]) for row in rows]
    found = loss_of(model, padded(ROWS if architecture == "decoder-only" else rows))
    assert float(found) == pytest.approx(sum(nats) / len(nats), rel=1e-4)
    model.loss(padded(ROWS)).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


# The encoder-decoder's own


@pytest.mark.parametrize("sizes", [(4, 3), (7,), (2, 2, 2, 2, 2)])
def test_evaluation_predicts_the_last_item_of_each_row(sizes: tuple[int, ...]) -> None:
    model = random_model("encoder-decoder", random_ids(sizes=sizes))
    nats = [nats_of(model, row[:-1], row[-1]) for row in ROWS]
    assert float(loss_of(model, padded(ROWS))) == pytest.approx(sum(nats) / len(nats), rel=1e-4)


def test_training_predicts_each_item_as_often_and_from_those_before_it() -> None:
    row = ROWS[0]
    torch.manual_seed(0)
    config = EncoderDecoderConfig(SMALL, max_items=6, embedding_dropout=0.0)
    model = EncoderDecoder(config, random_ids())
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    expected = torch.tensor([nats_of(model, row[:place], row[place]) for place in range(6)])
    assert expected.diff().abs().min() > 0.01  # so that a loss tells its place
    model.train()
    found = torch.stack([loss_of(model, padded([row])) for _ in range(300)])
    distance = (found[:, None] - expected).abs()  # (300, 6)
    assert distance.amin(1).max() < 1e-3
    counts = distance.argmin(1).bincount(minlength=6)
    assert counts.min() >= 30  # 50 each, give or take
    assert counts.max() <= 75
    torch.manual_seed(3)
    again = [loss_of(model, padded(ROWS)) for _ in range(2)]
    torch.manual_seed(3)
    assert [loss_of(model, padded(ROWS)) for _ in range(2)] == again


def test_the_encoder_reads_in_both_directions_and_its_keys_are_shared_by_the_beams() -> None:
    model = random_model("encoder-decoder")
    tokens = model.embed_items(torch.tensor([[3, 4]])).detach().requires_grad_()
    mask = torch.ones(1, 1, 1, tokens.shape[1], dtype=torch.bool)
    encoded = model.encoder(tokens, mask)
    [gradient] = torch.autograd.grad(encoded[0, 0].square().sum(), tokens)
    assert (gradient[0].abs().sum(1) > 0).all()
    state = model.encode_history([torch.tensor([3, 4])])
    further = model.extend(state, torch.zeros(1, 3, dtype=torch.int64), torch.tensor([[0, 1, 2]]))
    for before, after in zip(state.memory.history, further.memory.history, strict=True):
        assert before.keys is after.keys
