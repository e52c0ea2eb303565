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

# %% tags=["nbval-check-output"]
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
# Choose one answer to each question in your head. Then click the line below the options: it says which one is right,
# and why.
#
# **Question 1.** One vector is added to all points and to all codewords. What happens to the codes?
#
# - **A.** They change, because the codewords have other lengths.
# - **B.** They stay as they were.
# - **C.** They stay only if the vector is short.
#
# <details>
# <summary>Answer to question 1</summary>
#
# **B.** A distance depends on the difference of two vectors, and no difference changes. A looks at lengths, and these
# do not decide by themselves. C would be right if the vector were added to the points alone.
#
# </details>
#
# **Question 2.** A codebook gets twice as many codewords, and its vectors twice as many numbers. How much more memory
# does it take?
#
# - **A.** Twice as much
# - **B.** Three times as much
# - **C.** Four times as much
#
# <details>
# <summary>Answer to question 2</summary>
#
# **C.** It holds the number of codewords times their width, and both have doubled. A doubles one of them only, and B
# adds the two.
#
# </details>
#
# **Question 3.** Two codewords are equally near to a movie. Why must it be said which of them wins?
#
# - **A.** Otherwise the same movie might get another ID tomorrow.
# - **B.** Otherwise the movie would get both codes.
# - **C.** Otherwise the distance could not be computed.
#
# <details>
# <summary>Answer to question 3</summary>
#
# **A.** An ID is a name, and a name must be reproducible; the library takes the lower code. B cannot happen, since a
# code is one number. C confuses the distance, which is known, with the choice.
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
