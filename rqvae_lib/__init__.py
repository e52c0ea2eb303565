"""Semantic IDs from scratch: the library under the book.

Items become short tuples of codes (an RQ-VAE), and a transformer recommends by writing the next
item's codes. Import what you need from its module, in the order in which data flows:

    datasets → content → kmeans → quantize → rqvae → semantic_ids → trie
    splits → batches → transformer → recommenders → generate → evaluate

`recipes` holds the two trainings of the pipeline, `checkpoints` what they leave, and `cli` the
command `rqvae-lib`. Importing the package sets no seed, no precision and no other global state.
"""
