"""The library computes with its own torch settings, whatever the caller's are.

torch has settings that change what every later line computes: the type of new numbers, the device
of new tensors, the precision of matrix products, autocast, inference mode. Item codes must not
depend on them: an item whose code moves with a setting is another item to a recommender. So the
functions that users call run inside `own_settings`, which restores the caller's settings at the
end, also after an error.

Some settings belong to a thread, others to the whole process. The latter are changed by the first
thread that enters and restored by the last one that leaves. In between, the other threads of the
process see float32 and full precision.

Left as they are: the number of threads and deterministic algorithms, which do not change a result
beyond rounding, and gradients, which `training.loop.train` turns on by itself.

Used by: every function that decides codes, trains, scores, loads or saves.
"""

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, NamedTuple, TypeVar, cast

import torch

Function = TypeVar("Function", bound=Callable[..., Any])

DTYPE = torch.float32  # of vectors and weights
FULL = ("none", "ieee")  # torch's names for float32 products in full precision
BACKENDS = ("mkldnn", "cuda")  # those whose products can be less precise: of CPUs and GPUs
AUTOCAST = ("cpu", "cuda")  # devices whose products autocast may round
# torch 2.9 and newer set the precision for each backend; older ones have one setting for all.
HAS_BACKENDS = hasattr(torch._C, "_get_fp32_precision_getter")


def own_settings(function: Function) -> Function:
    """Run a function with the library's settings, and restore the caller's at the end.

    New tensors are float32 and on the CPU unless the function says otherwise, float32 products are
    computed in full precision, autocast is off, and tensors can be used for training later, even
    if the caller is in inference mode.

    Args:
        function: not a generator, whose caller would run between its steps.
    """
    return _inside(function, keep_device=False)


def own_dtype(function: Function) -> Function:
    """Run a function as `own_settings` does, but make new tensors where the caller wants them.

    For constructors of models, whose weights follow torch's default device, as in
    `with torch.device("meta")`.
    """
    return _inside(function, keep_device=True)


@contextmanager
def in_own_settings() -> Iterator[None]:
    """Run a `with` block as `own_settings` runs a function."""
    _shared.enter()
    try:
        with _of_this_thread(keep_device=False):
            yield
    finally:
        _shared.leave()


def _inside(function: Function, *, keep_device: bool) -> Function:
    assert not inspect.isgeneratorfunction(function)

    @wraps(function)
    def inside(*args: Any, **kwargs: Any) -> Any:
        # What torch compiles or exports computes with the settings of the time when it runs.
        if torch.compiler.is_compiling():
            return function(*args, **kwargs)
        _shared.enter()
        try:
            if _is_plain(keep_device):  # the usual case, which a request should not pay for
                return function(*args, **kwargs)
            with _of_this_thread(keep_device):
                return function(*args, **kwargs)
        finally:
            _shared.leave()

    return cast(Function, inside)


def _is_plain(keep_device: bool) -> bool:
    """Return whether the settings of this thread are the library's already."""
    return not (
        torch.is_inference_mode_enabled()
        or any(map(torch.is_autocast_enabled, AUTOCAST))
        or not (keep_device or _is_cpu_default())
    )


def _is_cpu_default() -> bool:
    """Return whether new tensors are on the CPU."""
    # Another default device is one of torch's "modes". To count those is much the quickest.
    return torch._C._len_torch_function_stack() == 0 or torch.get_default_device().type == "cpu"


@contextmanager
def _of_this_thread(keep_device: bool) -> Iterator[None]:
    """Change the settings that belong to this thread."""
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.no_grad())  # as in inference mode
        for device in filter(torch.is_autocast_enabled, AUTOCAST):
            stack.enter_context(torch.autocast(device, enabled=False))
        if not keep_device and not _is_cpu_default():
            stack.enter_context(torch.device("cpu"))
        yield


class _Precision(NamedTuple):
    """How precise torch's float32 products are, as the caller set it."""

    # By `torch.set_float32_matmul_precision`; None if torch does not tell, because the newer
    # settings below say something else (seen in 2.13: it raises).
    older: str | None
    of_backends: tuple[str, ...]  # of `torch.backends.<backend>.matmul.fp32_precision`

    @classmethod
    def now(cls) -> "_Precision":
        try:
            older: str | None = torch.get_float32_matmul_precision()
        except RuntimeError:
            older = None
        return cls(older, tuple(map(_precision_of, BACKENDS)) if HAS_BACKENDS else ())

    def set(self) -> None:
        torch.set_float32_matmul_precision(self.older or "highest")
        if not HAS_BACKENDS:
            return
        for backend, precision in zip(BACKENDS, self.of_backends, strict=True):
            # A backend without a precision of its own has the one of all backends.
            _set_precision(backend, "none")
            if _precision_of(backend) != precision:
                _set_precision(backend, precision)


def _precision_of(backend: str) -> str:
    precision: str = torch._C._get_fp32_precision_getter(backend, "matmul")
    return precision


def _set_precision(backend: str, precision: str) -> None:
    torch._C._set_fp32_precision_setter(backend, "matmul", precision)


def _is_full() -> bool:
    if not HAS_BACKENDS:
        return torch.get_float32_matmul_precision() == "highest"
    return all(_precision_of(backend) in FULL for backend in BACKENDS)


class _Shared:
    """The settings that all threads of a process share, and how many calls need the library's."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.calls = 0
        self.dtype: torch.dtype | None = None  # the caller's; None: not changed
        self.precision: _Precision | None = None  # likewise

    def enter(self) -> None:
        """Change what is not the library's, also what a thread set since others entered."""
        with self.lock:
            self.calls += 1
            dtype = torch.get_default_dtype()
            if dtype != DTYPE:
                self.dtype = dtype
                torch.set_default_dtype(DTYPE)
            if not _is_full():
                self.precision = _Precision.now()
                # It sets the precision of all backends, and keeps what torch asks of itself true.
                torch.set_float32_matmul_precision("highest")

    def leave(self) -> None:
        """Restore the caller's settings with the last call, but for what was set meanwhile."""
        with self.lock:
            self.calls -= 1
            if self.calls:
                return
            if self.dtype is not None and torch.get_default_dtype() == DTYPE:
                torch.set_default_dtype(self.dtype)
            if self.precision is not None and _is_full():
                self.precision.set()
            self.dtype = self.precision = None


_shared = _Shared()
