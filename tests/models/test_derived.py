"""What is made from weights is made once, and again after every kind of change."""

import copy
import pickle

import torch
from torch import Tensor, nn

from rqvae_lib.models.derived import Derived


class Doubling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 3)
        self.derived: Derived[Tensor] = Derived()
        self.made = 0

    def doubled(self) -> Tensor:
        def make() -> Tensor:
            self.made += 1
            return 2 * self.layer.weight.detach()

        return self.derived.of([self.layer.weight], make)


def check(model: Doubling) -> None:
    torch.testing.assert_close(model.doubled(), 2 * model.layer.weight.detach())


def test_it_is_made_once_until_the_weights_change() -> None:
    model = Doubling()
    for _ in range(3):
        check(model)
    assert model.made == 1
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    model.layer(torch.ones(2)).sum().backward()
    optimizer.step()
    check(model)
    assert model.made == 2
    model.load_state_dict({"layer.weight": torch.ones(3, 2), "layer.bias": torch.zeros(3)})
    check(model)
    model.half().float()
    with torch.no_grad():
        model.layer.weight[0, 0] = 1 / 3
    model.half().float()  # rounds, and may use the same memory again
    check(model)
    model.layer.weight.data = torch.full((3, 2), 7.0)
    check(model)
    model.layer.weight = nn.Parameter(torch.full((3, 2), 8.0))
    check(model)


def test_a_copy_has_its_own() -> None:
    model = Doubling()
    check(model)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.layer.weight.fill_(5)
    check(other)
    check(model)


def test_it_follows_changes_that_torch_does_not_count() -> None:
    model = Doubling()
    check(model)
    model.layer.weight.data.mul_(0.5)  # as in many moving averages of weights
    check(model)
    model.layer.weight.detach().numpy()[:] = 3
    check(model)
    assert model.made == 3


def test_it_does_not_depend_on_the_settings_of_the_first_caller() -> None:
    model = Doubling()
    expected = model.layer.weight.detach() @ torch.ones(2, 5)

    def product() -> Tensor:
        weight = model.layer.weight
        return model.derived.of([weight], lambda: weight @ torch.ones(2, 5))

    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        product()
    assert not product().is_inference()
    assert not product().requires_grad
    assert torch.equal(product(), expected)


def test_weights_made_in_inference_mode_will_do() -> None:
    with torch.inference_mode():
        model = Doubling()
    check(model)
    with torch.inference_mode():
        model.layer.weight.fill_(5)
    check(model)


def test_a_file_of_a_model_does_not_hold_it() -> None:
    model = Doubling()
    before = pickle.dumps(model.derived)
    check(model)
    assert pickle.dumps(model.derived) == before
