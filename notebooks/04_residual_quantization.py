# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What should be subtracted, and what should be learned from it?
#
# One list of 256 vectors can tell 256 kinds of movies apart. Three such lists, used one after the other, can tell
# apart 16.8 million. The method behind this is five lines long, and it leaves two questions open that look like
# details. The codes are chosen by "the nearest one wins", which has no gradient: how can a network in front of it
# learn anything? And when a level has made its choice, the next level works on what is left: what exactly has to be
# subtracted? Published implementations answer the second question in different ways. All of them produce the same
# codes, and they train their encoder on different losses.
#
# :::{admonition} What you will learn
# - why three small codebooks reach further than one large one, and what the greedy choice costs
# - why all levels must measure in the same units although their codewords get shorter
# - three ways to send a gradient through a choice: straight-through, the rotation trick, Gumbel-softmax
# - how what you subtract decides how often each loss reaches the encoder, and how to count it with autograd
# - how codewords learn: by a loss, or by a moving average
# :::
#
# | You need | Why | Where |
# | --- | --- | --- |
# | a codebook: a list of vectors, and the nearest one stands for a movie | each level here is one | [Codebooks and k-means](03_codebook_kmeans.ipynb) |
# | embeddings: vectors made from a movie's title, year and genres | they are what gets codes | [Item embeddings](02_item_embeddings.ipynb) |
# | autograd and `detach` | the second half counts gradients | [PyTorch's autograd tutorial](https://pytorch.org/tutorials/beginner/basics/autogradqs_tutorial.html) |
#
# **Time:** about 25 minutes to read.

# %%
import matplotlib.pyplot as plt
import torch
from torch.nn import functional as F

from rqvae_lib.checkpoints import load_rqvae
from rqvae_lib.content import load_embeddings
from rqvae_lib.datasets import load_dataset
from rqvae_lib.estimators import (
    gumbel_softmax,
    rotation_trick,
    straight_through,
)
from rqvae_lib.exercises import chapter_04 as checks
from rqvae_lib.kmeans import kmeans, nearest
from rqvae_lib.quantize import ResidualQuantizer


def seeded(seed):
    return torch.Generator().manual_seed(seed)


# %% [markdown]
# ## One codebook is not enough
#
# The vectors of this chapter are *latents*: 32 numbers a movie, which the encoder of the library's shipped RQ-VAE
# makes from the 384 numbers of the movie's embedding. How such an encoder is trained is the subject of [the next
# chapter](05_training_the_rqvae.ipynb); here it is a given. With it come three codebooks of 256 **codewords**.

# %%
# NBVAL_CHECK_OUTPUT
data = load_dataset("movielens-small-2016")
embeddings = load_embeddings("movielens-small-2016")  # (9066, 384)
model, _ = load_rqvae("movielens-small-2016")
z = model.encode(embeddings)  # (9066, 32)
quantizer = model.quantizer
codebooks = quantizer.codebooks.detach()  # (3, 256, 32)

print("latents", tuple(z.shape), "codebooks", tuple(codebooks.shape))
combinations = 256**3
print(f"{combinations:,} combinations from {3 * 256} codewords")
print(f"as one codebook: {combinations * 32 * 4 / 1e9:.1f} GB")
print(f"as three: {3 * 256 * 32 * 4 / 1e3:.0f} kB")

# %% [markdown]
# A single codebook with as many codewords as there are combinations would take 2.1 gigabytes, which is inconvenient.
# That nobody could train it is fatal: there are 9,066 movies, so at most 9,066 of 16.8 million codewords could ever
# be chosen, and each movie would be its own codeword. A name that is shared with nothing says nothing.
#
# **Residual quantization** {cite}`lee2022rqvae` spends 768 vectors differently. The first codebook replaces $z$ by
# its nearest codeword. The difference, the **residual**, goes to the second codebook, and what is left of it to the
# third. The vector that the codes stand for is the *sum* of the chosen codewords. In general, *L* codebooks of *K*
# codewords reach $K^L$ sums for the price of $L \cdot K$ vectors.


# %%
def residual_encode(z, codebooks):
    residual, codes = z, []
    for codebook in codebooks:  # (K, D)
        scores = codebook.square().sum(1) / 2 - residual @ codebook.T
        codes.append(scores.argmin(1))  # (B,), the nearest codeword
        residual = residual - codebook[codes[-1]]
    return torch.stack(codes, 1), residual  # (B, L), (B, D)


def residual_decode(codes, codebooks):
    levels = zip(codes.T, codebooks, strict=False)  # a prefix will do
    return sum(codebook[level] for level, codebook in levels)


codes, residual = residual_encode(z, codebooks)

# %% [markdown]
# The scores are squared distances, halved, without the term $\lVert z\rVert^2$ that is the same for every codeword.
# The library's `ResidualQuantizer` gives the same codes and the same sums. And nothing has been lost on the way: the
# latent is exactly, up to rounding, the sum of its codewords and the last residual.

# %%
# NBVAL_CHECK_OUTPUT
vectors = residual_decode(codes, codebooks)
assert torch.equal(codes, quantizer.encode(z))
assert torch.equal(vectors, quantizer.decode(codes))
torch.testing.assert_close(z, vectors + residual)
print(f"{len(codes):,} movies, {codes.shape[1]} codes each: all equal")

# %% [markdown]
# ## A movie, level by level
#
# A prefix of the codes decodes to a coarser vector. To see what each level adds, take *Toy Story*, decode its first
# code, its first two and all three, and ask each time which movies' latents lie nearest to the decoded point.

# %%
toy_story = int(data.item_index([1])[0])
for level in (1, 2, 3):
    prefix = codes[toy_story, :level]
    family = (codes[:, :level] == prefix).all(1)
    point = quantizer.decode(prefix[None])
    distance = (z - point).norm(dim=1)  # (9066,)
    rank = int((distance < distance[toy_story]).sum()) + 1
    print(f"{level} code(s): shared by {int(family.sum())}; it is no. {rank},")
    print(f"   at distance {distance[toy_story]:.1f}. The nearest:")
    for movie in distance.topk(3, largest=False).indices.tolist():
        print("     ", data.titles[movie])

