"""The library's settings of torch hold inside, and the caller's come back, whatever happens."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from rqvae_lib.ops import torch_settings
from rqvae_lib.ops.torch_settings import in_own_settings, own_dtype, own_settings
from tests.robustness.test_settings import SETTINGS, as_set

OWN = {
    **{"dtype": torch.float32, "device": torch.device("cpu"), "inference": False},
    **{"autocast": False, "precision": "highest"},
}


def found() -> dict[str, object]:
    return {name: value for name, value in as_set().items() if name in OWN}


@pytest.mark.parametrize("setting", SETTINGS)
def test_inside_are_the_librarys_settings_and_then_the_callers(setting: str) -> None:
    def fail() -> None:
        assert found() == OWN
        raise KeyError

    with SETTINGS[setting]():
        before = as_set()
        assert own_settings(found)() == OWN
        assert as_set() == before
        with pytest.raises(KeyError):
            own_settings(fail)()
        assert as_set() == before
        with in_own_settings():
            assert found() == OWN
            assert own_settings(found)() == OWN  # within each other
            assert found() == OWN
        assert as_set() == before
        assert torch_settings._shared.calls == 0


PRECISIONS: dict[str, Callable[[], None]] = {
    "medium": lambda: torch.set_float32_matmul_precision("medium"),
    "high": lambda: torch.set_float32_matmul_precision("high"),
    "TF32, the older way": lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", True),
    "TF32": lambda: setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32"),
    "a CPU's bf16": lambda: setattr(torch.backends.mkldnn.matmul, "fp32_precision", "bf16"),
    "bf16 everywhere": lambda: setattr(torch.backends, "fp32_precision", "bf16"),
    "TF32 everywhere": lambda: setattr(torch.backends, "fp32_precision", "tf32"),
}


@pytest.fixture
def precisions_restored() -> Iterator[None]:
    yield
    torch.backends.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")
    for backend in (torch.backends.mkldnn, torch.backends.cuda):
        backend.matmul.fp32_precision = "none"


@pytest.mark.usefixtures("precisions_restored")
@pytest.mark.parametrize(
    "names",
    [
        *([name] for name in PRECISIONS),
        ["medium", "TF32"],
        ["medium", "bf16 everywhere"],
        ["a CPU's bf16", "medium"],
        ["TF32", "a CPU's bf16"],
    ],
    ids=" and ".join,
)
def test_each_way_to_set_the_precision_is_kept(names: list[str]) -> None:
    """torch has an older and a newer way, which do not mix well."""

    def told() -> dict[str, object]:
        return as_set() | {"all": torch.backends.fp32_precision}

    for name in names:
        PRECISIONS[name]()
    before = told()
    inside = own_settings(as_set)()
    assert {inside["CPU"], inside["GPU"]} <= {"ieee", "none"}
    assert inside["precision"] == "highest"
    assert told() == before
    if any("everywhere" in name for name in names):  # a backend without its own goes along
        own = torch.backends.mkldnn.matmul.fp32_precision != torch.backends.fp32_precision
        torch.backends.fp32_precision = "ieee"
        assert own or torch.backends.mkldnn.matmul.fp32_precision == "ieee"


def test_a_constructor_makes_weights_where_the_caller_wants_them() -> None:
    class Net(nn.Module):
        @own_dtype
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

    with SETTINGS["float64"](), torch.device("meta"), torch.inference_mode():
        weight = Net().layer.weight
    assert (weight.dtype, weight.is_meta, weight.is_inference()) == (torch.float32, True, False)
    assert weight.requires_grad


def test_gradients_are_left_to_the_caller() -> None:
    weight = torch.ones(2, requires_grad=True)
    double = own_settings(lambda: 2 * weight)
    assert double().requires_grad
    with torch.no_grad():
        assert not double().requires_grad
    with torch.inference_mode():
        result = double()
    assert not result.requires_grad
    assert not result.is_inference()


def test_what_is_set_inside_stays() -> None:
    """A function may change a setting for its caller; nothing overwrites that."""

    def change() -> None:
        torch.set_default_dtype(torch.float16)

    with SETTINGS["float64"]():
        own_settings(change)()
        assert torch.get_default_dtype() == torch.float16


def test_threads_see_the_librarys_settings_until_the_last_one_leaves() -> None:
    first_is_in, second_is_out = threading.Event(), threading.Event()

    def first() -> object:
        first_is_in.set()
        assert second_is_out.wait(60)
        return found()  # the other one left before, and restored nothing

    with SETTINGS["float64"](), SETTINGS["medium precision"](), ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(own_settings(first))
        assert first_is_in.wait(60)
        assert pool.submit(own_settings(found)).result(60) == OWN
        torch.set_default_dtype(torch.float64)  # the caller insists while the first is at work
        assert pool.submit(own_settings(found)).result(60) == OWN
        second_is_out.set()
        assert waiting.result(60) == OWN
        assert torch.get_default_dtype() == torch.float64
        assert torch.get_float32_matmul_precision() == "medium"


def test_many_threads_at_once_leave_the_callers_settings() -> None:
    def work(_: int) -> bool:
        return all(own_settings(found)() == OWN for _ in range(50))

    with SETTINGS["bfloat16"](), SETTINGS["high precision"](), ThreadPoolExecutor(8) as pool:
        before = as_set()
        assert all(pool.map(work, range(32)))
        assert as_set() == before


class Doubles(nn.Module):
    @own_settings
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


def test_a_compiled_or_exported_function_is_left_alone() -> None:
    x = torch.arange(3.0)
    exported = torch.export.export(Doubles(), (x,)).module()
    assert torch.equal(exported(x), 2 * x)
    compiled = torch.compile(Doubles(), backend="eager", fullgraph=True)
    assert torch.equal(compiled(x), 2 * x)


def test_a_generator_is_refused_because_its_caller_would_run_inside() -> None:
    def numbers() -> object:
        yield 1

    with pytest.raises(AssertionError):
        own_settings(numbers)
