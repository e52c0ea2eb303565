"""The RQ-Transformer: exact scores and loss against its own codes, one by one."""

import pytest
import torch
from torch import nn

from rqvae_lib.evaluation.metrics import top_items
from rqvae_lib.generation.beam_search import recommend
from rqvae_lib.generation.scoring import score_items
from rqvae_lib.models.configs import RQTransformerConfig, TransformerConfig
from rqvae_lib.models.rq_transformer import RQTransformer
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.training.config import TrainingConfig
from rqvae_lib.training.loop import train
from tests.models.test_recommenders import ROWS, loss_of, nats_of, padded, random_ids

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = TransformerConfig(dim=12, num_layers=2, num_heads=3, mlp_dim=20)
HISTORIES = [torch.tensor(row, dtype=torch.int64) for row in ([], [3], [7, 1, 1], [2, 9, 4, 8, 0])]
with_and_without = pytest.mark.parametrize("prefix_embeddings", [True, False])


def random_model(ids: SemanticIDs, *, prefix_embeddings: bool = True) -> RQTransformer:
    torch.manual_seed(0)
    config = RQTransformerConfig(SMALL, max_items=6, prefix_embeddings=prefix_embeddings)
    model = RQTransformer(config, ids).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    if model.prefix_embedding is not None:
        with torch.no_grad():
            model.prefix_embedding.weight[-1] = 0  # as it always is: no prefix
    return model


@with_and_without
@pytest.mark.parametrize("sizes", [(4, 3), (7,), (2, 2, 2, 2), (1, 3), (2, 2, 2, 2, 2, 2)])
def test_loss_equals_the_nats_of_every_item_code_by_code(
    sizes: tuple[int, ...], prefix_embeddings: bool
) -> None:
    model = random_model(random_ids(sizes=sizes), prefix_embeddings=prefix_embeddings)
    nats = [nats_of(model, row[:i], row[i]) for row in ROWS for i in range(len(row))]
    assert float(loss_of(model, padded(ROWS))) == pytest.approx(sum(nats) / len(nats), rel=1e-4)


@with_and_without
@pytest.mark.parametrize("sizes", [(4, 3), (7,), (2, 2, 2, 2), (1, 3)])
@pytest.mark.parametrize("num_items", [1, 2, 30])
def test_scores_equal_enumerating_every_id(
    sizes: tuple[int, ...], num_items: int, prefix_embeddings: bool
) -> None:
    model = random_model(random_ids(num_items, sizes), prefix_embeddings=prefix_embeddings)
    histories = [history % num_items for history in HISTORIES]
    scores = model.scores(histories)
    assert scores.shape == (len(histories), num_items)
    for row, history in enumerate(histories):
        expected = [-nats_of(model, history.tolist(), item) for item in range(num_items)]
        torch.testing.assert_close(scores[row], torch.tensor(expected), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(len(histories)))
    by_walking = score_items(model, histories)
    torch.testing.assert_close(scores, by_walking, rtol=1e-4, atol=1e-5)


def test_as_many_beams_as_items_find_the_ranking_of_the_exact_scores() -> None:
    model = random_model(random_ids(40, (4, 4, 3)))
    found = recommend(model, HISTORIES, k=12, beams=40)
    scores = model.scores(HISTORIES)
    assert torch.equal(found.items, top_items(scores, 12, HISTORIES))
    torch.testing.assert_close(found.log_probabilities, scores.gather(1, found.items))


def test_no_histories_give_no_scores() -> None:
    assert random_model(random_ids()).scores([]).shape == (0, 30)


def test_a_prefix_embedding_is_read_and_scored_and_belongs_to_its_prefix_alone() -> None:
    # Items 0 and 1 share a first code; item 2 stands alone below its own.
    ids = SemanticIDs(torch.tensor([[0, 0], [0, 1], [1, 0]]), [2, 2])
    model = random_model(ids)
    assert model.prefix_embedding is not None
    assert model.prefix_rows.tolist() == [[2, 0, 2], [2, 1, 2], [2, 2, 2]]
    history, elsewhere = [torch.tensor([0])], [torch.tensor([2])]
    before, untouched = model.scores(elsewhere), model.scores(history)
    with torch.no_grad():
        model.prefix_embedding.weight[0] += torch.randn(12)  # of (0, 0)
    after = model.scores(elsewhere)
    assert abs(float(after[0, 0] - before[0, 0])) > 1e-3  # scored
    torch.testing.assert_close(after[0, 2], before[0, 2])  # no sibling of it
    assert abs(float(model.scores(history)[0, 2] - untouched[0, 2])) > 1e-4  # read


