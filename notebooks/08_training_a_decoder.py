# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Training a decoder over semantic IDs
#
# The library ships a trained transformer that writes the next movie's semantic ID. On the movies that 671 people rated
# next, it has a loss of 9.68: minus the logarithm of the probability that it gave to the right movie, on average.
# Somebody who knows nothing but the catalogue, and calls each of its 9,066 movies equally likely, has a loss of 9.11,
# which is lower and therefore better. And yet the ten movies that the transformer recommends hold the right one nearly
# twice as often as the ten most popular movies do. How can both be true? The answer is in what such a loss is made of.
#
# In case you start here: a *semantic ID* is a movie's name in four small numbers, its *codes*, such as 79-56-83-0,
# one for each *level*. A model called RQ-VAE found the first three: the first code says roughly what the movie is
# like, and each later one refines what those before it left open. The fourth, the *disambiguation code*, tells apart
# the movies that share the first three, and is nearly always 0. A person's *history* is what he or she has rated, in
# the order of time.
#
# :::{admonition} What you will learn
# - how a history of movies becomes a sentence of codes, and how causal attention reads it, by hand
# - what the loss is made of, level by level, and what simple counting reaches at each level
# - what a short training learns first, and what it has not learned at the end
# - what windows, padding, the learning-rate schedule and dropout do
# - what a gap between the losses in training and on held-out movies does not show
# - what changes when only codes that exist compete in training
# :::
#
# | You need | Why | Where |
# | --- | --- | --- |
# | semantic IDs | they are the words of the sentence | [Quickstart](00_quickstart.ipynb) |
# | the leave-one-out split | each person's last movie but one is what we predict | [Data, splits and leakage](01_data_splits_leakage.ipynb) |
# | softmax, cross-entropy, embeddings in PyTorch | the model is made of them | [PyTorch's tutorials](https://pytorch.org/tutorials/) |
#
# **Time:** about 40 minutes to read.

# %% tags=["hide-input"]
import math

import matplotlib.pyplot as plt
import pandas as pd
import torch
from torch.nn import functional as F

from rqvae_lib import (
    RECOMMENDER_TRAINING,
    DecoderOnlyConfig,
    TrainingConfig,
    leave_one_out,
    load_dataset,
    load_recommender,
    recommend,
    score_items,
    train_recommender,
)
from rqvae_lib.data.batches import PADDING, WindowBatches
from rqvae_lib.data.splits import Histories
from rqvae_lib.evaluation.metrics import (
    bootstrap_interval,
    ranks_in_lists,
    ranks_in_scores,
    recall_at,
)
from rqvae_lib.models.decoder_only import DecoderOnly
from rqvae_lib.teaching.exercises import chapter_08 as checks

# %% tags=["nbval-check-output"]
data = load_dataset("movielens-small-2016")
split = leave_one_out(data)
shipped, card = load_recommender("movielens-small-2016")
ids = shipped.ids  # the catalogue's semantic IDs, ids.ids is (9066, 4)
size = sum(p.numel() for p in shipped.parameters())
print(f"{size:,} parameters; the command that made it, seed {card['seed']}:")
print(f"    {card['command']}")
zero = (ids.ids[:, 3] == 0).double().mean()
print(f"values of each code: {ids.sizes}; the fourth is 0 for {zero:.1%}")

# %% [markdown]
# That is the model of the opening, and the command by which it was made. (`train-decoder` is the former name of
# `train-recommender`, and still works.) Its attention and its loss are rebuilt below.
#
# ## A history becomes a sentence
#
# The history of the first person begins with these four movies:

# %%
movies = split.train[0][:4]  # (4,) rows of the catalogue
codes = ids.ids[movies]  # (4 movies, 4 levels)
for movie, row in zip(movies.tolist(), codes.tolist(), strict=True):
    print(f"{'-'.join(map(str, row)):<14} {data.titles[movie]}")

# %% [markdown]
# Written one after the other, their codes are sixteen *tokens*, the pieces that a transformer reads. The bare numbers
# would lose two things. First, a 7 at one level has nothing to do with a 7 at another. So each level gets *letters* of
# its own: the code plus the level's *offset*. Each letter has a learned vector of 64 numbers. Second, attention, which
# the next section builds, does not know the order of what it reads. So two more learned vectors are added to the
# letter's: one for the movie's place in the history, one for the level. In front stands a *start* token, from which the
# first movie is predicted.

# %%
offsets = torch.tensor([0, 256, 512, 768])  # where each level's letters start
letters = codes + offsets  # (4, 4)
vectors = shipped.code_embedding(letters)  # (4, 4, 64)
vectors = vectors + shipped.item_position.weight[:4, None]  # place: 0 to 3
vectors = vectors + shipped.level_position.weight  # level: 0 to 3
start = shipped.start[None]  # (1, 64)
sentence = torch.cat([start, vectors.flatten(0, 1)])  # (17, 64)

torch.testing.assert_close(sentence, shipped.embed_items(movies[None])[0])
count = sum(ids.sizes)
print(f"{count} letters spell {len(ids):,} movies,", end=" ")
print(f"{len(ids) / count:.1f} times as many")

# %% [markdown]
# A model with one vector for each movie would need nearly twelve times as many vectors as there are letters. Here two
# movies that start with the same code share a vector, so what is learned about one is learned in part about the other.
# The price is length: four tokens for each movie.
#
# ## Looking back, never ahead
#
# **Attention** {cite}`vaswani2017attention` lets each token gather information from others. From each token's vector
# come three: a *query* (what am I looking for?), a *key* (what do I offer?), and a *value* (what do I say?). The dot
# product of a query with a key, divided by the square root of how many numbers each has, is a score. A softmax turns
# a token's scores into *weights* that add up to 1. What the token receives is the mean of the values with these
# weights.
#
# A model that is to predict the next code must not see it. So the *causal mask* sets the scores of all later tokens to
# −∞, which the softmax turns into a weight of exactly 0. A transformer with this mask is called a *decoder*. (It has
# nothing to do with the decoder of the RQ-VAE, which rebuilds embeddings.) The whole model, with the vectors of its
# codes and its softmax, is the *recommender*. One that has a decoder and no second transformer, like ours, is called
# *decoder-only*.


# %%
def causal_attention(q, k, v):
    scores = q @ k.mT / math.sqrt(q.shape[-1])  # (…, T, T), T tokens
    later = torch.ones_like(scores, dtype=torch.bool).triu(1)
    weights = scores.masked_fill(later, -torch.inf).softmax(-1)
    return weights @ v, weights


# %% [markdown]
# The transformer has two *blocks*, one after the other, and each looks through four *heads*: the 64 numbers of the
# query, key and value are cut in four pieces of 16, and each piece attends on its own. A matrix, `out`, mixes what the
# heads received. Then a small network of two layers, the *MLP*, works on each token alone. Both parts, attention and
# MLP, normalise what comes in: a `LayerNorm` brings each token's numbers to mean 0 and variance 1, and then to a
# learned scale and shift. What comes out of a part is added to what came in. Normalising before a part rather than
# after it is called *pre-norm* {cite}`xiong2020prenorm`. After the last block all is normalised once more.

