"""Models as files, each with a card that says how it was made; and the shipped models."""
