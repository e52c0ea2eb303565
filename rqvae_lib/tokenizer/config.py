"""The settings of the RQ-VAE and their defaults, which are defined only here.

The command line takes its defaults from here too, so this file imports nothing that is slow to
load.

Source: Rajput et al., TIGER, arXiv 2305.05065, §3.1 and §4.
Derived in: chapter 04 and chapter 05.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from rqvae_lib.io.json_configs import check_settings

Estimator = Literal["straight-through", "rotation", "gumbel"]
Learning = Literal["average", "gradient"]


@dataclass(frozen=True)
class RQVAEConfig:
    """The architecture of an RQ-VAE. The defaults are TIGER's, except for how codewords learn.

    Raises:
        ValueError: if a setting has another type, if a number is outside its range, if two choices
            do not go together, or if there is no encoder and latent_dim is not input_dim.
    """

    input_dim: int = 384  # numbers in an item's embedding
    # Encoder layers; the decoder mirrors them. None: neither exists, which is residual k-means.
    hidden_dims: tuple[int, ...] | None = (512, 256, 128)
    latent_dim: int = 32  # D: numbers in the latent vector and in each codeword
    num_levels: int = 3  # L: codes in a semantic ID, before disambiguation
    codebook_size: int = 256  # K: codewords per level
    commitment_weight: float = 0.25  # β: how strongly the encoder is pulled toward its codewords
    estimator: Estimator = "straight-through"  # or "rotation", "gumbel": see `ops.estimators`
    learning: Learning = "average"  # how codewords learn: moving averages, or "gradient"
    ema_decay: float = 0.99  # decay of the moving averages, in [0, 1)
    dead_after: int = 20  # fair shares of rows (one in K) missed until a codeword moves; 0: never
    temperature: float = 1.0  # Gumbel-softmax: τ at the first step, in units of squared distance
    final_temperature: float = 0.1  # Gumbel-softmax: the lowest τ
    temperature_decay: float = 0.999  # Gumbel-softmax: the factor on τ at each step

    def __post_init__(self) -> None:
        check_settings(self)
        counts = ("input_dim", "latent_dim", "num_levels", "codebook_size")
        for name in counts:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.hidden_dims is None:
            if self.latent_dim != self.input_dim:
                raise ValueError(
                    f"latent_dim is {self.latent_dim}, but without an encoder (hidden_dims=None) "
                    f"latents are the embeddings: it must be input_dim, {self.input_dim}"
                )
        elif any(width < 1 for width in self.hidden_dims):
            raise ValueError(f"hidden_dims is {self.hidden_dims}; each width must be at least 1")
        check_choices(self.estimator, self.learning)
        if self.dead_after < 0:
            raise ValueError(f"dead_after is {self.dead_after}; it must be at least 0 (0: never)")
        if not 0 < self.final_temperature <= self.temperature < math.inf:
            raise ValueError(
                f"temperature is {self.temperature} and final_temperature "
                f"{self.final_temperature}; both must be finite and above 0, and the final one at "
                "most as high as the first"
            )
        if not 0 < self.temperature_decay <= 1:
            raise ValueError(
                f"temperature_decay is {self.temperature_decay}; it must be above 0, at most 1"
            )
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay is {self.ema_decay}; it must be in [0, 1)")
        if not 0 <= self.commitment_weight < math.inf:
            raise ValueError(
                f"commitment_weight is {self.commitment_weight}; it must be finite and at least 0"
            )

    @classmethod
    def residual_kmeans(
        cls, input_dim: int, *, num_levels: int | None = None, codebook_size: int | None = None
    ) -> "RQVAEConfig":
        """Return the settings of R-KMeans: residual k-means on the standardized embeddings.

        It is the RQ-VAE without an autoencoder, and a baseline that needs no training:
        `RQVAE.fit_to_data` is all it takes.

        Args:
            input_dim: numbers in an item's embedding.
            num_levels: L, the number of codes in a semantic ID; by default the RQ-VAE's.
            codebook_size: K, the number of codewords per level; by default the RQ-VAE's.
        """
        return cls(
            input_dim,
            hidden_dims=None,
            latent_dim=input_dim,
            num_levels=cls.num_levels if num_levels is None else num_levels,
            codebook_size=cls.codebook_size if codebook_size is None else codebook_size,
        )


def check_choices(estimator: str, learning: str) -> None:
    """Check an estimator and a way for codewords to learn.

    Args:
        estimator: one of `Estimator`.
        learning: one of `Learning`.

    Raises:
        ValueError: for another estimator or way of learning, or if the two do not go together.
    """
    for name, value, choices in (
        ("estimator", estimator, Estimator),
        ("learning", learning, Learning),
    ):
        if value not in get_args(choices):
            raise ValueError(f"{name} is {value!r}; it must be one of {get_args(choices)}")
    if estimator == "gumbel" and learning == "average":
        raise ValueError(
            "estimator 'gumbel' trains the codewords by gradient, but learning is 'average': "
            "choose learning='gradient' with it"
        )
