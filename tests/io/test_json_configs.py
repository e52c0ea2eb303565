"""Configurations from JSON: made, or refused with the setting named."""

import json
from dataclasses import asdict, dataclass, field, fields, replace
from enum import IntEnum
from importlib import import_module
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch

from rqvae_lib.io.json_configs import check_settings, config_from_json
from rqvae_lib.models.configs import (
    DecoderOnlyConfig,
    EncoderDecoderConfig,
    HistoryModelConfig,
    RQTransformerConfig,
    SASRecConfig,
    TransformerConfig,
)
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.training.config import (
    RECOMMENDER_TRAINING,
    RQVAE_TRAINING,
    EarlyStop,
    TrainingConfig,
)
from tests.helpers import ROOT


@dataclass(frozen=True)
class Inner:
    width: int = 3


@dataclass(frozen=True)
class Settings:
    size: int
    share: float = 0.5
    name: Literal["a", "b"] = "a"
    on: bool = False
    widths: tuple[int, ...] | None = None
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size is {self.size}; it must be at least 1")


@dataclass(frozen=True)
class Outer:
    parts: tuple[Inner, ...]
    best: Inner | None = None


def test_settings_within_lists_and_settings_that_may_be_missing() -> None:
    found = config_from_json(Outer, {"parts": [{"width": 1}, {}], "best": {"width": 5}})
    assert found == Outer((Inner(1), Inner()), Inner(5))
    assert config_from_json(Outer, {"parts": [], "best": None}) == Outer(())
    with pytest.raises(ValueError, match=r"^width is 'x'; expected a whole number"):
        config_from_json(Outer, {"parts": [], "best": {"width": "x"}})


def test_what_is_left_out_keeps_its_default() -> None:
    assert config_from_json(Settings, {"size": 4}) == Settings(4)
    found = config_from_json(
        Settings,
        {"size": 4, "share": 1, "name": "b", "on": True, "widths": [8, 4], "inner": {"width": 2}},
    )
    assert found == Settings(4, 1, "b", True, (8, 4), Inner(2))
    assert config_from_json(Settings, {"size": 4, "widths": None}).widths is None


@pytest.mark.parametrize(
    "config",
    [
        RQVAEConfig(12, (8, 4), 3),
        RQVAEConfig.residual_kmeans(12),
        DecoderOnlyConfig(max_items=7, valid_only=True),
        RQTransformerConfig(prefix_embeddings=False),
        SASRecConfig(num_items=90),
        RQVAE_TRAINING,
        RECOMMENDER_TRAINING,
    ],
    ids=lambda config: type(config).__name__,
)
def test_every_configuration_comes_back_from_json(config: object) -> None:
    text = json.dumps(asdict(config))  # type: ignore[call-overload]
    assert config_from_json(type(config), json.loads(text)) == config


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"size": 0}, "size is 0; it must be at least 1"),  # as the dataclass itself says
        ({"size": "4"}, "size is '4'; expected a whole number"),
        ({"size": 4.0}, "size is 4.0; expected a whole number"),
        ({"size": True}, "size is True; expected a whole number"),
        ({"size": None}, "size is None; expected a whole number"),
        ({"share": float("nan")}, "share is nan; expected a finite number"),
        ({"share": float("inf")}, "share is inf; expected a finite number"),
        ({"share": True}, "share is True; expected a finite number"),
        ({"name": "c"}, "name is 'c'; expected 'a' or 'b'"),
        ({"name": 1}, "name is 1; expected 'a' or 'b'"),
        ({"on": 1}, "on is 1; expected true or false"),
        ({"widths": [8, "4"]}, "widths is '4'; expected a whole number"),
        ({"widths": 8}, "widths is 8; expected a list"),
        ({"inner": {"width": []}}, "width is []; expected a whole number"),
        ({"inner": {"depth": 1}}, "it has a setting 'depth'; Inner has width"),
        ({"inner": 3}, "Inner is 3; expected a mapping of settings"),
        ({"sizes": 4}, "it has a setting 'sizes'; Settings has size, share, name, on, widths"),
    ],
)
def test_a_wrong_setting_is_named(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011, the text is compared below
        config_from_json(Settings, {"size": 4} | changes)
    assert str(refused.value).startswith(says)


@pytest.mark.parametrize("settings", [None, [], "size", 5])
def test_what_is_no_settings_at_all_is_refused(settings: object) -> None:
    with pytest.raises(ValueError, match=r"^Settings is .*; expected a mapping of settings"):
        config_from_json(Settings, settings)


def test_a_setting_without_a_default_has_to_be_there() -> None:
    with pytest.raises(TypeError, match="size"):
        config_from_json(Settings, {"share": 0.1})


def test_a_long_value_does_not_fill_the_screen() -> None:
    with pytest.raises(ValueError, match=r"size is .{1,60}; expected") as refused:
        config_from_json(Settings, {"size": "x" * 10_000})
    assert len(str(refused.value)) < 200


# Plain settings, when a configuration is made

CONFIGURATIONS: list[Any] = [
    RQVAEConfig(12, (8, 4), 3),
    RQVAEConfig(12, (8,), 4, estimator="gumbel", learning="gradient"),
    TransformerConfig(),
    HistoryModelConfig(),
    DecoderOnlyConfig(),
    EncoderDecoderConfig(),
    RQTransformerConfig(),
    SASRecConfig(num_items=90),
    TrainingConfig(8, num_steps=9, snapshot_steps=(3, 9), early_stop=EarlyStop("x", 2, True)),
    TrainingConfig(8, num_epochs=1.5),
    EarlyStop("loss", 3, False),
]
SETTINGS = [
    pytest.param(config, name, id=f"{type(config).__name__}.{name}")
    for config in CONFIGURATIONS
    for name in (field.name for field in fields(config))
]


def types_of(config: Any, name: str) -> tuple[Any, ...]:
    expected = get_type_hints(type(config))[name]
    is_one = isinstance(expected, type) or get_origin(expected) in (Literal, tuple)
    return (expected,) if is_one else get_args(expected)


class Number(IntEnum):
    TWO = 2


def disguises(value: object) -> list[object]:
    """Return values that are equal to a plain one, as other libraries have them."""
    if isinstance(value, bool):
        return [np.bool_(value), torch.tensor(value), np.array(value)]
    if isinstance(value, int):
        numbers = [np.int64(value), np.int32(value), np.array(value), torch.tensor(value)]
        return [*numbers, np.uint16(value), *([Number.TWO] if value == 2 else [])]
    if isinstance(value, float):
        return [np.float64(value), torch.tensor(value, dtype=torch.float64)]
    if isinstance(value, str):
        return [np.str_(value)]
    if isinstance(value, tuple):
        numbers = [np.array(value), torch.tensor(value), [np.int64(part) for part in value]]
        return [list(value), torch.Size(value), *numbers]
    return []


def is_plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(is_plain, value))
    return type(value) in (int, float, bool, str, NoneType, TransformerConfig, EarlyStop)


