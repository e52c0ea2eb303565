# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Training the RQ-VAE: are the codes any good?
#
# An RQ-VAE can fail in silence: its loss falls, step after step, and in the end every movie has the same three codes.
# That is called *collapse*. How does one see it coming, and what prevents it? This chapter takes the loss apart by
# hand, writes one step of the training, watches a healthy training and a collapsed one, and then leaves out the
# remedies, one after the other and some together, on three seeds each.
#
# A reminder, in case you start here. The *encoder* of an RQ-VAE {cite}`lee2022rqvae` {cite}`rajput2023tiger` turns an
# embedding of 384 numbers into a *latent vector* of 32. Three *codebooks* of 256 *codewords* each then replace it: the
# first by its nearest codeword, the second does the same with what is left over, the *residual*, and the third with
# what is left after that. The *decoder* must rebuild the embedding from the sum of the three codewords. The three
# choices are the movie's *codes*.
#
# :::{admonition} What you will learn
# - what the RQ-VAE's loss is made of, and what summing over features does that averaging does not
# - how to read a training's log: why one loss rises, and which numbers show a collapse
# - which remedies prevent a collapse on these movies, and which alone do nothing
# - what a training 500 times as long buys, and how k-means without any training compares
# - how well movies are described that a tokenizer was not trained on, and when to stop for their sake
# :::
#
# | You need | Why | Where |
# | --- | --- | --- |
# | k-means | codewords start at the centres that it finds | [Codebooks and k-means](03_codebook_kmeans.ipynb) |
# | residuals, straight-through gradients | they are what is trained here | [Residual quantization](04_residual_quantization.ipynb) |
# | a training loop in PyTorch | we write one step of it | [PyTorch's tutorials](https://pytorch.org/tutorials/) |
#
# **Time:** about 35 minutes to read.

# %% tags=["hide-input"]
import copy

import matplotlib.pyplot as plt
import pandas as pd
import torch

from rqvae_lib import (
    RQVAEConfig,
    TrainingConfig,
    load_embeddings,
    load_rqvae,
    tokenizer_metrics,
    train_rqvae,
)
from rqvae_lib.data.batches import RowBatches
from rqvae_lib.teaching.exercises import chapter_05 as checks
from rqvae_lib.tokenizer.metrics import code_usage
from rqvae_lib.tokenizer.rqvae import RQVAE
from rqvae_lib.training.loop import train
from rqvae_lib.training.recipes import new_rqvae

embeddings = load_embeddings("movielens-small-2016")  # (9066, 384)

# %% [markdown]
# ## The loss, by hand
#
# The loss has three terms. **Reconstruction** is the squared error of what the decoder rebuilt, summed over the 384
# features and averaged over the movies of a batch. **Commitment** is the squared length of what is left after each
# level, summed over levels and averaged over movies: it pulls the encoder's output towards the codewords, and a weight
# β, here 0.25, says how strongly. The **codebook loss** is the same squared length, but pulls the codewords towards the
# encoder's output {cite}`vandenoord2017vqvae`. Which of the two moves is decided by `detach`, which holds the other one
# still.
#
# `new_rqvae` makes a model with random weights and lets k-means place the codewords in the latents that these weights
# give. The features are *standardised* first: each has mean 0 and spread 1 over the catalogue, but for three that never
# vary and stay at 0.

# %%
model = new_rqvae(embeddings, RQVAEConfig(384, learning="gradient"), seed=0)
batch = embeddings[:256]

x = (batch - model.mean) / model.std  # (256, 384), each feature standardised
latents = model.encoder(x)  # (256, 32)
commitment = codebook_loss = 0.0
residual, summed = latents, 0.0
for codebook in model.quantizer.codebooks:  # each (256, 32)
    nearest = torch.cdist(residual.detach(), codebook).argmin(1)
    codewords = codebook[nearest]  # (256, 32)
    codebook_loss += (residual.detach() - codewords).square().sum(1).mean()
    residual = residual - codewords.detach()
    commitment += residual.square().sum(1).mean()
    summed = summed + codewords.detach()

# %% [markdown]
# A choice of codewords has no gradient. The *straight-through* estimator gives the decoder the sum of the codewords and
# gives the encoder the decoder's gradient, as if nothing had happened in between. The library's loss and its gradient
# are these:

# %%
passed = latents + (summed - latents).detach()  # value summed, gradient latents
rebuilt = model.decoder(passed)  # (256, 384)
reconstruction = (rebuilt - x).square().sum(1).mean()
beta = model.config.commitment_weight
loss = reconstruction + codebook_loss + beta * commitment

output = model(batch)
torch.testing.assert_close(output.reconstruction_loss, reconstruction)
torch.testing.assert_close(
    output.quantization_loss, codebook_loss + beta * commitment
)
weight = model.encoder[0].weight
by_hand = torch.autograd.grad(loss, weight, retain_graph=True)
library = torch.autograd.grad(output.loss, weight)
torch.testing.assert_close(by_hand, library)
print(f"reconstruction {reconstruction:.1f}, commitment {commitment:.2f}")

# %% [markdown]
# This encoder is random, so it sends all movies to nearly the same place, where k-means has already put the codewords,
# and little is left over. The reconstruction loss is about 381, the number of features that vary: a decoder that knows
# nothing errs by about the spread of each feature, which is 1.
#
# By default codewords do not learn by gradient at all. Each follows the *moving average* of the residuals that choose
# it, and the codebook loss is left out. Commitment stays.

# %% [markdown]
# ## Sum or mean: a hidden factor of 384
#
# PyTorch's `mse_loss` averages over features too, and many programs use it as it is. Then the reconstruction loss is
# 384 times smaller, and the commitment loss is not. An optimiser such as AdamW hardly cares about the scale of a loss,
# but the *balance* of its terms decides what is learned. Averaging is the same as summing with a β that is 384 times
# larger:

