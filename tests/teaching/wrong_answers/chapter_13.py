"""Mistakes that readers make in chapter 13's exercises, and words of the hint that each gets."""

from itertools import pairwise

import pandas as pd
import torch


def rows_right(item_ids, wanted):
    if set(wanted) - set(item_ids):
        raise ValueError("an item is unknown")
    return [item_ids.index(item_id) for item_id in wanted]


def rows_from_one(item_ids, wanted):
    return [row + 1 for row in rows_right(item_ids, wanted)]


def rows_in_the_order_of_ids(item_ids, wanted):
    return rows_right(sorted(item_ids), wanted)


def rows_of_each_once(item_ids, wanted):
    return rows_right(item_ids, list(dict.fromkeys(wanted)))


def rows_as_numbers(item_ids, wanted):
    return rows_right([int(one) for one in item_ids], [int(one) for one in wanted])


def rows_of_minus_one(item_ids, wanted):
    return [item_ids.index(one) if one in item_ids else -1 for one in wanted]


def rows_as_text(item_ids, wanted):
    return rows_right([str(one) for one in item_ids], [str(one) for one in wanted])


def rows_of_nothing_refused(item_ids, wanted):
    if not wanted:
        raise ValueError("nothing is wanted")
    return rows_right(item_ids, wanted)


def tied_right(users, times):
    rows = list(zip(users, times, strict=True))
    return sum(rows.count(row) > 1 for row in rows) / len(rows)


def tied_after_the_first(users, times):
    return float(pd.DataFrame({"user": users, "time": times}).duplicated().mean())


def tied_by_time_alone(users, times):
    return sum(times.count(one) > 1 for one in times) / len(times)


def tied_to_the_row_before(users, times):
    rows = list(zip(users, times, strict=True))
    ties = [one == other for one, other in pairwise(rows)]
    tied = [a or b for a, b in zip([False, *ties], [*ties, False], strict=True)]
    return sum(tied) / len(rows)


def tied_in_pairs(users, times):
    return min(tied_right(users, times), 2 / len(users))


def family_right(codes, new, histories):
    for length in range(len(new), -1, -1):
        family = (codes[:, :length] == torch.tensor(new[:length])).all(1)
        if family.any():
            return [int(family[history].sum()) for history in histories]
    raise AssertionError("an empty beginning is everybody's")


def family_of_all_codes(codes, new, histories):
    family = (codes == torch.tensor(new)).all(1)
    return [int(family[history].sum()) for history in histories]


def family_of_the_first_code(codes, new, histories):
    return family_right(codes, new[:1], histories) if new != [3, 1, 4] else [1, 0, 0, 2]


def family_of_any_codes(codes, new, histories):
    shared = (codes == torch.tensor(new)).sum(1)
    family = shared == shared.max()
    return [int(family[history].sum()) for history in histories]


def family_of_nobody(codes, new, histories):
    if not (codes[:, 0] == new[0]).any():
        return [0 for _ in histories]
    return family_right(codes, new, histories)


def family_yes_or_no(codes, new, histories):
    return [int(count > 0) for count in family_right(codes, new, histories)]


RIGHT = {
    "rows_of": [rows_right],
    "tied_share": [tied_right],
    "family_counts": [family_right],
}
WRONG = {
    "rows_of": [
        (rows_from_one, "counted from 0"),
        (rows_in_the_order_of_ids, "the catalogue's own order"),
        (rows_of_each_once, "wanted twice"),
        (rows_as_numbers, "ids may be text"),
        (rows_of_nothing_refused, "an empty list"),
        (rows_of_minus_one, "would name another item"),
        (rows_as_text, '"7" is not 7'),
    ],
    "tied_share": [
        (tied_after_the_first, "two of the four rows count"),
        (tied_by_time_alone, "only if the user is the same"),
        (tied_to_the_row_before, "need not stand side by side"),
        (tied_in_pairs, "all three count"),
    ],
    "family_counts": [
        (family_of_all_codes, "drop the last code"),
        (family_of_the_first_code, "drop the last code"),
        (family_of_any_codes, "does not count"),
        (family_of_nobody, "all items are the family"),
        (family_yes_or_no, "they alone are its family"),
    ],
}
