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
# In case you start here: a *semantic ID* names an item by a few small numbers, its *codes*. A *tokenizer* makes the
# codes from the item's vector, and a *recommender* reads a history of IDs and writes the next one
# {cite}`rajput2023tiger`.
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
# | a batch as a function of its step | processes agree on it without a message | [Chapter 05](05_training_the_rqvae.ipynb) |
# | collisions | they are numbered over the whole catalogue | [Chapter 06](06_collisions.ipynb) |
# | the trie and beam search | what a search costs | [Chapter 09](09_constrained_generation.ipynb) |
# | the RQ-Transformer | it is trained here on two processes | [Chapter 10](10_three_architectures.ipynb) |
# | Recall | it is put together from shards | [Chapter 11](11_honest_evaluation.ipynb) |
#
# **Time:** about 45 minutes to read.

# %% tags=["hide-input"]
import heapq
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.utils.data import DistributedSampler

from rqvae_lib import (
    Dataset,
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
from rqvae_lib.data.pack_histories import pack_histories
from rqvae_lib.data.splits import Histories
from rqvae_lib.evaluation.metrics import ranks_in_scores, recall_at
from rqvae_lib.models.configs import TransformerConfig
from rqvae_lib.models.registry import new_recommender
from rqvae_lib.ops.kmeans import kmeans, nearest
from rqvae_lib.ops.world import World
from rqvae_lib.teaching.exercises import chapter_12 as checks
from rqvae_lib.tokenizer.assignment import assign_folder
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

# %% tags=["nbval-check-output"]
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
    return loss.item(), torch.cat(parts)


_, whole = gradient(batch)
of_shares = [gradient(share)[1] for share in shares]

# %% [markdown]
# The loss is a mean over *targets*, and the windows have different lengths, so the two shares do not have the same
# number of them. The gradient of the whole batch is the mean of the two, each weighted by its targets:

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
# result depends on the number of processes, to save a few lines of arithmetic.
#
# Dividing the rows is the easy part. The library's `World` says which rows of a batch a rank takes. The shares follow
# one another, and all rows are in one of them, also when they do not come out even:

# %% tags=["nbval-check-output"]
for size in (1, 2, 3):
    print(size, [World(rank, size).rows(64) for rank in range(size)])
both = [World(rank, 2).rows(64) for rank in range(2)]
assert torch.equal(torch.cat([batch[rows] for rows in both]), batch)

# %% [markdown]
# This works because the batch of a step is a function of the seed and the step number, and of nothing else ([chapter
# 05](05_training_the_rqvae.ipynb)). Each process can make the whole batch without asking anybody, and keep its share.
#
# ## Two processes, live
#
# Now two processes train. Each runs the program below, which is all of data parallel training: take a share of the
# batch, weight the loss by its targets, and add up the gradients with `all_reduce`, which leaves the sum in every
# process. Without `torchrun` the same program is a world of one. To see the difference, it trains twice, the second
# time with the plain mean of means.

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
    way: np.abs(np.subtract(one[way], two[way]))
    for way in ("weighted", "mean of means")
}
print(f"loss after 30 steps: {one['weighted'][-1]:.3f}")
assert difference["weighted"].max() < 1e-5
assert difference["mean of means"].max() > 1e-4

# %% mystnb={"image": {"alt": "The absolute difference between the losses of one process and of two, over thirty steps, on a logarithmic axis. With shares weighted by their targets all points lie at two millionths or below; with the mean of means they lie between one hundred-thousandth and one thousandth from the second step on."}, "figure": {"caption": "Weighted by targets, two processes train as one does, up to the last digit of a 32-bit number. With the mean of means they train something else from the second step on. Differences of exactly zero are drawn at the lower edge.", "name": "fig-12-world"}}
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
# bound that this book's tests hold for 50 steps of a recommender. It is a strong test. A mistake in a split rarely stops
# a training, it only makes another one, and this line catches it.
#
# Rounding does not stay in the last digit for ever. Each step starts from weights that differ a little more, and after
# thousands of steps two trainings are two models. A tokenizer parts sooner, since its codes jump: a
# row that lies between two codewords goes to one of them in the first training and to the other in the second. So
# compare steps, as here, and keep the checkpoint if you need the same IDs again.
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
# dies, the others stop and say so. A training may go on with another number of processes than it began with
# (`--resume`), for the number is no part of the training.
#
# ## What is added up, and what one decides for all
#
# Gradients are not all that a training learns from a batch. The codewords of our tokenizer follow moving averages of
# the rows that choose them ([chapter 04](04_residual_quantization.ipynb)), and an average is made of two sums: how many
# rows, and their sum. Two processes with half of the batch each must add these up, and divide afterwards. Here are 64
# codewords, a batch of 256 movies, and its two halves:

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
mean_moves = (codewords - start).norm() / step
print(f"the mean of both moves {mean_moves:.2f} of a step")
assert 0.4 < mean_moves < 0.6

# %% [markdown]
# The first of these two is what happens by itself when such averages are *buffers* of a model inside of
# `DistributedDataParallel`: before each step it copies the buffers of rank 0 over those of the others, and the rows of
# the others are forgotten. The second goes in the right direction, and half as far: on each rank, the codewords are moved
# by half of the rows only.
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
# fits the codebooks and sends them to all (it *broadcasts* them). And it first tells them whether there were rows
# enough to fit: if rank 0 stops with an error and the others wait for codebooks, they wait until a time-out, half an
# hour by PyTorch's default for gloo. In the library, `World.from_first` does both. What the first process returns *or
# raises* is returned or raised in all.
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
# Evaluation looks easy to split: each process takes some users. PyTorch's `DistributedSampler` deals them out, and
# since collective calls wait for everybody, it makes all shares equally long, by repeating users. Here the hits of
# popularity, for each of the 671 people, are averaged over such shares:

