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

from rqvae_lib.exercises import chapter_00 as checks  # yours: chapter_NN
from rqvae_lib.kmeans import nearest

generator = torch.Generator().manual_seed(7)
points = torch.randn(200, 2, generator=generator)
codebook = torch.randn(4, 2, generator=generator)

# %% [markdown]
# ## By hand
#
# Say it first, then build it in a few lines.

# %%
by_hand = (points[:, None] - codebook).square().sum(-1).argmin(1)

# %%
# NBVAL_CHECK_OUTPUT
print(tuple(by_hand.shape))

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
# ## Self-check
#
# Answer in your head, then click the question.
#
# <details>
# <summary>1. Which term of the squared distance does not depend on the codeword?</summary>
#
# The squared length of the vector itself, so it cannot change which codeword is nearest.
#
# </details>
#
# <details>
# <summary>2. What does a codebook cost in memory?</summary>
#
# Its size times its width: *K* times *D* numbers, however many items there are.
#
# </details>
#
# <details>
# <summary>3. Which codeword wins a tie?</summary>
#
# The one with the lower code. `rqvae_lib` promises it, so that IDs can be reproduced.
#
# </details>
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
