# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Constrained generation: only movies that exist
#
# A generative recommender {cite}`rajput2023tiger` writes the next movie's name, code by code, as a language model
# writes the next word. Most combinations of codes name no movie. What does the model write when nobody stops it, and
# how does one get names that exist, no others, and the most probable of them? This chapter lets a trained model write
# freely and counts. Then it builds the rule that stops it, a tree of all names, and the search that finds the best
# names in the tree.
#
# In case you start here: a *semantic ID* names a movie by four small numbers, its *codes*, one for each *level*. Three
# were learned from the movie's title, year and genres, so that similar movies begin alike; the fourth, the
# *disambiguation code*, tells apart the few that share them. A *history* is what a person has rated, in the order of
# time. It is written as a sentence of codes, and a causal transformer has learned to continue such sentences.
# [Chapter 08](08_training_a_decoder.ipynb) trains it; here it is given.
#
# :::{admonition} What you will learn
# - how much of what a trained model writes freely names no movie, and why its likeliest answers hide the problem
# - how a tree of all names, a *trie*, says which codes may come next, and how it becomes a few flat arrays
# - whether it matters that the mask comes before the softmax or after it
# - how beam search finds the likeliest movies in the tree, and how to prove that it missed none
# - what a cache of keys and values saves, and why the cost does not grow with the catalogue
# - how to leave movies out without losing places in the list, and what variety costs
# :::
#
# | You need | Why | Where |
# | --- | --- | --- |
# | semantic IDs | they are what is written | [Quickstart](00_quickstart.ipynb) |
# | an ID's probability: a product over its codes, a sum of logarithms | it is a movie's score | [Chapter 08](08_training_a_decoder.ipynb) |
# | causal attention | the cache is made of its keys and values | [Chapter 08](08_training_a_decoder.ipynb) |
#
# **Time:** about 45 minutes to read.

# %% tags=["hide-input"]
import heapq
import math
from dataclasses import replace

import matplotlib.pyplot as plt
import pandas as pd
import torch
from torch.nn import functional as F

from rqvae_lib import (
    SemanticIDs,
    Trie,
    leave_one_out,
    load_dataset,
    load_recommender,
    recommend,
    score_items,
)
from rqvae_lib.evaluation.metrics import (
    bootstrap_interval,
    ranks_in_lists,
    recall_at,
)
from rqvae_lib.models.decoder_only import DecoderOnly
from rqvae_lib.teaching.exercises import chapter_09 as checks
from rqvae_lib.teaching.search_steps import replay, search_data, still_search
from rqvae_lib.teaching.widgets import widget

torch.set_grad_enabled(False)  # nothing is trained on this page


def seeded(seed):
    return torch.Generator().manual_seed(seed)


# %% [markdown]
# ## Writing without a rule
#
# The model comes with the library, the people from a small edition of MovieLens {cite}`harper2015movielens`. Each
# person's history ends before the movie that is held out for validation, which the model did not learn from.

# %% tags=["nbval-check-output"]
data = load_dataset("movielens-small-2016")
model, _ = load_recommender("movielens-small-2016")
ids = model.ids
split = leave_one_out(data)
histories, hidden = split.histories_and_targets(split.validation)

tuples = math.prod(ids.sizes)
print(f"{len(histories)} people, codes of each level: {ids.sizes}")
print(f"{tuples:,} tuples, of which {len(ids):,} name a movie:")
print(f"one in {tuples / len(ids):,.0f}")

# %% [markdown]
# Somebody who wrote codes blindly would name a movie once in about 5,552 tuples. The model has learned better. The next
# function lets it write: at each of the four levels it takes the probabilities of the next code and asks `choose` which
# one to write. It uses the model's three methods: `encode_history` reads the histories and returns a state,
# `next_code_logits` scores the next code of every beginning written so far, and `extend` appends one code to a
# beginning. We write several tuples a person at once, the *copies*, and `parents` says which beginning each copy goes
# on from: at first all from number 0, the empty one, and later each from its own.


# %%
def write(people, copies, choose):
    state = model.encode_history(people)
    parents = torch.zeros(len(people), copies, dtype=torch.int64)
    written = []
    for _ in range(4):
        chances = model.next_code_logits(state).softmax(2)  # (B, P, size)
        codes = choose(chances.expand(-1, copies, -1))  # (B, copies)
        written.append(codes)
        state = model.extend(state, parents, codes)
        parents = torch.arange(copies).expand_as(codes)
    return torch.stack(written, 2).flatten(0, 1)  # (B · copies, 4)


# %% [markdown]
# Now 128 people get eight tuples each. They are *sampled*: each code is drawn with its probability. `with_prefix` finds
# the movies whose IDs begin with given codes, if there are any.

# %%
generator = seeded(0)


def sample(chances):
    flat = chances.flatten(0, 1)  # (B · copies, size)
    drawn = flat.multinomial(1, generator=generator)
    return drawn.view(chances.shape[:2])


people = histories[:128]
sampled = write(people, 8, sample)
print(f"{len(sampled):,} sampled tuples; still the beginning of a movie")
for depth in range(1, 5):
    beginnings = sampled[:, :depth].tolist()
    exist = [len(ids.with_prefix(codes)) > 0 for codes in beginnings]
    share = sum(exist) / len(exist)
    print(f"after {depth} codes: {share:.0%}")
assert 0.4 < share < 0.5

# %% [markdown]
# More than half of the sampled tuples name no movie; we call them *invalid*. Every first code exists, a sixth of the
# tuples leave the catalogue at the second code, and nearly all others that leave it do so at the third. There the
# catalogue leaves hardly a choice: most pairs of codes go on to a single movie, as we shall see.
#
# Sampling shows only roughly how the model spreads its probability. `score_items` computes it: for each of the 9,066
# movies the probability of its whole ID, the product of the probabilities of its four codes. All these together are the
# share that the model gives to movies, and what is missing to 1 went to invalid tuples. For four people:

# %%
exact = score_items(model, histories[:4])  # (4, 9066), natural logs
on_movies = exact.exp().sum(1)
print("on movies:", [f"{share:.0%}" for share in on_movies.tolist()])
assert (on_movies < 0.75).all()

# %% [markdown]
# So for these four people the model spends 41 % to 65 % of its probability on movies that do not exist. Does it matter?
# One may object that a recommender should not draw lots, but take what is likeliest. So let us take the likeliest code
# at every level, which is called *greedy* and need not give the likeliest tuple:

# %%
greedy = write(people, 1, lambda chances: chances.argmax(2))
movies = [ids.item_of(row) for row in greedy.tolist()]
exist = [movie is not None for movie in movies]
seen = [
    movie is not None and bool((history == movie).any())
    for movie, history in zip(movies, people, strict=True)
]
print(f"{sum(exist) / 128:.0%} of the greedy tuples name a movie,")
print(f"{sum(seen) / 128:.0%} one that the person has already rated")

