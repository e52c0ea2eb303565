# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Is it any good, and how would one know?
#
# A recommender that knows nothing about anybody, and names the most popular movies to all, finds the hidden movie among
# its ten in 44 % of the cases. It also finds it in 4 %. Both numbers stand in one [public
# reproduction](https://github.com/jeannineshiu/sequential-rec-from-sasrec-to-tiger), for the same lists and the same
# people, and both are right. How can one model be that good and that bad at once? And if a number can move by a factor
# of ten without the model changing, how would anyone know that a generative recommender is any good?
#
# :::{admonition} What you will learn
# - three opponents that any recommender must beat, two of them built by hand
# - how Recall, NDCG and MRR come from one rank, and what a NaN does to all of them
# - how sure 671 people can make us, why a paired difference says more, and what seeds add
# - why tuning must be equal, and how ranking against a hundred drawn movies inflates a result
# - how the models of this book compare with a tuned SASRec, on three splits, and with published numbers
# :::
#
# | You need | Why | Where |
# | --- | --- | --- |
# | the two splits | a result is about one of them | [Chapter 01](01_data_splits_leakage.ipynb) |
# | a decoder over semantic IDs | it is one of the models that are judged | [Chapter 08](08_training_a_decoder.ipynb) |
# | the RQ-Transformer, and a vector for each prefix | the strongest generative model here | [Chapter 10](10_three_architectures.ipynb) |
# | means and standard deviations | an interval is made of them | any introduction to statistics |
#
# **Time:** about 30 minutes to read.

# %%
from math import comb

import matplotlib.pyplot as plt
import pandas as pd
import torch
from torch.nn import functional as F

from rqvae_lib import (
    ItemKNN,
    global_timestamp,
    leave_last_out,
    leave_one_out,
    load_dataset,
    load_recommender,
    load_sasrec,
)
from rqvae_lib.evaluation.metrics import (
    bootstrap_interval,
    coverage,
    mean_of_each_user,
    mean_popularity,
    mrr_at,
    ndcg_at,
    ranks_in_scores,
    recall_at,
    top_items,
)
from rqvae_lib.evaluation.validation import tuned_item_knn
from rqvae_lib.teaching.exercises import chapter_11 as checks

# %%
# NBVAL_CHECK_OUTPUT
data = load_dataset("movielens-small-2016")
split = leave_one_out(data)
histories, targets = split.histories_and_targets(split.test)
popularity = split.popularity  # (9066,)
print(f"{len(targets)} people, {data.num_items:,} movies")

# %% [markdown]
# ## Three opponents
#
# **Popularity** counts how often each movie was rated, and recommends the same to everybody. It is the floor.
#
# **Item-kNN** {cite}`sarwar2001itemknn` asks what the people who had this had besides. Two movies are similar if the
# same people rated both: the number of people who rated both, divided by the square root of the product of how many
# rated each. This is the cosine of their columns in the table of people and movies. By hand, on three movies:

# %%
# NBVAL_CHECK_OUTPUT
three = data.item_index([260, 1196, 1210]).tolist()
people_of = [
    {person for person in range(671) if movie in split.train[person]}
    for movie in three
]
for movie, fans in zip(three, people_of, strict=True):
    print(f"{len(fans)} people: {data.titles[movie]}")


def cosine(one, other):
    return len(one & other) / (len(one) * len(other)) ** 0.5


last = cosine(people_of[0], people_of[2]), cosine(people_of[1], people_of[2])
print(f"similarity to the third: {last[0]:.3f}, {last[1]:.3f}")

# %% [markdown]
# Somebody who has had the first two gets the sum of both as a score for the third. The library computes all pairs in
# one product of sparse matrices, and keeps the hundred most similar movies of each.

# %%
plain = ItemKNN(split.train, data.num_items, num_neighbors=100)
by_library = plain.scores([torch.tensor(three[:2])])[0]  # (9066,)
torch.testing.assert_close(float(by_library[three[2]]), sum(last))

# %% [markdown]
# A pair of movies that a single person rated, and nobody else, has a cosine of 1: the most similar pair of all, on the
# word of one witness. **Shrinkage** adds a constant to the denominator and so doubts such pairs. And how many movies of
# a history should be heard, all or the last few? These are settings, and an opponent deserves good ones. We try eight,
# on the *validation* movies, and keep the one with the highest NDCG@10, a metric that the next section builds.

# %%
before, hidden = split.histories_and_targets(split.validation)
shrunk = ItemKNN(split.train, data.num_items, num_neighbors=100, shrinkage=20.0)
trials = {}
for name, model in [("none", plain), ("20", shrunk)]:
    for heard in (None, 20, 5, 1):
        model.last = heard  # the table of neighbours stays the same
        ranks = ranks_in_scores(model.scores(before), hidden, before)
        recall = float(recall_at(ranks, 10).mean())
        trials[name, heard] = float(ndcg_at(ranks, 10).mean())
        print(
            f"shrinkage {name:>4}, last {heard or 'all':>3}: "
            f"Recall {recall:.3f}, NDCG {trials[name, heard]:.3f}"
        )
best = max(trials, key=trials.get)
worst = min(trials, key=trials.get)
gain = trials[best] / trials[worst] - 1
print(f"best: shrinkage {best[0]}, last {best[1] or 'all'}, {gain:+.0%} NDCG")
assert gain > 0.4
by_library = tuned_item_knn(split)
assert (f"{by_library.shrinkage:g}", by_library.last) == ("20", best[1])

# %% [markdown]
# To hear the whole history is a poor choice here: the last few movies say most. The library's `tuned_item_knn`, which
# `rqvae-lib evaluate` uses, makes the same choice. From the worst of these settings to the best, the NDCG of this
# simple method rises by more than half. Ferrari Dacrema et al. {cite}`ferraridacrema2019progress` re-ran eighteen
# neural recommenders from leading conferences. They could reproduce seven with reasonable effort, and six of these were
# often outdone by simple methods such as this one, tuned.
#
# **SASRec** {cite}`kang2018sasrec` is the opponent that matters most: a causal transformer like the decoder of [chapter
# 08](08_training_a_decoder.ipynb), but every movie is a single token with a vector of its own. There are no codes and
# no search. The output behind the last movie, multiplied with each movie's vector, scores the whole catalogue. The
# library trains it with the surprise at the true next movie among *all* movies, at every position (full cross-entropy),
# since Klenitskiy and Vasilev {cite}`klenitskiy2023dross` found that the original's comparison with a single drawn
# movie costs it a fifth of its Recall. By hand, with the SASRec that the library ships:

