"""Datasets as checked tables, their splits, and training batches."""