# %%
averaged = (rebuilt - x).square().mean()  # over rows and features
mean_and_beta = averaged + beta * commitment
sum_and_large_beta = reconstruction + 384 * beta * commitment
mean_gradient, sum_gradient = (
    torch.autograd.grad(one, weight, retain_graph=True)[0]
    for one in (mean_and_beta, sum_and_large_beta)
)
torch.testing.assert_close(384 * mean_gradient, sum_gradient)
print(f"averaged over features: {averaged:.3f} = {reconstruction:.1f} / 384")
print(f"with the sum, the same balance has a weight of {384 * beta:.0f},")
print(f"and with both losses averaged one of {384 / 32 * beta:.0f}")
raw = embeddings.var(0, correction=0).sum()
print(f"summed, but not standardised: {raw:.2f} to begin with")

# %% [markdown]
# With a weight of 96 instead of 0.25, the cheapest thing that an encoder can do is to send all movies to one point: a
# codeword put there leaves no residual at all. Programs that average the quantization loss too, over the 32 latent
# features, shift the balance less, to a weight of 3. Whether the encoder takes the cheap way depends on the rest of the
# recipe, as you will see. Inputs that are not standardised act in the same direction. The features of these embeddings
# have a spread of about 0.04, so their squared errors are hundreds of times smaller: the last line is the squared
# error, summed over features, of a decoder that knows only the mean.

# %% [markdown]
# ## One step, by hand
#
# A step is short: take a batch, compute the loss and its gradient, shorten a gradient longer than 1, let AdamW
# {cite}`loshchilov2019adamw` move the weights. Weight decay, a steady pull towards zero, is for matrices only. The
# codewords are moved in the forward pass, which in training mode also updates their averages.

# %%
by_hand = new_rqvae(embeddings, RQVAEConfig(384), seed=0).train()
by_library = copy.deepcopy(by_hand)
batches = RowBatches(embeddings, batch_size=256, seed=0)

learned = [p for p in by_hand.parameters() if p.requires_grad]
groups = [
    {"params": [p for p in learned if p.ndim == 2], "weight_decay": 0.01},
    {"params": [p for p in learned if p.ndim == 1], "weight_decay": 0.0},
]
optimizer = torch.optim.AdamW(groups, lr=1e-3)
by_hand(batches(0)).loss.backward()
torch.nn.utils.clip_grad_norm_(by_hand.parameters(), 1.0)
optimizer.step()

# %% [markdown]
# The library's loop, `train`, does the same:

# %%
one_step = TrainingConfig(num_steps=1, batch_size=256, learning_rate=1e-3)
train(
    by_library, lambda b: by_library(b).loss, batches, one_step, progress=False
)
torch.testing.assert_close(by_hand.state_dict(), by_library.state_dict())

# %% [markdown]
# ## A short training, watched
#
# The whole recipe has three parts. The autoencoder trains **alone**, without a quantizer, until movies lie apart. Then
# **k-means** puts the codewords anew at the centres of the latents, level by level. Then all of it trains **together**.
# `train_rqvae` does this; here it is in the open, with a place for a function that looks at the model.


# %%
def recipe(alone, together, look=None):
    model = new_rqvae(embeddings, RQVAEConfig(384), seed=0)
    settings = {"batch_size": 256, "log_every": 25, "measure_every": 50}
    batches = RowBatches(embeddings, batch_size=256, seed=0)
    first = TrainingConfig(num_steps=alone, schedule="constant", **settings)
    train(model, model.autoencoder_loss, batches, first, progress=False)
    generator = torch.Generator().manual_seed(0)
    model.init_codebooks(embeddings, generator=generator)
    before = look(model) if look else None
    rest = TrainingConfig(num_steps=together, **settings)
    log = train(
        model,
        lambda batch: model(batch).loss,
        batches,
        rest,
        measure=(lambda: look(model)) if look else None,
        progress=False,
    )
    return model, before, log


# %% [markdown]
# A few steps show that it is the library's recipe, weight for weight.

# %%
ours, _, _ = recipe(2, 3)
theirs, _ = train_rqvae(
    embeddings,
    training=TrainingConfig(num_steps=3, batch_size=256),
    autoencoder_steps=2,
    progress=False,
)
torch.testing.assert_close(ours.state_dict(), theirs.state_dict())

# %% [markdown]
# Now for what to look at. Of the codes, *utilisation* is the share of codewords that some movie uses, and *perplexity*
# is the exponential of the entropy of the codes, with the natural logarithm: 256 when all codewords serve equally many
# movies, 1 when one serves them all. Both are measured on the whole catalogue, and of the three levels the worst
# counts. The *collision rate* is the share of movies whose three codes an earlier movie has; *variance lost* is the
# share of the standardised embeddings' variance that cannot be rebuilt. Of the latents, we note the *spread*, their
# root mean square distance from their mean (of a single number, that is the standard deviation), and the mean length of
# what is *left* after the third level.


# %%
@torch.no_grad()
def look(model):
    model.eval()  # looking must not move a codeword
    output = model(embeddings)
    latents = model.encode(embeddings)
    metrics = tokenizer_metrics(model, embeddings)
    spread = (latents - latents.mean(0)).square().sum(1).mean().sqrt()
    return {
        "reconstruction": float(output.reconstruction_loss),
        "quantization": float(output.quantization_loss),
        "spread": float(spread),
        "left": metrics.residual_norms[-1],
    } | metrics.worst()


# %%
trained, before, log = recipe(120, 300, look)
watched = pd.DataFrame(
    {0: before}
    | {entry.step: entry.measured for entry in log if entry.measured}
).T
print(watched.loc[[0, 50, 100, 200, 300]].T.round(3).to_string())

