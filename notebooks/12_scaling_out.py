# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Scaling out: what may be split, and what does it cost?
#
# Everything so far ran in one process, on 9,066 movies and 671 people. You may have a hundred million items and a
# billion users. Which steps can several processes share, and which of them go wrong when they do, without an error
# message? And before anybody rents a machine: what will it cost? This chapter splits each step by hand and compares the
# result with the undivided one, trains on two processes on this page, and fits a model of the cost to measurements, to
# plan a catalogue that no laptop can hold.
#
# In case you start here: a *semantic ID* names an item by a few small numbers, its *codes*. A *tokenizer* makes the codes
# from the item's vector, and a *recommender* reads a history of IDs and writes the next one {cite}`rajput2023tiger`.
#
# :::{admonition} What you will learn
# - how the gradient of a batch is made from shares, and a way to do it that is wrong and looks right
# - what processes must add up at each step, and what one of them must decide for all
# - why rows carry their ids, and what goes wrong when their place in a file is trusted
# - which costs grow with items, which with users, and which with neither
# - how to fit a model of the cost, test it on sizes it has not seen, and plan with it
# - when to use one process, two, Ray, or another library than this one
# :::
#
# | You need | Why | Where |
# | --- | --- | --- |
# | codebooks and k-means | they must be the same in all processes | [Chapter 03](03_codebook_kmeans.ipynb) |
# | moving averages of codewords | they are sums over rows | [Chapter 04](04_residual_quantization.ipynb) |
# | collisions | they are numbered over the whole catalogue | [Chapter 06](06_collisions.ipynb) |
# | the RQ-Transformer | it is trained here on two processes | [Chapter 10](10_three_architectures.ipynb) |
# | Recall | it is put together from shards | [Chapter 11](11_honest_evaluation.ipynb) |
#
# **Time:** about 40 minutes to read.

# %%
import heapq
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch.utils.data import DistributedSampler

from rqvae_lib import (
    Popularity,
    RQTransformerConfig,
    SemanticIDs,
    leave_one_out,
    load_dataset,
    load_embeddings,
    load_recommender,
    load_rqvae,
)
from rqvae_lib.data.batches import PADDING, WindowBatches
from rqvae_lib.data.splits import Histories
from rqvae_lib.evaluation.metrics import ranks_in_scores, recall_at
from rqvae_lib.models.configs import TransformerConfig
from rqvae_lib.models.registry import new_recommender
from rqvae_lib.ops.kmeans import kmeans, nearest
from rqvae_lib.ops.world import World
from rqvae_lib.teaching.exercises import chapter_12 as checks
from rqvae_lib.tokenizer.quantizer import ResidualQuantizer

torch.set_num_threads(1)  # as each process of a run on several has


def seeded(seed):
    return torch.Generator().manual_seed(seed)


# %% [markdown]
# ## A batch in two shares
#
# To train on several processes, every one of them holds the whole model, reads a share of each batch, and computes a
# gradient. The processes add up their gradients, so that all take the same step, and their models stay the same. This
# is *data parallel* training {cite}`li2020ddp`. A process has a *rank*, its number from 0, and the *world* is all of
# them. The first question is what "add up" means. Here are a small RQ-Transformer and a batch of 64 windows:

# %%
# NBVAL_CHECK_OUTPUT
data = load_dataset("movielens-small-2016")
ids = load_recommender("movielens-small-2016")[0].ids
histories = leave_one_out(data).train
config = RQTransformerConfig(
    TransformerConfig(dim=32, num_layers=1, mlp_dim=64),
    prefix_embeddings=False,
)
torch.manual_seed(0)
model = new_recommender(config, ids).eval()  # no dropout for now
batch = WindowBatches(histories, max_items=50, batch_size=64, seed=0)(0)
shares = batch[:32], batch[32:]
targets = [int((share != PADDING).sum()) for share in shares]
print(f"{tuple(batch.shape)} windows and places; targets: {targets}")


