# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # When the loss falls, are the codes any good?
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
# :::
#
# | You need | Why | Where |
# | --- | --- | --- |
# | k-means | codewords start at the centres that it finds | [Codebooks and k-means](03_codebook_kmeans.ipynb) |
# | residuals, straight-through gradients | they are what is trained here | [Residual quantization](04_residual_quantization.ipynb) |
# | a training loop in PyTorch | we write one step of it | [PyTorch's tutorials](https://pytorch.org/tutorials/) |
#
# **Time:** about 25 minutes to read.

# %%
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
# recipe, as we shall see. Inputs that are not standardised act in the same direction. The features of these embeddings
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
# {numref}`fig-05-log` shows what health looks like. The left panel alone would not have told us: a loss near 260 means
# nothing to somebody who has not seen other trainings, and its first value is already low because the autoencoder had
# started alone. The right panel can be read at once, since its best value, 256, is known.
#
# ## Why one loss rises
#
# The table above holds a surprise. The reconstruction loss falls, but the *quantization* loss, here 0.25 times the
# commitment, ends higher than it began. Is something wrong? {numref}`fig-05-rise` shows the parts since step 50.

# %% mystnb={"image": {"alt": "Four curves relative to their value at step 50. The quantization loss rises by about 13 percent until step 200 and is 10 percent up at the end; the spread of the latents rises by 4 percent, the length of what is left by up to 7; reconstruction falls by 6 percent."}, "figure": {"caption": "While reconstruction gets better, the latents spread out, more is left over, and the quantization loss rises.", "name": "fig-05-rise"}}
fig, ax = plt.subplots(figsize=(6, 3.2))
for column, marker in zip(
    ["reconstruction", "quantization", "spread", "left"], "osD^", strict=True
):
    later = watched[column].loc[50:]
    ax.plot(later / later.loc[50], marker + "-", ms=4, label=column)
ax.set(xlabel="step", ylabel="relative to step 50", ylim=(0.88, 1.16))
ax.legend(loc="lower left", ncol=2)
plt.show()

# %%
first, last = watched.loc[50], watched.loc[300]
gain = first["reconstruction"] - last["reconstruction"]
price = last["quantization"] - first["quantization"]
growth = (last["spread"] / first["spread"]) ** 2 - 1
print(f"reconstruction improves by {gain:.1f}, quantization costs {price:.2f}")
print(f"the squared spread grows by {growth:.1%}")
assert gain > 5 * abs(price)
assert growth > 0

# %% [markdown]
# Nothing is wrong. k-means makes exactly this loss small, for latents that stand still: it puts each codeword at the
# mean of its residuals, and no other place has a smaller mean squared distance to them. So the loss starts near the
# lowest value that these latents allow. In the first 50 steps the latents draw together a little, and the loss stands
# still. (The table's `left` rises meanwhile, but it is the third level's alone, while the loss adds up all three.) From
# there on they spread: a far larger term, reconstruction, pays the encoder for telling movies apart, and longer vectors
# leave longer residuals. Squared lengths are what the loss counts, and the squared spread grows by nearly as much as
# the loss does. The rest is probably delay, since the codewords follow an average of the past; as the learning rate
# falls towards the end, they catch up.
#
# The encoder pays little and gains much, as the cell shows. A rise of the quantization loss is therefore no alarm, and
# a fall is no comfort: the loss is zero in a perfect collapse. This was one seed, and a rise of a tenth; the long
# training below shows the same movement at full length.
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
# The loss falls, and one codeword per level serves all 9,066 movies. Before the first step it was hardly otherwise,
# since a random encoder sends all of them to nearly one point, and the training never separates them. Which of the six
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

