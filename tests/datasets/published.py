"""Small data sets in the formats in which the large ones are published, made for the tests."""

import gzip
import io
import json
import random
import zipfile
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

GENRES_100K = 19


def ml_1m() -> dict[str, bytes]:
    movies = ["3::Léon (1994)::Action|Crime", "1::Toy Story (1995)::Comedy", "2::Unseen (1999)::"]
    movies.append("10::Bear, The (1988)::Adventure")
    ratings = ["2::10::5::978300019", "1::3::4::978302268", "1::1::3::978302268"]
    ratings.append("1::10::1::978300760")
    return {
        "ml-1m/README": b"terms",
        "ml-1m/movies.dat": _text(movies, "latin-1"),
        "ml-1m/ratings.dat": _text(ratings, "latin-1"),
    }


def ml_10m() -> dict[str, bytes]:
    """Half stars and UTF-8; whole stars are written without a point."""
    movies = ["3::Léon (1994)::Action|Crime", "1::Toy Story (1995)::Comedy"]
    movies += ["8::Pull My Daisy (1958)::(no genres listed)"]
    ratings = ["2::3::4.5::978300019", "1::3::0.5::978302268", "1::1::5::978302268"]
    ratings += ["1::8::3::838985046"]
    return {
        "ml-10M100K/movies.dat": _text(movies, "utf-8"),
        "ml-10M100K/ratings.dat": _text(ratings, "utf-8"),
        "ml-10M100K/tags.dat": _text(["2::3::great::978300020"], "utf-8"),
    }


def ml_100k() -> dict[str, bytes]:
    flags = {name: ["0"] * GENRES_100K for name in ("toy", "unknown", "leon")}
    flags["toy"][3] = flags["toy"][5] = flags["leon"][1] = flags["unknown"][0] = "1"
    movies = [
        "|".join(["1", "Toy Story (1995)", "01-Jan-1995", "", "http://x", *flags["toy"]]),
        "|".join(["267", "unknown", "", "", "", *flags["unknown"]]),
        "|".join(["9", "Léon (1994)", "01-Jan-1994", "", "http://y", *flags["leon"]]),
    ]
    ratings = ["7\t1\t3\t881250949", "2\t267\t5\t891717742", "7\t9\t1\t881250949"]
    return {
        "ml-100k/u.item": _text(movies, "latin-1"),
        "ml-100k/u.data": _text(ratings, "latin-1"),
    }


def ml_csv(folder: str = "ml-latest-small") -> dict[str, bytes]:
    movies = ["movieId,title,genres", '5,"American President, The (1995)",Comedy|Drama']
    movies += ["1,Toy Story (1995),Comedy", "7,Never Rated (2001),Drama"]
    movies += ["8,Amélie,(no genres listed)"]
    ratings = ["userId,movieId,rating,timestamp", "1,5,4.0,964982703", "1,1,0.5,964981247"]
    ratings += ["3,8,3.5,1445714994"]
    return {
        f"{folder}/movies.csv": _text(movies, "utf-8"),
        f"{folder}/ratings.csv": _text(ratings, "utf-8"),
    }


def amazon_reviews() -> list[dict[str, object]]:
    return [
        {"reviewerID": user, "asin": asin, "overall": stars, "unixReviewTime": day, "summary": "…"}
        for user, asin, stars, day in [
            ("A2", "B0001", 5.0, 1369699200),
            ("A1", "B0001", 3.0, 1369699200),
            ("A1", "0000031852", 1.0, 1369699200),
        ]
    ]


AMAZON_METADATA = [
    "{'asin': '0000031852', 'title': \"Girls' Tutu &amp; Zebra\", 'price': 3.17, "
    "'related': {'also_bought': ['B0001']}, 'brand': 'Coxlures', "
    "'categories': [['Beauty', 'Makeup'], ['Beauty', 'Tools | Brushes']]}",
    "{'asin': 'B9999', 'title': __import__('os').abort()}",  # nobody's: not even parsed
    "{'asin': 'B0001', 'categories': [['Beauty']]}",
]


