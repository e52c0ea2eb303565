"""Mistakes that readers make in chapter 01's exercises, and words of the hint that each gets."""

import torch


def right_positions(offsets):
    return offsets[1:][offsets.diff() >= 3] - 1


def right_unheard_of(movies, times, targets):
    earlier = (movies == movies[targets, None]) & (times < times[targets, None])
    return int((~earlier.any(1)).sum())


def core(users, movies, k, passes=99, sides=(0, 1), least=0):
    keep = torch.ones(len(users), dtype=torch.bool)
    for _ in range(passes):
        counts = [torch.bincount(side[keep], minlength=99)[side] for side in (users, movies)]
        for side in sides:
            keep = keep & (counts[side] >= k + least)
    return keep


def first_rating_in_array(movies, times, targets):
    return sum(int(movies[t] not in movies[:t]) for t in targets.tolist())


def never_elsewhere(movies, times, targets):
    return sum(int((movies == movies[t]).sum() == 1) for t in targets.tolist())


def at_most_as_late(movies, times, targets):
    earlier = (movies == movies[targets, None]) & (times <= times[targets, None])
    return int((~earlier.any(1)).sum())


def same_second_is_earlier(movies, times, targets):
    earlier = (movies == movies[targets, None]) & (times <= times[targets, None])
    return int((earlier.sum(1) == 1).sum())


def unheard_of_in_training(movies, times, targets):
    known = torch.ones(len(movies), dtype=torch.bool)
    known[targets] = False
    earlier = known & (movies == movies[targets, None]) & (times < times[targets, None])
    return int((~earlier.any(1)).sum())


def next_users_begin(offsets):
    return offsets[1:]


def of_everybody(offsets):
    return offsets[1:] - 1


def of_four_movies_or_more(offsets):
    return offsets[1:][offsets.diff() > 3] - 1


def core_of_more_than_k(users, movies, k):
    return core(users, movies, k, least=1)


def core_of_users(users, movies, k):
    return core(users, movies, k, sides=(0,))


def core_in_one_pass(users, movies, k):
    return core(users, movies, k, passes=1)


def core_that_forgets_the_last(users, movies, k):
    """Counts without `minlength`, so that the last user has no place once they are gone."""
    keep = torch.ones(len(users), dtype=torch.bool)
    for _ in range(9):
        counts = [torch.bincount(side[keep]) for side in (users, movies)]
        keep = keep & (counts[0][users] >= k) & (counts[1][movies] >= k)
    return keep


def core_in_ten_passes(users, movies, k):
    return core(users, movies, k, passes=10)


RIGHT = {
    "test_positions": [right_positions],
    "unheard_of": [right_unheard_of],
    "core_mask": [core],
}
WRONG = {
    "test_positions": [
        (next_users_begin, "stands one before"),
        (of_everybody, "fewer than three movies"),
        (of_four_movies_or_more, "three movies are enough"),
    ],
    "unheard_of": [
        (at_most_as_late, "compare with <"),
        (never_elsewhere, "comes later"),
        (first_rating_in_array, "order by time"),
        (same_second_is_earlier, "of the same second"),
        (unheard_of_in_training, "another target's rating counts"),
    ],
    "core_mask": [
        (core_of_more_than_k, "exactly k stays"),
        (core_that_forgets_the_last, "minlength"),
        (core_of_users, "as well as users"),
        (core_in_one_pass, "repeat until nothing goes"),
        (core_in_ten_passes, "no fixed number of passes"),
    ],
}