# %% [markdown]
# The first codeword is the centre of a neighbourhood of family films in which *Toy Story* itself is only the eighth
# nearest. With the second code the decoded point has moved so far towards it that no other latent is nearer, and no
# other movie has the same pair of codes. The third brings the point closer still. So the levels do what the name
# promises, coarse before fine, and by the second code most of the movie has been said.
#
# ## How much each level leaves
#
# How much is left can be measured for all movies: the squared lengths of the residuals, as a share of the squared
# lengths of what was to be coded. To compare fairly with other ways of spending the same bits, all codebooks of the
# next cell are placed by k-means on the same latents, whose mean is first removed:
#
# - residual quantization with three codebooks of 256 codewords, 24 bits a movie;
# - *product quantization* {cite}`jegou2011product`, which cuts the 32 numbers into three parts and gives each part a codebook of 256 of its own: 24 bits as well;
# - a single codebook of 768 codewords: as many vectors, but under ten bits.


# %%
def kmeans_levels(x, seed, num_levels=3):
    residuals, books = [x], []
    for _ in range(num_levels):
        found = kmeans(
            residuals[-1], 256, generator=seeded(seed), num_iterations=10
        )
        books.append(found.centroids)
        residuals.append(residuals[-1] - found.centroids[found.codes])
    return residuals, torch.stack(books)


def share_left(residual, x):
    return float(residual.square().sum() / x.square().sum())


def product_left(x, seed):
    parts = x.tensor_split(3, dim=1)
    lost = [kmeans(part, 256, generator=seeded(seed)).inertia for part in parts]
    return sum(lost) / float(x.square().sum())


# %%
centred = z - z.mean(0)
by_level, single, product = [], [], []
for seed in (0, 1, 2):
    residuals, _ = kmeans_levels(centred, seed)
    by_level.append([share_left(left, centred) for left in residuals])
    one = kmeans(centred, 768, generator=seeded(seed))
    single.append(one.inertia / float(centred.square().sum()))
    product.append(product_left(centred, seed))
    print(
        f"seed {seed}: levels",
        *(f"{left:.3f}" for left in by_level[-1][1:]),
        f" 768 codewords {single[-1]:.3f}  product {product[-1]:.3f}",
    )
    assert by_level[-1][3] < single[-1] < product[-1]

# %% mystnb={"image": {"alt": "A falling line of the share of variance left after 0, 1, 2 and 3 levels of residual quantization: 1, about 0.19, 0.09 and 0.055, on a logarithmic axis. Two horizontal lines lie above its end: a single codebook of 768 codewords at about 0.15 and product quantization at about 0.17."}, "figure": {"caption": "Three residual levels leave about a third of what product quantization leaves with the same 24 bits, and well under half of what one codebook leaves with as many vectors. Means of three seeds.", "name": "fig-04-levels"}}
fig, ax = plt.subplots(figsize=(6, 3.2))
ax.plot(range(4), torch.tensor(by_level).mean(0), "o-", label="residual")
for left, style, label in [
    (product, "--", "product, 3 × 256"),
    (single, ":", "single, 768"),
]:
    ax.axhline(sum(left) / 3, ls=style, color="C1", label=label)
ax.set(xlabel="levels", ylabel="share of variance left", yscale="log")
ax.set_xticks(range(4))
ax.set_yticks([1, 0.5, 0.2, 0.1, 0.05], ["1", "0.5", "0.2", "0.1", "0.05"])
ax.minorticks_off()
ax.legend()
plt.show()

# %% [markdown]
# {numref}`fig-04-levels` needs one caution. These latents come from an encoder that was trained in front of a
# residual quantizer, so they are the kind of vectors that residual quantization likes; and product quantization would
# do better after a rotation chosen for it. What about vectors that nobody has prepared? Residual k-means on the 384
# standardised features of the embeddings themselves:

# %%
standardised = model.standardize(embeddings)  # (9066, 384)
raw_residuals, _ = kmeans_levels(standardised, seed=0)
raw_left = [share_left(left, standardised) for left in raw_residuals]
print(*(f"{left:.2f}" for left in raw_left))
assert 0.5 < raw_left[3] < 0.57

# %% [markdown]
# More than half of the variance is still there after three levels, since 384 features hold far more than 24 bits.
# That is the motive for an encoder: it makes vectors in which little is lost.
#
# ## Greedy is not optimal
#
# The levels choose one after the other, and none looks ahead. This is a *greedy* choice, and it can be wrong: a
# second-nearest first codeword may leave a residual that the second codebook fits much better. With 8 codewords a
# level there are only 512 sums, so all of them can be tried.


# %%
def best_of_all(z, codebooks):
    sums = torch.zeros(1, z.shape[1])
    for codebook in codebooks:
        sums = (sums[:, None] + codebook).flatten(0, 1)  # (K ** level, D)
    return (z - sums[nearest(z, sums)]).square().sum(1)  # (B,)


def small_codebooks(seed, num_levels=3, size=8):
    small = ResidualQuantizer(num_levels, size, z.shape[1])
    small.init_codebooks(z, generator=seeded(seed))
    return small.codebooks.detach()


for seed in (0, 1, 2):
    small = small_codebooks(seed)
    greedy = residual_encode(z, small)[1].square().sum(1)
    best = best_of_all(z, small)
    assert (best <= greedy + 1e-2).all()
    missed = (best < greedy - 1e-2).float().mean()
    excess = greedy.sum() / best.sum() - 1
    print(f"seed {seed}: misses the best sum {missed:.0%}, error +{excess:.1%}")
    assert 0.15 < missed < 0.3
    assert 0.01 < excess < 0.06

# %% [markdown]
# Even with so few codewords the greedy choice finds the best sum for about four movies in five, and its error is
# about 3 % above the least possible. Trying everything is out of the question for 256³ sums. A *beam search* is the
# compromise: it keeps the *b* best prefixes at each level instead of one.