# %%
block = shipped.transformer.blocks[0]
with torch.no_grad():
    x = sentence[:-1]  # (16, 64): nothing is predicted from the last code
    qkv = block.qkv(block.attention_norm(x))  # (16, 192)
    qkv = qkv.view(16, 3, 4, 16)  # token, q or k or v, head, number
    q, k, v = qkv.permute(1, 2, 0, 3)  # each (4 heads, 16 tokens, 16 numbers)
    received, weights = causal_attention(q, k, v)  # both (4, 16, 16)
    attended = x + block.out(received.transpose(0, 1).flatten(1))  # (16, 64)
    output = attended + block.mlp(block.mlp_norm(attended))  # (16, 64)

    by_torch = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    by_library, _ = block(x[None])  # and the keys and values
torch.testing.assert_close(received, by_torch)
torch.testing.assert_close(output, by_library[0])

# %% [markdown]
# Attention by hand gives the numbers of PyTorch's own function, and the block by hand those of the library's.
# {numref}`fig-08-attention` shows the weights of one head.

# %% mystnb={"image": {"alt": "A square of 16 by 16 cells, one row for each token that reads and one column for each that is read, with lines between movies. All cells above the diagonal are empty. The first row has all of its weight on the start token; lower rows spread theirs over more and more cells."}, "figure": {"caption": "Each row shows where a token looks: only at itself and at what stands before it. The upper right triangle is exactly zero.", "name": "fig-08-attention"}}
fig, ax = plt.subplots(figsize=(5, 4.2))
shown = weights[0].masked_fill(weights[0] == 0, torch.nan)
image = ax.imshow(shown, cmap="viridis", vmin=0)
for edge in (0.5, 4.5, 8.5, 12.5):
    ax.axhline(edge, c="gray", lw=0.6)
    ax.axvline(edge, c="gray", lw=0.6)
places = [0, 2.5, 6.5, 10.5, 14]
names = ["start", "movie 1", "movie 2", "movie 3", "movie 4"]
ax.set_xticks(places, names, fontsize=8)
ax.set_yticks(places, names, fontsize=8)
ax.set(xlabel="token that is read", ylabel="token that reads")
fig.colorbar(image, label="weight")
plt.show()

# %% [markdown]
# Do not read too much into one head. What matters is the empty triangle: if we exchange the last movie for another one,
# no output before it may change.

# %%
with torch.no_grad():
    hidden = shipped.transformer(sentence[None, :-1])[0]  # (16, 64)
    other = torch.cat([movies[:3], movies[:1]])  # another fourth movie
    changed = shipped.transformer(shipped.embed_items(other[None])[:, :-1])[0]
moved = (hidden - changed).abs().amax(1) > 1e-4  # (16,)
print("outputs that changed:", moved.nonzero()[:, 0].tolist())
assert moved.tolist() == [False] * 13 + [True] * 3

# %% [markdown]
# The start token is number 0, the first movie has the tokens 1 to 4, and the third movie 9 to 12. From the output at
# token 12 the fourth movie's first code is predicted, and it knows nothing of that movie.
#
# ## The loss, by hand
#
# The output at each token is turned into a guess of the next code. Because the level of the next code is known, only
# that level's letters compete. Their scores, the *logits*, are the dot products of the output with the letters' own
# vectors, plus a learned number for each letter, the *bias*. So the matrix that reads codes also writes them, which is
# called *weight tying* {cite}`press2017tying`. A softmax makes probabilities of the logits, and the loss is the
# surprise at the true code: minus the natural logarithm of the probability that it was given, measured in *nats*. A
# movie's loss is the sum over its four codes, because the probability of an ID is the product of the probabilities of
# its codes, each given the codes before. The loss of several movies is the mean of theirs.

# %%
with torch.no_grad():
    before = hidden.unflatten(0, (4, 4))  # the output before (movie, level)
    nats = torch.empty(4, 4)
    for level in range(4):
        rows = slice(offsets[level], offsets[level] + ids.sizes[level])
        table = shipped.code_embedding.weight[rows]  # (256 or 3, 64)
        logits = before[:, level] @ table.T + shipped.bias[rows]
        log_p = logits.log_softmax(1)
        nats[:, level] = -log_p.gather(1, codes[:, level, None])[:, 0]
    by_library = shipped.loss(movies[None])
torch.testing.assert_close(nats.sum(1).mean(), by_library)
print(nats.numpy().round(2), "sum over levels:", nats.sum(1).numpy().round(2))

# %% [markdown]
# Each row is a movie, each column a level. One reading of four movies gave four predictions, each from another history:
# none, one, two and three movies. This is what causal attention is good for, and it is called *supervising every
# position*. Each code is predicted after the *true* codes before it, whatever the model would have written there:
# *teacher forcing*. And each prediction is the one that the model makes when it recommends: the next cell asks for the
# fourth movie's first code from a history of three. (The library's methods can follow several beginnings of an ID for
# each person at once, called *beams*. Here there is one, number 0.)

# %%
with torch.no_grad():
    state = shipped.encode_history([movies[:3]])
    logits = shipped.next_code_logits(state)  # (1 person, 1 beam, 256)
    log_p = logits[0, 0].log_softmax(0)
torch.testing.assert_close(-log_p[codes[3, 0]], nats[3, 0])

# %% [markdown]
# ## What counting already gives
#
# Is a surprise of 5 nats for a first code much? By itself, a number of nats says nothing. So we compare it with four
# simple models that count, or do not even count. We ask all of them about the same movies: each person's last but one,
# held out as the *validation* movies.
#
# - **blind about codes**: each code of a level is equally likely, whatever stands before it;
# - **code counts**: how often each code occurs in the training histories, each level by itself;
# - **blind about movies**: each *movie* is equally likely, so the second code must fit the first one;
# - **movie counts**: a movie's probability is its share of the ratings in the training histories. The counts of codes
#   and of movies start at one, so that nothing is impossible.
#
# The last two are probabilities of movies, and must be split by level. The probability of a first code is the share of
# all movies, or of their counts, that begin with it. Given the first code, that of a second is its share among these;
# and so on. The logarithms add up to that of the movie itself, because the denominator of each share is the numerator
# of the one before.


# %%
def nats_by_counts(weight, targets):
    """Cut −log(share of a movie's weight) into levels: (4,)."""
    found = []
    above = weight.sum().expand(len(targets))
    for length in range(1, 5):
        beginnings = ids.ids[:, :length]
        _, group = beginnings.unique(dim=0, return_inverse=True)  # (9066,)
        total = torch.zeros(int(group.max()) + 1, dtype=torch.float64)
        here = total.index_add_(0, group, weight)[group[targets]]
        found.append((above / here).log().mean())
        above = here
    return torch.stack(found)


histories, targets = split.histories_and_targets(split.validation)
one_each = torch.ones(len(ids), dtype=torch.float64)
popular = split.popularity.double() + 1  # (9066,)
by_level = nats_by_counts(popular, targets)
whole = -(popular[targets] / popular.sum()).log().mean()
torch.testing.assert_close(by_level.sum(), whole)


# %%
def nats_by_code_counts(targets):
    found = []
    for level, size in enumerate(ids.sizes):
        seen = ids.ids[split.train.items, level]
        share = torch.bincount(seen, minlength=size).double() + 1
        share = share / share.sum()
        found.append(-share[ids.ids[targets, level]].log().mean())
    return torch.stack(found)


levels = {
    "blind about codes": torch.tensor(ids.sizes).double().log(),
    "code counts": nats_by_code_counts(targets),
    "blind about movies": nats_by_counts(one_each, targets),
    "movie counts": by_level,
}

