"""The default numbers of items and beams of a search, which are defined only here.

Used by: beam search, the evaluator, the command line.
"""

NUM_ITEMS = 10  # k: items to recommend to a user
NUM_BEAMS = 50  # prefixes that are kept at each level
# Divided by less, scores may overflow float32; divided by more, they differ by less than their
# rounding. The lowest temperature is already as greedy as any lower one.
TEMPERATURES = (1e-6, 1e6)
TEMPERATURE = 1.0  # leaves the model's probabilities as they are