# %%
def beam_encode(z, codebooks, width):
    sums = z.new_zeros(len(z), 1, z.shape[1])  # (B, b, D)
    for codebook in codebooks:
        left = z[:, None] - sums
        scores = left.square().sum(2, keepdim=True)  # (B, b, 1)
        scores = scores - 2 * left @ codebook.T + codebook.square().sum(1)
        size = min(width, scores[0].numel())
        kept = scores.flatten(1).topk(size, largest=False).indices  # (B, b)
        parent, code = kept // len(codebook), kept % len(codebook)
        sums = sums.take_along_dim(parent[..., None], 1) + codebook[code]
    return (z - sums[:, 0]).square().sum(1)  # (B,)


some = z[torch.randperm(len(z), generator=seeded(0))[:2000]]
greedy = residual_encode(some, codebooks)[1].square().sum(1)
for width in (1, 2, 4, 16):
    found = beam_encode(some, codebooks, width)
    better = (found < greedy - 1e-2).float().mean()
    gain = 1 - found.sum() / greedy.sum()
    print(f"beam {width:>2}: better for {better:.1%}, error −{gain:.2%}")
assert 0.05 < better < 0.2
assert 0.005 < gain < 0.03

# %% [markdown]
# With the trained codebooks of 256 codewords the greedy choice is hard to beat: a beam of 16 finds something better
# for about one movie in nine, and lowers the error by about 1.4 %. The library stays greedy. It is cheaper, and it
# has a property that a recommender needs: a greedy code depends on the codes before it only, so the first code is
# always the nearest first codeword, and similar movies start alike. An optimal search may change the first code of a
# movie to mend the third.
#
# The *order* of the levels is part of the greedy choice. A sum does not depend on the order of its terms, so decoding
# does not care. Encoding does:

# %%
# NBVAL_CHECK_OUTPUT
backwards = codebooks.flip(0)
swapped = residual_decode(codes.flip(1), backwards)
torch.testing.assert_close(swapped, vectors, rtol=1e-4, atol=1e-4)
print("decoding in another order gives the same vectors")

_, forwards_left = residual_encode(z, codebooks)
_, backwards_left = residual_encode(z, backwards)
for order, left in [("1-2-3", forwards_left), ("3-2-1", backwards_left)]:
    print(f"encoding {order}: {share_left(left, z):.2f} is left")

# %% [markdown]
# In the wrong order about a quarter is left, five times as much. The fine codebook comes first and has only short
# codewords for long vectors; the coarse one comes last, and its codewords are too long for what is left. So the codes
# of one model mean nothing in another order.
#
# ## Why the levels share a scale
#
# What do the three codebooks look like? The next cell prints the mean length of what reaches each level, the mean
# length of the level's codewords, and the *effective dimension* of what reaches it:
# $(\sum_i \lambda_i)^2 / \sum_i \lambda_i^2$, where the $\lambda_i$ are the variances along the principal directions. It is 32 for a cloud that is
# equally wide in all 32 directions and 1 for a line.

# %%
norms = quantizer.residual_norms(z)  # (4,)
for level in range(4):
    left = z - quantizer.decode(codes[:, :level])
    spectrum = torch.linalg.svdvals(left - left.mean(0)).square()
    dimension = spectrum.sum().square() / spectrum.square().sum()
    torch.testing.assert_close(left.norm(dim=1).mean(), norms[level])
    words = f"{codebooks[level].norm(dim=1).mean():5.1f}" if level < 3 else ""
    print(
        f"after {level} levels: {norms[level]:5.1f} left, "
        f"{dimension:4.1f} directions; codewords {words or 'none'}"
    )

# %% [markdown]
# Two things happen with depth. The residuals get shorter, and they lose their direction: the first level removes the
# differences that many movies share, and what remains is wide in nearly every direction, like noise. A codebook
# cannot do much about such a cloud. This is why each further level shortens the residual by a smaller factor.
#
# The codewords get shorter in step with the residuals. And yet all levels *share a scale*: they live in the same
# space and are measured in the same units, those of the latent, because they are going to be added up. This has a
# consequence that is easy to overlook. Suppose somebody tidies up, and divides the residuals of each level by their
# mean length, so that every codebook sees vectors of length about 1. The *codes* do not change if the codewords are
# divided too. The *sum* does:

# %%
scales = norms[:3]  # what reaches each level has this mean length
tidy = codebooks / scales[:, None, None]  # codewords of length about 1

residual, tidy_codes = z, []
for codebook, scale in zip(tidy, scales, strict=True):
    tidy_codes.append(nearest(residual / scale, codebook))
    residual = residual - scale * codebook[tidy_codes[-1]]
tidy_codes = torch.stack(tidy_codes, 1)

print(f"the same codes: {(tidy_codes == codes).all(1).double().mean():.4f}")
wrong = residual_decode(tidy_codes, tidy)
right = residual_decode(tidy_codes, tidy * scales[:, None, None])
print(f"added up without the scales, {share_left(z - wrong, z):.2f} is lost")
print(f"added up with them, {share_left(z - right, z):.2f}")
assert share_left(z - wrong, z) > 0.5 > 0.1 > share_left(z - right, z)

# %% [markdown]
# The scales carry information. Whoever normalises a level by itself has to store its scale and multiply by it again;
# otherwise the coarse and the fine corrections weigh the same. It is simplest never to divide, and the library does
# not. The same holds for the loss of the next sections, which adds up squared errors over levels. In shared units a
# level counts by how much error it can still remove.
#
# ## Could the levels share a codebook?
#
# Lee et al. {cite}`lee2022rqvae` use one codebook for all levels of their image tokenizer. Is that possible here?
# Four ways to use codebooks of 256 codewords, each over four levels: a codebook of its own for each level; the first
# level's codebook for all; the same, but shrunk at each level to the length of what is left, the scale being stored;
# and one codebook placed by k-means on the residuals of the first three levels, pooled, without a scale.


# %%
def shared_left(z, codebook, rescale):
    residual, left, full = z, [], z.norm(dim=1).mean()
    for _ in range(4):
        scale = residual.norm(dim=1).mean() / full if rescale else 1
        level = codebook * scale
        residual = residual - level[nearest(residual, level)]
        left.append(share_left(residual, z))
    return left


