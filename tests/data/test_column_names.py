"""Which column of a table is what: known names, names that were given, and what is refused."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqvae_lib.data.column_names import (
    NAMES,
    SHORT,
    SYNONYMS,
    asked_columns,
    find_columns,
    has_a_known_name,
)

MET = ("user_id", "item_id"), ("rating", "timestamp")
LISTED = ("item_id",), ("title", "year", "genres", "text", "description")

# The header of a published table, and the columns of which it should be understood to consist.
INTERACTIONS = {
    "userId,movieId,rating,timestamp": ("userId", "movieId", "rating", "timestamp"),
    "reviewerID asin reviewerName helpful reviewText overall summary unixReviewTime reviewTime": (
        *("reviewerID", "asin", "overall", "unixReviewTime"),
    ),
    "rating title text images asin parent_asin user_id timestamp helpful_vote": (
        *("user_id", "parent_asin", "rating", "timestamp"),
    ),
    "user_id,parent_asin,rating,timestamp,history": (
        *("user_id", "parent_asin", "rating", "timestamp"),
    ),
    "username hours products product_id page_order date text early_access page": (
        *("username", "product_id", None, "date"),
    ),
    "review_id user_id business_id stars useful funny cool text date": (
        *("user_id", "business_id", "stars", "date"),
    ),
    "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio": (
        *("user_id", "video_id", None, "timestamp"),
    ),
    "user_id,video_id,date,hourmin,time_ms,is_click,tab": ("user_id", "video_id", None, "time_ms"),
    "uid item_id timestamp is_organic played_ratio_pct": ("uid", "item_id", None, "timestamp"),
    "sessionId,userId,itemId,timeframe,eventdate": ("userId", "itemId", None, "eventdate"),
    "session,ts,itemid": ("session", "itemid", None, "ts"),
    "timestamp,visitorid,event,itemid,transactionid": ("visitorid", "itemid", None, "timestamp"),
    "User-ID,ISBN,Book-Rating": ("User-ID", "ISBN", "Book-Rating", None),
    "USER ID,Item.Id,id": ("USER ID", "Item.Id", None, None),  # "id" is the row's own
}
ITEMS = {
    "movieId,title,genres": ("movieId", "title", None, "genres", None, None),
    "item_id movie_title release_year class": (
        *("item_id", "movie_title", "release_year", "class", None, None),
    ),
    "asin title description price imUrl brand categories salesRank related": (
        *("asin", "title", None, "categories", None, "description"),
    ),
    "main_category title average_rating description store categories parent_asin": (
        *("parent_asin", "title", None, "categories", None, "description"),
    ),
    "publisher genres app_name title url release_date tags id": (
        *("id", "title", None, "genres", None, None),
    ),
    "business_id name city stars categories": (
        *("business_id", "name", None, "categories", None, None),
    ),
    "news_id category subcategory title abstract": (
        *("news_id", "title", None, "category", None, "abstract"),
    ),
}


def split(header: str) -> list[str]:
    return header.split("," if "," in header else " ")


@pytest.mark.parametrize(("header", "columns"), INTERACTIONS.items())
def test_published_interactions_are_understood(header: str, columns: tuple[str | None]) -> None:
    found = find_columns("t", split(header), *MET, {})
    assert tuple(found.theirs.get(name) for name in (*MET[0], *MET[1])) == columns
    guessed = {name: own for name, own in found.theirs.items() if name != own}
    assert len(found.said) == len(guessed)
    for sentence, (name, own) in zip(found.said, guessed.items(), strict=True):
        assert sentence.startswith(f"t: {name} is the column {own!r}")


@pytest.mark.parametrize(("header", "columns"), ITEMS.items())
def test_published_items_are_understood(header: str, columns: tuple[str | None]) -> None:
    found = find_columns("t", split(header), *LISTED, {})
    assert tuple(found.theirs.get(name) for name in (*LISTED[0], *LISTED[1])) == columns


def test_a_preference_is_said() -> None:
    found = find_columns("r.csv", ["user", "asin", "parent_asin", "date", "ts"], *MET, {})
    assert found.said == (
        "r.csv: user_id is the column 'user'",
        "r.csv: item_id is the column 'parent_asin', preferred to 'asin'",
        "r.csv: timestamp is the column 'ts', preferred to 'date'",
    )


def test_what_is_given_wins_and_is_used_for_nothing_else() -> None:
    names = ["user_id", "item_id", "asin", "parent_asin", "time"]
    found = find_columns("t", names, *MET, {"item_id": "asin", "user_id": "time"})
    assert found.theirs == {"user_id": "time", "item_id": "asin"}
    assert found.said == ()
    none = find_columns("t", names, *MET, {"timestamp": ""})
    assert "timestamp" not in none.theirs


def test_items_may_call_their_ids_otherwise() -> None:
    asked = {"item_id": "product_id"}
    assert find_columns("games", ["id", "title"], *LISTED, asked).theirs["item_id"] == "id"
    with pytest.raises(ValueError, match="has no column 'product_id'"):
        find_columns("plays", ["user_id", "item_id"], *MET, asked)


REFUSED = [
    ("user_id,ts,time,item_id", {}, "t has the columns 'time' and 'ts', and each could be times"),
    ("userId,uid,item_id", {}, "'uid' and 'userId', and each could be user_id"),
    ("userId,uid,item_id", {}, "--columns user=uid (in Python columns={'user_id': 'uid'})"),
    ("user_id,item_id,user_id", {}, "t has the column 'user_id' twice, expected it once"),
    ("uid,uid,item_id", {}, "t has the column 'uid' twice, expected it once"),
    ("a,b", {}, "t has no column 'user_id', only 'a, b'; expected it for user_id"),
    ("a,b", {}, "--columns user=… (in Python columns={'user_id': …})!"),
    ("user_id,item_id", {"rating": "stars"}, "t has no column 'stars'"),
    ("user_id,item_id", {"user_id": ""}, "t has no column 'user_id'"),
]


@pytest.mark.parametrize(("header", "asked", "says"), REFUSED)
def test_what_is_unclear_is_refused(header: str, asked: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        find_columns("t", header.split(","), *MET, asked, "!")


def test_names_that_are_given() -> None:
    given = {"user": "a", "item": "b", "time": "c", "items.item": "d", "interactions.rating": "e"}
    assert asked_columns(given) == {
        **{"user_id": "a", "item_id": "d", "timestamp": "c", "rating": "e"}
    }
    assert asked_columns(given, "items")["item_id"] == "d"
    assert "rating" not in asked_columns(given, "items")
    met = asked_columns(given, "interactions")
    assert met == {"user_id": "a", "item_id": "b", "timestamp": "c", "rating": "e"}
    assert asked_columns(met, "interactions") == met
    assert asked_columns(None) == {}
    assert asked_columns({"hist": "x"}, also=("hist",)) == {"hist": "x"}


@pytest.mark.parametrize("key", ["when", "users.item", "", ".item", "item."])
def test_an_unknown_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=f"columns has the key {key!r}, expected keys among user"):
        asked_columns({key: "x"})


def test_two_keys_for_one_column_are_refused() -> None:
    with pytest.raises(ValueError, match="the keys 'user' and 'user_id' for one column"):
        asked_columns({"user": "a", "user_id": "b"})
    assert asked_columns({"user": "a", "user_id": "a"}) == {"user_id": "a"}


def test_a_header_is_told_by_a_known_name() -> None:
    wanted = (*MET[0], *MET[1])
    assert has_a_known_name(["x", "userId"], wanted, {})
    assert has_a_known_name(["x", "Mein Kunde"], wanted, {"user_id": "Mein Kunde"})
    assert not has_a_known_name(["196", "1"], wanted, {"user_id": "1"})
    assert not has_a_known_name(["title", "x"], wanted, {})


def test_no_synonym_means_two_things() -> None:
    for wanted in (MET, LISTED):
        words = [
            word
            for name in (*wanted[0], *wanted[1])
            for rank in SYNONYMS.get(name, ())
            for word in rank.split()
        ]
        assert len(words) == len(set(words))
        assert all(word.isalnum() and word == word.lower() for word in words)
    assert set(SYNONYMS) <= set(NAMES)
    assert set(SHORT.values()) <= set(NAMES)


@given(st.permutations(split("reviewerID asin parent_asin overall date unixReviewTime x")))
def test_the_order_of_columns_does_not_matter(names: list[str]) -> None:
    assert find_columns("t", names, *MET, {}).theirs == {
        "user_id": "reviewerID",
        "item_id": "parent_asin",
        "rating": "overall",
        "timestamp": "unixReviewTime",
    }
