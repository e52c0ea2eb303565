"""Everything that scores items: the generative recommenders and the baselines."""