# %% tags=["nbval-check-output"]
split = leave_one_out(data)
tested, hidden = split.histories_and_targets(split.test)
scores = Popularity(split.popularity).scores(tested)
hits = recall_at(ranks_in_scores(scores, hidden, tested), 10)  # (671,)
print(f"one process: {int(hits.sum())} of {len(hits)}, {hits.mean():.4f}")
for size in (2, 5, 100):
    dealt = [
        list(DistributedSampler(hits, size, rank, shuffle=False))
        for rank in range(size)
    ]
    users = [user for share in dealt for user in share]
    print(f"{size} processes: {len(users)} rows, {hits[users].mean():.4f}")
    by_user = dict(zip(users, hits[users].tolist(), strict=True))
    kept = torch.tensor([by_user[user] for user in range(len(hits))])
    assert torch.equal(kept, hits.to(kept))

# %% [markdown]
# With two processes one person counts twice, with a hundred 29 do, and the Recall changes with the number of processes.
# It is a small error here; it is a large one for a small test set on a large machine. The remedy is in the last lines:
# a result carries the *user* that it belongs to, all are gathered, and repeats are dropped. Then the numbers are those
# of one process, bit for bit, and so are the intervals, which are drawn once, from the gathered results.
#
# ## Rows that arrive in any order
#
# The catalogue is split in another way. To assign codes to an item, one needs its vector and the tokenizer, and no
# other item. So a hundred million vectors are read block by block, by as many workers as there are. An engine such as
# Ray {cite}`moritz2018ray` deals out the blocks, and starts a lost one again. It does not promise to return them in the
# order of the files, unless it is told to, and a block may take longer than the next one. Let 16 blocks of movies
# arrive as they like:

# %%
rqvae, _ = load_rqvae("movielens-small-2016")
whole = SemanticIDs(rqvae.assign(vectors), 256)
levels = ["first", "second", "third"]
table = pd.DataFrame(whole.codes.numpy(), columns=levels)
table.insert(0, "item_id", data.items["item_id"].to_numpy())
blocks = [table[begin : begin + 600] for begin in range(0, len(table), 600)]
random.Random(0).shuffle(blocks)
arrived = pd.concat(blocks, ignore_index=True)
print(arrived.head(3).to_string())

right = (arrived[levels] == table[levels]).all(axis=1).sum()
print(f"by position, {right} of {len(table):,} movies have their own codes")

# %% [markdown]
# Whoever writes these rows into an array by position has given every movie the name of another one, and no shape or
# count is wrong. That is why each row has its `item_id`, and why the rows are put in their places by it.
#
# There is a second trap in the same place. The disambiguation code counts the items that share their codes
# ([chapter 06](06_collisions.ipynb)), and to count, one needs an order. If it is the order of arrival, the names change
# with every run:

# %%
number = arrived.groupby(levels).cumcount()
number.index = arrived["item_id"]
counted = number.loc[data.items["item_id"]].to_numpy()
changed = (counted != whole.ids[:, -1].numpy()).sum()
print(f"counted as they arrive: {changed} movies have another last code")

in_order = arrived.set_index("item_id").loc[data.items["item_id"]]
again = SemanticIDs(in_order[levels].to_numpy(), 256)
assert torch.equal(again.ids, whole.ids)

# %% [markdown]
# The library's `assign_folder` does this for a folder of Parquet files with the columns `item_id` and `vector`. The
# movies are dealt out at random to five files, and the table of IDs that comes out is the one made in memory:

# %%
parts = Path(folder.name, "vectors")
parts.mkdir()
dealt = np.random.default_rng(0).permutation(len(vectors))
for part, some in enumerate(np.array_split(dealt, 5)):
    numbers = pa.array(vectors[some].half().numpy().ravel())
    columns = {
        "item_id": data.items["item_id"].to_numpy()[some],
        "vector": pa.FixedSizeListArray.from_arrays(numbers, 384),
    }
    pq.write_table(pa.table(columns), parts / f"{part}.parquet")
output = Path(folder.name, "ids.parquet")
assigned = assign_folder(rqvae, parts, output, progress=False)
print(f"{assigned.items:,} items, {assigned.collisions} collide")
of_folder = pd.read_parquet(output).set_index("item_id")
assert of_folder.index.equals(pd.Index(data.items["item_id"]))
assert (of_folder.to_numpy() == whole.ids.numpy()).all()

# %% [markdown]
# As a command it is `rqvae-lib assign`. With `--engine ray` Ray's *actors*, processes that stay and keep what they have
# loaded, share the row groups of the files, and each holds one copy of the tokenizer; the result is the same table.
#
# Counted in the order of the catalogue, the result is the same, ID for ID, whatever the blocks and their order. The
# count is also the one step of the catalogue that is not independent from item to item. It needs all codes, but only
# the codes: a hundred million items have 38 billion numbers in their vectors and 300 million in their codes.
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
# With 64 rows for each codeword, the fit is two per cent worse on these movies; whole fits from other draws differ by a
# few thousandths. Others settle at 256 rows for each codeword, which is the default of faiss and of the reservoir that
# TorchEasyRec fills from a stream {cite}`torcheasyrec`. What matters is that this number does not grow with the
# catalogue: 256 codewords need 65,536 rows, of a million items or of a hundred million. `rqvae-lib train-rqvae
# --vectors` draws as many from a folder, and `assign` then reads all of it.
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
# come in the order in which they happened, or in none, and must be sorted by person and time. To sort more than fits
# into memory is an old art. Sort pieces that do fit, write each to a file, and then *merge* the files, which needs only
# the first row of each:

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
# everywhere in this book. The library's `pack_histories` writes such a file from Parquet, and a training takes it in
# the place of histories in memory. (It deals the rows out to buckets of people first, and sorts each bucket, which
# reads and writes every row once.)

