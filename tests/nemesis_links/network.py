"""A network in memory that does what it is told, or does not."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from types import SimpleNamespace

from harness.api import (
    PLAIN,
    Artifact,
    FaultContext,
    Flow,
    Link,
    LinkShape,
    Node,
    NodeSpec,
    NodeState,
    Reach,
    Throughput,
)

FULL = [(one, other) for one in range(4) for other in range(one)]


class World(FaultContext):
    """Four validators. `obeys`: what is asked of links is done; `undoes`: it is undone when that is asked."""

    absent: Sequence[str] = ()

    def __init__(self, links: Iterable[tuple[int, int]] = FULL, targets: Sequence[int] = range(4)) -> None:
        names = [f"validator-{number}" for number in range(4)]
        self.fake = {
            name: SimpleNamespace(name=name, spec=NodeSpec(name, "validator", n, n), state=NodeState.RUNNING)
            for n, name in enumerate(names)
        }
        self.nodes = self.fake  # type: ignore[assignment]
        self.targets = [self.fake[names[number]] for number in targets]  # type: ignore[misc]
        self.links = tuple(Link(names[one], names[other]) for one, other in links)
        self.network = SimpleNamespace(power=lambda spec: 1)  # type: ignore[assignment]
        self.clock = SimpleNamespace(now=lambda: self.time, sleep=self._sleep)  # type: ignore[assignment]
        self.rng = random.Random(1)
        self.time = 0.0
        self.noise = 0.0005
        self.usual: float | None = 1e6
        self.obeys = self.undoes = True
        self.mute: set[str] = set()
        self.theirs: dict[Flow, LinkShape] = {}
        self.mine: Mapping[Flow, LinkShape] = {}

    async def _sleep(self, seconds: float) -> None:
        self.time += seconds

    async def shape(self, shapes: Mapping[Flow, LinkShape]) -> None:
        if self.obeys and (shapes or self.undoes):
            self.mine = shapes

    def shaped_by_others(self) -> Mapping[Flow, LinkShape]:
        return dict(self.theirs)

    async def reach(self, links: Iterable[Link], patience: float) -> Mapping[Link, Reach]:
        return {link: self._dial(link, patience) for link in links}

    async def throughput(self, links: Iterable[Link], size: int, patience: float) -> Mapping[Link, Throughput]:
        def rate(flow: Flow) -> float:
            shape = self.mine.get(flow, PLAIN) & self.theirs.get(flow, PLAIN)
            return min(self.usual or 0.0, 1.07 * shape.rate)

        if self.usual is None:
            return {link: Throughput(error="no way") for link in links}
        return {link: Throughput(rate(Flow(link.src, link.dst)), rate(Flow(link.dst, link.src))) for link in links}

    async def provide(self, node: Node, artifact: Artifact) -> PurePosixPath:
        raise AssertionError("no fault on links needs a file")

    def _dial(self, link: Link, patience: float) -> Reach:
        ways = (Flow(link.src, link.dst), Flow(link.dst, link.src))
        shapes = [self.mine.get(way, PLAIN) & self.theirs.get(way, PLAIN) for way in ways]
        if link.src in self.mute:
            return Reach(None, None, "its machine could not be asked")
        if self.fake[link.dst].state is not NodeState.RUNNING:
            return Reach(False, None, "connection refused")
        if all(shape.cut for shape in shapes):
            return Reach(False, None, "timed out")
        if any(shape.cut for shape in shapes):  # as a relay does it: the connection is its own
            return Reach(True, None, "it does not end a connection that we have ended")
        again = sum(0.2 for shape in shapes if self.rng.random() < shape.loss)
        took = again + sum(shape.delay for shape in shapes) + self.noise * (1 + self.rng.random())
        return Reach(True, took) if took < patience else Reach(False, None, "timed out")
