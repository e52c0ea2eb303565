"""At which list lengths metrics are reported: the only place where these stand.

Used by: the evaluator, the command line.
"""

CUTOFFS = (1, 5, 10, 20, 50)
