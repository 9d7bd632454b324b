"""Containers, of nodes and of what helps them: what they are made from, and how they are asked of an engine."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from docker import APIClient
from docker.types import LogConfig, Mount

from harness.api import ServiceSpec

ROOT = PurePosixPath("/harness")
"""Where the run's volume is in a node's container: everything that the harness and the node write."""
LOOPBACK = "127.0.0.1"
LOGS = {"max-size": "10m", "max-file": "2"}
"""The engine's own copy of a container's output, for `docker logs`: bounded, as the run keeps all of it."""
WHOLE_GROUP = {"TINI_KILL_PROCESS_GROUP": "1"}
"""Has the init pass signals on to the process group of its child, as everywhere else."""
NEVER = "SIGKILL"
"""As a container's stop signal: with any other, the engine would thaw a paused container to deliver just that one."""


NOBODY = "65534:65534"
NO_HEALTHCHECK = {"test": ["NONE"]}


def safe(name: str) -> str:
    """As part of a name that engines accept."""
    return re.sub(r"[^a-zA-Z0-9_.-]", "-", name)


def shell_command(container: str, engine: str) -> tuple[str, ...]:
    """The words by which a person gets a shell in a container. `engine` is its engine's URL, where it was given one:
    else the docker command finds it by itself."""
    found = engine or os.environ.get("DOCKER_HOST", "")
    return ("docker", *(("-H", found) if found else ()), "exec", "-it", container, "sh")


@dataclass(frozen=True, slots=True)
class Attachment:
    """A network namespace of a container's own: its address in a network, its host name, and which ports of 127.0.0.1
    lead to which of its ports (`published`, by the latter)."""

    network: str
    address: str
    hostname: str
    published: Mapping[int, int] = field(default_factory=dict)

    def options(self, client: APIClient) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the engine is told of it for a container, and for its host_config."""
        endpoint = client.create_endpoint_config(ipv4_address=self.address)
        bindings = {f"{inside}/tcp": (LOOPBACK, outside) for inside, outside in self.published.items()}
        return {
            "hostname": self.hostname,
            "ports": [(inside, "tcp") for inside in self.published],
            "networking_config": {"EndpointsConfig": {self.network: endpoint}},
        }, {"port_bindings": bindings}


@dataclass(frozen=True, slots=True)
class Joined:
    """The network namespace of another container, which has to run whenever this one is started."""

    container: str

    def options(self, client: APIClient) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, {"network_mode": f"container:{self.container}"}


@dataclass(frozen=True, slots=True)
class Disk:
    """A volume that is a file system of a given size, and where it is in containers."""

    volume: str
    folder: PurePosixPath

    @property
    def mount(self) -> Mount:
        return Mount(str(self.folder), self.volume, type="volume", no_copy=True)


@dataclass(frozen=True, slots=True)
class Blueprint:
    """All that a node's container is made from, but what it runs. No `cpus` and no `memory` (bytes) are no limit."""

    name: str
    image: str
    user: str
    where: Attachment | Joined
    volume: str
    labels: Mapping[str, str]
    init: bool
    cpus: float | None
    memory: int | None
    disk: Disk | None = None


def create(client: APIClient, plan: Blueprint, spec: ServiceSpec) -> str:
    """Make the container whose process is to be `spec`, and its volume unless it is there; the container's id."""
    client.create_volume(plan.volume, labels=dict(plan.labels))
    network, of_host = plan.where.options(client)
    host_config = client.create_host_config(
        init=plan.init,
        mounts=[Mount(str(ROOT), plan.volume, type="volume"), *([plan.disk.mount] if plan.disk else [])],
        log_config=LogConfig(type="local", config=LOGS),
        nano_cpus=None if plan.cpus is None else round(plan.cpus * 1e9),
        mem_limit=plan.memory,
        memswap_limit=plan.memory,
        **of_host,
    )
    created = client.create_container(
        plan.image,
        name=plan.name,
        entrypoint=[spec.argv[0]],
        command=list(spec.argv[1:]),
        environment={**spec.env, **(WHOLE_GROUP if plan.init else {})},
        working_dir=str(spec.cwd),
        labels=dict(plan.labels),
        stop_signal=NEVER,
        healthcheck=NO_HEALTHCHECK,
        host_config=host_config,
        **network,
    )
    return str(created["Id"])