# %%
raw = log.assign(item_id=data.items["item_id"].to_numpy()[log["item"]])
raw = raw[["user_id", "item_id", "timestamp"]].reset_index(drop=True)
table_path = Path(folder.name, "log.parquet")
raw.to_parquet(table_path, index=False)
packed = pack_histories(
    table_path,
    Path(folder.name, "histories.safetensors"),
    data.items,
    rows_in_memory=10_000,
)
in_memory = Dataset.from_tables(raw, data.items)
expected = leave_one_out(in_memory).everything
assert len(packed.histories) == len(expected)
assert all(
    torch.equal(packed.histories[user], expected[user])
    for user in range(len(expected))
)

# %% [markdown]
# ## What grows, and what does not
#
# How far does one process go, and what stops it? A script measured each stage at several sizes, in a process with one
# thread:
#
#     OMP_NUM_THREADS=1 python book/studies/scaling.py
#
# It counts *processor seconds*, which other work on the machine hardly changes, and the peak of memory above what the
# process had before. Vectors, codes and histories are drawn at random, and weights are untrained. Random numbers cost
# what real ones do. Random codes do not quite: they spread evenly, so more prefixes exist than in a real catalogue. The
# search is that of the decoder-only model of [chapter 08](08_training_a_decoder.ipynb), with three levels of 256
# codewords and histories of 20 items; the training step is that of an RQ-Transformer with three such levels. It needs a
# vector for each *prefix*, each beginning of an ID: it learns one for each, or a small network computes it from the codes
# ([chapter 10](10_three_architectures.ipynb)). All sizes are in the table on the page of
# [results](../book/results.md).
#
# {question} larger-catalogue

# %% tags=["nbval-check-output"]
growth = pd.read_csv("results/12_growth.csv")
print(
    growth.groupby("stage", sort=False)["seconds"].agg(["count", "min", "max"])
)


def of_stage(stage, **where):
    rows = growth[growth["stage"] == stage]
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows


# %% mystnb={"image": {"alt": "Two panels on logarithmic axes. Above, processor seconds against the number of items, from ten thousand to ten million: assigning codes and building the trie rise in proportion; a search for 64 users stays level; the two kinds of training steps rise slowly. Below, seconds and gibibytes against the number of users: both rise with the users, the seconds fastest at the end, to about one second and two gibibytes for ten million."}, "figure": {"caption": "What reads every item grows with the items, a search does not grow at all, and a training step is in between (the thin line is growth in proportion). Below: the plan of the batches grows with the users, in time and in memory.", "name": "fig-12-growth"}}
lines = {
    "assign codes": of_stage("assign", encoder=364_544, codebooks=24_576),
    "unique IDs, trie": of_stage("index"),
    "search for 64 users": of_stage("search", beams=50, batch=64, dim=64),
    "step, prefixes by a network": of_stage(
        "step", batch=64, dim=64, vectors=0
    ),
    "step, a vector per prefix": of_stage("step", batch=64, dim=64, vectors=1),
}
fig, axes = plt.subplots(2, 1, figsize=(6, 6.6), layout="constrained")
for (name, rows), marker in zip(lines.items(), "os^dv", strict=True):
    axes[0].loglog(rows["items"], rows["seconds"], f"{marker}-", label=name)
axes[0].loglog([1e4, 1e7], [0.02, 20], lw=0.7, c="gray")
axes[0].set(xlabel="items", ylabel="processor seconds")
batches = of_stage("batches")
axes[1].loglog(batches["users"], batches["seconds"], "o-", label="seconds")
axes[1].loglog(
    batches["users"], batches["mib"] / 1024, "s-", label="GiB, with histories"
)
axes[1].set(xlabel="users, with 20 items each", ylabel="plan of the batches")
axes[0].legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
axes[1].legend()
plt.show()

# %% [markdown]
# {numref}`fig-12-growth` has three kinds of lines. Assigning codes, and sorting the IDs into a trie, read every item,
# so they grow in proportion; but sorting takes nineteen times as long for the last tenfold. A search reads a history and the children of its
# beams, and in a catalogue a thousand times larger it takes as long as before ([chapter
# 09](09_constrained_generation.ipynb) says why). A training step is in between. It chooses among the children of
# prefixes, and a larger catalogue has more of these: a hundred times as many items make a step nearly five times as
# long with a network for the prefixes, and six and a half times with a vector for each. The two kinds of prefixes differ less in time than in memory, as we shall see.
#
# Of the users a step sees only those of its batch. What grows with all of them is the *plan*: in which order the
# windows come, and where histories are cut. It is drawn once for each epoch, and takes about a second for ten million people.
#
# Beams are the other size that one chooses. Their cost can be read from the same table, and beside it what a second
# process does to a training step. For that, the script trained the RQ-Transformer of [chapter
# 10](10_three_architectures.ipynb) on the movies, in one process and in two, and noted the processor seconds that *each*
# process takes for a step:

# %% tags=["nbval-check-output"]
beams = of_stage("search", items=100_000, batch=64, dim=64)
processes = pd.read_csv("results/12_processes.csv")
of_processes = processes.pivot(
    index="batch", columns="processes", values="seconds"
)
of_ten = beams["seconds"] / beams["seconds"].iloc[0]
*_, before, last = lines["unique IDs, trie"]["seconds"]
print(f"sorting: {last / before:.0f} times for the last tenfold")
for name in ("step, prefixes by a network", "step, a vector per prefix"):
    rows = lines[name]
    times = rows["seconds"].iloc[-1] / rows["seconds"].iloc[0]
    print(f"{name}: {times:.1f} times for 100 times the items")