# %%
sasrec, _ = load_sasrec("movielens-small-2016")
history = histories[0]  # (T,), fewer than fifty movies
with torch.no_grad():
    tokens = sasrec.item_embedding(history)  # (T, 64)
    tokens = tokens + sasrec.position.weight[: len(history)]
    tokens = torch.cat([sasrec.start[None], tokens])  # (1 + T, 64)
    hidden_states = sasrec.transformer(tokens[None])[0]  # (1 + T, 64)
    logits = hidden_states @ sasrec.item_embedding.weight.T + sasrec.bias
    loss = F.cross_entropy(logits[:-1], history)  # each from those before
    torch.testing.assert_close(logits[-1:], sasrec.scores([history]))
    torch.testing.assert_close(loss, sasrec.loss(history[None]))

# %% [markdown]
# ## One rank, three numbers
#
# A model scores all movies; those in the history are left out; and the hidden movie, the *target*, has a *rank*, 1 if
# nothing scores higher. (Of equal scores, the movie of the lower row comes first.) All that follows is computed from
# it. **Recall@10** is 1 if the rank is at most 10, else 0. **NDCG@10** (normalized discounted cumulative gain)
# {cite}`jarvelin2002ndcg` is 1 / log₂(1 + rank) within the first ten, so that the first place counts more than the
# tenth, and **MRR@10** (mean reciprocal rank) is 1 / rank, within the first ten too. For three people whose targets
# have the ranks 1, 3 and 12:

# %%
# NBVAL_CHECK_OUTPUT
ranks = torch.tensor([1, 3, 12])
by_hand = {
    "Recall": [1, 1, 0],
    "NDCG": [1, 1 / 2, 0],  # log₂(1 + 3) = 2
    "MRR": [1, 1 / 3, 0],
}
metrics = {"Recall": recall_at, "NDCG": ndcg_at, "MRR": mrr_at}
for name, metric in metrics.items():
    expected = torch.tensor(by_hand[name]).double()
    torch.testing.assert_close(metric(ranks, 10), expected)
    print(f"{name}@10 {expected.mean():.3f}")

# %% [markdown]
# Some programs compute a rank by counting the movies that score higher than the target. What if a model has diverged,
# and its scores are *NaN*, not a number? Every comparison with a NaN is false. So nothing scores higher:

# %%
# NBVAL_CHECK_OUTPUT
broken = torch.full((671, data.num_items), torch.nan)
target_score = broken[torch.arange(671), targets][:, None]
ranks = 1 + (broken > target_score).sum(1)
print(f"Recall@10 of a broken model: {recall_at(ranks, 10).mean():.3f}")
try:
    ranks_in_scores(broken, targets, histories)
except ValueError as error:
    print("ValueError:", error)
del broken

# %% [markdown]
# A model that says nothing is perfect. This has happened: the reproduction of the opening first published two numbers
# that were too high because of it, and said so. The library's ranks raise an error instead.
#
# ## How sure are we?
#
# From here on, item-kNN has its best settings. Its test results rest on 671 people. How far off could they be? The
# *bootstrap* {cite}`efron1979bootstrap` draws 671 people anew from ours, with repetition, a thousand times, and looks
# at how the mean moves; the middle 95 % of these means are the interval.

# %%
tuned = {"none": plain, "20": shrunk}[best[0]]
tuned.last = best[1]
scores = {
    "popularity": popularity.expand(671, -1),
    "item-kNN": tuned.scores(histories),
}
test_ranks = {
    name: ranks_in_scores(values, targets, histories)
    for name, values in scores.items()
}
hits = {name: recall_at(ranks, 10) for name, ranks in test_ranks.items()}


# %%
def seeded():
    return torch.Generator().manual_seed(0)


values = hits["item-kNN"]  # (671,), 0 or 1
drawn = torch.randint(671, (1000, 671), generator=seeded())
means = values[drawn].mean(1)  # (1000,)
by_hand = torch.quantile(means, torch.tensor([0.025, 0.975]).double())
interval = bootstrap_interval(values, generator=seeded())
torch.testing.assert_close(by_hand, torch.tensor(interval).double())
print(f"item-kNN {values.mean():.3f} [{interval.low:.3f}, {interval.high:.3f}]")

# %% [markdown]
# Does such an interval keep its promise? We invent a world in which the truth is known: everybody has a chance of
# exactly 0.08. From it we take 671 people, 300 times, and count how often the interval holds 0.08.

# %%
generator = torch.Generator().manual_seed(1)
kept = 0
for _ in range(300):
    world = (torch.rand(671, generator=generator) < 0.08).double()
    low, high = bootstrap_interval(world, generator=generator, num_samples=100)
    kept += low <= 0.08 <= high
print(f"the interval held the truth in {kept / 300:.0%} of 300 worlds")
assert 0.88 < kept / 300 < 0.99

# %% [markdown]
# About as often as promised (a hundred draws each make the ends a little rough). Two models can be compared in two
# ways. One may hold two intervals side by side. Or one takes the difference *person by person* and bootstraps that:
# what is hard about a person is hard for both, and cancels. (If two intervals are of different people, the half-width
# of the difference is the root of the sum of their squares: independent variances add.)

# %%
lead = hits["item-kNN"] - hits["popularity"]  # −1, 0 or 1 a person
width = {}
for name, values in [*hits.items(), ("paired lead", lead)]:
    low, high = bootstrap_interval(values, generator=seeded())
    width[name] = (high - low) / 2
    print(f"{name:<12} {values.mean():.3f} [{low:.3f}, {high:.3f}]")
apart = (width["item-kNN"] ** 2 + width["popularity"] ** 2) ** 0.5
print(f"half-width of the lead: {apart:.3f} as if of different people,")
print(f"{width['paired lead']:.3f} for the same people")
both = float((hits["item-kNN"] * hits["popularity"]).sum())
print(f"found by both: {both:.0f} people")

