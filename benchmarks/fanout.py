"""Fifty sshd hosts, three steps on each: make a folder, put a file, run a command. Who is how fast?

    python benchmarks/fanout.py [--hosts 50] [--rounds 5] [--rtt 0.02]

As root on Linux: hosts and controller are in namespaces without a way out (tests/fleet). The competitors are installed
from PyPI for this run. Each tool starts cold in each round, as a command of its own does: no connection and no cache of
the last round is left. Rounds are interleaved, the order rotates, figures are medians, and whether the steps were done
is looked up on the hosts, by plain ssh, outside the measured time. CPU seconds, of the controller and of all hosts, are
the kernel's; they tell more than elapsed ones where others use the machine as well.

Where hosts and controller share few cores, CPU is what elapses, and the floor, `ssh true`, bounds every ratio. Of fifty
hosts on two cores that others used as well, medians of two rounds over links without delay, pyinfra took 4.9 CPU
seconds, our machines 3.4, the floor 1.8, and paramiko that does all three steps by one shell script 1.9. What is
between ours and that is a Python on each host, which ends what it started whatever becomes of the connection as a
shell cannot (docs/decisions/0005), and loading our controller's modules."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "fleet"))
from cpu_meter import CpuMeter  # noqa: E402
from fanout_tools import TOOLS, Trial, command, everywhere  # noqa: E402

from fleet import Host, LightFleet  # noqa: E402

PAYLOAD = 8 * 1024
COMPETITORS = ("ansible-core", "pyinfra")
YARDSTICKS = ("ssh", "ssh, ControlMaster")
"""Plain parallel OpenSSH is the faster one of these."""
FLOOR = "ssh true"
"""Does none of the steps: what any tool needs at the least."""
COMPARED = ("ansible-playbook", "pyinfra")
OURS = ("harness prepare", "harness, machines")


@dataclass(frozen=True)
class Figures:
    """Seconds: elapsed, and of CPU, by the controller and by all hosts together."""

    elapsed: float
    controller: float
    hosts: float


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


async def measure(name: str, trial: Trial, controller: CpuMeter, hosts: CpuMeter) -> Figures:
    began, before = time.perf_counter(), (controller.seconds, hosts.seconds)
    await TOOLS[name](trial)
    figures = Figures(time.perf_counter() - began, controller.seconds - before[0], hosts.seconds - before[1])
    await end_masters(trial.scratch)
    if name != FLOOR:
        await verify(trial)
    return figures


async def inside(config: Path, asked: dict[str, Any]) -> None:
    """The controller's part: all rounds, over the plain and the slow links."""
    payload = config.with_name("payload")
    await asyncio.to_thread(payload.write_bytes, os.urandom(PAYLOAD))
    meters = [CpuMeter(Path(group)) for group in asked["groups"]]
    links = {
        link: [Host(**{**host, "key": Path(host["key"]), "known_hosts": Path(host["known_hosts"])}) for host in hosts]
        for link, hosts in asked["links"].items()
    }
    all_figures: dict[str, dict[str, list[dict[str, float]]]] = {link: {name: [] for name in TOOLS} for link in links}
    names = list(TOOLS)
    for number in range(-1, asked["rounds"]):  # the first one warms up: byte code, the page cache
        rotated = names[number % len(names) :] + names[: number % len(names)]
        for link, hosts in links.items():
            for name in rotated:
                with tempfile.TemporaryDirectory(prefix="f", dir="/tmp") as scratch:
                    trial = Trial(hosts, payload, f"/root/fanout-{number}", Path(scratch), Path(asked["tools"]))
                    figures = await measure(name, trial, *meters)
                print(f"round {number} {link} {name}: {figures}", file=sys.stderr, flush=True)
                if number >= 0:
                    all_figures[link][name].append(asdict(figures))
    print(json.dumps(all_figures))


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


def report(figures: dict[str, dict[str, list[dict[str, float]]]]) -> None:
    for link, tools in figures.items():
        medians = {name: _medians(values) for name, values in tools.items()}
        plain = min(medians[name].elapsed for name in YARDSTICKS)
        print(f"\n{link}\n")
        print(f"| {'tool':<20} | median s | least–most s | × plain ssh | CPU s, controller | CPU s, hosts |")
        print(f"|{'-' * 22}|---------:|-------------:|------------:|------------------:|-------------:|")
        for name, values in tools.items():
            elapsed = [each["elapsed"] for each in values]
            spread, median = f"{min(elapsed):.2f}–{max(elapsed):.2f}", medians[name]
            times = f"{median.elapsed:8.2f} | {spread:>12} | {median.elapsed / plain:11.2f}"
            print(f"| {name:<20} | {times} | {median.controller:17.2f} | {median.hosts:12.2f} |")
        print()
        for name in OURS:
            print(f"{name}: {'; '.join(_ratios(medians, name))}")


def _ratios(medians: dict[str, Figures], ours: str) -> list[str]:
    """How many times as long, and as much CPU, others take; and the most that these ratios could be: the floor's."""
    cpu = {name: figures.controller + figures.hosts for name, figures in medians.items()}

    def times(other: str, than: str) -> str:
        return f"{medians[other].elapsed / medians[than].elapsed:.1f}× the time, {cpu[other] / cpu[than]:.1f}× the CPU"

    return [f"{other} {times(other, ours)} (of {FLOOR}: {times(other, FLOOR)})" for other in COMPARED]


def _medians(values: list[dict[str, float]]) -> Figures:
    return Figures(**{name: statistics.median(each[name] for each in values) for name in values[0]})


def run(arguments: argparse.Namespace, folder: Path, tools: Path) -> dict[str, Any]:
    """Start the fleet, and the controller in it; what that measured."""
    with ExitStack() as stack:
        groups = {name: CpuMeter.create(name) for name in ("controller", "hosts", "links")}
        for group in groups.values():
            stack.callback(group.remove)
        # Who starts something is in its group meanwhile: processes are born into the group of their parent.
        stack.callback(CpuMeter.leave)
        groups["hosts"].add(os.getpid())
        fleet = stack.enter_context(LightFleet(folder, arguments.hosts))
        groups["links"].add(os.getpid())
        links = {"no delay": fleet.hosts, f"{arguments.rtt * 1000:g} ms": fleet.slowed(arguments.rtt)}
        groups["controller"].add(os.getpid())
        encoded = {link: [_encoded(host) for host in hosts] for link, hosts in links.items()}
        config = folder / "config.json"
        measured = [str(groups[name].group) for name in ("controller", "hosts")]
        asked = {"rounds": arguments.rounds, "tools": str(tools.resolve()), "links": encoded, "groups": measured}
        config.write_text(json.dumps(asked))
        argv = fleet.inside([sys.executable, __file__, "--inside", str(config)])
        done = subprocess.run(argv, stdout=subprocess.PIPE, check=True, env=_environment(folder))
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def _environment(folder: Path) -> dict[str, str]:
    """Byte code is kept from round to round, of all tools alike, wherever this is run and whoever installed them."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
    ours = {"PYTHONPATH": path, "PYTHONPYCACHEPREFIX": str(folder / "byte-code")}
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | ours


def _encoded(host: Host) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(host).items()}


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
        tools = arguments.tools or Path(text, "tools")
        install(tools)
        folder = Path(text, "fleet")
        folder.mkdir()
        figures = run(arguments, folder, tools)
        versions = [version(tools / name, name) for name in COMPETITORS]
    print(f"{arguments.hosts} hosts, {arguments.rounds} rounds, {os.cpu_count()} cores; {', '.join(versions)}")
    report(figures)


if __name__ == "__main__":
    main()