ways = {"own": [], "shared": [], "shared, rescaled": [], "shared, pooled": []}
for seed in (0, 1, 2):
    residuals, books = kmeans_levels(z, seed, num_levels=4)
    pooled = kmeans(torch.cat(residuals[:3]), 256, generator=seeded(seed))
    ways["own"].append([share_left(left, z) for left in residuals[1:]])
    ways["shared"].append(shared_left(z, books[0], rescale=False))
    ways["shared, rescaled"].append(shared_left(z, books[0], rescale=True))
    ways["shared, pooled"].append(shared_left(z, pooled.centroids, False))
ways = {way: torch.tensor(left) for way, left in ways.items()}  # (3, 4) each
for way, left in ways.items():
    print(f"{way:<17}", *(f"{share:.3f}" for share in left.mean(0)))
assert (ways["shared"].diff(dim=1) > 0).all()
assert (ways["own"][:, 3] < ways["shared, pooled"][:, 3]).all()

# %% mystnb={"image": {"alt": "Four lines of the share of the squared length left after levels 1 to 4, on a logarithmic axis. The shared codebook rises from about 0.19 to 0.64. The others fall: shared and rescaled to about 0.11, shared and pooled from about 0.22 to 0.085, and own codebooks from 0.19 to about 0.036."}, "figure": {"caption": "A codebook made for the first level does harm at every later one, because its codewords are far too long; rescaled or pooled it helps, and codebooks of their own help most. Means of three seeds.", "name": "fig-04-shared"}}
fig, ax = plt.subplots(figsize=(6, 3.2))
for (way, left), marker in zip(ways.items(), "osD^", strict=True):
    ax.plot(range(1, 5), left.mean(0), marker=marker, label=way)
ax.set(xlabel="levels", ylabel="share left", yscale="log", ylim=(0.03, 1.6))
ax.set_xticks(range(1, 5))
ax.set_yticks([1, 0.3, 0.1, 0.03], ["1", "0.3", "0.1", "0.03"])
ax.minorticks_off()
ax.legend(ncols=2, fontsize=9)
plt.show()

# %% [markdown]
# The plain shared codebook is a lesson in scale. After the first level the residuals are less than half as long as
# the codewords. Even the nearest codeword overshoots, and the error *grows* with each level
# ({numref}`fig-04-shared`). If the codebook contained a zero vector, it could at least stand still. Storing one
# number a level mends the worst of it. Pooling does without the number: the 256 codewords divide among long ones and
# short ones, which costs some precision at the first two levels and is ahead of rescaling from the third on. With
# enough codewords and training that can be a fair price, as in images; here codebooks of their own lose less than
# half as much after four levels, and cost 98 kilobytes for three. The library gives each level its own.
#
# ## A gradient through a choice
#
# So far the latents were given. Now imagine the encoder that makes them, and a decoder behind the quantizer that must
# rebuild the movie's embedding from the sum of codewords $q$. The decoder's error has a gradient with respect to $q$.
# What is its gradient with respect to $z$? If $z$ moves a little, the same codewords are chosen and $q$ does not
# move. The derivative of $q$ with respect to $z$ is *zero*, everywhere but on the borders between two choices, where
# there is none. The encoder learns nothing.
#
# An **estimator** puts something useful in the place of this zero. The simplest pretends that $q$ is $z$: the
# **straight-through** estimator {cite}`bengio2013estimating,vandenoord2017vqvae` passes the gradient on unchanged. In
# PyTorch it is one line, whose value is $q$ and whose gradient is that of $z$.

# %%
q = quantizer.decode(codes).detach()  # (9066, 32)
gradient_at_q = torch.randn(z.shape, generator=seeded(3))  # the decoder's wish


def gradient_through(estimator):
    latents = z.clone().requires_grad_()
    value = estimator(latents, q)
    (gradient,) = torch.autograd.grad(value, latents, gradient_at_q)
    return value.detach(), gradient


def by_hand(z, q):
    return z + (q - z).detach()


value, copied = gradient_through(by_hand)
library_value, library_gradient = gradient_through(straight_through)
assert torch.equal(copied, gradient_at_q)
assert torch.equal(library_gradient, copied)
torch.testing.assert_close(value, library_value)
assert torch.equal(library_value, q)
print(f"by hand, {(value != q).double().mean():.0%} of the numbers are not q")

# %% [markdown]
# The last line is about rounding. The line by hand, the usual one, adds $z$ and subtracts it again, which rounds some
# of them differently in the last digit. The library's version, `q.detach() + (z - z.detach())`, adds an exact zero,
# so that what the decoder sees in training is what it will see later, bit for bit.
#
# ### The rotation trick
#
# Straight-through tells all the latents of one codeword the same thing, wherever they lie. The **rotation trick**
# {cite}`fifty2024rotation` treats $q$ as a rotated and stretched $z$, and sends the gradient back by the same
# rotation and stretch. With the unit vectors $u$ of $z$ and $v$ of $q$, and $w$ of $u + v$,
#
# $$\lambda R = \frac{\lVert q\rVert}{\lVert z\rVert} \left(I - 2\,w w^\top + 2\,v u^\top\right)$$
#
# carries $z$ onto $q$: the first two terms mirror $u$ onto $-v$, and the third adds $2v$. The matrix is held
# constant, so a gradient $g$ at $q$ becomes $\lambda R^\top g$ at $z$. For one movie, with the matrix written out:

# %%
u, v = F.normalize(z[toy_story], dim=0), F.normalize(q[toy_story], dim=0)
w = F.normalize(u + v, dim=0)
stretch = q[toy_story].norm() / z[toy_story].norm()
matrix = torch.eye(32) - 2 * torch.outer(w, w) + 2 * torch.outer(v, u)
torch.testing.assert_close(stretch * matrix @ z[toy_story], q[toy_story])

_, rotated = gradient_through(rotation_trick)
wanted = stretch * matrix.T @ gradient_at_q[toy_story]
torch.testing.assert_close(rotated[toy_story], wanted)

