"""How links between nodes are disturbed: by nft in each node's network namespace, by relays, or by both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import anyio

from harness.api import Address, DeployError, DeployRequest, InfrastructureError, Link, MachineCapability, file_name
from harness_agent.nft import RULES, End, NftShaper, Split
from harness_agent.relay import SHAPES, LinkShaper, RelayShaper, argv
from harness_docker import pods
from harness_docker.commands import ROOT_USER
from harness_docker.containers import NOBODY, Attachment, Helper, Joined, safe
from harness_docker.engine import Engine
from harness_docker.images import NodeImage, Source
from harness_docker.pods import Pod
from harness_docker.relay import RelayContainer, have_image

Links = Literal["auto", "relay", "nft"]
"""What links are shaped by. auto: packets are dropped by nft where it can be, else streams held by relays; delays and
rates are by relays."""

RELAY_LOG = "relay.log"
DOCKER = "docker"


class Closing(Protocol):
    async def close(self) -> None:
        """After its container was removed: wait until everything about it has ended."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What containers beside the nodes are made with. `nodes` is where the nodes' image comes from, `pods` that of
    nft; names begin with `prefix`."""

    engine: Engine
    request: DeployRequest
    nodes: Source
    pods: Source
    prefix: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Wires:
    """In which network namespace each node is to be, where each link is to be dialled, and what shapes links."""

    where: Mapping[str, Attachment | Joined]
    addresses: Mapping[Link, Address]
    shaper: LinkShaper | None


def offered(links: Links, why_not: str) -> tuple[frozenset[MachineCapability], dict[MachineCapability, str]]:
    """What can be done to links, and for the rest the end of "needs X, which …". `why_not`: why there are no rules."""
    takes = dict.fromkeys(RULES, f"takes nft, and {why_not}") if why_not else {}
    match links:
        case "relay":
            return SHAPES, dict.fromkeys(RULES - SHAPES, 'a relay cannot do: links = "relay"')
        case "nft":
            return RULES - takes.keys(), {**dict.fromkeys(SHAPES - RULES, 'nft cannot do: links = "nft"'), **takes}
        case "auto":
            return SHAPES | (RULES - takes.keys()), {can: why for can, why in takes.items() if can not in SHAPES}


def instead(links: Links, why_not: str) -> dict[MachineCapability, str]:
    """See HostReport."""
    return {MachineCapability.LINK_CONTROL: _by_relays(why_not)} if why_not and links == "auto" else {}


def _by_relays(why_not: str) -> str:
    return f"packets are not dropped by nft; relays hold streams instead: {why_not}"


async def lay(
    stage: Stage,
    links: Links,
    own: Mapping[str, Attachment],
    targets: Mapping[Link, Address],
    spare: str,
    made: list[Closing],
    *,
    ipv6: bool,
) -> Wires:
    """Have what the request needs. `own` is what each node's namespace is to be like, `targets` where the node takes
    what comes over a link, `spare` a free address in their network, which has those of IPv6, too, or not. `made` gets
    what is to be closed. Raises DeployError."""
    needs, access = stage.request.needs, stage.request.access
    if links != "relay" and not RULES.isdisjoint(needs):
        try:
            image = await pods.have_image(
                stage.engine, stage.pods, f"{stage.prefix}.try", stage.labels, stage.request.run_dir
            )
        except (DeployError, InfrastructureError) as error:
            why = str(error).partition("\n")[0].removeprefix("docker: ")
            if links == "nft":
                raise DeployError(f'docker: links = "nft": {why}') from error
            access.warn(DOCKER, _by_relays(why))
        else:
            relayed = links == "auto" and not (SHAPES - RULES).isdisjoint(needs)
            return await _pods(stage, image, own, targets, made, relayed=relayed, ipv6=ipv6)
    if links == "nft" or SHAPES.isdisjoint(needs):
        return Wires(own, targets, None)
    if not targets:
        return Wires(own, targets, RelayShaper((), access.warn))
    image = await have_image(stage.engine, stage.nodes, stage.request.run_dir)
    network = next(iter(own.values())).network
    plan = _helper(stage, "relay", image, Attachment(network, spare, "relay"), relayed=True)
    container = RelayContainer(stage.engine, plan, DOCKER, stage.request.run_dir / RELAY_LOG)
    made.append(container)
    addresses = await container.start(targets)
    return Wires(own, addresses, RelayShaper([container.relay], access.warn))


async def _pods(
    stage: Stage,
    image: NodeImage,
    own: Mapping[str, Attachment],
    targets: Mapping[Link, Address],
    made: list[Closing],
    *,
    relayed: bool,
    ipv6: bool,
) -> Wires:
    run_dir, access = stage.request.run_dir, stage.request.access
    started: dict[str, Pod] = {}
    addresses: dict[Link, Address] = {}
    known = {}
    problems: list[str] = []

    async def one(node: str, attachment: Attachment) -> None:
        inbound = {link: target for link, target in targets.items() if link.dst == node}
        dialled = relayed and bool(inbound)
        plan = _helper(stage, f"{safe(node)}.net", image, attachment, relayed=dialled, rights=pods.RIGHTS)
        log = run_dir / f"relay-{file_name(node)}.log"
        relay = RelayContainer(stage.engine, plan, node, log) if dialled else None
        pod = Pod(stage.engine, plan, node, attachment, relay, access)
        made.append(pod)
        try:
            addresses.update(await pod.start(inbound))
            known[node] = await pod.addresses(ipv6=ipv6)
        except InfrastructureError as error:
            problems.append(str(error))
        started[node] = pod

    async with anyio.create_task_group() as tasks:
        for node, attachment in own.items():
            tasks.start_soon(one, node, attachment)
    if problems:
        raise DeployError(f"docker: no network namespaces for nodes: {'; '.join(sorted(problems))}")
    ends = {
        node: End(pod, pods.NFT, {peer: ips for peer, ips in known.items() if peer != node})
        for node, pod in started.items()
    }
    shaper: LinkShaper = NftShaper(stage.request.run_id, ends)
    if relayed:
        relays = [pod.relay.relay for pod in started.values() if pod.relay is not None]
        shaper = Split(shaper, RelayShaper(relays, access.warn))
    return Wires({node: pod.inside for node, pod in started.items()}, addresses, shaper)


def _helper(
    stage: Stage, name: str, image: NodeImage, where: Attachment, *, relayed: bool, rights: tuple[str, ...] = ()
) -> Helper:
    """A relay is the container's own process: the container is as good as that is. Only root's commands in it can have
    rights, and with no_new_privs only where its process has them."""
    program, user = argv(image.python) if relayed else pods.IDLE, ROOT_USER if rights else NOBODY
    return Helper(f"{stage.prefix}.{name}", image.id, program, where, stage.labels, user, rights, talks=relayed)
