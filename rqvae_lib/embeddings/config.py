"""The default encoder of item texts, which is defined only here.

Used by: text embeddings, the command line.
"""

DEFAULT_MODEL = "all-MiniLM-L6-v2"  # 384 numbers per text, unit length