for number, times in zip(beams["beams"], of_ten, strict=True):
    print(f"{number:3.0f} beams: {times:4.1f} times the seconds of 10")
for size, (one, two) in of_processes.iterrows():
    print(f"{size:3} windows a step: {one / two:.2f} times as fast with two")
assert 10 < of_ten.iloc[-1] < 20
assert (of_processes[1] / of_processes[2]).is_monotonic_increasing

# %% mystnb={"image": {"alt": "Two panels on logarithmic axes. Left: processor seconds of a search for 64 users against the number of beams, from 10 to 200; the points rise by less than in proportion up to 50 beams, and in proportion from there. Right: processor seconds of each process for a training step against the windows of a batch, 16, 64 and 256, for one process and for two; the second line is only just below the first at 16 windows and well below it at 256."}, "figure": {"caption": "Left: from fifty beams on, a search costs in proportion to them (thin line). Right: a second process takes little of the work of a small batch, and nearly half of a large one.", "name": "fig-12-beams"}}
fig, axes = plt.subplots(1, 2, figsize=(6.4, 3), layout="constrained")
axes[0].loglog(beams["beams"], beams["seconds"], "o-")
axes[0].loglog([10, 200], [0.03, 0.6], lw=0.7, c="gray")
axes[0].set(xlabel="beams", ylabel="processor seconds, 64 users")
axes[0].set_xticks(
    beams["beams"], [f"{number:.0f}" for number in beams["beams"]]
)
axes[0].set_yticks([0.05, 0.1, 0.2, 0.5], ["0.05", "0.1", "0.2", "0.5"])
for number, marker in ((1, "o"), (2, "s")):
    label = "one process" if number == 1 else "each of two"
    axes[1].loglog(
        of_processes.index, of_processes[number], f"{marker}-", label=label
    )
axes[1].set_xticks(
    of_processes.index, [f"{size}" for size in of_processes.index]
)
axes[1].set_yticks([0.03, 0.1, 0.2], ["0.03", "0.1", "0.2"])
for ax in axes:
    ax.minorticks_off()
axes[1].set(xlabel="windows a step", ylabel="processor seconds a step")
axes[1].legend()
plt.show()

# %% [markdown]
# With few beams, reading the history is a part of the cost; from fifty on, twice as many cost twice as much. The second
# process is another matter. Two processes share the windows of a batch, but not everything: each of them computes the vectors of the
# prefixes and the optimizer's step for all weights, and they must talk. With few windows, what is not shared is most of
# the step ({numref}`fig-12-beams`). The more windows there are, the nearer the speed-up comes to two; waiting takes no
# processor time, so this is what is possible where each process has a core of its own. A larger batch is no remedy in
# itself: it makes another training, with another learning rate to be found.
#
# ## A model of the cost
#
# A plan needs costs at sizes that nobody has measured. A *cost model* is a sum of a few terms, each a product of sizes
# that the work is made of, with one factor to be found:
#
# - **assigning** an item: something for the row itself, and something for each multiplication in the encoder and in the
#   search of the codebooks
# - **a training step** of $T$ targets at width $D$: matrices take $T D^2$, everything that goes over the tokens one by one
#   takes $T D$, and the vectors of the prefixes take $D$, whatever the batch (all for a catalogue of 10,000 items)
# - **a search**: something for the call, $D^2$ for reading a history, and for each beam of a user the same three kinds: a
#   part for itself, one that grows with $D$, and one with $D^2$, since each beam reads its own codes
#
# The factors are fitted by least squares. As the sizes span several powers of ten, each row is divided by its own
# measurement, so that it is *relative* errors that are made small. Some sizes are left out of the fit, the largest ones
# among them. They are the test: a model that is right about them has passed a first test.

# %%
million = 1e6
TERMS = {
    "assign": {
        "the row": lambda r: r["items"],
        "encoder": lambda r: r["items"] * r["encoder"] / million,
        "codebooks": lambda r: r["items"] * r["codebooks"] / million,
    },
    "step": {
        "prefixes": lambda r: r["dim"],
        "tokens": lambda r: 50 * r["batch"] * r["dim"],
        "matrices": lambda r: 50 * r["batch"] * r["dim"] ** 2,
    },
    "search": {
        "the call": lambda r: r["batch"] ** 0,
        "history": lambda r: r["batch"] * r["dim"] ** 2,
        "beams": lambda r: r["batch"] * r["beams"],
        "beams, tokens": lambda r: r["batch"] * r["beams"] * r["dim"],
        "beams, matrices": lambda r: r["batch"] * r["beams"] * r["dim"] ** 2,
    },
}
of_512 = [4 * 512 * 32, 4 * 512 * 384]  # four levels of 512 codewords
UNSEEN = {
    "assign": lambda r: (r["items"] > 1e6) | r["codebooks"].isin(of_512),
    "step": lambda r: (r["dim"] == 192) | (r["dim"] * r["batch"] == 128**2),
    "search": lambda r: (r["dim"] == 192) | (r["beams"] == 200),
}
measured = {
    "assign": of_stage("assign"),
    "step": of_stage("step", items=10_000, vectors=0),
    "search": of_stage("search", items=100_000),
}


def parts_of(stage, rows):
    """What the work is made of: (rows, terms)."""
    return np.column_stack([term(rows) for term in TERMS[stage].values()])


def fitted(parts, seconds):
    """The factor of each term, by least squares of relative errors."""
    relative = parts / seconds.to_numpy()[:, None]
    return np.linalg.lstsq(relative, np.ones(len(parts)))[0]