# %% [markdown]
# Now the shipped recommender. Its loss by level is computed by the three methods with which it also recommends: read
# the histories, ask for the logits of the next code, append the true one. We compute a second number as well. At each
# level, some codes lead to a movie and the others to nothing, given the codes before. What would the loss be if only
# those that lead to a movie competed? This is the loss *among existing IDs*. In the code, `begins_so` marks for each
# validation movie, the *target*, all movies whose ID begins with the target's codes so far, and `count` adds up how
# many of these go on with each code. Where it is 0, the code leads nowhere.


# %%
@torch.no_grad()
def nats_of_each(model, histories, targets):
    """The surprise at each code of each target: (M, 4), twice."""
    codes = ids.ids[targets]  # (M, 4)
    begins_so = torch.ones(len(targets), len(ids))  # (M, 9066)
    every, existing = [], []
    state = model.encode_history(histories)
    for level, size in enumerate(ids.sizes):
        logits = model.next_code_logits(state)[:, 0]  # (M, size)
        count = torch.zeros(len(targets), size)
        count.index_add_(1, ids.ids[:, level], begins_so)  # movies, a code
        kept = logits.masked_fill(count == 0, -torch.inf)
        code = codes[:, level, None]  # (M, 1)
        for found, among in (every, logits), (existing, kept):
            found.append(-among.log_softmax(1).gather(1, code)[:, 0])
        begins_so = begins_so * (ids.ids[:, level] == code)
        if level < 3:
            state = model.extend(state, 0 * code, code)  # of beam 0
    return torch.stack(every, 1).double(), torch.stack(existing, 1).double()


def nats_by_level(model, histories, targets):
    every, existing = nats_of_each(model, histories, targets)
    return every.mean(0), existing.mean(0)  # (4,), twice


every, existing = nats_by_level(shipped, histories, targets)
levels["recommender, all codes"] = every
levels["recommender, existing"] = existing

# %% [markdown]
# {numref}`fig-08-target` shows, for one of the targets, over what each of the two losses is taken: all dots of a
# panel, or the coloured ones alone. At its third code the recommender gives more than half of the probability to codes
# that lead nowhere; of the three that lead to a movie, the true one has nearly all. (We took a target whose third code
# still leaves a choice, which is rare.)

# %% mystnb={"image": {"alt": "Four panels, one a level, of the probability of each code on a logarithmic axis. At level 1 all 256 dots are coloured. At level 2, 61 of 256 are, many of them above the grey ones. At level 3 three are, of 256. At level 4 one of three. A ring marks the true code in each panel."}, "figure": {"caption": "One target, four softmaxes: a dot for each code, coloured if it leads to a movie, ringed if it is the true one. Over all codes, the grey ones take their part of the probability; among existing IDs, they are not there.", "name": "fig-08-target"}} tags=["hide-input"]
person = 55
target = targets[person]
own = ids.ids[target]  # (4,)
fig, axes = plt.subplots(4, 1, figsize=(7, 6.2), layout="constrained")
with torch.no_grad():
    state = shipped.encode_history([histories[person]])
    for level, ax in enumerate(axes):
        p = shipped.next_code_logits(state)[0, 0].softmax(0)  # of each code
        begins_so = (ids.ids[:, :level] == own[:level]).all(1)
        leads = torch.zeros(len(p), dtype=torch.bool)
        leads[ids.ids[begins_so, level]] = True  # to a movie
        code = own[level]
        ax.semilogy((~leads).nonzero()[:, 0], p[~leads], ".", c="0.7", ms=4)
        ax.semilogy(leads.nonzero()[:, 0], p[leads], ".", c="C0", ms=6)
        ax.plot(code, p[code], "o", ms=12, mfc="none", c="C1", mew=2)
        among = p[code] / p[leads].sum()
        title = (
            f"code {level + 1}: {int(leads.sum())} of {len(p)} lead to a movie;"
        )
        title += f" the true one has {p[code]:.3f}, among these {among:.3f}"
        ax.set_title(title, fontsize=9, loc="left")
        ax.margins(y=0.25)
        if level == 2:  # what the text above says
            assert leads.sum() == 3
            assert p[~leads].sum() > 0.5
            assert among > 0.98
        if level < 3:
            state = shipped.extend(state, 0 * code.view(1, 1), code.view(1, 1))
axes[3].set_xticks(range(len(p)))
axes[3].set_xlabel("code")
fig.supylabel("probability", fontsize=10)
plt.show()

# %% [markdown]
# Over all targets, level by level:
#
# {question} lead-by-level

# %% tags=["nbval-check-output"]
print("nats at level:             1     2     3     4    sum")
for name, values in levels.items():
    row = "".join(f"{value:6.2f}" for value in [*values, values.sum()])
    print(f"{name:<23} {row}")

# %% [markdown]
# {numref}`fig-08-levels` draws the most telling rows of the table, and the cell after it says where the recommender's
# losses and gains lie.

# %% mystnb={"image": {"alt": "Grouped bars of the loss at levels 1, 2 and 3 for four models. Level 1: blind about movies 5.5, movie counts 5.3, the recommender 4.6 either way. Level 2: 3.5, 2.8, 3.05 over all codes and 2.8 over existing ones. Level 3: all nearly 0, except the recommender over all codes at 2.0."}, "figure": {"caption": "The recommender beats counting at the first code only. At the third, it loses nearly two nats to codes that lead to no movie; among codes that do, next to nothing is left to guess.", "name": "fig-08-levels"}}
fig, ax = plt.subplots(figsize=(6, 3.4))
bars = {
    "blind about movies": "0.8",
    "movie counts": "0.5",
    "recommender, existing": "C0",
    "recommender, all codes": "C1",
}
for number, (name, colour) in enumerate(bars.items()):
    places = torch.arange(1, 4) + 0.2 * (number - 1.5)
    ax.bar(places, levels[name][:3], width=0.18, color=colour, label=name)
ax.set(xlabel="level of the code", ylabel="loss, nats", ylim=(0, 7.6))
ax.set_xticks([1, 2, 3])
ax.legend(ncol=2, fontsize=8)
plt.show()

# %%
pairs = pd.DataFrame(ids.ids[:, :2].numpy())
alone = 1 - pairs.duplicated(keep=False).mean()
print(
    f"{len(pairs.drop_duplicates()):,} different pairs of the first two codes;"
)
print(f"{alone:.0%} of the movies have theirs alone")
gap = float(every.sum() - existing.sum())
ahead = float(levels["movie counts"].sum() - existing.sum())
print(f"lost to codes that lead to no movie: {gap:.2f} nats")
print(f"ahead of movie counts, among existing IDs: {ahead:.2f} nats;")
first_ahead = float(levels["movie counts"][0] - existing[0])
print(f"at the first code {first_ahead:.2f}, so behind at the others")
assert every.sum() > levels["blind about movies"].sum() > existing.sum()

