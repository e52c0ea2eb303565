"""Which encoder reads the items' texts, unless another is named: the only place where it stands.

Used by: text embeddings, the command line.
"""

DEFAULT_MODEL = "all-MiniLM-L6-v2"  # 384 numbers per text, unit length