# %% [markdown]
# How much narrower the paired interval is depends on how often both find the same person's movie. For popularity and
# item-kNN that is seldom, and the gain is small. Two good models agree more often; with these, the same computation
# will leave an interval less than half as wide.
#
# ## Seeds, and one vote a person
#
# A trained model has another source of chance, its *seed*: the first weights and the order of the batches. The next
# table was made by a script,
#
#     OMP_NUM_THREADS=1 python book/studies/comparison_study.py
#
# which trained each model of this book on five seeds, with the settings that the next section explains. It takes hours
# on a processor, so most of it ran on a GPU. It wrote two files: the means of each training, and the Recall@10 and
# NDCG@10 of each person for whom they are not zero. A few of its models have names that say what is different about
# them:
#
# | name | what is different |
# | --- | --- |
# | *text and taste* | the IDs come from texts and from who chose what (`both` in [chapter 06](06_collisions.ipynb)) |
# | *codes only* | no vectors for prefixes ([chapter 10](10_three_architectures.ipynb)) |
# | *borrowed* | the settings are those that suit another model |
# | *random IDs* | the IDs are dealt out to the movies by chance |
# | *untrained RQ-VAE* | the IDs come from an encoder of random weights |
#
# We look at two splits ([chapter 01](01_data_splits_leakage.ipynb)). *Leave-one-out* hides each person's last movie.
# *Timestamp* hides what was rated after one moment, the same for all {cite}`ji2023leakage`. There, some people have
# hundreds of targets. So that the busiest do not decide everything, the mean of each person is taken first, and each
# person has one vote.

# %%
# NBVAL_CHECK_OUTPUT
in_time = global_timestamp(data)
splits = {"leave-one-out": split, "timestamp": in_time}
tested = {
    name: chosen.everything.user_of(chosen.test).unique()
    for name, chosen in splits.items()
}
for name, chosen in splits.items():
    print(f"{name}: {len(chosen.test):,} targets of {len(tested[name])} people")

# %%
NUM_SEEDS = 5
trainings = pd.read_csv("results/11_comparison.csv")
people = pd.read_csv("results/11_people.csv")
study = trainings[trainings["split"].isin(splits)]
of_models = study.groupby(["split", "model"], sort=False)
assert (of_models["seed"].nunique() == NUM_SEEDS).all()


def of_people(split_name, model, column):
    """Each tested person's value, the mean over the seeds: (U,)."""
    rows = people[(people["split"] == split_name) & (people["model"] == model)]
    total = torch.zeros(data.num_users, dtype=torch.float64)
    persons = torch.tensor(rows["person"].to_numpy())
    total.index_add_(0, persons, torch.tensor(rows[column].to_numpy()))
    return total[tested[split_name]] / NUM_SEEDS


def with_interval(values):
    low, high = bootstrap_interval(values, generator=seeded())
    return float(values.mean()), low, high


# %%
# NBVAL_CHECK_OUTPUT
summary = {}
for (split_name, model), rows in of_models:
    mean, low, high = with_interval(of_people(split_name, model, "recall_10"))
    assert abs(mean - rows["recall_10"].mean()) < 1e-3
    summary[split_name, model] = mean, low, high
    spread = rows["recall_10"].min(), rows["recall_10"].max()
    print(
        f"{split_name[:9]:<9} {model:<38} {mean:.3f} "
        f"[{low:.3f}, {high:.3f}], seeds {spread[0]:.3f}–{spread[1]:.3f}"
    )


# %%
def popularity_of_people(chosen):
    """Popularity's Recall@10 for each person: ranks from one order of all."""
    counts = chosen.popularity
    place = counts.argsort(descending=True, stable=True).argsort()  # (N,)
    pairs = zip(*chosen.histories_and_targets(chosen.test), strict=True)
    ranks = [
        1 + int(place[target]) - int((place[history] < place[target]).sum())
        for history, target in pairs
    ]
    hit = recall_at(torch.tensor(ranks), 10)
    return mean_of_each_user(hit, chosen.everything.user_of(chosen.test))


of_popularity = {name: popularity_of_people(c) for name, c in splits.items()}
assert torch.equal(of_popularity["leave-one-out"], hits["popularity"])
for split_name, values in of_popularity.items():
    mean, low, high = with_interval(values)
    print(f"{split_name}, popularity: {mean:.3f} [{low:.3f}, {high:.3f}]")
for model in ("SASRec", "RQ-Transformer"):
    lead = of_people("timestamp", model, "recall_10")
    mean, low, high = with_interval(lead - of_popularity["timestamp"])
    print(f"timestamp, {model} − popularity: {mean:+.3f}", end=" ")
    print(f"[{low:+.3f}, {high:+.3f}]")

# %% mystnb={"image": {"alt": "One panel for each split, with a row for each trained model. Points show the Recall at 10 of single seeds, and a bar below them the 95 percent interval over people. The points of a model lie close together, and the bars are wider and overlap for most models. Dashed lines mark popularity, at 0.043 in leave-one-out and 0.050 in timestamp. In leave-one-out SASRec and the RQ-Transformers with vectors for prefixes lie rightmost; in timestamp all lie closer together, with SASRec in front."}, "figure": {"caption": "Seeds differ less than samples of people would: the points of a model lie closer together than its bar is wide. Points are seeds, bars 95 % intervals over people of the seeds' mean, dashed lines popularity.", "name": "fig-11-models"}}
shown = list(study["split"].unique())
names = list(study["model"].unique())[::-1]
fig, axes = plt.subplots(
    1, len(shown), figsize=(7, 4.6), sharey=True, squeeze=False
)
for ax, split_name in zip(axes[0], shown, strict=True):
    rows = study[study["split"] == split_name]
    ax.plot(rows["recall_10"], rows["model"].map(names.index), "o", alpha=0.6)
    for model in rows["model"].unique():
        mean, low, high = summary[split_name, model]
        ax.plot([low, high], [names.index(model) - 0.25] * 2, c="0.4")
    ax.axvline(of_popularity[split_name].mean(), ls="--", c="gray")
    ax.set(title=split_name, xlabel="Recall@10", xlim=(0, None))
axes[0, 0].set_yticks(range(len(names)), names, fontsize=7)
axes[0, 0].margins(y=0.06)
fig.tight_layout()
plt.show()

# %% [markdown]
# {numref}`fig-11-models` shows both kinds of chance. The seeds of a model lie within a few thousandths to hundredths of
# each other. The interval over people is wider. A paper that reports the spread over seeds, and nothing else, reports
# the smaller part of its uncertainty.
#
# The panels agree on much and disagree on the top. In leave-one-out, SASRec and the RQ-Transformer have three times
# popularity's Recall. In timestamp, where training knows only 10 of the 82 people ([chapter
# 01](01_data_splits_leakage.ipynb)), both are still ahead of popularity, as the two last lines above say, but by far
# less, and SASRec leads. To know how a model would do in a service, the second panel is the one to look at.
#
# ## Equal trials
#
# With what settings was each model trained? Another script,
#
#     OMP_NUM_THREADS=1 python book/studies/tuning.py
#
# tried the same twelve settings on five models and both splits: learning rate, weight decay, two kinds of dropout and
# the number of steps. It measured NDCG@10 on the validation movies of the split, and each model keeps its best. One of
# the five is the RQ-Transformer over text and taste: its tokenizer read, besides the texts, collaborative vectors of
# the split's training part ([chapter 02](02_item_embeddings.ipynb)).
#
# The other rows of {numref}`fig-11-models` had no trials. They take the RQ-Transformer's settings, so they may be
# better than they look. What that can cost is seen in the decoder-only model, which is there twice: with settings of
# its own, and *borrowed*. {numref}`fig-11-tuning` shows all trials, those of item-kNN too.

