# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Residual quantization: what should be subtracted?
#
# One list of 256 vectors can tell 256 kinds of movies apart. Three such lists, used one after the other, can tell apart
# 16.8 million. The method is five lines long, and it leaves open two questions that look like details. The codes are
# chosen by "the nearest one wins", which has no gradient: how can a network in front of it learn anything? And when a
# level has made its choice, the next level works on what is left: what exactly has to be subtracted? Published
# implementations answer the second question differently. From the same latents and codebooks they all produce the same
# codes, and yet they train the encoder on different losses.
#
# The answer in short: subtract the chosen codeword *detached*, so that no gradient flows through it, and pass the
# gradient on *once*, for the sum of all levels. The first half of this chapter shows why, by counting gradients. The
# second half asks how good such codes are.
#
# :::{admonition} What you will learn
# - why three small codebooks reach further than one large one
# - how a gradient gets through a choice, and how what you subtract decides how often each loss reaches the encoder
# - how codewords learn: by a loss, or by a moving average
# - what each level adds, and what the greedy choice and the quantizer cost
# - why all levels must measure in the same units although their codewords get shorter
# :::
#
# | You need | Why | Where |
# | --- | --- | --- |
# | a codebook: a list of vectors, and the nearest one stands for a movie | each level here is one | [Codebooks and k-means](03_codebook_kmeans.ipynb) |
# | embeddings: vectors made from a movie's title, year and genres | they are what gets codes | [Item embeddings](02_item_embeddings.ipynb) |
# | autograd and `detach` | the first half counts gradients | [PyTorch's autograd tutorial](https://pytorch.org/tutorials/beginner/basics/autogradqs_tutorial.html) |
#
# **Time:** about 40 minutes to read.

# %% tags=["hide-input"]
from copy import deepcopy
from itertools import permutations

import matplotlib.pyplot as plt
import pandas as pd
import torch
from torch.nn import functional as F

from rqvae_lib import RQVAEConfig, load_dataset, load_embeddings, load_rqvae
from rqvae_lib.ops.estimators import (
    gumbel_softmax,
    rotation_trick,
    straight_through,
)
from rqvae_lib.ops.kmeans import kmeans, nearest
from rqvae_lib.teaching import gradient_graphs
from rqvae_lib.teaching.exercises import chapter_04 as checks
from rqvae_lib.teaching.widgets import widget
from rqvae_lib.tokenizer.quantizer import ResidualQuantizer
from rqvae_lib.tokenizer.rqvae import RQVAE


def seeded(seed):
    return torch.Generator().manual_seed(seed)


# %% [markdown]
# ## One codebook is not enough
#
# The vectors of this chapter are *latents*: 32 numbers a movie, which an encoder makes from the 384 numbers of the
# movie's embedding. The encoder belongs to the library's shipped *RQ-VAE*. There a residual quantizer replaces the
# latent by a sum of codewords, from which a *decoder* rebuilds the 384 numbers. [The next
# chapter](05_training_the_rqvae.ipynb) trains such a model; here it is given. With it come three codebooks of 256
# **codewords**.

# %% tags=["nbval-check-output"]
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
# A single codebook with as many codewords as there are combinations would take 2.1 gigabytes. Worse, it could not be
# trained: there are 9,066 movies, so at most 9,066 of its codewords could ever be chosen, and the others would have no
# movie to learn from.
#
# **Residual quantization** {cite}`lee2022rqvae` spends 768 vectors differently. The first codebook replaces $z$ by its
# nearest codeword. The difference, the **residual**, goes to the second codebook, and what is left of it to the third.
# The vector that the codes stand for is the *sum* of the chosen codewords. In general, *L* codebooks of *K* codewords,
# one a *level*, reach $K^L$ sums for the price of $L \cdot K$ vectors.


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
# The scores are squared distances, halved, without the term $\lVert z\rVert^2$ that is the same for every codeword. The
# library's `ResidualQuantizer` gives the same codes and the same sums. And nothing gets lost on the way: up to
# rounding, the latent is the sum of its codewords and the last residual.

# %% tags=["nbval-check-output"]
vectors = residual_decode(codes, codebooks)
assert torch.equal(codes, quantizer.encode(z))
assert torch.equal(vectors, quantizer.decode(codes))
torch.testing.assert_close(z, vectors + residual)
print(f"{len(codes):,} movies, {codes.shape[1]} codes each: all equal")

# %%
for level in (1, 2, 3):
    _, which, sizes = codes[:, :level].unique(
        dim=0, return_inverse=True, return_counts=True
    )
    alone = (sizes[which] == 1).double().mean()
    chosen = codes[:, level - 1].bincount(minlength=256)
    print(
        f"{level} code(s): theirs alone for {alone:.1%}; "
        f"a codeword serves {chosen.min()} to {chosen.max()} movies"
    )
assert alone > 0.98

# %% [markdown]
# Nearly every movie has its triple of codes to itself, and five in six even have their pair to themselves. But the
# *parts* are shared. A codeword serves 35 movies on average (9,066 / 256), learns its place from all of them, and says
# that they have something in common.
#
# ## A movie, level by level
#
# A prefix of the codes decodes to a coarser vector. To see what each level adds, take *Toy Story*, decode its first
# code, its first two and all three, and ask each time which movies' latents lie nearest to the decoded point.

# %%
toy_story = int(data.item_index([1])[0])
print("codes of Toy Story:", codes[toy_story].tolist())
earlier, _ = load_rqvae("movielens-small-2016-1k")
another = earlier.assign(embeddings[[toy_story]])[0].tolist()
print("by the same training after 1,000 steps:", another)
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

every_fourth = torch.arange(len(z))[::4]
for level in (1, 2, 3):
    points = quantizer.decode(codes[every_fourth, :level])
    first = (nearest(points, z) == every_fourth).double().mean()
    print(f"{level} code(s): no. 1 for {first:.0%} of the movies")