# %% mystnb={"image": {"alt": "Two panels over 300 steps. Left: the loss falls quickly at first and slowly afterwards, from about 295 to 262. Right: the number of codewords in use stays at 256, and the perplexity of the worst level stays near 236."}, "figure": {"caption": "A healthy training: the loss falls a little, all codewords stay in use, and the perplexity of the worst level stays high from the first step on.", "name": "fig-05-log"}}
fig, (left, right) = plt.subplots(1, 2, figsize=(6, 3.2))
left.plot([e.step for e in log], [e.loss for e in log], "o-", ms=3)
left.set(xlabel="step", ylabel="loss, mean of 25 steps", ylim=(0, None))
right.plot(watched["perplexity"], "o-", ms=3, label="perplexity")
right.plot(256 * watched["utilization"], "s--", ms=3, label="in use")
right.set(xlabel="step", ylabel="codewords, worst level", ylim=(0, 265))
right.legend()
fig.tight_layout()
plt.show()

# %% [markdown]
# {numref}`fig-05-log` shows what health looks like. The left panel alone would not have told us: a loss near 260 means nothing if you have not seen other trainings, and its first value is already low because the autoencoder had started alone. The right panel can be read at once, since its best value, 256, is known.
#
# ## Why one loss rises
#
# The table above holds a surprise. The reconstruction loss falls, but the *quantization* loss, here 0.25 times the
# commitment, ends higher than it began. Is something wrong?
#
# Two things can make it rise. The latents may have become harder to code. Or the codewords *lag*: they follow an
# average of the past, while the encoder moves the latents on. To tell the two apart, let k-means place *fresh*
# codebooks in the same latents now and then, as it placed the first ones, and use them for nothing but this comparison.
# What fresh codebooks leave is due to the latents. What the training's own leave beyond that is lag. The script
#
#     OMP_NUM_THREADS=1 python book/studies/unseen_study.py
#
# does so on three seeds, for the recipe above and for the library's default, 300 steps of the autoencoder alone and
# 2,000 together. {numref}`fig-05-rise` shows both from their first step.

# %% mystnb={"image": {"alt": "Two panels of the quantization loss over the steps of a training, three seeds each, with the training's own codebooks and with fresh ones. Left, 300 steps: for each seed both begin together; the fresh ones dip at step 50 and rise again, the own ones stay level, rise until step 200 and come down towards the fresh ones. Right, 2,000 steps: both rise by nearly a half; the own ones lie a little above in the first half and meet the fresh ones at the end."}, "figure": {"caption": "Over 2,000 steps the quantization loss rises even with codebooks that k-means places anew in the same latents; over 300 it rises little. What the training's own codebooks leave beyond that is lag, and it goes as the learning rate falls.", "name": "fig-05-rise"}}
rise = pd.read_csv("results/05_rise.csv")
fig, axes = plt.subplots(1, 2, figsize=(6, 3.2))
for ax, (steps, part) in zip(axes, rise.groupby("steps"), strict=True):
    for seed, one in part.groupby("seed"):
        for column, color in [("quantization", "C0"), ("fresh", "C1")]:
            label = {"quantization": "own", "fresh": "fresh"}[column]
            label = None if seed else label
            style = "o-" if column == "quantization" else "s--"
            ax.plot(one["at"], one[column], style, c=color, ms=3, label=label)
    ax.set(xlabel="step", title=f"{steps:,} steps", ylim=(0, None))
axes[0].set(ylabel="quantization loss")
axes[0].legend(title="codebooks", loc="lower right")
fig.tight_layout()
plt.show()

# %% [markdown]
# How much is lag, and why are the latents harder to code? A part is their *spread*: squared lengths grow with its
# square, so we scale the first value by that. What fresh codebooks leave beyond it is called `shape` here: latents of
# the same spread may lie in clusters, which codewords serve well, or evenly. The three parts add up to the rise. The
# numbers are means of the seeds.

# %% tags=["nbval-check-output"]
rise, found = rise.set_index(["steps", "at", "seed"]).sort_index(), {}
for steps, at in [(300, 50), (300, 300), (2000, 300), (2000, 2000)]:
    start, now = rise.loc[steps, 0], rise.loc[steps, at]  # a row for each seed
    first = start["quantization"]
    scaled = first * (now["spread"] / start["spread"]) ** 2
    found[f"{at} of {steps:,} steps"] = {
        "before": first,
        "rise": now["quantization"] - first,
        "spread": scaled - first,
        "shape": now["fresh"] - scaled,
        "lag": now["quantization"] - now["fresh"],
        "reconstruction": now["reconstruction"] - start["reconstruction"],
    }
means = {
    at: {k: v.mean() for k, v in parts.items()} for at, parts in found.items()
}
print(pd.DataFrame(means).T.round(2).to_string())
short, long = found["300 of 300 steps"], found["2000 of 2,000 steps"]
assert short["spread"].max() < 0 < short["lag"].min()
assert (long["spread"] > long["shape"]).all()
assert long["lag"].abs().max() < 0.1 * long["rise"].min()

# %% [markdown]
# In the short training the loss rises little, by 5 % on average and 10 % on this page's seed; on one of the three it
# even ends below its first value. Spread adds nothing: the latents draw together in the first 50 steps, and at the end
# they still spread less than at the beginning. What rises is shape and lag, about equally. At step 50 the loss is about
# where it began, and only lag keeps it there: fresh codebooks would leave a seventh less than at the start, and the
# training's own leave nearly as much as before. In the long training the loss rises by more than 40 %, most of that
# because the latents spread, the rest because of their shape. After 300 of these steps nearly half of the rise is lag,
# and at the end nothing is: as the learning rate falls, the latents come to rest and the codewords catch up. (They even
# leave a little less than the fresh ones, for which k-means has ten rounds.)
#
# Nothing is wrong in either. Encoder and decoder are paid for telling movies apart, and reconstruction improves by four
# times or more what quantization costs. So a rise is no alarm while reconstruction falls by much more. Nor is a fall a
# comfort: the loss is zero in a perfect collapse.
#
# ## Collapse
#
# Now for the silent failure. The *bare* recipe has none of the library's precautions: no steps of the autoencoder
# alone, random codewords, which learn by gradient, no help for those that nobody chooses, a loss averaged over
# features, inputs as they are.

