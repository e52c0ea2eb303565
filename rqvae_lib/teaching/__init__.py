"""What only the book needs: the checks of its exercises, its figures, and the map of items."""
