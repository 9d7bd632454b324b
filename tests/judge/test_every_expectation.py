"""Every expectation on real nodes that must fail it, that must leave it unknown, and that must pass it."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

import harness_checks
import harness_probes
from harness.testing import Finished

pytestmark = [pytest.mark.anyio, pytest.mark.real]
Network = Callable[..., Awaitable[Finished]]

TRAFFIC = """
[[workloads]]
use = "transactions"
rate = "10/s"
users = 4
"""
INVALID = """
[[workloads]]
use = "transactions.invalid"
rate = "10/s"
first_wallet = 4
users = 4
"""
BLOBS = """
[[workloads]]
use = "da"
channel_rate = "1/s"
blob_rate = "1/s"
"""
RESTART = """
[[steps]]
at = "2s"
fault = "restart"
targets = "validator-1"
hold = "1s"
"""
LOG_THIEF = """
[[workloads]]
use = "log-thief"
"""
NOBODY = "http://127.0.0.1:1"


def validators(switch: str) -> dict[str, str]:
    return {f"validator-{number}": switch for number in range(3)}


def use(name: str, **options: Any) -> str:
    return "\n".join(
        ["[[expectations]]", f'use = "{name}"', *(f"{k} = {json.dumps(v)}" for k, v in options.items()), ""]
    )


def http(path: str, **options: Any) -> str:
    """Load on every node's API, by `http-load` that comes along."""
    asked = "".join(f"{k} = {json.dumps(v)}\n" for k, v in options.items())
    return f'[[workloads]]\nuse = "http"\nurl = "http://{{endpoint}}{path}"\n{asked}'


@dataclass(frozen=True)
class Case:
    """A network, and what part of the measured text each of these expectations must say with the case's verdict."""

    says: Mapping[str, str]
    rest: str
    misbehave: Mapping[str, str] = field(default_factory=dict)
    duration: str = "3s"
    slot: str = "80ms"
    f: float = 0.5

    async def run(self, network: Network, verdict: str) -> Finished:
        finished = await network(self.rest, self.misbehave, self.duration, self.slot, self.f)
        judged = finished.state.expectations
        assert all(state.verdict for state in judged.values()), finished.outcome
        told = {name: f"{state.verdict}: {state.measured}" for name, state in judged.items()}
        wrong = {name: told[name] for name in self.says if judged[name].verdict != verdict}
        assert not wrong, wrong
        wrong = {name: told[name] for name, text in self.says.items() if text not in judged[name].measured}
        assert not wrong, wrong
        return finished


