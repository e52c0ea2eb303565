"""The settings of all models of histories and their defaults, which are defined only here.

The command line takes its defaults from here too, so this file imports nothing that is slow to
load.

Source: see the file of each model.
Derived in: chapter 08 and chapter 10.
"""

from dataclasses import dataclass, field
from typing import Literal

from rqvae_lib.io.json_configs import check_settings

ArchitectureName = Literal["decoder-only", "encoder-decoder", "rq-transformer"]
DEFAULT_ARCHITECTURE: ArchitectureName = "decoder-only"


@dataclass(frozen=True)
class TransformerConfig:
    """The size of a transformer.

    Raises:
        ValueError: if a setting has another type, if a number is outside its range, or if dim is
            not a multiple of num_heads.
    """

    dim: int = 64  # D: numbers in a token's vector
    num_layers: int = 2  # blocks, one after another
    num_heads: int = 4  # H: attention heads; divides dim
    mlp_dim: int = 256  # width of the block's hidden layer
    dropout: float = 0.0  # share of each sublayer's output that is dropped in training, in [0, 1)

    def __post_init__(self) -> None:
        check_settings(self)
        for name in ("dim", "num_layers", "num_heads", "mlp_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; it must be in [0, 1)")
        if self.dim % self.num_heads:
            raise ValueError(
                f"dim is {self.dim} and num_heads is {self.num_heads}: dim must be a multiple of "
                "num_heads, so that all heads have the same width"
            )


@dataclass(frozen=True)
class HistoryModelConfig:
    """The settings that all models of histories share.

    Raises:
        ValueError: if a setting has another type, or a number is outside its range.
    """

    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    max_items: int = 50  # W: items in a training window; a prediction reads the last W − 1
    embedding_dropout: float = 0.2  # share of the inputs' numbers dropped in training, in [0, 1)

    def __post_init__(self) -> None:
        check_settings(self)
        if self.max_items < 2:
            raise ValueError(
                f"max_items is {self.max_items}; a history and a target need at least 2"
            )
        if not 0 <= self.embedding_dropout < 1:
            raise ValueError(f"embedding_dropout is {self.embedding_dropout}; it must be in [0, 1)")


@dataclass(frozen=True)
class CodeSequenceConfig(HistoryModelConfig):
    """What decoder-only and encoder–decoder share. Each has a class of its own, which names it."""

    valid_only: bool = False  # softmax over the codes that lead to an item only, not over all codes


@dataclass(frozen=True)
class DecoderOnlyConfig(CodeSequenceConfig):
    """The architecture of a `DecoderOnly`. The fields are those of `CodeSequenceConfig`."""


@dataclass(frozen=True)
class EncoderDecoderConfig(CodeSequenceConfig):
    """The architecture of an `EncoderDecoder`. The fields are those of `CodeSequenceConfig`.

    `transformer` describes both the encoder and the decoder: each has `num_layers` blocks.
    """


@dataclass(frozen=True)
class RQTransformerConfig(HistoryModelConfig):
    """The architecture of an `RQTransformer`, whose transformer reads one token per item."""

    prefix_embeddings: bool = True  # a learned vector per prefix; False: a network makes them


@dataclass(frozen=True, kw_only=True)
class SASRecConfig(HistoryModelConfig):
    """The architecture of a `SASRec`, which has one vector per item and no semantic IDs.

    Raises:
        ValueError: if a setting has another type, or a number is outside its range.
    """

    num_items: int  # N, the size of the catalogue

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_items < 1:
            raise ValueError(f"num_items is {self.num_items}; a catalogue holds at least 1 item")


CONFIGS: dict[ArchitectureName, type[CodeSequenceConfig] | type[RQTransformerConfig]] = {
    "decoder-only": DecoderOnlyConfig,
    "encoder-decoder": EncoderDecoderConfig,
    "rq-transformer": RQTransformerConfig,
}