# %% [markdown]
# Greedy tuples nearly always exist. Together, the invalid tuples hold about half of the probability, but there are very
# many of them, and a single one is hardly ever the likeliest. That is why the problem is easy to overlook. It returns
# further down a list, as we shall count. TIGER, the recommender that this book rebuilds, had about 0.1 % to 1.6 % of
# invalid IDs among its ten likeliest on three datasets of products; its authors suggest to search for more and to
# strike them out {cite}`rajput2023tiger` (§4.5).
#
# ## A tree of all names
#
# The remedy is older than semantic IDs: never offer a code that leads nowhere {cite}`decao2021autoregressive`. For that
# one must know, for any beginning of an ID, which codes continue it. This is what a **trie** holds, a tree with a
# *node* for each distinct beginning, or *prefix*. Each code that continues a prefix leads from its node to a *child*,
# and the complete IDs are the *leaves*. In Python it is a dict of dicts:


# %%
def tree_of(movies):
    tree = {}
    for row in ids.ids[movies].tolist():
        node = tree
        for code in row:
            node = node.setdefault(code, {})  # go down, or grow a branch
    return tree


def nodes_by_depth(tree):
    counts, level = [], [tree]
    while level:
        counts.append(len(level))
        level = [child for node in level for child in node.values()]
    return counts


tree = tree_of(torch.arange(len(ids)))
trie = Trie(ids)
assert nodes_by_depth(tree) == [len(level.code) for level in trie.levels]

# %% tags=["nbval-check-output"]
counts = nodes_by_depth(tree)
print("nodes by depth:", counts)
for depth in range(4):
    mean = counts[depth + 1] / counts[depth]
    print(f"codes that go on after {depth}: {mean:.2f} on average")
pairs, movies = ids.ids[:, :2].unique(dim=0, return_counts=True)
print(f"{(movies == 1).double().mean():.0%} of the pairs lead to one movie")

# %% [markdown]
# To go down the tree is to write an ID, and to stop anywhere is to hold all movies that begin so. The counts of nodes
# equal those of the library's `Trie`. (A model carries the trie of its own IDs along, `model.trie`.) They also show where
# the names part: all 256 first codes are in use, each goes on
# with 32 of 256 second codes on average, and after two codes there is a choice for few movies only.
# {numref}`fig-09-trie` shows the pair with the most movies.

# %% tags=["nbval-check-output"]
assert pairs[movies.argmax()].tolist() == [128, 76]
for movie in ids.with_prefix([128, 76]).tolist():
    print(ids.id_of(movie), data.titles[movie])

# %% mystnb={"image": {"alt": "A tree that grows from left to right. The node 128-76 has six branches, one for each third code. Five end at one film each of the Friday the 13th series; the branch 20 forks once more, by the fourth code, to parts VI and VIII."}, "figure": {"caption": "Below the prefix 128-76 stand seven films of one series. Two of them share the third code as well, and only the fourth tells them apart.", "name": "fig-09-trie"}} tags=["hide-input"]
family = trie.items[torch.isin(trie.items, ids.with_prefix([128, 76]))]
rows = ids.ids[family].tolist()
fig, ax = plt.subplots(figsize=(7.5, 3.2))
middle = (len(rows) - 1) / 2
white = {"facecolor": "white", "edgecolor": "none", "pad": 1}
for place, (movie, row) in enumerate(zip(family, rows, strict=True)):
    same = [p for p, other in enumerate(rows) if other[2] == row[2]]
    fork = sum(same) / len(same)
    ax.plot([0, 1, 2], [middle, fork, place], "o-", c="C0", ms=5)
    if place == same[0]:
        third = middle + 0.75 * (fork - middle)
        ax.text(0.75, third, row[2], ha="center", va="center", bbox=white)
    fourth = (fork + place) / 2
    ax.text(1.5, fourth, row[3], ha="center", va="center", bbox=white)
    title = data.titles[movie].replace("Friday the 13th", "…")
    ax.text(2.08, place, title, va="center")
ax.text(-0.08, middle, "128-76", ha="right", va="center")
ax.set(xlim=(-0.5, 4.6), ylim=(len(rows) - 0.5, -0.8))
ax.axis("off")
plt.show()

# %% [markdown]
# ### The same tree, flat
#
# Dicts are searched node by node, for one person at a time; a few arrays can be searched for many people at once. Sort
# the IDs, and number each level's nodes in that order. Then the children of a node are neighbours in the next level,
# and all movies below it are neighbours in the sorted list. A node needs three numbers: its last code, where its
# children start, and where its movies start. They end where those of the next node start. This is the layout of
# *compressed sparse rows*, or CSR. Three calls of `unique` a level build it.


# %%
def flat_level(depth):
    """Where the children and the movies of each node of a depth start."""
    below = ids.ids[:, : depth + 1].unique(dim=0)  # sorted: the next level
    prefixes, children = below[:, :depth].unique(dim=0, return_counts=True)
    _, movies = ids.ids[:, :depth].unique(dim=0, return_counts=True)
    first_child = F.pad(children.cumsum(0), (1, 0))
    first_leaf = F.pad(movies.cumsum(0), (1, 0))
    return prefixes[:, -1], first_child, first_leaf


for depth in (1, 2, 3):
    code, first_child, first_leaf = flat_level(depth)
    level = trie.levels[depth]
    assert torch.equal(code, level.code.long())
    assert torch.equal(first_child, level.first_child.long())
    assert torch.equal(first_leaf, level.first_leaf.long())

# %% [markdown]
# The children of a node are all that a *mask* needs, which says of each code whether it is allowed. Here is the mask
# after a first code, by hand from the dicts and by the library. The library takes the numbers of any nodes of a depth
# and returns their children, one row a node. All rows are as long as the node with the most children needs, and `valid`
# says which entries are real.

# %% tags=["nbval-check-output"]
by_hand = torch.zeros(256, dtype=torch.bool)
by_hand[list(tree[128])] = True

children = trie.children_of(1, torch.tensor([128]))  # node 128 is code 128 here
mask = torch.zeros(256, dtype=torch.bool)
mask[children.codes[children.valid]] = True
assert torch.equal(mask, by_hand)
print(f"{int(mask.sum())} of 256 second codes may follow the first code 128")

# %% [markdown]
# ## The best ten, by beam search
#
# Now the search. We want the ten movies with the highest probability, and to compute all 9,066 for each person means to
# read every prefix in the tree. **Beam search** {cite}`sutskever2014sequence` keeps a fixed number of prefixes, the
# *beams*. It extends each by every code that its children allow, keeps the most probable of the longer prefixes,
# whichever beam they come from, and repeats this until the IDs are complete.
#
# To ask the model for the next code in the plainest way, put the history and the codes written so far into one sentence
# of *tokens*: vectors that stand for one code each, behind one that stands for the start.


# %%
def sentences(history, prefixes):
    """Prefixes (P, d) of one person → (P, T, D), with T tokens each."""
    recent = history[-49:]  # the model's window: 49 items and the next
    tokens = model.embed_items(recent[None]).expand(len(prefixes), -1, -1)
    place = torch.tensor([len(recent)])
    for level, codes in enumerate(prefixes.T):
        token = model.embed_code(codes[:, None], level, place)  # (P, 1, D)
        tokens = torch.cat([tokens, token], 1)
    return tokens


