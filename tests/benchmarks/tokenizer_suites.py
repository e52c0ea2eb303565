"""The tokenizer's suites: training steps, k-means, and the assignment of codes."""

from collections.abc import Callable
from functools import partial

import faiss
import numpy as np
import torch
from harness import Suite, peak_memory, seeded
from rectokens.tokenizers.rqvae import RQVAETokenizer
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.nn import functional as F
from vector_quantize_pytorch import ResidualVQ

from rqvae_lib.ops.kmeans import kmeans, kmeans_plus_plus
from rqvae_lib.ops.rows import row_blocks
from rqvae_lib.semantic_ids.catalogue import SemanticIDs
from rqvae_lib.semantic_ids.trie import Trie
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.rqvae import RQVAE

BATCH = 1024


def fitted(width: int, **settings: object) -> RQVAE:
    torch.manual_seed(0)
    model = RQVAE(RQVAEConfig(width, **settings))
    model.fit_to_data(torch.randn(BATCH, width, generator=seeded()), generator=seeded())
    return model.train()


class WithPeer(nn.Module):
    """Our autoencoder around a peer's quantizer, so that only the quantizers differ."""

    def __init__(self, ours: RQVAE, peer: nn.Module) -> None:
        super().__init__()
        self.ours, self.peer = ours, peer
        self.ours.quantizer = None  # type: ignore[assignment]

    def loss(self, x: Tensor) -> Tensor:
        x = self.ours.standardize(x)
        latents = self.ours.encoder(x)
        quantized, _, commitment = self.peer(latents[None])
        return (self.ours.decoder(quantized[0]) - x).square().sum(1).mean() + commitment.sum()


class RecTokens(RQVAETokenizer):
    """The peer as it comes (its `forward` also counts unique IDs), with our encoder and decoder."""

    def __init__(self, ours: RQVAE) -> None:
        super().__init__(ours.config.input_dim, 32, 8, 3, 256)
        self.encoder, self.decoder = ours.encoder, ours.decoder
        self.standardize = ours.standardize

    def loss(self, x: Tensor) -> Tensor:
        x = self.standardize(x)
        out = self(x)
        return F.mse_loss(out.recon, x) + out.commitment_loss


def training_step(width: int) -> Suite:
    x = torch.randn(BATCH, width, generator=seeded())
    peer = ResidualVQ(
        dim=32, num_quantizers=3, codebook_size=256, threshold_ema_dead_code=1, kmeans_init=True
    )
    alone, averages = fitted(width), fitted(width)
    learned = fitted(width, learning="gradient")
    rotation = fitted(width, estimator="rotation")
    gumbel = fitted(width, estimator="gumbel", learning="gradient")
    residual_vq, rectokens = WithPeer(fitted(width), peer), RecTokens(fitted(width))
    losses = {
        "MLP alone": (alone, alone.autoencoder_loss),
        "rqvae_lib": (averages, lambda x: averages(x).loss),
        "rqvae_lib, codewords by gradient": (learned, lambda x: learned(x).loss),
        "rqvae_lib, rotation trick": (rotation, lambda x: rotation(x).loss),
        "rqvae_lib, Gumbel-softmax": (gumbel, lambda x: gumbel(x).loss),
        "ResidualVQ (vector-quantize-pytorch)": (residual_vq, residual_vq.loss),
        "rectokens": (rectokens.train(), rectokens.loss),
    }

    def step_of(model: nn.Module, loss_of: object):
        learned = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(learned, lr=1e-4, fused=True)

        def step() -> None:
            loss_of(x).backward()
            optimizer.step()
            optimizer.zero_grad()

        return step

    return Suite(
        f"A training step, {BATCH:,} items of {width} numbers",
        {name: step_of(*parts) for name, parts in losses.items()},
        "MLP alone",
        rounds=25,
    )


def lloyd(num_rows: int) -> Suite:
    x = torch.randn(num_rows, 32, generator=seeded())
    start = kmeans_plus_plus(x[:9000], 256, generator=seeded())

    def peer() -> None:
        clustering = faiss.Kmeans(32, 256, niter=10, max_points_per_centroid=10**9)
        clustering.train(x.numpy(), init_centroids=start.numpy())
        clustering.index.search(x.numpy(), 1)  # ours returns the codes, too

    return Suite(
        f"Ten Lloyd steps from one start, {num_rows:,} × 32, 256 clusters",
        {
            "faiss": peer,
            "rqvae_lib": lambda: kmeans(x, 256, generator=seeded(), initial_centroids=start),
        },
        "faiss",
        rounds=9,
    )


