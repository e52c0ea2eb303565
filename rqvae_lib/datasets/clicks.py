"""Diginetica and YooChoose: click logs of online shops, without users but with sessions.

    Diginetica  train-item-views.csv: sessionId;userId;itemId;timeframe;eventdate, or in an older
                edition session_id;user_id;item_id;…
    YooChoose   yoochoose-clicks.dat: session,2014-04-07T10:51:09.277Z,item,category, no header

Both write numbers without quotes, and both log the milliseconds, which matter: a session clicks an
item three times in two seconds. In Diginetica, `eventdate` is the day, and `timeframe` the
milliseconds from the session's beginning, so the day is where its sessions begin. Few sessions have
a user, so a session is taken as the user. The names of Diginetica's products are hashed, and both
shops' categories are numbers, so there are no texts.

Diginetica is from the CIKM Cup 2016 (https://competitions.codalab.org/competitions/11161), which
states no license beyond the competition's terms. YooChoose is from the RecSys Challenge 2015 and
under CC BY-NC-ND 4.0.

Source: Ben-Shimon et al., "RecSys Challenge 2015 and the YOOCHOOSE Dataset", RecSys 2015.
"""

from pathlib import Path

import pandas as pd

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.datasets.published import Published, as_dataset, check_events
from rqvae_lib.datasets.text_files import columns_of_fields, header_of, refuse_rows

DIGINETICA = "train-item-views.csv"
YOOCHOOSE = "yoochoose-clicks.dat"
_SESSIONS = "the users are the sessions"


def find_diginetica(folder: Path) -> list[Path]:
    """Return Diginetica's file of views in a folder."""
    path = folder / DIGINETICA
    return [path] if path.is_file() else []


def find_yoochoose(folder: Path) -> list[Path]:
    """Return YooChoose's file of clicks in a folder."""
    path = folder / YOOCHOOSE
    return [path] if path.is_file() else []


def read_diginetica(folder: str | Path) -> Dataset:
    """Read a folder with Diginetica's views.

    Args:
        folder: holds train-item-views.csv.

    Returns:
        The dataset "diginetica", with a session as the user.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a line is not as described; the message names the file and the line.
    """
    path = Path(folder) / DIGINETICA
    older = "session_id" in header_of(path, ";")
    session, item = ("session_id", "item_id") if older else ("sessionId", "itemId")
    kinds = {session: "int64", item: "int64", "timeframe": "int64", "eventdate": "string"}
    events = columns_of_fields(path, kinds, ";")
    days = pd.to_datetime(events["eventdate"], format="%Y-%m-%d", errors="coerce")
    bad = days.isna() | (days.dt.year < 1970) | (days.dt.year > 2105)
    refuse_rows(path, bad, "eventdate", events["eventdate"], "a day as in 2016-05-09", header=True)
    frame = events["timeframe"]
    bad = (frame < 0) | (frame >= 2**40)
    refuse_rows(path, bad, "timeframe", frame, "milliseconds from 0 on", header=True)
    events = events.rename(columns={session: "user_id", item: "item_id"})
    check_events(path, events, {"user_id": session, "item_id": item}, "ms", header=True)
    times = days.astype("datetime64[ms]").astype("int64") + frame
    events = events[["user_id", "item_id"]].assign(timestamp=times)
    notes = (
        _SESSIONS,
        "a time is the eventdate and the milliseconds of timeframe after its beginning",
    )
    return as_dataset(Published("diginetica", events, None, "ms", notes))


def read_yoochoose(folder: str | Path) -> Dataset:
    """Read a folder with YooChoose's clicks.

    Args:
        folder: holds yoochoose-clicks.dat. The purchases and the test file are not read.

    Returns:
        The dataset "yoochoose", with a session as the user.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a line is not as described; the message names the file and the line.
    """
    folder = Path(folder)
    path = folder / YOOCHOOSE
    names = ("session", "time", "item", "category")
    kinds = {"session": "int64", "time": "time", "item": "int64"}
    events = columns_of_fields(path, kinds, ",", names=names)
    events = events.rename(columns={"session": "user_id", "item": "item_id", "time": "timestamp"})
    check_events(path, events, {"user_id": "session", "item_id": "item"}, "ms")
    times = events["timestamp"]
    bad = (times < pd.Timestamp(0, tz="UTC")) | (times.dt.year > 2105)
    refuse_rows(path, bad, "time", times, "a time after 1970")
    notes = [_SESSIONS]
    for other in ("yoochoose-buys.dat", "yoochoose-test.dat"):
        if (folder / other).is_file():
            notes.append(f"{other} is not read")
    return as_dataset(Published("yoochoose", events, None, None, tuple(notes)))
