"""Where data come from: the embedded MovieLens, downloads, and published file formats."""
