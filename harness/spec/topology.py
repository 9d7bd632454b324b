"""Layouts: from "so many of each role, as a star" to named nodes and directed dial links. Pure and seeded."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from harness.spec.model import TopologySpec
from harness.spec.node_patterns import select_nodes


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """One node of the plan. `index` counts within its role, `number` over the whole network, both from 0. A `late` one
    is not started with the others, but by a fault, in the middle of the run."""

    name: str
    role: str
    index: int
    number: int
    late: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Link:
    """A directed peer link: `src` dials `dst`. Traffic on it flows both ways, as on any TCP connection."""

    src: str
    dst: str


@dataclass(frozen=True, slots=True)
class Topology:
    """Named nodes and who dials whom. Of two peers one dials (the later-numbered), never both."""

    layout: str
    nodes: tuple[NodeSpec, ...]
    links: tuple[Link, ...]

    def node(self, name: str) -> NodeSpec:
        return next(node for node in self.nodes if node.name == name)

    def with_role(self, role: str) -> tuple[NodeSpec, ...]:
        return tuple(node for node in self.nodes if node.role == role)

    def peers_of(self, name: str) -> frozenset[str]:
        """Every node linked with `name`, whoever dials."""
        return frozenset(
            link.dst if link.src == name else link.src for link in self.links if name in (link.src, link.dst)
        )


def _star(names: Sequence[str], degree: int, rng: random.Random) -> list[tuple[int, int]]:
    return [(i, 0) for i in range(1, len(names))]


def _chain(names: Sequence[str], degree: int, rng: random.Random) -> list[tuple[int, int]]:
    return [(i, i - 1) for i in range(1, len(names))]


def _ring(names: Sequence[str], degree: int, rng: random.Random) -> list[tuple[int, int]]:
    closing = [(len(names) - 1, 0)] if len(names) > 2 else []
    return _chain(names, degree, rng) + closing


def _full(names: Sequence[str], degree: int, rng: random.Random) -> list[tuple[int, int]]:
    return [(i, j) for i in range(len(names)) for j in range(i)]


def _random(names: Sequence[str], degree: int, rng: random.Random) -> list[tuple[int, int]]:
    """A random spanning tree first (so that the network is connected), then links until each has `degree`."""
    order = list(range(len(names)))
    rng.shuffle(order)
    edges = {tuple(sorted((order[i], order[rng.randrange(i)]))) for i in range(1, len(order))}
    count = [0] * len(names)
    for a, b in edges:
        count[a] += 1
        count[b] += 1
    candidates = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names)) if (i, j) not in edges]
    rng.shuffle(candidates)
    for a, b in candidates:
        if count[a] < degree and count[b] < degree:
            edges.add((a, b))
            count[a] += 1
            count[b] += 1
    return [(b, a) for a, b in sorted(edges)]


LAYOUTS: dict[str, Callable[[Sequence[str], int, random.Random], list[tuple[int, int]]]] = {
    "star": _star,
    "chain": _chain,
    "ring": _ring,
    "full": _full,
    "random": _random,
}
"""star: all dial node 0. chain: each dials the one before. ring: a closed chain. full: everyone with everyone.
random: connected, about `degree` peers each, drawn from the seed."""


def build_topology(spec: TopologySpec, rng: random.Random) -> Topology:
    """Name the nodes (`validator-0` …, in the order of `spec.roles`) and lay the links.

    Raises KeyError for a layout that is not in LAYOUTS: the playbook's reader has checked it; UsageError for a pattern
    of late nodes that matches none."""
    nodes: list[NodeSpec] = []
    for role, count in spec.roles.items():
        nodes += [NodeSpec(f"{role}-{i}", role, i, len(nodes) + i) for i in range(count)]
    late = {node.name for node in select_nodes(spec.late, nodes)} if spec.late else set()
    nodes = [replace(node, late=node.name in late) for node in nodes]
    names = [node.name for node in nodes]
    edges = LAYOUTS[spec.layout](names, spec.degree or 3, rng)
    return Topology(spec.layout, tuple(nodes), tuple(Link(names[a], names[b]) for a, b in edges))
