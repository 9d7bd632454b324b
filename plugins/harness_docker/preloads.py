"""What nodes' processes can load before the C library: of what is in their image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.api import MachineCapability
from harness_agent import clocks
from harness_docker.containers import Helper, run_helper
from harness_docker.engine import Engine
from harness_docker.images import NodeImage

IMAGE = "the nodes' image"


async def lacks(
    engine: Engine, image: NodeImage, name: str, labels: Mapping[str, str]
) -> Mapping[MachineCapability, str]:
    """Whether it has no libfaketime where packages put it, and that no clock can be set then. `name` and `labels` are
    for the container that looks. Raises InfrastructureError."""
    status, _ = await _run(engine, image, ("sh", "-c", clocks.LOOK), name, labels)
    return {MachineCapability.CLOCK: clocks.NO_LIBRARY.format(IMAGE)} if status else {}


async def unusable(
    engine: Engine, image: NodeImage, libraries: Sequence[str], name: str, labels: Mapping[str, str]
) -> Mapping[str, str]:
    """Those of these libraries that no process there can load, each with the reason. Raises InfrastructureError."""
    if not libraries:
        return {}
    _, said = await _run(engine, image, clocks.examination(libraries), name, labels)
    return clocks.unusable(libraries, said, f"in {IMAGE}")


async def _run(
    engine: Engine, image: NodeImage, argv: Sequence[str], name: str, labels: Mapping[str, str]
) -> tuple[int, bytes]:
    look = Helper(name, image.id, argv, None, labels)
    return await engine.stream(lambda _: run_helper(engine.client, look))
