"""Steam's reviews and games: Python literals with u''."""

import re
from pathlib import Path

import pytest

from rqvae_lib.datasets.registry import load_dataset
from tests.datasets.histories import met, said, times
from tests.datasets.published import steam, written
from tests.datasets.spoiled import replaced

DAY = 86_400 * 10**6


def test_reviews_and_games(tmp_path: Path) -> None:
    data = load_dataset(written(steam(), tmp_path))
    assert data.name == "steam"
    assert met(data) == {"Chaos Syren": [10, 725280, 328100], "✔ Freak": [328100]}
    # 2016-02-29 and 2017-12-17, as days since 1970
    assert [time // DAY for time in times(data)] == [16860, 17517, 17517, 17380]
    assert all(time % DAY == 0 for time in times(data))
    assert data.titles == ["Untitled 10", "SNOW", "Lost & Found (2018)"]
    assert data.items["genres"].tolist() == ["", "", "Action|Indie|Strategy"]
    assert data.texts[2] == (
        "Lost & Found (2018). Brand: Kotoshiro. Categories: Action, Indie, Strategy."
    )
    said(data, "1 game in steam_games.json.gz without an id")
    said(data, "lists 1 item again")
    said(data, "1 interaction with 1 item")


def test_reviews_alone(tmp_path: Path) -> None:
    files = {name: text for name, text in steam().items() if "games" not in name}
    data = load_dataset(written(files, tmp_path))
    assert met(data)["Chaos Syren"] == [10, 725280, 328100]
    assert not data.has_texts


REVIEWS, GAMES = "steam_reviews.json.gz", "steam_games.json.gz"
BAD = [
    (REVIEWS, "{u'username'", "{u'username", "line 1: found \"{u'username: u'Chaos"),
    (REVIEWS, "u'2017-12-17'", "f()", "line 1: found \"{u'username': u'Chaos"),
    (REVIEWS, "u'2017-12-17'", "u'17.12.2017'", "line 1: date is '17.12.2017', expected a day"),
    (REVIEWS, "u'2017-12-17'", "u'2017-02-29'", "line 1: date is '2017-02-29', expected a day of"),
    (REVIEWS, "u'2017-12-17'", "u'1869-02-28'", "line 1: date is '1869-02-28', expected a day aft"),
    (REVIEWS, "u'725280'", "None", "line 1: product_id is None, expected an id as text"),
    (REVIEWS, "u'725280'", "u' '", "line 1: product_id is ' ', expected an id as text"),
    (REVIEWS, "u'Chaos Syren'", "7", "line 1: username is 7, expected an id as text"),
    (GAMES, "u'725280'", "725280", "line 1: id is 725280, expected an id as text"),
    (GAMES, "[u'Action', u'Indie']", "u'Action'", "line 1: genres is 'Action', expected a list"),
    (GAMES, "u'SNOW'", "{}", "line 3: app_name is {}, expected text or nothing"),
]


@pytest.mark.parametrize(("name", "old", "new", "says"), BAD, ids=[row[3] for row in BAD])
def test_a_bad_file_gets_its_sentence(
    name: str, old: str, new: str, says: str, tmp_path: Path
) -> None:
    folder = written(replaced(steam(), name, old, new), tmp_path)
    with pytest.raises(ValueError, match=re.escape(says)) as caught:
        load_dataset(folder)
    assert str(folder / name) in str(caught.value)
