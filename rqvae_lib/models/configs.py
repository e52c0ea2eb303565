"""The settings of every model of histories, and their defaults: the only place where these stand.

The command line reads its defaults here too. This file imports nothing that takes time to load.

Source: see the file of each model.
Derived in: chapter 08 and chapter 10.
"""

from dataclasses import dataclass, field
from typing import Literal

ArchitectureName = Literal["decoder-only", "encoder-decoder", "rq-transformer"]


@dataclass(frozen=True)
class TransformerConfig:
    dim: int = 64  # D: numbers in a token's vector
    num_layers: int = 2  # blocks, one after another
    num_heads: int = 4  # H: attention heads; divides dim
    mlp_dim: int = 256  # width of the block's hidden layer
    dropout: float = 0.0  # share of each block's output that is dropped in training

    def __post_init__(self) -> None:
        for name in ("dim", "num_layers", "num_heads", "mlp_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; it must be in [0, 1)")
        if self.dim % self.num_heads:
            raise ValueError(
                f"dim is {self.dim} and num_heads is {self.num_heads}: dim must be a multiple of "
                "num_heads, so that each head gets as many numbers"
            )


@dataclass(frozen=True)
class HistoryModelConfig:
    """What every model of histories has to be told."""

    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    max_items: int = 50  # W: items in a training window; a prediction reads the last W − 1
    embedding_dropout: float = 0.2  # share of the input vectors' numbers dropped in training

    def __post_init__(self) -> None:
        if isinstance(self.transformer, dict):  # as JSON gives it
            object.__setattr__(self, "transformer", TransformerConfig(**self.transformer))
        if self.max_items < 2:
            raise ValueError(
                f"max_items is {self.max_items}; a history and a target need at least 2"
            )
        if not 0 <= self.embedding_dropout < 1:
            raise ValueError(f"embedding_dropout is {self.embedding_dropout}; it must be in [0, 1)")


@dataclass(frozen=True)
class CodeSequenceConfig(HistoryModelConfig):
    """What both architectures have; each has its own class, which says which one it is."""

    valid_only: bool = False  # each softmax over the codes that lead to an item, not over all


@dataclass(frozen=True)
class DecoderOnlyConfig(CodeSequenceConfig):
    """The architecture of a `DecoderOnly`; the fields are `CodeSequenceConfig`'s."""


@dataclass(frozen=True)
class EncoderDecoderConfig(CodeSequenceConfig):
    """The architecture of an `EncoderDecoder`; the fields are `CodeSequenceConfig`'s.

    `transformer` describes the encoder, and the decoder too: each has as many blocks.
    """


@dataclass(frozen=True)
class RQTransformerConfig(HistoryModelConfig):
    """The architecture of an `RQTransformer`, whose transformer reads one token per item."""

    prefix_embeddings: bool = True  # a learned vector per prefix; else a network makes them


@dataclass(frozen=True, kw_only=True)
class SASRecConfig(HistoryModelConfig):
    """The architecture of a `SASRec`, which has a vector for each item and no semantic IDs."""

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