def amazon(category: str = "Beauty") -> dict[str, bytes]:
    reviews = [json.dumps(review) for review in amazon_reviews()]
    return {
        f"reviews_{category}_5.json.gz": gzip.compress(_text(reviews, "utf-8")),
        f"meta_{category}.json.gz": gzip.compress(_text(AMAZON_METADATA, "utf-8")),
    }


AMAZON_2018_METADATA = [
    '{"category": ["Beauty", "Hair &amp; Care", "Beauty"], "tech1": "", "description": ["<p>x</p>"]'
    ', "title": "Comb <b>&amp;</b> Brush", "also_buy": ["B000000002"], "brand": "Kent", '
    '"rank": ["1 in Beauty (", "2 in Hair ("], "price": "$3.17", "asin": "B000000001"}',
    '{"category": [], "title": "var aPageStart = (new Date()).getTime();", "asin": "B000000002"}',
    '{"category": ["Beauty"], "title": "Comb, again", "asin": "B000000001"}',
    '{"category": ["Beauty"], "title": "Nobody\'s", "asin": "B000000009"}',
]


def amazon_2018(category: str = "All_Beauty", ending: str = "_5.json.gz") -> dict[str, bytes]:
    """As 2014, but `category`; a product is there twice, one has code as title, one is absent."""
    reviews = [
        {
            "overall": stars,
            "verified": True,
            "reviewTime": "05 28, 2013",
            "reviewerID": user,
            "asin": asin,
            "style": {"Color:": " Red"},
            "reviewText": "half of a pair: \ud83d" if stars == 1 else "good",
            "unixReviewTime": day,
        }
        for user, asin, stars, day in [
            ("A2", "B000000001", 5.0, 1369699200),
            ("A1", "0000013714", 3.0, 1369785600),
            ("A1", "B000000002", 1.0, 1369699200),
            ("A1", "B000000001", 4.0, 1369699200),
            ("A1", "B000000001", 4.0, 1369699200),
        ]
    ]
    packed = gzip.compress if ending.endswith(".gz") else bytes
    meta_ending = ".json.gz" if ending.endswith(".gz") else ".json"
    return {
        f"{category}{ending}": packed(_text(map(json.dumps, reviews), "utf-8")),
        f"meta_{category}{meta_ending}": packed(_text(AMAZON_2018_METADATA, "utf-8")),
    }


AMAZON_RATINGS = [  # user, item, stars, time
    ("A2EFCYXHNK06IS", "0000013714", "5.0", "1369699200"),
    ("A10000012B7CGYKOMPQ4L", "B000000001", "3.0", "1369785600"),
    ("A2EFCYXHNK06IS", "B000000001", "1.0", "1353456000"),
]


def amazon_ratings(year: int, name: str | None = None) -> dict[str, bytes]:
    """Four columns without a header; only the order of the first two tells the edition."""
    rows = [
        (user, item, *rest) if year == 2014 else (item, user, *rest)
        for user, item, *rest in AMAZON_RATINGS
    ]
    name = name or ("ratings_Beauty.csv" if year == 2014 else "All_Beauty.csv")
    return {name: _text(map(",".join, rows), "utf-8")}


