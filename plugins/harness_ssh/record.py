"""What a run writes down about its machines before it touches the first, so that they can be found and cleaned later.

Without secrets: those that are in the environment, in files or come from commands are named, others are left out."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.api import HostSpec, Secret, redact

FILE = "machines.json"
_PREFIXES = ("ansible_", "harness_")
"""Variables that say how a machine is reached; others are the playbook's and of no use here."""


@dataclass(frozen=True, slots=True)
class Record:
    """A run's machines, and the deployer's options that it takes to find the run there again."""

    run_id: str
    hosts: tuple[HostSpec, ...]
    state: str
    ssh_config: Path | None


def write(run_dir: Path, record: Record) -> None:
    """On the disk, whole or not at all, when it returns. Raises OSError."""
    text = json.dumps(
        {
            "run_id": record.run_id,
            "state": record.state,
            "ssh_config": str(record.ssh_config.absolute()) if record.ssh_config is not None else None,
            "hosts": {host.name: _shown(host.vars) for host in record.hosts},
        },
        indent=2,
        default=str,
    )
    unfinished = run_dir / f".{FILE}"
    with unfinished.open("w") as file:
        file.write(redact(text))
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(run_dir / FILE)
    folder = os.open(run_dir, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read(run_dir: Path) -> Record | None:
    """None where there is none: nothing was touched, or all of it was cleaned."""
    path = run_dir / FILE
    if not path.exists():
        return None
    content = json.loads(path.read_text())
    hosts = tuple(HostSpec(name, variables) for name, variables in content["hosts"].items())
    ssh_config = Path(content["ssh_config"]) if content["ssh_config"] else None
    return Record(content["run_id"], hosts, content["state"], ssh_config)


def remove(run_dir: Path) -> None:
    """All machines are as they were found."""
    (run_dir / FILE).unlink(missing_ok=True)


def unique(hosts: Sequence[HostSpec]) -> tuple[HostSpec, ...]:
    """Each host once, by name: the order in which every run goes about its machines."""
    return tuple(host for _, host in sorted({host.name: host for host in hosts}.items()))


def _shown(variables: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: value for name, value in variables.items() if name.startswith(_PREFIXES)}
    for name, value in shown.copy().items():
        if isinstance(value, Secret):
            reference = value.reference()
            if reference is None:
                del shown[name]
            else:
                shown[name] = reference
    return shown