# %% [markdown]
# The next function reads all of these sentences, and a list notes how many tokens that were. As in chapter 08, the dot
# products of the last output with the vectors of the next level's codes, plus a bias, are the logits. The function
# returns natural logarithms of probabilities. (The temperature is for later; 1 changes nothing.)

# %%
tokens_read = []


def next_log_probabilities(history, prefixes, temperature=1.0):
    """Prefixes (P, d) of one person → (P, codes of the next level)."""
    tokens = sentences(history, prefixes)
    tokens_read.append(tokens.shape[0] * tokens.shape[1])
    last = model.transformer(tokens)[:, -1]  # (P, D)
    level = prefixes.shape[1]
    start = model.first_codes[level]
    rows = slice(start, start + ids.sizes[level])
    logits = last @ model.code_embedding.weight[rows].T + model.bias[rows]
    return (logits / temperature).log_softmax(1)


# %% [markdown]
# With it the search is short. A prefix's score is the sum of the logarithms so far, and `codes_after` says which codes
# may follow a prefix. (In training each code came after the *true* codes before it; here it comes after codes that the
# model chose itself. That a model has not learned to go on from its own choices is called *exposure bias*
# {cite}`ranzato2016sequence`. In a text of a thousand words it can lead far astray; a movie has four codes.)


# %%
def beam_search(history, beams, codes_after, temperature=1.0):
    kept = [((), 0.0)]  # prefixes and their log-probabilities
    for _ in range(4):
        written = [prefix for prefix, _ in kept]
        prefixes = torch.tensor(written, dtype=torch.int64)  # (P, level)
        log_p = next_log_probabilities(history, prefixes, temperature)
        longer = [
            ((*prefix, code), score + row[code])
            for (prefix, score), row in zip(kept, log_p.tolist(), strict=True)
            for code in codes_after(prefix)
        ]
        kept = sorted(longer, key=lambda beam: -beam[1])[:beams]
    return kept


# %% [markdown]
# Movies that a person has already rated should not be recommended. So the tree is made of the others: *a filter is a
# smaller tree*. `movies_but` lists all movies except some, and `walk` makes the function `codes_after` of a tree.


# %%
def walk(tree):
    def codes_after(prefix):
        node = tree
        for code in prefix:
            node = node[code]
        return node.keys()

    return codes_after


def movies_but(left_out):
    keep = torch.ones(len(ids), dtype=torch.bool)
    keep[left_out] = False
    return keep.nonzero()[:, 0]


# %% [markdown]
# A person with 21 rated movies serves as the example. The library's `recommend` walks the model's own trie, and leaves
# the history out by itself.

# %%
history = histories[26]
for movie in history[-4:].tolist():
    print("rated:", data.titles[movie])
tokens_read.clear()
found = beam_search(history, 50, walk(tree_of(movies_but(history))))
tokens_uncached = sum(tokens_read)

library = recommend(model, [history], k=10, beams=50)
by_hand = [ids.item_of(prefix) for prefix, _ in found[:10]]
assert by_hand == library.items[0].tolist()
scores = torch.tensor([score for _, score in found[:10]])
torch.testing.assert_close(
    scores, library.log_probabilities[0], rtol=1e-4, atol=1e-4
)
for movie, score in zip(by_hand, scores.exp().tolist(), strict=True):
    print(f"{score:.2%} {data.titles[movie]}")

# %% [markdown]
# Both find the same ten movies with the same probabilities, up to rounding. No movie gets much: there are many that
# this person may rate next. And what does a *free* search find, which may write any code? Here are the ten likeliest
# tuples that it finds for each of sixteen people, with fifty beams, and all fifty:


# %%
def every_code(prefix):
    return range(ids.sizes[len(prefix)])


written = []
for person in histories[:16]:
    beams = beam_search(person, 50, every_code)
    row = [ids.item_of(prefix) for prefix, _ in beams]
    known = person.tolist()
    written.append([(movie is None, movie in known) for movie in row])
written = torch.tensor(written).double()  # (16, 50, 2)
for first in (10, 50):
    missing, rated = written[:, :first].mean((0, 1)).tolist()
    print(f"{first} tuples: {missing:.1%} no movie, {rated:.0%} rated before")
assert missing < 0.1 < rated

# %% [markdown]
# Among the ten likeliest tuples none is invalid, among all fifty 4.5 %. Many more are useless: 44 % and 30 % name a
# movie that the person has already rated. The smaller tree repairs both at once.
#
# ### Before or after the softmax?
#
# There are two ways to use a mask. Ours takes the softmax over all 256 codes and then drops what is not allowed. Or one
# drops first and takes the softmax over what is left, so that the allowed codes share a probability of 1 at every
# level. Both write IDs that exist, but they are different models. What the first loses to codes that lead nowhere after
# a prefix, the second gives to the movies below *that* prefix. With `valid_only=True` the library's model does the
# second:

# %%
renormalising = DecoderOnly(replace(model.config, valid_only=True), ids).eval()
renormalising.load_state_dict(model.state_dict())

lists = recommend(model, histories, k=50, beams=50)  # all 671 people
plain_lists = lists.items[:, :10]
other_lists = recommend(renormalising, histories, k=10, beams=50).items
both = (plain_lists[:, :, None] == other_lists[:, None]).any(2)  # (671, 10)
changed = (plain_lists != other_lists).any(1)  # (671,)
print(f"{both.double().mean():.0%} of the movies are in both lists of ten")
print(f"{int(changed.sum())} of 671 lists have changed, if only in order")
assert 0.5 < both.double().mean() < 0.95

# %% [markdown]
# Now all probability is on movies, by construction, and about a quarter of what is recommended has changed, although
# no weight has. Which of the two recommends better? There are two questions in this: which softmax to search with, and
# which to train with. For the first we ask both lists about the movies held out for validation. **Recall@10** is the
# share of people whose hidden movie is among the ten, with a 95 % interval by the bootstrap of [chapter
# 08](08_training_a_decoder.ipynb). The difference is taken person by person. For the second, chapter 08's study has
# trained three seeds with either softmax, and searched with the one that each was trained with.


# %%
def with_interval(values):
    low, high = bootstrap_interval(values, generator=seeded(0))
    return float(values.mean()), low, high


def compare(name, plain, renormalised):
    """Print the Recall of both, and the difference: (671,) each."""
    mean, low, high = with_interval(renormalised - plain)
    print(f"{name:<22} {plain.mean():.3f} {renormalised.mean():.3f}", end=" ")
    print(f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]")
    return low < 0 < high


plain_hits = recall_at(ranks_in_lists(plain_lists, hidden), 10)  # (671,)
other_hits = recall_at(ranks_in_lists(other_lists, hidden), 10)

study = pd.read_csv("results/08_hits.csv")
NUM_SEEDS = 3
assert study["seed"].nunique() == NUM_SEEDS
study = study[study["part"] == "validation"]
of_three_seeds = []  # the share of the seeds that found a person's movie
for variant in ("decoder-only", "decoder-only, valid"):
    of = study["person"][study["variant"] == variant].to_numpy()
    of_three_seeds.append(
        torch.bincount(torch.tensor(of), minlength=671) / NUM_SEEDS
    )