def test_the_row_for_no_prefix_stays_zero_in_training() -> None:
    torch.manual_seed(0)
    config = RQTransformerConfig(SMALL, max_items=6)
    model = RQTransformer(config, random_ids(12, (3, 3)))
    assert model.prefix_embedding is not None
    items = padded(ROWS).clamp(max=11)

    class SameBatch:
        steps_per_epoch = 1

        def __call__(self, step: int) -> torch.Tensor:
            return items

    before = float(loss_of(model, items))
    training = TrainingConfig(num_steps=20, batch_size=3, learning_rate=0.05, weight_decay=0.1)
    train(model, model.loss, SameBatch(), training, progress=False)
    assert (model.prefix_embedding.weight[-1] == 0).all()
    assert (model.prefix_embedding.weight[:-1] != 0).any(1).all()
    assert float(loss_of(model, items)) < before - 0.5


def test_only_prefix_embeddings_grow_with_the_catalogue() -> None:
    def numbers(num_items: int, *, prefix_embeddings: bool) -> int:
        model = random_model(random_ids(num_items, (8, 8)), prefix_embeddings=prefix_embeddings)
        return sum(
            parameter.numel()
            for name, parameter in model.named_parameters()
            if name != "code_embedding.weight"  # the disambiguation code has more values
        )

    assert numbers(20, prefix_embeddings=False) == numbers(60, prefix_embeddings=False)
    assert numbers(20, prefix_embeddings=True) < numbers(60, prefix_embeddings=True)


@with_and_without
def test_a_catalogue_of_one_item_can_be_trained(prefix_embeddings: bool) -> None:
    model = random_model(random_ids(1, (4, 3)), prefix_embeddings=prefix_embeddings).train()
    loss = model.loss(padded([[0, 0], [0]]))
    loss.backward()
    assert loss.item() == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_float_types_recommend(dtype: torch.dtype) -> None:
    model = random_model(random_ids(20, (4, 3)))
    expected = recommend(model, HISTORIES, k=3, beams=20)
    found = recommend(model.to(dtype), HISTORIES, k=3, beams=20)
    assert found.log_probabilities.dtype == dtype
    assert torch.equal(found.items, expected.items) or dtype == torch.bfloat16


@pytest.mark.parametrize("prefix_embeddings", [True, False])
def test_the_children_are_scored_as_all_codes_are(prefix_embeddings: bool) -> None:
    """Level by level, for beams at every node, against the scores of all choices."""
    generator = torch.Generator().manual_seed(3)
    ids = SemanticIDs(torch.randint(4, (60, 3), generator=generator), 4)
    config = RQTransformerConfig(max_items=6, prefix_embeddings=prefix_embeddings)
    model = RQTransformer(config, ids).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    state = model.encode_history([torch.tensor([3, 5]), torch.tensor([7])])
    for depth in range(model.trie.depth):
        nodes = torch.arange(len(model.trie.level(depth).code)).expand(2, -1)
        state = state._replace(nodes=nodes, depth=depth)
        children = model.trie.children_of(depth, nodes)
        found = model.child_log_probabilities(state, children, 0.7)
        every = (model.next_code_logits(state) / 0.7).log_softmax(2).gather(2, children.codes)
        torch.testing.assert_close(found[children.valid], every[children.valid])


def test_the_vectors_of_a_network_follow_its_weights() -> None:
    generator = torch.Generator().manual_seed(3)
    ids = SemanticIDs(torch.randint(4, (60, 3), generator=generator), 4)
    model = RQTransformer(RQTransformerConfig(max_items=6, prefix_embeddings=False), ids).eval()
    before = model.scores([torch.tensor([1])])
    with torch.no_grad():
        for parameter in model.prefix_network.parameters():
            parameter.add_(0.2)
    after = model.scores([torch.tensor([1])])
    assert not torch.allclose(before, after)
    other = RQTransformer(model.config, ids).eval()
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(after, other.scores([torch.tensor([1])]))
