"""Mistakes that readers make in chapter 00's exercises, and words of the hint that each gets."""


def right(first, second):
    length = 0
    while length < len(first) and first[length] == second[length]:
        length += 1
    return length


def counts_all_equal_codes(first, second):
    return sum(one == other for one, other in zip(first, second, strict=True))


def compares_as_sets(first, second):
    return len(set(first) & set(second))


def place_of_the_last_shared(first, second):
    last = 0
    for place, (one, other) in enumerate(zip(first, second, strict=True)):
        if one != other:
            break
        last = place
    return last


def learned_codes_only(first, second):
    return right(first[:3], second[:3])


def runs_off_the_end(first, second):
    length = 0
    while first[length] == second[length]:
        length += 1
    return length


def returns_only_at_a_difference(first, second):
    for place, (one, other) in enumerate(zip(first, second, strict=True)):
        if one != other:
            return place


def counts_within_a_family(first, second):
    return counts_all_equal_codes(first, second) if first[0] == second[0] else 0


def spoils_right(change):
    return {"a": True, "b": True, "e": True}.get(change, False)


def spoils_in_any_order(change):
    return change in ("b", "e")


def spoils_with_a_residual_only(change):
    return change in ("a", "e")


def spoils_by_another_distance(change):
    return change in ("a", "b", "c", "e")


def spoils_by_half_of_the_numbers(change):
    return change in ("a", "b", "d", "e")


def spoils_by_no_move(change):
    return change in ("a", "b")


def spoils_by_either_move(change):
    return change in ("a", "b", "e", "f")


RIGHT = {"shared_prefix_length": [right], "spoils": [spoils_right]}
WRONG = {
    "shared_prefix_length": [
        (counts_all_equal_codes, "after a difference no longer count"),
        (compares_as_sets, "after a difference no longer count"),
        (place_of_the_last_shared, "count every code before"),
        (learned_codes_only, "share all of their codes"),
        (runs_off_the_end, "share all of their codes"),
        (returns_only_at_a_difference, "share all of their codes"),
        (counts_within_a_family, "stop at the first difference"),
    ],
    "spoils": [
        (spoils_in_any_order, "far too long for what is left"),
        (spoils_with_a_residual_only, "counts the same thing three times"),
        (spoils_by_another_distance, "mostly the same codeword"),
        (spoils_by_half_of_the_numbers, "half of the numbers say most"),
        (spoils_by_no_move, "not from the second and third codebook"),
        (spoils_by_either_move, "subtracted along with the first codeword"),
    ],
}