FAIL = {
    "a node stays where it was when it is started again": Case(
        {"recovery": "validator-1: caught up never (restart"},
        RESTART + use("recovery", catch_up_within="8s") + use("no-forks"),
        {"validator-1": "stay-behind"},
        duration="5s",
    ),
    "a proposer signs twice": Case(
        {"safety": "validator-0 signed two blocks at height"},
        TRAFFIC + use("safety") + use("consensus-liveness"),
        {"validator-0": "sign-twice"},
        duration="8s",
    ),
    "the pace is off by thirty percent": Case(
        {"block-timing": "mean interval"},
        use("block-timing") + use("consensus-liveness"),
        validators("slow-pace"),
        duration="30s",
        slot="150ms",
        f=0.9,
    ),
    "a node is mute": Case(
        {"http-slo": "available"},
        use("http-slo", url="http://{endpoint}/status", interval="200ms", availability=0.9),
        {"validator-1": "mute@30"},
        duration="12s",
    ),
    "what is asked for is not there": Case(
        {"http-load": "good answers to 0 % of 40"}, http("/nowhere", rate="20/s"), duration="2s"
    ),
}
SPARED = {
    "a node stays where it was when it is started again": {"no-forks"},
    "a proposer signs twice": {"consensus-liveness", "transaction-inclusion"},
    "the pace is off by thirty percent": {"consensus-liveness"},
}
"""What else was asked of a network that fails, and holds: a switch breaks one property."""
UNKNOWN = {
    "nobody proposes": Case(
        {"no-forks": "no final block", "safety": "no final block", "block-timing": "only 0 undisturbed"},
        use("no-forks") + use("safety") + use("block-timing"),
        validators("silent@1"),
        duration="2s",
    ),
    "a node does not answer any more": Case(
        {"convergence": "validator-1 could not be asked", "balances-conserved": "", "invalid-never-included": ""},
        TRAFFIC + INVALID + use("convergence") + use("balances-conserved", patience="2s"),
        {"validator-1": "mute@30"},
        duration="8s",
    ),
    "hardly anything is sent": Case(
        {"invalid-never-included": "nothing was sent", "consensus-liveness": "too short"},
        re.sub('"[0-9]+/s"', '"0.001/s"', INVALID + "mix = { truncated = 1 }\n") + use("consensus-liveness"),
        duration="20ms",
    ),
    "the load is not as asked, and no answer is waited for": Case(
        {
            "transaction-inclusion": "the generator dropped",
            "rejects-invalid": "got no answer",
            "da-availability": "the generator dropped",
        },
        TRAFFIC.replace("10/s", "500/s") + "max_in_flight = 1" + INVALID + 'answer_timeout = "1ms"'
        + BLOBS.replace("1/s", "200/s") + 'max_in_flight = 1\narrivals = "poisson"',
        duration="2s",
    ),
    "no tool works": Case(
        {
            "recovery": "no fault was healed",
            "nodes-healthy": "the log of validator-2 could not be read",
            "log-pattern": "",
            "http-slo": "no probe could be made",
            "promql": "",
            "command": "",
        },
        LOG_THIEF
        + use("recovery") + use("nodes-healthy") + use("log-pattern", forbid=["Traceback"])
        + '[[expectations]]\nuse = "http-slo"\nheaders = { X-Token = { command = ["/bin/false"] } }\n'
        + use("promql", url=NOBODY, query="up", op=">", value=0)
        + use("command", argv=["/bin/sleep", "9"], timeout="100ms"),
        duration="2s",
    ),
    "more is asked for than may be in flight": Case(
        {"http-load": "the generator dropped"}, http("/status", rate="20000/s", max_in_flight=1), duration="2s"
    ),
}  # fmt: skip
ELSEWHERE = {
    "fail": {
        # test_broken_networks.py, test_broken_ledgers.py, tests/probes/test_probes_real.py
        *("consensus-liveness", "transaction-inclusion", "da-availability", "no-forks", "nodes-healthy"),
        *("balances-conserved", "convergence", "rejects-invalid", "invalid-never-included"),
        *("log-pattern", "promql", "command"),
    },
    "unknown": set[str](),
    "pass": {"promql"},  # tests/probes/test_probes_real.py
}
PASS = {
    "left alone": Case(
        dict.fromkeys(
            ("consensus-liveness", "no-forks", "safety", "nodes-healthy", "balances-conserved", "convergence",
             "rejects-invalid", "invalid-never-included", "da-availability", "transaction-inclusion"),
            "",
        ),
        (TRAFFIC + INVALID).replace("10/s", "3/s") + BLOBS
        + "".join(map(use, ("consensus-liveness", "no-forks", "safety", "nodes-healthy", "balances-conserved",
                            "convergence"))),
        duration="8s",
        slot="200ms",
    ),
    "asked from outside": Case(
        {"log-pattern": "", "command": "", "http-slo": "1 available"},
        use("log-pattern", forbid=["Traceback"]) + use("command", argv=["/bin/true"])
        + use("http-slo", url="http://{endpoint}/status", interval="1s", availability=0.9),
        duration="8s",
        slot="500ms",
    ),
    "asked a little": Case({"http-load": "100 %"}, http("/status", rate="20/s"), duration="2s"),
    "restarted": Case(
        dict.fromkeys(("recovery", "convergence", "safety"), ""),
        RESTART + use("convergence", within="20s") + use("safety") + use("recovery"),
        duration="6s",
        slot="200ms",
    ),
    "at its pace": Case(
        {"block-timing": "mean"}, use("block-timing"), duration="30s", slot="150ms", f=0.9
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAIL)
async def test_fails_for_this_and_nothing_else(network: Network, name: str) -> None:
    finished = await FAIL[name].run(network, "fail")
    assert finished.outcome.exit_code == 1, finished.outcome
    for spared in SPARED.get(name, ()):
        assert finished.verdict_of(spared) in ("pass", "unknown"), finished.state.expectations[spared]


@pytest.mark.parametrize("name", UNKNOWN)
async def test_what_could_not_be_told_is_unknown(network: Network, name: str) -> None:
    await UNKNOWN[name].run(network, "unknown")


@pytest.mark.parametrize("name", PASS)
async def test_healthy_networks_pass(network: Network, name: str) -> None:
    await PASS[name].run(network, "pass")


def test_every_expectation_has_nodes_for_each_verdict() -> None:
    every = {one.name for one in (*harness_checks.harness_expectations(), *harness_probes.harness_expectations())}
    for verdict, cases in (("fail", FAIL), ("unknown", UNKNOWN), ("pass", PASS)):
        shown = {name for case in cases.values() for name in case.says}
        assert every - shown - ELSEWHERE[verdict] == set(), verdict


WATCHED = {
    "nodes-healthy": Case({"nodes-healthy": "validator-2 ended unasked"}, "", {"validator-2": "panic@20"}),
    "rejects-invalid": Case(
        {"rejects-invalid": "bad-signature accepted"},
        INVALID + "mix = { bad-signature = 1 }\n",
        dict.fromkeys((*validators(""), "executor-0"), "accept-bad-signature"),
    ),
    "recovery": Case({"recovery": "validator-1: caught up never"}, RESTART, {"validator-1": "stay-behind"}),
    "safety": Case({"safety": "validator-0 signed two blocks"}, TRAFFIC, {"validator-0": "sign-twice"}),
}


@pytest.mark.parametrize("name", WATCHED)
async def test_a_violation_ends_the_run(network: Network, name: str) -> None:
    case = WATCHED[name]
    options = {"catch_up_within": "8s"} if name == "recovery" else {}
    rest = case.rest + use(name, abort=True, **options)
    finished = await replace(case, rest=rest, duration="10m").run(network, "fail")
    assert finished.outcome.reason.startswith(f"ended early by {name}"), finished.outcome
