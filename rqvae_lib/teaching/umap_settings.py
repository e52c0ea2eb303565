"""What the widget of UMAP's settings needs: maps of the same movies with many settings.

The maps are of a sample of the catalogue, once of the latents and once of shuffled latents, which
have no structure. `book/studies/umap_settings.py` draws them; here they are measured.

Used by: chapter 07.
"""

import base64
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from torch import Tensor

from rqvae_lib.ops.neighbors import nearest_neighbors, trustworthiness
from rqvae_lib.teaching.plots import GRAY, OKABE_ITO

if TYPE_CHECKING:  # matplotlib comes with the book's extra; nothing here needs it to be imported
    from matplotlib.figure import Figure

UNIT = 4095  # the longer side of a map, in the whole numbers that are stored
NEAREST = 15  # the neighbors that are shown and judged
CODES, MOVIES = 25, 20  # first codes in the sample, and movies of each
COLORED = 6  # first codes with a color of their own
VECTORS = ("latents", "shuffled")


class Fit(NamedTuple):
    """One map of the sample."""

    vectors: str  # one of VECTORS
    n_neighbors: int  # the movie itself included, as umap-learn counts
    min_dist: float
    seed: int

    @property
    def name(self) -> str:
        """The beginning of its two columns' names."""
        return f"{self.vectors}_{self.n_neighbors}_{self.min_dist:g}_{self.seed}"


FITS = [Fit(*setting) for setting in product(VECTORS, (5, 15, 50), (0.0, 0.1, 0.5), (0, 1))]


def sample(first_codes: Tensor, ratings: Tensor) -> Tensor:
    """Return the movies of the maps: the best-known ones of the best-known first codes.

    Args:
        first_codes: (N,) int64.
        ratings: (N,) the number of ratings of each movie.

    Returns:
        rows of the catalogue, (CODES · MOVIES,) int64: the first code with the most ratings comes
        first, and its most rated movie before the others.
    """
    sizes = torch.bincount(first_codes)
    rated = torch.bincount(first_codes, ratings.double())
    order = rated.where(sizes >= MOVIES, -1.0).argsort(descending=True, stable=True)
    rows = []
    for code in order[:CODES]:
        members = (first_codes == code).nonzero()[:, 0]
        known = ratings[members].argsort(descending=True, stable=True)
        rows.append(members[known[:MOVIES]])
    return torch.cat(rows)


def vectors_of(latents: Tensor) -> dict[str, Tensor]:
    """Return what is drawn, by the names in VECTORS: the sample's latents (M, D), and a control.

    The control has the same numbers in each column, shuffled among the movies.
    """
    generator = torch.Generator().manual_seed(0)
    columns = [column[torch.randperm(len(column), generator=generator)] for column in latents.T]
    return dict(zip(VECTORS, (latents, torch.stack(columns, 1)), strict=True))


def table_of(rows: Tensor, maps: dict[str, np.ndarray]) -> pd.DataFrame:
    """Return maps (M, 2) of the sample as one table of whole numbers.

    A map's direction means nothing, so each is turned, or mirrored, until it lies as much as
    possible like the first of the same vectors. Then the longer side is made to fill UNIT.
    """
    table = pd.DataFrame({"item": rows.numpy()})
    first: dict[str, np.ndarray] = {}
    for name, points in maps.items():
        centered = points - points.mean(0)
        like = first.setdefault(name.split("_")[0], centered)
        left, _, right = np.linalg.svd(centered.T @ like)
        turned = centered @ left @ right
        low, high = turned.min(0), turned.max(0)
        middle = UNIT / 2 + (turned - (low + high) / 2) * (UNIT / (high - low).max())
        table[[f"{name}_x", f"{name}_y"]] = middle.round().clip(0, UNIT).astype("uint16")
    return table


def settings_data(
    table: pd.DataFrame,
    latents: Tensor,
    first_codes: Tensor,
    titles: Sequence[str],
    start: int = 0,
) -> dict[str, Any]:
    """Return the data of the widget "umap-settings".

    Args:
        table: the maps, as `table_of` makes them: its column "item" has rows of the catalogue.
        latents: of the whole catalogue, (N, D).
        first_codes: (N,) int64.
        titles: N titles.
        start: the row of the catalogue that is marked at first; one of the sample.
    """
    rows = torch.from_numpy(table["item"].to_numpy(copy=True))
    codes = first_codes[rows]
    colored = list(dict.fromkeys(codes.tolist()))[:COLORED]
    vectors = vectors_of(latents[rows])
    fits = []
    for fit in FITS:
        grid = table[[f"{fit.name}_x", f"{fit.name}_y"]].to_numpy(copy=True)  # (M, 2)
        points = torch.from_numpy(grid.astype("float64"))
        fits.append(
            fit._asdict()
            | {
                "points": _packed(grid),
                "trust": round(trustworthiness(vectors[fit.vectors], points, k=NEAREST), 4),
                "order": round(order_of_distances(vectors[fit.vectors], points, codes), 3),
            }
        )
    return {
        "unit": UNIT,
        "nearest": NEAREST,
        "start": rows.tolist().index(start),
        "titles": [titles[row] for row in rows.tolist()],
        "codes": codes.tolist(),
        "colored": colored,
        "neighbors": {
            name: _packed(nearest_neighbors(each, NEAREST).indices.numpy())
            for name, each in vectors.items()
        },
        "fits": fits,
    }


def still_maps(data: dict[str, Any], shown: Sequence[Fit]) -> "Figure":
    """Draw some of the maps side by side: the still figure of the widget.

    Args:
        data: as `settings_data` returns it.
        shown: maps among FITS.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(shown), figsize=(7, 2.6), dpi=72, layout="constrained")
    colors = dict(zip(data["colored"], OKABE_ITO, strict=True))
    for ax, fit in zip(axes, shown, strict=True):
        packed = next(
            each["points"] for each in data["fits"] if Fit(*list(each.values())[:4]) == fit
        )
        points = np.frombuffer(base64.b64decode(packed), "<u2").reshape(-1, 2)
        ax.scatter(
            *points.T,
            c=[colors.get(code, GRAY) for code in data["codes"]],
            s=3,
            rasterized=True,  # hundreds of dots as shapes would make the page heavy
        )
        ax.set_title(f"{fit.n_neighbors} neighbours, min_dist {fit.min_dist:g}", fontsize=8)
        ax.set(xticks=[], yticks=[], aspect="equal")
    return figure


def order_of_distances(vectors: Tensor, points: Tensor, groups: Tensor) -> float:
    """Return how well a map keeps the order of the distances between the centers of groups.

    Args:
        vectors: (M, D), the truth.
        points: (M, 2), where they lie on the map.
        groups: (M,) int64.

    Returns:
        Spearman's rank correlation: 1 for the same order, 0 for none.
    """
    distances = []
    for places in (vectors, points):
        centers = torch.stack(
            [places[groups == group].double().mean(0) for group in torch.unique(groups)]
        )
        distances.append(torch.pdist(centers).numpy())
    return float(spearmanr(*distances).statistic)


def _packed(numbers: np.ndarray) -> str:
    """Return whole numbers below 2¹⁶ as text: row after row, two bytes each, low byte first."""
    return base64.b64encode(numbers.astype("<u2").tobytes()).decode()
