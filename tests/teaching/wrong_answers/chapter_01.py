"""Mistakes that readers make in chapter 01's exercises, and words of the hint that each gets."""

import torch


def right_sittings(offsets, times, pause=3600, latest=True, late=0):
    """The last sittings by a loop; what can be got wrong is a parameter."""
    found = []
    for begin, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        starts = [p for p in range(begin + 1, end) if times[p] - times[p - 1] >= pause]
        found += [(starts[-1] if latest else starts[0]) - late] if starts else []
    return torch.tensor(found, dtype=torch.int64)


def sittings_by_masks(offsets, times):
    """Right, too: with a mark at each begin, and the largest marked position of each user."""
    begins = torch.ones(len(times), dtype=torch.bool)
    begins[1:] = times.diff() >= 3600
    begins[offsets[:-1]] = True
    user = torch.repeat_interleave(torch.arange(len(offsets) - 1), offsets.diff())
    last = torch.zeros(len(offsets) - 1, dtype=torch.int64)
    where = begins.nonzero()[:, 0]
    last = last.scatter_reduce(0, user[where], where, "amax")
    return last[last > offsets[:-1]]


def before_the_pause(offsets, times):
    return right_sittings(offsets, times, late=1)


def more_than_an_hour(offsets, times):
    return right_sittings(offsets, times, pause=3601)


def the_second_sitting(offsets, times):
    return right_sittings(offsets, times, latest=False)


def single_sittings_too(offsets, times):
    begins = torch.ones(len(times), dtype=torch.bool)
    begins[1:] = times.diff() >= 3600
    begins[offsets[:-1]] = True
    where = begins.nonzero()[:, 0]
    user = torch.searchsorted(offsets, where, right=True) - 1
    is_last = torch.ones(len(where), dtype=torch.bool)
    is_last[:-1] = user[1:] != user[:-1]
    return where[is_last]


def pauses_between_users(offsets, times):
    where = (times.diff() >= 3600).nonzero()[:, 0] + 1
    user = torch.searchsorted(offsets, where, right=True) - 1
    is_last = torch.ones(len(where), dtype=torch.bool)
    is_last[:-1] = user[1:] != user[:-1]
    return where[is_last]


def places_within_the_history(offsets, times):
    found = right_sittings(offsets, times)
    return found - offsets[torch.searchsorted(offsets, found, right=True) - 1]


def leaks_right(change):
    return {"a": True, "b": True, "d": True}.get(change, False)


def leaks_not_in_a_second(change):
    return change in ("b", "d")


def leaks_by_the_own_future_only(change):
    return change in ("a", "d")


def leaks_by_a_cut(change):
    return change in ("a", "b", "c", "d")


def leaks_by_no_filter(change):
    return change in ("a", "b")


def leaks_by_every_filter(change):
    return change in ("a", "b", "d", "e")


def leaks_by_a_year(change):
    return change in ("a", "b", "d", "f")


RIGHT = {
    "last_sittings": [right_sittings, sittings_by_masks],
    "leaks": [leaks_right],
}
WRONG = {
    "last_sittings": [
        (before_the_pause, "the rating *after* the pause"),
        (more_than_an_hour, "a pause of exactly an hour"),
        (the_second_sitting, "only the last one is asked for"),
        (single_sittings_too, "both came once"),
        (pauses_between_users, "the pause between two users is nobody's"),
        (places_within_the_history, "go on in the same array"),
    ],
    "leaks": [
        (leaks_not_in_a_second, "the target's own rating is of that second"),
        (leaks_by_the_own_future_only, "that of all others is"),
        (leaks_by_a_cut, "an old model may read a new history"),
        (leaks_by_no_filter, "a movie may pass by its later ones"),
        (leaks_by_every_filter, "only what is known by then"),
        (leaks_by_a_year, "a part of the past"),
    ],
}
