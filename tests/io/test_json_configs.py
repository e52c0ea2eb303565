"""Configurations from JSON: made, or refused with the setting named."""

import json
from dataclasses import asdict, dataclass, field
from typing import Literal

import pytest

from rqvae_lib.io.json_configs import config_from_json
from rqvae_lib.models.configs import DecoderOnlyConfig, RQTransformerConfig, SASRecConfig
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.training.config import RECOMMENDER_TRAINING, RQVAE_TRAINING


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
