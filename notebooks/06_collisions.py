# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Collisions: two movies, one ID
#
# A semantic ID is meant to be a movie's name, and two movies should not share a name. With the tokenizer that comes
# with this book, some movies do share all their codes with another. Are these accidents, like two people in a room with
# the same birthday, or are the movies alike? This chapter looks at the movies concerned, works out how many chance
# would put together, tries three remedies and weighs what each costs. Then it asks what the codes say about a movie,
# how to measure that without flattering them, and whether such measures say how well the IDs recommend.
#
# A reminder, in case you start here. A *tokenizer* turns a movie's *embedding*, 384 numbers made from its title, year
# and genres, into a few *codes*. An *RQ-VAE* {cite}`rajput2023tiger` first squeezes the embedding into a *latent*
# vector of 32 numbers. Then the first *codebook*, a list of 256 vectors called *codewords*, replaces the latent by its
# nearest codeword; the second codebook does the same with what is left over, the *residual*, and the third with what is
# left after that. The three choices are the codes. A *decoder* rebuilds the embedding from the sum of the three
# codewords, and the share of the variance that it cannot rebuild is the *variance lost*. *R-KMeans* does without the
# squeezing: it places the codewords by k-means on the embeddings themselves, level after level.
#
# :::{admonition} What you will learn
# - which movies collide, and whether a person would mind
# - how many collisions chance alone would cause, in closed form, and why real codes have more
# - how collisions depend on the size of the codebooks, on the number of levels and on the tokenizer
# - three remedies, what they do to the reconstruction, and which of them leave old IDs alone when a catalogue grows
# - how to say what codes know of an attribute, and why the usual measures flatter long prefixes
# - whether fewer collisions, or another measure of a tokenizer, mean better recommendations
# :::
#
# | You need | Why | Where |
# | --- | --- | --- |
# | codes and residuals | they are what is compared here | [Residual quantization](04_residual_quantization.ipynb) |
# | variance lost, R-KMeans | what a remedy costs, and the opponent of the RQ-VAE | [Training the RQ-VAE](05_training_the_rqvae.ipynb) |
# | probability, entropy | chance is what everything is held against | any course in statistics |
#
# **Time:** about 50 minutes to read.

# %% tags=["hide-input"]
import math
from bisect import bisect_left
from collections import Counter, defaultdict
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.colors import LogNorm
from scipy.stats import spearmanr

from rqvae_lib import SemanticIDs, load_dataset, load_embeddings, load_rqvae
from rqvae_lib.data.splits import split_by_name
from rqvae_lib.evaluation.metrics import bootstrap_interval
from rqvae_lib.ops.sinkhorn import transport_plan
from rqvae_lib.teaching.exercises import chapter_06 as checks
from rqvae_lib.tokenizer.analysis import (
    conditional_entropies,
    expected_collision_rate,
    normalized_mutual_information,
    pair_precision,
    prefix_groups,
    purity,
)
from rqvae_lib.tokenizer.collisions import REMEDIES, resolve, take_nearest_free
from rqvae_lib.tokenizer.config import RQVAEConfig
from rqvae_lib.tokenizer.metrics import code_usage
from rqvae_lib.training.recipes import new_rqvae

data = load_dataset("movielens-small-2016")
embeddings = load_embeddings("movielens-small-2016")  # (9066, 384)
rqvae, _ = load_rqvae("movielens-small-2016")
codes = rqvae.assign(embeddings)  # (9066, 3)
N = len(codes)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


# %% [markdown]
# ## Which movies collide?
#
# Movies **collide** if all their codes are equal. To find them, put each movie into a drawer that is labelled with its
# codes, and look which drawers hold more than one.

# %%
drawers = defaultdict(list)
for movie, row in enumerate(codes.tolist()):
    drawers[tuple(row)].append(movie)
shared = [movies for movies in drawers.values() if len(movies) > 1]

print(f"{len(drawers):,} different triples of codes for {N:,} movies")
print(f"{len(shared)} triples are shared, by {sum(map(len, shared))} movies;")
print(f"the largest group has {max(map(len, shared))}")

# %% [markdown]
# The library does it for the whole catalogue at once. `SemanticIDs` is the catalogue of IDs, and its `collision_groups`
# are our drawers with more than one movie. The **collision rate** is the share of movies whose codes an earlier movie
# has: those that would vanish if each triple could keep only one. Wherever this chapter says what percentage of the
# movies collide, it means this rate.

# %% tags=["nbval-check-output"]
ids = SemanticIDs(codes, 256)
groups = [group.tolist() for group in ids.collision_groups()]
assert sorted(groups) == sorted(shared)
assert math.isclose(ids.collision_rate, 1 - len(drawers) / N)
print(f"collision rate: {ids.collision_rate:.2%}")

# %% [markdown]
# Would anyone mind? Here are all the groups:

# %%
items = data.items
for group in groups:
    print(" = ".join(data.titles[movie] for movie in group))

# %% [markdown]
# Ten of the twenty groups are parts of one series, if we read the titles right: sequels, remakes and two programmes of
# the same comedian. To a person who asks for one of them, the other is a good answer. Two groups are movies of which
# the data know neither title nor year. The other eight share something less visible:

# %%
years = items["year"]
same_year = [group for group in groups if years[group].nunique() == 1]
print(f"{len(same_year)} of {len(groups)} groups are of one year")
for group in same_year:
    genres = " / ".join(items["genres"][group])
    print(f"{years[group[0]]}  {genres}")

# %% [markdown]
# Each of the eight is in this list, which keeps the order of the groups above: its movies are of one year, and have a
# genre in common. *The Recruit* and *S.W.A.T.* are action thrillers of 2003, but nobody would call one by the other's
# name. (The ninth in the list is a series whose two parts came out in the same year.)
#
# The untitled movies are a case of their own. Their texts are equal, letter by letter, and so are their embeddings:

# %% tags=["nbval-check-output"]
same_text = [g for g in groups if len({data.texts[movie] for movie in g}) == 1]
for first, second in same_text:
    assert torch.equal(embeddings[first], embeddings[second])
    print(repr(data.texts[first]))

# %% [markdown]
# No tokenizer that reads only these embeddings can tell such movies apart, however many codes it has. Only something
# that does not come from the text can separate these two pairs, such as the order of the catalogue.
#
# ### Neighbours collide
#
# The titles suggest that collisions are not accidents. To check this on the whole catalogue, sort, for each movie, all
# others by the cosine of the angle between the embeddings, and ask how often a neighbour shares the first code, the
# first two, or all three. Neighbours are taken together in ranges of ranks that double: the nearest, the next two, the
# next four, and so on.
#
# {question} nearest-neighbour

# %%
unit = torch.nn.functional.normalize(embeddings, dim=1)
neighbours = []
for rows in torch.arange(N).split(1024):
    cosine = unit[rows] @ unit.T  # (1024, 9066)
    cosine[torch.arange(len(rows)), rows] = -2  # no movie is its own neighbour
    neighbours.append(cosine.topk(511).indices)
neighbours = torch.cat(neighbours)  # (9066, 511), nearest first

ranks = [2**power for power in range(9)]  # 1, 2, 4, …, 256
table = {}
for length in (1, 2, 3):
    group = prefix_groups(codes, length)  # (9066,), equal for equal prefixes
    same = group[neighbours] == group[:, None]  # (9066, 511)
    table[length] = [
        float(same[:, rank - 1 : 2 * rank - 1].float().mean()) for rank in ranks
    ]
by_rank = pd.DataFrame(table, index=ranks)
print(by_rank.loc[[1, 2, 8, 64, 256]].map(lambda share: f"{share:.3%}"))

# %% [markdown]
# `prefix_groups` numbers the groups of movies whose first codes agree; it is what our drawers were, for a *prefix* of
# any length. {numref}`fig-06-neighbours` sets these shares beside those of two movies drawn at random.

# %% mystnb={"image": {"alt": "Three falling curves on logarithmic axes, against the rank of the neighbour. The first code is shared by 38 percent of nearest neighbours and 2 percent at ranks from 256 on; two codes by 6 percent of nearest neighbours; all three by 0.3 percent. Dotted horizontal lines show two random movies: 0.4, 0.002 and 0.00005 percent."}, "figure": {"caption": "Near neighbours share codes far more often than two random movies (dotted), and the more codes are asked for, the closer the neighbours have to be. A marker is missing where no pair was found.", "name": "fig-06-neighbours"}} tags=["hide-input"]
labels = ["first code", "first two codes", "all three codes"]
fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for length, color, marker in [(1, "C0", "o"), (2, "C1", "s"), (3, "C2", "D")]:
    shares = by_rank[length]
    shares = shares[shares > 0]
    ax.loglog(shares, marker + "-", c=color, ms=4, label=labels[length - 1])
    _, sizes = prefix_groups(codes, length).unique(return_counts=True)
    anyone = float((sizes * (sizes - 1)).sum()) / (N * (N - 1))
    ax.axhline(anyone, ls=":", c=color)