@pytest.mark.parametrize(("config", "name"), SETTINGS)
def test_a_setting_is_plain_whatever_it_came_as(config: Any, name: str) -> None:
    value = getattr(config, name)
    found = disguises(value)
    kinds = (bool, int, float, str, tuple)
    assert len(found) > 0 or not isinstance(value, kinds)
    for disguised in found:
        made = replace(config, **{name: disguised})
        assert made == config
        assert is_plain(getattr(made, name)), type(getattr(made, name))
        assert repr(made) == repr(config)  # which names a training's inputs
        assert json.loads(json.dumps(asdict(made))) == json.loads(json.dumps(asdict(config)))


@pytest.mark.parametrize(("config", "name"), SETTINGS)
def test_a_setting_of_another_type_is_refused_at_once(config: Any, name: str) -> None:
    """What is accepted comes back from JSON, so no training ends with a file that is refused."""
    types = types_of(config, name)
    values: list[object] = [
        *(3, 0.5, True, np.bool_(True), np.float32(0.25), 3.0, "3", b"3", None, object()),
        *([], [1.5], ["a"], (), {"dim": 8}, Path("x"), np.array([[1]]), 1 + 2j, "half \ud83d"),
        *(np.datetime64("2020"), float("nan"), np.float64("inf"), TransformerConfig(), [True]),
    ]
    for value in values:
        try:
            made = replace(config, **{name: value})
        except ValueError as error:
            says = str(error)
            assert name in says or "learning" in says or "latent" in says, says
            continue
        assert is_plain(getattr(made, name))
        again = config_from_json(type(config), json.loads(json.dumps(asdict(made))))
        assert (again, repr(again)) == (made, repr(made))
        if isinstance(value, bool | np.bool_):
            assert bool in types
        if isinstance(value, str):
            assert str in types or any(value in get_args(kind) for kind in types)


def test_every_configuration_checks_its_settings() -> None:
    """All dataclasses of the files of settings are in the list above, or are others' bases."""
    files = [*(ROOT / "rqvae_lib").glob("*/config.py"), *(ROOT / "rqvae_lib").glob("*/configs.py")]
    assert len(files) >= 3
    found = {
        kind
        for path in files
        for kind in vars(import_module(f"rqvae_lib.{path.parent.name}.{path.stem}")).values()
        if isinstance(kind, type) and hasattr(kind, "__dataclass_fields__")
    }
    tried = {kind for config in CONFIGURATIONS for kind in type(config).__mro__}
    assert found <= tried


def test_a_union_of_types_and_what_is_said_of_a_wrong_one() -> None:
    @dataclass(frozen=True)
    class Made:
        size: int
        widths: tuple[int, ...] | None = None
        inner: Inner = field(default_factory=Inner)
        word: str = ""

        def __post_init__(self) -> None:
            check_settings(self)

    assert Made(np.int64(3), range(2)) == Made(3, (0, 1))  # type: ignore[arg-type]
    for settings, says in (
        ({"size": 4.0}, "size is 4.0; expected a whole number"),
        ({"size": True}, "size is True; expected a whole number"),
        ({"size": 1, "widths": "12"}, "widths is '12'; expected a list .* or null"),
        ({"size": 1, "widths": [1.5]}, "widths is 1.5; expected a whole number"),
        ({"size": 1, "inner": {"width": 1}}, "inner is {'width': 1}; expected a Inner"),
        ({"size": 1, "word": "\udce9"}, r"word is '\\udce9'; expected text that a file can hold"),
    ):
        with pytest.raises(ValueError, match=f"^{says}"):
            Made(**settings)  # type: ignore[arg-type]
