"""Ids that are probably not what their writer meant. They are kept as they are, and said.

Programs write a missing id as "NA" or "null", which then is one very active user. pandas writes the
whole numbers of a column with a missing value as "5.0", and some tables have a space after each
comma.

Used by: `Dataset.from_tables`.
"""

import numpy as np

from rqvae_lib.data.row_order import Numbered

MISSING = ("na", "n/a", "<na>", "nan", "nat", "null", "none", "nil", "undefined", r"\n")


def doubtful_ids(met: Numbered, name: str, where: str) -> tuple[str, ...]:
    """Return a sentence about each kind of doubtful ids in a column.

    Args:
        met: the ids of a table of interactions.
        name: the library's name of the column.
        where: the table, for messages.
    """
    if met.ids.dtype == "int64":
        return ()
    text = met.ids.astype("string")
    rows = np.diff(met.offsets)  # (U,)
    article = "an" if name.startswith("i") else "a"
    said = []
    for doubtful, which, so in (
        (
            text.str.lower().isin(MISSING),
            "stands for a missing value elsewhere",
            "counts as an id like any other: leave these rows out if it is none",
        ),
        (
            text.str.strip() != text,
            "begins or ends with a space",
            "is another id than the same without the space",
        ),
        (
            text.str.fullmatch(r"\d+\.0"),
            "is a whole number with a decimal",
            "is text, and another id than the same without the decimal",
        ),
    ):
        found = doubtful.to_numpy(bool)
        if found.any():
            count = int(rows[found].sum())
            have = "1 row has" if count == 1 else f"{count:,} rows have"
            first = text.iloc[int(found.argmax())][:60]
            said.append(
                f"{where}: {have} {article} {name} that {which}, such as {first!r}; it {so}"
            )
    return tuple(said)