factors, checked = {}, {}
for stage, rows in measured.items():
    unseen = UNSEEN[stage](rows)
    fit = rows[~unseen]
    factors[stage] = fitted(parts_of(stage, fit), fit["seconds"])
    predicted = parts_of(stage, rows) @ factors[stage]
    checked[stage] = rows.assign(predicted=predicted, unseen=unseen)
    ratio = predicted / rows["seconds"]
    assert (abs(ratio[unseen] - 1) < 0.25).all()
    print(
        f"{stage:<7} fitted to {len(fit):2}: "
        f"{ratio[~unseen].min():.2f} to {ratio[~unseen].max():.2f}; "
        f"unseen {unseen.sum()}: {ratio[unseen].min():.2f} to "
        f"{ratio[unseen].max():.2f}"
    )

# %% mystnb={"image": {"alt": "Predicted against measured processor seconds on logarithmic axes, for assigning, training steps and searches. Filled points, which were fitted, and hollow ones, which were not, all lie close to the diagonal, within a band of 25 percent."}, "figure": {"caption": "Three stages, three to five terms each: the sizes that were left out of the fit (hollow) lie within 25 % of the prediction, the grey band.", "name": "fig-12-model"}}
fig, ax = plt.subplots(figsize=(6, 4), layout="constrained")
ends = np.array([5e-3, 3e2])
ax.fill_between(ends, 0.75 * ends, 1.25 * ends, color="gray", alpha=0.25)
for (stage, rows), marker in zip(checked.items(), "os^", strict=True):
    for unseen, some in rows.groupby("unseen"):
        ax.loglog(
            some["seconds"],
            some["predicted"],
            marker,
            c=f"C{list(checked).index(stage)}",
            mfc="none" if unseen else None,
            label=None if unseen else stage,
        )
ax.set(xlabel="measured seconds", ylabel="predicted seconds")
ax.legend()
plt.show()

# %% [markdown]
# {numref}`fig-12-model` shows the sizes that were kept for the test: all lie within 25 % of what the model says, which the
# page asserts. Among them are ten times as many items as the fit has seen, and a wider recommender with more beams.
# Steps with more than 10,000 items, or with a vector per prefix, are in neither group: this model does not describe
# them. And we chose the terms after we had seen the test, so it is milder than it looks. Our first model of the search
# had no term for the matrices of the beams. This is how far it was off:

# %% tags=["nbval-check-output"]
rows = checked["search"]
parts, unseen = parts_of("search", rows)[:, :-1], rows["unseen"]
forgetful = parts @ fitted(parts[~unseen], rows["seconds"][~unseen])
ratio = forgetful / rows["seconds"]
print(f"fitted: {ratio[~unseen].min():.2f} to {ratio[~unseen].max():.2f}")
print(f"unseen: {ratio[unseen].min():.2f} to {ratio[unseen].max():.2f}")

# %% [markdown]
# It was off by up to a quarter already where it was fitted, and just outside of our bound where it was not.
#
# The terms can be read, too. So much does one item take with the tokenizer of the movies:

# %% tags=["nbval-check-output"]
one_item = pd.DataFrame(
    {"items": [1], "encoder": [364_544], "codebooks": [24_576]}
)
microseconds = 1e6 * parts_of("assign", one_item)[0] * factors["assign"]
for term, spent in zip(TERMS["assign"], microseconds, strict=True):
    print(f"{term:<10} {spent:4.1f} µs")

# %% [markdown]
# And how fast is *your* machine? A first guess is one number, from one stage; others may differ. The cell assigns 20,000 movies, drawn with
# repetition, and divides by what the model says of the machine of the study:

# %% tags=["nbval-ignore-output"]
some = vectors[torch.randint(len(vectors), (20_000,), generator=seeded(2))]
begin = time.process_time()
rqvae.assign(some)
spent = time.process_time() - begin
expected = 20_000 * microseconds.sum() / 1e6
print(
    f"this machine takes {spent / expected:.2f} times as long as the model says"
)

# %% [markdown]
# ## A plan on paper: 10⁸ items, 10⁹ users
#
# Now the model is used where nobody has measured. Let there be a hundred million items with texts, and a billion users
# with 50 interactions each. IDs have four levels of 1,024 codewords; the recommender is the RQ-Transformer, at a width
# of 192, that reads each interaction once; and everybody gets ten items from a search with 50 beams. What the work is
# made of is put into the same terms. Three rows are rough. Two are too low: a step has the price of 10,000 items, and
# at 64 windows a million items took five times as long; and IDs are sorted in proportion, which the last measurement
# exceeded. The third may be wrong either way: the search is costed as the decoder-only model's with 20 items a history,
# since no other was measured at these sizes. In [chapter 10](10_three_architectures.ipynb) the RQ-Transformer's search
# took a fifth of that; longer histories and more codewords cost more:

# %%
items, users = 100_000_000, 1_000_000_000
width, windows_a_step = 192, 1_024
plan_sizes = {
    "assign": {"items": items, "encoder": 364_544, "codebooks": 4 * 1_024 * 32},
    "step": {"batch": windows_a_step, "dim": width},
    "search": {"batch": 64, "beams": 50, "dim": width},
}
each = {
    stage: (parts_of(stage, pd.DataFrame([sizes])) @ factors[stage]).item()
    for stage, sizes in plan_sizes.items()
}
encode = of_stage("encode").iloc[-1]
index = of_stage("index").iloc[-1]
core_seconds = {
    "encode the texts": items * encode["seconds"] / encode["items"],
    "assign codes": each["assign"],
    "unique IDs, trie": items * index["seconds"] / index["items"],
    "train, one epoch": users / windows_a_step * each["step"],
    "recommend to all": users / 64 * each["search"],
}

