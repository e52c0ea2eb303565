"""Mistakes that readers make in chapter 04's exercises, and words of the hint that each gets."""

import torch


def chosen(residual, codebook):
    return (residual[:, None] - codebook).square().sum(2).argmin(1)


# Exercise 1


def codes_right(z, codebooks):
    codes = []
    for codebook in codebooks:
        codes.append(chosen(z, codebook))
        z = z - codebook[codes[-1]]
    return torch.stack(codes, 1)


def codes_transposed(z, codebooks):
    return codes_right(z, codebooks).T


def codes_by_dot_product(z, codebooks):
    codes = []
    for codebook in codebooks:
        codes.append((z @ codebook.T).argmax(1))
        z = z - codebook[codes[-1]]
    return torch.stack(codes, 1)


def codes_without_the_half(z, codebooks):
    codes = []
    for codebook in codebooks:
        codes.append((codebook.square().sum(1) - z @ codebook.T).argmin(1))
        z = z - codebook[codes[-1]]
    return torch.stack(codes, 1)


def codes_by_angle(z, codebooks):
    unit = torch.nn.functional.normalize(codebooks, dim=2)
    codes = []
    for codebook, directions in zip(codebooks, unit, strict=True):
        codes.append((z @ directions.T).argmax(1))
        z = z - codebook[codes[-1]]
    return torch.stack(codes, 1)


def codes_without_residual(z, codebooks):
    return torch.stack([chosen(z, codebook) for codebook in codebooks], 1)


def codes_of_the_negative(z, codebooks):
    codes = []
    for codebook in codebooks:
        codes.append(chosen(z, codebook))
        z = codebook[codes[-1]] - z
    return torch.stack(codes, 1)


def codes_from_the_last_level(z, codebooks):
    return codes_right(z, codebooks.flip(0))


def codes_from_the_last_level_turned(z, codebooks):
    return codes_right(z, codebooks.flip(0)).flip(1)


def codes_in_place(z, codebooks):
    codes = []
    for codebook in codebooks:
        codes.append(chosen(z, codebook))
        z -= codebook[codes[-1]]
    return torch.stack(codes, 1)


def codes_subtract_from_z_only(z, codebooks):
    residual, codes = z, []
    for codebook in codebooks:
        codes.append(chosen(residual, codebook))
        residual = z - codebook[codes[-1]]
    return torch.stack(codes, 1)


# Exercise 2


def once_right(z, codebooks):
    residual, total = z.detach(), torch.zeros_like(z)
    for codebook in codebooks:
        word = codebook[chosen(residual, codebook)].detach()
        residual, total = residual - word, total + word
    return z + (total - z).detach()


def once_subtracts_the_estimate(z, codebooks):  # right in this, and turned down by the next
    total = 0
    for codebook in codebooks:
        word = codebook[chosen(z, codebook)].detach()
        estimate = z + (word - z).detach()
        z, total = z - estimate, total + estimate
    return total


def once_first_level_only(z, codebooks):
    return once_right(z, codebooks[:1])


def once_no_estimator(z, codebooks):
    return once_right(z, codebooks).detach()


def once_every_level(z, codebooks):
    residual, total = z, 0
    for codebook in codebooks:
        word = codebook[chosen(residual, codebook)].detach()
        total = total + residual + (word - residual).detach()
        residual = residual - word
    return total


def once_leaks(z, codebooks):
    residual, total = z.detach(), torch.zeros_like(z)
    for codebook in codebooks:
        word = codebook[chosen(residual, codebook)]
        residual, total = residual - word, total + word
    return total + (z - z.detach())


# Exercise 3


def loss_right(z, codebooks):
    loss = 0
    for codebook in codebooks:
        z = z - codebook[chosen(z, codebook)].detach()
        loss = loss + z.square().sum(1)
    return loss


def loss_mean(z, codebooks):
    return loss_right(z, codebooks) / z.shape[1]


def loss_weighted(z, codebooks):
    return 0.25 * loss_right(z, codebooks)


def loss_last_only(z, codebooks):
    for codebook in codebooks:
        z = z - codebook[chosen(z, codebook)].detach()
    return z.square().sum(1)


def loss_detaches_z(z, codebooks):
    loss = 0
    z = z.detach()
    for codebook in codebooks:
        word = codebook[chosen(z, codebook)]
        loss = loss + (z - word).square().sum(1)
        z = z - word
    return loss


def loss_subtracts_the_estimate(z, codebooks):
    loss = 0
    for codebook in codebooks:
        word = codebook[chosen(z, codebook)].detach()
        loss = loss + (z - word).square().sum(1)
        z = z - (z + (word - z).detach())
    return loss


def loss_leaks(z, codebooks):
    loss = 0
    for codebook in codebooks:
        z = z - codebook[chosen(z, codebook)]
        loss = loss + z.square().sum(1)
    return loss


def codes_subtract_the_first_rows(z, codebooks):
    codes = []
    for codebook in codebooks:
        codes.append(chosen(z, codebook))
        z = z - codebook[codes[-1][0]]
    return torch.stack(codes, 1)


RIGHT = {
    "greedy_codes": [codes_right],
    "quantized_once": [once_right, once_subtracts_the_estimate],
    "commitment_loss": [loss_right],
}
WRONG = {
    "greedy_codes": [
        (codes_transposed, "shape (B, L)"),
        (codes_by_dot_product, "differ in length"),
        (codes_without_the_half, "differ in length"),
        (codes_by_angle, "differ in length"),
        (codes_from_the_last_level, "start with the first codebook"),
        (codes_from_the_last_level_turned, "start with the first codebook"),
        (codes_without_residual, "given the residual"),
        (codes_of_the_negative, "given the residual"),
        (codes_subtract_from_z_only, "left over together"),
        (codes_subtract_the_first_rows, "that row's own codeword"),
        (codes_in_place, "caller's z was changed"),
    ],
    "quantized_once": [
        (once_first_level_only, "sum of the chosen codewords"),
        (once_no_estimator, "sends nothing back"),
        (once_every_level, "not at every level"),
        (once_leaks, "reaches the codebooks"),
    ],
    "commitment_loss": [
        (loss_mean, "not averaged"),
        (loss_weighted, "without β"),
        (loss_last_only, "what every level leaves over"),
        (loss_detaches_z, "detach the one and not the other"),
        (loss_subtracts_the_estimate, "every level must add"),
        (loss_leaks, "reaches the codebooks"),
    ],
}
