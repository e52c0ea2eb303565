"""The graphs of the three loops say of every gradient what autograd says."""

import re
from xml.etree import ElementTree

import pytest
import torch
from torch import Tensor

from rqvae_lib.ops.kmeans import nearest
from rqvae_lib.teaching.gradient_graphs import CODE, LOSSES, WAYS, arrivals, graph, picture

LEVELS = (1, 2, 3, 4, 6)


def run(way: str, z: Tensor, books: Tensor) -> tuple[Tensor, Tensor]:
    """The sum and the commitment loss, by the code that the reader is shown."""
    values = {"z": z, "codebooks": books, "nearest": nearest}
    exec(CODE[way], values)
    return values["q"], values["c"]


@pytest.fixture
def z() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(20, 4, generator=generator, dtype=torch.float64).requires_grad_()


@pytest.fixture
def books() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    sizes = 0.7 ** torch.arange(6, dtype=torch.float64)[:, None, None]
    return torch.randn(6, 9, 4, generator=generator, dtype=torch.float64) * sizes


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("levels", LEVELS)
def test_as_much_arrives_as_autograd_counts(
    way: str, levels: int, z: Tensor, books: Tensor
) -> None:
    total, _ = run(way, z, books[:levels])
    (gradient,) = torch.autograd.grad(total.sum(), z)
    expected = sum(arrivals(graph(way, levels), "reconstruction"))
    torch.testing.assert_close(gradient, torch.full_like(z, expected))

    # A level's commitment pulls by twice what the level leaves over, or not at all.
    left, pull = z.detach(), torch.zeros_like(z)
    for book, arrives in zip(books, arrivals(graph(way, levels), "commitment"), strict=False):
        left = left - book[nearest(left, book)]
        pull += 2 * arrives * left
    _, commitment = run(way, z, books[:levels])
    (gradient,) = torch.autograd.grad(commitment.sum(), z)
    torch.testing.assert_close(gradient, pull)


def test_loops_compute_the_same(z: Tensor, books: Tensor) -> None:
    results = [run(way, z, books) for way in WAYS]
    for total, commitment in results[1:]:
        torch.testing.assert_close(total, results[0][0])
        torch.testing.assert_close(commitment, results[0][1])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("levels", LEVELS)
def test_drawing_keeps_its_nodes_apart_and_its_lines_off_other_nodes(way: str, levels: int) -> None:
    built = graph(way, levels)
    at = {node.name: torch.tensor([node.x, node.y]).double() for node in built.nodes}
    assert len(at) == len(built.nodes)
    for name, place in at.items():
        for other in at.keys() - {name}:
            if levels <= 4:  # more are not drawn
                assert (place - at[other]).norm() >= 28, (name, other)
    if levels > 4:
        return
    for edge in built.edges:
        start, end = at[edge.start], at[edge.end]
        for name in at.keys() - {edge.start, edge.end}:
            share = ((at[name] - start) @ (end - start) / (end - start).square().sum()).clamp(0, 1)
            away = (at[name] - start - share * (end - start)).norm()
            assert away >= (13 if edge.factor else 10), (edge, name)


def test_picture_is_an_svg_that_says_what_arrives() -> None:
    root = ElementTree.fromstring(picture(3))
    words = " ".join(text for text in root.itertext())
    sums = re.findall(r"(\w+): what arrives at z is ([\d +]+) = (\d+)", words)
    expected = [(loss, arrivals(graph(way, 3), loss)) for way in WAYS for loss in LOSSES]
    assert [(loss, int(total)) for loss, _, total in sums] == [
        (loss, sum(found)) for loss, found in expected
    ]


@pytest.mark.parametrize(("way", "levels"), [("d", 3), ("a", 0), ("a", 10)])
def test_wrong_arguments(way: str, levels: int) -> None:
    with pytest.raises(ValueError, match=f"no graph of loop '{way}' over {levels} levels"):
        graph(way, levels)