# %% [markdown]
# **An ID belongs to one trained tokenizer.** Even the same training had two other codes for *Toy Story* after 1,000
# steps, and in [the quickstart](00_quickstart.ipynb), which trains a tokenizer of its own, they are others again. So
# never mix or compare the IDs of two tokenizers. Where nothing else is said, the IDs in this book are the shipped
# tokenizer's.
#
# The first codeword is the centre of a neighbourhood of family films in which *Toy Story* is only the eighth nearest.
# With the second code no other latent is nearer to the decoded point, and the third brings it closer still. The last
# three lines say how typical this is, on every fourth movie: after one code 3 % are nearest to the point that stands
# for them, after two 79 %, after three 99 %. The levels go from coarse to fine.
#
# ### Levels to move
#
# Nobody can see 32 dimensions, so here is the same in two: the latents along their two widest directions, and three
# codebooks of only eight codewords, placed by k-means on what the level before left over.

# %%
directions = torch.linalg.svd(z - z.mean(0), full_matrices=False).Vh
plane = ((z - z.mean(0)) @ directions[:2].T).double()  # (9066, 2)
lefts, small_books = [plane], []
for _ in range(3):
    found = kmeans(lefts[-1], 8, generator=seeded(0), num_candidates=4)
    small_books.append(found.centroids.round(decimals=3))
    lefts.append(lefts[-1] - found.centroids[found.codes])

lengths = torch.stack([left.norm(dim=1) for left in lefts])  # (4, 9066)
print("mean length left:", [f"{length:.1f}" for length in lengths.mean(1)])
grown = (lengths.diff(dim=0) > 0).double().mean(1)  # (3,)
print("movies with more left than before:", [f"{x:.0%}" for x in grown])
assert grown.max() < 0.2

# %% [markdown]
# Each level brings most movies closer. For a few it leaves more than it was given, because no codeword of the level is
# nearer to them than the origin. *Star Wars* is one of these at the first level.
#
# Drag $z$ in the next figure, or move it with the arrow keys. On the left the codewords add up to something close to
# $z$, and inside the cell that the first level chose lie the smaller cells of the second. On the right is what one
# level sees: the residual that it was given, as an arrow from the origin, among its own eight codewords.

# %% tags=["hide-input"]
chosen = data.item_index([296, 1, 260]).tolist()  # z can be put on these
assert lengths[1, chosen[2]] > lengths[0, chosen[2]]
others = torch.randperm(len(plane), generator=seeded(0))[:400].tolist()
shown = chosen + [movie for movie in others if movie not in chosen]
spots = plane[shown].round(decimals=2)

fig, ax = plt.subplots(figsize=(5, 5))
ax.scatter(*spots.T, s=5, c="lightgray", rasterized=True)
path, arrow = torch.zeros(1, 2).double(), {"arrowstyle": "->", "lw": 2}
for level, book in enumerate(small_books, 1):
    word = book[nearest(spots[:1] - path, book)]
    ax.plot(*(path + book).T, ".", color=f"C{level}", label=f"level {level}")
    ax.annotate("", (path + word)[0], path[0], arrowprops=arrow)
    path = path + word
ax.plot(*spots[0], "*", color="black", ms=14, label="z")
ax.set(aspect="equal", xlabel="widest direction", ylabel="second")
ax.legend()

widget(
    "residual-quantization",
    {
        "points": spots.tolist(),
        "titles": [data.titles[movie] for movie in shown],
        "books": [book.tolist() for book in small_books],
        "choices": [0, 1, 2],
    },
    title="Three levels in a plane",
    fallback=fig,
    alt="Movies as gray dots. Three arrows, each shorter than the one before, "
    "lead from the origin towards a star, z. Around the start of each arrow "
    "lie the eight codewords of its level, closer from level to level.",
    caption="Try: raise the levels one by one and watch the residual, which is "
    "what is left of z. Which code changes when z moves a little, and which "
    "when it moves far? Give every level the same scale. Find a place where "
    "choosing level by level misses the nearest sum.",
)

# %% [markdown]
# ## A gradient through a choice
#
# So far the latents were given. Now imagine the encoder that makes them, and a decoder behind the quantizer that must
# rebuild the movie's embedding from the sum of codewords $q$. The decoder's error has a gradient with respect to $q$.
# What is its gradient with respect to $z$? If $z$ moves a little, the same codewords are chosen and $q$ does not move.
# The derivative of $q$ with respect to $z$ is *zero*, everywhere but on the borders between two choices, where there is
# none. The encoder learns nothing.
#
# An **estimator** puts something useful in the place of this zero. The simplest pretends that $q$ is $z$: the
# **straight-through** estimator {cite}`bengio2013estimating,vandenoord2017vqvae` passes the gradient on unchanged. In
# PyTorch it is one line, whose value is $q$ and whose gradient is that of $z$. (The error is measured on *standardised*
# features: each is shifted and scaled to mean 0 and variance 1.)

# %%
standardised = model.standardize(embeddings)  # (9066, 384)
q = quantizer.decode(codes).detach()  # (9066, 32)
wished = q.clone().requires_grad_()
error = (model.decoder(wished) - standardised).square().sum()
(gradient_at_q,) = torch.autograd.grad(error, wished)  # (9066, 32)


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

# %% [markdown]
# The library writes `q.detach() + (z - z.detach())`, which adds an exact zero and so rounds nothing. Two other
# estimators follow further down. The next section needs this one alone.
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
# Each returns the sum and also the *commitment loss* $\sum_l \lVert r_l - \mathrm{sg}[e_l]\rVert^2$, which pulls the
# encoder towards the codewords: $r_l$ is what reaches level $l$, $e_l$ the chosen codeword, and $\mathrm{sg}$, *stop
# gradient*, is `detach`. The encoder is trained on the reconstruction error plus $\beta$ times the commitment loss;
# $\beta$ is 0.25 in TIGER {cite}`rajput2023tiger`, the paper that made IDs of an RQ-VAE's codes, and here.


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
# The codebooks here take no gradient, so a codeword is as good as detached. In the forward direction the three are the
# same, up to rounding. In the backward direction they are not. Follow the gradient through them: in the graphs, $r$ is
# the residual, $e$ the codeword, $s$ the estimate, $c$ the commitment loss of a level and $q$ the sum. A dashed line is
# detached. Each step goes one value back, along all lines that are open, and says what it takes along; a subtraction
# turns the sign.