ax.set(
    xlabel="rank among the neighbours, from", ylabel="share with equal codes"
)
ax.legend()
plt.show()

# %% [markdown]
# ## What chance would do
#
# In a room of 23 people, two have the same birthday more often than not, although there are 365 days. It is the number
# of *pairs* that counts: 23 people are 253 pairs, and each pair gets its chance {cite}`feller1968introduction`. With
# *N* movies there are $N(N-1)/2$ pairs. If all codes of a level were drawn by chance, each movie's by itself, two
# movies would get code *k* with probability $p_k^2$, where $p_k$ is the share of movies that have it, and some equal
# code with probability $\sum_k p_k^2$. If the $L$ levels know nothing of each other, these multiply. With $p_{lk}$ for
# the share of code *k* at level *l*, the expected number of colliding pairs is
#
# $$E = \frac{N(N-1)}{2} \prod_{l=1}^{L} \sum_{k} p_{lk}^2.$$ (eq-collisions)

# %%
pairs = math.comb(N, 2)
agree = [float((torch.bincount(level) / N).square().sum()) for level in codes.T]
expected = pairs * math.prod(agree)
found = sum(math.comb(len(group), 2) for group in groups)
print(f"{pairs:,} pairs of movies")
for level, chance in enumerate(agree, 1):
    print(f"  agree at level {level}: one in {1 / chance:.0f}")
print(f"colliding pairs: {expected:.1f} by chance, {found} found")

# %% [markdown]
# If all 256 codes of each level were in equal use, one pair in 256 would agree. Ours are not quite even, and chance has
# a little more to do. Can we believe the formula, {eq}`eq-collisions`? Let the computer draw: 1,000 catalogues in which
# each movie gets, at each level by itself, the code of some movie drawn at random. {numref}`fig-06-birthday` will show
# them all.

