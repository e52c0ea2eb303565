"""Whatever the publisher's format, the same events become the same histories."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.datasets.registry import load_dataset
from tests.datasets.histories import met, times
from tests.datasets.published import written

Events = Sequence[tuple[int, int, int]]  # user, item, milliseconds
START = 1_400_000_000_000


def asin(item: int) -> str:
    return f"B{item:09d}"


def lines(rows: Sequence[str]) -> bytes:
    return "".join(f"{row}\n" for row in rows).encode()


def recbole(events: Events) -> dict[str, bytes]:
    head = "user_id:token\titem_id:token\ttimestamp:float"
    return {"x.inter": lines([head, *(f"{u}\t{i}\t{t / 1000:.3f}" for u, i, t in events)])}


def amazon_json(events: Events) -> dict[str, bytes]:
    rows = [
        {"user_id": f"A{u:09d}", "parent_asin": asin(i), "timestamp": t, "rating": 1.0, "text": "x"}
        for u, i, t in events
    ]
    return {"X.jsonl": lines(list(map(json.dumps, rows)))}


def amazon_csv(events: Events) -> dict[str, bytes]:
    return {"X.csv": lines([f"A{u:09d},{asin(i)},1.0,{t}" for u, i, t in events])}


def kuairec(events: Events) -> dict[str, bytes]:
    rows = [f"{u},{i},{t / 1000:.3f},1.0" for u, i, t in events]
    return {"big_matrix.csv": lines(["user_id,video_id,timestamp,watch_ratio", *rows])}


def kuairand(events: Events) -> dict[str, bytes]:
    rows = [f"{u},{i},{t},1" for u, i, t in events]
    return {"log_standard_1_pure.csv": lines(["user_id,video_id,time_ms,is_click", *rows])}


def diginetica(events: Events) -> dict[str, bytes]:
    head = "sessionId;userId;itemId;timeframe;eventdate"
    days = [pd.Timestamp(t // 86_400_000 * 86_400_000, unit="ms") for *_, t in events]
    rows = [
        f"{u};NA;{i};{t % 86_400_000};{day:%Y-%m-%d}"
        for (u, i, t), day in zip(events, days, strict=True)
    ]
    return {"train-item-views.csv": lines([head, *rows])}


def yoochoose(events: Events) -> dict[str, bytes]:
    def iso(time: int) -> str:
        return pd.Timestamp(time, unit="ms").isoformat(timespec="milliseconds") + "Z"

    return {"yoochoose-clicks.dat": lines([f"{u},{iso(t)},{i},0" for u, i, t in events])}


FORMATS: dict[str, tuple[Callable[[Events], dict[str, bytes]], Callable[[Any], Any]]] = {
    "recbole": (recbole, int),
    "amazon json": (amazon_json, lambda text: int(text[1:])),
    "amazon csv": (amazon_csv, lambda text: int(text[1:])),
    "kuairec": (kuairec, int),
    "kuairand": (kuairand, int),
    "diginetica": (diginetica, int),
    "yoochoose": (yoochoose, int),
}
EVENTS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, 10**8),
        st.integers(START, START + 3) | st.integers(START, 1_700_000_000_000),
    ),
    min_size=1,
    max_size=12,
)


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=25, deadline=None)
@given(events=EVENTS)
def test_the_histories_are_those_of_a_table(
    tmp_path_factory: pytest.TempPathFactory, name: str, events: Events
) -> None:
    frame = pd.DataFrame(events, columns=["user_id", "item_id", "timestamp"])
    expected = Dataset.from_tables(frame, time_unit="ms")
    write, number = FORMATS[name]
    data = load_dataset(written(write(events), tmp_path_factory.mktemp("made")))
    found = {number(user): [number(item) for item in items] for user, items in met(data).items()}
    assert found == met(expected)
    assert times(data) == times(expected)
