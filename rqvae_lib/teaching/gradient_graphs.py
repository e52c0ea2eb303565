"""How the gradient finds its way back to z in three loops of residual quantization.

Each loop is a graph: what is computed from what, and which way lets a gradient pass. `detach`
closes a way. `arrivals` follows the ways back and counts; chapter 04 counts with autograd.

Used by: chapter 04 and its widget, which draws the graphs that are described here.
"""

from collections.abc import Iterator
from html import escape
from typing import Any, NamedTuple

WAYS = ("a", "b", "c")
LOSSES = ("reconstruction", "commitment")
WIDTH, HEIGHT = 460, 280  # of the drawing of a graph

# The loops as code. Its variables are the nodes of the graph: r what is left (at first z), e the
# codeword, s the straight-through estimate, c the commitment loss, q the sum.
_START = """\
r, q, c = z, 0, 0
for book in codebooks:
    e = book[nearest(r.detach(), book)]
    c = c + (r - e).square().sum(1)
"""
_ESTIMATE = "    s = r + (e - r).detach()\n"
CODE = {
    "a": f"{_START}{_ESTIMATE}    r = r - s\n    q = q + s\n",
    "b": f"{_START}{_ESTIMATE}    r = r - e\n    q = q + s\n",
    "c": f"{_START}    r = r - e\n    q = q + e\nq = z + (q - z).detach()\n",
}


class Node(NamedTuple):
    """A value that the loop computes."""

    name: str  # such as "r2"
    label: str  # such as "r₂"
    x: int  # its place in the drawing
    y: int


class Edge(NamedTuple):
    """One value is computed from another."""

    start: str  # the name of a node
    end: str
    factor: int  # what a gradient at `end` is multiplied with on its way to `start`; 0: detached


class Graph(NamedTuple):
    """One loop over a number of levels."""

    nodes: list[Node]
    edges: list[Edge]
    sources: dict[str, list[str]]  # by loss, the nodes through which its gradient enters


def graph(way: str, num_levels: int) -> Graph:
    """Return the graph of a loop.

    Args:
        way: "a", "b" or "c".
        num_levels: from 1 to 9.

    Raises:
        ValueError: if there is no such loop, or num_levels is not allowed.
    """
    if way not in WAYS or not 1 <= num_levels <= 9:
        raise ValueError(
            f"there is no graph of loop {way!r} over {num_levels} levels; expected one of "
            f"{', '.join(WAYS)} and from 1 to 9 levels"
        )
    step = (WIDTH - 60) // num_levels
    nodes, edges = [Node("q", "q", 42 + step * (num_levels - 1) // 2 + step // 4, 24)], []
    for level in range(1, num_levels + 1):
        r, e, s, c = (f"{letter}{level}" for letter in "resc")
        x = 42 + step * (level - 1)
        small = str(level).translate(str.maketrans("123456789", "₁₂₃₄₅₆₇₈₉"))
        nodes += [
            Node(r, "z" if level == 1 else f"r{small}", x, 172),
            Node(e, f"e{small}", x + step * 18 // 25, 144 if way == "c" else 112),
            Node(c, f"c{small}", x + step // 2, 254),
        ]
        edges += [Edge(r, e, 0), Edge(r, c, 1), Edge(e, c, 0)]
        if way == "c":
            edges.append(Edge(e, "q", 0))
        else:
            nodes.append(Node(s, f"s{small}", x + step // 4, 88))
            edges += [Edge(r, s, 1), Edge(e, s, 0), Edge(s, "q", 1)]
        if level < num_levels:
            after = f"r{level + 1}"
            edges += [Edge(r, after, 1), Edge(s, after, -1) if way == "a" else Edge(e, after, 0)]
    if way == "c":
        edges.append(Edge("r1", "q", 1))
    sources = {
        "reconstruction": [edge.start for edge in edges if edge.end == "q" and edge.factor],
        "commitment": [f"c{level}" for level in range(1, num_levels + 1)],
    }
    return Graph(nodes, edges, sources)


def arrivals(graph: Graph, loss: str) -> list[int]:
    """Return how much of the gradient that enters through each source arrives at z."""
    return [_gradients(graph, source)["r1"] for source in graph.sources[loss]]


def _gradients(graph: Graph, source: str) -> dict[str, int]:
    """Return the gradient at every node when 1 enters at `source`: the chain rule."""
    found = {node.name: 0 for node in graph.nodes} | {source: 1}
    for node in _backward(graph):
        for edge in graph.edges:
            if edge.end == node:
                found[edge.start] += edge.factor * found[node]
    return found


def _backward(graph: Graph) -> Iterator[str]:
    """Yield the names of the nodes, each after all that are computed from it."""
    left = {node.name for node in graph.nodes}
    while left:
        ready = sorted(left - {edge.start for edge in graph.edges if edge.end in left})
        yield from ready
        left -= set(ready)


def widget_data(num_levels: int) -> dict[str, Any]:
    """Return what the widget draws: the code, and the graphs over one to `num_levels` levels."""
    return {
        "size": [WIDTH, HEIGHT],
        "code": CODE,
        "graphs": {
            way: [
                {
                    "nodes": {node.name: node[1:] for node in built.nodes},
                    "edges": built.edges,
                    "sources": built.sources,
                    "order": list(_backward(built)),
                }
                for built in (graph(way, levels) for levels in range(1, num_levels + 1))
            ]
            for way in WAYS
        },
    }


def picture(num_levels: int) -> str:
    """Return an SVG of the three loops, one below the other, and what arrives in each."""
    parts, below = [], HEIGHT + 70
    for place, way in enumerate(WAYS):
        built = graph(way, num_levels)
        parts.append(f'<g transform="translate(0 {place * below})">')
        for row, loss in enumerate(LOSSES):
            found = arrivals(built, loss)
            words = f"{loss}: what arrives at z is {' + '.join(map(str, found))} = {sum(found)}"
            title = f"({way})" if row == 0 else ""
            parts.append(f'<text x="10" y="{22 + 20 * row}" font-weight="bold">{title}</text>')
            parts.append(f'<text x="44" y="{22 + 20 * row}">{escape(words)}</text>')
        parts.append('<g transform="translate(0 54)">')
        at = {node.name: node for node in built.nodes}
        for edge in built.edges:
            start, end = at[edge.start], at[edge.end]
            look = 'stroke="#0072b2" stroke-width="2"' if edge.factor > 0 else ""
            look = look or ('stroke="#d55e00" stroke-width="2"' if edge.factor else "")
            look = look or 'stroke="#8a919b" stroke-dasharray="3 3"'
            parts.append(f'<line x1="{start.x}" y1="{start.y}" x2="{end.x}" y2="{end.y}" {look}/>')
        for node in built.nodes:
            parts.append(
                f'<circle cx="{node.x}" cy="{node.y}" r="14" fill="#fff" stroke="#1f2328"/>'
                f'<text x="{node.x}" y="{node.y + 5}" text-anchor="middle">{node.label}</text>'
            )
        parts.append("</g></g>")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{3 * below}" '
        f'viewBox="0 0 {WIDTH} {3 * below}" font-family="sans-serif" font-size="14">'
        f"{''.join(parts)}</svg>"
    )