# %%
def gradient(rows):
    """The mean loss of the rows' targets, and its gradient as one vector."""
    model.zero_grad()
    loss = model.loss(rows)
    loss.backward()
    parts = [parameter.grad.flatten() for parameter in model.parameters()]
    return float(loss), torch.cat(parts)


_, whole = gradient(batch)
of_shares = [gradient(share)[1] for share in shares]

# %% [markdown]
# The loss is a mean over *targets*, and the windows have different lengths, so the two shares do not have the same number
# of them. The gradient of the whole batch is the mean of the two, each weighted by its targets:

# %%
weights = [count / sum(targets) for count in targets]
by_hand = sum(w * g for w, g in zip(weights, of_shares, strict=True))
torch.testing.assert_close(by_hand, whole, rtol=1e-4, atol=1e-6)


def distance(vector):
    return float((vector - whole).norm() / whole.norm())


plain = sum(of_shares) / 2
print(f"weighted by targets: off by {distance(by_hand):.0e}")
print(f"plain mean of means: off by {distance(plain):.1%}")
assert distance(by_hand) < 1e-5 < 1e-3 < distance(plain)

# %% [markdown]
# The plain mean of the two is what one gets from a tool that averages gradients over processes, as PyTorch's
# `DistributedDataParallel` does, when the loss in each process is a mean of its own. It gives every *process* the same
# weight, and thereby a target in a short share more than one in a long share. Nothing fails, the loss falls, and the
# training is another one for each number of processes. That is a bad trade for a few lines of arithmetic.
#
# Dividing the rows is the easy part. The library's `World` says which rows of a batch a rank takes. The shares follow
# one another, and all rows are in one of them, also when they do not come out even:

# %%
# NBVAL_CHECK_OUTPUT
for size in (1, 2, 3):
    print(size, [World(rank, size).rows(64) for rank in range(size)])
both = [World(rank, 2).rows(64) for rank in range(2)]
assert torch.equal(torch.cat([batch[rows] for rows in both]), batch)

# %% [markdown]
# This works because the batch of a step is a function of the seed and the step number, and of nothing else
# ([chapter 05](05_training_the_rqvae.ipynb)). Each process can make the whole batch without asking anybody, and keep its
# share.
#
# ## Two processes, live
#
# Now two processes train. Each runs the program below, which is all of data parallel training: take a share of the
# batch, weight the loss by its targets, and add up the gradients with `all_reduce`, which leaves the sum in every
# process. Without `torchrun` the same program is a world of one. To see the difference, it trains twice, the second time
# with the plain mean of means.

# %%
PROGRAM = """
import json
import os

import torch
from torch import distributed

from rqvae_lib import (
    RQTransformerConfig, leave_one_out, load_dataset, load_recommender
)
from rqvae_lib.data.batches import PADDING, WindowBatches
from rqvae_lib.models.configs import TransformerConfig
from rqvae_lib.models.registry import new_recommender

torch.set_num_threads(1)
rank = int(os.environ.get("RANK", 0))  # torchrun sets these two
size = int(os.environ.get("WORLD_SIZE", 1))
if size > 1:
    distributed.init_process_group("gloo")

ids = load_recommender("movielens-small-2016")[0].ids
histories = leave_one_out(load_dataset("movielens-small-2016")).train
batches = WindowBatches(histories, max_items=50, batch_size=64, seed=0)
config = RQTransformerConfig(
    TransformerConfig(dim=32, num_layers=1, mlp_dim=64),
    prefix_embeddings=False,
    embedding_dropout=0.0,
)


def summed(values):
    if size > 1:
        distributed.all_reduce(values)
    return values


def train(weighted):
    torch.manual_seed(0)  # all processes begin with the same weights
    model = new_recommender(config, ids)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for step in range(30):
        share = batches(step)[rank * 64 // size : (rank + 1) * 64 // size]
        own = (share != PADDING).sum()
        weight = own / summed(own.clone())
        loss = model.loss(share)
        losses.append(float(summed(loss.detach() * weight)))
        optimizer.zero_grad()
        (loss * weight if weighted else loss / size).backward()
        for parameter in model.parameters():
            summed(parameter.grad)
        optimizer.step()
    return losses


losses = {"weighted": train(True), "mean of means": train(False)}
if rank == 0:
    print(json.dumps(losses))
if size > 1:
    distributed.destroy_process_group()
"""