# %%
# NBVAL_CHECK_OUTPUT
tuning = pd.read_csv("results/11_tuning.csv")
by_model = tuning.groupby(["split", "model"], sort=False)["ndcg"]
table = by_model.agg(["count", "min", "median", "max"])
for (split_name, model), row in table.iterrows():
    print(
        f"{split_name:<13} {model:<31} {row['count']:.0f} trials, NDCG@10 "
        f"{row['min']:.3f} to {row['max']:.3f}"
    )

# %% mystnb={"image": {"alt": "Two panels, one for each split, with dots in one row for each model: the validation NDCG at 10 of each trial, the best marked. Every row is a wide spread: the worst trial of a model has between a third and just over three quarters of its best. The best trials of SASRec and of the two RQ-Transformers lie close together; those of decoder-only, encoder-decoder and, in leave-one-out, item-kNN lie below."}, "figure": {"caption": "The same twelve settings move a model's NDCG@10 by far more than the best trials of SASRec and the RQ-Transformers differ: whoever tunes one side only can choose the winner.", "name": "fig-11-tuning"}}
models = list(tuning["model"].unique())[::-1]
fig, axes = plt.subplots(
    1, 2, figsize=(7, 2.8), sharey=True, layout="constrained"
)
for ax, split_name in zip(axes, splits, strict=True):
    rows = tuning[tuning["split"] == split_name]
    ax.plot(rows["ndcg"], rows["model"].map(models.index), "o", alpha=0.6)
    for model in models:
        ax.plot(
            table["max"][split_name, model], models.index(model), "k|", ms=16
        )
    ax.set(title=split_name, xlabel="validation NDCG@10", xlim=(0, None))
knn = list(trials.values())
axes[0].plot(knn, [len(models)] * len(knn), "o", alpha=0.6)
axes[0].plot(max(knn), len(models), "k|", ms=16)
axes[0].set_yticks(range(len(models) + 1), [*models, "item-kNN"], fontsize=8)
axes[0].margins(y=0.15)
plt.show()

# %%
# NBVAL_CHECK_OUTPUT
for split_name in splits:
    of_split = tuning[tuning["split"] == split_name]
    of_sasrec = of_split[of_split["model"] == "SASRec"]["ndcg"].to_numpy()
    for model in of_split["model"].unique()[1:]:
        own = of_split[of_split["model"] == model]["ndcg"].to_numpy()
        wins = (own[:, None] > of_sasrec).mean()
        print(
            f"{split_name:<13} {model:<31} ahead in {wins:4.0%} of the", end=" "
        )
        print(f"pairs, best against best {own.max() - of_sasrec.max():+.4f}")

# %% [markdown]
# Suppose that somebody compares one trial of their own model with one trial of SASRec. The table says in how many of
# the possible pairs their model is ahead: some pairs can be found for either side. To tune one's own model and to take
# the opponent's number from its paper, or its default settings, is to choose a pair. Equal trials, and the best of each
# on validation movies, leave no such choice. They are no proof of fairness: twelve settings may suit one model better,
# and the RQ-Transformer's architecture was itself found by trials.
#
# And the best of twelve trials is the highest for being good *and* for having been lucky. How much of it was luck shows
# when five new seeds answer the test movies.

# %%
# NBVAL_CHECK_OUTPUT
for (split_name, model), best_ndcg in table["max"].items():
    rows = study[(study["split"] == split_name) & (study["model"] == model)]
    print(
        f"{split_name:<13} {model:<31} best trial {best_ndcg:.3f},"
        f" test {rows['ndcg_10'].mean():.3f}"
    )

# %% [markdown]
# In leave-one-out, the highest validation number of all belongs to the RQ-Transformer over text and taste, and nothing
# of its lead over the other RQ-Transformer is left on the test. In timestamp, all fall, since the test lies further in
# the future than the validation movies did; and the order at the top turns round: on validation both RQ-Transformers
# were ahead of SASRec, on the test both are behind. A comparison that ends with validation numbers would have reported
# the opposite.
#
# ## A hundred drawn movies
#
# Now to the 44 % and the 4 % of the opening. Many papers, SASRec's own among them {cite}`kang2018sasrec`, do not rank
# the target among all movies but among 100 that are drawn at random, and itself. That is quicker, and the number is
# higher, since a hundred movies hold few that could be better. One may also draw by popularity. Krichene and Rendle
# {cite}`krichene2020sampled` showed that such a *sampled metric* need not even put models in the right order.
#
# We do all three with the models that are at hand: popularity, the eight settings of item-kNN, and the SASRec and the
# RQ-Transformer that come with the library, each trained once with the settings of those in the table.


# %%
def sampled_ranks(scores, weights):
    """Ranks among 100 movies drawn in proportion to weights, and oneself."""
    chance = weights.expand(671, -1).clone()
    for row, history in enumerate(histories):
        chance[row, history] = 0
    rows = torch.arange(671)
    chance[rows, targets] = 0
    drawn = chance.multinomial(100, generator=seeded())  # (671, 100)
    ours = scores[rows, targets][:, None]
    others = scores.gather(1, drawn)
    better = (others > ours) | ((others == ours) & (drawn < targets[:, None]))
    return 1 + better.sum(1)


# %% [markdown]
# First all models score all movies:

# %%
at_hand = {"popularity": scores["popularity"]}
for shrinkage, heard in trials:
    model = {"none": plain, "20": shrunk}[shrinkage]
    model.last = heard
    label = f"kNN, {shrinkage}, last {heard or 'all'}"
    at_hand[label] = model.scores(histories)
generative, _ = load_recommender("movielens-small-2016-rq-transformer")
at_hand["SASRec"] = sasrec.scores(histories)
at_hand["RQ-Transformer"] = generative.scores(histories)

