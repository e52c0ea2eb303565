"""Well-known datasets without times, which are no sequences and are refused with the reason.

A list of what somebody read, without when, has no last item and no next one.

Used by: `read_folder`.
"""

from pathlib import Path
from typing import NoReturn

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.datasets.text_files import header_of

_KNOWN = {
    "goodreads_interactions.csv": (
        "Goodreads in its CSV edition",
        "the files goodreads_interactions_….json.gz have times",
    ),
    "BX-Book-Ratings.csv": ("Book-Crossing", "no edition of it has times"),
    "Ratings.csv": ("Book-Crossing", "no edition of it has times"),
    "user_artists.dat": ("Last.fm 2k", "it counts plays; Last.fm 1K has times"),
}


def find_without_times(folder: Path) -> list[Path]:
    """Return the files of such a dataset in a folder."""
    found = []
    for name in _KNOWN:
        path = folder / name
        if path.name in {other.name for other in folder.glob(name)} and (
            name != "Ratings.csv" or _is_book_crossing(path)
        ):
            found.append(path)
    return found[:1]


def refuse_without_times(folder: str | Path) -> Dataset:
    """Raise ValueError: the dataset in a folder has no times."""
    (path,) = find_without_times(Path(folder))
    _refuse(path)


def _refuse(path: Path) -> NoReturn:
    name, instead = _KNOWN[path.name]
    raise ValueError(
        f"{path} is {name}, which says what people met but not when, expected a time in each row: "
        f"without it there is no order and no next item ({instead}); choose another dataset"
    )


def _is_book_crossing(path: Path) -> bool:
    try:
        header = ",".join(header_of(path, ",")).replace(";", ",").replace('"', "")
    except ValueError:
        return False
    return header.startswith("User-ID,ISBN")