# %% tags=["hide-input"]
widget(
    "gradients",
    gradient_graphs.widget_data(4),
    title="The way of the gradient in the three loops",
    fallback=gradient_graphs.picture(3),
    alt="Three graphs of three levels, for the loops (a), (b) and (c). In (a) "
    "open lines also lead from each estimate s to the next residual r, with "
    "the sign turned. In (b) these lines are gone. In (c) there are no "
    "estimates, and one open line leads from q to z.",
    caption="Try: in loop (a), find where the two ways cancel. Then take the "
    "commitment: which levels does z hear of? Compare with (b) and (c).",
)

# %% [markdown]
# Now count with autograd. To count how often the reconstruction's gradient arrives at $z$, send back ones: the gradient
# of the sum of all the outputs is then the number of arrivals, in each number of $z$.

# %% tags=["nbval-check-output"]
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
# Under (b), each of the *L* estimates has the gradient of its residual, each residual is $z$ minus a constant, so each
# passes on one copy. Under (a), the estimate of level 1 has the gradient of $z$. Subtracted from $z$, it leaves a
# residual whose gradient is $I - I = 0$. So the residual at level 2 is, for autograd, a constant. The later levels send
# nothing, and the one copy comes from level 1.
#
# So (a) and (c) agree in the reconstruction. They differ in the commitment loss, which under (a) is cut off after the
# first level too. The next cell counts the levels that are heard, by asking at each whether it has changed the
# gradient, and compares the gradients with those on paper ({numref}`fig-04-gradients`).

# %% tags=["nbval-check-output"]
residuals = [batch.detach()]
for codebook in four:
    words = codebook[nearest(residuals[-1], codebook)]
    residuals.append(residuals[-1] - words)

heard = {}
for way in "abc":
    before, count = torch.zeros_like(batch), 0
    for level in (1, 2, 3, 4):
        _, commitment = quantize(batch, four[:level], way)
        (pull,) = torch.autograd.grad(commitment.sum(), batch)
        count += not torch.allclose(pull, before, atol=1e-3)
        heard[way, level] = count
        paper = residuals[1:2] if way == "a" else residuals[1 : level + 1]
        torch.testing.assert_close(pull, 2 * sum(paper), atol=1e-4, rtol=1e-4)
        before = pull
    print(f"({way})", [heard[way, level] for level in (1, 2, 3, 4)])

# %% mystnb={"image": {"alt": "Two panels of lines over one to four levels. Left, copies of the reconstruction gradient that arrive: (a) and (c) stay at 1, (b) rises to 4. Right, levels whose commitment arrives: (a) stays at 1, (b) and (c) rise to 4."}, "figure": {"caption": "How much the encoder hears of each loss depends on what the loop subtracts and on where the estimator stands: only (c) hears the reconstruction once and the commitment of every level. Counted by autograd.", "name": "fig-04-gradients"}}
levels = (1, 2, 3, 4)
fig, (left, right) = plt.subplots(1, 2, figsize=(6, 3.2), sharey=True)
for way, style, size in [("a", "o-", 11), ("b", "s--", 8), ("c", "^:", 5)]:
    for ax, counts in [(left, arrivals), (right, heard)]:
        height = [counts[way, level] for level in levels]
        ax.plot(levels, height, style, ms=size, label=f"({way})")
left.set(title="reconstruction", xlabel="levels", ylabel="copies that arrive")
right.set(title="commitment", xlabel="levels", ylabel="levels that arrive")
right.set(ylim=(0, 4.4))
left.legend()
plt.show()

# %% [markdown]
# So only (c) trains the encoder on the loss that is on paper, the reconstruction once and the commitment of every
# level. The library does (c).
#
# ### What it changes
#
# An encoder under (b) is trained on another mixture of losses than the one that was written down. Adam, which divides a
# gradient by its own size, makes the factor *L* itself nearly invisible. What remains is the *ratio* of the two losses:
# with reconstruction *L* times as loud, the commitment is worth $\beta / L$. The next cell asserts this with the
# shipped encoder and decoder: (b) with weight $\beta$ gives the encoder *L* times the gradient of (c) with $\beta / L$.
# Then it compares the gradients of the three loops at the same $\beta$.
#
# {question} louder


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
assert (loud - 3 * fair).norm() < 1e-5 * loud.norm()

honest = encoder_gradient("c", beta)
for way in "ab":
    other = encoder_gradient(way, beta)
    assert F.cosine_similarity(other, honest, 0) < 0.98
    print(
        f"({way}) beside (c): cosine {F.cosine_similarity(other, honest, 0):.3f}"
        f", length × {other.norm() / honest.norm():.2f}"
    )

# %% [markdown]
# For this model, and these 256 movies, the encoder's gradient under (b) points elsewhere than under (c), at a cosine of
# about 0.9, and it is *more* than three times as long. So the two losses pull against each other: under (c) the
# commitment takes away a part of the reconstruction's gradient, and under (b) a third of that part. Under (a) the
# length is nearly the same and the cosine about 0.95. Does it matter? A short training shows the direction. It starts
# from an *autoencoder*, an encoder and a decoder with no quantizer between them, trained for 200 steps; k-means then
# places codebooks in its latents. Codebooks and decoder are held fixed, and the encoder alone is trained for 30 steps
# under each loop, on two seeds.


# %%
def batches(seed, num_steps):
    generator = seeded(seed)
    for _ in range(num_steps):
        yield torch.randint(len(embeddings), (64,), generator=generator)


def plain_autoencoder(seed):
    torch.manual_seed(seed)
    start = RQVAE(RQVAEConfig())
    start.fit_standardization(embeddings)
    adam = torch.optim.Adam(start.parameters(), lr=1e-3)
    for rows in batches(seed, 200):
        adam.zero_grad()
        start.autoencoder_loss(embeddings[rows]).backward()
        adam.step()
    start.init_codebooks(embeddings, generator=seeded(seed))
    return start


