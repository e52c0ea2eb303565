# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # How near is the nearest codeword?
#
# The question that this chapter answers, in a paragraph.
#
# :::{admonition} What you will learn
# - why the nearest codewords of a whole catalogue are one matrix product
# - how to see that a codebook is wasted
# :::
#
# | You need | Why | Where |
# | --- | --- | --- |
# | squared distances | the nearest codeword is the closest one | [Codebooks](03_codebooks.ipynb) |
#
# **Time:** about 15 minutes to read.

# %%
import matplotlib.pyplot as plt
import torch

from rqvae_lib.ops.kmeans import nearest
from rqvae_lib.teaching.exercises import chapter_00 as checks

generator = torch.Generator().manual_seed(7)
points = torch.randn(200, 2, generator=generator)
codebook = torch.randn(4, 2, generator=generator)

# %% [markdown]
# ## By hand
#
# Say it first, then build it in a few lines.

# %%
by_hand = (points[:, None] - codebook).square().sum(-1).argmin(1)

# %% [markdown]
# {question} largest-cell

# %% tags=["nbval-check-output"]
print(by_hand.bincount().tolist())

# %% [markdown]
# ## The library's version
#
# Import it, and let an assertion say that both agree. {numref}`fig-template-cells` shows the result.

# %%
codes = nearest(points, codebook)
assert torch.equal(codes, by_hand)

# %% mystnb={"image": {"alt": "Scatter plot of 200 points in the plane, coloured by the nearest of four codewords"}, "figure": {"caption": "Each codeword claims the points around it.", "name": "fig-template-cells"}}
fig, ax = plt.subplots(figsize=(5, 3.2))
ax.scatter(*points.T, c=by_hand, s=12)
ax.set(xlabel="first number", ylabel="second number")
plt.show()

# %% [markdown]
# ## Exercises
#
# ### Exercise 1 · The distance of two vectors (difficulty ★☆☆, 5 minutes)
#
# What the function gets, what it must return. Until it is written, the check says so and the chapter runs on.


# %%
def squared_distance(a, b):
    raise NotImplementedError("your turn")


_ = checks.squared_distance(squared_distance)


# %% tags=["hide-cell"]
def squared_distance(a, b):
    return (a - b).square().sum()


assert checks.squared_distance(squared_distance)

# %% [markdown]
# ### Exercise 2 · Predict the codes (difficulty ★★☆, 10 minutes)
#
# What the function foretells, of a handful of changes, each made alone. The check runs every one of them.


# %%
def changes_a_code(change):
    raise NotImplementedError("your turn")


_ = checks.changes_a_code(changes_a_code)


# %% tags=["hide-cell"]
def changes_a_code(change):
    return change in {"a", "c"}


assert checks.changes_a_code(changes_a_code)

# %% [markdown]
# ### Exercise 3 · How many codewords? (open task, 30 minutes)
#
# A task without a single right answer, on data of the reader's own. No check can grade it, so the rubric does.
#
# | | not yet | a good answer |
# | --- | --- | --- |
# | seeds | one | three or more, and their spread |
# | cost | left out | memory and time beside what was gained |
# | verdict | a table alone | a sentence that says what to do |
#
# <details>
# <summary>One way to do it</summary>
#
# What somebody did, what came of it, and what is still open.
#
# </details>
#
# ## Self-check
#
# Question 1 stands where it belongs, before the cell that answers it; here are the others. On the web page, choose an
# answer, and the page checks and keeps it. In JupyterLab, choose one in your head, and click the line below the options.
#
# {questions}
#
# ## What to take away
#
# One or two sentences.
#
# ## What's next
#
# [Codebooks](03_codebooks.ipynb) asks where good codewords come from.
#
# ## References
#
# - Lloyd, "Least Squares Quantization in PCM", 1982 {cite}`lloyd1982least`: the algorithm of this chapter.
