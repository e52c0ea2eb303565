"""How many items and beams a search has, unless it is told: the only place where these stand.

Used by: beam search, the evaluator, the command line.
"""

NUM_ITEMS = 10  # k: items recommended to a user
NUM_BEAMS = 50  # prefixes kept at each level
