"""The catalogue of semantic IDs: lookups, files, and the trie of prefixes."""