# %%
digits = torch.tensor([256 * 256, 256, 1])  # three codes as one number
generator = seeded(0)
drawn_pairs, drawn_rates = [], []
for _ in range(1000):
    movies = torch.randint(N, (3, N), generator=generator)
    drawn = codes.T.gather(1, movies).T  # (9066, 3)
    _, counts = torch.unique(drawn @ digits, return_counts=True)
    drawn_pairs.append(int((counts * (counts - 1) // 2).sum()))
    drawn_rates.append(1 - len(counts) / N)
drawn_pairs = torch.tensor(drawn_pairs).double()
print(f"drawn: {drawn_pairs.mean():.2f} pairs on average,", end=" ")
print(f"at most {drawn_pairs.max():.0f} in 1,000 catalogues")
error = drawn_pairs.std() / math.sqrt(1000)
assert abs(drawn_pairs.mean() - expected) < 4 * error

# %% [markdown]
# The library's `expected_collision_rate` answers the same question for the rate instead of the pairs, exactly and for
# any number of levels. A triple of probability $p$ is drawn by nobody with probability $(1-p)^N$, so the expected
# number of different triples is $\sum (1-(1-p)^N)$ over all triples, and all other movies collide. There are 16.8
# million triples, but few different probabilities, and equal ones are summed at once.

# %%
by_chance = expected_collision_rate(codes)
rates = torch.tensor(drawn_rates, dtype=torch.float64)
error = float(rates.std()) / math.sqrt(1000)
assert abs(float(rates.mean()) - by_chance) < 4 * error
assert by_chance <= expected / N  # each movie that collides is in a pair
print(
    f"collision rate: {by_chance:.3%} by chance, {ids.collision_rate:.3%} found"
)

# %% mystnb={"image": {"alt": "Histogram of the number of colliding pairs in 1,000 drawn catalogues, from 0 to about 12 with its peak at 3. A dashed line at 3.3 marks the formula. Far to the right, at 22, a solid line marks the pairs that were found."}, "figure": {"caption": "Chance does not explain the collisions: none of 1,000 drawn catalogues comes near the number of pairs that collide in the real one, and the formula gives the average of the drawn ones.", "name": "fig-06-birthday"}} tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
bins = torch.arange(-0.5, 25.5).tolist()
ax.hist(drawn_pairs.tolist(), bins=bins, color="C0", alpha=0.7, label="drawn")
ax.axvline(expected, ls="--", c="black", label="formula")
ax.axvline(found, c="C1", lw=3, label="found")
ax.set(xlabel="colliding pairs", ylabel="catalogues of 1,000")
ax.legend()
plt.show()

# %% [markdown]
# {numref}`fig-06-birthday` settles the first question. The codes collide several times as often as chance would have
# it, and {numref}`fig-06-neighbours` says who collides. It is the purpose of a semantic ID that like movies get like
# codes; that the most alike get the same codes is the same thing, carried one step too far. Codes that collided no more
# often than chance would raise a doubt: do they still say which movies are alike?
#
# ## How many codes are enough?
#
# Three codes of 256 make 16.8 million triples for 9,066 movies. Why is that not plenty? Count in *bits*, the entropy
# with the logarithm to base 2. To name one of 9,066 movies takes $\log_2 9066$ bits, and three codes could carry 24.
# What each code carries *beyond* those before it is the **conditional entropy**, the entropy of the first $l$ codes
# together, less that of the first $l-1$.


# %%
def bits(labels):
    counts = torch.tensor(list(Counter(labels).values())).double()
    return float(torch.special.entr(counts / counts.sum()).sum() / math.log(2))


rows = [tuple(row) for row in codes.tolist()]
together = [0.0] + [bits(row[:length] for row in rows) for length in (1, 2, 3)]
by_hand = torch.tensor(together).double().diff()
# The library uses the natural logarithm.
library = conditional_entropies(codes) / math.log(2)
torch.testing.assert_close(library, by_hand, atol=1e-5, rtol=0)

control = conditional_entropies(drawn) / math.log(2)  # the last catalogue drawn
for name, each in [("found", library), ("drawn", control)]:
    print(f"{name}:", ", ".join(f"{b:.2f}" for b in each.tolist()), end="; ")
    print(f"together {each.sum():.2f} bits")
print(f"to name a movie takes {math.log2(N):.2f} bits")

# %% [markdown]
# The first code carries nearly its full 8 bits, the second 5, and the third a fraction of one. That sounds like waste,
# but look at the second line: codes that were drawn independently do just the same. With so few movies, most pairs of
# codes in use belong to one movie already, and then nothing is left for the third code to say. The bound is $\log_2 N$,
# and not the codebook. So a small conditional entropy at the last level is no sign of a bad codebook, unless it is
# smaller than that of drawn codes.
#
# How do collisions depend on the sizes? The table `06_grid.csv` holds R-KMeans with 16 to 256 codewords and one to four
# levels, three seeds each, and for each of them what `expected_collision_rate` says of chance. (Its levels are placed
# one after another, so the first two are the same whether or not others follow.) {numref}`fig-06-grid` draws it. It was
# made, like all tables of this chapter, by `python book/studies/collision_study.py`.

# %%
grid = pd.read_csv("results/06_grid.csv")
cells = ["tokenizer", "codebook_size", "levels"]
mean = grid.groupby(cells).mean()
kmeans = mean.loc["R-KMeans"]
found_rates = kmeans["collision_rate"].unstack()
random_rates = kmeans["random_rate"].unstack()

# %% mystnb={"image": {"alt": "Two heat maps with codebook sizes 16 to 256 as rows and one to four levels as columns. With one level nearly all movies collide in both. For R-KMeans with 256 codewords the rate falls to 22 percent at two levels, 1.8 at three and 0.2 at four; by chance to lower values at each level."}, "figure": {"caption": "More codewords and more levels mean fewer collisions, for R-KMeans (left) as for codes drawn by chance with the same use of the codebooks (right). The factor between the two grows with every level.", "name": "fig-06-grid"}} tags=["hide-input"]
fig, axes = plt.subplots(
    1, 2, figsize=(6, 3.2), sharey=True, layout="constrained"
)
both = [(found_rates, "R-KMeans"), (random_rates, "by chance")]
for ax, (rates, title) in zip(axes, both, strict=True):
    ax.imshow(rates, norm=LogNorm(1e-5, 1), cmap="cividis", aspect="auto")
    for row, line in enumerate(rates.to_numpy()):
        for column, rate in enumerate(line):
            color = "black" if rate > 0.01 else "white"
            digits_shown = ".0f" if rate > 0.1 else ".2g"
            text = f"{100 * rate:{digits_shown}}"
            ax.text(column, row, text, ha="center", va="center", c=color)
    ax.set_xticks(range(4), rates.columns)
    ax.set(title=title, xlabel="levels")
axes[0].set_yticks(range(5), found_rates.index)
axes[0].set_ylabel("codewords a level")
fig.suptitle("movies that collide, %", fontsize=10)
plt.show()

# %%
percent = (100 * mean[["collision_rate", "random_rate"]]).round(3)
lost = mean["variance_lost"].round(3)
print(percent.join(lost).loc["RQ-VAE"].to_string())
print(percent.join(lost).loc["R-KMeans"].loc[[64, 256]].to_string())

# %% [markdown]
# With 256 codewords a level, R-KMeans goes from 22 % at two levels to 1.8 % at three and 0.2 % at four, and the factor
# by which it exceeds chance grows on the way: 1.4, 3 and 9. So more levels help, but less than the number of tuples
# promises. Nor is that number all that counts. Four levels of 64 and three of 256 can both write 16.8 million tuples;
# R-KMeans collides in 1.0 % with the first and in 1.8 % with the second, which in turn loses less of the variance, 0.49
# against 0.57. Fewer collisions do not mean a better description. The rows of the RQ-VAE (500 training steps) show the
# same trend at lower rates.

# %% [markdown]
# ## Does the tokenizer matter?
#
# So far it was one tokenizer at a time. `06_methods.csv` compares the RQ-VAE (500 steps of 256 movies, after 300
# without codebooks) with R-KMeans on five seeds, both with three levels of 256. The third party is *shuffled codes*:
# the codes of each level dealt out anew among the movies. They use the codebooks just as evenly, and say nothing of the
# movies. {numref}`fig-06-methods` shows every seed.

# %%
methods = pd.read_csv("results/06_methods.csv")
columns = ["collision_rate", "items_colliding", "largest_group"]
columns += ["variance_lost"]
by_method = methods.groupby("tokenizer")[columns].mean()
print(by_method.round(4).T.to_string())
over_seeds = 100 * methods.groupby("tokenizer")["collision_rate"].agg(
    ["min", "max"]
)
print(over_seeds.round(2).to_string())

# %% mystnb={"image": {"alt": "Four rows of five dots on a logarithmic axis of the collision rate. R-KMeans lies between 1.3 and 2.6 percent, its shuffled codes between 0.3 and 0.9; the RQ-VAE between 0.18 and 0.29, its shuffled codes between 0.01 and 0.06."}, "figure": {"caption": "On each of five seeds R-KMeans collides more than the RQ-VAE, and both collide more than their own codes dealt out anew (grey squares).", "name": "fig-06-methods"}} tags=["hide-input"]
fig, ax = plt.subplots(figsize=(6, 2.6))
names = ["R-KMeans", "R-KMeans shuffled", "RQ-VAE", "RQ-VAE shuffled"]
for row, name in enumerate(names[::-1]):
    rates = 100 * methods["collision_rate"][methods["tokenizer"] == name]
    color, marker = ("C7", "s") if "shuffled" in name else ("C0", "o")
    ax.semilogx(rates, [row] * 5, marker, c=color, alpha=0.6)
ax.set_yticks(range(4), names[::-1])
ax.set(xlabel="movies that collide, %")
ax.grid(axis="y", alpha=0.3)
plt.show()

# %% [markdown]
# As {numref}`fig-06-methods` shows, no seed of R-KMeans comes near one of the RQ-VAE: 1.3 % to 2.6 % of the movies
# collide against 0.2 % to 0.3 %. Yet R-KMeans loses less of the variance, 0.49 against 0.61. It describes better and
# names worse. (The shipped RQ-VAE, trained for [500,000 steps](05_training_the_rqvae.ipynb), loses 0.40, as is printed
# below.) The shuffled codes tell two reasons apart. Dealt out anew, the codes of R-KMeans still collide in 0.47 %,
# those of the RQ-VAE in 0.03 %, and since shuffled codes know nothing, this difference can only come from how evenly
# the codewords are used. What remains is likeness: each tokenizer collides several times as often as its shuffled
# codes.
#
# ## Three remedies
#
# ### A number at the end
#
# TIGER {cite}`rajput2023tiger` appends one more code, the **disambiguation code**: 0 for the first movie of a group, 1
# for the second, and so on. Most movies get a 0. The order is that of the catalogue.

# %%
met = Counter()
last = []
for row in rows:
    last.append(met[row])  # how many earlier movies have these codes
    met[row] += 1
assert torch.equal(torch.tensor(last), ids.ids[:, -1])  # the library's

series = ids.collision_groups()[0]
for movie in series.tolist():
    print(ids.id_of(movie), data.titles[movie])
assert len(torch.unique(ids.ids, dim=0)) == N

# %% [markdown]
# `id_of` and `item_of` translate both ways. The library keeps the IDs sorted, so that all movies whose IDs begin with
# the same codes stand side by side, and a binary search finds where they begin and end. This is what `with_prefix`
# does; by hand, with Python's `bisect`:

# %%
in_order = sorted(tuple(row) for row in ids.ids.tolist())
prefix = ids.id_of(series[0])[:3]
begin = bisect_left(in_order, prefix)
end = bisect_left(in_order, (*prefix[:-1], prefix[-1] + 1))
movies = sorted(ids.item_of(row) for row in in_order[begin:end])
assert movies == ids.with_prefix(prefix).tolist() == series.tolist()

# %% [markdown]
# The disambiguation code always works, even for equal texts, and changes no learned code, so it costs nothing in
# reconstruction. But the last code says nothing about the movie. A model that recommends by writing IDs has one more
# code to write for every movie, nearly always a 0, and within a group it has nothing to go by but what it memorises.
#
# ### The nearest free codes
#
# The second remedy goes through the movies in order. It moves a movie whose codes an earlier one has to codes that no
# earlier one has: those whose codewords add up to the point nearest to the movie's latent vector. (A later movie that
# wanted them is moved in its turn.) By hand, let us keep the first two codes and try the 256 codewords of the third
# level, the nearest first.

# %%
latents = rqvae.encode(embeddings)  # (9066, 32)
codebooks = rqvae.quantizer.codebooks.detach()  # (3, 256, 32)
left = latents - rqvae.quantizer.decode(codes[:, :2])  # after two levels

taken, moved_by_hand = set(), codes.clone()
for movie, row in enumerate(rows):
    if row in taken:
        distance = (left[movie] - codebooks[2]).square().sum(1)  # (256,)
        nearest_first = distance.argsort().tolist()
        tries = ((*row[:2], code) for code in nearest_first)
        row = next(triple for triple in tries if triple not in taken)
        moved_by_hand[movie] = torch.tensor(row)
    taken.add(row)

narrow = partial(take_nearest_free, beams=1)
library = resolve(latents, codes, codebooks, narrow)
assert torch.equal(library.ids.codes, moved_by_hand)
print(f"{int(library.moved.sum())} movies moved, ", end="")
print(f"{library.ids.collision_rate:.0%} collide now")
print(f"squared distance added in all: {library.added_error.sum():.1f}")
wider = resolve(latents, codes, codebooks, take_nearest_free)
print(f"with 16 beams: {wider.added_error.sum():.1f}")

# %% [markdown]
# `resolve` applies a remedy. It returns the new catalogue, which movies moved, and by how much the squared distance
# between latent and codewords grew for each. With `beams=1` the library does what we did. By default it also tries
# other codes at the first two levels: a *beam* carries the 16 nearest prefixes from one level to the next, and here the
# movies that must move end up a little closer to where they were.
#
# ### A fair share of the last codebook
#
# The third remedy comes from LC-Rec {cite}`zheng2024lcrec`. All movies that collide take part, and their last codes are
# dealt out anew such that every codeword of the last level gets an equal part of them. (There are fewer such movies
# than codewords here, so fractions of movies are dealt, and each movie takes the codeword with most of it.) Among all
# ways to do so it looks for the one with the least total squared distance. This is a problem of *optimal transport*;
# Sinkhorn's algorithm {cite}`cuturi2013sinkhorn` comes near its solution by putting a price on crowded codewords and
# raising the price until the crowd has moved. Those that still collide do it again.
#
# How does a price deal out movies? Take three movies and two codewords, and let $C_{ij}$ be the squared distance from
# movie *i* to codeword *j*. All three movies are nearest to the first codeword. Begin with $A_{ij} =
# e^{-C_{ij}/\varepsilon}$, which is large where a codeword is near, and take turns with two divisions:
#
# $$A_{ij} \leftarrow \frac{A_{ij}}{K \sum_m A_{mj}}, \qquad A_{ij} \leftarrow \frac{A_{ij}}{N \sum_k A_{ik}}.$$ (eq-sinkhorn)
#
# After the first, each of the *K* columns adds up to its fair share, $1/K$. After the second, each of the *N* rows adds
# up to $1/N$, one whole movie, and the columns are spoilt a little.

# %% tags=["nbval-check-output"]
C = torch.tensor([[1, 2], [1, 3], [1, 5]]).double()  # (3, 2)
epsilon = 0.1 * (C.max() - C.min())
A = torch.exp(-C / epsilon)
for turn in range(1, 51):
    A = A / (2 * A.sum(0))  # the columns
    A = A / (3 * A.sum(1, keepdim=True))  # the rows
    if turn in (1, 2, 5, 50):
        leaving = [f"{part:.2f}" for part in 3 * A[:, 1]]
        print(f"{turn:2} turns: the second codeword has", end=" ")
        print(f"{' + '.join(leaving)} = {3 * A[:, 1].sum():.2f} movies")
torch.testing.assert_close(A, transport_plan(C, epsilon=0.1), atol=1e-6, rtol=0)

# %% [markdown]
# A crowded column has a large sum, so the division makes all its entries smaller by the same factor. This factor is its
# price. The first movie loses least by leaving, and leaves nearly whole; the second is dealt out half and half; the
# third, which has far to go, stays. Each codeword ends with one and a half movies.
#
# Why does it stop changing, and why there? Whole rows and whole columns are multiplied, and nothing else happens, so at
# any time $A_{ij} = u_i \, e^{-C_{ij}/\varepsilon} \, v_j$. Only one matrix of this form has all sums right, and each
# division brings *A* nearer to it. It is also the cheapest plan, if spreading is rewarded a little: whoever minimises
# $\sum A_{ij} C_{ij} + \varepsilon \sum A_{ij} \log A_{ij}$ under the condition that the sums are right finds this
# form, with $-\varepsilon \log v_j$ as the price of codeword *j*. A small $\varepsilon$ comes near the cheapest plan
# and takes more turns.
#
# Exponentials of real distances overflow or vanish, so the library keeps logarithms: `f` for $\log u$ and `g` for
# $\log v$. Here are the movies that collide and the eight codewords that they have most often.

# %%
crowd = torch.cat(ids.collision_groups())  # (41,) movies that collide
counts = torch.bincount(codes[crowd, 2], minlength=256)
popular = counts.argsort(descending=True, stable=True)[:8]
gaps = left[crowd][:, None] - codebooks[2][popular]  # (41, 8, 32)
C = gaps.square().sum(2).double()  # (41, 8)
spread_of_costs = C.max() - C.min()
scores = (C.min() - C) / (0.01 * spread_of_costs)  # −C/ε, up to a constant


def deal(iterations):
    rows, columns = C.shape
    g = torch.zeros(1, columns).double()
    f = -math.log(rows) - torch.logsumexp(scores, 1, keepdim=True)
    for _ in range(iterations):
        g = -math.log(columns) - torch.logsumexp(scores + f, 0, keepdim=True)
        f = -math.log(rows) - torch.logsumexp(scores + g, 1, keepdim=True)
    return (f + scores + g).exp()  # (41, 8), all parts add up to 1


torch.testing.assert_close(deal(200), transport_plan(C), atol=1e-6, rtol=0)
for iterations in (0, 1, 5, 20, 100):
    plan = deal(iterations)
    assert torch.allclose(41 * plan.sum(1), torch.ones(41).double())
    least, most = 8 * plan.sum(0).min(), 8 * plan.sum(0).max()
    print(f"{iterations:>3} iterations: a column has {least:.2f}", end=" ")
    print(f"to {most:.2f} of its share")

# %% [markdown]
# It ends where the library's `transport_plan` does, too. {numref}`fig-06-sinkhorn` shows the plan on its way. Without
# prices nearly every movie goes to its nearest codeword. Then the movies that lose least by it leave the crowd
# first, and some are dealt out between two codewords.

# %% mystnb={"image": {"alt": "Five tables of 41 rows and 8 columns, after 0, 1, 5, 20 and 100 iterations, with a bar chart of the columns' shares above each. At first one column has more than two and a half times its fair share and four have between 0.4 and 0.7 of it; the bars level out step by step and after 100 iterations all reach the dashed line. In the tables, dark cells leave the crowded column for others, and some rows have two or three paler cells."}, "figure": {"caption": "Sinkhorn's algorithm moves movies (rows) out of crowded codewords (columns) until each codeword has an equal share. Above, what each column has of its share, dashed at 1; below, how each movie is dealt out, dark for all of it.", "name": "fig-06-sinkhorn"}} tags=["hide-input"]
shown = (0, 1, 5, 20, 100)
order = torch.argsort(deal(0).argmax(1), stable=True)  # by nearest codeword
fig, axes = plt.subplots(
    2,
    len(shown),
    figsize=(7.2, 4.4),
    sharex=True,
    sharey="row",
    height_ratios=[1, 3],
    layout="constrained",
)
for (above, below), iterations in zip(axes.T, shown, strict=True):
    plan = deal(iterations)
    above.bar(range(8), 8 * plan.sum(0), color="C0")
    above.axhline(1, ls="--", c="black", lw=1)
    above.set_title(f"after {iterations}", fontsize=10)
    image = below.imshow(
        41 * plan[order], vmin=0, vmax=1, cmap="Blues", aspect="auto"
    )
    below.set_xticks([])
axes[0, 0].set_ylabel("of its share")
axes[1, 0].set_ylabel("movies that collide")
axes[1, 2].set_xlabel("eight codewords of the last level")
fig.colorbar(image, ax=axes[1], label="part of the movie", shrink=0.8)
plt.show()

# %% [markdown]
# The remedy does the same with all 256 codewords of the last level.

# %%
before = (latents - rqvae.quantizer.decode(codes)).square().sum(1)  # (9066,)
print(f"mean squared distance before: {before.mean():.1f}")
print(f"{'':14} moved  added to each  collide  variance lost")
outcomes = {}
for name, remedy in REMEDIES.items():
    outcome = resolve(latents, codes, codebooks, remedy)
    moved, rate = int(outcome.moved.sum()), outcome.ids.collision_rate
    added = float(outcome.added_error.sum()) / max(1, moved)
    lost = rqvae.variance_lost(embeddings, outcome.ids.codes)
    outcomes[name] = outcome
    print(f"{name:14} {moved:5} {added:14.1f} {rate:8.3%} {lost:14.3%}")

still = outcomes["balanced"].ids.collision_groups()
assert sorted(group.tolist() for group in still) == sorted(same_text)

# %% [markdown]
# All three give a name to each movie, since the disambiguation code closes what the others leave. They differ in what
# they change. The nearest free codes move one movie of each pair and let the other stay. The fair share moves nearly
# every movie that collides, and each further, for it asks that codewords be shared out evenly among those who collide,
# whether or not somebody else has the codes already. It leaves two pairs, and the assertion says which: the untitled
# ones. Two movies with the same vector look alike to optimal transport too. On the whole catalogue none of this is
# visible: the variance lost changes in the fourth digit, because so few movies move.

# %%
remedies = pd.read_csv("results/06_remedies.csv")
columns = ["items_moved", "collision_rate", "added_error", "variance_lost"]
by_remedy = remedies.groupby(["tokenizer", "remedy"])[columns].mean()
by_remedy.columns = ["moved", "collide", "added", "variance lost"]
print(by_remedy.round(4).to_string())

# %% [markdown]
# On five seeds of each tokenizer the picture is the same. (Here `added` is what the movies that moved gained in squared
# distance, as a share of what they had.) The nearest free codes move 19 movies of the RQ-VAE and 150 of R-KMeans on
# average, add 9 % and 6 % to their error and leave no collision. The fair share moves 33 and 260, adds 32 % and 94 %,
# and leaves the untitled ones. Where many movies collide, this becomes visible in the whole catalogue: with the fair
# share R-KMeans loses 0.502 of the variance instead of 0.489.
#
# Which remedy recommends best? With the shipped tokenizer nobody can tell on these data, and no training is needed to
# see it. Apart from the length of the IDs, a remedy can help or harm where a movie that collides is asked for, or
# stands in a history. How often is one? Count among each person's last movie and last ten, the usual test targets (see
# [Data, splits and leakage](01_data_splits_leakage.ipynb)), and among all that a recommender learns from.

# %% tags=["nbval-check-output"]
collides = torch.zeros(N, dtype=torch.bool)
collides[crowd] = True
for name in ("leave-one-out", "last-ten"):
    split = split_by_name(data, name)
    targets = split.histories_and_targets(split.test)[1]
    learned = collides[split.train.items].float().mean()
    print(
        f"{name}: {int(collides[targets].sum())} of {len(targets):,}", end=" "
    )
    print(f"targets collide, and {learned:.2%} of what is learned from")

# %% [markdown]
# Not one of the 671 last movies collides, and 11 of the last ten of everybody. So even a remedy that found every one of
# these could not raise Recall by more than 0.002 in last-ten, and not at all in leave-one-out, where an interval
# reaches about 0.02 to either side ([chapter 11](11_honest_evaluation.ipynb)). Choose a remedy for what it does to old
# IDs and to their length; a difference in recommendations would have to come from a catalogue in which many more movies
# collide.
#
# ## When the catalogue grows
#
# A tokenizer gives codes to any embedding, so a movie that comes out tomorrow gets an ID without any training. The
# question is what happens to the *old* IDs. A recommender that learned to write them must learn again whatever was
# renamed. Pretend that the last 900 movies of the catalogue arrive later, apply each remedy before and after, and count
# the older movies whose ID has changed.

# %% tags=["nbval-check-output"]
old = N - 900
for name, remedy in REMEDIES.items():
    before = resolve(latents[:old], codes[:old], codebooks, remedy).ids.ids
    after = resolve(latents, codes, codebooks, remedy).ids.ids[:old]
    print(f"{name:16} some renamed: {bool((before != after).any())}")

grown = SemanticIDs(codes[:old], 256).with_new_items(codes[old:])
assert torch.equal(grown.ids, ids.ids)

# %% [markdown]
# The first and the last go through the movies in order, so a movie's ID depends on earlier movies only, and
# `with_new_items` may append as many as it likes. The fair share does not: whoever joins takes part in the dealing, and
# may push others aside. Order itself must not change either. Sorting the catalogue by title would rename movies even
# with the disambiguation code:

# %%
by_title = torch.tensor(sorted(range(N), key=data.titles.__getitem__))
sorted_ids = torch.empty_like(ids.ids)
sorted_ids[by_title] = SemanticIDs(codes[by_title], 256).ids
renamed = (sorted_ids != ids.ids).any(1)
print(f"sorted by title: {int(renamed.sum())} movies renamed")

# %% [markdown]
# These new movies had taken part in the training of the tokenizer. Real ones have not. For `06_growth.csv` a tenth of
# the movies was held out, either random ones or the newest, and a tokenizer was trained on the rest; beside it stands
# one that was trained on all.

# %%
growth = pd.read_csv("results/06_growth.csv")
columns = [
    f"{what}{how}"
    for what in ("lost_new", "collide_new")
    for how in ("", "_if_trained_on")
]
by_case = growth.groupby(["tokenizer", "held_out"])[columns].mean()
print(by_case.round(4).T.to_string())

# %% [markdown]
# Movies that the tokenizer has not seen are described less well than if it had seen them, and it matters *which* they
# are. Of random ones R-KMeans loses 59 % of the variance instead of 49 %, the RQ-VAE 66 % instead of 61 %. Of the
# newest both lose more, 68 % and 76 %. A random tenth is like the rest. The newest tenth is not: its texts hold years
# that the others do not, but whether that is the reason was not tested. Collisions follow: of the newest movies 1.1 %
# (RQ-VAE) or 4.6 % (R-KMeans) get codes that are taken, instead of 0.1 % or 2.4 %; with R-KMeans, one of the three
# seeds shows hardly any rise. For random ones the three show no clear rise. So a new movie can have an ID at once,
# without training, but that ID describes it less well, and how much worse the movie is recommended is not in this
# table; a section below has a first count. When the share of such movies grows, train again, and give all movies new
# IDs at once, together with the recommender.
#
# ## What do the codes know?
#
# Codes that like movies share should say something about them. Take two attributes: the *decade* of a movie, and its
# *first-listed genre* (MovieLens lists genres by the alphabet, IMAX last, so this is a crude label: an animated comedy
# counts as Animation). The obvious measure is **purity**: put movies whose IDs begin with the same codes into one
# group, and ask what share of all movies have the commonest decade of their group.

# %%
known = torch.tensor((years.notna() & (items["genres"] != "")).tolist())
some = codes[known]
year = torch.tensor(years[known.numpy()].astype("int64").tolist())
genre = items["genres"][known.numpy()].str.split("|").str[0]
attributes = {
    "decade": year // 10,
    "genre": torch.tensor(pd.factorize(genre)[0]),
}


def purity_by_hand(groups, labels):
    members = defaultdict(Counter)
    for group, label in zip(groups.tolist(), labels.tolist(), strict=True):
        members[group][label] += 1
    commonest = sum(max(counter.values()) for counter in members.values())
    return commonest / len(groups)


shuffle = torch.randperm(len(some), generator=seeded(0))
measured = {}
for name, labels in attributes.items():
    for length in range(4):
        prefix = prefix_groups(some, length)
        pure = purity_by_hand(prefix, labels)
        assert pure == purity(prefix, labels)
        control = purity(prefix, labels[shuffle])
        measured[name, length] = {"purity": pure, "shuffled": control}
print(pd.DataFrame(measured).T.round(3).unstack(0).to_string())

# %% [markdown]
# With all three codes purity is 1: the codes seem to know everything. But look at the control, in which the labels were
# shuffled among the movies, so that the codes *cannot* know anything: it is 1 as well, and with two codes it is above
# 0.9. Most groups have one member by then, and a movie that is alone agrees with itself. **Normalised mutual
# information**, the information that group and label share, divided by the mean of their entropies, suffers from the
# same flattery:

# %%
for name, labels in attributes.items():
    for length in (1, 2, 3):
        prefix = prefix_groups(some, length)
        nmi = normalized_mutual_information(prefix, labels)
        control = normalized_mutual_information(prefix, labels[shuffle])
        print(f"{name:6} {length}: {nmi:.3f}, shuffled {control:.3f}")

# %% [markdown]
# There are two ways out. One is to trust these measures only where their control is small, at the first code. The other
# is to ask *pairs*: of all pairs of movies that share a prefix, which share has the same label? A movie that is alone
# is in no pair. And with shuffled labels the answer is, on average, the same for every grouping: the share of all pairs
# that agree. This is **pair precision** {cite}`manning2008introduction`; its control is the prefix of length 0.
# {numref}`fig-06-purity` sets the two measures side by side.

# %%
for name, labels in attributes.items():
    for length in range(4):
        prefix = prefix_groups(some, length)
        counts = pd.crosstab(prefix.numpy(), labels.numpy()).to_numpy()
        total = sum(math.comb(size, 2) for size in counts.sum(1).tolist())
        alike = int((counts * (counts - 1)).sum()) // 2
        precision = pair_precision(prefix, labels)
        assert math.isclose(precision, alike / total)
        measured[name, length]["pairs"] = precision
        print(f"{name:6} {length}: {alike:>9,} of {total:>10,} pairs", end=" ")
        print(f"agree, {precision:.1%}")

# %% mystnb={"image": {"alt": "Two panels over 0 to 3 codes in the prefix, for decade and genre. Left, purity rises from 0.28 to 0.89 and 0.66 with one code and to 1 with three; for shuffled labels it is 0.32 with one code, 0.93 with two and 1 with three. Right, pair precision of the decade jumps from 0.19 to 0.86 with one code and stays there; that of the genre rises to 0.57, 0.75 and 0.80."}, "figure": {"caption": "Purity (left) rises to 1 even for shuffled labels (dashed). Pair precision (right) shows what the codes add: the first one says of the decade what the codes know of it, the second still adds to the genre.", "name": "fig-06-purity"}} tags=["hide-input"]
results = pd.DataFrame(measured).T
fig, axes = plt.subplots(
    1, 2, figsize=(6, 3.2), sharey=True, layout="constrained"
)
for name, color, marker in [("decade", "C0", "o"), ("genre", "C1", "s")]:
    for ax, key, style, label in [
        (axes[0], "purity", "-", name),
        (axes[0], "shuffled", "--", f"{name}, shuffled"),
        (axes[1], "pairs", "-", name),
    ]:
        values = results.loc[name, key]
        ax.plot(values, marker + style, c=color, ms=4, label=label)
for ax, title in zip(axes, ["purity", "pair precision"], strict=True):
    ax.set(title=title, xlabel="codes in the prefix", ylim=(0, 1.05))
    ax.set_xticks(range(4))
axes[0].legend(fontsize=8)
plt.show()

# %% [markdown]
# The right panel of {numref}`fig-06-purity` says more than the left one. For this tokenizer the first code nearly
# settles the decade: 86 % of the pairs that share it agree, against 19 % of all pairs, and a second code adds nothing.
# (That all pairs agree on the genre just as often, 18.6 %, looks like a mistake and is a coincidence: of 41 million
# pairs, 50 more agree on the decade.)
# The genre is another matter: 57 % agree with one code and 75 % with two. So the first code sorts by time and partly by
# genre, and the second refines the genre. With three codes there are 20 pairs left, too few to say anything. One thing
# to keep in mind: a group of *n* movies has about $n^2/2$ pairs, so pair precision listens to large groups more than
# purity does.
#
# ### The year was in the text
#
# Why do codes know the decade so well? In the text that was encoded, the year stands after the title: `Toy Story
# (1995)`. How narrow is a first code in time? The *spread* here is the standard deviation of the years around the mean
# of their group, pooled over groups, where each group counts one movie less than it has, so that small ones are not
# flattered.


# %%
def spread(groups, values):
    counts = torch.bincount(groups)
    sums = (
        torch.zeros(len(counts)).double().index_add_(0, groups, values.double())
    )
    deviation = values - (sums / counts)[groups]
    return float(
        (deviation.square().sum() / (len(values) - len(counts))).sqrt()
    )


for length in (0, 1, 2):
    years_apart = spread(prefix_groups(some, length), year)
    print(f"{length} codes: the years of a group spread by {years_apart:.1f}")
print(data.texts[0])

# %% [markdown]
# For `06_knowledge.csv` all 9,066 texts were encoded once more *without* the year, and tokenizers were trained on four
# kinds of vectors: the texts, the texts without year, *collaborative* vectors (made from which movies the same people
# chose, see [Item embeddings](02_item_embeddings.ipynb)), and text and collaborative vectors side by side.
# {numref}`fig-06-contents` shows what their first codes know.

# %%
knowledge = pd.read_csv("results/06_knowledge.csv")
first = knowledge[knowledge["length"] == 1]
columns = ["year_spread", "pairs_decade", "pairs_genre"]
by_content = first.groupby(["tokenizer", "content"])[columns].mean()
print(by_content.round(3).to_string())

# %% mystnb={"image": {"alt": "Two panels of dots, one row a kind of vector, for R-KMeans and the RQ-VAE. Left, decade: text at about 0.77 and 0.87, both at 0.77 and 0.89, collaborative at 0.27 and 0.39, text without year at 0.21, just right of a dotted line at 0.19. Right, genre: text and both at about 0.55, text without year at 0.65 and 0.68, collaborative at 0.22 and 0.25."}, "figure": {"caption": "Without the year in the text, pairs that share a first code agree on the decade hardly more often than any two movies (dotted), and more often on the genre. Each dot is one of three seeds.", "name": "fig-06-contents"}} tags=["hide-input"]
fig, axes = plt.subplots(
    1, 2, figsize=(6, 3), sharey=True, layout="constrained"
)
contents = ["collaborative", "both", "text without year", "text"]
place = first["content"].map(contents.index)
for ax, name in zip(axes, ["decade", "genre"], strict=True):
    for who, color, marker in [("RQ-VAE", "C0", "o"), ("R-KMeans", "C1", "s")]:
        here = first["tokenizer"] == who
        values = first[f"pairs_{name}"][here]
        ax.plot(values, place[here], marker, c=color, alpha=0.6, label=who)
    ax.axvline(first[f"pairs_{name}_shuffled"].mean(), ls=":", c="gray")
    ax.set(title=name, xlabel="pairs that agree", xlim=(0, 1))
axes[0].set_yticks(range(4), contents)
axes[1].legend()
plt.show()

# %% [markdown]
# Leave seven characters out of each text, and the decade is gone: of the pairs that share a first code, 21 % are of one
# decade, hardly more than the 19 % of all pairs, and the years of a group spread by 18 instead of 5 to 8. At the same
# time the genre *gains*, from 0.55 to 0.65 with R-KMeans and to 0.68 with the RQ-VAE. A first code has 256 values,
# whatever it is spent on. With the year in the text, much of it goes into time.
#
# Collaborative vectors know little of the genre and a little of the decade: 27 % with R-KMeans and 39 % with the
# RQ-VAE. They contain no text, so this comes from the people alone, who seem to choose movies of like age together.
# Side by side with the text they change little: the text with its year prevails. Every feature counts alike, and the
# text has 384 of them, the collaborative vectors 64; whether that is the reason, this table does not say.
#
# Is it good that codes know the year? That depends on what they are for. People who want movies of 1994 are well
# served, and people who want comedies less well. It is a warning for your own catalogue: codes are spent on what the
# text says loudest, be it a year, a brand or a size, and pair precision with its control shows on what.
#
# ## Do these measures matter?
#
# IDs are made for recommending. Do the numbers of a tokenizer say how well its IDs will do that? Take three sets of
# IDs: those of the shipped tokenizer; the same, *dealt out* to the movies at random; and those of an RQ-VAE that was
# never trained, with codewords that k-means has placed among its latents. Beside the collision rate and the variance
# lost, the table has the *perplexity* of the level where it is lowest: how many of the 256 codewords are in real use
# (see [Training the RQ-VAE](05_training_the_rqvae.ipynb)). The last column needs no decoder: how much of the variance
# is left among movies that share the first code?
#
# {question} never-trained


# %%
def left_in_first(its_codes):
    group = prefix_groups(its_codes, 1)
    x = rqvae.standardize(embeddings)  # (9066, 384), mean 0
    count = torch.bincount(group)
    sums = torch.zeros(len(count), 384).index_add_(0, group, x)
    within = (x - (sums / count[:, None])[group]).square().sum()
    return float(within / (N - len(count)) / x.square().sum() * N)


untrained = new_rqvae(embeddings, RQVAEConfig(384), seed=0)
dealt = codes[torch.randperm(N, generator=seeded(0))]
report = {}
for name, model, its_codes in [
    ("shipped", rqvae, codes),
    ("dealt out", rqvae, dealt),
    ("untrained", untrained, untrained.assign(embeddings)),
]:
    report[name] = {
        "collide": SemanticIDs(its_codes, 256).collision_rate,
        "perplexity": float(code_usage(its_codes, 256).perplexity.min()),
        "variance lost": model.variance_lost(embeddings, its_codes),
        "left in first": left_in_first(its_codes),
    }
report = pd.DataFrame(report).T
assert report["collide"]["untrained"] < report["collide"]["shipped"]
assert report["collide"]["dealt out"] == report["collide"]["shipped"]
assert report["left in first"]["shipped"] < 0.8
assert report["left in first"]["untrained"] > 0.9
print(report.round(4).to_string())

# %% [markdown]
# By its collisions the untrained tokenizer is the best of the three: it collides four times less often than the shipped
# one, and uses nearly as many codewords. The dealt-out codes have the same collisions and the same perplexity as the
# shipped ones, to the last digit. Only the variance sees that dealt-out codes say nothing of the movies, and those of
# an untrained encoder little. (The variance lost can be above 1: the mean of all movies would be a better guess than a
# wrong movie. And the untrained tokenizer's decoder is untrained, too, which is why the last column is there.)
#
# Now the recommendations. For [Honest evaluation](11_honest_evaluation.ipynb) a *decoder-only* recommender, a
# transformer that writes IDs, was trained on each of the three, with the same settings (*borrowed*: those that suit
# another model) and five seeds, by `python book/studies/comparison_study.py`, and asked for each person's last movie.
# `Recall@10` is the share of people for whom it was among ten recommendations. Another model of [chapter
# 10](10_three_architectures.ipynb), the RQ-Transformer, was trained with shipped and with dealt-out codes (*random
# IDs*), once without (*codes only*) and once with a vector for each prefix. The intervals are of the difference, person
# by person.

# %%
people = pd.read_csv("results/11_people.csv")
people = people[people["split"] == "leave-one-out"]
hits = people.pivot_table("recall_10", "person", "model", "sum")
recall = hits.reindex(range(671)).fillna(0) / 5  # a mean over five seeds
leads = {}
for model, others in {
    "decoder-only, borrowed": ["random IDs", "untrained RQ-VAE"],
    "RQ-Transformer, codes only": ["random IDs"],
    "RQ-Transformer": ["random IDs"],
}.items():
    print(f"{model}: {recall[model].mean():.3f}")
    for other in others:
        control = recall[f"{model}, {other}"]
        lead = torch.tensor((recall[model] - control).to_numpy())
        low, high = bootstrap_interval(lead, generator=seeded(0))
        leads[model, other] = float(low)
        print(f"    {other}: {control.mean():.3f}, less by", end=" ")
        print(f"{lead.mean():.3f} [{low:+.3f}, {high:+.3f}]")
assert leads["decoder-only, borrowed", "untrained RQ-VAE"] > 0
assert leads["decoder-only, borrowed", "random IDs"] > 0
assert leads["RQ-Transformer", "random IDs"] > 0
assert leads["RQ-Transformer, codes only", "random IDs"] < 0

# %% [markdown]
# The decoder-only recommender finds less with the IDs of the untrained tokenizer, which collide least, and less with
# dealt-out IDs, whose collisions and perplexity are those of the shipped ones. (For the untrained tokenizer this is one
# interval of many: after the correction of chapter 11 it is open, and on the timestamp split nothing is seen.) So a low
# collision rate and a high perplexity promise nothing: IDs that say next to nothing of the movies have them as well.
# They are alarms, good for noticing a collapse. The variance lost does tell the three apart, in two steps: worthless
# and useful. Whether it can also rank two useful tokenizers cannot be said from three. And the stakes are small here:
# dealing out the codes loses all that they say, and costs 0.01 to 0.03 of Recall, with one of three intervals reaching
# below 0. So we look at more tokenizers.
#
# ### More tokenizers, one small recommender
#
# Three sets of IDs are few. A script,
#
#     OMP_NUM_THREADS=1 python book/studies/measures_study.py
#
# made tokenizers of very different quality, with three seeds each, and trained the same small recommender on the IDs of
# each: an RQ-Transformer that knows nothing of a movie but its codes, for 1,000 steps. It was asked for each person's
# last ten movies. (`3 × 64` are levels and codewords; *collaborative* IDs come from who chose what, those of *both* from
# text and choices, all others from texts.)

# %% tags=["hide-input"]
trials = pd.read_csv("results/06_measures.csv")
with_hit = pd.read_csv("results/06_measures_people.csv")
found_by = with_hit.pivot_table("recall_10", "person", "tokenizer", "sum")
last_ten = split_by_name(data, "last-ten")
asked = last_ten.everything.user_of(last_ten.test).unique().tolist()
found_by = found_by.reindex(asked).fillna(0) / 3  # a mean over seeds
measures = ["variance_lost", "collision_rate", "perplexity"]
by_name = trials.groupby("tokenizer", sort=False)
assert (by_name["seed"].nunique() == 3).all()
summary = by_name[measures].mean()
summary["Recall@10"] = found_by.mean()
assert (summary["Recall@10"] - by_name["recall_10"].mean()).abs().max() < 1e-3
later = ("balanced", "nearest-free", "newest unseen")  # the next cell's
eleven = summary[~summary.index.str.endswith(later)]
eleven = eleven.sort_values("Recall@10")
eleven.insert(0, "no.", range(1, 12))
print(eleven.round(3).to_string())

# %% mystnb={"image": {"alt": "Three panels with eleven numbered points each: Recall at 10 with a 95 percent interval, against the variance lost, the collision rate on a logarithmic axis, and the perplexity. Number 11, collaborative, lies far above the others in all three, with the lowest variance lost, the second-highest collision rate and a middling perplexity. Numbers 1 and 2, residual k-means with 16 and 64 codewords, lie lowest. The others lie between 0.037 and 0.057; among them dealt-out codes, which lose most variance, stand above residual k-means with 256 codewords."}, "figure": {"caption": "No measure puts the tokenizers in the order of their recommendations: the best one collides more than nine others, and dealt-out codes are about level with residual k-means of as many codewords. Squares: codes that know little or nothing; diamonds: those that know who chose what. Bars are 95 % intervals over people of the seeds' mean.", "name": "fig-06-measures"}} tags=["hide-input"]
know_nothing = ["dealt out", "RQ-VAE, untrained"]
from_people = ["R-KMeans, collaborative", "R-KMeans, both"]
fig, axes = plt.subplots(
    1, 3, figsize=(7.2, 3.4), sharey=True, layout="constrained"
)
for name, row in eleven.iterrows():
    kind = (name in know_nothing) + 2 * (name in from_people)
    color, marker = [("C0", "o"), ("C7", "s"), ("C1", "D")][kind]
    hits_of_people = torch.tensor(found_by[name].to_numpy())
    ends = bootstrap_interval(hits_of_people, generator=seeded(0))
    for ax, measure in zip(axes, measures, strict=True):
        at = row[measure], row["Recall@10"]
        ax.plot([at[0]] * 2, ends, c=color, lw=1)
        ax.plot(*at, marker, c=color, ms=4)
        ax.annotate(
            f"{row['no.']:.0f}",
            at,
            xytext=(3, 2),
            textcoords="offset points",
            fontsize=7,
        )
for ax, measure in zip(axes, measures, strict=True):
    ax.set_xlabel(measure.replace("_", " "))
axes[1].set_xscale("log")
axes[0].set_ylabel("Recall@10")
plt.show()


# %% tags=["nbval-check-output"]
def rank_correlation(rows, measure, draws=1000):
    """Spearman's, and where 95 % lie if tokenizers and people are redrawn."""
    of_rows = found_by[rows.index].to_numpy()  # (people, tokenizers)
    values = rows[measure].to_numpy()
    generator, redrawn = np.random.default_rng(0), []
    while len(redrawn) < draws:
        drawn = generator.integers(len(rows), size=len(rows))
        if len(set(drawn)) < 3:
            continue
        people_drawn = generator.integers(len(asked), size=len(asked))
        means = of_rows[people_drawn].mean(0)
        redrawn.append(spearmanr(values[drawn], means[drawn]).statistic)
    low, high = np.quantile(redrawn, [0.025, 0.975])
    found = spearmanr(values, rows["Recall@10"]).statistic
    return f"{found:+.1f} [{low:+.1f}, {high:+.1f}]"


trained = eleven.drop(know_nothing)
for label, rows in (("all eleven", eleven), ("the nine trained", trained)):
    for measure in measures:
        print(f"{label}, {measure}: {rank_correlation(rows, measure)}")

# %%
ahead = {}
for one, other in [
    ("R-KMeans, collaborative", "RQ-VAE, 500,000 steps"),
    ("RQ-VAE, 500,000 steps", "R-KMeans, 3 × 256"),
    ("RQ-VAE, 500,000 steps", "dealt out"),
    ("dealt out", "R-KMeans, 3 × 256"),
    ("dealt out", "RQ-VAE, untrained"),
    ("R-KMeans, 3 × 64, balanced", "R-KMeans, 3 × 64"),
    ("R-KMeans, 3 × 64, nearest-free", "R-KMeans, 3 × 64"),
    ("R-KMeans, newest unseen", "R-KMeans, 3 × 256"),
]:
    lead = torch.tensor((found_by[one] - found_by[other]).to_numpy())
    low, high = ahead[one, other] = bootstrap_interval(
        lead, generator=seeded(0)
    )
    print(f"{lead.mean():+.3f} [{low:+.3f}, {high:+.3f}]  {one} − {other}")
newest = by_name[["new_targets", "new_found"]].sum()
print(newest.loc[["R-KMeans, 3 × 256", "R-KMeans, newest unseen"]])
assert ahead["R-KMeans, collaborative", "RQ-VAE, 500,000 steps"][0] > 0.01
assert ahead["dealt out", "RQ-VAE, untrained"][0] > 0
assert ahead["R-KMeans, 3 × 64, nearest-free", "R-KMeans, 3 × 64"][1] < 0

# %% [markdown]
# In {numref}`fig-06-measures`, collaborative IDs are ahead of all others by far, though a quarter of the movies
# collide. (Their low variance lost does not explain it: it is of other vectors, which are easier to code.) Codes dealt
# out by chance, which say nothing, are about level with residual k-means of the same size, and the shipped codes are
# just not shown to be ahead of them. And the rank correlations have the sign that one hopes for, with intervals so wide
# that eleven tokenizers settle next to nothing; only that of the perplexity among the trained ones excludes zero, one
# of six that were looked at. So none of the three measures can replace a trial. What they are good for is to notice
# what has gone wrong: numbers 1 and 2 have too few codewords, and collide most of those from texts.
#
# The last lines answer two questions that stood open. Where 8 % collide, as with 64 codewords, the remedy does matter:
# to move colliding movies to the nearest free codes costs half a hundredth of Recall, presumably because each of them
# gets a worse description, while a balanced last level and the disambiguation code come out alike. And movies that the
# tokenizer had not seen are found less often: of 810 targets among the newest tenth, over three seeds, 6 instead of 22.
# These are few, and the Recall over all movies does not show it.
#
# All this holds for a small recommender that knows codes alone. [Chapter 11](11_honest_evaluation.ipynb) has a larger
# one with a vector for each prefix, and there text and choices together were not better than text.
#
# ## So, is it a mistake?
#
# Seldom. Of the twenty groups in the shipped tokenizer, two could not be told apart by anyone who reads only their
# texts, ten are parts of one series, and eight are of the same year with a genre in common. The tokenizer did what it
# was made for, and gave like movies like codes; now and then they are equal. As a *description*, an ID that two such
# movies share is right. As a *name* it is not, so every catalogue needs a remedy. Which one is a choice between a
# longer ID and a slightly worse description.
#
# ## Exercises
#
# ### Exercise 1 · Predict what collides (difficulty ★★☆, 15 minutes)
#
# `codes` holds the three codes of each movie, (9066, 3), from the shipped tokenizer; 0.23 % of the movies collide. Below
# are six changes, each made alone:
#
# | change | the line |
# | --- | --- |
# | a | `codes[:, 0] = (codes[:, 0] + codes[:, 1]) % 256` |
# | b | `codes[:, 1] = codes[:, 0]` |
# | c | `codes = codes * 3 % 256` |
# | d | `codes[:, 2] = codes[torch.randperm(len(codes), generator=generator), 2]` |
# | e | `codes = codes * 2 % 256` |
# | f | `codes[:, 0] = codes[:, 0] // 16` |
#
# After which of them do *more than twice as many* movies collide?
#
# Decide first, then write a function that takes the letter of a change, such as `"a"`, and returns `True` or `False`.
# The check runs these very lines, and says what came of the first change about which you were wrong.


# %%
def more_collide(change):
    raise NotImplementedError("your turn")


_ = checks.more_collide(more_collide)


# %% tags=["hide-cell"]
def more_collide_solution(change):
    # a and c number the codes anew, and d makes the third code a matter of
    # chance. e adds pairs by chance, but most of those found were no chance.
    return change in ("b", "f")


assert checks.more_collide(more_collide_solution)

# %% [markdown]
# ### Exercise 2 · A movie leaves, another comes (difficulty ★★☆, 10 minutes)
#
# Counting earlier movies is right as long as none ever leaves. You get the IDs of the movies that are in the catalogue
# now, (N, L + 1) with the disambiguation code last, from which some movies may have been removed, and the codes (L,) of
# a new one. Return its disambiguation code, an `int`: one more than the largest in use among the movies with the same
# codes, or 0 if there are none.


# %%
def next_disambiguation(ids, codes):
    raise NotImplementedError("your turn")


_ = checks.next_disambiguation(next_disambiguation)


# %% tags=["hide-cell"]
def next_disambiguation_solution(ids, codes):
    same = (ids[:, :-1] == codes).all(1)
    return int(ids[same, -1].max()) + 1 if same.any() else 0


assert checks.next_disambiguation(next_disambiguation_solution)
for movie in [*range(5), *shared[0]]:
    found = next_disambiguation_solution(ids.ids[:movie], codes[movie])
    assert movie == 0 or found == ids.ids[movie, -1]

# %% [markdown]
# ### Exercise 3 · Genres that a pair shares (difficulty ★★★, 20 minutes)
#
# The first-listed genre was a crude label. Use all genres: you get the number of each movie's group, (N,) int64, and a
# matrix (N, M) of zeros and ones, float64, which of M genres a movie has. For two movies of the same group, count the
# genres that both have. Return the mean of this count over all such pairs, a plain number, without a loop over pairs
# and without a table of N × N. (Think of what the square of a sum holds. There is at least one pair.)


# %%
def shared_genres(groups, genres):
    raise NotImplementedError("your turn")


_ = checks.shared_genres(shared_genres)


# %% tags=["hide-cell"]
def shared_genres_solution(groups, genres):
    _, number = torch.unique(groups, return_inverse=True)
    sums = genres.new_zeros(int(number.max()) + 1, genres.shape[1])
    sums.index_add_(0, number, genres)  # how many of a group have each genre
    sizes = torch.bincount(number)
    # Of n movies with a genre, n(n - 1)/2 pairs share it.
    return float((sums * (sums - 1)).sum() / (sizes * (sizes - 1)).sum())


assert checks.shared_genres(shared_genres_solution)
has = torch.tensor(items["genres"].str.get_dummies().to_numpy()).double()
for length in range(4):
    mean_shared = shared_genres_solution(prefix_groups(codes, length), has)
    print(f"{length} codes: two movies share {mean_shared:.2f} genres")

# %% [markdown]
# ### Exercise 4 · How many at a hundred thousand? (open task, 40 minutes)
#
# A shop has 100,000 items and wants three codes of 256 each. How many of its items would collide? You have 9,066
# movies and the shipped tokenizer. Smaller catalogues can be made of them: draw a part of the movies, keep their codes,
# and count pairs. Write your answer in about five sentences, with one table. No check can grade this. Judge it yourself:
#
# | | not yet | a good answer |
# | --- | --- | --- |
# | law | the rate stays as it is | how the number of pairs grows, seen on parts of the catalogue |
# | chance | what chance alone would cause | chance, and the factor by which likeness exceeds it |
# | draws | one part of each size | many, and their mean |
# | parts | drawn at random only | also a part that is no random one, such as the oldest half |
# | verdict | one number | a number, and what would make it wrong |
#
# <details>
# <summary>One way to do it</summary>
#
# Pairs are what grows: a half of the catalogue, drawn at random, has a quarter of the pairs, and an eighth has one in 64
# (the folded cell below prints the means of 200 draws). So I count pairs, and multiply by the square of the size. For
# 100,000 items chance alone would cause 404 colliding pairs; with the factor of 6.6 by which the movies exceed
# chance, it is about 2,700, so that some 2.7 % of the items would collide, twelve times the rate of today. The halves by
# year warn me: the newer half has 14 pairs and the older one 6, where a random half has 5.2 on average. So it matters
# which items are added. My number holds for more of the same kind, and for a tokenizer that was trained on the 9,066. One
# that is trained on all of them may do better, and a shop with many variants of one product will do worse. I would
# plan for a fourth learned code, or a disambiguation code with room for more than a handful.
#
# </details>


# %% tags=["hide-cell"]
def colliding_pairs(its_codes):
    sizes = its_codes.unique(dim=0, return_counts=True)[1]
    return int((sizes * (sizes - 1) // 2).sum())


generator = seeded(0)
for part in (8, 4, 2, 1):
    drawn = [
        colliding_pairs(
            codes[torch.randperm(N, generator=generator)[: N // part]]
        )
        for _ in range(200)
    ]
    print(f"{N // part:,} movies at random: {sum(drawn) / 200:.2f} pairs")
by_year = torch.tensor(years.fillna(0).to_numpy().astype(int)).argsort(
    stable=True
)
print("the older half:", colliding_pairs(codes[by_year[: N // 2]]), end=", ")
print("the newer half:", colliding_pairs(codes[by_year[N // 2 :]]))
chance_pairs = math.comb(100_000, 2) * math.prod(agree)
factor = colliding_pairs(codes) / (math.comb(N, 2) * math.prod(agree))
print(f"100,000 items, by chance: {chance_pairs:.0f} pairs")
print(f"{factor:.1f} times as many: {factor * chance_pairs:,.0f}")

# %% [markdown]
# ## Self-check
#
# Two questions stand where they belong, each before the cell that answers it; here are the other two. On the web page,
# choose an answer, and the page checks and keeps it. In JupyterLab, choose one in your head, and click the line below
# the options.
#
# {questions}
#
# ## What to take away
#
# Collisions are no accidents. On this catalogue there are several times more of them than chance would cause, and those
# who collide are near neighbours: parts of a series, movies of one year and a like genre, or movies with the same text.
# The number of collisions that chance causes has a closed form, the birthday problem with uneven shares. More levels or
# larger codebooks make collisions rarer, down to the items that have the same vector. The disambiguation code and the
# nearest free codes leave old IDs alone when movies are appended; the fair share of the last codebook does not.
#
# Neither a low collision rate nor a high perplexity promises good recommendations: an RQ-VAE that was never trained has
# both, and so have IDs dealt out at random, which recommend worse. The variance lost sees that much, and does not rank
# good tokenizers either: of eleven, the best made its codes from who chose what, and a quarter of its movies collide.
# What decides between two tokenizers is the recommendation itself, on validation targets. Which remedy you take cannot
# be seen in Recall where hardly any target collides; where 8 % do, moving movies to the nearest free codes cost some.
#
# What codes know must be held against shuffled labels. Purity and mutual information flatter long prefixes, and pairs
# do not. Here the codes know the decade best of all, because the text holds the year; without it, they know more of the
# genre.
#
# ## What's next
#
# Groups, pairs and shares are numbers. [The next chapter](07_umap.ipynb) draws the codes: maps of the movies, level by
# level, and what such maps do not mean. To make IDs of your own, see the commands in [Training a
# tokenizer](../book/tokenizers.md).
#
# ## References
#
# - Rajput et al. (2023), *Recommender Systems with Generative Retrieval* {cite}`rajput2023tiger`: the disambiguation
#   code.
# - Zheng et al. (2024), *Adapting Large Language Models by Integrating Collaborative Semantics for Recommendation*
#   {cite}`zheng2024lcrec`: LC-Rec, the fair share of the last codebook.
# - Cuturi (2013), *Sinkhorn Distances: Lightspeed Computation of Optimal Transport* {cite}`cuturi2013sinkhorn`.
# - Feller (1968), *An Introduction to Probability Theory and Its Applications* {cite}`feller1968introduction`: the
#   birthday problem, in volume I, chapter II.
# - Manning, Raghavan and Schütze (2008), *Introduction to Information Retrieval* {cite}`manning2008introduction`:
#   purity, mutual information and pairs, in chapter 16.