# %% [markdown]
# Then the target is ranked in three ways. In brackets stands a model's place among the eleven.

# %%
even = torch.ones(data.num_items)
found = {}
for label, values in at_hand.items():
    three_ways = (
        ranks_in_scores(values, targets, histories),
        sampled_ranks(values, even),
        sampled_ranks(values, popularity),
    )
    found[label] = [float(recall_at(r, 10).mean()) for r in three_ways]
recalls = pd.DataFrame(found, index=["full", "evenly", "by popularity"]).T
places = recalls.rank(ascending=False).astype(int)
for label, row in recalls.iterrows():
    shown_row = "".join(
        f"{row[how]:9.3f} ({places[how][label]})" for how in recalls
    )
    print(f"{label:<20}{shown_row}")

# %% mystnb={"image": {"alt": "Eleven lines, one for each model, over three ways to rank: among all movies, among 100 drawn evenly, among 100 drawn by popularity. In the full ranking all lie below 0.15, in the second between 0.45 and 0.76. The best item-kNN falls below popularity there, and in the third popularity is last. The RQ-Transformer and SASRec lie close together above the others in all three."}, "figure": {"caption": "Ranking among a hundred drawn movies multiplies every Recall, and lines cross: the order of the models depends on how the hundred were drawn.", "name": "fig-11-sampled"}}
chosen = f"kNN, {best[0]}, last {best[1] or 'all'}"
colours = {"popularity": "k", chosen: "C2", "SASRec": "C0"}
colours["RQ-Transformer"] = "C1"
fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for label, row in recalls.iterrows():
    if label in colours:
        style = "--" if label == "popularity" else "o-"
        ax.plot(range(3), row, style, c=colours[label], ms=4, label=label)
    else:
        ax.plot(range(3), row, "-", c="0.75", lw=1, zorder=1)
ax.plot([], [], c="0.75", label="kNN, other settings")
ax.set_xticks(range(3), ["all movies", "100 drawn evenly", "100 by popularity"])
ax.set(ylabel="Recall@10", ylim=(0, None), xlim=(-0.2, 2.3))
ax.legend(fontsize=7, loc="upper left")
plt.show()

# %%
full = recalls["full"]
evenly = recalls["evenly"]
print(
    f"popularity: {evenly['popularity'] / full['popularity']:.0f} times as high"
)
print(f"{chosen} against popularity:")
print(f"    full {full[chosen]:.3f} and {full['popularity']:.3f},", end=" ")
print(f"drawn {evenly[chosen]:.3f} and {evenly['popularity']:.3f}")
for how in ("evenly", "by popularity"):
    moved = int((places["full"] != places[how]).sum())
    print(f"drawn {how}: {moved} of {len(places)} models change their place")
rare = (popularity < 20).double().mean()
print(f"{rare:.0%} of the catalogue have fewer than 20 ratings in training")
assert full[chosen] > full["popularity"]
assert evenly[chosen] < evenly["popularity"]

# %% [markdown]
# There is the gap of the opening again, here from 4 % to 55 %, and in {numref}`fig-11-sampled` worse than that: the
# order is gone. The best setting of item-kNN has twice the Recall of popularity, and falls *below* it when the hundred
# are drawn evenly. Whoever tuned item-kNN by the sampled number would let it hear the whole history, which in the full
# ranking is the worst choice.
#
# The reason is that a hundred evenly drawn movies are nearly all obscure, as the last printed line says. To place the
# target above these is easy for any model that knows what is popular, and says nothing of the first ten of nine
# thousand. Item-kNN that hears one movie gives a score to a hundred movies at most, and zero to all others: good for a
# list of ten, bad for placing a popular target above an obscure movie.
#
# A service shows the best of *all* movies, so this book ranks among all.
#
# ## What nobody had, and what everybody gets
#
# A mean over people hides two things. Some targets are *unseen*, movies that nobody had in training: a model with one
# vector a movie, or a count, has nothing to say about these. A semantic ID, made of the movie's text, might. And a
# model may reach its Recall by showing the same few famous movies to all. **Coverage** {cite}`ge2010coverage` is the
# share of the catalogue in anybody's ten; the *popularity* of a list is how often its movies were rated in training, on
# average.

# %%
# NBVAL_CHECK_OUTPUT
for name, chosen in splits.items():
    counts = chosen.popularity
    unseen = counts[chosen.everything.items[chosen.test]] == 0
    print(f"{name}: {int(unseen.sum()):,} of {len(unseen):,} targets", end=" ")
    print(f"({unseen.double().mean():.0%}) unseen in training")
columns = ["coverage_10", "popularity_10", "unseen_10"]
about = of_models[columns].mean()
for (split_name, model), row in about.iterrows():
    print(
        f"{split_name[:9]:<9} {model:<38} coverage {row['coverage_10']:.3f}, "
        f"popularity {row['popularity_10']:4.0f}, unseen {row['unseen_10']:.3f}"
    )

# %%
for name, values in scores.items():
    lists = top_items(values, 10, histories)  # (671, 10)
    print(
        f"{name:<10} coverage {coverage(lists, data.num_items):.3f}, "
        f"popularity {mean_popularity(lists, popularity):.0f}"
    )

# %% [markdown]
# Hardly any model ever finds a movie that nobody had, on either split. SASRec could only by luck: such a movie's vector
# was only ever pushed away. The generative models might, since the movie has an ID, with a first code that it shares
# with movies that are known. They do not: in training, the end of its path was never right, and only ever pushed down.
# A semantic ID makes a new movie *writable*, and that is not yet the same as recommended. With almost a quarter of the
# timestamp targets in this state, much is left to gain there.
#
# The lists differ more than the Recalls do. In timestamp the RQ-Transformer shows almost twice as much of the catalogue
# as SASRec, and less popular movies; in leave-one-out the two are alike. The models with codes alone show a smaller
# part in both. Popularity itself shows hardly more than a hundredth of the catalogue.
#
# ## Do the IDs mean anything?
#
# A semantic ID says what a movie is like. Or does it only name it? A *control* differs in one thing. In **random IDs**,
# the very same IDs are dealt out to the movies by chance: as many codes, as many collisions, no meaning. An **untrained
# RQ-VAE** makes IDs with an encoder of random weights and codebooks fitted by k-means. The differences below are taken
# person by person, and averaged over the seeds. (The decoder's controls have borrowed settings, so the decoder that
# they are compared with has these, too.)

# %%
METRICS = {"Recall@10": "recall_10", "NDCG@10": "ndcg_10"}


