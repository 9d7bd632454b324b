"""One run's nodes on an engine: where they are, and what is done to the links between them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import PurePosixPath

import anyio

from harness.api import Address, Artifact, Deployment, Flow, Link, LinkShape, Machine, Placement, Unsupported, file_name
from harness_agent.relay import LinkShaper
from harness_docker.containers import ROOT
from harness_docker.images import NodeImage

ARTIFACTS = ROOT / "artifacts"


class DockerDeployment(Deployment):
    """Nodes in containers of one network. Where an image holds an artifact, it is not sent."""

    def __init__(
        self,
        placements: Mapping[str, Placement],
        addresses: Mapping[Link, Address],
        published: Mapping[tuple[str, str], Address],
        image: NodeImage,
        shaper: LinkShaper | None,
    ) -> None:
        self.placements = placements
        self._addresses = addresses
        self._published = published
        self._image = image
        self._shaper = shaper
        self._providing = anyio.Lock()
        self._provided: dict[tuple[str, str], PurePosixPath] = {}

    def link_address(self, link: Link) -> Address:
        return self._addresses[link]

    def endpoint(self, node: str, port: str) -> Address:
        return self._published[node, port]

    async def provide(self, machine: Machine, artifact: Artifact) -> PurePosixPath:
        if artifact.name in self._image.artifacts:
            return self._image.artifacts[artifact.name]
        async with self._providing:
            if (machine.name, artifact.name) not in self._provided:
                path = ARTIFACTS / file_name(artifact.name)
                await machine.put(artifact.content, path, 0o755 if artifact.executable else 0o644)
                self._provided[machine.name, artifact.name] = path
            return self._provided[machine.name, artifact.name]

    async def shape_links(self, shapes: Mapping[Flow, LinkShape]) -> None:
        if self._shaper is None:
            raise Unsupported("nothing was put between these nodes that could shape their links: none was needed")
        await self._shaper.shape(shapes)

    def mechanisms(self, shape: LinkShape) -> frozenset[str]:
        return self._shaper.mechanisms(shape) if self._shaper is not None else frozenset()

    @asynccontextmanager
    async def passage(self, link: Link, port: int) -> AsyncIterator[Address]:
        if self._shaper is None:
            raise Unsupported("there is nothing that shapes the links of these nodes: none was needed")
        async with self._shaper.passage(link, port) as through:
            yield Address(self.link_address(link).host, through)

    def close(self) -> None:
        """What is there is about to be taken down."""
        if self._shaper is not None:
            self._shaper.close()