AMAZON_2023_METADATA = [
    {
        "main_category": "All Beauty",
        "title": "Wig &quot;Howard&quot;",
        "average_rating": 4.6,
        "rating_number": 12,
        "features": [],
        "description": ["<br>"],
        "price": None,
        "images": [{"thumb": "http://x", "variant": "MAIN"}],
        "videos": {"title": [], "url": []},
        "store": "Yes To",
        "categories": ["Beauty", "Hair &amp; Care"],
        "details": {"UPC": "603084209453"},
        "parent_asin": "B01CUPMQZE",
        "bought_together": None,
    },
    {"title": "Nobody's", "store": None, "categories": [], "parent_asin": "B000000009"},
    {"title": None, "store": None, "categories": None, "parent_asin": "0439893577", "price": 9.99},
]
AMAZON_2023 = [  # user, item, stars, milliseconds
    ("AEYOR", "B01CUPMQZE", 5.0, 1658002729837),
    ("AEYOR", "0439893577", 4.0, 1628643414042),
    ("AFWHJ", "B01CUPMQZE", 0.0, 1628643414042),
    ("AEYOR", "B07FM2GLNQ", 1.0, 1658002729838),
]


def amazon_2023(category: str = "All_Beauty", ending: str = ".jsonl") -> dict[str, bytes]:
    reviews = [
        {
            "rating": stars,
            "title": "Such a lovely scent",
            "text": "good<br />",
            "images": [],
            "asin": "B000000000",
            "parent_asin": item,
            "user_id": user,
            "timestamp": time,
            "helpful_vote": 0,
            "verified_purchase": True,
        }
        for user, item, stars, time in AMAZON_2023
    ]
    packed = gzip.compress if ending.endswith(".gz") else bytes
    return {
        f"{category}{ending}": packed(_text(map(json.dumps, reviews), "utf-8")),
        f"meta_{category}{ending}": packed(_text(map(json.dumps, AMAZON_2023_METADATA), "utf-8")),
    }


def amazon_2023_benchmark(
    *, header: bool, history: bool, parts: bool, category: str = "All_Beauty"
) -> dict[str, bytes]:
    """The last item of a user is in test, the one before in valid, the others in train."""
    rows: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for user in ("AEYOR", "AFWHJ"):
        met = sorted((row for row in AMAZON_2023 if row[0] == user), key=lambda row: row[3])
        for place, (_, item, stars, time) in enumerate(met):
            part = {len(met) - 1: "test", len(met) - 2: "valid"}.get(place, "train")
            earlier = " ".join(other[1] for other in met[:place])
            fields = [user, item, str(stars), str(time), *([earlier] if history else [])]
            rows[part].append(",".join(fields))
    names = ["user_id", "parent_asin", "rating", "timestamp", *(["history"] if history else [])]
    head = [",".join(names)] if header else []
    if not parts:
        return {f"{category}.csv": _text([*head, *chain(*rows.values())], "utf-8")}
    return {f"{category}.{part}.csv": _text(head + rows[part], "utf-8") for part in rows}


def recbole(name: str = "ml-100k") -> dict[str, bytes]:
    """A user's tie in the file's order, a year that is none, and an item that .item lacks."""
    inter = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    inter += ["196\t242\t3\t881250949", "22\t377\t1\t878887116", "196\t51\t2\t881250949"]
    inter += ["196\t7\t4.5\t881250000", "22\t999\t5\t878887115.5"]
    item = ["item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq"]
    item += ["242\tKolya\t1996\tComedy", "51\tLegends of the Fall\tV\tDrama Romance War"]
    item += ["377\tHeavyweights\t1994\tChildren's Comedy", "7\t\t\t", "8\tBabe\t1995\tDrama"]
    user = ["user_id:token\tage:token\tgender:token", "196\t49\tM", "22\t25\tM"]
    return {
        f"{name}/{name}.inter": _text(inter, "utf-8"),
        f"{name}/{name}.item": _text(item, "utf-8"),
        f"{name}/{name}.user": _text(user, "utf-8"),
    }


def recbole_benchmark(name: str = "Scientific") -> dict[str, bytes]:
    """User 0 met 3 1 2 1 4, and user 1 met 2 4 3; no row holds a history's first item alone."""
    head = "user_id:token\titem_id_list:token_seq\titem_id:token"
    train = ["0\t3 1\t2", "0\t3\t1", "1\t2\t4"]
    valid, test = ["0\t3 1 2\t1", "1\t2\t4"], ["0\t3 1 2 1\t4", "1\t2 4\t3"]
    parts = {"train": train, "valid": valid, "test": test}
    return {
        f"{name}/{name}.{part}.inter": _text([head, *rows], "utf-8") for part, rows in parts.items()
    }