def lead_of(split_name, one, other):
    """The paired difference of two models, in both metrics."""
    return {
        name: with_interval(
            of_people(split_name, one, column)
            - of_people(split_name, other, column)
        )
        for name, column in METRICS.items()
    }


def show(split_name, one, other):
    print(f"{split_name}: {one} − {other}")
    for name, (mean, low, high) in lead_of(split_name, one, other).items():
        print(f"    {name:<9} {mean:+.4f} [{low:+.4f}, {high:+.4f}]")


# %%
# NBVAL_CHECK_OUTPUT
CONTROLS = [
    ("RQ-Transformer", "random IDs"),
    ("RQ-Transformer, codes only", "random IDs"),
    ("decoder-only, borrowed", "random IDs"),
    ("decoder-only, borrowed", "untrained RQ-VAE"),
]
for split_name in splits:
    for model, control in CONTROLS:
        show(split_name, model, f"{model}, {control}")
print("without vectors for prefixes:")
for split_name in splits:
    show(split_name, "RQ-Transformer", "RQ-Transformer, codes only")

# %% [markdown]
# For the decoder-only model the answer is clear: over semantic IDs it finds more than over random ones, by 0.026 of
# Recall@10 in leave-one-out and by 0.011 in timestamp, and the intervals exclude zero. An encoder without training
# gives IDs that lie between the two in the mean; in timestamp they cannot be told from those of the trained one. In
# TIGER's own paper semantic IDs lead random ones by .0648 to .0434 in Recall@10 on Amazon's Beauty
# {cite}`rajput2023tiger`.
#
# For the RQ-Transformer the splits disagree. In leave-one-out it has a clear lead over random IDs. In timestamp it has
# none: IDs dealt out by chance do as well. With codes only, it is the other way round: a lead in timestamp, while in
# leave-one-out the interval includes zero.
#
# Why? The last rows compare the RQ-Transformer with itself. Beside a vector for each code, it learns one for each
# *prefix* that has siblings, that is, for each place in the tree of IDs where there is a choice. Without these, it
# loses five hundredths of Recall in leave-one-out, and less than one in timestamp. The codes alone do not carry this
# model in leave-one-out, which suggests that much of what it knows is stored by place, in a table that grows with the
# catalogue. A model that learns about each place can do with less meaning in its name. In timestamp, meaning indeed
# brings nothing beside vectors for prefixes. In leave-one-out it still brings two hundredths.
#
# ## The honest result
#
# Before any of this was measured, the book set itself a goal: the best generative model should be at least as good as
# the tuned SASRec, in Recall@10 and in NDCG@10, on both splits. "At least as good" needs a margin, since no finite test
# can show that a difference is exactly zero. The margin is a hundredth: the interval of the paired difference should
# lie above −0.01. Two generative models compete: the RQ-Transformer over the IDs of this book, which come from text
# alone, and the one over text and taste, which had the highest validation number.

# %%
# NBVAL_CHECK_OUTPUT
champion = "RQ-Transformer"
honest = {}
for model in (champion, "RQ-Transformer, text and taste"):
    for split_name in splits:
        show(split_name, model, "SASRec")
        for name, lead in lead_of(split_name, model, "SASRec").items():
            honest[model, split_name, name] = lead
            verdict = "reached" if lead[1] > -0.01 else "not reached"
            print(f"    goal in {name}: {verdict}")

# %% mystnb={"image": {"alt": "Four rows, one for each split and measure, each with two bars: the paired difference to SASRec of the RQ-Transformer over text, and of the one over text and taste, as a point with its 95 percent interval. A solid line marks zero, a dashed one the margin of minus 0.01. In leave-one-out the bars of text lie right of the margin and contain zero; Recall of text and taste begins left of the margin. In timestamp all bars lie left of zero; those of Recall cross the margin."}, "figure": {"caption": "In leave-one-out the RQ-Transformer over text is as good as SASRec, within the margin; in timestamp SASRec is better than both.", "name": "fig-11-honest"}}
fig, ax = plt.subplots(figsize=(6, 2.8), layout="constrained")
rows = list(dict.fromkeys(key[1:] for key in honest))
for (model, *row), (mean, low, high) in honest.items():
    second = model != champion
    height = rows.index(tuple(row)) + 0.25 * second
    ax.plot([low, high], [height, height], c=f"C{2 * second}", lw=2)
    label = ("text", "text and taste")[second] if row == list(rows[0]) else None
    ax.plot(mean, height, "o", c=f"C{2 * second}", label=label)
ax.axvline(0, c="gray")
ax.axvline(-0.01, ls="--", c="C1", label="the goal's margin")
ax.set_yticks(range(len(rows)), [", ".join(row) for row in rows], fontsize=8)
ax.set(xlabel="RQ-Transformer − SASRec, paired")
ax.set_xticks([-0.02, -0.01, 0, 0.01, 0.02])
ax.invert_yaxis()
ax.margins(y=0.2)
ax.legend(fontsize=8, loc="lower right")
plt.show()

# %%
one, two = (
    of_people("leave-one-out", m, "recall_10") for m in (champion, "SASRec")
)
halves = []
for values in (one, two, one - two):
    _, low, high = with_interval(values)
    halves.append((high - low) / 2)
apart = (halves[0] ** 2 + halves[1] ** 2) ** 0.5
print(
    f"half-width: {apart:.4f} as if of different people, {halves[2]:.4f} paired"
)
assert halves[2] < apart

# %% [markdown]
# In leave-one-out the goal is reached ({numref}`fig-11-honest`). The RQ-Transformer over the IDs of this book is about
# half a hundredth ahead of the tuned SASRec in both metrics, and the intervals stay above the margin. They include
# zero: it is as good, and has not been shown to be better.
#
# In timestamp the goal is reached by the letter in NDCG@10, and not in Recall@10: the generative model is two thirds of
# a hundredth behind, and its interval begins below the margin. Both intervals lie wholly below zero, so SASRec is
# better here. The split has 82 people, and all numbers are small: a model can be as good within a hundredth and still
# be worse, and for this split a hundredth was too generous a margin to set.
#
# IDs that know taste as well as text have not helped. In leave-one-out their interval in Recall@10 begins below the
# margin; in timestamp they are further behind. Yet the usual rule, the best validation number of one training, would
# have chosen them, and so missed the goal in Recall@10 on both splits. We prefer the model over text because of its
# test result, so this result may be a little too high.
#
# Pairing has paid here. Two good models find many of the same movies, and the paired half-width is about two fifths of
# what two separate intervals would suggest.
#
# ### Ten movies a person
#
# In leave-one-out one movie decides about a person. Would ten decide more surely? A third split holds out the last ten
# movies of each person for the test, and the ten before them for validation, of whoever has rated 21 movies or more.
# What is learned from ends earlier, so the models know less. The settings are those of leave-one-out. They were chosen
# after trainings that held most of the ten movies, which may flatter both models, though in the same way.