# %%
def fine_tune(start, way, weight, seed, num_steps=30):
    tuned = deepcopy(start)
    books = tuned.quantizer.codebooks
    adam = torch.optim.Adam(tuned.encoder.parameters(), lr=1e-3)
    for rows in batches(seed + 100, num_steps):
        x = standardised[rows]
        total, commitment = quantize(tuned.encoder(x), books, way)
        lost = (tuned.decoder(total) - x).square().sum(1)
        adam.zero_grad()
        (lost + weight * commitment).mean().backward()
        adam.step()
    with torch.no_grad():
        x = standardised[::4]
        total, left = quantize(tuned.encoder(x), books, "c")
        lost = (tuned.decoder(total) - x).square().sum(1)
    return float(lost.mean()), float(left.mean())


# %%
runs = {
    "start": ("c", 0, 0),
    "(a)": ("a", beta, 30),
    "(b)": ("b", beta, 30),
    "(c)": ("c", beta, 30),
    "(c), β / 3": ("c", beta / 3, 30),
}
left_over = {name: [] for name in runs}
for seed in (0, 1):
    start = plain_autoencoder(seed)
    for name, (way, weight, num_steps) in runs.items():
        lost, left = fine_tune(start, way, weight, seed, num_steps)
        left_over[name].append(left)
        print(f"{name:<10} reconstruction {lost:.0f}, left over {left:.0f}")
    a, b, c, weak = (left_over[name][seed] for name in list(runs)[1:])
    assert c < a < b
    assert abs(weak - b) < 0.05 * b

# %% [markdown]
# Thirty steps barely move the reconstruction error. What differs is the commitment, the squared lengths that all levels
# leave over: least under (c), more under (a), most under (b). And (c) with β / 3 ends where (b) ends, as derived. So
# the loops train different encoders. Whether the recommendations of a whole training get better or worse is not shown
# by this.
#
# Which of the three do people use? Three repositories, as of the versions that we read:
# `EdoardoBotta/RQ-VAE-Recommender` subtracts the level's output, `res = res - emb`, which with its straight-through
# mode is (a); an earlier version of the same file subtracts `emb.detach()`, as (b) does.
# `lucidrains/vector-quantize-pytorch`, version 1.32.0, subtracts `quantized.detach()` and adds up the levels' outputs,
# which with straight-through is (b). So does `eugeneyan/semantic-ids-llm`. None of these is a bug: each is a training
# objective that can be defended. But the same $\beta$ weighs different things in them, so a $\beta$ that was tuned in
# one should not be carried over to another.
#
# ## How codewords learn
#
# Straight-through sends no gradient to the codewords. They learn in one of two ways. The first is a loss of their own:
# the **codebook loss** pulls each chosen codeword towards what it has to stand for, and the commitment loss pulls the
# other end:
#
# $$\sum_{l} \lVert \mathrm{sg}[r_l] - e_l\rVert^2 + \beta\,\lVert r_l - \mathrm{sg}[e_l]\rVert^2.$$ (eq-quantization)
#
# The two have the same value and different gradients. By hand, and by the module (`dead_after=0` leaves codewords that
# nobody chooses where they are):

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

# %% tags=["nbval-check-output"]
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
# A codeword that nobody chose keeps its place: both averages shrink by the same factor. In neither way do codewords
# hear of the reconstruction. What becomes of those that nobody chooses for long is [the next
# chapter's](05_training_the_rqvae.ipynb) matter.
#
# ## Two other estimators
#
# ### The rotation trick
#
# Straight-through passes a gradient on unchanged, wherever the latent lies. The **rotation trick**
# {cite}`fifty2024rotation` treats $q$ as a rotated and stretched $z$, and sends the gradient back by the same rotation
# and stretch. With the unit vectors $u$ of $z$ and $v$ of $q$, and $w$ of $u + v$,
#
# $$\lambda R = \frac{\lVert q\rVert}{\lVert z\rVert} \left(I - 2\,w w^\top + 2\,v u^\top\right)$$ (eq-rotation)
#
# carries $z$ onto $q$: the first two terms mirror $u$ onto $-v$, and the third adds $2v$. The matrix is held constant,
# so a gradient $g$ at $q$ becomes $\lambda R^\top g$ at $z$. For one movie, with the matrix written out:

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
# The library does the same without any 32 × 32 matrix. Two things are kept: the angle between the gradient and the
# vector, and, up to the stretch, the length.

# %% tags=["nbval-check-output"]
angle_at_q = F.cosine_similarity(gradient_at_q, q)
assert torch.allclose(F.cosine_similarity(rotated, z), angle_at_q, atol=1e-4)
stretches = q.norm(dim=1) / z.norm(dim=1)
lengths = rotated.norm(dim=1) / gradient_at_q.norm(dim=1)
assert torch.allclose(lengths, stretches, rtol=1e-4)
changed = F.cosine_similarity(copied, z) - angle_at_q
print("rotation keeps the angle to the vector: True")
print(f"straight-through keeps it: {bool(changed.abs().max() < 1e-3)}")

# %% mystnb={"image": {"alt": "Two panels, each with 25 arrows on a grid around a codeword that is marked by a star. On the left, straight-through, all arrows are parallel and equally long. On the right, the rotation trick, the arrows turn with the direction of their starting point seen from the origin, and are longer near the origin."}, "figure": {"caption": "Given one gradient at a codeword (star), straight-through (left) moves all its latents in parallel; the rotation trick (right) turns each step with the latent's direction from the origin (cross), and lengthens it for short latents.", "name": "fig-04-field"}}
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
# In {numref}`fig-04-field` one and the same gradient is given at the codeword, the star, and asks it to move up and a
# little to the left. The 25 arrows begin at latents that chose this codeword, and show what each of them is asked to
# do. With straight-through, on the left, all do what the codeword was asked. With the rotation trick, on the right,
# look from the origin, the cross. A latent to the left of the line to the star has its arrow turned to the left by the
# same angle, and one to the right has it turned to the right; where a latent is half as long as the codeword, its arrow
# is twice as long.
#
# So it matters where the origin is, and the origin of a residual is the sum of the codewords chosen before. The library
# applies the trick once, to the latent and the whole sum. For the shipped model these two point in almost the same
# direction, so both estimators say almost the same of the decoder's gradients:

# %%
cosine = F.cosine_similarity(z, q)
print(f"cosine of z and q: median {cosine.median():.3f}")
agreement = F.cosine_similarity(rotated, copied)
print(
    f"cosine of the two gradients: median {agreement.median():.3f}, "
    f"for 95 % of the movies above {agreement.quantile(0.05):.3f}"
)
low, high = lengths.quantile(torch.tensor([0.05, 0.95])).tolist()
print(f"their lengths: × {low:.2f} to × {high:.2f} for 90 % of the movies")
assert cosine.median() > 0.95
assert agreement.median() > 0.98

# %% [markdown]
# ### Gumbel-softmax
#
# The third way changes the forward pass too. Instead of one codeword, a level gives out a mixture of all of them,
# weighted by a softmax of the negative squared distances. A mixture has a true gradient, for the codewords as well.
# *Gumbel* noise is added to the scores, so that training explores, and the scores are divided by a *temperature* τ: as
# τ falls, the mixture becomes a choice {cite}`jang2017gumbel`. (Gumbel noise is minus the logarithm of an exponentially
# distributed number. PyTorch draws it in that way, so the same seed gives the same noise by hand.)


# %%
def gumbel_by_hand(residual, codebook, temperature):
    distances = torch.cdist(residual, codebook).square()  # (B, K)
    noise = -torch.empty_like(distances).exponential_().log()
    return ((noise - distances) / temperature).softmax(1)


few, first = z[:500].double(), codebooks[0].double()
for temperature in (300.0, 100.0, 10.0):
    torch.manual_seed(5)
    mine = gumbel_by_hand(few, first, temperature)
    torch.manual_seed(5)
    library = gumbel_softmax(few, first, torch.tensor(temperature))
    torch.testing.assert_close(mine, library)
    largest = mine.amax(1).mean()
    print(f"temperature {temperature:>6}: largest weight {largest:.2f}")

agree = (mine.argmax(1) == nearest(few, first)).double().mean()
print(f"the nearest codeword has the largest weight in {agree:.0%}")

# %% [markdown]
# The temperature is a squared distance, so here too the scale counts. At 300 many codewords are mixed; at 100 the
# largest has a third of the weight; at 10, and all the more at 1, where the library starts by default, the mixture is a
# single codeword, and nearly always the nearest. Of the three estimators this is the only one that sends the codewords
# a gradient.
#
# Whichever of the first two you take, (c) applies it once, so that the gradient arrives once. Gumbel-softmax
# subtracts the mixture with its gradient on purpose: a mixture has a true derivative, so nothing counts twice.
#
# ## How much each level leaves
#
# How good are such codes? What is left can be measured for all movies: the squared lengths of the residuals, as a share
# of the squared lengths of what was to be coded. To compare fairly with other ways of spending as many bits or as many
# vectors, all codebooks of the next cells are placed by k-means on the same latents, whose mean is first removed (what
# k-means leaves over, in squared distances, is called its *inertia*). {numref}`fig-04-levels` compares:
#
# - residual quantization with three codebooks of 256 codewords, 24 bits a movie;
# - *product quantization* {cite}`jegou2011product`, which cuts the 32 numbers into three parts and gives each part a
#   codebook of 256 of its own: 24 bits as well;
# - the same after a rotation onto the principal directions, which are then dealt out in turn, so that each part gets
#   its share of the wide ones;
# - a single codebook of 768 codewords: as many vectors, but under ten bits.


# %%
def kmeans_levels(x, seed, num_levels=3):
    residuals, books, generator = [x], [], seeded(seed)
    for _ in range(num_levels):
        found = kmeans(
            residuals[-1], 256, generator=generator, num_iterations=10
        )
        books.append(found.centroids)
        residuals.append(residuals[-1] - found.centroids[found.codes])
    return residuals, torch.stack(books)


def share_left(residual, x):
    return float(residual.square().sum() / x.square().sum())


def product_left(parts, seed):
    lost = [kmeans(part, 256, generator=seeded(seed)).inertia for part in parts]
    return sum(lost) / sum(float(part.square().sum()) for part in parts)


def single_left(x, seed):
    one = kmeans(x, 768, generator=seeded(seed))
    return one.inertia / float(x.square().sum())


# %% [markdown]
# {question} three-parts

# %%
centred = z - z.mean(0)
directions = torch.linalg.svd(centred, full_matrices=False).Vh  # (32, 32)
turned = centred @ directions.T  # the widest direction first
dealt = [turned[:, part::3] for part in range(3)]
by_level, single, product, rotated_product = [], [], [], []
for seed in (0, 1, 2):
    residuals, _ = kmeans_levels(centred, seed)
    by_level.append([share_left(left, centred) for left in residuals])
    single.append(single_left(centred, seed))
    product.append(product_left(centred.tensor_split(3, dim=1), seed))
    rotated_product.append(product_left(dealt, seed))
    print(f"seed {seed}: levels", *(f"{x:.3f}" for x in by_level[-1][1:]))
    print(
        f"   768 codewords {single[-1]:.3f}, product {product[-1]:.3f}, "
        f"rotated {rotated_product[-1]:.3f}"
    )
    assert by_level[-1][3] < rotated_product[-1] / 2
    assert rotated_product[-1] < single[-1] < product[-1]

