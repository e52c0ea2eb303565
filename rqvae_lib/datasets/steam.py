"""Steam: reviews of games, as Kang and McAuley publish them.

    steam_reviews.json.gz   a review a line: username, product_id, date, hours, text
    steam_games.json.gz     a game a line: id, app_name, title, genres, tags, release_date

Both are Python literals with u'', not JSON. A user is known by `username` alone. A game's key is
`product_id` in one file and `id` in the other, and a few games have no id. Dates are days, so that
many reviews tie; some users review a game again.

The publishers state no license; they ask for a citation. Their page is
https://cseweb.ucsd.edu/~jmcauley/datasets.html#steam_data.

Source: Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018.
"""

import re
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.datasets.json_lines import field_wrong
from rqvae_lib.datasets.literals import literal_of
from rqvae_lib.datasets.published import (
    Published,
    as_dataset,
    counted,
    ids_as_written,
    product_row,
    product_table,
    year_in,
)
from rqvae_lib.datasets.text_files import AGAIN, lines

REVIEWS = ("steam_reviews.json.gz", "steam_reviews.json", "steam_new.json")
GAMES = ("steam_games.json.gz", "steam_games.json")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def find_steam(folder: Path) -> list[Path]:
    """Return the files of reviews in a folder."""
    return [folder / name for name in REVIEWS if (folder / name).is_file()]


def read_steam(folder: str | Path) -> Dataset:
    """Read a folder with Steam's reviews and perhaps its games.

    Args:
        folder: holds steam_reviews.json.gz and perhaps steam_games.json.gz, packed or not.

    Returns:
        The dataset "steam". The genres are a game's genres and tags. The text consists of title,
        year, developer and genres.

    Raises:
        FileNotFoundError: if there are no reviews.
        ValueError: if a line is not as described; the message names the file and the line.
    """
    folder = Path(folder)
    found = find_steam(folder)
    if not found:
        raise FileNotFoundError(f"{folder} has no {REVIEWS[0]}, expected this file: {AGAIN}")
    events = _reviews(found[0])
    games = next((folder / name for name in GAMES if (folder / name).is_file()), None)
    items, notes = None, list[str]()
    if games:
        items, notes = _games(games)
    if items is not None and items["item_id"].dtype != events["item_id"].dtype:
        items["item_id"] = items["item_id"].astype("string")
        events["item_id"] = events["item_id"].astype("string")
    listed_in = games.name if games else ""
    return as_dataset(Published("steam", events, items, None, tuple(notes), listed_in))


def _reviews(path: Path) -> pd.DataFrame:
    users: list[str] = []
    games: list[str] = []
    days: list[date] = []
    known: dict[str, date] = {}
    for number, line in lines(path):
        review = literal_of(path, number, line, "a review")
        user, game, day = (review.get(name) for name in ("username", "product_id", "date"))
        for name, value in (("username", user), ("product_id", game)):
            if not isinstance(value, str) or not value.strip():
                raise field_wrong(path, number, name, value, "an id as text")
        if not isinstance(day, str) or not _DAY.fullmatch(day):
            raise field_wrong(path, number, "date", day, "a day such as '2017-12-17'")
        if day not in known:
            try:
                known[day] = date.fromisoformat(day)
            except ValueError as error:
                raise field_wrong(path, number, "date", day, "a day of the calendar") from error
            if known[day].year < 1970:
                raise field_wrong(path, number, "date", day, "a day after 1970")
        users.append(_whole(str(user)))
        games.append(_whole(str(game)))
        days.append(known[day])
    if not users:
        raise ValueError(f"{path} has no rows, expected at least one: {AGAIN}")
    return pd.DataFrame(
        {
            "user_id": pd.array(users, dtype="string"),
            "item_id": ids_as_written(pd.Series(games, dtype="string")),
            "timestamp": pd.to_datetime(pd.Series(days)),
        }
    )


def _games(path: Path) -> tuple[pd.DataFrame, list[str]]:
    rows: list[dict[str, object]] = []
    nameless = 0
    for number, line in lines(path):
        game = literal_of(path, number, line, "a game")
        game_id = game.get("id")
        if game_id is None:
            nameless += 1
            continue
        if not isinstance(game_id, str) or not game_id.strip():
            raise field_wrong(path, number, "id", game_id, "an id as text")
        title = _text(path, number, game, "app_name") or _text(path, number, game, "title")
        released = _text(path, number, game, "release_date")
        kinds = [*_texts(path, number, game, "genres"), *_texts(path, number, game, "tags")]
        developer = _text(path, number, game, "developer")
        rows.append(product_row(_whole(game_id), title, developer, kinds, year_in(released)))
    notes = []
    if nameless:
        notes.append(f"{counted(nameless, 'game')} in {path.name} without an id: left out")
    table = product_table(rows)
    table["item_id"] = ids_as_written(table["item_id"].astype("string"))
    return table, notes


def _text(path: Path, number: int, game: dict[str, Any], name: str) -> str:
    value = game.get(name)
    if value is not None and not isinstance(value, str):
        raise field_wrong(path, number, name, value, "text or nothing")
    return value or ""


def _texts(path: Path, number: int, game: dict[str, Any], name: str) -> list[str]:
    value = game.get(name) or []
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise field_wrong(path, number, name, value, "a list of text")
    return value


def _whole(text: str) -> str:
    """Return a text without halves of surrogate pairs, which cannot be written as UTF-8."""
    return text.encode("utf-8", "replace").decode()
