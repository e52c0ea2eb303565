"""The default numbers of items and beams of a search, which are defined only here.

Used by: beam search, the evaluator, the command line.
"""

NUM_ITEMS = 10  # k: items to recommend to a user
NUM_BEAMS = 50  # prefixes that are kept at each level
TEMPERATURE = 1.0  # leaves the model's probabilities as they are
