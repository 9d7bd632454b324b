"""The deployer: an image, a network and a container for each node; and nothing of it afterwards."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Literal

import anyio
import anyio.to_thread
from pydantic import Field

from harness.api import (
    Access,
    Address,
    Chain,
    Config,
    Deployer,
    DeployError,
    Deployment,
    DeployRequest,
    Facts,
    HealReport,
    HostReport,
    HostSpec,
    Image,
    InfrastructureError,
    MachineCapability,
    Owner,
    Placement,
    PlannedNode,
    Size,
    TeardownError,
    UsageError,
    file_name,
)
from harness_agent import clocks
from harness_agent.disks import LEAST, reported, size_for
from harness_agent.nft import RULES
from harness_agent.ports import PortLeases
from harness_agent.relay import SHAPES
from harness_docker import disks, images, pods, preloads, python, record, sweep
from harness_docker.containers import LOOPBACK, ROOT, Attachment, Blueprint, safe, shell_command
from harness_docker.deployment import DockerDeployment
from harness_docker.engine import Engine, NoEngine
from harness_docker.images import Source
from harness_docker.limits import LEAST_MEMORY, limit_problems, limits_of
from harness_docker.links import Closing, Links, Stage, instead, lay, offered
from harness_docker.machine import DockerMachine
from harness_docker.networks import make_network
from harness_docker.reaper import Reaper
from harness_docker.relay import RECIPE as PYTHON

ANY = "0.0.0.0"
FIRST_PORT = 26000
"""The ports of a node in its container: each has an address of its own, so they are the same in all."""
CAPABILITIES = DockerMachine.capabilities | {MachineCapability.OWN_DISK, MachineCapability.CLOCK}
NODES = ROOT / "nodes"


ADOPTS_NOT = "a node that runs already is not this deployer's to adopt: it makes its nodes; give it another deployer"


class DockerConfig(Config):
    """Options of the deployer `docker`."""

    engine: str = Field("", description="the engine's URL; found as the docker command finds it if not given")
    image: str = Field("", description="run nodes from this image rather than from one that is built")
    base: str = Field("debian:bookworm-slim", description="what images are built upon", min_length=1)
    pull: Literal["missing", "never", "always"] = Field("missing", description="when to fetch images from registries")
    build_args: dict[str, str] = Field({}, description="build arguments, for instance http_proxy")
    python: str = Field("python3", description="the Python 3.11+ of a named image, for chains that need one")
    links: Links = Field(
        "auto",
        description="what disturbs links: nft drops packets in each node's network namespace, a relay holds and delays "
        "what connections carry; auto is nft for cuts and loss where it can be, else a relay",
    )
    ipv6: bool = Field(False, description="give nodes IPv6 addresses, too")
    cpus: float | None = Field(None, description="CPUs that each node may use", ge=0.01)
    memory: Size | None = Field(None, description="memory that each node may use, swap included", ge=LEAST_MEMORY)
    disk: Size | None = Field(
        None,
        description="have each node's folder be a file system of its own of this size; it is in memory, of which it "
        "takes the node's share where there is one",
        ge=LEAST,
    )


class DockerDeployer(Deployer[DockerConfig]):
    """Nodes in containers of a Docker engine: one container a node, in a network of the run's own. Their ports are
    published on 127.0.0.1; images are built from what the chain brings, or named.

    A host of the inventory is the engine; variables harness_cpus, harness_memory and harness_disk limit each node that
    goes there.
    When the harness dies, even by SIGKILL, all that it made on the engine is removed."""

    name = "docker"
    Config = DockerConfig
    capabilities: ClassVar[frozenset[MachineCapability]] = CAPABILITIES | SHAPES | RULES

    async def inspect(self, nodes: Sequence[PlannedNode], chain: Chain[Any], access: Access) -> Sequence[HostReport]:
        hosts = {node.host.name: node.host for node in nodes}
        adopted = {node.host.name for node in nodes if node.adoption is not None}
        try:
            engine = await Engine.open(self.config.engine, access.forks)
        except NoEngine as error:
            return [HostReport(name, self.capabilities, (str(error),)) for name in hosts]
        try:
            problems = await self._image_problems(engine, chain)
            if any(node.sender for node in nodes):
                problems += await images.missing(engine, self._sender_source())
            unruled = await self._why_no_rules(engine)
            links, unlinked = offered(self.config.links, unruled)
            relayed = instead(self.config.links, unruled)
            clockless, unusable = await self._preloads(engine, chain, clocks.wanted(nodes))
            lacks = {**_lacks(engine.info), **unlinked, **clockless}
            facts = await anyio.to_thread.run_sync(_facts, engine.info)
            reports = []
            for name, host in hosts.items():
                diskful, diskless = reported(host, self.config.disk, "")
                limits = (*limit_problems(host, self.config.cpus, self.config.memory, engine.info), *diskful)
                missing, refused = {**lacks, **diskless}, (ADOPTS_NOT,) if name in adopted else ()
                can = (CAPABILITIES | links) - missing.keys()
                reports.append(HostReport(name, can, (*problems, *limits, *refused), missing, facts, relayed, unusable))
            return reports
        finally:
            engine.close()

    async def _image_problems(self, engine: Engine, chain: Chain[Any]) -> list[str]:
        try:
            source = await anyio.to_thread.run_sync(self._source, engine, chain)
        except UsageError as error:
            return [str(error)]
        lacking = await python.problems(engine, source, chain, *await _trial())
        return [*await images.missing(engine, source), *lacking]

    async def _why_no_rules(self, engine: Engine) -> str:
        """Why nft drops no packets there, "" where it will be tried."""
        if self.config.links == "relay":
            return ""
        try:
            return await pods.why_none(engine, self._pod_source(), *await _trial())
        except InfrastructureError as error:
            return str(error)

    async def _preloads(
        self, engine: Engine, chain: Chain[Any], libraries: Sequence[str]
    ) -> tuple[Mapping[MachineCapability, str], Mapping[str, str]]:
        """What nodes' image lacks, and which of the libraries are none there. Nothing of an image that is yet to be
        made: the fault says it then."""
        try:
            image = await images.find(engine, self._source(engine, chain), chain.name)
            if image is None:
                return {}, {}
            lacks = await preloads.lacks(engine, image, *await _trial())
            return lacks, await preloads.unusable(engine, image, libraries, *await _trial())
        except (UsageError, InfrastructureError):  # which is a problem of its own, or of everything
            return {}, {}

    def _pod_source(self) -> Source:
        """Nodes' own images need have no nft."""
        return self._own(pods.RECIPE)

    def _sender_source(self) -> Source:
        """Nodes' own images need have no Python."""
        return self._own(PYTHON)

    def _own(self, recipe: Image) -> Source:
        return Source(self.config.pull, recipe=recipe, arguments={**self.config.build_args, "BASE": self.config.base})

    def _source(self, engine: Engine, chain: Chain[Any]) -> Source:
        config = self.config
        return images.source_of(
            chain,
            str(engine.info["Architecture"]),
            named=config.image,
            base=config.base,
            pull=config.pull,
            arguments=config.build_args,
            python=config.python,
        )

    @asynccontextmanager
    async def deploy(self, request: DeployRequest) -> AsyncIterator[Deployment]:
        try:
            engine = await Engine.open(self.config.engine, request.access.forks)
        except NoEngine as error:
            raise DeployError(f"docker: {error}") from error
        run_dir = request.run_dir.absolute()
        deployment = secrets.token_hex(16)
        leases = None
        made: list[Closing] = []
        try:
            leases = await anyio.to_thread.run_sync(PortLeases, sum(len(node.ports) for node in request.nodes))
            await anyio.to_thread.run_sync(record.write, run_dir, engine.url, engine.id, deployment)
            reaper = await Reaper.start(deployment, engine.url, run_dir)
            failure: BaseException | None = None
            try:
                with closing(await self._stand_up(request, engine, deployment, reaper, leases.ports, made)) as ready:
                    yield ready
            except BaseException as raised:
                failure = raised
                raise
            finally:
                with anyio.CancelScope(shield=True):
                    left = await _take_down(engine, deployment, reaper, made, run_dir)
                if left:
                    raise TeardownError(left) from failure
        finally:
            if leases is not None:
                leases.close()
            engine.close()

    async def _stand_up(
        self,
        request: DeployRequest,
        engine: Engine,
        deployment: str,
        reaper: Reaper,
        ports: Sequence[int],
        made: list[Closing],
    ) -> DockerDeployment:
        """Everything but the nodes' containers, which are made when they start. `made` gets what is to be closed."""
        run_dir = request.run_dir.absolute()
        try:
            source = await anyio.to_thread.run_sync(self._source, engine, request.chain)
            limits = {n.host.name: limits_of(n.host, self.config.cpus, self.config.memory) for n in request.nodes}
            sizes = {node.spec.name: size_for(node.host, self.config.disk) for node in request.nodes}
        except (UsageError, ValueError) as error:
            raise DeployError(f"docker: {error}") from error
        await reaper.ready()
        image = await images.ensure(engine, source, request.chain.name, run_dir)
        of_senders = image
        if any(node.sender for node in request.nodes):
            of_senders = await images.ensure(engine, self._sender_source(), "sender", run_dir)
        labels = {sweep.DEPLOYMENT: deployment, sweep.RUN: request.run_id, sweep.OWNER: await _owner()}
        prefix = f"harness-{safe(request.run_id)}-{deployment[:6]}"
        await python.check(engine, image, source, request.chain, f"{prefix}.try", labels)
        network = await make_network(engine, prefix, labels, ipv6=self.config.ipv6)
        facts = await anyio.to_thread.run_sync(_facts, engine.info)
        free, addresses = iter(ports), network.addresses()
        own, inside, published = {}, {}, {}
        for node in request.nodes:
            name = node.spec.name
            inside[name] = {port: FIRST_PORT + number for number, port in enumerate(node.ports)}
            outside = {port: next(free) for port in node.ports}
            leading = {inside[name][port]: outside[port] for port in node.ports}
            own[name] = Attachment(network.id, next(addresses), safe(name)[:63], leading)
            published.update({(name, port): Address(LOOPBACK, outside[port]) for port in node.ports})
        peers = {node.spec.name: inside[node.spec.name][node.peer_port] for node in request.nodes}
        targets = {link: Address(own[link.dst].address, peers[link.dst]) for link in request.links}
        stage = Stage(engine, request, source, self._pod_source(), prefix, labels)
        wires = await lay(stage, self.config.links, own, targets, next(addresses, ""), made, ipv6=network.ipv6)
        folders = {node.spec.name: NODES / file_name(node.spec.name) for node in request.nodes}
        wanted = {name: (folders[name], size) for name, size in sizes.items() if size is not None}
        held = await disks.have(engine, image.id, prefix, labels, wanted)
        placements = {}
        for node in request.nodes:
            name = node.spec.name
            cpus, memory = limits[node.host.name]
            its = of_senders if node.sender else image
            blueprint = Blueprint(
                name=f"{prefix}-{safe(name)}",
                image=its.id,
                user=its.user,
                where=wires.where[name],
                volume=f"{prefix}-{safe(name)}",
                labels={**labels, sweep.NODE: name},
                init=_has_init(engine.info),
                cpus=cpus,
                memory=memory,
                disk=held.get(name),
            )
            access, spool = request.access, run_dir / record.SPOOL / file_name(name)
            machine = DockerMachine(name, engine, blueprint, facts, its.python, spool, access.audit, access.warn)
            made.append(machine)
            reach = shell_command(blueprint.name, self.config.engine)
            placements[name] = Placement(node.spec, machine, folders[name], ANY, own[name].address, inside[name], reach)
        return DockerDeployment(placements, wires.addresses, published, image, wires.shaper)

    async def clean(self, run_id: str, run_dir: Path) -> Sequence[str]:
        written = await anyio.to_thread.run_sync(record.read, run_dir)
        if written is None:
            return []
        try:
            engine = await Engine.open_again(written["engine"], written.get("id", ""))
        except NoEngine as error:
            raise TeardownError(
                f"docker: what {run_id} left cannot be looked for: {error}; start that engine and clean again; if it "
                f"is gone for good with all that it had, remove {run_dir / record.NAME}"
            ) from error
        try:
            removed = await _remove(engine, written["deployment"])
        finally:
            engine.close()
        await anyio.to_thread.run_sync(record.forget, run_dir)
        return [f"removed {thing}" for thing in removed]

    async def heal(self, hosts: Sequence[HostSpec], access: Access) -> HealReport:
        try:
            engine = await Engine.open(self.config.engine, access.forks)
        except NoEngine as error:
            raise TeardownError(f"docker: {error}") from error
        try:
            things = await engine.ask(sweep.find, engine.client, sweep.OWNER)
            made = {thing.labels.get(sweep.DEPLOYMENT, ""): thing.labels for thing in things}
            made.pop("", None)
            alive = {deployment: who for deployment, labels in made.items() if (who := _alive(labels[sweep.OWNER]))}
            dead = sorted(made.keys() - alive.keys())
            done = [f"removed {thing}" for deployment in dead for thing in await _remove(engine, deployment)]
            alone = sorted(f"run {made[each].get(sweep.RUN, '')} of {who}: left alone" for each, who in alive.items())
            return HealReport(tuple(done), tuple(alone))
        finally:
            engine.close()


