"""The container of a node: what it is made from, and how it is asked of an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

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


@dataclass(frozen=True, slots=True)
class Blueprint:
    """All that a node's container is made from, but what it runs. `published` maps ports of the container to ports of
    127.0.0.1. `cpus` None and `memory` (bytes) None are no limit."""

    name: str
    hostname: str
    image: str
    user: str
    network: str
    address: str
    published: Mapping[int, int]
    volume: str
    labels: Mapping[str, str]
    init: bool
    cpus: float | None
    memory: int | None


def create(client: APIClient, plan: Blueprint, spec: ServiceSpec) -> str:
    """Make the container whose process is to be `spec`, and its volume unless it is there; the container's id."""
    client.create_volume(plan.volume, labels=dict(plan.labels))
    host_config = client.create_host_config(
        init=plan.init,
        mounts=[Mount(str(ROOT), plan.volume, type="volume")],
        port_bindings={f"{inside}/tcp": (LOOPBACK, outside) for inside, outside in plan.published.items()},
        log_config=LogConfig(type="local", config=LOGS),
        nano_cpus=None if plan.cpus is None else round(plan.cpus * 1e9),
        mem_limit=plan.memory,
        memswap_limit=plan.memory,
    )
    endpoint = client.create_endpoint_config(ipv4_address=plan.address)
    created = client.create_container(
        plan.image,
        name=plan.name,
        hostname=plan.hostname,
        entrypoint=[spec.argv[0]],
        command=list(spec.argv[1:]),
        environment={**spec.env, **(WHOLE_GROUP if plan.init else {})},
        working_dir=str(spec.cwd),
        labels=dict(plan.labels),
        stop_signal=NEVER,
        ports=[(inside, "tcp") for inside in plan.published],
        healthcheck={"test": ["NONE"]},
        host_config=host_config,
        networking_config={"EndpointsConfig": {plan.network: endpoint}},
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
    try:
        client.start(created["Id"])
        status = int(client.wait(created["Id"])["StatusCode"])
        return status, client.logs(created["Id"], stdout=False)
    finally:
        client.remove_container(created["Id"], force=True)


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