# %% [markdown]
# The library does the same without any 32 × 32 matrix. What is kept by it? The angle between the gradient and the
# vector: what was "further out" at $q$ is "further out" at $z$. And the length, up to the stretch.

# %%
# NBVAL_CHECK_OUTPUT
angle_at_q = F.cosine_similarity(gradient_at_q, q)
assert torch.allclose(F.cosine_similarity(rotated, z), angle_at_q, atol=1e-4)
stretches = q.norm(dim=1) / z.norm(dim=1)
lengths = rotated.norm(dim=1) / gradient_at_q.norm(dim=1)
assert torch.allclose(lengths, stretches, rtol=1e-4)
changed = F.cosine_similarity(copied, z) - angle_at_q
print("rotation keeps the angle to the vector: True")
print(f"straight-through keeps it: {bool(changed.abs().max() < 1e-3)}")

# %% mystnb={"image": {"alt": "Two panels, each with 25 arrows on a grid around a codeword that is marked by a star. On the left, straight-through, all arrows are parallel and equally long. On the right, the rotation trick, the arrows turn with the direction of their starting point seen from the origin, and are longer near the origin."}, "figure": {"caption": "Straight-through (left) moves all latents of a codeword (star) in parallel; the rotation trick (right) turns each step with the latent's direction from the origin (cross), and lengthens it for short latents.", "name": "fig-04-field"}}
axis = torch.linspace(-0.9, 0.9, 5)
star = torch.tensor([1.8, 1.4])
points = (torch.cartesian_prod(axis, axis) + star).requires_grad_()
wish = torch.tensor([-0.2, 0.6]).expand(25, 2)  # where q should go
fig, panels = plt.subplots(1, 2, figsize=(6, 3.2), sharey=True)
names = ("straight-through", "rotation trick")
for ax, name, estimator in zip(
    panels, names, (straight_through, rotation_trick), strict=True
):
    value = estimator(points, star.expand(25, 2))
    (step,) = torch.autograd.grad(value, points, wish)
    x, y = points.detach().T
    ax.quiver(x, y, *step.T, color="C0", angles="xy", scale_units="xy", scale=2)
    ax.plot(*star, "*", color="C1", ms=14)
    ax.plot(0, 0, "x", color="C3", ms=9)
    ax.set(title=name, xlim=(-0.3, 3.2), ylim=(-0.3, 3.2), aspect="equal")
plt.show()

# %% [markdown]
# The rotation depends on where the origin is, and a residual's origin is the codeword above it. For this reason it
# matters to which pair of vectors the trick is applied. The library applies it once, to the latent and the whole sum.
# For the shipped model the two point in almost the same direction, so that both estimators say almost the same:

# %%
cosine = F.cosine_similarity(z, q)
print(f"cosine of z and q: median {cosine.median():.3f}")
agreement = F.cosine_similarity(rotated, copied)
print(f"cosine of the two gradients: median {agreement.median():.3f}")
assert cosine.median() > 0.95
assert agreement.median() > 0.95

# %% [markdown]
# ### Gumbel-softmax
#
# The third way changes the forward pass too. Instead of one codeword, a level gives out a mixture of all of them,
# weighted by a softmax of the negative squared distances; it has a true gradient, for the codewords as well. Noise is
# added to the scores, so that training explores: with noise from the *Gumbel* distribution, the largest weight falls
# on a codeword with just the probability that a plain softmax of the scores would give it. The scores are divided by
# a *temperature* τ, and as τ falls, the mixture becomes a choice {cite}`jang2017gumbel`.
#
# Gumbel noise is minus the logarithm of an exponentially distributed number. PyTorch draws it in that way, so the
# same seed gives the same noise by hand.


# %%
def gumbel_by_hand(residual, codebook, temperature):
    distances = torch.cdist(residual, codebook).square()  # (B, K)
    noise = -torch.empty_like(distances).exponential_().log()
    return ((noise - distances) / temperature).softmax(1)


few, first = z[:500].double(), codebooks[0].double()
for temperature in (1000.0, 300.0, 100.0, 30.0, 10.0):
    torch.manual_seed(5)
    mine = gumbel_by_hand(few, first, temperature)
    torch.manual_seed(5)
    library = gumbel_softmax(few, first, torch.tensor(temperature))
    torch.testing.assert_close(mine, library)
    largest = mine.max(1).values.mean()
    print(f"temperature {temperature:>6}: largest weight {largest:.2f}")

for shrink in (1, 10, 100):
    mine = gumbel_by_hand(few / shrink, first / shrink, 1.0)
    agree = (mine.argmax(1) == nearest(few, first)).double().mean()
    print(f"latents / {shrink}: the nearest codeword is first in {agree:.0%}")

# %% [markdown]
# The temperature is a squared distance, so here too the scale counts. In these latents the squared distances are
# large, and noise of size one hardly ever changes which codeword is first: the largest weight falls on the nearest
# codeword for every one of the 500 movies, and the temperature decides only how much of the mixture it gets. It takes
# a temperature of several hundred to mix many codewords, while at 10, or at 1, where the library starts by default, the mixture is a single
# one. In latents ten times as short, with the codewords shrunk alike, the same noise overrules the distances for
# about two movies in three; in latents a hundred times as short it decides everything.
#
# ## What you subtract
#
# Now the three levels and the estimator have to be put together. The obvious way is to write one level with its
# estimator and to loop over it. There are at least three ways to write that loop, and they differ in a `detach`:
#
# - **(a)** subtract what the level gave out, that is, the straight-through *estimate*, and add up the estimates;
# - **(b)** subtract the *detached* codeword, and add up the estimates;
# - **(c)** subtract the detached codeword, add up codewords, and apply the estimator *once*, to $z$ and the sum.
#
# Each returns the sum and also the commitment loss $\sum_l \lVert r_l - \mathrm{sg}[e_l]\rVert^2$, which pulls the
# encoder towards the codewords: $r_l$ is what reaches level $l$, $e_l$ the chosen codeword, and $\mathrm{sg}$, *stop
# gradient*, is `detach`.