STEAM_REVIEWS = [
    "{u'username': u'Chaos Syren', u'hours': 0.1, u'products': 41, u'product_id': u'725280', "
    "u'page_order': 0, u'date': u'2017-12-17', u'text': u'\\u2713 \\d', u'early_access': False}",
    "{u'username': u'\\u2714 Freak', u'product_id': u'328100', u'date': u'2017-08-02'}",
    "{u'username': u'Chaos Syren', u'user_id': u'7656', u'product_id': u'328100', "
    "u'date': u'2017-12-17', u'text': u'again'}",
    "{u'username': u'Chaos Syren', u'product_id': u'10', u'date': u'2016-02-29'}",
]
STEAM_GAMES = [
    "{u'publisher': u'Kotoshiro', u'genres': [u'Action', u'Indie'], u'app_name': u'Lost &amp; "
    "Found', u'title': u'Lost Summoner', u'release_date': u'2018-01-04', u'tags': [u'Strategy', "
    "u'Action'], u'price': 4.99, u'id': u'725280', u'developer': u'Kotoshiro'}",
    "{u'url': u'http://store/app/', u'app_name': u'', u'price': 1.0}",
    "{u'app_name': u'SNOW', u'id': u'328100', u'genres': None, u'release_date': u'Soon..'}",
    "{u'app_name': u'SNOW again', u'id': u'328100'}",
]


def steam() -> dict[str, bytes]:
    return {
        "steam_reviews.json.gz": gzip.compress(_text(STEAM_REVIEWS, "utf-8")),
        "steam_games.json.gz": gzip.compress(_text(STEAM_GAMES, "utf-8")),
    }


def yelp() -> dict[str, bytes]:
    reviews = [
        {
            "review_id": "KU_O5udG6zpxOg-VcAEodg",
            "user_id": user,
            "business_id": business,
            "stars": stars,
            "useful": 0,
            "funny": 0,
            "cool": 0,
            "text": "Loved it\n!",
            "date": time,
        }
        for user, business, stars, time in [
            ("mh_-eMZ6K5RLWhZyISBhwA", "XQfwVwDr-v0ZS3_CbbE5Xw", 3.0, "2018-07-07 22:09:11"),
            ("mh_-eMZ6K5RLWhZyISBhwA", "7ATYjTIgM3jUlt4UM3IypQ", 5, "2012-01-03 15:28:18"),
            ("OyoGAe7OKpv6SyGZT5g77Q", "7ATYjTIgM3jUlt4UM3IypQ", 1.0, "2014-10-11"),
        ]
    ]
    businesses = [
        {
            "business_id": "7ATYjTIgM3jUlt4UM3IypQ",
            "name": "Body Cycle &amp; Spin",
            "categories": "Active Life, Cycling Classes",
            "attributes": None,
            "hours": {"Monday": "0:0-0:0"},
        },
        {"business_id": "XQfwVwDr-v0ZS3_CbbE5Xw", "name": "Turning Point", "categories": None},
        {"business_id": "unmet", "name": "Unmet", "categories": ["Food"]},
    ]
    return {
        "yelp_academic_dataset_review.json": _text(map(json.dumps, reviews), "utf-8"),
        "yelp_academic_dataset_business.json": _text(map(json.dumps, businesses), "utf-8"),
    }