print(f"{'':<22} plain renormalised, difference")
open_questions = [
    compare("searched, one model", plain_hits, other_hits),
    compare("trained, three seeds", *of_three_seeds),
]
assert all(open_questions)

# %% [markdown]
# Both questions are open: the two softmaxes recommend other movies, and on these 671 people neither has been shown to
# be better, in the search or in training. From here on the mask comes after the softmax, so that a score stays the
# probability that the model itself gives.
#
# ## What does the search miss?
#
# A beam search is not exact. A prefix that is dropped never comes back, and the best movie may begin with a code that
# looks poor at first. With one beam the search is greedy in the tree. To see what it misses, we need the true ten.
# `score_items` gave them for four people. For more people it has much to read, but a search with many beams can *prove*
# that it missed nothing:
#
# > Let there be $K$ beams. At each level the probabilities of the prefixes sum to at most 1, so fewer than $K$ of them
# > can have a probability above $1/K$. Let the tenth movie of a list have the probability $p$. A movie that beats it is
# > more probable than $p$, and its prefixes are at least as probable as the movie itself. If $p \ge 1/K$, fewer than
# > $K$ prefixes of a level are above $p$. A prefix is dropped only when $K$ others are at least as probable, so none
# > above $p$ was dropped, and no such movie is missed.
#
# The idea that a complete answer bounds what may be dropped also makes exact search possible in translation
# {cite}`stahlberg2019nmt`.

# %%
some = histories[:48]
wide = recommend(model, some, beams=512, batch_size=16)  # k is 10
top = wide.items  # (48, 10)
tenth = wide.log_probabilities[:, 9].exp()  # (48,)
for beams in (50, 200, 512):
    proven = (tenth >= 1 / beams).double().mean()
    print(f"{beams} beams prove the ten best for {proven:.0%} of 48 people")

new = exact.clone()
for person, scores in enumerate(new):
    scores[histories[person]] = -torch.inf  # not what was rated already
assert torch.equal(top[:4], new.topk(10).indices)

# %% [markdown]
# A search with 512 beams is provably exact for 85 % of the 48 people, and for the four whose 9,066 scores we have, it
# is exact. It serves as the reference for all 48. (For the others, too, it may have found all ten, without a proof.)
# How many of these ten do searches with fewer beams find? The next cell counts them, and {numref}`fig-09-beams` draws
# the counts. (A search with fewer than ten beams ends at fewer than ten movies: one beam can find a tenth at most.)

# %%
widths = [1, 2, 5, 10, 20, 50, 100, 200]
recall, best_found = [], []
for beams in widths:
    narrow = recommend(model, some, k=min(10, beams), beams=beams)
    hit = (top[:, :, None] == narrow.items[:, None]).any(2)  # (48, 10)
    recall.append(float(hit.double().mean()))
    best_found.append(float(hit[:, 0].double().mean()))
    print(
        f"{beams:>3} beams: {recall[-1]:4.0%} of the ten best,"
        f" {best_found[-1]:4.0%} of the best ones"
    )
assert recall == sorted(recall)
assert best_found[0] < 0.5
assert recall[-3] > 0.9

# %% mystnb={"image": {"alt": "Two rising curves against the number of beams from 1 to 200 on a logarithmic axis: the share of the true ten best movies that the search finds, from below a tenth at one beam to nearly all at a hundred, and the share of people whose best movie is found, which is higher throughout until both reach one."}, "figure": {"caption": "A greedy search finds the best movie for a minority of the 48 people. With as many beams as movies asked for, a large part of the ten is missed; fifty beams find nearly all of it.", "name": "fig-09-beams"}}
fig, ax = plt.subplots(figsize=(6, 3.2))
ax.plot(widths, best_found, "s--", label="the best movie")
ax.plot(widths, recall, "o-", label="the ten best")
ax.set(xlabel="beams", xscale="log", ylabel="share found", ylim=(0, 1.05))
ax.set_xticks(widths, widths)
ax.minorticks_off()
ax.legend(loc="lower right")
plt.show()

# %% [markdown]
# This is why one asks for more beams than movies. Ten beams end at ten movies that exist and are new, but many of these
# are not among the true ten.
#
# What goes wrong in a greedy search? Here is the example person again, code by code: first what one beam finds, then
# the best movie.

# %%
one = recommend(model, [history], k=1, beams=1)
for movie in (int(one.items[0, 0]), by_hand[0]):
    chances, prefix = [], torch.zeros(1, 0, dtype=torch.int64)
    for code in ids.id_of(movie):
        chances.append(next_log_probabilities(history, prefix)[0, code].exp())
        prefix = torch.cat([prefix, torch.tensor([[code]])], 1)
    steps = " × ".join(f"{chance:.3f}" for chance in chances)
    print(f"{data.titles[movie]}: {steps} = {torch.stack(chances).prod():.4f}")
    firsts = next_log_probabilities(history, prefix[:, :0])[0].exp()
    print(f"    rank of its first code: {int((firsts >= chances[0]).sum())}")

# %% [markdown]
# The greedy search takes the likeliest first code, and what follows it is less likely. The product decides, and it is
# known only at the end. Several beams keep more prefixes, and let the continuations decide; here even ten beams lose
# the best movie at its first code, which comes fourteenth.
#
# ## Reading each token once
#
# `next_log_probabilities` reads the whole history again for every beam and every code. In a causal transformer a token
# looks only at itself and at what stands before it {cite}`vaswani2017attention`. So what an old token computed does not
# change when a new one is appended, and the new one needs only the old ones' *keys* and *values*: attention compares
# its query with the keys and averages the values. Whoever keeps these has a **KV cache**.
#
# The function below sends one token, a vector of D numbers, through the model's two blocks, which [chapter
# 08](08_training_a_decoder.ipynb) builds. In each block the token gives a query, a key and a value for each of H heads,
# with D/H numbers each. What is new is that the key and the value are appended to those of the n older tokens.


# %%
def step(token, cache):
    """The output for one more token, and the cache that holds it as well."""
    x, longer = token, []
    for block, (keys, values) in zip(
        model.transformer.blocks, cache, strict=True
    ):
        qkv = block.qkv(block.attention_norm(x))  # (3 · D,)
        query, key, value = qkv.view(3, block.num_heads, -1)  # (H, D/H) each
        keys = torch.cat([keys, key[:, None]], 1)  # (H, n + 1, D/H)
        values = torch.cat([values, value[:, None]], 1)
        scores = (keys @ query[..., None]) / query.shape[-1] ** 0.5
        weights = scores.softmax(1)  # (H, n + 1, 1)
        x = x + block.out((weights * values).sum(1).flatten())
        x = x + block.mlp(block.mlp_norm(x))
        longer.append((keys, values))
    return model.transformer.norm(x), longer


# %% [markdown]
# The cache starts empty, and the history of the example goes in token by token. The last output must be that of the
# whole sentence read at once, and the cache must hold what the library remembers after `encode_history`:

# %%
tokens = model.embed_items(history[None])[0]  # (T, D)
nothing = torch.empty(4, 0, 16)  # 4 heads, no token yet, 64 / 4 numbers each
cache = [(nothing, nothing)] * len(model.transformer.blocks)
for token in tokens:
    last, cache = step(token, cache)

