"""Thirty healthy runs: does any expectation raise a false alarm, and how often can it say nothing?

    python benchmarks/healthy_runs.py [--runs 30] [--at-once 2] [--first-seed 1] [--keep DIRECTORY]

Each run is a real devnet of four processes, with traffic, blobs, and invalid transactions beside them, judged by all
expectations that apply, those watched that can be. Every second run has a validator restarted, which a healthy network
recovers from: the expectations about healing have something to judge there, and none where nothing was disturbed.
`promql` is not among them: it needs a Prometheus.

Told for each run: what did not pass. At the end: false alarms (fail, or seen violated during the run) and unknowns by
expectation, over how many judgements. Exits with 1 if there was an alarm or a run that could not be made."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from harness.errors import HarnessError
from harness.testing import run_playbook

PLAYBOOK = """
name = "healthy"
duration = "{duration}"
seed = {seed}
chain = {{ use = "devnet", slot_duration = "100ms", active_slot_coeff = 0.5, security_param = 10 }}
[topology]
layout = "full"
validators = 3
executors = 1
[wallets]
count = 12
[[workloads]]
use = "transactions"
rate = "10/s"
users = 6
[[workloads]]
use = "transactions.invalid"
rate = "10/s"
first_wallet = 6
users = 4
[[workloads]]
use = "da"
channel_rate = "1/s"
blob_rate = "1/s"
{steps}
"""
RESTART = """
[[steps]]
at = "4s"
fault = "restart"
targets = "validator-1"
hold = "1s"
"""
# `safety` contains `no-forks`, and is asked beside it here all the same.
WATCHED = {
    "consensus-liveness": "",
    "no-forks": "",
    "safety": "",
    "http-slo": 'url = "http://{endpoint}/status"\ninterval = "1s"\navailability = 0.9\ncalm = true\nrecovery = "5s"',
    "log-pattern": 'forbid = ["Traceback", "misbehaves"]',
    "command": f'argv = ["{sys.executable}", "-c", "pass"]',
}
JUDGED = {"nodes-healthy": "", "balances-conserved": "", "convergence": "", "block-timing": ""}
AFTER_FAULTS = {"recovery": ""}


@dataclass(frozen=True, slots=True)
class Told:
    """What a run said: its verdicts and what was measured, by expectation; what it saw violated meanwhile."""

    seed: int
    verdicts: dict[str, str] = field(default_factory=dict)
    measured: dict[str, str] = field(default_factory=dict)
    violated: tuple[str, ...] = ()
    broken: str = ""


def playbook(seed: int, duration: str) -> str:
    restarted = seed % 2 == 0
    text = PLAYBOOK.format(seed=seed, duration=duration, steps=RESTART if restarted else "")
    for uses, more in ((WATCHED, "continuous = true\n"), (JUDGED | (AFTER_FAULTS if restarted else {}), "")):
        text += "".join(f'[[expectations]]\nuse = "{name}"\n{options}\n{more}' for name, options in uses.items())
    return text


def run(seed: int, duration: str, runs: Path) -> Told:
    violated: list[str] = []

    def seen(record: object) -> None:
        event = getattr(record, "event", record)
        if type(event).__name__ == "ViolationSeen":
            violated.append(f"{event.expectation}: {event.message}")  # type: ignore[attr-defined]

    async def main() -> Told:
        done = await run_playbook(playbook(seed, duration), runs, deployer="process", on_event=seen)
        judged = done.state.expectations
        return Told(
            seed,
            {name: str(state.verdict) for name, state in judged.items()},
            {name: state.measured for name, state in judged.items()},
            tuple(violated),
            done.outcome.reason if done.outcome.exit_code not in (0, 1, 2) else "",
        )

    try:
        return anyio.run(main)
    except HarnessError as error:
        return Told(seed, broken=str(error))


def wrong(told: Told) -> Iterator[str]:
    if told.broken:
        yield f"the run could not be made: {told.broken}"
    yield from (f"violated: {one}" for one in told.violated)
    for name, verdict in told.verdicts.items():
        if verdict != "pass":
            yield f"{verdict}: {name}: {told.measured[name]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--duration", default="25s")
    parser.add_argument("--keep", type=Path, help="where run directories are left")
    options = parser.parse_args()
    alarms: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    judged: Counter[str] = Counter()
    broken = 0
    with tempfile.TemporaryDirectory() as scratch, ProcessPoolExecutor(options.at_once) as pool:
        runs = options.keep or Path(scratch)
        asked = [
            pool.submit(run, options.first_seed + number, options.duration, runs) for number in range(options.runs)
        ]
        for one in asked:
            told = one.result()
            print(f"seed {told.seed}: {'; '.join(wrong(told)) or 'all passed'}", flush=True)
            broken += bool(told.broken)
            judged.update(told.verdicts.keys())
            alarms.update({name for name, verdict in told.verdicts.items() if verdict == "fail"})
            alarms.update(
                {one.partition(":")[0] for one in told.violated if told.verdicts.get(one.partition(":")[0]) != "fail"}
            )
            unknown.update(name for name, verdict in told.verdicts.items() if verdict == "unknown")
    print(f"\n{options.runs} runs, {broken} not made, {judged.total()} judgements")
    print(f"{'expectation':24}{'judged':>8}{'alarms':>8}{'unknown':>9}")
    for name in sorted(judged):
        print(f"{name:24}{judged[name]:8}{alarms[name]:8}{unknown[name]:9}")
    return 1 if alarms or broken else 0


if __name__ == "__main__":
    sys.exit(main())