# %% [markdown]
# The table and {numref}`fig-08-levels` answer the question of the opening. At the second and third level the
# recommender chooses among 256 codes, and most of them lead nowhere. For 84 % of the movies, the first two codes name
# no other. So after two codes there is hardly anything left to guess, for anyone who has the catalogue at hand. The
# recommender does not have it. It must keep all pairs, and the third code of each, in its weights. It does so badly: it
# pays 2 nats at the third level for what the catalogue knows for 0.1. The blind guesser of the opening was given the
# catalogue.
#
# When it *recommends*, the recommender is given it too, since the search follows only codes that lead to a movie. Among
# existing IDs its loss is 7.56. That is better than the blind guesser's 9.11, and better than the 8.14 of movie counts.
# (The search takes its probabilities from the softmax over all codes, so its ranking does not rest on exactly the
# probabilities that 7.56 measures. [Chapter 09](09_constrained_generation.ipynb) compares the lists that the two
# softmaxes make.)
#
# The table shows a weakness as well. All of the recommender's lead over movie counts comes from the *first* code. At
# the second it is slightly worse than counting, even when only existing codes compete.
#
# ## A short training, watched
#
# What is learned first? We train a new recommender for 100 steps. A step takes 32 pieces of histories, of at most 50
# movies, computes the loss and its gradient, and lets AdamW {cite}`loshchilov2019adamw` move the weights, as in
# [chapter 05](05_training_the_rqvae.ipynb).
#
# How far they move depends on the *learning rate*, which follows a *schedule*. It rises from near zero in a *warm-up*
# {cite}`vaswani2017attention`, while the weights are still random. Then it falls to zero along half a cosine wave
# {cite}`loshchilov2017sgdr`, so that the last steps are small.


# %%
def rate(step, highest=3e-3, warmup=15, steps=100):
    if step < warmup:
        return highest * (step + 1) / warmup
    done = (step - warmup) / (steps - warmup)  # 0 to 1
    return highest * (1 + math.cos(math.pi * done)) / 2


training = TrainingConfig(
    num_steps=100,
    batch_size=32,
    learning_rate=3e-3,
    warmup_steps=15,
    weight_decay=0.1,
    log_every=5,
)
for step in range(100):
    assert math.isclose(rate(step), training.rate_at(step, 100))

# %% [markdown]
# {numref}`fig-08-short` shows this rate, and beside it the loss on the training histories themselves. Three of the
# simple models are asked about the same histories, to be the lines with which it is compared.

# %%
short, log = train_recommender(
    ids, split.train, training=training, progress=False
)
seen = split.train.items
lines = {
    "blind about codes": levels["blind about codes"].sum(),
    "code counts": nats_by_code_counts(seen).sum(),
    "blind about movies": nats_by_counts(one_each, seen).sum(),
}

# %% mystnb={"image": {"alt": "Two panels over 100 steps. Left: the learning rate rises in a straight line for 15 steps to 0.003 and falls to zero along a cosine. Right: the training loss falls from about 17 steeply to below the line of code counts near 16, and then more slowly, still far above the line of blind about movies at 9.1."}, "figure": {"caption": "Within 100 steps the loss falls below what counting the codes of each level gives, and stays far above what the catalogue alone would give. Left, the learning rate.", "name": "fig-08-short"}}
fig, (left, right) = plt.subplots(1, 2, figsize=(7, 3.2), layout="constrained")
left.plot([rate(step) for step in range(100)])
left.set(xlabel="step", ylabel="learning rate", ylim=(0, None))
right.plot([e.step for e in log], [e.loss for e in log], "o-", ms=3)
for style, (name, value) in zip([":", "-.", "--"], lines.items(), strict=True):
    right.axhline(value, ls=style, c="gray", label=name)
right.set(xlabel="step", ylabel="training loss, nats", ylim=(8, 18.5))
right.legend(fontsize=8)
plt.show()

# %% [markdown]
# The loss starts near the line of blind about codes and drops below code counts. A model that does not look at what
# stands before a code can hardly do better than these. So the recommender already uses what stands before. Which part
# of it? The next table splits the validation loss by level, and asks for each target a second time, with a *stranger's*
# history in place of the person's own: that of the next person in the data.
#
# {question} a-strangers-history

# %%
strangers = histories[1:] + histories[:1]
short_every, _ = nats_by_level(short, histories, targets)
with_strangers, _ = nats_by_level(short, strangers, targets)
for name, values in [
    ("code counts", levels["code counts"]),
    ("100 steps", short_every),
    ("  a stranger's history", with_strangers),
    (f"{RECOMMENDER_TRAINING.num_steps:,} steps (shipped)", every),
]:
    row = "".join(f"{value:6.2f}" for value in [*values, values.sum()])
    print(f"{name:<23} {row}")
assert short_every.sum() < levels["code counts"].sum() - 0.5
assert (with_strangers - short_every)[1:].max() < 0.05

# %% [markdown]
# The second and the third code have gained, and the first stands where counting leaves it. The history has hardly any
# part in the gain: with a stranger's, the second and the third code lose next to nothing.
#
# Longer trainings, on several seeds, were made by a script,
#
#     OMP_NUM_THREADS=1 python book/studies/decoder_study.py
#
# It wrote `results/08_decoders.csv`, the validation loss by level at eight moments of each training.
# {numref}`fig-08-progress` shows the recommender's, for 500 steps and three seeds.

# %%
study = pd.read_csv("results/08_decoders.csv")
plain = study[study["variant"] == "decoder-only"]
runs = plain.groupby("seed")
print(len(runs), "seeds of", plain["step"].max(), "steps; mean loss by level")
print(plain.groupby("step")[[f"loss_{i}" for i in (1, 2, 3)]].mean().round(2))

# %% mystnb={"image": {"alt": "Three bundles of falling curves over 500 steps, three seeds each, which lie on top of each other. At step 25 all start between 5.3 and 5.4. Levels 2 and 3 fall together to 3.8 at step 100, then to about 3.2 and 3.0. Level 1 is still at 5.2 at step 100 and then falls to 4.7. Dashed lines show movie counts at 5.3, 2.8 and 0.1."}, "figure": {"caption": "The second and the third code are learned first, from what stands in the same ID; the first code, for which only the history helps, falls mostly after step 100. All three seeds agree.", "name": "fig-08-progress"}}
fig, ax = plt.subplots(figsize=(6, 3.4))
for level, marker, colour in zip(
    (1, 2, 3), "osD", ("C0", "C1", "C2"), strict=True
):
    for _, run in runs:
        column = f"loss_{level}"
        ax.plot(run["step"], run[column], marker + "-", c=colour, ms=3, lw=1)
    ax.axhline(levels["movie counts"][level - 1], ls="--", c=colour, lw=1)
    ax.plot([], [], marker + "-", c=colour, label=f"level {level}")
ax.plot([], [], "--", c="gray", label="movie counts")
ax.set(xlabel="step", ylabel="validation loss, nats", ylim=(0, 7))
ax.legend(ncol=4, fontsize=8, loc="upper center")
plt.show()

# %% [markdown]
# The levels are not learned in the order in which they are written. After 25 steps each level stands about where code
# counts stand: how frequent each letter is accounts for what has been learned. From there to step 100, the second and
# the third level fall together, while the first hardly moves. What falls first is learned *inside* a movie's ID, as the
# stranger's history showed: which second code goes with which first one. Only then does the first level, which has only
# the history to learn from, fall clearly below the counts. In the last 300 steps the third level falls most, and it is
# furthest from where movie counts put it: it has the most beginnings to learn by heart, 8,307 pairs against 256 first
# codes.
#
# So in these first hundred steps, a loss that falls fast shows a model that learns to spell. What it knows about people
# comes later and slowly.
#
# ## Windows and padding
#
# What exactly is a batch? Histories differ in length, from 18 ratings to 2,389, and attention compares every token
# with every earlier one, which is work that grows with the square of the length. So a history is cut into *windows* of
# at most 50 movies. Shorter windows are filled up at the end with *padding*, the number −1, so that the batch is a
# rectangle.