# %%
torch.manual_seed(0)
bare = RQVAE(RQVAEConfig(384, learning="gradient", dead_after=0))
bare.quantizer.initialized.fill_(True)  # random codewords, raw inputs


def averaged_loss(batch):
    output = bare(batch)
    return output.reconstruction_loss / 384 + output.quantization_loss


before_usage = code_usage(bare.assign(embeddings), 256)
short = TrainingConfig(num_steps=100, batch_size=256)
bare_log = train(bare, averaged_loss, batches, short, progress=False)
bare_usage = code_usage(bare.assign(embeddings), 256)
full_usage = code_usage(trained.assign(embeddings), 256)
first, last = bare_log[0].loss, bare_log[-1].loss
print(f"loss: {first:.3f} in the first 50 steps, then {last:.3f}")
for name, usage in [
    ("bare, before the first step", before_usage),
    ("bare, after 100", bare_usage),
    ("full", full_usage),
]:
    print(f"in use, {name}:", (256 * usage.utilization).int().tolist())
assert last < first
assert bare_usage.utilization.max() < 0.1 < 0.9 < full_usage.utilization.min()

# %% [markdown]
# The loss falls, and one codeword a level serves all 9,066 movies. Before the first step it was hardly otherwise, since
# a random encoder sends all of them to nearly one point, and the training never separates them. Which of the six
# precautions is missing? To find out, the script `book/studies/collapse_ablation.py` trains 21 recipes: all six
# remedies, none, all but one, one alone, and some of those that may stand in for each other or need each other. Each
# has 500 steps of 256 movies in all, on three seeds. From the folder that holds `book/` and `notebooks/`,
#
#     OMP_NUM_THREADS=1 python book/studies/collapse_ablation.py
#
# makes the table that the next cell reads. The remedies are
#
# - `pretrain`: the autoencoder trains alone for 150 of the 500 steps;
# - `kmeans`: then k-means starts the codewords, which are random otherwise;
# - `reset`: a codeword's fair share is one row in 256; if nobody has chosen it while twenty shares, 5,120 rows, went
#   by, it moves onto a row of the batch {cite}`zeghidour2021soundstream`;
# - `average`: codewords follow moving averages;
# - `loss_sum`: the reconstruction loss is summed over features;
# - `standardise`: each feature has mean 0 and spread 1.
#
# One recipe more is called `both losses averaged`: without `loss_sum`, it averages the quantization loss as well. For
# all recipes, the variance lost is measured on standardised features, so that the numbers compare. The next cell prints
# means over the seeds (`collide` is the collision rate, `lost` the variance lost) with the lowest and the highest
# variance lost, and {numref}`fig-05-collapse` shows each seed.
#
# {question} random-codewords

# %% tags=["nbval-check-output"]
table = pd.read_csv("results/05_collapse.csv")
levels = [1, 2, 3]
table["used"] = table[[f"used_{i}" for i in levels]].min(axis=1)
table["perplexity"] = table[[f"perplexity_{i}" for i in levels]].min(axis=1)
measures = ["used", "perplexity", "collision_rate", "variance_lost"]
groups = table.groupby("variant", sort=False)
means = groups[measures].mean()
means["low"] = groups["variance_lost"].min()
means["high"] = groups["variance_lost"].max()
print(len(means), "recipes, seeds each:", groups.size().unique())
shown = means.assign(used=means["used"].map("{:.2f}".format))
shown["perplexity"] = means["perplexity"].map("{:.0f}".format)
shown = shown.rename_axis(None)
shown = shown.rename(
    columns={"collision_rate": "collide", "variance_lost": "lost"}
)
print(shown.round(3).to_string())

# %% mystnb={"image": {"alt": "Two panels of points, three seeds for each of 21 recipes. Left, the perplexity of the worst level: 220 to 240 with all remedies and without any of them but the summed loss, which brings it to about 170, to 187 with both losses averaged, and to below 160 where the inputs are left as they are, too; about 60 without the start and reset; 1 with none and with any remedy alone but reset, which has about 205; below 30 for pretraining with k-means alone and for the sum with standardisation alone. Right, the variance lost: about 0.65 with all, above 0.7 without pretraining, the sum or standardisation, and 0.97 to 0.99 with reset alone; 1 in a collapse."}, "figure": {"caption": "Without any one of the six remedies nothing collapses; alone, only reset prevents the total collapse, and it loses nearly everything; without reset and averages, the other four are enough. Each point is one seed.", "name": "fig-05-collapse"}}
fig, (left, right) = plt.subplots(1, 2, figsize=(6, 5.6), sharey=True)
order = list(means.index)[::-1]
place = table["variant"].map(order.index)
for ax, column in [(left, "perplexity"), (right, "variance_lost")]:
    ax.plot(table[column], place, "o", ms=4, alpha=0.6)
    ax.grid(axis="y", alpha=0.3)
left.set(xlabel="perplexity, worst level", xlim=(-8, 265))
right.set(xlabel="variance lost", xlim=(0.6, 1.03))
left.set_yticks(range(len(order)), order, fontsize=8)
fig.tight_layout()
plt.show()