# %%
# NBVAL_CHECK_OUTPUT
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
# balance less, it rises by about 0.02, though the perplexity is little better, 187. Raw inputs cost about 0.08, and raw
# inputs with an averaged loss 0.21. Leaving out the start, `pretrain` and `kmeans`, costs about 0.07, and nearly all of
# that is owed to the steps of the autoencoder alone: without these it is 0.06, without k-means less than 0.01. Whether
# codewords learn by averages or by gradient, and whether dead ones are moved, hardly matters in this short training
# after a good start.
#
# **Some remedies stand in for each other.** Without the start, reset fills the codebooks; without reset, the start
# does. Without both, about 70 % of the codewords of the worst level stay unused, and collisions are more than ten times
# as many. Leaving out one at a time would not have shown it.
#
# **Most remedies alone are worth nothing.** Five of the six alone end in the same total collapse as none. Together they
# are worth more. The sum and standardisation act on the same balance: with both, the reconstruction loss starts at 381,
# and with one alone, at about 1 or less, it does not outweigh the commitment. These two without the other four leave
# most codewords of the worst level unused, and so do pretraining and k-means without the others. But all four together,
# `without reset+average`, are nearly as good as the whole recipe: their variance lost is higher by less than 0.01.
#
# **Codes in use are not yet good codes.** `reset` alone fills the codebooks and has as few collisions as the full
# recipe, and yet it loses about 97 % of the variance. It moves codewords to wherever there are movies, even though the
# encoder has sent all of these to nearly one point, and the decoder has not learned to make anything of what it is
# told. `only pretrain+kmeans` is the reverse: its perplexity is poor, and yet it keeps more. Look at use *and* at the
# variance lost.
#
# This is one catalogue and 500 steps. Other data may need other remedies, which is why the library has them all.

# %% [markdown]
# ## From 1,000 to 500,000 steps
#
# The library ships four snapshots of one long training with batches of 64 movies; [Training a
# tokenizer](../book/tokenizers.md) has the command. What does patience buy? We measure them anew. The `lengths` are
# means: of what enters the quantizer, and of what is left after each level.

# %%
# NBVAL_CHECK_OUTPUT
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

# %% mystnb={"image": {"alt": "Two panels against the number of steps on a logarithmic axis. Left, the variance lost falls steadily from 63 to 40 percent. Right, collisions rise from 0.22 percent at 1,000 steps to 0.52 at 100,000 and are back at 0.23 at 500,000."}, "figure": {"caption": "Longer training keeps more and more of the variance; collisions do not follow it.", "name": "fig-05-longer"}}
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
# {numref}`fig-05-longer` shows: the gain is steady, and each part of it costs several times as much as the one before.
# Collisions tell another story. They more than double up to 100,000 steps and come back to where they began, while
# perplexity stays between 235 and 247 and shows none of it. Telling movies apart is not what the loss asks for. Two
# sequels with nearly the same text are rebuilt well by one and the same sum of codewords. The earlier snapshots were
# taken before the learning rate had fallen far. Its fall at the end is a likely reason for the recovery; one training
# cannot prove it.
#
# The printed lengths show the movement of the last section at full size. What enters the quantizer grows from about
# 11.5 to 20.5, and what is left after three levels from about 2.7 to 4.4.

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

# %%
# NBVAL_CHECK_OUTPUT
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
# error wants it: 294,912 numbers in all. The RQ-VAE's codebooks have a twelfth of that. Its codes can only add up
# points in 32 dimensions, and its decoder, which is larger than all codebooks together, has to learn from scratch what
# k-means gets for nothing. After few steps it has not. In one training of 500,000 steps it has: 40 % lost, against
# 49 %.
#
# Collisions ask whether two movies get different codes, however near they are. After two levels, what R-KMeans has left
# over is long and points in very many of the 384 directions. A codeword of the third level then fits a handful of
# movies, on which it nearly sits, or it lies near the origin, says little, and takes everybody else. The cell above
# shows both kinds: most codewords serve five movies or fewer and are about as long as the residuals themselves, while
# the fullest serves hundreds and is several times shorter. Movies that were together after two levels and fall to such
# a codeword stay together. The RQ-VAE's latents move during training, its codewords with them, and its levels stay in
# even use.
#
# Which is better depends on what follows: R-KMeans for a close picture of each movie without training, the RQ-VAE for
# names that differ.
#
# ## What to look at when it goes wrong
#
# | Symptom | Likely cause | Remedy, and where this page shows it |
# | --- | --- | --- |
# | perplexity 1 at every level, loss still falling | commitment outweighs reconstruction, so the encoder sends all movies to one point | sum over features, standardise *and* start from a pretrained autoencoder with k-means ({numref}`fig-05-collapse`: `none` against `without reset+average`) |
# | perplexity well below the codebook's size, codewords all in use | in an RQ-VAE, the balance may lean towards commitment | sum the loss over features (`without loss_sum`) |
# | a few codewords in use, the others never | the latents drew together, away from most of the codewords that k-means had placed | the balance of the loss, and reset (`only pretrain+kmeans` against `all`) |
# | codewords all in use, variance lost near 1 | codes are spread by force over latents that say nothing | repair the loss's balance, not the codebooks (`only reset`) |
# | quantization loss rises, reconstruction falls | latents spread out | nothing to repair ({numref}`fig-05-rise`) |
# | collisions rise, variance lost falls | the loss does not ask for different codes | train until the learning rate has fallen, and do not stop on collisions alone ({numref}`fig-05-longer`) |
#
# ## Exercises
#
# ### Exercise 1 · The loss of a batch (difficulty ★☆☆, 5 minutes)
#
# Compute the loss of a batch for codewords that follow averages, so without a codebook loss. You get the standardised
# features `x` and what was `rebuilt`, both of shape (B, D); `left`, of shape (L, B, d), what is left after each level;
# and `beta`. Return a tensor of shape ().