# %% mystnb={"image": {"alt": "A falling line of the share of variance left after 0, 1, 2 and 3 levels of residual quantization: 1, about 0.19, 0.09 and 0.055, on a logarithmic axis. Three horizontal lines lie above its end: product quantization at about 0.17, a single codebook of 768 codewords at about 0.15, and product quantization after a rotation at about 0.12."}, "figure": {"caption": "Three residual levels leave less than half of what product quantization leaves with the same 24 bits, even after a rotation, and of what one codebook leaves with as many vectors. Means of three seeds.", "name": "fig-04-levels"}}
fig, ax = plt.subplots(figsize=(6, 3.2))
ax.plot(range(4), torch.tensor(by_level).mean(0), "o-", label="residual")
for left, style, label in [
    (product, "--", "product, 3 × 256"),
    (single, ":", "single, 768"),
    (rotated_product, "-.", "product, rotated"),
]:
    ax.axhline(sum(left) / 3, ls=style, color="C1", label=label)
ax.set(xlabel="levels", ylabel="share of variance left", yscale="log")
ax.set_xticks(range(4))
ax.set_yticks([1, 0.5, 0.2, 0.1, 0.05], ["1", "0.5", "0.2", "0.1", "0.05"])
ax.minorticks_off()
ax.legend()
plt.show()

# %% [markdown]
# One caution: these latents come from an encoder that was trained in front of a residual quantizer, so they are the
# kind of vectors that it likes. And a rotation that is searched for {cite}`ge2013opq` may do a little better than ours.
#
# What about vectors that nobody has prepared? The next cell takes the standardised features of the embeddings. It also
# asks how wide both kinds of vectors spread. The *effective dimension* is $(\sum_i\lambda_i)^2/\sum_i\lambda_i^2$,
# where the $\lambda_i$ are the variances along the principal directions: 32 for a cloud that is equally wide in 32
# directions, and 1 for a line.


# %%
def effective_dimension(x):
    covariance = x.T.cov()  # its trace is Σλ, the sum of its squares Σλ²
    return float(covariance.trace().square() / covariance.square().sum())


one = single_left(standardised, seed=0)
for seed in (0, 1):
    residuals, _ = kmeans_levels(standardised, seed)
    levels = [share_left(left, standardised) for left in residuals[1:]]
    parts = product_left(standardised.tensor_split(3, dim=1), seed)
    print(f"seed {seed}: levels", *(f"{x:.2f}" for x in levels), end="")
    print(f", 768 codewords {one:.2f}, product {parts:.2f}")
    assert 0.48 < levels[2] < 0.57 < one < parts
for name, x in [("features", standardised), ("latents", centred)]:
    print(f"effective dimension of {name}: {effective_dimension(x):.0f}")

# %% [markdown]
# Residual quantization leaves the least again (the single codebook was placed once only), but that is about half. It is
# not a matter of bits, of which there are equally many. One thing that differs is the spread: the latents have an
# effective dimension of 12, the features one of 89.
#
# That is the motive for an encoder: to choose what is kept, and to make vectors in which it can be coded. What it
# leaves out is lost as well, so the fair comparison is made in the features, behind the decoder.
#
# ### What the quantizer costs
#
# With latents the shipped decoder loses 0.40 of the features' variance, and with codes it loses 0.40 as well. So does
# the quantizer cost nothing? The comparison is not fair: this decoder has read latents only in the first 300 steps,
# those of the autoencoder alone, and codes in the 500,000 after that. The script
#
#     OMP_NUM_THREADS=1 python book/studies/unseen_study.py
#
# *refits* the decoder, on three seeds: it is trained for 4,000 more steps, once on latents and once on codes, with the
# encoder and the codebooks held still. It does the same with a model that was trained for 2,000 steps on nine tenths of
# the movies, so that the other tenth is *unseen*: neither its encoder nor its codebooks nor its decoder was trained on
# it.
#
# {question} refitted

# %% tags=["nbval-check-output"]
table = pd.read_csv("results/04_decoders.csv")
by = ["tokenizer", "reads", "decoder"]
means = table.groupby(by, sort=False)[["lost_fitted", "lost_unseen"]].mean()
print(means.round(3).to_string(na_rep="–"))
cost = means.xs("codes", level="reads") - means.xs("latents", level="reads")
short, shipped = table["tokenizer"].unique()
assert cost.loc[(shipped, "as trained"), "lost_fitted"] < 0.002
assert 0.015 < cost.loc[(shipped, "refitted"), "lost_fitted"] < 0.025
assert 0.045 < cost.loc[short, "lost_fitted"].max() < 0.06
assert 0.06 < cost.loc[(short, "as trained"), "lost_unseen"] < 0.08
assert 0.09 < cost.loc[(short, "refitted"), "lost_unseen"] < 0.12

# %% [markdown]
# Refitted, the shipped decoder loses 0.34 from latents and 0.36 from codes, so on the movies that it was trained on the
# quantizer costs two points. (Both lose less than before because the decoder alone was trained for longer.) In the
# model with 2,000 steps it costs about five points on these movies. On unseen ones it costs about seven as the decoder
# was trained, and about ten after refitting, which helps the movies it is done on and harms the others.
#
# Residual k-means alone loses 0.49 of the fitted movies, better placed than here, as [the next
# chapter](05_training_the_rqvae.ipynb) places it, and 0.60 of unseen ones. So the long training of the shipped model
# pays for the movies that it was trained on. Whether it pays for others is the next chapter's question.
#
# ## Greedy is not optimal
#
# The levels choose one after the other, and none looks ahead. This is a *greedy* choice, and it can be wrong: a
# second-nearest first codeword may leave a residual that the second codebook fits much better. A *beam search* keeps
# the *b* best prefixes at each level instead of one. In the code, `scores` has *b* · *K* entries for each movie, one
# for each pair of a prefix and a next codeword; the place of an entry, divided by *K*, gives the prefix, and the
# remainder the codeword.


# %%
def beam_encode(z, codebooks, width):
    sums = z.new_zeros(len(z), 1, z.shape[1])  # (B, b, D)
    prefixes = torch.zeros(len(z), 1, 0, dtype=torch.int64)  # (B, b, l)
    for codebook in codebooks:
        left = z[:, None] - sums
        scores = left.square().sum(2, keepdim=True)  # (B, b, 1)
        scores = scores - 2 * left @ codebook.T + codebook.square().sum(1)
        size = min(width, scores[0].numel())
        kept = scores.flatten(1).topk(size, largest=False).indices  # (B, b)
        parent, code = kept // len(codebook), kept % len(codebook)
        sums = sums.take_along_dim(parent[..., None], 1) + codebook[code]
        prefixes = prefixes.take_along_dim(parent[..., None], 1)
        prefixes = torch.cat([prefixes, code[..., None]], 2)
    return prefixes[:, 0]  # (B, L)