# %% tags=["nbval-check-output"]
lengths = split.train.offsets.diff()  # (671,)
print(f"shortest {lengths.min()}, median {lengths.median()}, ", end="")
print(f"longest {lengths.max()}; {int((lengths > 50).sum())} do not fit")
batches = WindowBatches(split.train, max_items=50, batch_size=32, seed=0)
batch = batches(0)  # (32, 50)
real = batch != PADDING
print(f"one batch: {tuple(batch.shape)}, {real.float().mean():.0%} real")
print(f"{batches.steps_per_epoch} batches go through all windows once")

# %% [markdown]
# Padding must change nothing. It stands at the end, and no token looks ahead, so no real token ever sees it. It only
# has to be left out of the mean. To check this by hand, the next cell reads four windows of the batch one by one,
# without any padding, and averages over movies, not over windows.

# %%
with torch.no_grad():
    total = 0.0
    for row in batch[:4]:
        window = row[row != PADDING]  # (T,)
        total += shipped.loss(window[None]) * len(window)
    alone = total / real[:4].sum()
    torch.testing.assert_close(shipped.loss(batch[:4]), alone)

# %% [markdown]
# For each pass through the data, the places of the cuts are drawn again. Otherwise the same movies would come first
# after a cut each time, and would be predicted from nothing in every pass. To see it, we take a single person whose
# history is the numbers 0 to 119, and print the first and the last number of each window.

# %%
one = Histories(torch.arange(120), torch.tensor([0, 120]))
toy = WindowBatches(one, max_items=50, batch_size=8, seed=2)
assert toy.steps_per_epoch == 1  # so a step is a pass
for step in range(4):
    rows = [row[row != PADDING] for row in toy(step)]
    print(sorted((int(row[0]), int(row[-1])) for row in rows))

# %% [markdown]
# So three things decide what a movie is predicted from: the causal mask, the padding and the cuts.
# {numref}`fig-08-masks` draws them. The middle panel is asked of the recommender itself: a cell is dark where the
# gradient of the row's loss with respect to the column's vector is not zero.

# %% mystnb={"image": {"alt": "Three panels. Left, a batch of 32 rows and 50 places: most rows are filled, some end early, the rest is white. Middle, a table of tokens for a start and three movies of which the last is padding: dark below and on the diagonal, white above it, and the last four rows empty. Right, a table of 120 by 120 places of one history: dark triangles along the diagonal, one for each window, and nothing between them."}, "figure": {"caption": "What the loss is taken over and what it can see. Left, the batch: white is padding, which no mean counts. Middle, one short window with one movie of padding: a code is predicted from the tokens before it. Right, a history of 120 movies cut into windows: a movie is predicted from those of its own window only.", "name": "fig-08-masks"}} tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(7.2, 2.9), layout="constrained")
axes[0].imshow(real, cmap="Blues", vmin=0, vmax=1.3, aspect="auto")
axes[0].set(title="a batch", xlabel="place", ylabel="window")

window = torch.cat([movies[:3], torch.tensor([PADDING])])  # three are real
vectors = shipped.embed_items(window.clamp(min=0)[None]).detach()
vectors.requires_grad_()  # (1, 17, 64)
hidden = shipped.transformer(vectors[:, :-1])[0]  # (16, 64)
sees = torch.zeros(16, 16)
for row in range(12):  # what comes after is asked for by nobody
    (gradient,) = torch.autograd.grad(
        hidden[row, 0], vectors, retain_graph=True
    )
    sees[row] = gradient[0, :16].abs().sum(1) > 0
assert torch.equal(sees[:12], torch.ones(16, 16).tril()[:12])
axes[1].imshow(sees, cmap="Blues", vmin=0, vmax=1.3)
for edge in (0.5, 4.5, 8.5, 12.5):
    axes[1].axvline(edge, c="gray", lw=0.6)
for edge in (3.5, 7.5, 11.5):
    axes[1].axhline(edge, c="gray", lw=0.6)
axes[1].set_xticks([2.5, 6.5, 10.5], ["1", "2", "3"])
axes[1].set_yticks([1.5, 5.5, 9.5, 13.5], ["1", "2", "3", "–"])
axes[1].set(title="a window", xlabel="movie that is read")
axes[1].set_ylabel("movie that is asked for")

before = torch.zeros(120, 120)
for row in toy(0):
    places = row[row != PADDING]  # numbers that follow each other
    size = len(places)
    before[int(places[0]) : int(places[-1]) + 1, places] = torch.ones(
        size, size
    ).tril(-1)
axes[2].imshow(before, cmap="Blues", vmin=0, vmax=1.3)
axes[2].set(title="a history", xlabel="movie that is read")
axes[2].set_ylabel("movie that is asked for")
plt.show()

# %% [markdown]
# What does the cut cost? The predicted movie is one of the window's 50, so the recommender never sees more than 49
# before it. We can ask what it would lose with still shorter histories ({numref}`fig-08-history`). To see whether it
# reads them at all, we also give it a stranger's history, and the person's own in random order.

# %%
kept = {}
for length in (0, 1, 2, 5, 10, 20, 49):
    cut = [h[len(h) - min(length, len(h)) :] for h in histories]
    kept[length] = float(nats_by_level(shipped, cut, targets)[1].sum())
generator = torch.Generator().manual_seed(0)
shuffled = [
    h[-49:][torch.randperm(min(49, len(h)), generator=generator)]
    for h in histories
]
in_disorder = float(nats_by_level(shipped, shuffled, targets)[1].sum())
of_a_stranger = float(nats_by_level(shipped, strangers, targets)[1].sum())
for length, value in kept.items():
    print(f"last {length:>2} movies: {value:.2f} nats among existing IDs")
print(f"in random order {in_disorder:.2f}, a stranger's {of_a_stranger:.2f}")

# %% mystnb={"image": {"alt": "A falling curve of the loss against the number of movies read: 8.46 with none, 8.05 with one, 7.86 with two, 7.64 with five, and nearly flat from there to 7.56 with 49. Two horizontal lines: movie counts at 8.14 and the shuffled history at 7.74."}, "figure": {"caption": "Five movies of history give most of what forty-nine give, and the order of the movies matters.", "name": "fig-08-history"}}
fig, ax = plt.subplots(figsize=(6, 3.2))
ax.plot(range(len(kept)), list(kept.values()), "o-", label="last movies")
ax.axhline(in_disorder, ls="-.", c="C1", label="last 49, shuffled")
counting = float(levels["movie counts"].sum())
ax.axhline(counting, ls="--", c="gray", label="movie counts")
ax.set_xticks(range(len(kept)), list(kept))
ax.set(xlabel="movies of the history that are read", ylabel="loss, nats")
ax.legend()
plt.show()

# %% [markdown]
# Most of the gain comes from the last five movies. Without any history the recommender is worse than movie counts, and
# with a stranger's it is worse than without any. The last 49 movies in random order are worth less than the last five
# in order. Much of that may be the way in which people rate: they go through lists, as [chapter
# 01](01_data_splits_leakage.ipynb) suggests, and what they rate next was often on the same list.
#
# ## Dropout
#
# **Dropout** {cite}`srivastava2014dropout` sets a random share of numbers to zero in training, and enlarges the
# others, so that the mean stays the same. A model that cannot count on any single number has to rely on many. By
# default the library drops a fifth of the numbers of each token's vector, and nothing inside the blocks.

# %%
torch.manual_seed(0)
p = shipped.dropout.p
dropped = F.dropout(sentence, p)  # (17, 64)
survives = dropped != 0
torch.testing.assert_close(dropped, sentence / (1 - p) * survives)
print(f"dropout {p}: {survives.float().mean():.0%} of the numbers survive")

