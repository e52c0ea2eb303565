"""Safe files: atomic writes, locks, checkpoint files, and settings from JSON."""