# %% [markdown]
# The hardware has a name: a `c7a.48xlarge` of Amazon's cloud has 192 cores of AMD's EPYC processors and 384 GiB of
# memory, for 9.85 dollars an hour on demand in Virginia, as SkyPilot's catalogue of prices had it in 2026
# {cite}`skypilotcatalog`. We take each of its cores for one of the study's, also an EPYC, and 192 processes for 192
# times one. Both are assumptions, and the second is a generous one, since cores share the paths to memory. No GPU is in
# the plan, since none was measured.

# %%
CORES, GIB, DOLLARS = 192, 384, 9.85  # of one machine; dollars an hour
print(f"{'':<18} core hours  hours, 192 cores  dollars")
for stage, seconds in core_seconds.items():
    hours = seconds / 3600
    cores = 1 if stage == "unique IDs, trie" else CORES  # it is not split
    print(
        f"{stage:<18} {hours:10,.1f}  {hours / cores:16.1f}  "
        f"{hours / cores * DOLLARS:7,.0f}"
    )

# %% mystnb={"image": {"alt": "A dot for each of five stages on a logarithmic axis: its core hours. Recommending to all is the longest with about two thousand, one epoch of training follows, then encoding the texts with about two hundred; assigning codes takes less than one and unique IDs a hundredth of an hour."}, "figure": {"caption": "Recommending to everybody and one epoch of training take most of the time. To encode the texts takes about a sixteenth of the two together, and codes for a hundred million items are cheap beside all three.", "name": "fig-12-plan"}}
fig, ax = plt.subplots(figsize=(6.4, 2.6), layout="constrained")
names = list(core_seconds)[::-1]
ax.plot([core_seconds[name] / 3600 for name in names], names, "o")
ax.set(xscale="log", xlabel="core hours", ylim=(-0.5, len(names) - 0.5))
ax.grid(axis="y", lw=0.5)
plt.show()

# %% [markdown]
# So much for the arithmetic: a few thousand core hours ({numref}`fig-12-plan`), and about 190 dollars, if 192 processes
# could run at once, which the next section denies. Half of this book is about codes, and they are the cheapest part.
# That says how small this recommender is, and what is not in the plan: the training of the tokenizer, trials, failures,
# further epochs, and people. At a width of 512 instead of 192, the terms with $D^2$
# alone are seven times as large.
#
# ### What breaks first
#
# Memory ends this plan before money does, for one reason: in data parallel work *every process holds everything* that
# is not dealt out. What it holds of the catalogue and of the plan of the batches was measured at several sizes, and the
# slope between the smallest and the largest is taken for the price of one more item or user. That is rougher than the
# model above: a size between lies up to 27 % off this line, and the plan is a hundred times beyond the largest training:


# %%
def bytes_of_one_more(rows, column):
    rows = rows.sort_values(column)
    more = rows["mib"].iloc[-1] - rows["mib"].iloc[0]
    return more * 2**20 / (rows[column].iloc[-1] - rows[column].iloc[0])


steps = of_stage("step", batch=64, dim=64)
searches = of_stage("search", beams=50, batch=64, dim=64)
in_histories = 20 * 8 + 8  # bytes for each user that the study had in memory
held = {
    "training, plan of the batches": users
    * (bytes_of_one_more(batches, "users") - in_histories),
    "training, prefixes by a network": items
    * bytes_of_one_more(steps[steps["vectors"] == 0], "items"),
    "training, a vector per prefix": items
    * bytes_of_one_more(steps[steps["vectors"] == 1], "items"),
    "search": items * bytes_of_one_more(searches, "items"),
}
for name, size in held.items():
    gib = size / 2**30
    print(f"{name:<31} {gib:4.0f} GiB in each process: {GIB // gib:3.0f} fit")
worst = 0
for rows, column in [
    (batches, "users"),
    (steps[steps["vectors"] == 0], "items"),
    (steps[steps["vectors"] == 1], "items"),
    (searches, "items"),
]:
    rows = rows.sort_values(column)
    ends = rows.iloc[[0, -1]]
    line = np.interp(rows[column], ends[column], ends["mib"])
    worst = max(worst, (line / rows["mib"] - 1).abs().max())
print(f"a size between lies up to {worst:.0%} off the line")
on_disk = items * 384 * 2 / 1e12, users * 50 * 4 / 1e12
print(f"on disk: vectors {on_disk[0]:.2f} TB, histories {on_disk[1]:.2f} TB")