# %% [markdown]
# What does it do to the loss? The next cell asks the shipped recommender about the batch of training windows from
# above, with dropout on (`train()`) and off (`eval()`), and holds the second loss against the validation loss.

# %%
with torch.no_grad():
    without = float(shipped.loss(batch))
    torch.manual_seed(0)
    with_dropout = float(shipped.train().loss(batch))
shipped.eval()
print(f"a training batch: {with_dropout:.2f} with, {without:.2f} without")
print(f"validation movies, without: {every.sum() - without:+.2f}")
assert with_dropout > without

# %% [markdown]
# So the loss that a training logs is higher than that of the same model on the same movies with dropout off. With
# dropout off, the loss on this batch is 0.44 lower than on the validation movies. The recommender has read all
# training histories about 13 times (1,000 steps, 76 a pass). Does it know some by heart, which is called
# *overfitting*? The two numbers cannot say. In the batch, somebody who has rated much counts for many movies, and a
# movie may stand anywhere in a history; of the validation movies everybody has one, near the end. So we match them:
# for each person, the last movie of the training, the validation movie, which comes right after it, and the test
# movie, which comes after that. Each is predicted from all movies before it. The numbers in brackets come from a
# *bootstrap*: 671 people are drawn anew from ours, with repetition, a thousand times, and the interval holds the
# middle 95 % of the means.


# %%
def with_interval(values):
    """A mean over people, and the ends of its 95 % interval."""
    generator = torch.Generator().manual_seed(0)
    low, high = bootstrap_interval(values, generator=generator)
    return float(values.mean()), low, high


test_histories, test_targets = split.histories_and_targets(split.test)
fitted = torch.stack([history[-1] for history in histories])
before = [history[:-1] for history in histories]
nats_of = {
    "last of the training": nats_of_each(shipped, before, fitted)[0],
    "validation": nats_of_each(shipped, histories, targets)[0],
    "test": nats_of_each(shipped, test_histories, test_targets)[0],
}
last_three = torch.stack([nats.sum(1) for nats in nats_of.values()])
for name, nats in zip(nats_of, last_three, strict=True):
    print(f"{name:<20} {nats.mean():5.2f}")
gap = last_three.diff(dim=0)  # (2, 671): each movie, less the one before
for name, values in [
    ("validation − training", gap[0]),
    ("test − validation", gap[1]),
    ("the first difference − the second", gap[0] - gap[1]),
]:
    mean, low, high = with_interval(values)
    print(f"{name}: {mean:+.2f} [{low:+.2f}, {high:+.2f}]")
assert low < 0 < high

# %% [markdown]
# From the movie that was fitted to the one that was not, the loss rises by half a nat. But from there to the test movie
# it rises by as much again, and neither of these two was fitted. So of two movies that were both held out, the later
# one is the harder. What the first difference has beyond the second is about zero. Its interval is wide: this does not
# show that there is no overfitting. It shows that a gap between the losses in training and on held-out movies is no
# proof of it. Two rules follow. Call `model.eval()` before measuring, since it turns dropout off. And compare two
# models on the same movies, not one model on two sets of movies.
#
# And how much dropout is best? The trials of [chapter 11](11_honest_evaluation.ipynb) say something about it: each
# model was trained with the same twelve settings, drawn at random, and here is the best of them for each amount of
# dropout of the tokens' vectors, with the mean over the trials. (NDCG@10, which chapter 11 explains, counts the place
# in the list as well.)

# %%
trials = pd.read_csv("results/11_tuning.csv")
trials = trials[trials["model"] == "decoder-only"]
by_dropout = trials.groupby(["split", "embedding_dropout"])["ndcg"]
print(by_dropout.agg(["count", "max", "mean"]).round(3))
best_of = by_dropout.max().unstack()
assert (best_of[0.4] < best_of[[0.1, 0.2]].min(axis=1)).all()

# %% [markdown]
# On both splits the best trial has a dropout of 0.1 or 0.2, and the best one with 0.4 is behind both. That is a hint
# and not a measurement: the trials differ in learning rate, weight decay, length and the dropout inside the blocks as
# well, and in none are all numbers of a token's vector kept.
#
# So the script from above trained the recommender again with one thing changed: no dropout, or twice as much, for 500
# steps and with three seeds each:

# %% tags=["nbval-check-output"]
ends = study[study["step"] == 500].set_index("variant")
for share, variant in (
    (0, "decoder-only, dropout 0"),
    (0.2, "decoder-only"),
    (0.4, "decoder-only, dropout 0.4"),
):
    rows = ends.loc[[variant]]
    in_sum = rows[[f"loss_{level}" for level in (1, 2, 3, 4)]].sum(axis=1)
    recall = rows["test_recall"]
    assert len(rows) == 3
    print(f"dropout {share:<3}  loss {in_sum.mean():.2f}", end=" ")
    print(f"({in_sum.min():.2f}–{in_sum.max():.2f}),", end=" ")
    print(f"Recall@10 {recall.mean():.3f}", end=" ")
    print(f"({recall.min():.3f}–{recall.max():.3f})")

# %% [markdown]
# In 500 steps, dropout only costs. The loss is lowest without it in every seed, and highest with 0.4. In Recall@10 the
# seeds without it and with a fifth overlap. These models have read the histories fewer than seven times, so there is
# little yet that they could know by heart. Whether the default of 0.2 pays off in a longer training is not measured here.
#
# ## From loss to recommendations
#
# A loss is a mean over all targets; a recommendation is a list of ten. **Recall@10** is the share of people whose
# hidden movie is among ten recommendations. The recommender finds its ten by *beam search*, which keeps the fifty most
# probable beginnings at each level; [the quickstart](00_quickstart.ipynb) shows it, and the next chapter builds it.
# Does that search find the ten best? For four people, we compute the probability of *all* 9,066 movies and compare.

# %%
found = recommend(shipped, histories, k=10, beams=50).items  # (671, 10)
few = histories[:4]
exact = score_items(shipped, few)  # (4, 9066), log-probabilities
for row, history in enumerate(few):
    exact[row, history] = -torch.inf  # not what they have had
best = exact.topk(10).indices
same = (best == found[:4]).float().mean()
print(f"places where beam and exact ranking agree: {same:.0%}")
assert same > 0.8

# %%
ranks = {
    "popularity": ranks_in_scores(
        popular.expand(len(targets), -1), targets, excluded=histories
    ),
    "shipped": ranks_in_lists(found, targets),
}
hit = {name: recall_at(places, 10) for name, places in ranks.items()}
hit["lead"] = hit["shipped"] - hit["popularity"]  # −1, 0 or 1 a person
for name, values in hit.items():
    mean, low, high = with_interval(values)
    print(f"{name:<10} {mean:.3f} [{low:.3f}, {high:.3f}]")
claimed = card["metrics"]["Validation Recall@10"]
assert abs(float(hit["shipped"].mean()) - claimed) < 0.005

# %% [markdown]
# Fifty beams are close to the exact ranking for these four people, so we use them for all 671. The recommender's lead
# over popularity is taken person by person, and its interval does not include zero. In this sense the model of the
# opening, worse than a blind guess, recommends better than popularity.
#
# ## Only codes that exist, in training too
#
# If the search never leaves the existing IDs, why should the model learn which they are? The catalogue could say it
# from the start: in training, too, let only the *existing* codes compete, those that lead to a movie, given the true
# codes before. The library calls this `valid_only`. Nothing else changes, and the weights of the shipped recommender
# fit into such a model. Asked without any history, its loss is the one that {numref}`fig-08-history` shows for no
# movie:

