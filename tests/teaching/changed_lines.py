"""The lines that chapters 03 and 12 print, and what each change of the exercise makes of them."""

# The recipe as the chapter prints it, and for each change the line that it replaces.
RECIPE = """\
codebook = x[torch.randperm(len(x), generator=generator)[:64]]
for _ in range(10):
    codes = (codebook.square().sum(1) / 2 - x @ codebook.T).argmin(1)
    counts = torch.bincount(codes, minlength=64)[:, None]
    sums = torch.zeros_like(codebook).index_add_(0, codes, x)
    codebook = torch.where(counts > 0, sums / counts.clamp(min=1), codebook)
"""
_START, _, _ASSIGN, _, _, _AVERAGE = RECIPE.splitlines()
CHANGES_OF_RECIPE = {
    "a": [(_START, "codebook = torch.randn(64, 384, generator=generator) / 384**0.5")],
    "b": [(_START, "codebook = torch.randn(64, 384, generator=generator) / 384**0.5 * 100")],
    "c": [(_ASSIGN, "    codes = (-x @ codebook.T).argmin(1)")],
    "d": [(_ASSIGN, "    codes = (codebook.square().sum(1) - x @ codebook.T).argmin(1)")],
    "e": [(_AVERAGE, "    codebook = torch.where(counts > 0, sums, codebook)")],
    "f": [(_START, f"x = x + 100\n{_START}")],
}

# The step as the chapter prints it, and for each change the lines that it replaces.
STEP = """\
rows = sum(len(y) for x, y in shares)
gradients = [x.T @ (x @ w - y) / len(y) for x, y in shares]
gradient = sum(len(y) / rows * g for (x, y), g in zip(shares, gradients))
gradient = gradient / max(1, gradient.norm())
w = w - 0.1 * gradient
"""
_ROWS, _EACH, _ADDED, _CUT, _ = STEP.splitlines()
CHANGES_OF_STEP = {
    "a": [(_ADDED, "gradient = sum(gradients) / len(shares)")],
    "b": [(_CUT, "gradient = gradient.clamp(-0.3, 0.3)")],
    "c": [(_EACH, f"{_EACH}\ngradients = [g / max(1, g.norm()) for g in gradients]")],
    "d": [(_EACH, f"{_EACH}\ngradients = [g + 0.5 * w for g in gradients]")],
    "e": [
        (_EACH, _EACH.replace(" / len(y)", "")),
        (_ADDED, "gradient = sum(g for g in gradients) / rows"),
    ],
    "f": [(_ROWS, f"shares = [(drop(x), y) for x, y in shares]\n{_ROWS}")],
}
