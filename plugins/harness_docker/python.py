"""Whether a named image has the Python that its chain's nodes are started with: an image that is built is seen to have
it when it is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.api import Chain, DeployError, InfrastructureError
from harness_docker.containers import Helper, run_helper
from harness_docker.engine import Engine, Refused
from harness_docker.images import NodeImage, Source, find

NEEDED = (3, 11)
ASK = f"import sys; sys.exit(sys.version_info < {NEEDED} and sys.version.split()[0])"


async def problems(
    engine: Engine, source: Source, chain: Chain[Any], name: str, labels: Mapping[str, str]
) -> Sequence[str]:
    """What is wrong with it, a sentence each; nothing of an image that is yet to be fetched. `name` and `labels` are
    for the container that tries it."""
    try:
        image = await find(engine, source, chain.name) if source.named and chain.needs_python else None
        wrong = await _try(engine, image, source, chain, name, labels) if image is not None else ""
    except InfrastructureError as error:
        wrong = f"the image {source.named} cannot be tried: {error}"
    return [wrong] if wrong else []


async def check(
    engine: Engine, image: NodeImage, source: Source, chain: Chain[Any], name: str, labels: Mapping[str, str]
) -> None:
    """The same for an image that is there. Raises DeployError."""
    if source.named and chain.needs_python and (wrong := await _try(engine, image, source, chain, name, labels)):
        raise DeployError(f"docker: {wrong}")


async def _try(
    engine: Engine, image: NodeImage, source: Source, chain: Chain[Any], name: str, labels: Mapping[str, str]
) -> str:
    plan = Helper(name, image.id, (image.python, "-I", "-S", "-c", ASK), None, labels)
    needed = ".".join(map(str, NEEDED))
    try:
        status, said = await engine.stream(lambda _: run_helper(engine.client, plan))
    except Refused as refused:
        if "no such file" not in str(refused).lower() and "not found" not in str(refused).lower():
            raise
        has = f"has no {image.python}"
    else:
        if status == 0:
            return ""
        text = " ".join(said.decode(errors="replace").split())[-100:]
        has = f"has a {image.python} that does not do ({text or f'it ended with status {status}'})"
    return (
        f"the image {source.named} {has}, and nodes of {chain.name} need Python {needed} or newer: name another image, "
        "or say where in it Python is (option python), or leave the option image out to have one built"
    )
