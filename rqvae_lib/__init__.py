"""Semantic IDs from scratch: the library under the book.

Items become short tuples of codes (an RQ-VAE), and a transformer recommends by writing the next
item's codes. The names for a first day are here; everything else is in the packages, which stand
in the order in which data flow:

    data → datasets → embeddings → tokenizer → semantic_ids
    models → training → generation → evaluation → checkpoints → cli

`from rqvae_lib import load_dataset` loads the module that defines the name, and nothing else, so
`import rqvae_lib` takes no time and does not load torch. It sets no seed, no precision and no other
global state either.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"