# %%
some = torch.randperm(len(z), generator=seeded(0))[:2000]
greedy = residual_encode(z[some], codebooks)[1].square().sum(1)
for width in (1, 2, 4, 16):
    beam = beam_encode(z[some], codebooks, width)
    found = (z[some] - quantizer.decode(beam)).square().sum(1)
    better = (found < greedy - 1e-2).float().mean()
    gain = 1 - found.sum() / greedy.sum()
    moved = int((beam[:, 0] != codes[some, 0]).sum())
    print(
        f"beam {width:>2}: better for {better:.1%}, error −{gain:.2%}, "
        f"another first code for {moved} of {len(some):,}"
    )
assert 0.05 < better < 0.2
assert 0.005 < gain < 0.03

# %% [markdown]
# The greedy choice is hard to beat here: a beam of 16 finds something better for about one movie in nine, lowers the
# error by about 1.4 %, and gains little on a beam of 4. The first code, of which one might expect it most, it hardly
# ever changes. The library stays greedy, because that is cheaper. (An open task below asks the same of a shorter
# training.)
#
# The *order* of the levels is part of the greedy choice. A sum does not depend on the order of its terms, so decoding
# does not care. Encoding does:

# %%
for order in permutations(range(3)):
    order = list(order)
    _, left = residual_encode(z, codebooks[order])
    shown = [level + 1 for level in order]
    print(f"encoded in order {shown}: {share_left(left, z):.3f} is left")

# %% [markdown]
# Each other order leaves more: 0.07 if only the last two change places, and in reverse 0.26, five times as much as in
# the right one. So always encode in the order in which the codebooks were made.
#
# ## Why the levels share a scale
#
# What do the three codebooks look like? For each level the next cell prints the mean length of the vectors that reach
# it, their effective dimension, and the mean length of its codewords.

# %%
norms = quantizer.residual_norms(z)  # (4,)
for level in range(3):
    left = z - quantizer.decode(codes[:, :level])
    torch.testing.assert_close(left.norm(dim=1).mean(), norms[level])
    words = codebooks[level].norm(dim=1).mean()
    print(
        f"level {level + 1}: vectors of length {norms[level]:.1f} in "
        f"{effective_dimension(left):.0f} directions, codewords of {words:.1f}"
    )

# %% [markdown]
# Two things happen with depth. The vectors get shorter, and they spread over more of the 32 directions.
#
# The codewords get shorter in step with the residuals. And yet all levels *share a scale*: they are measured in the
# same units, those of the latent, because they are going to be added up. This is easy to overlook. Suppose somebody
# tidies up, and divides the residuals of each level by their mean length, so that every codebook sees vectors of length
# about 1. The *codes* do not change if the codewords are divided too. The *sum* does:

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
# The scales carry information. If you normalise a level by itself, store its scale and multiply by it again; otherwise
# the coarse and the fine corrections weigh the same. It is simplest never to divide, and the library does not.
#
# Lee et al. {cite}`lee2022rqvae` use one codebook for all levels of their image tokenizer. It has to hold long
# codewords and short ones then. Vectors are cheap here, 33 kilobytes a codebook (98 / 3), and the library gives each
# level its own.
#
# ## Exercises
#
# ### Exercise 1 · Choose again (difficulty ★★☆, 20 minutes)
#
# A greedy level does not know what the later ones will add. Once all codes are there, this is known, so each level can
# be asked again. Write a function that takes latents `z` (B, D), codes (B, L) and codebooks (L, K, D). For the first
# level, then the second, and so on to the last, it replaces the code by that of the codeword which, together with the
# present codewords of all other levels, comes nearest to `z`. It goes through the levels once, and returns the new
# codes (B, L), int64. The codes that it gets need not be greedy ones.


# %%
def polished(z, codes, codebooks):
    raise NotImplementedError("your turn")


_ = checks.polished(polished)


# %% tags=["hide-cell"]
def polished_solution(z, codes, codebooks):
    codes = codes.clone()
    pairs = zip(codebooks, codes.T, strict=True)
    words = [codebook[level] for codebook, level in pairs]
    for level, codebook in enumerate(codebooks):
        left = z - (sum(words) - words[level])  # what the others leave to it
        scores = codebook.square().sum(1) / 2 - left @ codebook.T
        codes[:, level] = scores.argmin(1)
        words[level] = codebook[codes[:, level]]
    return codes


assert checks.polished(polished_solution)

# %% [markdown]
# ### Exercise 2 · Predict what arrives (difficulty ★★★, 20 minutes)
#
# Here is loop (c) once more. The codebooks take no gradient; `z` does.
#
# ```python
# residual, total, commitment = z, torch.zeros_like(z), torch.zeros(len(z))
# for codebook in codebooks:
#     word = codebook[nearest(residual.detach(), codebook)]
#     commitment = commitment + (residual - word).square().sum(1)
#     total = total + word
#     residual = residual - word
# total = z + (total - z).detach()
# ```
#
# Below are six changes of one line, each made alone:
#
# | change | the new line |
# | --- | --- |
# | a | `residual = (residual - word).detach()` |
# | b | `total = total + residual + (word - residual).detach()` |
# | c | `total = z - residual`, after the loop |
# | d | `commitment = commitment + (z - total - word).square().sum(1)` |
# | e | `word = residual + (codebook[nearest(residual.detach(), codebook)] - residual).detach()` |
# | f | `total = residual + (total - residual).detach()`, after the loop |
#
# With three levels, how many copies of the reconstruction's gradient arrive at `z`, and of how many levels is the
# commitment heard there? Without a change the answer is `(1, 3)`.
#
# Decide first, then write a function that takes the letter of a change, such as `"a"`, and returns the two numbers. The
# check runs these very lines, and says what came of the first change about which you were wrong.


