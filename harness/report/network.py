"""The topology as a picture: nodes on a circle, a hub in its middle, links as they are dialled. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.record.state import RunState
from harness.report.svg import element

WIDTH, HEIGHT = 620.0, 360.0
MAX_NODES = 120
MAX_LINKS = 1500
_NAMED = 40
_SHAPES = 4


@dataclass(frozen=True, slots=True)
class Network:
    """`note` says what the picture leaves out. `roles` in the order of their shapes."""

    picture: Markup
    roles: tuple[tuple[str, Markup], ...]
    note: str


def draw_network(state: RunState) -> Network | None:
    """None where there is no node. Nodes to which something happened have a ring."""
    if state.run is None or not state.run.nodes:
        return None
    names = list(state.run.nodes)[:MAX_NODES]
    shown = set(names)
    links = [(name, peer) for name in names for peer in _links(state.run.nodes[name]) if peer in shown]
    places = _places(names, links)
    roles = list(dict.fromkeys(str(state.run.nodes[name].get("role", "")) for name in names))
    disturbed = {target for fault in state.faults.values() for target in fault.targets}
    parts = [_link(places[a], places[b], f"{a} dials {b}") for a, b in links[:MAX_LINKS] if a != b]
    for name in names:
        role = str(state.run.nodes[name].get("role", ""))
        status = state.nodes.get(name)
        told = [name, role, f"on {state.run.nodes[name].get('machine', '')}"]
        if status is not None:
            told.append(f"height {status.height}")
            told += [f"{status.exits} unasked exits"] if status.exits else []
        told += ["had faults"] if name in disturbed else []
        ring = "failed" if status is not None and status.exits else "disturbed" if name in disturbed else ""
        parts += _node(places[name], name, ", ".join(told), roles.index(role), ring, named=len(names) <= _NAMED)
    known = (
        [f"{len(names)} nodes, {len(links)} links"] if links else [f"{len(names)} nodes; whom they dial is not known"]
    )
    known += [f"only the first {MAX_NODES} of {len(state.run.nodes)} nodes"] if len(state.run.nodes) > MAX_NODES else []
    known += [f"only the first {MAX_LINKS} links are drawn"] if len(links) > MAX_LINKS else []
    label = f"Topology: {known[0]}; " + ", ".join(names[:_NAMED])
    box = f"0 0 {WIDTH:.0f} {HEIGHT:.0f}"
    picture = element("svg", *parts, viewBox=box, role="img", aria_label=label, class_="chart network")
    return Network(
        picture, tuple((role or "node", _sample(index)) for index, role in enumerate(roles)), ". ".join(known)
    )


def _links(about: Mapping[str, object]) -> list[str]:
    links = about.get("links")
    return [peer for peer in links if isinstance(peer, str)] if isinstance(links, list | tuple) else []


def _places(names: Sequence[str], links: Sequence[tuple[str, str]]) -> dict[str, tuple[float, float]]:
    """On an ellipse, in order; a hub, with which all others are linked and with nobody else, in its middle."""
    middle, radius = (WIDTH / 2, HEIGHT / 2), (WIDTH / 2 - 90, HEIGHT / 2 - 36)
    hub = next((name for name in names if len(links) == len(names) - 1 and all(name in link for link in links)), None)
    around = [name for name in names if name != hub] if len(names) > 3 else list(names)
    places = {hub: middle} if hub is not None and len(names) > 3 else {}
    for index, name in enumerate(around):
        angle = 2 * math.pi * index / len(around) - math.pi / 2
        places[name] = (middle[0] + radius[0] * math.cos(angle), middle[1] + radius[1] * math.sin(angle))
    return places


def _link(a: tuple[float, float], b: tuple[float, float], told: str) -> Markup:
    return element("line", element("title", told), x1=a[0], y1=a[1], x2=b[0], y2=b[1], class_="link")


def _node(at: tuple[float, float], name: str, told: str, role: int, ring: str, *, named: bool) -> Iterator[Markup]:
    x, y = at
    size = 11.0 if named else 6.0
    if ring:
        yield element("circle", cx=x, cy=y, r=size + 5, class_=f"ring {ring}")
    yield element("path", element("title", told), d=_shape(role, x, y, size), class_=f"node s{role % 8}")
    if named:
        short = name if len(name) <= 24 else name[:23] + "…"
        yield element("text", short, x=x, y=y + size + 15, class_="tick middle")


def _shape(role: int, x: float, y: float, size: float) -> str:
    """A circle, a square, a diamond, a triangle: one for each role, in turn."""
    s = size
    match role % _SHAPES:
        case 0:
            return f"M{x - s:.1f},{y:.1f}a{s:.1f},{s:.1f} 0 1 0 {2 * s:.1f},0a{s:.1f},{s:.1f} 0 1 0 {-2 * s:.1f},0Z"
        case 1:
            return f"M{x - s * 0.9:.1f},{y - s * 0.9:.1f}h{s * 1.8:.1f}v{s * 1.8:.1f}h{-s * 1.8:.1f}Z"
        case 2:
            s *= 1.2
            return f"M{x:.1f},{y - s:.1f}l{s:.1f},{s:.1f}l{-s:.1f},{s:.1f}l{-s:.1f},{-s:.1f}Z"
        case _:
            return f"M{x:.1f},{y - s * 1.1:.1f}l{s * 1.1:.1f},{s * 2:.1f}h{-s * 2.2:.1f}Z"


def _sample(role: int) -> Markup:
    shape = element("path", d=_shape(role, 8, 8, 6), class_=f"node s{role % 8}")
    return element("svg", shape, viewBox="0 0 16 16", class_="swatch square", aria_hidden="true")
