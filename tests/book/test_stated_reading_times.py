"""A chapter's head says how long it takes to read: what was counted, to five minutes."""

import pytest

from reading_times import chapters, counts_of, rounded, stated

MARGIN = 5  # minutes


@pytest.mark.parametrize("page", chapters())
def test_a_chapter_says_how_long_it_takes_to_read(page: str) -> None:
    counted = counts_of(page).minutes
    assert abs(stated(page) - counted) <= MARGIN, (
        f"{page} says {stated(page)} minutes, and {counted:.0f} are counted: write "
        f"`**Time:** about {rounded(counted)} minutes to read.`"
    )
