"""A whole run on fifty SSH hosts, a node on each: does it pass, and what does it cost the controller?

    python benchmarks/fifty_nodes.py [--hosts 50] [--duration 60s] [--api tunnel|direct]

As root on Linux: the hosts are light ones (tests/fleet), each with an sshd, an address, processes and files of its own;
they and the controller are in namespaces without a way out. The run is what `harness run` does, from plan to teardown:
40 validators and 10 executors, a block every two seconds on average, transactions at every block, judged by
`consensus-liveness`, `no-forks` and `nodes-healthy`. Node APIs are reached through the SSH connections, as they are
unless an inventory says otherwise, or directly.

The controller's CPU time is that of its own process, for each phase (proc(5)); its memory the kernel's record of the
most that was resident (getrusage(2)). What all fifty hosts took, sshd and agents and nodes, is the kernel's figure of
their control group: on few cores it is this that decides how fast a block may come. Exits as `harness run` does."""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "fleet"))
from controller import cpu_seconds  # noqa: E402
from cpu_meter import CpuMeter  # noqa: E402

from fleet import LightFleet, inventory  # noqa: E402

PLAYBOOK = """
name = "fifty nodes on fifty hosts"
chain = {{ use = "devnet", slot_duration = "1s", active_slot_coeff = 0.5 }}
duration = "{duration}"
ready_timeout = "120s"
seed = 7

[topology]
layout = "random"
degree = 4
validators = {validators}
executors = {executors}

[wallets]
count = 50

[[workloads]]
use = "transactions"
rate = "5/block"
users = 10

[[expectations]]
use = "consensus-liveness"

[[expectations]]
use = "no-forks"

[[expectations]]
use = "nodes-healthy"
"""


@dataclass
class Phase:
    """Seconds: how long it took, and the controller's CPU time in it."""

    cpu: float
    seconds: float = 0.0
    ended: bool = False

    @property
    def share(self) -> float:
        """Of one core."""
        return self.cpu / self.seconds if self.seconds else 0.0


@dataclass
class Figures:
    """Of one run, as it goes on. `judged`: what each expectation measured."""

    phases: dict[str, Phase] = field(default_factory=dict)
    judged: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    nodes: dict[str, str] = field(default_factory=dict)
    peak_mb: float = 0.0
    finish: str = "the run has no end"

    def read(self, event: dict[str, Any], pid: int) -> None:
        """Take what this line of the journal says, and look at the controller's process as it says it."""
        match event["kind"]:
            case "run-started":
                self.nodes = {name: node["machine"] for name, node in event["nodes"].items()}
            case "phase-started":
                self.phases[event["phase"]] = Phase(-cpu_seconds(pid))
            case "phase-ended":
                phase = self.phases[event["phase"]]
                phase.cpu, phase.seconds = phase.cpu + cpu_seconds(pid), event["seconds"]
            case "expectation-judged":
                self.judged.append(f"{event['verdict'].upper():<8} {event['expectation']}: {event['measured']}")
            case "note" if event["level"] != "info":
                self.warnings.append(f"{event['level']}: {event['component']}: {event['message']}")
            case "run-finished":
                self.finish = f"{event['verdict'].upper()} (exit code {event['exit_code']}): {event['reason']}"

    def show(self, hosts_cpu: float) -> None:
        machines = len(set(self.nodes.values()))
        print(f"{len(self.nodes)} nodes on {machines} hosts, {os.cpu_count()} cores\n{self.finish}")
        print("\n".join([*self.judged, *self.warnings]))
        print("\n| phase    | seconds | controller's CPU s | % of a core |")
        print("|----------|--------:|-------------------:|------------:|")
        for name, phase in self.phases.items():
            print(f"| {name:<8} | {phase.seconds:7.1f} | {phase.cpu:18.2f} | {100 * phase.share:11.1f} |")
        print(f"\ncontroller's peak memory: {self.peak_mb:.0f} MB; CPU of all hosts together: {hosts_cpu:.0f} s")


def run(hosts: int, duration: str, api: str, folder: Path, runs: Path) -> tuple[int, Figures, float]:
    """Its exit code, what it did, and the CPU seconds that all hosts took."""
    executors = hosts // 5
    playbook = folder / "fifty.toml"
    playbook.write_text(PLAYBOOK.format(duration=duration, validators=hosts - executors, executors=executors))
    figures = Figures()
    with ExitStack() as stack:
        meter = CpuMeter.create("hosts")
        stack.callback(meter.remove)
        stack.callback(CpuMeter.leave)
        meter.add(os.getpid())  # processes are born into the group of their parent
        keys = folder / "fleet"
        keys.mkdir()
        fleet = stack.enter_context(LightFleet(keys, hosts))
        CpuMeter.leave()
        machines = folder / "hosts.toml"
        groups = {"validators": fleet.hosts[executors:], "executors": fleet.hosts[:executors]}
        machines.write_text(
            inventory(fleet.hosts, harness_deployer="ssh", harness_api=api)
            + "".join(f"[{group}.hosts.{host.name}]\n" for group, members in groups.items() for host in members)
        )
        command = [sys.executable, "-m", "harness", "run", str(playbook), "-i", str(machines), "--output", "json"]
        argv = fleet.inside([*command, "--forks", str(hosts), "--runs", str(runs)])
        path = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")])}
        with subprocess.Popen(argv, stdout=subprocess.PIPE, env={**os.environ, **path}) as controller:
            assert controller.stdout is not None
            for line in controller.stdout:
                figures.read(json.loads(line), controller.pid)
        # Of children that have ended, of which it is the greatest by far; the hosts have not ended.
        figures.peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        return controller.returncode, figures, meter.seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=50)
    parser.add_argument("--duration", default="60s", help="how long the network is judged")
    parser.add_argument("--api", choices=["tunnel", "direct"], default="tunnel", help="how node APIs are reached")
    parser.add_argument("--runs", type=Path, help="keep the run directory here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fifty-") as text:
        folder = Path(text)
        runs = arguments.runs or folder / "runs"
        code, figures, hosts_cpu = run(arguments.hosts, arguments.duration, arguments.api, folder, runs)
    figures.show(hosts_cpu)
    return code


if __name__ == "__main__":
    sys.exit(main())