# %%
def quantize(z, codebooks, way):
    residual, total, commitment = z, 0, 0
    for codebook in codebooks:
        codeword = codebook[nearest(residual.detach(), codebook)]
        commitment = commitment + (residual - codeword).square().sum(1)
        estimate = residual + (codeword - residual).detach()
        residual = residual - (estimate if way == "a" else codeword)
        total = total + (codeword if way == "c" else estimate)
    if way == "c":
        total = z + (total - z).detach()
    return total, commitment


# %% [markdown]
# The codebooks here take no gradient, so a codeword is as good as detached. In the forward direction the three are
# the same, up to rounding. To count how often a gradient arrives at $z$, send back ones: the gradient of the sum of
# all the outputs is then the number of arrivals, in each number of $z$.

# %%
# NBVAL_CHECK_OUTPUT
four = torch.cat([codebooks, codebooks[2:] / 2])  # a fourth level, made up
batch = z[:256].clone().requires_grad_()
arrivals = {}
for way in "abc":
    for num_levels in (1, 2, 3, 4):
        total, _ = quantize(batch, four[:num_levels], way)
        (gradient,) = torch.autograd.grad(total.sum(), batch)
        arrivals[way, num_levels] = round(float(gradient.mean()))
        assert torch.equal(gradient, gradient[:1, :1].expand_as(gradient))
    print(f"({way})", [arrivals[way, levels] for levels in (1, 2, 3, 4)])

# %% [markdown]
# The reconstruction's gradient arrives once under (a), *L* times under (b), and once under (c).
#
# The (b) is easy to see: each of the *L* estimates has the gradient of its residual, each residual is $z$ minus a
# constant, so each passes on one copy. The (a) is less obvious. The estimate of level 1 has the gradient of $z$.
# Subtracted from $z$, it leaves a residual whose gradient is $I - I = 0$. So the residual at level 2 is, for
# autograd, a constant. The later levels send nothing, and the one copy comes from level 1.
#
# So (a) and (c) agree in the reconstruction. They part in the commitment loss: under (a) that too is cut off after
# the first level.

# %%
# NBVAL_CHECK_OUTPUT
with torch.no_grad():
    residuals = [batch]
    for codebook in codebooks:
        words = codebook[nearest(residuals[-1], codebook)]
        residuals.append(residuals[-1] - words)
pulls = {}
for way in "abc":
    _, commitment = quantize(batch, codebooks, way)
    (pulls[way],) = torch.autograd.grad(commitment.sum(), batch)

torch.testing.assert_close(pulls["a"], 2 * residuals[1])
torch.testing.assert_close(pulls["b"], 2 * sum(residuals[1:]))
torch.testing.assert_close(pulls["c"], pulls["b"])
print("commitment from level 1 alone: (a)")
print("commitment from all levels: (b), (c)")

# %% mystnb={"image": {"alt": "Two panels of lines over one to four levels. Left, how often the reconstruction gradient arrives: (a) and (c) stay at 1, (b) rises to 4. Right, how many levels' commitment arrives: (a) stays at 1, (b) and (c) rise to 4."}, "figure": {"caption": "How often the encoder hears of each loss depends on what the loop subtracts: only (c) hears the reconstruction once and the commitment of every level.", "name": "fig-04-gradients"}}
levels = torch.tensor([1, 2, 3, 4])
heard = {  # reconstruction as counted above; commitment as derived above
    "a": levels.clamp(max=1),
    "b": levels,
    "c": levels,
}
fig, (left, right) = plt.subplots(1, 2, figsize=(6, 3.2), sharey=True)
for way, style, size in [("a", "o-", 11), ("b", "s--", 8), ("c", "^:", 5)]:
    counts = [arrivals[way, int(level)] for level in levels]
    left.plot(levels, counts, style, ms=size, label=f"({way})")
    right.plot(levels, heard[way], style, ms=size, label=f"({way})")
left.set(title="reconstruction", xlabel="levels", ylabel="arrives … times")
right.set(title="commitment", xlabel="levels", ylim=(0, 4.4))
left.legend()
plt.show()

# %% [markdown]
# ### What it changes
#
# An encoder under (b) is trained on another mixture of losses than the one that was written down. Adam, which divides
# a gradient by its own size, makes the factor *L* itself nearly invisible. What remains is the *ratio* of the two
# losses: with reconstruction *L* times as loud, the commitment is worth $\beta / L$. This can be asserted, here with
# the shipped encoder and decoder: (b) with weight $\beta$ gives the encoder *L* times the gradient of (c) with
# $\beta / L$.


# %%
def encoder_gradient(way, weight, rows=256):
    x = model.standardize(embeddings[:rows])
    total, commitment = quantize(model.encoder(x), codebooks, way)
    lost = (model.decoder(total) - x).square().sum(1)
    loss = (lost + weight * commitment).mean()
    parts = torch.autograd.grad(loss, list(model.encoder.parameters()))
    return torch.cat([part.flatten() for part in parts])


beta = 0.25
loud, fair = encoder_gradient("b", beta), encoder_gradient("c", beta / 3)
torch.testing.assert_close(loud, 3 * fair, rtol=1e-2, atol=1e-2)

honest = encoder_gradient("c", beta)
for way in "ab":
    other = encoder_gradient(way, beta)
    assert F.cosine_similarity(other, honest, 0) < 0.98
    print(
        f"({way}) beside (c): cosine {F.cosine_similarity(other, honest, 0):.3f}"
        f", length × {other.norm() / honest.norm():.2f}"
    )

# %% [markdown]
# For this model, and these 256 movies, the encoder's gradient under (b) is about three times as long as under (c) and
# points elsewhere, at a cosine of about 0.9; under (a) the length is nearly the same and the cosine about 0.95. Does
# it matter? A short training shows the direction. It starts from an early snapshot of the shipped model, after 1,000
# steps, holds its codebooks and decoder fixed, and trains the encoder alone for 30 steps under each loop, twice, with
# different batches; every fourth movie is then measured. The fourth line is (c) with β / 3.