torch.testing.assert_close(
    last, model.transformer(tokens[None])[0, -1], rtol=1e-4, atol=1e-4
)
state = model.encode_history([history])
for mine, kept in zip(cache, state.memory.history, strict=True):
    for by_hand, by_library in zip(mine, kept, strict=True):  # keys, values
        torch.testing.assert_close(by_hand, by_library[0], rtol=1e-4, atol=1e-4)

# %% [markdown]
# Both hold, up to rounding. A beam search has a second thing to save. All beams of a person continue the *same*
# history, so a cache for each beam would hold that history once per beam. The library keeps the history once and, for
# each beam, only the few tokens that the beam itself has written:

# %% tags=["nbval-check-output"]
parents = torch.zeros(1, 50, dtype=torch.int64)
further = model.extend(state, parents, torch.arange(50)[None])
shared, own = further.memory.history[0].keys, further.memory.own[0].keys
print("keys of the history, shared:", tuple(shared.shape))
print("keys of the beams' own tokens:", tuple(own.shape))
copied = 50 * shared.numel() + own.numel()
print(f"{shared.numel() + own.numel():,} numbers instead of {copied:,}")

# %% [markdown]
# The shapes are (people, heads, tokens, numbers) and (people, beams, heads, tokens, numbers), and the counts are those
# of one block's keys after the first code. Saving must not change the result. So the next cell lets fifty beams write
# the first codes 0 to 49, and compares their scores with the plain function's, which reads every sentence whole:

# %%
plain = next_log_probabilities(history, torch.arange(50)[:, None])
cached = model.next_code_logits(further)[0].log_softmax(1)
torch.testing.assert_close(cached, plain, rtol=1e-4, atol=1e-4)

# %% [markdown]
# How much work is saved? Seconds depend on the machine, tokens do not. A wrapper around the model counts every token
# that it reads, and every code that it scores, while `recommend` searches. (`encode_history` checks the histories, puts
# them side by side and hands them to `read_histories`. `recommend` takes these steps one by one. It asks for the
# log-probabilities of the children of each beam's node, which this model takes from the scores of all codes, and tells
# `extend` at which node each beam stands.)


# %%
class Counting:
    def __init__(self, model):
        self.model = model
        self.tokens = self.scores = 0

    def __getattr__(self, name):  # all else is the model's own
        return getattr(self.model, name)

    def read_histories(self, items, lengths):
        self.tokens += int((1 + 4 * lengths).sum())
        return self.model.read_histories(items, lengths)

    def next_code_logits(self, state):
        logits = self.model.next_code_logits(state)
        self.scores += logits.numel()
        return logits

    def child_log_probabilities(self, state, children, temperature):
        logits = self.next_code_logits(state) / temperature  # (B, K, size)
        return logits.log_softmax(2).gather(2, children.codes)

    def extend(self, state, parents, codes, nodes=None):
        self.tokens += codes.numel()
        return self.model.extend(state, parents, codes, nodes)


# %% [markdown]
# Without a cache, `beam_search` reads the history once for the first code, and then for each beam the history and the
# one, two or three codes that it has written. Both counts agree with a formula, and {numref}`fig-09-tokens` draws the
# formulas for other numbers of beams.


# %%
def uncached(length, beams):
    """Tokens that `beam_search` reads for a history of a length."""
    read = [length] + [beams * (length + written) for written in (1, 2, 3)]
    return sum(read)


counting = Counting(model)
recommend(counting, [history], k=10, beams=50)
assert tokens_uncached == uncached(len(tokens), 50)
assert counting.tokens == len(tokens) + 3 * 50

# %% tags=["nbval-check-output"]
print(f"{len(history)} movies are {len(tokens)} tokens")
print(f"without a cache: {tokens_uncached:,} tokens read for ten movies")
print(f"with the cache: {counting.tokens:,}")

# %% mystnb={"image": {"alt": "Bars of the number of tokens read, on a logarithmic axis, for 1, 10, 50 and 200 beams. Without a cache the bars rise with the beams from a few hundred to many thousands; with the cache they start lower and rise far more slowly."}, "figure": {"caption": "Without a cache every beam reads the history again for every code, so the work grows with beams times history. With it the history is read once, and each beam adds three tokens. The history is the example person's.", "name": "fig-09-tokens"}}
fig, ax = plt.subplots(figsize=(6, 3.2))
widths = [1, 10, 50, 200]
places = torch.arange(len(widths))
slow = [uncached(len(tokens), beams) for beams in widths]
fast = [len(tokens) + 3 * beams for beams in widths]
for shift, heights, hatch, label in [
    (-0.2, slow, "//", "without a cache"),
    (0.2, fast, "", "with the cache"),
]:
    bars = ax.bar(places + shift, heights, 0.4, hatch=hatch, label=label)
    ax.bar_label(bars, [f"{height:,}" for height in heights], fontsize=8)
ax.set(xlabel="beams", ylabel="tokens read", yscale="log", ylim=(50, 2e5))
ax.set_xticks(places, widths)
ax.legend(loc="upper left")
plt.show()

# %% [markdown]
# With the cache a beam costs three tokens, not four: nothing follows the last code, so it need not be read. The longer
# the history, the more the cache saves.
#
# ### Step by step
#
# Here is the whole search for the example person, with one to five beams, to go through at your own pace. Each level
# takes two steps: the codes after each beam are scored, then the best prefixes are kept, and the rows of the cache follow
# them. The page searches by itself, with the model's log-probabilities, in the tree without the movies that the person has
# rated. Of the rest of the tree it draws the best three that were not kept, the best that leads to rated movies only, and
# the best that leads to no movie.
#
# With three beams, step to the third codes: what would the model like to write after 109-29, and why does it not come
# out? With five, find the row of the cache that two beams copy, and the rows that nobody copies. And does a fifth beam
# change what the first three find?

# %%
steps = search_data(model, data, history)
for beams in range(1, 6):
    library = recommend(model, [history], k=beams, beams=beams)
    in_page = [ids.item_of(prefix) for prefix, _ in replay(steps, beams)]
    assert in_page == library.items[0].tolist()

widget(
    "beam-search",
    steps,
    title="A beam search in the tree of IDs, and its cache",
    fallback=still_search(steps),
    alt="A tree that grows from left to right in four steps, with three beams. From the history lead lines to the first "
    "codes 109 and 244, from these to three second codes, and on to The Matrix, Face/Off and Fight Club. Other codes are "
    "drawn in grey: they were scored and not kept.",
    caption="A beam is a prefix, the beginning of an ID, that the search keeps, and a row of the cache. An ID that does "
    "not exist cannot come out: the model scores every code, but the search chooses only among codes that continue the "
    "ID of some movie.",
)

# %% [markdown]
# ### Ten times the catalogue
#
# Nothing in these counts mentions the number of movies. The search asks for the children of the prefixes that it holds,
# and it holds as many as it has beams. To check this, the next cell lets the same model write in made-up catalogues of
# random IDs, of a thousand to a hundred thousand items, and counts again. (What it writes there means nothing.) The
# last column has the tokens that exact scoring of the whole catalogue would read: the history, and one for each prefix.

