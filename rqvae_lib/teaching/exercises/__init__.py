"""The cases of each chapter's exercises, one module per chapter: `checks.py` runs them."""
