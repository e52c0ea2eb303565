"""The recommenders by name, for whatever is told in words which one to make: files and commands.

Seen at work in: chapter 10.
"""

from dataclasses import dataclass

from rqvae_lib.code_sequences import CodeSequenceConfig
from rqvae_lib.decoder_only import DecoderOnly, DecoderOnlyConfig
from rqvae_lib.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from rqvae_lib.history_models import HistoryModelConfig
from rqvae_lib.recommenders import Recommender
from rqvae_lib.rq_transformer import RQTransformer, RQTransformerConfig
from rqvae_lib.semantic_ids import SemanticIDs


@dataclass(frozen=True)
class Architecture:
    config: type[CodeSequenceConfig] | type[RQTransformerConfig]  # what describes a model of it
    model: type[Recommender]  # made from such a description and a catalogue of IDs


ARCHITECTURES = {
    "decoder-only": Architecture(DecoderOnlyConfig, DecoderOnly),
    "encoder-decoder": Architecture(EncoderDecoderConfig, EncoderDecoder),
    "rq-transformer": Architecture(RQTransformerConfig, RQTransformer),
}


def name_of(config: HistoryModelConfig) -> str:
    """Return the name of the architecture that a configuration describes.

    Raises:
        ValueError: if it describes none.
    """
    for name, architecture in ARCHITECTURES.items():
        if type(config) is architecture.config:
            return name
    expected = " or ".join(entry.config.__name__ for entry in ARCHITECTURES.values())
    raise ValueError(f"the configuration is a {type(config).__name__}; expected {expected}")


def new_recommender(config: HistoryModelConfig, ids: SemanticIDs) -> Recommender:
    """Return a recommender of random weights, drawn from torch's default generator.

    Args:
        config: its type says which architecture.
        ids: the catalogue that the model will speak.

    Raises:
        ValueError: if the configuration is of no architecture.
    """
    return ARCHITECTURES[name_of(config)].model(config, ids)
