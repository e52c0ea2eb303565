"""Yelp's reviews and businesses: JSON lines."""

import re
from pathlib import Path

import pandas as pd
import pytest

from rqvae_lib.datasets.registry import load_dataset
from tests.datasets.histories import met, said, times
from tests.datasets.published import written, yelp
from tests.datasets.spoiled import replaced


def test_reviews_and_businesses(tmp_path: Path) -> None:
    data = load_dataset(written(yelp(), tmp_path))
    assert data.name == "yelp"
    body, point = "7ATYjTIgM3jUlt4UM3IypQ", "XQfwVwDr-v0ZS3_CbbE5Xw"
    assert met(data) == {"OyoGAe7OKpv6SyGZT5g77Q": [body], "mh_-eMZ6K5RLWhZyISBhwA": [body, point]}
    assert times(data) == [
        pd.Timestamp(text).value // 1000
        for text in ("2014-10-11", "2012-01-03 15:28:18", "2018-07-07 22:09:11")
    ]
    assert data.interactions["rating"].tolist() == [1, 5, 3]
    assert data.titles == ["Body Cycle & Spin", "Turning Point"]
    assert data.items["genres"].tolist() == ["Active Life|Cycling Classes", ""]
    assert data.texts[0] == "Body Cycle & Spin. Categories: Active Life, Cycling Classes."
    said(data, "UTC")


REVIEWS, BUSINESSES = "yelp_academic_dataset_review.json", "yelp_academic_dataset_business.json"
BAD = [
    (
        REVIEWS,
        '"2018-07-07 22:09:11"',
        '"07/07/2018"',
        "line 1: date is '07/07/2018', expected a ti",
    ),
    (REVIEWS, '"2018-07-07 22:09:11"', "1531001351", "line 1: date is 1531001351, expected text"),
    (REVIEWS, '"stars": 5', '"stars": 0', "line 2: stars is 0.0, expected 1 to 5"),
    (REVIEWS, '"stars": 5', '"stars": true', "line 2: stars is True, expected a finite number"),
    (REVIEWS, '"OyoGAe7OKpv6SyGZT5g77Q"', '""', "line 3: user_id is '', expected an id"),
    (REVIEWS, '"OyoGAe7OKpv6SyGZT5g77Q",', "", "line 3: found"),
    (BUSINESSES, '"Turning Point"', "7", "line 2: name is 7, expected text or nothing"),
    (BUSINESSES, '"categories": null', '"categories": [1]', "line 2: categories is [1], expected"),
    (BUSINESSES, '"XQfwVwDr-v0ZS3_CbbE5Xw"', "null", "line 2: business_id is None, expected an id"),
]


@pytest.mark.parametrize(("name", "old", "new", "says"), BAD, ids=[row[3] for row in BAD])
def test_a_bad_file_gets_its_sentence(
    name: str, old: str, new: str, says: str, tmp_path: Path
) -> None:
    folder = written(replaced(yelp(), name, old, new), tmp_path)
    with pytest.raises(ValueError, match=re.escape(says)) as caught:
        load_dataset(folder)
    assert str(folder / name) in str(caught.value)
