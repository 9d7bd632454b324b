"""Fifty sshd hosts, three steps on each: make a folder, put a file, run a command. Who is how fast?

    python benchmarks/fanout.py [--hosts 50] [--rounds 5] [--rtt 0.02]

As root on Linux: hosts and controller are in namespaces without a way out (tests/fleet). The competitors are installed
from PyPI for this run. Each tool starts cold in each round, as a command of its own does: no connection and no cache of
the last round is left. Rounds are interleaved, the order rotates, figures are medians of elapsed seconds, and whether
the steps were done is looked up on the hosts, by plain ssh, outside the measured time."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "fleet"))
from fleet import Host, LightFleet, inventory

PAYLOAD = 8 * 1024
COMPETITORS = ("ansible-core", "pyinfra")
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


# -- the tools ---------------------------------------------------------------------------------------------------------


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


TOOLS: dict[str, Tool] = {
    "harness prepare": harness,
    "harness, machines": machines,
    "ansible-playbook": ansible,
    "pyinfra": pyinfra,
    "ssh": openssh,
    "ssh, ControlMaster": openssh_master,
    "ssh, one script": openssh_script,
}

# -- measuring ---------------------------------------------------------------------------------------------------------


async def end_masters(folder: Path) -> None:
    """End the ssh that keep connections for later: their sockets are in this folder."""
    sockets = await asyncio.to_thread(lambda: [path for path in folder.rglob("*") if path.is_socket()])
    for path in sockets:
        await command(["ssh", "-o", f"ControlPath={path}", "-O", "exit", "anywhere"])


async def verify(trial: Trial) -> None:
    """Raise when a host lacks what the steps leave."""
    expected = f"{hashlib.sha256(trial.payload.read_bytes()).hexdigest()}  {trial.target}/payload\n"

    async def one(host: Host) -> None:
        found = await command([*host.ssh, f"cat {trial.target}/sum && rm -r {trial.target}"])
        if found.decode() != expected:
            raise RuntimeError(f"{host.name}: {found!r} instead of {expected!r}")

    await everywhere(trial.hosts, one)


async def measure(name: str, trial: Trial) -> float:
    began = time.perf_counter()
    await TOOLS[name](trial)
    elapsed = time.perf_counter() - began
    await end_masters(trial.scratch)
    await verify(trial)
    return elapsed


async def inside(config: Path, asked: dict[str, Any]) -> None:
    """The controller's part: all rounds, over the plain and the slow links."""
    payload = config.with_name("payload")
    await asyncio.to_thread(payload.write_bytes, os.urandom(PAYLOAD))
    links = {
        link: [Host(**{**host, "key": Path(host["key"]), "known_hosts": Path(host["known_hosts"])}) for host in hosts]
        for link, hosts in asked["links"].items()
    }
    figures: dict[str, dict[str, list[float]]] = {link: {name: [] for name in TOOLS} for link in links}
    names = list(TOOLS)
    for number in range(-1, asked["rounds"]):  # the first one warms up: byte code, the page cache
        rotated = names[number % len(names) :] + names[: number % len(names)]
        for link, hosts in links.items():
            for name in rotated:
                with tempfile.TemporaryDirectory(prefix="f", dir="/tmp") as scratch:
                    trial = Trial(hosts, payload, f"/root/fanout-{number}", Path(scratch), Path(asked["tools"]))
                    elapsed = await measure(name, trial)
                print(f"round {number} {link} {name}: {elapsed:.2f} s", file=sys.stderr, flush=True)
                if number >= 0:
                    figures[link][name].append(elapsed)
    print(json.dumps(figures))


def install(folder: Path) -> None:
    """The competitors, each in a virtual environment of its own, unless they are there."""
    for package in COMPETITORS:
        place = folder / package
        if place.exists():
            continue
        venv.create(place, with_pip=True)
        subprocess.run([place / "bin/pip", "install", "--quiet", package], check=True)


def version(place: Path, package: str) -> str:
    said = subprocess.run([place / "bin/pip", "show", package], capture_output=True, text=True, check=True).stdout
    return f"{package} {dict(line.split(': ', 1) for line in said.splitlines() if ': ' in line)['Version']}"


def report(figures: dict[str, dict[str, list[float]]]) -> None:
    for link, tools in figures.items():
        medians = {name: statistics.median(values) for name, values in tools.items()}
        plain = min(medians["ssh"], medians["ssh, ControlMaster"])
        print(f"\n{link}\n")
        print(f"| {'tool':<20} | median s | least–most s | × plain ssh |")
        print(f"|{'-' * 22}|---------:|-------------:|------------:|")
        for name, values in tools.items():
            spread = f"{min(values):.2f}–{max(values):.2f}"
            print(f"| {name:<20} | {medians[name]:8.2f} | {spread:>12} | {medians[name] / plain:11.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rtt", type=float, default=0.02, help="round-trip time of the slow links, in seconds")
    parser.add_argument("--tools", type=Path, help="keep the competitors here for the next time")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        asyncio.run(inside(arguments.inside, json.loads(arguments.inside.read_text())))
        return
    with tempfile.TemporaryDirectory(prefix="fanout-") as text:
        folder = Path(text)
        tools = arguments.tools or folder / "tools"
        install(tools)
        (folder / "fleet").mkdir()
        with LightFleet(folder / "fleet", arguments.hosts) as fleet:
            links = {"no delay": fleet.hosts, f"{arguments.rtt * 1000:g} ms": fleet.slowed(arguments.rtt)}
            encoded = {
                link: [{slot: _plain(getattr(host, slot)) for slot in Host.__slots__} for host in hosts]
                for link, hosts in links.items()
            }
            config = folder / "config.json"
            asked = {"rounds": arguments.rounds, "tools": str(tools.resolve()), "links": encoded}
            config.write_text(json.dumps(asked))
            argv = fleet.inside([sys.executable, __file__, "--inside", str(config)])
            done = subprocess.run(argv, stdout=subprocess.PIPE, check=True)
        versions = [version(tools / name, name) for name in COMPETITORS]
    print(f"{arguments.hosts} hosts, {arguments.rounds} rounds, {os.cpu_count()} cores; {', '.join(versions)}")
    report(json.loads(done.stdout))


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


if __name__ == "__main__":
    main()