@dataclass(frozen=True, slots=True)
class Helper:
    """All that a container of ours is made from, beside those of the nodes. Of root's rights it has `capabilities`
    alone; it writes nothing. `talks`: there is somebody at its stdin. `where` None is no network at all."""

    name: str
    image: str
    argv: Sequence[str]
    where: Attachment | None
    labels: Mapping[str, str]
    user: str = NOBODY
    capabilities: Sequence[str] = ()
    talks: bool = False
    disks: Sequence[Disk] = ()


def create_helper(client: APIClient, plan: Helper) -> str:
    """Make it; its id."""
    network, of_host = plan.where.options(client) if plan.where is not None else ({}, {"network_mode": "none"})
    host_config = client.create_host_config(
        cap_drop=["ALL"],
        cap_add=list(plan.capabilities),
        security_opt=["no-new-privileges"],
        read_only=True,
        mounts=[disk.mount for disk in plan.disks],
        log_config=LogConfig(type="local", config=LOGS),
        **of_host,
    )
    created = client.create_container(
        plan.image,
        name=plan.name,
        entrypoint=[plan.argv[0]],
        command=list(plan.argv[1:]),
        user=plan.user,
        working_dir="/",
        stdin_open=plan.talks,
        labels=dict(plan.labels),
        healthcheck=NO_HEALTHCHECK,
        host_config=host_config,
        **network,
    )
    return str(created["Id"])


def run_beside(client: APIClient, plan: Blueprint, container: str, argv: Sequence[str], user: str) -> tuple[int, bytes]:
    """Run a command in another container that has the same volume: its exit status and its stderr."""
    created = client.create_container(
        plan.image,
        entrypoint=[argv[0]],
        command=list(argv[1:]),
        user=user or None,
        labels=dict(plan.labels),
        host_config=client.create_host_config(volumes_from=[container], network_mode="none"),
    )
    return _run_to_its_end(client, created["Id"])


def run_helper(client: APIClient, plan: Helper) -> tuple[int, bytes]:
    """Make it, wait for its end and remove it: its exit status and its stderr."""
    return _run_to_its_end(client, create_helper(client, plan))


def _run_to_its_end(client: APIClient, container: str) -> tuple[int, bytes]:
    try:
        client.start(container)
        status = int(client.wait(container)["StatusCode"])
        return status, client.logs(container, stdout=False)
    finally:
        client.remove_container(container, force=True)


def owner_of(user: str, read: Callable[[PurePosixPath], bytes]) -> tuple[int, int]:
    """The uid and gid of an image's user ("", "name", "1000", "name:group" …), by passwd(5) and group(5) of that image.
    Whom they do not know is taken for root: what is put then belongs to root."""
    name, _, group = user.partition(":")
    if not name:
        return 0, 0
    uid, gid = (int(name), 0) if name.isdigit() else (0, 0)
    for fields in _records(read, "/etc/passwd", 4):
        if name in (fields[0], fields[2]):
            uid, gid = int(fields[2]), int(fields[3])
            break
    if group:
        named = (int(fields[2]) for fields in _records(read, "/etc/group", 3) if fields[0] == group)
        gid = int(group) if group.isdigit() else next(named, 0)
    return uid, gid


def _records(read: Callable[[PurePosixPath], bytes], path: str, least: int) -> list[list[str]]:
    try:
        text = read(PurePosixPath(path)).decode(errors="replace")
    except FileNotFoundError:
        return []
    records = [line.split(":") for line in text.splitlines()]
    return [fields for fields in records if len(fields) > least - 1 and all(map(str.isdigit, fields[2:least]))]
