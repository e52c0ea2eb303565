"""The cases of chapter 00's exercise."""

from collections.abc import Callable

from rqvae_lib.teaching.checks import Case, passes


def shared_prefix_length(function: Callable[[tuple[int, ...], tuple[int, ...]], int]) -> bool:
    """Check a function that counts the leading codes two semantic IDs share."""
    return passes(
        function,
        [
            Case(((1, 9, 2, 0), (5, 9, 2, 0)), 0, "codes after a difference no longer count"),
            Case(((5, 9, 2, 0), (5, 9, 7, 1)), 2, "count every code before the first difference"),
            Case(((5, 9, 2, 0), (5, 9, 2, 0)), 4, "equal IDs share all of their codes"),
            Case(((5, 9, 2, 0), (5, 1, 2, 0)), 1, "stop at the first difference, for good"),
        ],
    )
