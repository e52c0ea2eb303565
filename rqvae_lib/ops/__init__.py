"""Numerical building blocks that know nothing about items, such as k-means and Sinkhorn."""
