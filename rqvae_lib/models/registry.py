"""The architectures by name: which class a configuration describes.

Files and commands name an architecture in words.

Seen at work in: chapter 10.
"""

from rqvae_lib.models.base import Recommender
from rqvae_lib.models.configs import CONFIGS, ArchitectureName, HistoryModelConfig
from rqvae_lib.models.decoder_only import DecoderOnly
from rqvae_lib.models.encoder_decoder import EncoderDecoder
from rqvae_lib.models.rq_transformer import RQTransformer
from rqvae_lib.semantic_ids.catalogue import SemanticIDs

MODELS: dict[ArchitectureName, type[Recommender]] = {
    "decoder-only": DecoderOnly,
    "encoder-decoder": EncoderDecoder,
    "rq-transformer": RQTransformer,
}


def name_of(config: HistoryModelConfig) -> ArchitectureName:
    """Return the name of the architecture that a configuration describes.

    Raises:
        ValueError: if it describes none.
    """
    for name, kind in CONFIGS.items():
        if type(config) is kind:
            return name
    expected = " or ".join(kind.__name__ for kind in CONFIGS.values())
    raise ValueError(f"the configuration is a {type(config).__name__}; expected {expected}")


def new_recommender(config: HistoryModelConfig, ids: SemanticIDs) -> Recommender:
    """Return a recommender of random weights, drawn from torch's default generator.

    Args:
        config: its type says which architecture.
        ids: the catalogue that the model will speak.

    Raises:
        ValueError: if the configuration is of no architecture.
    """
    return MODELS[name_of(config)](config, ids)