# %% [markdown]
# The figure and the table say four things, on all three seeds.
#
# **No single remedy is indispensable.** Leave out one, and the other five prevent a collapse. What they do not prevent
# is a worse tokenizer. Averaging the reconstruction loss at the same β costs the most: the perplexity of the worst
# level falls to about 170, and the variance lost rises by about 0.11. With both losses averaged, which shifts the
# balance less, it rises by about 0.02. Raw inputs cost about 0.08. Leaving out the start, `pretrain` and `kmeans`, costs
# about 0.07, nearly all of it owed to the steps of the autoencoder alone. Whether codewords learn by averages or by
# gradient, and whether dead ones are moved, hardly matters in this short training after a good start.
#
# **Some remedies stand in for each other.** Without the start, reset fills the codebooks; without reset, the start
# does. Without both, about 70 % of the codewords of the worst level stay unused, and collisions are more than ten times
# as many. Leaving out one at a time would not have shown it.
#
# **Most remedies alone are worth nothing.** Five of the six alone end in the same total collapse as none. The sum and
# standardisation act on the same balance: with both, the reconstruction loss starts at 381, and with one alone, at
# about 1 or less, it does not outweigh the commitment. But four together, `without reset+average`, are nearly as good as
# the whole recipe: their variance lost is higher by less than 0.01.
#
# **Codes in use are not yet good codes.** `reset` alone fills the codebooks and has as few collisions as the full
# recipe, and yet it loses about 97 % of the variance. It moves codewords to wherever there are movies, even though the
# encoder has sent all of these to nearly one point. Look at use *and* at the variance lost.
#
# This is one catalogue and 500 steps. Other data may need other remedies, which is why the library has them all.

# %% [markdown]
# ## From 1,000 to 500,000 steps
#
# The library ships four snapshots of one long training with batches of 64 movies; [Training a
# tokenizer](../book/tokenizers.md) has the command. What does patience buy? We measure them again, on the movies that
# they were trained on. The `lengths` are means: of what enters the quantizer, and of what is left after each level.
#
# {question} collisions-on-the-way

# %% tags=["nbval-check-output"]
longer = {}
for steps, name in [
    (1_000, "-1k"),
    (10_000, "-10k"),
    (100_000, "-100k"),
    (500_000, ""),
]:
    shipped, _ = load_rqvae("movielens-small-2016" + name)
    longer[steps] = tokenizer_metrics(shipped, embeddings)
assert list(longer) == [1_000, 10_000, 100_000, 500_000]
for steps, found in longer.items():
    lost, collisions = found.variance_lost, 100 * found.collision_rate
    print(f"{steps:>7,}: lost {lost:.2f}, collisions {collisions:.2f} %")

# %%
for steps, found in longer.items():
    perplexity = ", ".join(f"{p:.0f}" for p in found.perplexity)
    norms = ", ".join(f"{norm:.1f}" for norm in found.residual_norms)
    print(f"{steps:>7,}: perplexity {perplexity}; lengths {norms}")

# %% mystnb={"image": {"alt": "Two panels against the number of steps on a logarithmic axis. Left, the variance lost falls from 63 to 40 percent. Right, collisions rise from 0.22 percent at 1,000 steps to 0.52 at 100,000 and are back at 0.23 at 500,000."}, "figure": {"caption": "Longer training keeps more and more of the variance of the movies that it is trained on; collisions do not follow it.", "name": "fig-05-longer"}}
fig, (left, right) = plt.subplots(1, 2, figsize=(6, 3.2))
for ax, field, label in [
    (left, "variance_lost", "variance lost, %"),
    (right, "collision_rate", "collisions, %"),
]:
    values = [100 * getattr(found, field) for found in longer.values()]
    ax.plot(list(longer), values, "o-")
    ax.set(xscale="log", xlabel="steps", ylabel=label, ylim=(0, None))
fig.tight_layout()
plt.show()

# %% [markdown]
# Each tenfold of training keeps about 7 to 9 points more of the variance, and the last fivefold 6 or 7, as
# {numref}`fig-05-longer` shows, and each part of the gain costs several times as much as the one before. All of this is
# measured on the movies that were trained on; others come further down.
#
# Collisions tell another story. They more than double up to 100,000 steps and come back to where they began, while
# perplexity stays between 235 and 247 and shows none of it. Telling movies apart is not what the loss asks for. Two
# sequels with nearly the same text are rebuilt well by one and the same sum of codewords. The earlier snapshots were
# taken before the learning rate had fallen far. Its fall at the end is a likely reason for the recovery; one training
# cannot prove it.
#
# The printed lengths show how far the latents go on spreading: what enters the quantizer grows from about 11.5 to 20.5,
# and what is left after three levels from about 2.7 to 4.4.

# %% [markdown]
# ## No training at all: residual k-means
#
# *R-KMeans* needs no encoder and no decoder: k-means on the standardised embeddings, then on the residuals, and once
# more. It is the opponent that every trained tokenizer should face.

# %%
kmeans = new_rqvae(
    embeddings,
    RQVAEConfig.residual_kmeans(384),
    seed=0,
)
kmeans_codes = kmeans.assign(embeddings)
kmeans_found = tokenizer_metrics(kmeans, embeddings)
print("perplexity:", [round(p) for p in kmeans_found.perplexity])
print(f"collisions: {kmeans_found.collision_rate:.2%}")
print(f"variance lost: {kmeans_found.variance_lost:.1%}")

# %% [markdown]
# Do all levels work equally well? The next cell looks at the third.
#
# {question} third-level

# %%
served = torch.bincount(kmeans_codes[:, 2], minlength=256)  # movies each
rare = served <= 5  # (256,), codewords of the third level
with torch.no_grad():
    two_levels = kmeans.quantizer.decode(kmeans_codes[:, :2])
    residual = kmeans.standardize(embeddings) - two_levels
    lengths = kmeans.quantizer.codebooks[2].norm(dim=1)
print(f"third level: {int(rare.sum())} codewords serve 5 movies or fewer,")
print(f"the fullest serves {int(served.max()):,} of {len(embeddings):,}")
print(f"mean length of the residuals: {residual.norm(dim=1).mean():.1f}")
print(f"of rare codewords: {lengths[rare].mean():.1f},", end=" ")
print(f"of the fullest: {lengths[served.argmax()]:.1f}")