# %% [markdown]
# So the plan with 192 processes breaks before it begins. Some twenty searches fit into the machine. A training holds the
# plan of the batches and the catalogue together: at the measured width of 64, three fit with a network for the prefixes
# and one with a vector for each; at a width of 192, whose vectors are three times as large, the latter does not fit at
# all. The files are no problem, since nobody reads them whole.
#
# What can be done? Threads share what a process holds, so fewer processes with many threads each are the first thing to
# try; one may train on a tenth of the users at a time, with a tenth of the plan; and a network for the prefixes holds a
# third of what a vector for each does. None of this has been measured here. The next step, a catalogue that is itself
# dealt out, is not in this library.
#
# ## How others do it
#
# *NVIDIA*'s example of a generative recommender over semantic IDs {cite}`nvidiarecsys` trains as this chapter does. Its
# README says why: a vector for each item makes a table that is extremely large and sparse, while the tables of codes
# have a few hundred to a few thousand rows, so they are trained data parallel. The IDs of all items are one tensor,
# which may be cut into pieces where there are very many. And it expects beams by the hundreds or thousands, since a
# recommender has to fetch so many candidates.
#
# *Meta* goes the other way where the vectors are for items, and not for codes: its library TorchRec {cite}`torchrec`
# deals out tables of vectors over GPUs, by rows, columns or whole tables. The repository of its generative
# recommenders, which are reported from services with a billion users {cite}`zhai2024hstu`, asks for it. Its ranking of
# ads uses semantic IDs by their prefixes {cite}`zheng2025stability`, as our RQ-Transformer does, and prefixes are what
# the table above finds too large to copy.
#
# *TorchEasyRec*, Alibaba's library {cite}`torcheasyrec`, has both tokenizers of this book. Its RQ-VAE trains on several
# GPUs. Its residual k-means refuses to run in more than one process: it fills a reservoir from the stream of
# vectors, and fits to that, as in the section on samples.
#
# *YouTube* reports that semantic IDs and a language model adapted to them replace large tables of vectors for
# retrieval, for billions of users {cite}`he2025plum`. We found no figure for the machines that this
# takes.
#
# ## One process, two, Ray, or something else
#
# | You have | Take | Because |
# | --- | --- | --- |
# | up to a million items, and histories in memory | one process | to assign a million items takes eleven seconds here, and there is less to go wrong |
# | a training that takes too long, and idle cores or GPUs | `torchrun`, one process for each | the result is the same; look at the speed-up at your batch first |
# | vectors or texts that do not fit into memory | `assign` and `embed` on Parquet, one process | they read a block at a time |
# | the same, and many cores or machines | `--engine ray` | blocks are independent, and a lost one is done again |
# | histories that do not fit into memory | `pack_histories`, then as before | windows are read from the file |
# | a catalogue of which each process cannot hold a copy | not this library | it has to be dealt out: TorchRec, or a serving system |
# | a model that does not fit into one GPU | not this library | weights have to be dealt out: Megatron, FSDP |
# | answers in milliseconds for thousands a second | not this library | this library answers many users at a time; NVIDIA's and other serving systems answer one quickly |
#
# The order of the first rows is advice, too. A second process makes a training faster by less than two, and makes every
# mistake of this chapter possible. [Running it elsewhere](../book/running_elsewhere.md) has an example each for several
# machines, SLURM and Kubernetes.
#
# ## Exercises
#
# ### Exercise 1 · Break the split (difficulty ★★☆, 15 minutes)
#
# One step of a training on several processes, each with its share of the rows. `shares` is a list of pairs `x`, `y`, and
# they are not equally long; `w` holds the weights of a linear model:
#
# ```python
# rows = sum(len(y) for x, y in shares)
# gradients = [x.T @ (x @ w - y) / len(y) for x, y in shares]
# gradient = sum(len(y) / rows * g for (x, y), g in zip(shares, gradients))
# gradient = gradient / max(1, gradient.norm())
# w = w - 0.1 * gradient
# ```
#
# Whatever the number of shares, the same rows give the same weights, up to rounding. Below are six changes, each made
# alone. Which of them make *the result depend on the number of shares*?
#
# | change | the new line |
# | --- | --- |
# | a | `gradient = sum(gradients) / len(shares)` |
# | b | `gradient = gradient.clamp(-0.3, 0.3)`, in the place of the line with `norm` |
# | c | `gradients = [g / max(1, g.norm()) for g in gradients]`, after the line that makes them |
# | d | `gradients = [g + 0.5 * w for g in gradients]`, after the line that makes them |
# | e | `gradient = sum(g for g in gradients) / rows`, and no `/ len(y)` where they are made |
# | f | `shares = [(drop(x), y) for x, y in shares]`, before all others; `drop` has the seed of the step |
#
# The function `drop(x)` is dropout: it sets half of the numbers to zero, drawn with the same seed in each process.
# Decide first, then write a function that takes the letter of a change, such as `"a"`, and returns `True` if the result
# depends on the number of shares. The check runs these very lines with one share and with three, and says what came of
# the first change about which you were wrong.


# %%
def depends(change):
    raise NotImplementedError("your turn")


_ = checks.depends(depends)


# %% tags=["hide-cell"]
def depends_solution(change):
    # a: a mean of means; c: cut before adding; f: each share draws anew.
    return change in ("a", "c", "f")


assert checks.depends(depends_solution)

# %% [markdown]
# ### Exercise 2 · One spread from many (difficulty ★★☆, 15 minutes)
#
# Each process has measured a feature of its rows, and sends three numbers: how many rows it has, their mean, and their
# variance (the mean squared distance to that mean). `parts` is the list of these triples. Return the same three numbers
# for all rows together, as a tuple. A process may have no rows; it then sends zeros.


# %%
def pooled(parts):
    raise NotImplementedError("your turn")


_ = checks.pooled(pooled)


# %% tags=["hide-cell"]
def pooled_solution(parts):
    rows = sum(count for count, _, _ in parts)
    mean = sum(count * own for count, own, _ in parts) / rows
    squares = sum(
        count * (variance + (own - mean) ** 2) for count, own, variance in parts
    )
    return rows, mean, squares / rows


assert checks.pooled(pooled_solution)
thirds = [vectors[:100, 0], vectors[100:3_000, 0], vectors[3_000:, 0]]
_, mean, variance = pooled_solution(
    [(len(x), x.mean().item(), x.var(correction=0).item()) for x in thirds]
)
assert abs(variance - vectors[:, 0].var(correction=0).item()) < 1e-6

# %% [markdown]
# ### Exercise 3 · A catalogue from blocks (difficulty ★★★, 20 minutes)
#
# `items` is the catalogue, a list of ids in its order. `blocks` is what the workers returned, in any order: lists of
# pairs of an id and its codes, a tuple of `int`. A block that was lost has been done again, so an item may come twice.
# Return a dict from each id to its codes with the disambiguation code behind them. Raise a `ValueError` if an item came
# with two different codes, or not at all.


# %%
def catalogue_of(items, blocks):
    raise NotImplementedError("your turn")