# %% tags=["nbval-check-output"]
print("   items   tokens  scores  exact scoring")
for items in (1_000, 10_000, 100_000):
    random_codes = torch.randint(256, (items, 3), generator=seeded(0))
    # SemanticIDs appends the disambiguation code
    counting = Counting(model)
    counting.trie = Trie(SemanticIDs(random_codes, 256))  # not the model's
    read = history % items  # rows that this catalogue has
    everything = [torch.empty(0, dtype=torch.int64)]  # nothing is left out
    recommend(counting, [read], k=10, beams=50, forbidden=everything)
    nodes = sum(len(level.code) for level in counting.trie.levels[1:4])
    print(
        f"{items:>8,} {counting.tokens:>8} {counting.scores:>7,}"
        f" {len(tokens) + nodes:>14,}"
    )

# %% [markdown]
# In each catalogue the search reads as many tokens and scores as many codes: 256 at the first level, 256 for each of
# fifty beams at the next two, and three for each at the last. Exact scoring grows with the catalogue. What may grow for
# the search is the look-up of children. It is no work for the model, and bounded, too: no node has more than 256.
#
# A service that answers one person at a time spends most of that time not on arithmetic but on starting small operations.
# `CompiledSearch` of the library compiles the whole search once; the page on [speed](../book/speed.md) says what that saves.
#
# ## Leaving movies out
#
# Few recommenders may recommend everything. Something has been seen, is out of stock, or is not for children; somebody
# wants a film noir. The first idea is to search as before and to strike out afterwards. What is left of fifty movies?

# %%
few = people[:64]
genres = data.items["genres"].fillna("").str.split("|")
left, rows_of = {}, {}
for genre in ("Film-Noir", "Animation", "Horror", "Comedy"):
    is_genre = torch.tensor([genre in listed for listed in genres])  # (9066,)
    rows_of[genre] = is_genre.nonzero()[:, 0]
    left[genre] = is_genre[lists.items].sum(1)  # (671,) of the 50 found
    ten = (left[genre] >= 10).double().mean()
    none = (left[genre] == 0).double().mean()
    print(
        f"{genre:<9} {len(rows_of[genre]):>5,} movies:"
        f" {left[genre].double().mean():4.1f} of 50 left;"
        f" none for {none:3.0%} of people, ten for {ten:3.0%}"
    )

# %% mystnb={"image": {"alt": "Four falling curves, one a genre: the share of people who keep at least a number of movies after filtering a list of fifty, against that number from 1 to 20. Film-Noir, Horror and Animation fall to nearly nothing at ten, Film-Noir first; Comedy stays high up to ten. A dotted line at ten movies marks the list that was asked for."}, "figure": {"caption": "Filtering after the search leaves most of the 671 people without ten movies of each genre but comedy, the most common of the four.", "name": "fig-09-filter"}}
fig, ax = plt.subplots(figsize=(6, 3.2))
numbers = torch.arange(1, 21)
for (genre, kept), marker in zip(left.items(), "osD^", strict=True):
    share = (kept[:, None] >= numbers).double().mean(0)
    ax.plot(numbers, share, marker=marker, ms=4, label=genre)
ax.axvline(10, ls=":", c="gray")
ax.set(
    xlabel="movies left after the filter, at least", ylabel="share of people"
)
ax.set(ylim=(-0.03, 1.05), xticks=[1, 5, 10, 15, 20])
ax.legend()
plt.show()

# %% [markdown]
# Of each genre but comedy, most people are left with fewer than ten movies, and many with none, as
# {numref}`fig-09-filter` shows. More beams would help, at a price, and nobody knows beforehand how many. In a smaller
# tree what is not allowed is never entered, and all fifty beams go to movies that are.
#
# But a tree of dicts would have to be built for each person anew. Look at the flat arrays again: the movies below a
# node are neighbours. So one running count of allowed movies answers, for any node of any level, how many allowed ones
# are below it, and a node with none is closed.

# %%
allowed = torch.zeros(len(ids), dtype=torch.bool)
allowed[rows_of["Film-Noir"]] = True
before = F.pad(allowed[trie.items].cumsum(0), (1, 0))  # (9067,)
for depth in (1, 2, 3):
    first_leaf = trie.levels[depth].first_leaf
    below = before[first_leaf[1:]] - before[first_leaf[:-1]]  # a node each
    by_dict = nodes_by_depth(tree_of(rows_of["Film-Noir"]))[depth]
    assert int((below > 0).sum()) == by_dict
    print(f"depth {depth}: {by_dict} of {len(below):,} nodes are open")

# %% tags=["nbval-check-output"]
for genre in ("Film-Noir", "Animation", "Horror", "Comedy"):
    inside = recommend(model, few, k=10, beams=50, allowed=rows_of[genre]).items
    assert torch.isin(inside, rows_of[genre]).all()
    full = (inside >= 0).all(1).double().mean()
    print(f"{genre}: ten allowed movies for {full:.0%} of 64 people")

# %% [markdown]
# Inside the tree each of the 64 people gets ten. The library keeps this running count for the allowed movies and for
# each person's history. By hand, it is a search in the smaller tree:

# %%
noirs = movies_but(torch.cat([(~allowed).nonzero()[:, 0], history]))
found = beam_search(history, 50, walk(tree_of(noirs)))[:10]
library = recommend(
    model, [history], k=10, beams=50, allowed=rows_of["Film-Noir"]
)
by_hand = [ids.item_of(prefix) for prefix, _ in found]
assert by_hand == library.items[0].tolist()
print("; ".join(data.titles[movie] for movie in by_hand[:3]))

# %% [markdown]
# ## Ten movies, or the same movie ten times?
#
# Movies that share their first code resemble each other ([chapter 06](06_collisions.ipynb) measures how much), and a
# list whose movies all begin alike may bore. How many *different first codes* do the ten have? Two knobs might change
# it. The **temperature** divides the logits before the softmax: below 1 each choice becomes more decided, above 1 less.
# And `max_per_prefix` sets a limit to how many movies of a list may share their first code. By hand: go through the
# beams, the best first, and skip each movie that would be one too many.


# %%
def at_most(movies, limit, k=10):
    taken, chosen = {}, []
    for movie in movies.tolist():
        first = ids.id_of(movie)[0]
        if taken.get(first, 0) < limit and len(chosen) < k:
            taken[first] = taken.get(first, 0) + 1
            chosen.append(movie)
    return chosen + [-1] * (k - len(chosen))  # −1: nothing is left


limited = {
    limit: torch.tensor([at_most(row, limit) for row in lists.items])
    for limit in (1, 2, 3)
}
library = recommend(model, few, k=10, beams=50, max_per_prefix=2)
assert torch.equal(library.items, limited[2][:64])

# %% [markdown]
# The temperature by hand is the division in `next_log_probabilities`:

# %%
found = beam_search(history, 50, walk(tree_of(movies_but(history))), 0.25)
library = recommend(model, [history], k=10, beams=50, temperature=0.25)
by_hand = [ids.item_of(prefix) for prefix, _ in found[:10]]
assert by_hand == library.items[0].tolist()

