"""The scale: a power of two that is exact, whatever the size of the numbers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rqvae_lib.ops.scale import scale_of

SIZES = st.floats(1e-25, 1e25, allow_nan=False)


@given(SIZES, st.booleans())
def test_it_is_the_power_of_two_just_above_the_largest_number(size: float, negative: bool) -> None:
    x = torch.tensor([[0.0, -size if negative else size], [size / 3, 0.0]])
    _, exponent = math.frexp(float(x.abs().max()))
    assert float(scale_of(x)) == 2.0**exponent
    assert 0.5 <= float((x / scale_of(x)).abs().max()) < 1
    assert torch.equal(x / scale_of(x) * scale_of(x), x)


def test_by_rows() -> None:
    x = torch.tensor([[3.0, -5.0], [0.0, 0.0], [1e-20, 2e-20]])
    assert scale_of(x, 1).tolist() == [[8.0], [1.0], [2.0**-65]]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_it_is_one_where_there_is_none(bad: float) -> None:
    for x in (torch.zeros(3, 2), torch.zeros(0, 2), torch.tensor([[1e9, bad]])):
        assert float(scale_of(x)) == 1


def test_its_square_and_its_inverse_stay_in_float32() -> None:
    for x in (torch.tensor([1e-45]), torch.tensor([3e38]), torch.tensor([1e-300]).double()):
        scale = float(scale_of(x))
        assert 0 < torch.tensor(1 / scale).float() < math.inf
        assert 2.0**-100 <= scale <= 2.0**100