async def _trial() -> tuple[str, Mapping[str, str]]:
    """Name and labels of a container that is tried in plan."""
    name = f"harness-try-{secrets.token_hex(6)}"
    return name, {sweep.DEPLOYMENT: name, sweep.OWNER: await _owner()}


async def _owner() -> str:
    """This process, as labels tell of it."""
    return json.dumps(asdict(await anyio.to_thread.run_sync(Owner.current)))


def _alive(owner: str) -> str:
    """Whoever made it, where they are not known to be no more: of another host's process nothing is known."""
    try:
        known = Owner.from_json(json.loads(owner))
    except (ValueError, KeyError, TypeError):
        return "somebody unknown"
    if not known.is_local:
        return f"process {known.pid} on {known.host}, of which nothing is known here"
    return f"process {known.pid}, which still runs" if known.is_alive() else ""


async def _remove(engine: Engine, deployment: str) -> Sequence[sweep.Thing]:
    """Raises TeardownError for what is left."""
    try:
        there, left = await engine.ask(sweep.remove, engine.client, deployment)
    except InfrastructureError as error:
        raise TeardownError(f"docker: {error}") from error
    if left:
        raise TeardownError(f"docker: still there: {'; '.join(left)}")
    return there


async def _take_down(engine: Engine, deployment: str, reaper: Reaper, made: Sequence[Closing], run_dir: Path) -> str:
    """Says what is left, "" if nothing is."""
    left = ""
    try:
        await _remove(engine, deployment)
    except TeardownError as error:
        left = str(error)
    for each in made:
        await each.close()
    if left:
        await reaper.abandon()  # it goes on trying
    else:
        await reaper.dismiss()
        await anyio.to_thread.run_sync(record.forget, run_dir)
    return left


def _has_init(info: Mapping[str, Any]) -> bool:
    """Engines that did not find their init say so where they would tell its version."""
    return bool(info.get("InitBinary")) and info.get("InitCommit", {}).get("ID") != "N/A"


def _lacks(info: Mapping[str, Any]) -> dict[MachineCapability, str]:
    if info.get("CgroupDriver") == "none":
        return {MachineCapability.PAUSE: "needs cgroups, which this rootless engine has not"}
    return {}


def _facts(info: Mapping[str, Any]) -> Facts:
    """Of the engine's machine. What of its Python and its disk cannot be seen from here is "" and 0."""
    folder = Path(info["DockerRootDir"])
    return Facts(
        hostname=str(info["Name"]),
        system=str(info["OSType"]).capitalize(),
        kernel=str(info["KernelVersion"]),
        architecture=str(info["Architecture"]),
        python="",
        cpus=int(info["NCPU"]),
        memory_bytes=int(info["MemTotal"]),
        free_disk_bytes=shutil.disk_usage(folder).free if os.access(folder, os.R_OK) else 0,
    )
