"""At which list lengths metrics are reported: defined only here.

Used by: the evaluator, the command line.
"""

CUTOFFS = (1, 5, 10, 20, 50)