# %%
def arrives(change):
    raise NotImplementedError("your turn")


_ = checks.arrives(arrives)


# %% tags=["hide-cell"]
def arrives_solution(change):
    broken = {
        "a": (1, 1),  # from level 2 on, the residual is a constant
        "c": (0, 3),  # z minus (z minus constants)
        "e": (1, 0),  # residual minus its own estimate
    }
    return broken.get(change, (1, 3))


assert checks.arrives(arrives_solution)

# %% [markdown]
# ### Exercise 3 · Is it worth looking ahead? (open task, 40 minutes)
#
# Greedy, greedy and then chosen again by your function of exercise 1, or a beam: how should the items of a shop be
# encoded? Compare them, for the shipped tokenizer and for the same training after 1,000 steps,
# `movielens-small-2016-1k`. Write your answer in about five sentences, with one table. No check can grade this. Judge
# it yourself:
#
# | | not yet | a good answer |
# | --- | --- | --- |
# | measure | what is left of the latents | also what is lost behind the decoder, by `model.variance_lost` |
# | tokenizers | one, and a verdict on all | both, and why they differ |
# | cost | seconds on one machine | how many codewords each way compares with |
# | side effects | none looked for | how many IDs change, and in which code |
# | verdict | "a beam is better" | when you would use one, and when not |
#
# <details>
# <summary>One way to do it</summary>
#
# The folded cell below prints the table. For the shipped tokenizer I stay greedy. A beam of 16 compares with eleven
# times as many codewords and leaves 4.80 % of the latents' variance instead of 4.87 %. Behind the decoder nothing of
# this gain is left: 40.14 % of the features' variance is lost, and 40.11 % with greedy codes, which are those that this
# decoder has learned to read. Choosing again changes 50 of the 9,066 IDs, so nearly all greedy codes are already such
# that no single code could be better. After 1,000 steps it is another matter: there a beam of 16 leaves 6.7 % instead
# of 7.5 %, changes every second ID and one first code in six, and is ahead behind the decoder too, if only by 0.3
# points. In the long training, codebooks and encoder have learned to suit the greedy choice. So I would try a beam on a
# tokenizer that was hardly trained, and measure behind the decoder before I changed the IDs of a shop. Two checkpoints
# of one training are few; another seed may differ.
#
# </details>


# %% tags=["hide-cell"]
def ahead(x, books):
    """All codes of each way, and how many codewords it compares with."""
    greedy = residual_encode(x, books)[0]
    yield "greedy", greedy, 3 * 256
    yield "chosen again", polished_solution(x, greedy, books), 6 * 256
    for width in (4, 16):
        parts = [beam_encode(part, books, width) for part in x.split(1000)]
        yield f"beam {width}", torch.cat(parts), (1 + 2 * width) * 256


for name in ("movielens-small-2016", "movielens-small-2016-1k"):
    tokenizer, _ = load_rqvae(name)
    latents = tokenizer.encode(embeddings)
    books = tokenizer.quantizer.codebooks.detach()
    spread = (latents - latents.mean(0)).square().sum()
    usual = residual_encode(latents, books)[0]
    print(name)
    for way, found, compared in ahead(latents, books):
        left = (latents - residual_decode(found, books)).square().sum() / spread
        lost = tokenizer.variance_lost(embeddings, found)
        other = (found != usual).any(1).sum()
        first = (found[:, 0] != usual[:, 0]).sum()
        print(
            f"  {way:12} latents {left:.4f}, features {lost:.4f}, {other:4} "
            f"other IDs, {first:4} other first codes, compares {compared:4}"
        )

# %% [markdown]
# ## Self-check
#
# Three questions stand where they belong, each before the cell that answers it; here is the fourth. On the web page,
# choose an answer, and the page checks and keeps it. In JupyterLab, choose one in your head, and click the line below
# the options.
#
# {questions}
#
# ## What to take away
#
# Subtract the *detached* codeword, so that every level's commitment is heard; and apply the estimator *once*, to the
# whole sum, so that the reconstruction is heard once. Then the loss that trains the encoder is the one that was written
# down. The choice itself has no gradient; an estimator makes one up, by copying, by rotating or by mixing.
#
# Residual quantization reaches $K^L$ sums with $L \cdot K$ vectors, coarse before fine. Its codewords add up, so its
# levels share one scale, and whoever divides must multiply again. Its choice is greedy, which costs little with the
# shipped codebooks. What the quantizer as a whole costs depends on where you look: two points of the variance for the
# shipped model's own movies, about five after a short training, and seven to ten for movies that were not trained on.
#
# ## What's next
#
# [Training the RQ-VAE](05_training_the_rqvae.ipynb) puts an encoder and a decoder around this quantizer, trains all
# three together, and watches for codebooks that collapse.
#
# ## References
#
# - Lee et al. (2022), *Autoregressive Image Generation using Residual Quantization* {cite}`lee2022rqvae`.
# - Rajput et al. (2023), *Recommender Systems with Generative Retrieval* {cite}`rajput2023tiger`: TIGER.
# - Jégou, Douze and Schmid (2011), *Product Quantization for Nearest Neighbor Search* {cite}`jegou2011product`.
# - Ge, He, Ke and Sun (2013), *Optimized Product Quantization for Approximate Nearest Neighbor Search*
#   {cite}`ge2013opq`.
# - Bengio, Léonard and Courville (2013), *Estimating or Propagating Gradients Through Stochastic Neurons for
#   Conditional Computation* {cite}`bengio2013estimating`.
# - van den Oord, Vinyals and Kavukcuoglu (2017), *Neural Discrete Representation Learning* {cite}`vandenoord2017vqvae`:
#   straight-through, the losses, and moving averages.
# - Fifty et al. (2024), *Restructuring Vector Quantization with the Rotation Trick* {cite}`fifty2024rotation`.
# - Jang, Gu and Poole (2017), *Categorical Reparameterization with Gumbel-Softmax* {cite}`jang2017gumbel`.