_ = checks.catalogue_of(catalogue_of)


# %% tags=["hide-cell"]
def catalogue_solution(items, blocks):
    codes = {}
    for item, own in (row for block in blocks for row in block):
        if codes.setdefault(item, own) != own:
            raise ValueError(f"{item} came with {codes[item]} and with {own}")
    seen, catalogue = {}, {}
    for item in items:
        if item not in codes:
            raise ValueError(f"{item} never came")
        number = seen.get(codes[item], 0)
        catalogue[item] = (*codes[item], number)
        seen[codes[item]] = number + 1
    return catalogue


assert checks.catalogue_of(catalogue_solution)
folder.cleanup()

# %% [markdown]
# ### Exercise 4 · Your own plan (open task, 45 minutes)
#
# Plan a catalogue and a machine that you know: so many items and users, such cores and memory, such a price. Put them into
# the plan of this chapter, with the factor that it printed for your machine, and write one page for somebody who will pay
# for it. No check can grade this. Judge it yourself:
#
# | | not yet | a good answer |
# | --- | --- | --- |
# | numbers | hours without a machine | each row with its cores, and the factor of your machine in it |
# | memory | only hours and money | what each process holds, how many fit, and what that does to the hours |
# | doubt | one digit after the other | the rows that go beyond what was measured, and in which direction they are wrong |
# | a test | none | one measurement of a minute or two that could prove the plan wrong |
# | the first step | the whole plan at once | what to try first, and when to stop |
#
# <details>
# <summary>One way to do it</summary>
#
# Say a shop has two million items, five million customers with 20 purchases each, and a server with 16 cores and 64
# GiB; the folded cell below has the arithmetic. *Numbers.* To encode the texts takes 4.4 core hours and to recommend to
# everybody 10.8, so with 16 processes both are done within the hour. To assign codes takes seconds. *Memory.* In
# proportion, each process holds 0.3 GiB of catalogue in a search, and in a training 0.3 GiB of plan with 1.1 or 3.3 GiB
# of prefixes. Sixteen copies of the larger one would take most of the machine, so I take the network for the prefixes.
# *Doubt.* The memory is a straight line through a few sizes, up to 27 % off. The hours of the training are worse: they
# are charged as for 10,000 items, and with a million a step took five times as long. *A test.* A hundred training steps
# on the real catalogue, with processor seconds and memory noted. If a step takes more than ten times what the model
# says, the rest of the plan is wrong, too. *First step.* One process, a tenth of the customers, one epoch. If its
# Recall does not beat item-kNN, more machines will not help.
#
# </details>

# %% tags=["hide-cell"]
shop_items, customers = 2_000_000, 5_000_000
shop_hours = {
    "encode the texts": shop_items * encode["seconds"] / encode["items"],
    "assign codes": shop_items * microseconds.sum() / 1e6,
    "recommend to all": customers / 64 * each["search"],
}
for name, seconds in shop_hours.items():
    print(f"{name:<31} {seconds / 3600:6.3f} core hours")
for name, size in held.items():
    part = customers / users if "plan" in name else shop_items / items
    print(f"{name:<31} {size * part / 2**30:6.1f} GiB in each process")

# %% [markdown]
# ## Self-check
#
# Question 1 stands where it belongs, before the table of growth; here are the others. On the web page, choose an answer,
# and the page checks and keeps it. In JupyterLab, choose one in your head, and click the line below the options.
#
# {questions}
#
# ## What to take away
#
# What may be split? Whatever is a sum over rows, if the sums are added up before anything is divided; and whatever
# looks at one item or one user at a time, if each row carries its id. What may not? Draws and verdicts, which one
# process makes for all, and the numbering of collisions, which needs all codes in one order. The test for all of it is
# one sentence: the number of processes changes nothing but the rounding of a step.
#
# A plan needs a model of the cost with terms that mean something, and sizes that it has not seen to test it. Ours says
# that a search costs the same in a catalogue a thousand times larger, that codes are cheap, and that it is the copies
# in each process that end the plan, long before the money. Until then, one process is simpler than two.
#
# ## What's next
#
# [Chapter 13](13_your_own_catalogue.ipynb) brings a catalogue of your own, small enough for one process.
# If yours is larger, [Running it elsewhere](../book/running_elsewhere.md) is the next page to read.
#
# ## References
#
# - Rajput et al. (2023), *Recommender Systems with Generative Retrieval* {cite}`rajput2023tiger`: semantic IDs.
# - Li et al. (2020), *PyTorch Distributed: Experiences on Accelerating Data Parallel Training* {cite}`li2020ddp`: gradients
#   averaged over processes.
# - Moritz et al. (2018), *Ray: A Distributed Framework for Emerging AI Applications* {cite}`moritz2018ray`: tasks and actors.
# - Ivchenko et al. (2022), *TorchRec: a PyTorch Domain Library for Recommendation Systems* {cite}`torchrec`: tables of vectors
#   dealt out over GPUs.
# - Zhai et al. (2024), *Actions Speak Louder than Words* {cite}`zhai2024hstu`: generative recommenders at Meta.
# - Zheng et al. (2025), *Enhancing Embedding Representation Stability in Recommendation Systems with Semantic ID*
#   {cite}`zheng2025stability`: prefixes of semantic IDs in the ranking of ads.
# - He et al. (2025), *PLUM* {cite}`he2025plum`: semantic IDs at YouTube.
# - NVIDIA, *RecSys Examples* {cite}`nvidiarecsys`, and Alibaba, *TorchEasyRec* {cite}`torcheasyrec`: as their documentation was in
#   November 2026.
# - SkyPilot's catalogue of cloud prices {cite}`skypilotcatalog`, as it was in 2026.
