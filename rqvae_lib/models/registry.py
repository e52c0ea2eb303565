"""The architectures by name, as files and commands write it, and the classes that they name.

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

    Args:
        config: an instance of one of the classes in `CONFIGS`.

    Raises:
        ValueError: if it is an instance of another class.
    """
    for name, kind in CONFIGS.items():
        if type(config) is kind:
            return name
    expected = " or ".join(kind.__name__ for kind in CONFIGS.values())
    raise ValueError(f"the configuration is a {type(config).__name__}; expected {expected}")


def new_recommender(config: HistoryModelConfig, ids: SemanticIDs) -> Recommender:
    """Return a recommender with random weights from torch's default generator.

    Args:
        config: the architecture, given by its class, and its settings.
        ids: the catalogue whose IDs the model will generate.

    Raises:
        ValueError: as `name_of`, or if `ids` is no catalogue.
    """
    if not isinstance(ids, SemanticIDs):
        raise ValueError(
            f"ids is a {type(ids).__name__}; expected SemanticIDs: pass the result of tokenize, or "
            "SemanticIDs(codes, codebook_sizes)"
        )
    return MODELS[name_of(config)](config, ids)