# %%
def fine_tune(way, weight, seed, num_steps=30):
    early, _ = load_rqvae("movielens-small-2016-1k")
    books = early.quantizer.codebooks.detach()
    adam = torch.optim.Adam(early.encoder.parameters(), lr=1e-3)
    x, generator = early.standardize(embeddings), seeded(seed)
    for _ in range(num_steps):
        rows = torch.randint(len(x), (64,), generator=generator)
        total, commitment = quantize(early.encoder(x[rows]), books, way)
        lost = (early.decoder(total) - x[rows]).square().sum(1)
        adam.zero_grad()
        (lost + weight * commitment).mean().backward()
        adam.step()
    with torch.no_grad():
        total, left = quantize(early.encoder(x[::4]), books, "c")
        lost = (early.decoder(total) - x[::4]).square().sum(1)
    return float(lost.mean()), float(left.mean())


# %%
left_over = {}
for way, weight in [("a", beta), ("b", beta), ("c", beta), ("c", beta / 3)]:
    trained = [fine_tune(way, weight, seed) for seed in (0, 1)]
    left_over[way, weight] = [left for _, left in trained]
    shown = [f"{lost:.0f} and {left:.0f}" for lost, left in trained]
    print(f"({way}) β = {weight:.2f}: reconstruction, left over", shown)

for seed in (0, 1):
    a, b, c, weak = (left[seed] for left in left_over.values())
    assert c < a < b
    assert abs(weak - b) < 0.15 * b

# %% [markdown]
# The reconstruction error hardly differs. What differs is the commitment, the squared lengths that all levels leave
# over: least under (c), more under (a), most under (b). And (c) with β / 3 ends where (b) ends, as derived. This is a
# short training with frozen codebooks and two seeds. It shows that the loops train different encoders; whether the
# recommendations of a whole training get better or worse is not shown by it, and is not claimed here.
#
# Which of the three do people use? As of the versions that we read: `EdoardoBotta/RQ-VAE-Recommender` subtracts the
# level's output, `res = res - emb`, which with its straight-through mode is (a); an earlier version of the same file
# subtracts `emb.detach()`, as (b) does. `lucidrains/vector-quantize-pytorch`, version 1.32.0, subtracts
# `quantized.detach()` and adds up the levels' outputs, which with straight-through is (b). So does
# `eugeneyan/semantic-ids-llm`. None is a mistake in the sense that something
# would crash: each is a training objective that can be defended. But the same $\beta$ weighs different things in them,
# and a $\beta$ that was tuned in one should not be carried over to another. The library does (c), and so the loss is the one that
# is on paper:

# %%
# NBVAL_CHECK_OUTPUT
for estimator in ("straight-through", "rotation"):
    found = []
    for num_levels in (1, 2, 3, 4):
        layer = ResidualQuantizer(num_levels, 256, 32, estimator=estimator)
        layer.codebooks.data.copy_(four[:num_levels])
        out = layer.eval()(batch)
        (gradient,) = torch.autograd.grad(out.vectors.sum(), batch)
        once = rotation_trick if estimator == "rotation" else straight_through
        (one,) = torch.autograd.grad(once(batch, out.vectors).sum(), batch)
        found.append(torch.equal(gradient, one))
    print(estimator, "arrives once, for 1, 2, 3, 4 levels:", found)

# %% [markdown]
# Gumbel-softmax is not in this list. It subtracts the mixture with its gradient on purpose: a mixture has a true
# derivative, so nothing has to be pretended, and nothing counts twice.
#
# ## How codewords learn
#
# Neither straight-through nor the rotation trick sends a gradient to the codewords. They learn in one of two ways.
# The first is a loss of their own: the **codebook loss** pulls each chosen codeword towards what it has to stand for,
# and the commitment loss pulls the other end:
#
# $$\sum_{l} \lVert \mathrm{sg}[r_l] - e_l\rVert^2 + \beta\,\lVert r_l - \mathrm{sg}[e_l]\rVert^2.$$
#
# The two have the same value and different gradients. By hand, and by the module:

# %%
learner = ResidualQuantizer(3, 256, 32, learning="gradient", dead_after=0)
learner.init_codebooks(z, generator=seeded(0))
books = learner.codebooks
residual, loss = batch, 0
for codebook in books:
    word = codebook[nearest(residual.detach(), codebook.detach())]
    loss = loss + (residual.detach() - word).square().sum(1)  # codebook
    loss = loss + beta * (residual - word.detach()).square().sum(1)
    residual = residual - word.detach()

library = learner(batch).loss
torch.testing.assert_close(loss, library)
mine = torch.autograd.grad(loss.sum(), [batch, books])
theirs = torch.autograd.grad(library.sum(), [batch, books])
torch.testing.assert_close(mine, theirs)

# %% [markdown]
# The second way needs no loss. The best place for a codeword is the mean of the residuals that choose it, as in
# k-means, so let it follow that mean: an **exponential moving average** {cite}`vandenoord2017vqvae` of how many rows
# chose it, $n$, and of their sum, $s$; the codeword is $s / n$. After a start by k-means the library counts each
# codeword as chosen once, by itself. One training step, with decay γ = 0.99:

# %%
# NBVAL_CHECK_OUTPUT
follower = ResidualQuantizer(3, 256, 32, ema_decay=0.99, dead_after=0)
follower.init_codebooks(z, generator=seeded(0))
books = follower.codebooks.clone()
follower.train()(batch.detach())

residual, moved = batch.detach(), []
for codebook in books:
    chosen = F.one_hot(nearest(residual, codebook), 256).float()  # (B, K)
    n = 0.99 * 1 + 0.01 * chosen.sum(0)  # (K,)
    s = 0.99 * codebook + 0.01 * chosen.T @ residual  # (K, D)
    moved.append(s / n[:, None])
    residual = residual - chosen @ codebook
torch.testing.assert_close(torch.stack(moved), follower.codebooks.detach())
print("one step by hand equals the module's")

