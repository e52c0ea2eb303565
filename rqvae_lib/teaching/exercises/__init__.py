"""The cases of each chapter's exercises, a module a chapter: `checks.py` runs them."""