# %%
strict = DecoderOnly(DecoderOnlyConfig(valid_only=True), ids).eval()
strict.load_state_dict(shipped.state_dict())
with torch.no_grad():
    loss = float(strict.loss(targets[:, None]))  # 671 histories of no movie
assert math.isclose(loss, kept[0], rel_tol=1e-4)
print(f"{loss:.2f} nats")

# %% [markdown]
# ### What it brings
#
# The script from above also trained the recommender with `valid_only`. All else is the same, with 500 steps and three
# seeds. In the table, `all` is the validation loss, summed over the levels, and `existing` the one among existing IDs
# (with `valid_only`, the two are the same); `first` and `second` are the parts of `existing` at the first two codes.
#
# {question} gain-of-valid-only

# %%
VARIANTS = {
    "decoder-only": "as it is",
    "decoder-only, valid": "valid_only",
}
last = study[study["step"] == study["step"].max()].copy()
last = last[last["variant"].isin(VARIANTS)].replace({"variant": VARIANTS})
four = (1, 2, 3, 4)
last["all"] = last[[f"loss_{i}" for i in four]].sum(axis=1)
last["existing"] = last[[f"valid_{i}" for i in four]].sum(axis=1)
last["first"], last["second"] = last["valid_1"], last["valid_2"]
by_variant = last.groupby("variant", sort=False)
NUM_SEEDS = 3
assert (by_variant["seed"].nunique() == NUM_SEEDS).all()
print(by_variant[["all", "existing", "first", "second"]].mean().round(2))
seeds = last.pivot(index="seed", columns="variant", values="existing")
assert (seeds["valid_only"] < seeds["as it is"]).all()

# %% [markdown]
# How well do they recommend? `08_hits.csv` names the people whose hidden movie each training found, so that two
# variants can be compared person by person. The *test* movies, each person's last, are held out as well, so we ask
# about both. {numref}`fig-08-variants` shows all seeds.

# %%
hits = pd.read_csv("results/08_hits.csv").replace({"variant": VARIANTS})


def found_by(variant, part):
    """For each person, the share of the seeds that found the movie: (671,)."""
    of = hits[(hits["variant"] == variant) & (hits["part"] == part)]
    count = torch.bincount(torch.tensor(of["person"].values), minlength=671)
    return count.double() / NUM_SEEDS


print("Recall@10, and less that of the recommender as it is")
for part in ("validation", "test"):
    plain = found_by("as it is", part)
    print(f"as it is    {part:<10} {plain.mean():.3f}")
    found = found_by("valid_only", part)
    mean, low, high = with_interval(found - plain)
    print(f"valid_only  {part:<10} {found.mean():.3f}", end="  ")
    print(f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]")
    assert low < 0 < high

test_ranks = ranks_in_scores(
    popular.expand(len(test_targets), -1), test_targets, test_histories
)
by_popularity = float(recall_at(test_ranks, 10).mean())
print(f"popularity  test       {by_popularity:.3f}")

# %% mystnb={"image": {"alt": "Two panels with a row for each of two variants, three points each. Left, the validation loss among existing IDs: 7.8 as it is, 7.5 with valid_only, both below the dashed line of movie counts at 8.1. Right, test Recall at 10, between 0.06 and 0.08 for both, with intervals that overlap and lie right of the dashed line of popularity at 0.043."}, "figure": {"caption": "When only existing codes compete in training, the loss among existing IDs is lower on every seed; no difference in Recall can be shown here. Points are seeds, bars 95 % intervals over people of the seeds' mean, dashed lines movie counts and popularity.", "name": "fig-08-variants"}}
fig, (left, right) = plt.subplots(1, 2, figsize=(7, 2.2), sharey=True)
order = list(VARIANTS.values())[::-1]
place = last["variant"].map(order.index)
left.plot(last["existing"], place, "o", ms=5, alpha=0.6)
right.plot(last["test_recall"], place, "o", ms=5, alpha=0.6)
for height, variant in enumerate(order):
    _, low, high = with_interval(found_by(variant, "test"))
    right.plot([low, high], [height - 0.2] * 2, c="0.5")
left.axvline(counting, ls="--", c="gray")  # movie counts
right.axvline(by_popularity, ls="--", c="gray")
left.set(xlabel="validation loss, existing IDs")
right.set(xlabel="test Recall@10", xlim=(0, None))
left.set_yticks(range(len(order)), order)
left.margins(y=0.4)
fig.tight_layout()
plt.show()

# %% [markdown]
# **Leave it to the catalogue which IDs exist.** With `valid_only` the loss among existing IDs is lower on every seed.
# After 500 steps it is even lower than that of the shipped recommender after 1,000. Most of the gain is at the second
# code, where it is now slightly better than movie counts, 2.73 against 2.77. Its Recall is a little higher in the
# mean, but the intervals of the paired differences include zero: a better loss among existing IDs has not been shown
# to make better lists.
#
# TIGER {cite}`rajput2023tiger` has a second transformer, an *encoder*, which reads the history; its decoder writes
# only the codes of the next movie. [Chapter 10](10_three_architectures.ipynb) builds both, and compares three
# architectures that were trained for longer.
#
# ## Exercises
#
# ### Exercise 1 · The mean of a padded batch (difficulty ★★☆, 10 minutes)
#
# You get `nats`, the surprise at each code, of shape (B, T, L), and `items`, the movies of the batch, of shape (B,
# T), int64, with −1 for padding. Return the batch's loss, a tensor of shape (): a movie's loss is the sum over its
# levels, and the batch's is the mean over its movies. What stands in `nats` at the padding means nothing, and may
# even be NaN.


# %%
def nats_an_item(nats, items):
    raise NotImplementedError("your turn")


_ = checks.nats_an_item(nats_an_item)


# %% tags=["hide-cell"]
def nats_an_item_solution(nats, items):
    real = items != -1  # (B, T)
    return nats[real].sum(1).mean()


assert checks.nats_an_item(nats_an_item_solution)

# %% [markdown]
# ### Exercise 2 · What the loss asks of the logits (difficulty ★★★, 25 minutes)
#
# Training moves the logits of a level by their gradient. Derive it, without autograd, for the loss in which only
# existing codes compete. You get `logits` of shape (M, K); `code`, the true codes, of shape (M,), int64; and
# `exists`, of shape (M, K), bool: which codes lead to a movie. The true code always exists. The loss is the mean over
# the M rows of −log *p*(true code), where the softmax runs over the existing codes of the row. Return its gradient
# with respect to the logits, shape (M, K), 0 for codes that do not exist.


# %%
def gradient_at_logits(logits, code, exists):
    raise NotImplementedError("your turn")


_ = checks.gradient_at_logits(gradient_at_logits)


# %% tags=["hide-cell"]
def gradient_at_logits_solution(logits, code, exists):
    # −log p = logsumexp(existing logits) − true logit. The derivative of the
    # first term is the softmax; that of the second is 1 at the true code.
    p = logits.masked_fill(~exists, -torch.inf).softmax(1)  # (M, K)
    true = F.one_hot(code, logits.shape[1])
    return (p - true) / len(logits)


assert checks.gradient_at_logits(gradient_at_logits_solution)

