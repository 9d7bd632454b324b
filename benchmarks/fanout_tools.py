"""The tools that fanout.py compares: each does the three steps on all hosts, from a cold start."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fleet import Host, inventory

PYTHON = "/usr/bin/python3"
"""Of the hosts: told to Ansible, so that it need not look for one."""


@dataclass(frozen=True)
class Trial:
    """One execution of the three steps by one tool."""

    hosts: Sequence[Host]
    payload: Path
    target: str
    """The folder to make on each host. The file is put there as `payload`, and sha256sum of it written to `sum`."""
    scratch: Path
    tools: Path
    """Where the competitors' virtual environments are."""

    @property
    def run(self) -> str:
        return f"sha256sum {self.target}/payload > {self.target}/sum"


Tool = Callable[[Trial], Awaitable[None]]


async def command(argv: Sequence[str], *, stdin: Path | None = None, **env: str) -> bytes:
    """Run a command to its end. Raises RuntimeError with what it said when it fails."""
    with (stdin or Path(os.devnull)).open("rb") as source:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=source,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **env},
        )
        said, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"{shlex.join(argv)}: exit status {process.returncode}: {said[-4000:].decode()}")
    return said


async def everywhere(hosts: Sequence[Host], one: Callable[[Host], Awaitable[object]]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for host in hosts:
            tasks.create_task(_await(one(host)))


async def _await(what: Awaitable[object]) -> None:
    await what


async def ansible(trial: Trial) -> None:
    """ansible-playbook as it is tuned for speed: as many forks as hosts, pipelining, connections kept by ssh."""
    inventory = trial.scratch / "hosts.json"
    hosts = {host.name: host.variables() | {"ansible_python_interpreter": PYTHON} for host in trial.hosts}
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
    tasks = [
        {"ansible.builtin.file": {"path": trial.target, "state": "directory"}},
        {"ansible.builtin.copy": {"src": str(trial.payload), "dest": f"{trial.target}/payload"}},
        {"ansible.builtin.shell": trial.run},
    ]
    playbook = trial.scratch / "playbook.json"
    playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    settings = trial.scratch / "ansible.cfg"
    settings.write_text(
        f"[defaults]\nforks = {len(trial.hosts)}\nlocal_tmp = {trial.scratch}/tmp\n"
        f"[ssh_connection]\npipelining = True\ncontrol_path_dir = {trial.scratch}/cp\n"
    )
    argv = [str(trial.tools / "ansible-core/bin/ansible-playbook"), "-i", str(inventory), str(playbook)]
    await command(argv, ANSIBLE_CONFIG=str(settings), LC_ALL="C.UTF-8")


async def pyinfra(trial: Trial) -> None:
    """pyinfra, all hosts in parallel."""
    inventory = trial.scratch / "inventory.py"
    hosts = [
        (
            host.name,
            {
                "ssh_hostname": host.ssh_host,
                "ssh_port": host.ssh_port,
                "ssh_user": host.user,
                "ssh_key": str(host.key),
                "ssh_known_hosts_file": str(host.known_hosts),
                "ssh_strict_host_key_checking": "yes",
            },
        )
        for host in trial.hosts
    ]
    inventory.write_text(f"hosts = {hosts!r}\n")
    deploy = trial.scratch / "deploy.py"
    deploy.write_text(
        "from pyinfra.operations import files, server\n"
        f"files.directory(path={trial.target!r})\n"
        f"files.put(src={str(trial.payload)!r}, dest={trial.target + '/payload'!r})\n"
        f"server.shell(commands=[{trial.run!r}])\n"
    )
    argv = [str(trial.tools / "pyinfra/bin/pyinfra"), "--yes", "--parallel", str(len(trial.hosts))]
    await command([*argv, str(inventory), str(deploy)], LC_ALL="C.UTF-8")


async def harness(trial: Trial) -> None:
    """Ours as people use it: three tasks of `harness prepare`, each on all hosts before the next, as with Ansible."""
    inventory_file = trial.scratch / "inventory.toml"
    inventory_file.write_text(inventory(trial.hosts, harness_deployer="ssh"))
    playbook = trial.scratch / "playbook.toml"
    tasks = (
        {"use": "run", "argv": ["mkdir", "-p", trial.target]},
        {"use": "copy", "src": str(trial.payload), "dest": f"{trial.target}/payload"},
        {"use": "run", "script": trial.run},
    )
    lines = [
        'name = "fan-out"',
        'chain = "devnet"',
        'duration = "1s"',
        "[topology]",
        f"validators = {len(trial.hosts)}",
    ]
    lines += ["[[expectations]]", 'use = "nodes-healthy"']
    for task in tasks:
        lines += ["[[prepare]]", *(f"{name} = {json.dumps(value)}" for name, value in task.items())]
    playbook.write_text("\n".join(lines))
    argv = [sys.executable, "-m", "harness", "prepare", str(playbook), "-i", str(inventory_file)]
    await command([*argv, "--forks", str(len(trial.hosts))])


async def machines(trial: Trial) -> None:
    """Ours as plugins use it: the machines of the deployer `ssh`, with nothing around them."""
    hosts = {host.name: host.variables() for host in trial.hosts}
    asked = trial.scratch / "asked.json"
    asked.write_text(json.dumps([hosts, str(trial.payload), trial.target, trial.run]))
    await command([sys.executable, str(Path(__file__).with_name("fanout_machines.py")), str(asked)])


async def openssh(trial: Trial) -> None:
    """One ssh a step and host, all hosts in parallel."""
    await _openssh(trial, lambda host: host.ssh)


async def openssh_master(trial: Trial) -> None:
    """One ssh a step and host, the later ones over the connection of the first (ControlMaster)."""

    def argv(host: Host) -> Sequence[str]:
        first, *rest = host.ssh
        shared = (
            "-o",
            "ControlMaster=auto",
            "-o",
            f"ControlPath={trial.scratch}/{host.name}",
            "-o",
            "ControlPersist=60",
        )
        return (first, *shared, *rest)

    await _openssh(trial, argv)


async def _openssh(trial: Trial, ssh: Callable[[Host], Sequence[str]]) -> None:
    async def one(host: Host) -> None:
        await command([*ssh(host), f"mkdir -p {trial.target}"])
        await command([*ssh(host), f"cat > {trial.target}/payload"], stdin=trial.payload)
        await command([*ssh(host), trial.run])

    await everywhere(trial.hosts, one)


async def openssh_script(trial: Trial) -> None:
    """No tool that knows steps, but what one round trip costs: all three in one script of one ssh a host."""

    async def one(host: Host) -> None:
        script = f"mkdir -p {trial.target} && cat > {trial.target}/payload && {trial.run}"
        await command([*host.ssh, script], stdin=trial.payload)

    await everywhere(trial.hosts, one)


async def openssh_nothing(trial: Trial) -> None:
    """No tool, but the floor: one ssh a host that runs `true`. Nobody who uses this sshd does it for less of the hosts'
    CPU, and OpenSSH's client, which is C, is what costs the controller least."""
    await everywhere(trial.hosts, lambda host: command([*host.ssh, "true"]))


TOOLS: dict[str, Tool] = {
    "harness prepare": harness,
    "harness, machines": machines,
    "ansible-playbook": ansible,
    "pyinfra": pyinfra,
    "ssh": openssh,
    "ssh, ControlMaster": openssh_master,
    "ssh, one script": openssh_script,
    "ssh true": openssh_nothing,
}