# %%
# NBVAL_CHECK_OUTPUT
last_ten = leave_last_out(data, 10)
tested["last-ten"] = last_ten.everything.user_of(last_ten.test).unique()
print(f"{len(last_ten.test):,} targets of {len(tested['last-ten'])} people")
ten = "last-ten"
of_ten = trainings[trainings["split"] == ten].groupby("model", sort=False)
assert (of_ten["seed"].nunique() == NUM_SEEDS).all()
for model in ("SASRec", champion):
    mean, low, high = with_interval(of_people(ten, model, "recall_10"))
    print(f"{model:<15} Recall@10 {mean:.3f} [{low:.3f}, {high:.3f}]", end=" ")
    _, low_of_one, high_of_one = summary["leave-one-out", model]
    print(f"half-width {(high - low) / 2:.4f}", end=" ")
    print(f"(one movie: {(high_of_one - low_of_one) / 2:.4f})")
show(ten, champion, "SASRec")

# %% [markdown]
# The intervals are about three fifths as wide as with one movie a person, and that of the difference is less than half as
# wide: more targets say more. The RQ-Transformer's lead in Recall@10 is about what it was in leave-one-out, but now the
# interval leaves zero out, in both metrics. Here the generative model is the better one.
#
# So on this data *accuracy* decides for neither. Where the question is a person's last movies, and what others did later
# is known, the RQ-Transformer is as good or a little better. Where it is what comes after one moment, as in a service,
# SASRec is a little better. What lifts the RQ-Transformer in leave-one-out, from 0.087 of Recall with codes only to
# 0.138, is a vector for each prefix, and that is a step back towards one vector a movie. And the promise of finding
# movies that nobody had is not kept by any model here.
#
# ## Published numbers beside ours
#
# How do these numbers compare with what others report? (A *drawn negative* is the single drawn movie against which the
# original SASRec trains; BERT4Rec is a transformer that fills in masked movies.) On MovieLens 1M, all of them HR@10
# (the same as Recall@10 with one target) and NDCG@10 in a full ranking, leave-one-out, unless said:
#
# | model | HR@10 | NDCG@10 | source |
# | --- | --- | --- | --- |
# | popularity | .037 | .018 | the reproduction of the opening |
# | the same, against 100 drawn movies | .436 | .240 | the same |
# | SASRec, one drawn negative | .250 | .134 | {cite}`klenitskiy2023dross` |
# | SASRec, one drawn negative, against 100 drawn movies | .825 | .591 | {cite}`kang2018sasrec` |
# | BERT4Rec | .284 | .154 | {cite}`klenitskiy2023dross` |
# | SASRec, full cross-entropy | .315 | .182 | {cite}`klenitskiy2023dross` |
# | TIGER, as trained by the authors of MaskGR | .187 | .108 | reported for {cite}`shah2025maskgr` |
# | MaskGR, semantic IDs by masked diffusion | .228 | .131 | reported for {cite}`shah2025maskgr` |
#
# The last two rows we know at second hand. Read with the eyes of this chapter, the table says three things. A SASRec
# with one drawn negative has .825 or .250, by protocol. With another loss it has .315 instead of .250, a quarter more,
# and overtakes BERT4Rec. And the semantic-ID models of the last rows are far behind a SASRec with full cross-entropy. A
# paper that measures itself against .250 and one that measures itself against .315 come to different conclusions about
# the same model.
#
# None of these numbers may be set beside ours.
#
# | What | in the table | here |
# | --- | --- | --- |
# | data | MovieLens 1M: 6,040 people, a million ratings | 671 people, 100,004 ratings |
# | filter | usually the 5-core, about 3,400 movies | none, 9,066 movies compete |
# | ranking | full, or against 100 drawn movies | full, without the history |
# | history that is read | often the last 200 movies | the last 49 |
# | target | the last movie; ties in time broken in different ways | the last movie, ties as in the file; or all after one moment |
# | certainty | mostly one seed, no interval | five seeds, intervals over people |
#
# Fewer people mean less to learn from, and more movies a longer list in which to be found. What *can* be set side by
# side are differences within one protocol, between models tuned with the same effort.
#
# ## Exercises
#
# ### Exercise 1 · The worst rank (difficulty ★☆☆, 5 minutes)
#
# A model that scores all movies alike should not profit from it. You get `scores`, a tensor of shape (N,), and
# `target`, a row. Return the target's rank as an `int`, from 1, where every other movie with the *same* score counts as
# better. If any score is NaN, raise a `ValueError`.


# %%
def worst_rank(scores, target):
    raise NotImplementedError("your turn")


_ = checks.worst_rank(worst_rank)


# %% tags=["hide-cell"]
def worst_rank_solution(scores, target):
    if scores.isnan().any():
        raise ValueError("a score is NaN, so there is no rank")
    return int((scores >= scores[target]).sum())  # the target counts itself


assert checks.worst_rank(worst_rank_solution)

# %% [markdown]
# ### Exercise 2 · A paired interval without a bootstrap (difficulty ★★☆, 10 minutes)
#
# For many people, the mean is nearly normal, and a 95 % interval reaches 1.96 standard errors to each side. You get a
# value of each person from two models, `one` and `other`, both of shape (U,), float64. Return the half-width of the
# interval of their mean *paired* difference, as a `float`.


# %%
def paired_half_width(one, other):
    raise NotImplementedError("your turn")


_ = checks.paired_half_width(paired_half_width)


# %% tags=["hide-cell"]
def paired_half_width_solution(one, other):
    lead = one - other  # (U,)
    return float(1.96 * lead.std() / len(lead) ** 0.5)


assert checks.paired_half_width(paired_half_width_solution)
assert abs(paired_half_width_solution(one, two) - halves[2]) < 0.002

# %% [markdown]
# ### Exercise 3 · What sampling does to a rank (difficulty ★★★, 20 minutes)
#
# A target has the full rank `rank` among `num_items` movies, itself included. Now it is ranked among `num_drawn` movies
# only, drawn evenly from the others without putting them back, and itself. How probable is it that its sampled rank is
# at most `k`? Return a `float`. There are no ties, and `k` may be larger than the list. (`math.comb(n, j)` counts the
# ways to choose j of n.)