# %%
def batch_loss(x, rebuilt, left, beta):
    raise NotImplementedError("your turn")


_ = checks.batch_loss(batch_loss)


# %% tags=["hide-cell"]
def batch_loss_solution(x, rebuilt, left, beta):
    reconstruction = (rebuilt - x).square().sum(1)  # (B,)
    commitment = left.square().sum((0, 2))  # (B,)
    return (reconstruction + beta * commitment).mean()


assert checks.batch_loss(batch_loss_solution)

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
# ## Self-check
#
# Choose one answer to each question in your head. Then click the line below the options: it says which one is right,
# and why.
#
# **Question 1.** A colleague's quantization loss has fallen to zero after 50 steps, and the whole loss is falling too.
# What do you say?
#
# - **A.** Congratulations: the latents lie on codewords, so quantizing costs nothing any more.
# - **B.** Wait for the other loss: as long as reconstruction gets better, the codes get better too.
# - **C.** A loss of zero has no gradient, so the codewords have stopped too early.
# - **D.** Show me the perplexity first, and then we shall see.
#
# <details>
# <summary>Answer to question 1</summary>
#
# **D.** The cheapest way to a quantization loss of zero is one point and one codeword for all movies, and then the
# perplexity is 1 and the variance lost is 1. A is true of the latents and says nothing of the movies: they may all lie
# on the same codeword. B was just what happened to the bare recipe, whose loss fell while it collapsed. C mistakes the
# symptom: that nothing is left to learn about the codewords is what a collapse looks like.
#
# </details>
#
# **Question 2.** Your program averages the reconstruction loss over the 384 features and sums the commitment loss,
# weighted by β. Which β gives the balance that this chapter has with a sum and 0.25?
#
# - **A.** 0.25, because an optimiser such as AdamW does not care about the scale of a loss
# - **B.** 0.25 / 384, about 0.00065
# - **C.** 0.25 · 384 = 96
# - **D.** 0.25 · 384 / 32 = 3
#
# <details>
# <summary>Answer to question 2</summary>
#
# **B.** The average is 384 times smaller than the sum, so the other term must become smaller by the same factor. A is
# right about a factor of the whole loss; here the factor is on one term, and it changes the balance. C goes the wrong
# way: 96 is what a β of 0.25 beside an average would amount to beside a sum. D is the same for a program that averages
# both losses.
#
# </details>
#
# **Question 3.** With reset as the only remedy, all codewords are in use and hardly any movies collide. Why is that no
# good tokenizer?
#
# - **A.** The codes tell movies apart, but hardly anything about a movie can be rebuilt from them.
# - **B.** Since codewords keep being moved, a movie's ID depends on the day.
# - **C.** The codewords are used too evenly: similar movies need a few common codes.
# - **D.** It is a good one. Names that differ are what a tokenizer is for.
#
# <details>
# <summary>Answer to question 3</summary>
#
# **A.** It loses about 97 % of the variance. Names drawn at random would be as different (D); what makes an ID semantic
# is that something can be read from it. Codewords move in every training, and stand still when it is over (B). Even use
# is no fault (C): the full recipe has a higher perplexity still, and keeps a third of the variance.
#
# </details>
#
# ## What to take away
#
# A falling loss says little about the codes: the bare recipe's loss fell while one codeword per level served all
# movies. Perplexity and utilisation show a collapse, the variance lost shows whether the codes mean anything, and a
# rising quantization loss shows only that the latents spread. In 500 steps on this catalogue no remedy was
# indispensable and none was enough alone. Three things together were: a loss summed over features, standardised inputs,
# and a start from an autoencoder that had trained alone, with codewords placed in its latents by k-means. Of the start,
# the training alone mattered much more than k-means, which the reset of dead codewords could replace.
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