def kuairec() -> dict[str, bytes]:
    """Float seconds, a row twice, a video again, a row without time, a caption over two lines."""
    head = "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio"
    big = [
        "0,3649,13838,10867,2020-07-05 00:08:23.438,20200705,1593878903.438,1.2733965215790926",
        "0,9598,13665,10984,2020-07-05 00:08:23.437,20200705,1593878903.437,1.2440823015294975",
        "0,3649,13838,10867,2020-07-05 00:08:23.438,20200705,1593878903.438,1.2733965215790926",
        "0,3649,1,10867,2020-07-05 01:00:25.5,20200705,1593882025.5,0.0",
    ]
    small = [
        "14,148,4381,6067,2020-07-05 05:27:48.378,20200705,1593898068.378,0.722103",
        "14,183,11635,6100,,,,1.907377",
    ]
    captions = [
        "video_id,manual_cover_text,caption,topic_tag,first_level_category_id,"
        "first_level_category_name,second_level_category_id,second_level_category_name,"
        "third_level_category_id,third_level_category_name",
        '3649,UNKNOWN,"a\nb, c",[],8,颜值,673,颜值随拍,-124,UNKNOWN',
        "9598,UNKNOWN,broken",
        " caption,[x],27,HighTech,124,Sub,-124,UNKNOWN",
    ]
    return {
        "data/big_matrix.csv": _text([head, *big], "utf-8"),
        "data/small_matrix.csv": _text([head, *small], "utf-8"),
        "data/item_categories.csv": _text(["video_id,feat", '3649,"[27, 9]"'], "utf-8"),
        "data/kuairec_caption_category.csv": _text(captions, "utf-8"),
    }


def kuairand(edition: str = "pure") -> dict[str, bytes]:
    head = "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,"
    head += "is_hate,long_view,play_time_ms,duration_ms,profile_stay_time,comment_stay_time,"
    head += "is_profile_enter,is_rand,tab"

    def row(user: int, video: int, time: int, click: int) -> str:
        return f"{user},{video},20220421,400,{time},{click},0,0,0,0,0,1,1510,104400,0,0,0,0,1"

    files = {
        "log_standard_4_08_to_4_21": [row(0, 7, 1650485801302, 1), row(0, 8, 1650485801301, 1)],
        "log_standard_4_22_to_5_08": [row(0, 7, 1650585801301, 1), row(0, 9, 1650585801302, 0)],
        "log_random_4_22_to_5_08": [row(0, 99, 1650685801301, 1)],
    }
    return {
        f"data/{name}_{edition}.csv": _text([head, *rows], "utf-8") for name, rows in files.items()
    }


def mind() -> dict[str, bytes]:
    """12:37:50 AM is 37 minutes past midnight; N3 is clicked after it was in the history."""
    behaviors = [
        "1\tU13740\t11/12/2019 12:05:00 PM\tN1 N3\tN5-0 N4-1 N3-1",
        "2\tU13740\t11/12/2019 12:37:50 AM\tN1 N3\tN2-1 N4-0",
        "3\tU91836\t11/11/2019 9:05:58 AM\t\tN2-0",
        "4\tU73700\t11/14/2019 7:01:48 AM\tN5\tN9-1",
    ]
    news = [
        'N1\tlifestyle\tlifestyleroyals\tThe Brands "Queen" Swears By\tShop the notebooks.\t'
        'https://x\t[{"Label": "Elizabeth II"}]\t[]',
        "N2\tsports\tfootball_nfl\tA &amp; B\t\thttps://x\t[]\t[]",
        "N3\tnews\tnewsworld\tThree\t\thttps://x\t[]\t[]",
        "N4\tnews\tnews\tFour\t\thttps://x\t[]\t[]",
        "N5\tnews\tnewsus\tFive\t\thttps://x\t[]\t[]",
        "N6\tnews\tnewsus\tUnread\t\thttps://x\t[]\t[]",
    ]
    return {"behaviors.tsv": _text(behaviors, "utf-8"), "news.tsv": _text(news, "utf-8")}