# %% tags=["nbval-check-output"]
count = sum(p.numel() for p in kmeans.quantizer.parameters())
print(f"R-KMeans: {count:,} numbers in codebooks")
for name, part in [
    ("decoder", shipped.decoder),
    ("codebooks", shipped.quantizer),
]:
    print(f"RQ-VAE: {sum(p.numel() for p in part.parameters()):,} in {name}")

# %%
five = pd.read_csv("results/05_tokenizers.csv").groupby("tokenizer").mean()
print(five[["variance_lost", "collision_rate", "perplexity_3"]].round(4))

# %% [markdown]
# The last table, made by `rqvae-lib compare-tokenizers`, holds means of five seeds, the RQ-VAE after 2,000 steps with
# batches of 256 movies. R-KMeans loses *less* of the variance, and nine times as many of its movies collide. Is that a
# contradiction?
#
# It is not, because the two numbers ask different things. Variance asks how far the rebuilt point is from the movie.
# Each codeword of R-KMeans is a point in the space of the embeddings itself, 384 free numbers, placed where the squared
# error wants it. The RQ-VAE's codebooks have a twelfth of these numbers. Its codes can only add up points in 32
# dimensions, and its decoder has to learn from scratch what k-means gets for nothing. After few steps it has not. In one
# training of 500,000 steps it has: 40 % lost, against 49 %, both of movies that were fitted.
#
# Collisions ask whether two movies get different codes, however near they are. After two levels, what R-KMeans has left
# over is long and points in very many of the 384 directions. A codeword of the third level then fits a handful of
# movies, on which it nearly sits, or it lies near the origin, says little, and takes everybody else: most serve five
# movies or fewer, while the fullest serves hundreds. Movies that were together after two levels and fall to such a
# codeword stay together. The RQ-VAE's latents move during training, its codewords with them, and its levels stay in
# even use.
#
# ## Movies that it has not seen
#
# A tokenizer is there for new movies, too: they have a text before anybody has rated them. How well does it describe
# movies that it was not trained on? The script `unseen_study.py` holds out a tenth of the catalogue, fits RQ-VAEs and
# R-KMeans to the rest, and measures both parts. Three seeds draw the tenth and seed the training. (One more
# case holds out half of the catalogue, with a single seed.) Each number of steps
# is a training of its own, whose learning rate falls to zero. The longest was also looked at on its way. A *shared*
# movie is one whose three codes another movie has.

# %% tags=["nbval-check-output"]
unseen = pd.read_csv("results/05_unseen.csv")
ends = unseen[unseen["at"] == unseen["steps"]]
by = ["held_out", "tokenizer", "steps"]
columns = ["lost_fitted", "lost_unseen", "shared_fitted", "shared_unseen"]
print(ends.groupby(by)[columns].mean().round(3).to_string())
least = (
    unseen.groupby([*by[:2], "seed"])["lost_unseen"].min().unstack("tokenizer")
)
assert (least["residual k-means"] < least["RQ-VAE"]).all()  # at any step


# %% mystnb={"image": {"alt": "Two panels of the variance lost over steps on a logarithmic axis, with a tenth and with half of the movies held out. Fitted movies: a line that falls from 0.64 to 0.51 on the left, to 0.44 on the right. Unseen movies: a line that falls a little until about 500 steps and then rises, from 0.67 to 0.65 and up to 0.68 on the left, from 0.68 to 0.77 on the right. Dots of shorter trainings lie near the lines. Dashed, R-KMeans: about 0.49 on fitted movies, and on unseen ones 0.60 on the left and 0.67 on the right, below all points of the RQ-VAE on unseen movies."}, "figure": {"caption": "More steps help the movies that are fitted; for others the best is near 1,000 steps with a tenth held out, and before 500 with half; residual k-means is better at any number of steps. Lines are the looks at one training of 6,000 steps, for three seeds on the left and one on the right; dots are trainings that ended there.", "name": "fig-05-unseen"}}
fig, axes = plt.subplots(1, 2, figsize=(6, 3.4), sharey=True)
for ax, (share, part) in zip(axes, unseen.groupby("held_out"), strict=True):
    longest = part[part["steps"] == part["steps"].max()]
    kmeans_row = part[part["steps"] == 0].mean(numeric_only=True)
    for column, color, name in [
        ("lost_fitted", "C0", "fitted"),
        ("lost_unseen", "C1", "unseen"),
    ]:
        for seed, one in longest.groupby("seed"):
            label = None if seed else f"RQ-VAE, {name}"
            ax.plot(one["at"], one[column], c=color, lw=1, label=label)
        whole = part[(part["at"] == part["steps"]) & (part["steps"] > 0)]
        ax.plot(whole["steps"], whole[column], "o", c=color, ms=4)
        label = f"R-KMeans, {name}"
        ax.axhline(kmeans_row[column], c=color, ls="--", label=label)
    ax.set(xscale="log", xlabel="steps")
    ax.set_title(f"{share:.0%} held out, seeds: {part['seed'].nunique()}")
axes[0].set(ylabel="variance lost", ylim=(0.3, 0.85))
axes[0].legend(fontsize=8, loc="lower left")
fig.tight_layout()
plt.show()

# %% [markdown]
# {numref}`fig-05-unseen` shows two different stories. A longer training always keeps more of the movies that it was fitted to. Of the others it keeps more at first only: 1,000 and 2,000 steps lose the least, and 6,000 lose more than 500. By then the training learns its own movies by heart. With half of the catalogue held out, tried with one seed, this begins sooner and goes further.
#
# R-KMeans overfits too: it loses ten points more of unseen movies than of its own. Still it loses less of unseen movies
# than any RQ-VAE here, at any step. The RQ-VAE keeps its other advantage: unseen movies share their codes with another
# movie less often.
#
# The 500,000 steps of the shipped tokenizer were not repeated with movies held out. Its 0.40 is true of the movies that
# it was trained on. For a new movie the figure gives no reason to hope for less than 0.68.
#
# ### When should you stop, then?
#
# *Early stopping* looks at held-out movies during the training, and keeps the weights that were best for them. For a
# fair test, the held-out movies are cut in two: the first half chooses the step, the second half judges.

