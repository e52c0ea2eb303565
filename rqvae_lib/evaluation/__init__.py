"""How good a model is, and how sure we are: for all models, the same targets and metrics."""