# %% [markdown]
# What do the knobs do, and what do they cost? Six variants of the lists of all 671 people are compared:

# %%
variants = {"as it is": lists.items[:, :10]}
for temperature in (0.25, 4.0):
    variants[f"temperature {temperature:g}"] = recommend(
        model, histories, k=10, beams=50, temperature=temperature
    ).items
for limit, items in limited.items():
    variants[f"at most {limit}"] = items
fewer = int((limited[1] < 0).any(1).sum())
print(f"at most 1: fewer than ten movies for {fewer} people")

# %% [markdown]
# The table counts the different first codes of a list, on average, and the different movies of all lists together.
# Then comes Recall@10, and in the last column its difference to the plain list, person by person.
# {numref}`fig-09-variety` draws the number of first codes and the Recall.


# %%
table = {}
print(f"{'':<17} codes  movies   {'Recall@10':<20} difference")
for name, items in variants.items():
    firsts = ids.ids[items, 0].where(items >= 0, -1)  # (671, 10)
    codes = sum(len(set(row) - {-1}) for row in firsts.tolist()) / len(items)
    hits = recall_at(ranks_in_lists(items, hidden), 10)  # (671,)
    mean, low, high = with_interval(hits)
    change = with_interval(hits - plain_hits)
    table[name] = codes, mean, low, high
    print(
        f"{name:<17} {codes:5.1f} {len(items[items >= 0].unique()):>7}"
        f"   {mean:.3f} [{low:.3f}, {high:.3f}]"
        f" {change[0]:+.3f} [{change[1]:+.3f}, {change[2]:+.3f}]"
    )
assert table["at most 1"][0] > table["at most 2"][0] > table["as it is"][0]
assert table["temperature 0.25"][0] < table["as it is"][0]

# %% mystnb={"image": {"alt": "Six points with vertical bars for Recall at 10 against the mean number of different first codes in a list of ten, from 6.2 to 10. Temperature 0.25 is at the left, the plain list at 7.6, the limits of 3, 2 and 1 follow to the right. All bars overlap widely."}, "figure": {"caption": "Only the limit buys variety: with at most one movie for each first code the ten have ten different ones. Limits of 1 and 2 lower Recall by about a hundredth on these people; the bars, 95 % intervals, are wider than that. Neither temperature makes the lists more varied.", "name": "fig-09-variety"}}
fig, ax = plt.subplots(figsize=(6, 3.6))
for (name, (codes, *quality)), marker in zip(
    table.items(), "osD^v<", strict=True
):
    mean, low, high = quality
    bars = [[mean - low], [high - mean]]
    ax.errorbar(codes, mean, bars, fmt=marker, capsize=3, label=name)
ax.set(xlabel="different first codes among ten movies, mean over people")
ax.set(ylabel="Recall@10", ylim=(0, None))
ax.legend(ncols=2, loc="lower left")
plt.show()

# %% [markdown]
# Only the limit makes the lists more varied. A limit of 2 costs about a hundredth of Recall@10, and the interval of its
# difference stays just below zero, though the bars of the figure overlap: these are not taken person by person. A limit
# of 1 costs about as much, with an interval that reaches above zero. A limit can also run out: with at most one movie a
# first code, the fifty beams of five people hold fewer than ten.
#
# The temperature is no knob for variety here: at 0.25 a list has fewer first codes than before, and at 4 it has no
# more. (TIGER varies its lists by *sampling* at a higher temperature {cite}`rajput2023tiger`; a ranking samples
# nothing.) What does move with the temperature is the second column: all lists together hold fewer movies as it rises.
#
# How can it change a *ranking* at all, when dividing by a number keeps the order of the logits? Within one softmax, the
# order stays. But a movie's score adds up the logarithms from four softmaxes, and each is normalised on its own, so
# movies of different branches may change places.
#
# ## What the first code says
#
# The tree is of use for one more thing. The probability of a prefix is that of everything below it taken together. So a
# single step of the model says how likely it is that the next movie comes from a whole *family*, the movies with one
# first code, without looking at any of them. How does this compare with what their own scores add up to? The next cell
# shows the three likeliest families of the first person, and {numref}`fig-09-families` all 256 of four people. (Movies
# already rated count here, too.)

# %%
state = model.encode_history(histories[:4])
prefix = model.next_code_logits(state)[:, 0].softmax(1)  # (4, 256)
below = torch.zeros_like(prefix)
below.index_add_(1, ids.ids[:, 0], exact.exp())  # the sum over its movies
assert (below <= prefix + 1e-6).all()

for code in prefix[0].topk(3).indices.tolist():
    family = ids.with_prefix([code])
    best = family[exact[0, family].topk(2).indices].tolist()
    print(
        f"code {code}: {prefix[0, code]:.1%} for the family,"
        f" {below[0, code]:.1%} for its {len(family)} movies together"
    )
    print("    ", "; ".join(data.titles[movie] for movie in best))

# %% mystnb={"image": {"alt": "A scatter plot on logarithmic axes of 1,024 points, one for each of four people and 256 first codes. Across: the probability of the first code. Up: the sum of the probabilities of its movies. All points lie below the dashed diagonal; the likeliest codes lie a little below it, and many of the unlikely ones far below."}, "figure": {"caption": "A first code promises more than its movies keep: all points lie below the diagonal, and unlikely codes tend to lose a larger part of their probability to names that do not exist.", "name": "fig-09-families"}}
fig, ax = plt.subplots(figsize=(5.5, 3.6))
for person, marker in enumerate("osD^"):
    label = f"person {person + 1}"
    ax.scatter(prefix[person], below[person], s=9, marker=marker, label=label)
ends = [float(prefix.min()), float(prefix.max())]
ax.plot(ends, ends, "--", c="gray", label="nothing lost")
ax.set(xscale="log", yscale="log", xlabel="probability of the first code")
ax.set(ylabel="sum over its movies")
ax.legend()
plt.show()

# %%
likely = prefix >= 0.01
kept = below[likely].sum() / prefix[likely].sum()
kept_by_others = below[~likely].sum() / prefix[~likely].sum()
print(f"kept below first codes of 1 % or more: {kept:.0%}")
print(f"kept below all others: {kept_by_others:.0%}")
assert kept_by_others < kept

# %% [markdown]
# So a prefix's probability is a bound for what its movies have, as the proof above used. For these four people the
# bound is about twice what the movies have below the likely codes, and looser below the others.
#
# ## Exercises
#
# ### Exercise 1 · What may come next (difficulty ★☆☆, 5 minutes)
#
# Given `ids`, an int64 tensor of shape (N, L) with one ID a row, and `prefix`, a list of fewer than L codes, perhaps
# empty: return the codes that may follow the prefix, as an int64 tensor of shape (C,), in ascending order and each
# once. If no ID begins with the prefix, return an empty int64 tensor.


# %%
def codes_after(ids, prefix):
    raise NotImplementedError("your turn")


_ = checks.codes_after(codes_after)


# %% tags=["hide-cell"]
def codes_after_solution(ids, prefix):
    for code in prefix:
        ids = ids[ids[:, 0] == code][:, 1:]  # go down one level
    return ids[:, 0].unique()