YAMBDA = {  # sorted by uid and timestamp, as published; in steps of 5 seconds
    "uid": [100, 100, 100, 200],
    "timestamp": [0, 39420, 39420, 26000000],
    "item_id": [8326270, 1441281, 286361, 1441281],
    "is_organic": [0, 1, 1, 0],
    "played_ratio_pct": [0, 100, 159, 46],
    "track_length_seconds": [105, 170, 200, 2495],
}
_YAMBDA_TYPES = dict.fromkeys(YAMBDA, pa.uint32()) | {
    "is_organic": pa.uint8(),
    "played_ratio_pct": pa.uint16(),
}


def yambda(name: str = "listens") -> dict[str, bytes]:
    columns = {key: pa.array(values, _YAMBDA_TYPES[key]) for key, values in YAMBDA.items()}
    if name == "likes":
        columns = {key: columns[key] for key in list(YAMBDA)[:4]}
    if name == "multi_event":
        kinds = ["like", "listen", "listen", "listen"]
        columns["event_type"] = pa.array(kinds).dictionary_encode()
    return {f"{name}.parquet": _parquet(pa.table(columns))}


def yambda_sequential() -> dict[str, bytes]:
    columns = {"uid": pa.array([100, 200], pa.uint32())}
    for key, values in list(YAMBDA.items())[1:]:
        columns[key] = pa.array([values[:3], values[3:]], pa.list_(_YAMBDA_TYPES[key]))
    return {"listens.parquet": _parquet(pa.table(columns))}


def diginetica(*, older: bool = False) -> dict[str, bytes]:
    """One session views an item three times in two seconds, and once more; a row is there twice."""
    head = "sessionId;userId;itemId;timeframe;eventdate"
    views = ["1;NA;81766;526309;2016-05-09", "1;NA;31331;1031018;2016-05-09"]
    views += ["1;NA;81766;527000;2016-05-09", "1;NA;81766;526500;2016-05-09"]
    views += ["2;17;9654;0;2016-01-31", "2;17;9654;0;2016-01-31"]
    if older:
        head = "session_id;user_id;item_id;timeframe;eventdate"
    return {
        "train-item-views.csv": _text([head, *views], "utf-8"),
        "products.csv": _text(["itemId;pricelog2;product.name.tokens", "81766;10;1,2"], "utf-8"),
    }


def yoochoose() -> dict[str, bytes]:
    clicks = ["1,2014-04-07T10:51:09.277Z,214536502,0", "1,2014-04-07T10:54:09.868Z,214536500,0"]
    clicks += ["1,2014-04-07T10:51:09.278Z,214536506,S", "1,2014-04-07T10:51:09.276Z,214536506,S"]
    clicks += ["2,2014-04-07T13:56:37.614Z,214662742,2089046220"]
    buys = ["1,2014-04-07T10:59:09.277Z,214536502,12462,1"]
    return {
        "yoochoose-clicks.dat": _text(clicks, "utf-8"),
        "yoochoose-buys.dat": _text(buys, "utf-8"),
    }


def _parquet(table: pa.Table) -> bytes:
    content = io.BytesIO()
    pq.write_table(table, content)
    return content.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def written(files: dict[str, bytes], folder: Path) -> Path:
    """Write files below a folder; return the folder that they are in."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return path.parent


def large_ml_1m(folder: Path, ratings: int, users: int, movies: int) -> Path:
    """Write files of ML-1M's format, and of any size, for measurements."""
    chance = random.Random(0)
    titles = [f"{i}::Movie {i} ({1920 + i % 80})::Drama|Comedy" for i in range(1, movies + 1)]
    each = ratings // users
    rows = (
        f"{user}::{movie}::{chance.randint(1, 5)}::{chance.randint(956703932, 1046454590)}"
        for user in range(1, users + 1)
        for movie in chance.sample(range(1, movies + 1), each + (user <= ratings % users))
    )
    return written(
        {"movies.dat": _text(titles, "latin-1"), "ratings.dat": _text(rows, "latin-1")}, folder
    )


def _text(lines: object, encoding: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode(encoding)  # type: ignore[attr-defined]
