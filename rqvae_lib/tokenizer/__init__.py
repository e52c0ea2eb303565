"""The tokenizer, an RQ-VAE: residual quantization, collisions, and metrics."""
