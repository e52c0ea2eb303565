"""An interactive map of the catalogue: point at items, search titles, see shared prefixes.

The answer is one piece of HTML with its data, its style and its script in it, so it works in a
notebook and in a page opened from the disk, and asks nothing of the network. Where scripts are not
allowed to run (a notebook that you have not run yourself), one sentence says so. `item_map.html` is
what stands on the page, `item_map.js` draws, and `item_map.css` is the style.

Used by: chapter 07, to show what the codes of an ID have in common.
"""

import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from string import Template

import numpy as np
import pandas as pd

from rqvae_lib.data.dataset import Dataset
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.teaching.plots import Groups

UNIT = 4000  # the longer side of the map, in the whole numbers that are written


def item_map(
    maps: Mapping[str, np.ndarray],
    dataset: Dataset,
    ids: SemanticIDs,
    colorings: Sequence[Groups],
    *,
    start: int = 0,
    element_id: str = "item-map",
) -> str:
    """Return the HTML of an interactive map, for `IPython.display.HTML`.

    Args:
        maps: by its name, where each item lies, (N, 2). The reader can change between them; the
            first is shown first.
        dataset: of N items; titles, years and genres are shown.
        ids: of the same N items.
        colorings: ways to colour the items, at least one; the first is shown first.
        start: the item that is highlighted at first.
        element_id: of the map in its page: letters, digits and hyphens. Each map needs its own.

    Raises:
        ValueError: if the arguments do not belong to the same items, points are not finite, or
            element_id or start is not allowed.
    """
    count = dataset.num_items
    for name, points in maps.items():
        if points.shape != (count, 2) or not np.isfinite(points).all():
            raise ValueError(
                f"the map {name!r} has shape {points.shape}; expected a pair of finite numbers for "
                f"each of {count} items"
            )
    lengths = {"ids": len(ids)} | {f"coloring {g.name!r}": len(g.group) for g in colorings}
    for name, length in lengths.items():
        if length != count:
            raise ValueError(
                f"{name} has {length} items, the dataset {count}: pass those of the same catalogue"
            )
    if not maps or not colorings:
        raise ValueError(
            f"there are {len(maps)} maps and {len(colorings)} colorings; expected at least one "
            "of each, such as plots.decades for a coloring"
        )
    if not 0 <= start < count:
        raise ValueError(f"start is {start}; expected an item from 0 to {count - 1}")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", element_id):
        raise ValueError(
            f"element_id is {element_id!r}; expected letters, digits and hyphens, a letter first"
        )
    depths = "".join(
        f'<label><input type="radio" autocomplete="off" name="{element_id}-depth" value="{depth}"'
        f"{' checked' if depth == 1 else ''}> {depth} code{'s' if depth > 1 else ''}</label>"
        for depth in range(1, len(ids.sizes))
    )
    return Template(_part("html")).substitute(
        id=element_id,
        count=f"{count:,}",
        depths=depths,
        style=_part("css"),
        script=_part("js"),
        data=_as_json(maps, dataset, ids, colorings, start),
    )


def _part(ending: str) -> str:
    """Return the file beside this one that has the same name and another ending."""
    file = resources.files("rqvae_lib.teaching") / f"item_map.{ending}"
    return file.read_text(encoding="utf-8")


def _as_json(
    maps: Mapping[str, np.ndarray],
    dataset: Dataset,
    ids: SemanticIDs,
    colorings: Sequence[Groups],
    start: int,
) -> str:
    """Return what the script needs, as JSON that cannot end the script element it stands in."""
    items = dataset.items
    text = json.dumps(
        {
            "unit": UNIT,
            "start": start,
            "maps": [{"name": name, **_on_grid(points)} for name, points in maps.items()],
            "title": items["title"].fillna("(no title)").tolist(),
            "year": [None if pd.isna(year) else int(year) for year in items["year"]],
            "genres": items["genres"].tolist(),
            "codes": ids.ids.tolist(),
            "colorings": [
                {
                    "name": groups.name,
                    "labels": groups.labels,
                    "group": groups.group.tolist(),
                    "light": groups.light,
                    "dark": groups.dark,
                }
                for groups in colorings
            ],
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )
    return text.replace("<", "\\u003c")


def _on_grid(points: np.ndarray) -> dict[str, list[int]]:
    """Return where points (N, 2) lie on a square of whole numbers, both axes at the same scale."""
    low, high = points.min(0), points.max(0)
    side = max(float((high - low).max()), 1e-12)
    grid = ((points - (low + high) / 2) / side * UNIT + UNIT / 2).round().astype(int)  # (N, 2)
    return {"x": grid[:, 0].tolist(), "y": grid[:, 1].tolist()}