assert checks.codes_after(codes_after_solution)
assert len(codes_after_solution(ids.ids, [128])) == 22

# %% [markdown]
# ### Exercise 2 · Which branches are open (difficulty ★★☆, 10 minutes)
#
# For the M nodes of one level, `first_leaf`, int64 of shape (M + 1,), says where the movies of each begin in the sorted
# list of N movies; its last number is N. `allowed`, bool of shape (B, N) in the same sorted order, says for each of B
# people which movies may be recommended. Return, as bool of shape (B, M), which nodes are open for whom: those with at
# least one allowed movie below them. Try it without a loop.


# %%
def open_nodes(first_leaf, allowed):
    raise NotImplementedError("your turn")


_ = checks.open_nodes(open_nodes)


# %% tags=["hide-cell"]
def open_nodes_solution(first_leaf, allowed):
    before = F.pad(allowed.cumsum(1), (1, 0))  # (B, N + 1)
    return before[:, first_leaf[1:]] > before[:, first_leaf[:-1]]


assert checks.open_nodes(open_nodes_solution)

# %% [markdown]
# ### Exercise 3 · An exact search that reads little (difficulty ★★★, 30 minutes)
#
# Beam search keeps a fixed number of prefixes, too few here and too many there. Write a search that is exact and looks
# into no branch without need. A `tree` is a dict from each code to a pair: the log-probability of this code after the
# codes before it, and what is below it, again such a dict, or `None` behind the last code of an ID. Return the `k` most
# probable IDs, best first, as a list of pairs: the ID as a tuple of codes, and its log-probability. If there are fewer
# than `k`, return all. Of two that are equally probable, either may come first. Some of the branches raise an error
# when you look into them; these cannot hold one of the `k` best, and a careful search never does. (Python's `heapq`
# keeps a list whose smallest entry is always first.)


# %%
def best_items(tree, k):
    raise NotImplementedError("your turn")


_ = checks.best_items(best_items)


# %% tags=["hide-cell"]
def best_items_solution(tree, k):
    waiting = [(0.0, (), tree)]  # −log p: heapq pops the smallest first
    best = []
    while waiting and len(best) < k:
        cost, prefix, branch = heapq.heappop(waiting)
        if branch is None:  # nothing that waits is more probable
            best.append((prefix, -cost))
            continue
        for code, (log_p, below) in branch.items():
            heapq.heappush(waiting, (cost - log_p, (*prefix, code), below))
    return best


assert checks.best_items(best_items_solution)

# %% [markdown]
# ## Self-check
#
# Choose one answer to each question in your head. Then click the line below the options: it says which one is right,
# and why.
#
# **Question 1.** For 99 people in 100, a model's likeliest tuple names a movie. Which list would nevertheless suffer
# most without a trie?
#
# - **A.** One movie for each person, whether they have seen it or not
# - **B.** The ten likeliest tuples for each person, whatever they name
# - **C.** Ten film noirs for each person that they have not seen
# - **D.** All alike, for 99 in 100 holds at every place of a list
#
# <details>
# <summary>Answer to question 1</summary>
#
# **C.** What is not wanted is struck out, so the search has to go further down, and further down more of the tuples
# name nothing; and few of those that name something are film noirs. A is what the 99 describe. In B more is invalid
# than in A, but nothing is struck out. D takes the likeliest tuple for any tuple: of sampled ones, more than half named
# no movie.
#
# </details>
#
# **Question 2.** A catalogue grows from 10,000 to 100,000 movies, with codebooks of the same size. What happens to the
# number of tokens that the model reads for one person?
#
# - **A.** It grows tenfold for the beam search as well as for exact scoring.
# - **B.** It stays the same for the beam search and grows for exact scoring.
# - **C.** It grows for the beam search, since the tree has more branches, and stays the same for exact scoring.
# - **D.** It stays the same for both, since the IDs are as long as before.
#
# <details>
# <summary>Answer to question 2</summary>
#
# **B.** The search reads the history, and three tokens for each beam; the number of movies is in neither. Exact scoring
# reads every distinct prefix once, and more movies have more prefixes. A takes the search for a walk through the whole
# tree. C overlooks that the search looks at the children of the prefixes that it holds, and it holds as many as it has
# beams. D forgets that exact scoring reads the IDs of all movies.
#
# </details>
#
# **Question 3.** Two searches with 50 beams return ten movies each. For one person the tenth has a probability of 0.03,
# for another 0.01. For whom is it certain that nothing better was left out?
#
# - **A.** For both: fifty beams are enough for ten movies.
# - **B.** For neither: a prefix that was dropped never comes back.
# - **C.** For the second, since smaller probabilities were searched there.
# - **D.** For the first: 0.03 is more than one in fifty, and 0.01 is not.
#
# <details>
# <summary>Answer to question 3</summary>
#
# **D.** Fewer than 50 prefixes of a level can have more than 1/50 = 0.02, since together they have 1 at most. What
# beats 0.03 has prefixes above 0.03, so these were all among the beams. Below 0.02 there may be more prefixes than
# beams. A is a rule of thumb and proves nothing. B is true, and yet what was dropped can be bounded. C has it the wrong
# way round: the smaller the tenth, the more might have been missed.
#
# </details>
#
# ## What to take away
#
# Left alone, this model can recommend a movie that does not exist: of the sampled tuples, more than half named none.
# Its likeliest tuples nearly always exist, which hides the problem. Kept to a trie, it cannot, since only codes that
# lead to a movie are offered. Any filter is a smaller trie, so that no place in the list is lost while enough movies
# are allowed. Beam search finds the likeliest movies in it: here fifty beams found 98 % of the ten best, and a bound
# says when nothing can have been missed. Whether the mask comes before or after the softmax changes about a quarter of
# what is recommended; which is better stays open. With the history read once and shared by all beams, the model reads
# the history and three tokens a beam, however large the catalogue.
#
# ## What's next
#
# [Chapter 10](10_three_architectures.ipynb) compares three architectures behind the same three methods, and [chapter
# 11](11_honest_evaluation.ipynb) asks whether their recommendations are any good.
#
# ## References
#
# - De Cao et al. (2021), *Autoregressive Entity Retrieval* {cite}`decao2021autoregressive`: beam search constrained by a
#   trie of names.
# - Rajput et al. (2023), *Recommender Systems with Generative Retrieval* {cite}`rajput2023tiger`: semantic IDs, and how
#   many are invalid.
# - Ranzato et al. (2016), *Sequence Level Training with Recurrent Neural Networks* {cite}`ranzato2016sequence`: exposure
#   bias.
# - Stahlberg and Byrne (2019), *On NMT Search Errors and Model Errors: Cat Got Your Tongue?* {cite}`stahlberg2019nmt`:
#   exact search by a bound on what may be dropped.
# - Sutskever et al. (2014), *Sequence to Sequence Learning with Neural Networks* {cite}`sutskever2014sequence`: beam
#   search with a neural network.
# - Vaswani et al. (2017), *Attention Is All You Need* {cite}`vaswani2017attention`: queries, keys and values.
# - Harper and Konstan (2015), *The MovieLens Datasets: History and Context* {cite}`harper2015movielens`: the data.