# %% tags=["nbval-check-output"]
tenth = unseen[(unseen["held_out"] == 0.1) & (unseen["steps"] > 0)]
judged = {}
for seed, part in tenth.groupby("seed"):
    longest = part[part["steps"] == 6000]
    chosen = longest.loc[longest["lost_a"].idxmin()]
    found = {"stopped early": chosen["lost_b"]}
    for steps in (500, 1000, 2000, 6000):
        end = part[(part["steps"] == steps) & (part["at"] == steps)]
        found[f"{steps:,} steps"] = end["lost_b"].item()
    judged[f"seed {seed}, best at {chosen['at']:,.0f}"] = found
judged = pd.DataFrame(judged).T
print(judged.round(3).to_string())
assert (judged["1,000 steps"] < judged["stopped early"]).all()
assert (judged["6,000 steps"] > judged["500 steps"]).all()
assert judged["2,000 steps"].mean() < judged.mean().min() + 0.01

# %% [markdown]
# Looking at held-out movies shows when to stop, here after 500 to 1,000 steps. But the weights of that moment are worse
# than those of a short training that was planned to end there, whose learning rate has fallen to zero. So find the
# number of steps on held-out items, and then train once more, on everything, for so long. The library's default of
# 2,000 steps loses hardly more of unseen movies than the best of these, and less of its own; many more steps help only
# if the catalogue is complete. (`rqvae-lib train-rqvae --patience` is no help here. It watches the variance lost of the
# items that are trained on.)
#
# Which tokenizer is better depends on what follows: R-KMeans for a close picture of each movie without training, new
# movies included; the RQ-VAE for names that differ. Whether either makes better recommendations is not decided by these
# numbers.
#
# ## What to look at when it goes wrong
#
# | Symptom | Likely cause | Remedy, and where this page shows it |
# | --- | --- | --- |
# | perplexity 1 at every level, loss still falling | commitment outweighs reconstruction, so the encoder sends all movies to one point | sum over features, standardise *and* start from a pretrained autoencoder with k-means ({numref}`fig-05-collapse`: `none` against `without reset+average`) |
# | perplexity well below the codebook's size, codewords all in use | in an RQ-VAE, the balance may lean towards commitment | sum the loss over features (`without loss_sum`) |
# | a few codewords in use, the others never | the latents drew together, away from most of the codewords that k-means had placed | the balance of the loss, and reset (`only pretrain+kmeans` against `all`) |
# | codewords all in use, variance lost near 1 | codes are spread by force over latents that say nothing | repair the loss's balance, not the codebooks (`only reset`) |
# | quantization loss rises, reconstruction falls by much more | latents that are harder to code; for a while, codewords that lag | nothing to repair ({numref}`fig-05-rise`) |
# | variance lost falls on fitted items and rises on new ones | the training learns its own items by heart | fewer steps, chosen on held-out items ({numref}`fig-05-unseen`) |
# | collisions rise, variance lost falls | the loss does not ask for different codes | train until the learning rate has fallen, and do not stop on collisions alone ({numref}`fig-05-longer`) |
#
# ## Exercises
#
# ### Exercise 1 · Predict the balance (difficulty ★★☆, 15 minutes)
#
# Here is a loss. `x` and `rebuilt` have the shape (256, 384), and `left`, what is left after each level, (3, 256, 32):
#
# ```python
# reconstruction = (rebuilt - x).square().sum(1).mean()
# commitment = left.square().sum(2).sum(0).mean()
# loss = reconstruction + 0.25 * commitment
# ```
#
# Below are six changes, each made alone:
#
# | change | the new line |
# | --- | --- |
# | a | `reconstruction = (rebuilt - x).square().mean()` |
# | b | `commitment = left.square().mean()` |
# | c | `loss = (reconstruction + 0.25 * commitment) / 256` |
# | d | `loss = mse_loss(rebuilt, x) + 0.25 * mse_loss(left, torch.zeros_like(left))` |
# | e | `reconstruction = (rebuilt - x).square().sum()` |
# | f | `commitment = left.square().sum(2).mean()` |
#
# How many times as much as before does the commitment weigh, beside the reconstruction? (`mse_loss` is PyTorch's.)
#
# Decide first, then write a function that takes the letter of a change, such as `"a"`, and returns the factor: 2 if the
# commitment weighs twice as much, 1 / 2 if half. The check runs these very lines, compares the gradients of both terms,
# and says what came of the first change about which you were wrong.


# %%
def commitment_weighs(change):
    raise NotImplementedError("your turn")


_ = checks.commitment_weighs(commitment_weighs)


# %% tags=["hide-cell"]
def commitment_weighs_solution(change):
    factors = {
        "a": 384,
        "b": 1 / (3 * 32),  # the levels are averaged, too
        "c": 1,
        "d": 384 / (3 * 32),
        "e": 1 / 256,
        "f": 1 / 3,
    }
    return factors[change]


assert checks.commitment_weighs(commitment_weighs_solution)

# %% [markdown]
# ### Exercise 2 · A smoke alarm (difficulty ★★☆, 10 minutes)
#
# Write an alarm for collapse. From a matrix of codes (N, L), the codebook size and a share, list the levels, counted
# from 1, whose perplexity is below that share of the codebook size. The entropy takes the natural logarithm, and a code
# that nobody uses adds nothing to it.


# %%
def collapsed_levels(codes, codebook_size, share):
    raise NotImplementedError("your turn")


_ = checks.collapsed_levels(collapsed_levels)


# %% tags=["hide-cell"]
def collapsed_levels_solution(codes, codebook_size, share):
    collapsed = []
    for level, column in enumerate(codes.T, 1):
        shares = torch.bincount(column) / len(column)
        entropy = torch.special.entr(shares).sum()  # -p log p, 0 for p = 0
        if entropy.exp() < share * codebook_size:
            collapsed.append(level)
    return collapsed


