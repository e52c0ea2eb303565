"""Semantic IDs from scratch: the library under the book.

Items become short tuples of codes (an RQ-VAE), and a transformer recommends by writing the next
item's codes. The names for a first day are here, as in `from rqvae_lib import load_dataset`; the
rest is in the packages:

    io            files: written whole, locked, of tensors
    ops           numerics that know no items: k-means, Sinkhorn, gradient estimators, neighbors
    data          a dataset in memory: its tables (also your own), splits, batches
    datasets      where data come from: embedded, MovieLens, Amazon, downloads
    semantic_ids  the catalogue of IDs, its trie, IDs in files
    embeddings    item vectors: from texts, from who chose what
    tokenizer     the RQ-VAE and its quantizer, collisions, what the codes are worth
    models        the recommenders: generative ones, SASRec, item-kNN, popularity
    training      the training loop, its state, the trainings that work
    generation    beam search, exact scores
    checkpoints   models as files, with their cards; the shipped models
    evaluation    metrics, the evaluator, validation
    cli           the command rqvae-lib, one file per command
    teaching      what only the book needs: checks of exercises, plots, maps

A name loads the module that defines it when it is first used, so `import rqvae_lib` takes no time
and does not load torch. It sets no seed, no precision and no other global state either.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"
