"""Training: its settings, the loop, resumable states, and the pipeline's recipes."""
