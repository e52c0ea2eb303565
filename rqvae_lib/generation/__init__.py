"""Recommendations from a generative model: beam search in the trie, and exact scores."""