def initialisation(num_rows: int) -> Suite:
    x = torch.randn(num_rows, 32, generator=seeded())

    def peer(seed: int = 0) -> KMeans:
        return KMeans(256, n_init=1, max_iter=10, random_state=seed).fit(x.numpy())

    ours = np.mean([kmeans(x, 256, generator=seeded(seed)).inertia for seed in range(3)])
    theirs = np.mean([peer(seed).inertia_ for seed in range(3)])
    return Suite(
        f"k-means++ and ten Lloyd steps, {num_rows:,} × 32, 256 clusters",
        {"scikit-learn": peer, "rqvae_lib": lambda: kmeans(x, 256, generator=seeded())},
        "scikit-learn",
        rounds=5,
        notes={
            "rqvae_lib": f"inertia {ours / theirs:.4f} of scikit-learn's (mean of 3 seeds), "
            f"{peak_memory(f'start-{num_rows}'):.0f} MiB of memory more than the data"
        },
    )


@torch.no_grad()
def assignment(num_items: int = 100_000, width: int = 768) -> Suite:
    x = torch.randn(num_items, width, generator=seeded())
    model = fitted(width).eval()
    linear = [layer for layer in model.encoder if isinstance(layer, nn.Linear)]
    codebooks = model.quantizer.codebooks
    peer = faiss.ResidualQuantizer(32, 3, 8)
    peer.max_beam_size = 1
    faiss.copy_array_to_vector(codebooks.numpy().ravel(), peer.codebooks)
    peer.is_trained = True

    def floor() -> None:
        for rows in row_blocks(num_items):
            block = x[rows]
            for layer in linear:
                block = block @ layer.weight.T
            for codebook in codebooks:
                block @ codebook.T

    def with_faiss() -> np.ndarray:
        return peer.compute_codes(model.encode(x).numpy())

    codes = model.assign(x)
    agreeing = float((torch.from_numpy(with_faiss().astype(np.int64)) == codes).all(1).sum())
    assert agreeing > 0.999 * num_items, "the peer must do the same work"

    def with_ids() -> SemanticIDs:
        return model.tokenize(x)

    return Suite(
        f"Assigning codes to {num_items:,} items of {width} numbers",
        {
            "matrix products alone": torch.no_grad()(floor),
            "rqvae_lib": lambda: model.assign(x),
            "rqvae_lib, and disambiguated": with_ids,
            "our encoder, faiss.ResidualQuantizer (beam 1)": with_faiss,
        },
        "matrix products alone",
        rounds=7,
    )


def million() -> Suite:
    """One million items: what a catalogue of IDs costs, beside one sort of its packed codes."""
    codes = million_codes()
    packed = (codes[:, 0] * 256 + codes[:, 1]) * 256 + codes[:, 2]
    ids = SemanticIDs(codes, 256)
    prefixes = ids.ids[:: len(ids) // 10_000].tolist()

    def look_up() -> None:
        for prefix in prefixes:
            ids.item_of(prefix)
            ids.with_prefix(prefix[:2])

    notes = {
        case: f"{peak_memory(work):.0f} MiB of memory more than the codes"
        for case, work in (
            ("SemanticIDs: disambiguated", "million-ids"),
            ("Trie: all prefixes", "million-trie"),
        )
    }
    return Suite(
        "A catalogue of 1,000,000 items, three random codes of 256",
        {
            "torch.sort of the codes, packed": packed.sort,
            "sorting the rows by three columns (NumPy)": lambda: np.lexsort(codes.numpy().T[::-1]),
            "SemanticIDs: disambiguated": lambda: SemanticIDs(codes, 256),
            "Trie: all prefixes": lambda: Trie(ids),
            "10,000 items by their ID, and as many prefixes": look_up,
            "collision groups": ids.collision_groups,
        },
        "torch.sort of the codes, packed",
        rounds=9,
        notes=notes,
    )


def million_codes() -> Tensor:
    return torch.randint(256, (1_000_000, 3), generator=seeded())


def million_ids() -> Callable[[], SemanticIDs]:
    codes = million_codes()
    return lambda: SemanticIDs(codes, 256)


def million_trie() -> Callable[[], object]:
    ids = million_ids()()
    return lambda: Trie(ids)


def start(num_rows: int) -> Callable[[], object]:
    x = torch.randn(num_rows, 32, generator=seeded())
    return lambda: kmeans(x, 256, generator=seeded())


SUITES: dict[str, Callable[[], Suite]] = {
    "step-768": lambda: training_step(768),
    "step-384": lambda: training_step(384),
    "lloyd-9000": lambda: lloyd(9_000),
    "lloyd-100000": lambda: lloyd(100_000),
    "start-9000": lambda: initialisation(9_000),
    "start-100000": lambda: initialisation(100_000),
    "assigning": assignment,
    "million": million,
}
# Work whose memory a suite notes.
WORK = {f"start-{num_rows}": partial(start, num_rows) for num_rows in (9_000, 100_000)}
WORK |= {"million-ids": million_ids, "million-trie": million_trie}