assert checks.collapsed_levels(collapsed_levels_solution)
assert collapsed_levels_solution(bare.assign(embeddings), 256, 0.5) == [1, 2, 3]

# %% [markdown]
# ### Exercise 3 · When to stop (difficulty ★★☆, 10 minutes)
#
# *Early stopping* keeps the weights that measured best and gives up after `patience` measurements in a row without a
# new best. You get the measurements in order, lower being better. Return two numbers: the number, counted from 1, of
# the measurement whose weights are kept, and how many were made when it gave up or the list ended. A measurement may be
# `nan`: it counts, and is never a best one. If there is no best one at all, the first number is 0. Remember that at step
# 100,000 nobody knows what comes at 500,000.


# %%
def stop_early(measurements, patience):
    raise NotImplementedError("your turn")


_ = checks.stop_early(stop_early)


# %% tags=["hide-cell"]
def stop_early_solution(measurements, patience):
    best, kept = float("inf"), 0
    for number, value in enumerate(measurements, 1):
        if value < best:  # never true of a nan
            best, kept = value, number
        if number - kept >= patience:
            return kept, number
    return kept, len(measurements)


assert checks.stop_early(stop_early_solution)

# %% [markdown]
# ### Exercise 4 · Would fresh codebooks be better? (open task, 40 minutes)
#
# Take the four snapshots of the long training. In each, leave the encoder and the decoder as they are, and let k-means
# place the three codebooks again: `init_codebooks` of a copy does it. Are the fresh codebooks better than the trained
# ones? Write your answer in about five sentences, with one table. No check can grade this. Judge it yourself:
#
# | | not yet | a good answer |
# | --- | --- | --- |
# | measure | one number | what is left of the latents, what is lost behind the decoder, and how the codes are used |
# | chance | one seed of k-means | three, and their range |
# | time | the last snapshot | all four, and what changes between them |
# | reason | "k-means is worse" | why the two losses need not agree |
# | verdict | a general rule | what you would do, and what you have not tried |
#
# <details>
# <summary>One way to do it</summary>
#
# The folded cell below prints the table. In the latents, fresh codebooks leave less than the trained ones after 1,000
# steps (5.9 % of the variance instead of 7.5 %), and still after 100,000; at the end it is the trained ones that leave
# less, 4.9 % instead of 5.5 to 5.7 %. Behind the decoder, fresh codebooks gain a tenth of a point after 1,000 steps and
# lose 1.5, 3.3 to 3.8 and 4 to 4.7 points from then on. So a training's codebooks and its decoder come to suit each
# other: a codeword may stand a little away from the mean of its latents, if the decoder has learned what it stands for.
# Fresh codes are also used less evenly, at a perplexity of 210 or less instead of 239 at the last snapshot, and collide
# about twice as often there. The seeds agree in all of this except the collisions after 1,000 steps. I would not place
# codebooks again after a training, but it may pay to train the decoder once more behind fresh ones; this I have not
# tried.
#
# </details>

# %% tags=["hide-cell"]
for suffix in ("-1k", "-10k", "-100k", ""):
    own, _ = load_rqvae("movielens-small-2016" + suffix)
    vectors = own.encode(embeddings)
    total = (vectors - vectors.mean(0)).square().sum()
    for codebooks in ("trained", 0, 1, 2):
        again = copy.deepcopy(own)
        if codebooks != "trained":
            generator = torch.Generator().manual_seed(codebooks)
            again.init_codebooks(embeddings, generator=generator)
        points = again.quantizer.decode(again.assign(embeddings))
        share_left = (vectors - points).square().sum() / total
        found = tokenizer_metrics(again, embeddings)
        print(
            f"{suffix:6} {codebooks!s:8} left of the latents {share_left:.4f}, "
            f"variance lost {found.variance_lost:.4f}, "
            f"perplexity {min(found.perplexity):.0f}, "
            f"collisions {found.collision_rate:.2%}"
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
# A falling loss says little about the codes: the bare recipe's loss fell while one codeword a level served all movies.
# Perplexity and utilisation show a collapse, and the variance lost shows whether the codes mean anything. A rising
# quantization loss is no alarm while reconstruction falls by much more: k-means, started again in the same latents,
# tells how much of it is due to the latents, and how much to codewords that lag. In 500 steps on this catalogue no
# remedy was indispensable and none was enough alone. Three things together were: a loss summed over features,
# standardised inputs, and a start from an autoencoder that had trained alone, with codewords placed in its latents by
# k-means. Of the start, the training alone mattered much more than k-means, which the reset of dead codewords could
# replace.
#
# All this is about the movies that were trained on. Movies that were held out are described best after about 1,000
# steps and worse after 6,000; at every length residual k-means describes them better. How long to train is a question
# for items that the training has not seen.
#
# ## What's next
#
# The codes are good and still not unique: some movies share all three. [The next chapter](06_collisions.ipynb) is about
# these collisions and the fourth code that resolves them. [Training a tokenizer](../book/tokenizers.md) has all the
# options of the library and its commands.
#
# ## References
#
# - Lee et al. (2022), *Autoregressive Image Generation using Residual Quantization* {cite}`lee2022rqvae`.
# - Rajput et al. (2023), *Recommender Systems with Generative Retrieval* {cite}`rajput2023tiger`: the RQ-VAE for
#   semantic IDs, with k-means at the start.
# - van den Oord et al. (2017), *Neural Discrete Representation Learning* {cite}`vandenoord2017vqvae`: commitment,
#   straight-through and moving averages.
# - Zeghidour et al. (2021), *SoundStream: An End-to-End Neural Audio Codec* {cite}`zeghidour2021soundstream`: the reset
#   of dead codewords.
# - Loshchilov and Hutter (2019), *Decoupled Weight Decay Regularization* {cite}`loshchilov2019adamw`: AdamW.
