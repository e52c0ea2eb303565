"""What a dataset holds, in the publisher's ids, to compare with what is expected."""

from typing import Any

from rqvae_lib.data.dataset import Dataset


def met(data: Dataset) -> dict[Any, list[Any]]:
    """Return each user's items, by the publisher's ids, the oldest first."""
    ids = data.items["item_id"].tolist()
    return {user: [ids[item] for item in data.user_history(user)] for user in data.user_ids}


def times(data: Dataset) -> list[int]:
    """Return the times of all interactions in microseconds, sorted by user and time."""
    return data.interactions["timestamp"].tolist()


def said(data: Dataset, *pieces: str) -> None:
    """Check that a dataset's notes say something, in one note for all pieces."""
    assert any(all(piece in note for piece in pieces) for note in data.notes), data.notes