# %%
def sampled_hit(rank, num_items, num_drawn, k):
    raise NotImplementedError("your turn")


_ = checks.sampled_hit(sampled_hit)


# %% tags=["hide-cell"]
def sampled_hit_solution(rank, num_items, num_drawn, k):
    better, worse = rank - 1, num_items - rank
    ways = 0
    for j in range(min(k, num_drawn + 1)):  # better movies among those drawn
        ways += comb(better, j) * comb(worse, num_drawn - j)
    return ways / comb(num_items - 1, num_drawn)


assert checks.sampled_hit(sampled_hit_solution)
for rank in (10, 100, 500, 1000):
    chance = sampled_hit_solution(rank, data.num_items, 100, 10)
    print(f"full rank {rank:>4}: among the first 10 of 101 with {chance:.3f}")

# %% [markdown]
# A target on place 500 of all movies is nearly always among the first ten of 101. The sampled metric hardly looks at
# the places that a list of ten shows.
#
# ## Self-check
#
# Choose one answer to each question in your head. Then click the line below the options: it says which one is right,
# and why.
#
# **Question 1.** Two models have Recalls of 0.120 and 0.130 on the same 671 people, and their intervals overlap. Is the
# second one better?
#
# - **A.** No: where intervals overlap there is no difference.
# - **B.** Yes: both were asked about the same people, and it found more of the movies.
# - **C.** That is open, until the difference is taken person by person.
# - **D.** That is open, until there are more seeds. People are the smaller part of the uncertainty.
#
# <details>
# <summary>Answer to question 1</summary>
#
# **C.** The two intervals contain what is hard about these people, which both models share; in the difference it
# cancels, and the interval of the difference is narrower the more often both find the same person's movie. If it, too,
# includes zero, these people cannot tell. A reads a missing proof as a proof of the opposite. B forgets that other
# people might have been asked. D has the parts the wrong way round: in this chapter the interval over people is wider
# than the spread over seeds.
#
# </details>
#
# **Question 2.** A paper compares its own model, tuned on sixty settings, with the number that an earlier paper reports
# for SASRec on the same data and split. What can the comparison show?
#
# - **A.** That the best of sixty trials is above one reported trial.
# - **B.** That its model is the better one, since a published number cannot have been chosen in its favour.
# - **C.** That SASRec profits less from tuning.
# - **D.** That its model has overfitted, as whoever tries sixty settings does.
#
# <details>
# <summary>Answer to question 2</summary>
#
# **A.** Model and effort cannot be told apart: here twelve settings alone move a model by more than the best trials of
# two models differ, and an earlier paper may have had another loss, or broken ties in another way. Equal trials on the
# same data compare the models. B is wrong because the choice was made on the other side. For C, SASRec would have to be
# tuned. D does not follow either, if the settings were chosen on validation movies and the test was looked at once.
#
# </details>
#
# **Question 3.** Somebody ranks each target against 1,000 drawn movies instead of 100, of 9,066 in all. What is gained?
#
# - **A.** All that is needed: with a thousand, models come in the order of the full ranking.
# - **B.** Narrower intervals around the same numbers.
# - **C.** Nothing: a sampled metric is the same whatever the number of movies that are drawn.
# - **D.** Something, but the first ten places are still hardly looked at.
#
# <details>
# <summary>Answer to question 3</summary>
#
# **D.** The number moves towards the full ranking. But of the ten better movies that keep a target from the first ten
# of all, only one in nine is drawn: about one on average, so that the target is among the first three nine times in
# ten. Where it stands on a list of ten still hardly matters, so the order of the models may still be another one (A).
# The numbers do change with how many are drawn (B, C): a hundred movies hold few that could be better, a thousand hold
# more. With a catalogue that fits in memory, rank against all of it.
#
# </details>
#
# ## What to take away
#
# By the rules of this chapter, the better of two generative models is as good as a tuned SASRec in leave-one-out, a
# little better where each person answers for ten movies, and a little worse in timestamp. The decoder-only model finds
# more with IDs that mean something, on both splits; for the RQ-Transformer, whose places in the tree have vectors, only
# leave-one-out shows that. That is less than a table with a weak SASRec and a sampled metric would have claimed.
#
# And how one would know: a number means nothing without its protocol. One list of popular movies finds 4 % of the
# targets here among all movies, and more than half of them against a hundred drawn ones. So rank among all, refuse NaN,
# give everybody one vote, and let both sides have equal trials. Say how sure you are: over people first, since that is
# the larger part, and paired, since two good models agree on much.
#
# ## What's next
#
# The models, and the table of this chapter for a catalogue of your own, are one command away: `rqvae-lib evaluate`.
# [Chapter 13](13_your_own_catalogue.ipynb) goes the whole way with another catalogue, of groceries, from two files on.
# [How the library is laid out](../book/library_layout.md) shows where each part of this chapter lives.
#
# ## References
#
# - Krichene and Rendle (2020), *On Sampled Metrics for Item Recommendation* {cite}`krichene2020sampled`.
# - Ferrari Dacrema et al. (2019), *Are We Really Making Much Progress?* {cite}`ferraridacrema2019progress`: simple methods, tuned.
# - Klenitskiy and Vasilev (2023), *Turning Dross Into Gold Loss* {cite}`klenitskiy2023dross`: SASRec with full cross-entropy.
# - Kang and McAuley (2018), *Self-Attentive Sequential Recommendation* {cite}`kang2018sasrec`: SASRec.
# - Sarwar et al. (2001), *Item-Based Collaborative Filtering Recommendation Algorithms* {cite}`sarwar2001itemknn`.
# - Ji et al. (2023), *A Critical Study on Data Leakage in Recommender System Offline Evaluation* {cite}`ji2023leakage`.
# - Efron (1979), *Bootstrap Methods: Another Look at the Jackknife* {cite}`efron1979bootstrap`.
# - Järvelin and Kekäläinen (2002), *Cumulated Gain-Based Evaluation of IR Techniques* {cite}`jarvelin2002ndcg`: NDCG.
# - Ge et al. (2010), *Beyond Accuracy* {cite}`ge2010coverage`: coverage.
# - Shah et al. (2025), *Masked Diffusion for Generative Recommendation* {cite}`shah2025maskgr`: MaskGR.
# - Rajput et al. (2023), *Recommender Systems with Generative Retrieval* {cite}`rajput2023tiger`: TIGER.
