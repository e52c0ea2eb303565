"""Good files with one thing wrong, for the tests of bad files."""

import gzip


def replaced(files: dict[str, bytes], name: str, old: str, new: str) -> dict[str, bytes]:
    """Replace a text in one of some files, also within .gz, where it occurs first."""
    packed = name.endswith(".gz")
    text = gzip.decompress(files[name]) if packed else files[name]
    assert old.encode() in text
    text = text.replace(old.encode(), new.encode(), 1)
    return files | {name: gzip.compress(text) if packed else text}