# %% [markdown]
# The solution says why `valid_only` changes what is learned: a code that leads nowhere has the gradient 0. Without
# the restriction each such code is pushed down at every step, by as much as it is probable.
#
# ### Exercise 3 · Break the causal mask (difficulty ★★☆, 10 minutes)
#
# `x` holds sixteen tokens, of shape (16, 64), and `matrices` the three matrices that make queries, keys and values. This
# is causal attention with one head:
#
# ```python
# q, k, v = (x @ w for w in matrices)
# scores = q @ k.T / 8
# later = torch.ones(16, 16).triu(1).bool()
# weights = scores.masked_fill(later, -torch.inf).softmax(1)
# received = weights @ v
# ```
#
# Below are six changes, each made alone:
#
# | change | the new line |
# | --- | --- |
# | a | `weights = scores.softmax(1).masked_fill(later, 0)` |
# | b | `weights = scores.masked_fill(later, -100).softmax(1)` |
# | c | `q, k, v = ((x - x.mean(0, keepdim=True)) @ w for w in matrices)` |
# | d | `q, k, v = ((x - x.mean(1, keepdim=True)) @ w for w in matrices)` |
# | e | `weights = scores.masked_fill(later, -torch.inf).softmax(0)` |
# | f | `scores = k @ q.T / 8` |
#
# With which of them does what the first twelve tokens receive depend on the last four?
#
# Decide first, then write a function that takes the letter of a change, such as `"a"`, and returns `True` if it does.
# The check runs these very lines twice, the second time with other tokens in the last four places, and says what came
# of the first change about which you were wrong.


# %%
def sees_ahead(change):
    raise NotImplementedError("your turn")


_ = checks.sees_ahead(sees_ahead)


# %% tags=["hide-cell"]
def sees_ahead_solution(change):
    # a: the softmax has divided by a sum over all tokens.
    # c: the mean is taken over all tokens.
    # e: each column sums to 1 over the tokens that read it.
    return change in ("a", "c", "e")


assert checks.sees_ahead(sees_ahead_solution)

# %% [markdown]
# ### Exercise 4 · Which part of the order counts? (open task, 40 minutes)
#
# The last 49 movies in random order lose 0.19 nats. Is it the order of all of them that the recommender uses, or only
# which ones came last? Find out with the shipped recommender, and write your answer in about five sentences, with one
# table. No check can grade this. Judge it yourself:
#
# | | not yet | a good answer |
# | --- | --- | --- |
# | histories | one more shuffle | several that keep the movies and change one part of the order each |
# | loss | over all codes | among existing IDs, which recommending rests on |
# | chance | a difference of two means | the difference person by person, with an interval |
# | people | the validation movies | the test movies as well |
# | verdict | "order matters" | which part of it, how much, and what this cannot say about a model trained on shuffled histories |
#
# <details>
# <summary>One way to do it</summary>
#
# It is mostly which movies came last (the folded cell below prints the table). With all 49 in random order, 0.19 nats
# are lost on the validation movies and 0.23 on the test movies. If the last five stay where they are, and only the
# others are mixed, 0.02 and 0.04 are left of it. If only the last five are mixed among themselves, it is 0.01 in both.
# That the very last one stays helps less: 0.15 are still lost in both. So the recommender hardly uses the order within
# the last five or before them; it uses which five these are. It is not simply that the last five are better informants:
# without them, from the 44 others in order, 0.22 are lost, about as much as by mixing all 49, which keeps them. Turned
# round, the history is worse than mixed, 0.47 and 0.51, because the oldest movies now stand where the model expects the
# latest. This says what this model uses. One that was trained on mixed histories might do better with them, and the
# loss says nothing yet of the lists.
#
# </details>


# %% tags=["hide-cell"]
def mixed(part, generator):
    return part[torch.randperm(len(part), generator=generator)]


def early_mixed(history, generator, stay):
    """All but the last `stay` movies in random order."""
    early, late = history[: len(history) - stay], history[len(history) - stay :]
    return torch.cat([mixed(early, generator), late])


def late_mixed(history, generator, count):
    """The last `count` movies in random order."""
    return torch.cat([history[:-count], mixed(history[-count:], generator)])


orders = {
    "all mixed": lambda h, g: mixed(h, g),
    "mixed, the last one stays": lambda h, g: early_mixed(h, g, 1),
    "mixed, the last five stay": lambda h, g: early_mixed(h, g, 5),
    "the last five mixed": lambda h, g: late_mixed(h, g, 5),
    "turned round": lambda h, g: h.flip(0),
    "the last five left out": lambda h, g: h[:-5],
}
print("nats among existing IDs, more than with the right order")
for part, (its_histories, its_targets) in {
    "validation": (histories, targets),
    "test": (test_histories, test_targets),
}.items():
    right = [history[-49:] for history in its_histories]
    plain = nats_of_each(shipped, right, its_targets)[1].sum(1)
    for name, reordered in orders.items():
        generator = torch.Generator().manual_seed(0)
        changed = [reordered(history, generator) for history in right]
        nats = nats_of_each(shipped, changed, its_targets)[1].sum(1)
        mean, low, high = with_interval(nats - plain)
        print(f"{part:<10}  {name:<25}", end=" ")
        print(f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]")

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
# Yes, a model can be worse than a blind guess and still recommend well, since the loss also asks for something that
# recommending does not need. Of the recommender's 9.68 nats, against 9.11 of the blind guess, 2.12 are lost to codes
# that lead to no movie, and the search never follows these. Among existing IDs the recommender is better than counting,
# 7.56 against 8.14, and that is where recommendations come from: its ten movies hold the hidden one for 8.0 % of the
# people, the most popular ten for 4.5 %.
#
# A history becomes a sentence of four codes a movie, and a causal mask makes each movie of it a question of its own. A
# loss that is lower in training than on later movies is no proof of overfitting: here, of two movies that were both
# held out, the later one was as much harder. The recommender learned to spell first and to read the history later, and
# all of its lead over movie counts was at the first code. Letting only existing codes compete in training removes the
# need to learn which IDs there are, and brings a lower loss among them in the same number of steps. Whether it brings
# better lists, these 671 people cannot tell.
#
# ## What's next
#
# The recommender gives probabilities to codes. To turn them into ten movies, and only into movies that exist, takes a
# search. [The next chapter](09_constrained_generation.ipynb) builds the tree of IDs, the beam search and the memory
# that makes it fast. [How the library is laid out](../book/library_layout.md) shows where each part of this chapter
# lives.
#
# ## References
#
# - Rajput et al. (2023), *Recommender Systems with Generative Retrieval* {cite}`rajput2023tiger`: TIGER, an
#   encoder–decoder over semantic IDs.
# - Press and Wolf (2017), *Using the Output Embedding to Improve Language Models* {cite}`press2017tying`: weight tying.
# - Vaswani et al. (2017), *Attention Is All You Need* {cite}`vaswani2017attention`: attention, the transformer, warm-up.
# - Xiong et al. (2020), *On Layer Normalization in the Transformer Architecture* {cite}`xiong2020prenorm`: normalising
#   before each part.
# - Srivastava et al. (2014), *Dropout: A Simple Way to Prevent Neural Networks from Overfitting*
#   {cite}`srivastava2014dropout`.
# - Loshchilov and Hutter (2017), *SGDR: Stochastic Gradient Descent with Warm Restarts* {cite}`loshchilov2017sgdr`: the
#   cosine.
# - Loshchilov and Hutter (2019), *Decoupled Weight Decay Regularization* {cite}`loshchilov2019adamw`: AdamW.