# %% [markdown]
# A codeword that nobody chose keeps its place: both averages shrink by the same factor. The price of averages is that
# codewords do not hear of the reconstruction at all, and neither do they in the codebook loss; only Gumbel-softmax
# tells them. What becomes of codewords that nobody chooses for long is a matter of training, and [the next
# chapter's](05_training_the_rqvae.ipynb).
#
# ## Exercises
#
# ### Exercise 1 · Coarse to fine (difficulty ★☆☆, 10 minutes)
#
# Write a function that takes latents (B, D) and codebooks (L, K, D), and returns the codes (B, L) of the greedy
# choice. Mind what the second level is given, and that codewords differ in length.


# %%
def greedy_codes(z, codebooks):
    raise NotImplementedError("your turn")


_ = checks.greedy_codes(greedy_codes)


# %% tags=["hide-cell"]
def greedy_codes_solution(z, codebooks):
    codes = []
    for codebook in codebooks:
        distances = (z[:, None] - codebook).square().sum(2)  # (B, K)
        codes.append(distances.argmin(1))
        z = z - codebook[codes[-1]]
    return torch.stack(codes, 1)


assert checks.greedy_codes(greedy_codes_solution)

# %% [markdown]
# ### Exercise 2 · Once and only once (difficulty ★★☆, 15 minutes)
#
# Write the quantizer's forward pass: from latents (B, D) and codebooks (L, K, D) to the sum of the chosen codewords
# (B, D). Its gradient must reach the latents exactly once, whatever the number of levels, and must not reach the
# codebooks at all. The check looks at the value, then at the gradients that arrive at the latents and at the
# codebooks when ones are sent back; it names what it looks at as a third argument.


# %%
def quantized_once(z, codebooks):
    raise NotImplementedError("your turn")


_ = checks.quantized_once(quantized_once)


# %% tags=["hide-cell"]
def quantized_once_solution(z, codebooks):
    residual = z.detach()
    for codebook in codebooks:
        codebook = codebook.detach()
        distances = (residual[:, None] - codebook).square().sum(2)  # (B, K)
        residual = residual - codebook[distances.argmin(1)]
    return z - residual  # the value is the sum; the residual is a constant


assert checks.quantized_once(quantized_once_solution)

# %% [markdown]
# The solution is shorter than the chapter's: what was not left over must have been said, so the sum is $z$ minus the
# last residual, up to rounding. The loop (a) passes this check too. The next exercise turns it down.
#
# ### Exercise 3 · The pull of every level (difficulty ★★★, 20 minutes)
#
# Write the commitment loss of each row, (B,): the squared length of what each level leaves over, summed over features
# and levels, without β. The check looks at its value and at its gradient at the latents, to which every level must
# contribute. No gradient may reach the codebooks.


# %%
def commitment_loss(z, codebooks):
    raise NotImplementedError("your turn")


_ = checks.commitment_loss(commitment_loss)


# %% tags=["hide-cell"]
def commitment_loss_solution(z, codebooks):
    loss = 0
    for codebook in codebooks:
        codebook = codebook.detach()
        distances = (z[:, None] - codebook).square().sum(2)  # (B, K)
        z = z - codebook[distances.argmin(1)]
        loss = loss + z.square().sum(1)
    return loss


assert checks.commitment_loss(commitment_loss_solution)

# %% [markdown]
# ## Self-check
#
# <details>
# <summary>1. A colleague normalises every residual to length 1 before its codebook and adds up the codewords. The codes look fine. What has gone wrong?</summary>
#
# The lengths are gone. The codewords of all levels now have length about 1, so a fine correction weighs as much as
# the first codeword, and the sum is not near the latent. Dividing every row by its own length is worse than dividing
# by one number a level, because that number can be stored once and a row's own length cannot be read from the codes.
#
# </details>
#
# <details>
# <summary>2. In a loop that subtracts the straight-through estimate, what does the commitment loss of the third level teach the encoder?</summary>
#
# Nothing. The estimate of level 1 has the gradient of the latent, so their difference has none: for autograd, the
# residuals at levels 2 and 3 are constants. Their commitment losses still appear in the log, and may be large, but no
# gradient leaves them for the encoder.
#
# </details>
#
# <details>
# <summary>3. You move from three levels to six in a loop that sums straight-through estimates, and keep everything else. What else have you changed?</summary>
#
# The balance of the losses. The reconstruction's gradient reaches the encoder six times instead of three, so each
# level's commitment counts half as much beside it as before. Part of what you then measure as the effect of more
# levels is the effect of a smaller commitment weight.
#
# </details>
#
# ## What to take away
#
# Residual quantization reaches $K^L$ sums with $L \cdot K$ vectors, coarse before fine. Its codewords add up, so its
# levels share one scale, and whoever divides must multiply again. Its choice is greedy, and with codebooks made for
# it that costs little. The choice has no gradient; an estimator invents one, by copying, by rotating or by mixing.
#
# And the two questions of the beginning have one answer. Subtract the *detached* codeword, so that every level's
# commitment is heard; and invent the gradient *once*, for the whole sum, so that the reconstruction is heard once.
# Then the loss that trains the encoder is the one that was written down.
#
# ## What's next
#
# [Training the RQ-VAE](05_training_the_rqvae.ipynb) puts an encoder and a decoder around this quantizer, trains all
# three together, and watches for codebooks that collapse.
#
# ## References
#
# - Lee et al. (2022), *Autoregressive Image Generation using Residual Quantization* {cite}`lee2022rqvae`.
# - Jégou, Douze and Schmid (2011), *Product Quantization for Nearest Neighbor Search* {cite}`jegou2011product`.
# - Bengio, Léonard and Courville (2013), *Estimating or Propagating Gradients Through Stochastic Neurons for Conditional
#   Computation* {cite}`bengio2013estimating`.
# - van den Oord, Vinyals and Kavukcuoglu (2017), *Neural Discrete Representation Learning* {cite}`vandenoord2017vqvae`: straight-through, the losses, and
#   moving averages.
# - Fifty et al. (2024), *Restructuring Vector Quantization with the Rotation Trick* {cite}`fifty2024rotation`.
# - Jang, Gu and Poole (2017), *Categorical Reparameterization with Gumbel-Softmax* {cite}`jang2017gumbel`.
