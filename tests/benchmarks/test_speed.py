"""How fast the library is, beside its peers and beside the matrix products alone (`make bench`).

Times are for comparison within one run: read the ratios in brackets, not the milliseconds. Nothing
here is asserted, since a clock on a shared machine is not a test.
"""

import pytest
import torch

from rqvae_lib.generate import recommend
from rqvae_lib.kmeans import kmeans, kmeans_plus_plus
from rqvae_lib.recommenders import DecoderOnly, DecoderOnlyConfig
from rqvae_lib.rqvae import RQVAE, RQVAEConfig
from rqvae_lib.semantic_ids import SemanticIDs
from rqvae_lib.trie import Trie

faiss = pytest.importorskip("faiss", reason="`make bench` installs the peers")
peers = pytest.importorskip("vector_quantize_pytorch", reason="`make bench` installs the peers")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def embeddings():
    return torch.randn(1024, 384, generator=seeded())


@pytest.fixture(scope="module")
def rqvae(embeddings):
    model = RQVAE(RQVAEConfig())
    model.fit_to_data(embeddings, generator=seeded())
    return model.train()


@pytest.mark.benchmark(group="one training step's forward and backward, 1,024 items of 384 numbers")
@pytest.mark.parametrize("model", ["MLP alone", "rqvae_lib", "ResidualVQ"])
def test_rqvae_step(benchmark, model, embeddings, rqvae):
    mlp = torch.nn.Sequential(rqvae.encoder, rqvae.decoder)
    peer = peers.ResidualVQ(
        dim=32, num_quantizers=3, codebook_size=256, threshold_ema_dead_code=1, kmeans_init=True
    )

    def loss():
        if model == "rqvae_lib":
            return rqvae(embeddings).loss
        x = rqvae.standardize(embeddings)
        if model == "MLP alone":
            return (mlp(x) - x).square().sum(1).mean()
        quantized, _, commitment = peer(rqvae.encoder(x)[None])
        return (rqvae.decoder(quantized[0]) - x).square().sum(1).mean() + commitment.sum()

    benchmark(lambda: loss().backward())


@pytest.mark.benchmark(group="ten Lloyd steps from one start, 9,000 × 32, 256 clusters")
@pytest.mark.parametrize("library", ["rqvae_lib", "faiss"])
def test_lloyd(benchmark, library):
    x = torch.randn(9000, 32, generator=seeded())
    start = kmeans_plus_plus(x, 256, generator=seeded())
    if library == "rqvae_lib":
        benchmark(lambda: kmeans(x, 256, generator=seeded(), initial_centroids=start))
        return

    def cluster():
        peer = faiss.Kmeans(32, 256, niter=10, max_points_per_centroid=10**6)
        peer.train(x.numpy(), init_centroids=start.numpy())
        peer.index.search(x.numpy(), 1)

    benchmark(cluster)


@pytest.mark.benchmark(group="recommending to 32 users, histories of 49 items")
@pytest.mark.parametrize("num_items", [9000, 100_000])
@pytest.mark.parametrize("what", ["history and four steps alone", "10 beams", "50 beams"])
def test_recommend(benchmark, what, num_items):
    codes = torch.randint(256, (num_items, 3), generator=seeded())
    ids = SemanticIDs(codes, [256, 256, 256])
    trie = Trie(ids)
    model = DecoderOnly(DecoderOnlyConfig(), ids).eval()
    histories = list(torch.randint(num_items, (32, 49), generator=seeded()))

    @torch.no_grad()
    def model_alone():
        state = model.encode_history(histories)
        parents = torch.zeros(32, 10, dtype=torch.int64)
        for _ in range(4):
            model.next_code_logits(state)
            if state.depth < 3:
                state = model.extend(state, parents, torch.zeros_like(parents))
                parents = torch.arange(10).expand(32, -1)

    if what == "10 beams":
        benchmark(lambda: recommend(model, trie, histories, k=10, beams=10))
    elif what == "50 beams":
        benchmark(lambda: recommend(model, trie, histories, k=10, beams=50))
    else:
        benchmark(model_alone)