# %% [markdown]
# `torchrun` starts the program as often as it is told, and tells each process its rank. With `--standalone`, everything
# stays on this machine, and nothing is left running when it returns. (On Linux the program is kept to the *loopback*
# interface, through which a machine talks to itself.)

# %%
folder = tempfile.TemporaryDirectory()
alone = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
if sys.platform == "linux":
    alone["GLOO_SOCKET_IFNAME"] = "lo"


def run(program, processes):
    """Run a program in so many processes, and return what it printed."""
    path = Path(folder.name, "program.py")
    path.write_text(program)
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone"]
        command += [f"--nproc-per-node={processes}"]
    done = subprocess.run(
        [*command, str(path)],
        env=os.environ | alone,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


one, two = run(PROGRAM, 1), run(PROGRAM, 2)
difference = {
    way: np.abs(np.subtract(one[way], two[way])) for way in ("weighted", "mean of means")
}
print(f"loss after 30 steps: {one['weighted'][-1]:.3f}")
assert difference["weighted"].max() < 1e-5
assert difference["mean of means"].max() > 1e-4

# %% mystnb={"image": {"alt": "The absolute difference between the losses of one process and of two, over thirty steps, on a logarithmic axis. With shares weighted by their targets all points lie at about one millionth or below; with the mean of means they rise within three steps to between a ten thousandth and a thousandth, and stay there."}, "figure": {"caption": "Weighted by targets, two processes train as one does, up to the last digit of a 32-bit number. With the mean of means they train something else from the second step on. Differences of exactly zero are drawn at the lower edge.", "name": "fig-12-world"}}
fig, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
for (way, values), marker in zip(difference.items(), "os", strict=True):
    ax.semilogy(np.arange(1, 31), values.clip(1e-7), marker, ms=4, label=way)
ax.axhline(1e-5, ls="--", c="gray")
ax.set(xlabel="step", ylabel="|loss of one − loss of two|", ylim=(7e-8, 1e-2))
ax.legend(loc="upper right", ncols=2)
plt.show()

# %% [markdown]
# {numref}`fig-12-world` is the test that any split has to pass: *the number of processes changes nothing but rounding*.
# Sums of numbers with 32 bits depend a little on their order, and so some last digits differ; the dashed line is the
# bound that this book's tests hold for 50 steps. It is a strong test. A mistake in a split rarely stops a training, it
# only makes another one, and this line catches it.
#
# The library's training loop does the same, for every architecture. Inside of `joined()` the world is all processes
# that `torchrun` started, and `train_recommender` takes its share of each batch. Dropout is on this time: its masks are
# drawn for the whole batch from the seed and the step, and each process keeps the rows of its share.

# %%
LIBRARY = """
import json

import torch

from rqvae_lib import (
    RQTransformerConfig, TrainingConfig, leave_one_out, load_dataset,
    load_recommender, train_recommender
)
from rqvae_lib.models.configs import TransformerConfig
from rqvae_lib.ops.world import joined

torch.set_num_threads(1)
with joined() as world:
    _, log = train_recommender(
        load_recommender("movielens-small-2016")[0].ids,
        leave_one_out(load_dataset("movielens-small-2016")).train,
        RQTransformerConfig(TransformerConfig(dim=32, num_layers=1, mlp_dim=64)),
        TrainingConfig(
            num_steps=20, batch_size=64, learning_rate=3e-3, log_every=1
        ),
        progress=False,
    )
    if world.is_first:
        print(json.dumps([entry.loss for entry in log]))
"""
one, two = run(LIBRARY, 1), run(LIBRARY, 2)
assert np.abs(np.subtract(one, two)).max() < 1e-5
print(f"loss: {one[0]:.3f} at the first step, {one[-1]:.3f} at the last")

# %% [markdown]
# The commands share their work in the same way, with nothing to change but how they are started:
#
#     torchrun --standalone --nproc-per-node=2 -m rqvae_lib \
#         train-recommender --architecture rq-transformer
#
# The first process checks the options, reads the data, measures and writes; the others train along. If one of them
# dies, the others stop and say so. A training may go on with another number of processes than it began with (`--resume`), for the
# number is no part of the training.
#
# ## What is added up, and what one decides for all
#
# Gradients are not all that a training learns from a batch. The codewords of our tokenizer follow moving averages of the
# rows that choose them ([chapter 04](04_residual_quantization.ipynb)), and an average is made of two sums: how many rows,
# and their sum. Two processes with half of the batch each must add these up, and divide afterwards. Here are 64 codewords,
# a batch of 256 movies, and its two halves:

# %%
vectors = load_embeddings(texts=data.texts)  # (9066, 384)
quantizer = ResidualQuantizer(1, 64, 384, dead_after=0)
quantizer.init_codebooks(vectors, generator=seeded(0))
start = quantizer.codebooks[0].detach().clone()  # (64, 384)
keep = quantizer.ema_decay
rows = vectors[torch.randperm(len(vectors), generator=seeded(1))[:256]]


def chosen(rows):
    """For each codeword: how many rows choose it, and the sum of them."""
    codes = nearest(rows, start)
    counts = torch.bincount(codes, minlength=64).float()  # (64,)
    sums = torch.zeros(64, 384).index_add_(0, codes, rows)
    return counts, sums


def moved(counts, sums):
    """The codewords after a step; each began as the average of one row."""
    counts = keep + (1 - keep) * counts
    return (keep * start + (1 - keep) * sums) / counts[:, None]


first, second = chosen(rows[:128]), chosen(rows[128:])
by_hand = moved(first[0] + second[0], first[1] + second[1])
quantizer.train()
quantizer(rows)  # the library's step, with the whole batch
torch.testing.assert_close(by_hand, quantizer.codebooks[0].detach())

# %%
step = (by_hand - start).norm()
ways = {
    "codewords of rank 0": moved(*first),
    "mean of both ranks' codewords": (moved(*first) + moved(*second)) / 2,
}
for name, codewords in ways.items():
    print(f"{name}: off by {(codewords - by_hand).norm() / step:.0%} of a step")
    assert (codewords - by_hand).norm() > 0.3 * step

# %% [markdown]
# The first of these two is what happens by itself when such averages are *buffers* of a model inside of
# `DistributedDataParallel`: before each step it copies the buffers of rank 0 over those of the others, and the rows of
# the others are forgotten. The second looks fair and is not, since a ratio of sums is not the mean of ratios. This is
# the same mistake as the mean of means.
#
# Other things cannot be added up, and must be decided once. K-means begins with a draw, and ends where the draw leads.
# Suppose that each of two processes fits 256 codewords to its half of the movies:

# %%
halves = vectors[::2], vectors[1::2]
books = [
    kmeans(half, 256, generator=seeded(rank)).centroids
    for rank, half in enumerate(halves)
]
codes = [nearest(vectors, book) for book in books]


def pairs(labels):
    """How many pairs of movies have the same label."""
    counts = labels.bincount()
    return int((counts * (counts - 1) // 2).sum())


same = (codes[0] == codes[1]).double().mean()
together = pairs(256 * codes[0] + codes[1]) / pairs(codes[0])
print(f"movies with the same code in both: {same:.1%}")
print(f"pairs that share a code in one, and do so in the other: {together:.0%}")
assert same < 0.02
assert together < 0.5

# %% [markdown]
# Hardly a movie has the same code in both, and this is not only a matter of numbering: most pairs of movies that share
# a code in one codebook are apart in the other. IDs from two such processes would mix two languages. So one process
# fits the codebooks and sends them to all (it *broadcasts* them). And it first tells them whether there were rows enough
# to fit: if rank 0 stops with an error and the others wait for codebooks, they wait until a time-out, half an hour by
# PyTorch's default for gloo. In the library, `World.from_first` does both. What the first process returns *or raises*
# is returned or raised in all.
#
# The same question has to be asked of everything that is random or measured:
#
# | What | Done how | Why |
# | --- | --- | --- |
# | gradients, counts and sums of codewords | added up at each step | sums over rows |
# | mean and spread of the inputs | from sums of rows and squares (exercise 2) | the mean of spreads misses the spread of means |
# | clipping of the gradient | after adding up | the length of a sum is not the sum of lengths |
# | dropout masks | drawn for the whole batch, a share kept | else the masks depend on the number of processes |
# | rows for dead codewords | drawn from all rows of the batch, the same in all | else the codebooks part |
# | k-means, early stop, what was refused | decided by the first, told to all | a draw, or a verdict |
# | files | written by the first | two writers spoil one file |
#
# ### A measurement that counts somebody twice
#
# Evaluation looks easy to split: each process takes some users. PyTorch's `DistributedSampler` deals them out, and since
# collective calls wait for everybody, it makes all shares equally long, by repeating users. Here the hits of popularity,
# for each of the 671 people, are averaged over such shares:

# %%
# NBVAL_CHECK_OUTPUT
split = leave_one_out(data)
tested, hidden = split.histories_and_targets(split.test)
scores = Popularity(split).scores(tested)
hits = recall_at(ranks_in_scores(scores, hidden, tested), 10)  # (671,)
print(f"one process: {int(hits.sum())} of {len(hits)}, {hits.mean():.4f}")
for size in (2, 5, 100):
    dealt = [
        list(DistributedSampler(hits, size, rank, shuffle=False))
        for rank in range(size)
    ]
    users = sum(dealt, [])
    print(f"{size} processes: {len(users)} rows, {hits[users].mean():.4f}")
    by_user = dict(zip(users, hits[users].tolist(), strict=True))
    kept = torch.tensor([by_user[user] for user in range(len(hits))])
    assert torch.equal(kept, hits.to(kept))

# %% [markdown]
# With two processes one person counts twice, with a hundred 29 do, and the Recall changes with the number of processes.
# It is a small error here; it is a large one for a small test set on a large machine. The remedy is in the last lines: a
# result carries the *user* that it belongs to, all are gathered, and repeats are dropped. Then the numbers are those of one
# process, bit for bit, and so are the intervals, which are drawn once, from the gathered results.
#
# ## Rows that arrive in any order
#
# The catalogue is split in another way. To assign codes to an item, one needs its vector and the tokenizer, and no other
# item. So a hundred million vectors are read block by block, by as many workers as there are. An engine such as Ray
# {cite}`moritz2018ray` deals out the blocks, and starts a lost one again. It does not promise to return them in the
# order of the files, unless it is told to, and a block may take longer than the next one. Let 16 blocks of movies arrive as they like:

# %%
# NBVAL_CHECK_OUTPUT
rqvae, _ = load_rqvae("movielens-small-2016")
whole = SemanticIDs(rqvae.assign(vectors), 256)
levels = ["first", "second", "third"]
table = pd.DataFrame(whole.codes.numpy(), columns=levels)
table.insert(0, "item_id", data.items["item_id"].to_numpy())
blocks = [table[begin : begin + 600] for begin in range(0, len(table), 600)]
random.Random(0).shuffle(blocks)
arrived = pd.concat(blocks, ignore_index=True)
print(arrived.head(3).to_string())

by_position = (arrived[levels] == table[levels]).all(axis=1)
print(f"{by_position.mean():.1%} of the movies have their codes by position")

# %% [markdown]
# Whoever writes these rows into an array by position has given nearly every movie the name of another one, and no shape
# or count is wrong. That is why each row has its `item_id`, and why the rows are put in their places by it.
#
# There is a second trap in the same place. The disambiguation code counts the items that share their codes
# ([chapter 06](06_collisions.ipynb)), and to count, one needs an order. If it is the order of arrival, the names change
# with every run:

# %%
# NBVAL_CHECK_OUTPUT
number = arrived.groupby(levels).cumcount()
number.index = arrived["item_id"]
counted = number.loc[data.items["item_id"]].to_numpy()
changed = (counted != whole.ids[:, -1].numpy()).sum()
print(f"counted as they arrive: {changed} movies have another last code")

in_order = arrived.set_index("item_id").loc[data.items["item_id"]]
again = SemanticIDs(in_order[levels].to_numpy(), 256)
assert torch.equal(again.ids, whole.ids)

# %% [markdown]
# Counted in the order of the catalogue, the result is the same, ID for ID, whatever the blocks and their order. The
# count is also the one step of the catalogue that is not independent from item to item. It needs all codes, but only the
# codes: a hundred million items have 38 billion numbers in their vectors and 300 million in their codes.
#
# ### What a sample costs
#
# K-means and the standardisation look at all vectors. They need not. A codebook is a few hundred averages, and an
# average of some rows is close to that of all. How close? We fit 64 codewords to samples and measure the inertia over
# *all* movies, divided by that of a fit to all of them. The last line fits to all of them from other draws.

# %%
def inertia(sample, seed):
    book = kmeans(sample, 64, generator=seeded(seed)).centroids
    return float((vectors - book[nearest(vectors, book)]).square().sum())


of_all = inertia(vectors, 0)
cost = {}
for per_codeword in (4, 16, 64, len(vectors) / 64):
    size = int(64 * per_codeword)
    ratios = []
    for seed in (1, 2, 3):
        drawn = torch.randperm(len(vectors), generator=seeded(seed))[:size]
        ratios.append(inertia(vectors[drawn], seed) / of_all)
    cost[size] = np.mean(ratios)
    print(f"{size:5} movies, {per_codeword:5.0f} a codeword: {cost[size]:.3f}")
assert list(cost.values()) == sorted(cost.values(), reverse=True)
assert cost[4096] < 1.04

# %% [markdown]
# With 64 rows for each codeword, the fit is two per cent worse on these movies; whole fits from other draws differ by a few thousandths. Others
# settle at 256 rows for each codeword, which is the default of faiss and of the reservoir that TorchEasyRec fills from
# a stream {cite}`torcheasyrec`. What matters is that this number does not grow with the catalogue: 256 codewords need
# 65,536 rows, of a million items or of a hundred million.
#
# ### Histories that do not fit into memory
#
# A training reads windows of histories, a few at a time. The items of all people are one long array, with the places
# where each person's part begins ([chapter 01](01_data_splits_leakage.ipynb)). If that array is a file, the system can
# *map* it into memory: it looks like an array, and only the pages that are touched are read.

# %%
path = Path(folder.name, "items.bin")
histories.items.numpy().tofile(path)
mapped = np.memmap(path, dtype=np.int64, mode="c")
on_disk = Histories(torch.from_numpy(mapped), histories.offsets)
how = {"max_items": 50, "batch_size": 64, "seed": 0}
in_memory, from_disk = (
    WindowBatches(one, **how)(7) for one in (histories, on_disk)
)
assert torch.equal(in_memory, from_disk)

# %% [markdown]
# The batch is the same, and the training does not know the difference. What remains is to write that file: interactions
# come in the order in which they happened, or in none, and must be sorted by person and time. To sort more than fits into
# memory is an old art. Sort pieces that do fit, write each to a file, and then *merge* the files, which needs only the
# first row of each:

# %%
log = data.interactions.sample(frac=1, random_state=0)
events = list(
    zip(log["user_id"], log["timestamp"], log.index, log["item"], strict=True)
)
pieces = [
    sorted(events[begin : begin + 10_000])  # as much as fits into memory
    for begin in range(0, len(events), 10_000)
]
merged = [event[3] for event in heapq.merge(*pieces)]  # a stream, to a file
assert merged == data.interactions["item"].tolist()
print(f"{len(merged):,} interactions from {len(pieces)} sorted pieces")

# %% [markdown]
# The third number of each event is its row in the source, so that ties in time keep the order that they had, as
# everywhere in this book.
