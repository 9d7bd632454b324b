"""Real networks whose nodes take, or do, what no ledger may: the right expectation says so, and only then."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from harness.errors import SpecError
from harness.plugin.registry import Registry
from harness.testing import Finished, run_playbook

pytestmark = [pytest.mark.anyio, pytest.mark.real]

PLAYBOOK = """
name = "judged"
duration = "{duration}"
seed = 11
chain = {{ use = "devnet", slot_duration = "80ms", active_slot_coeff = 0.5, security_param = 4{chain} }}
[topology]
layout = "full"
validators = 3
executors = 1
[wallets]
count = 8
[[workloads]]
use = "transactions"
rate = "10/s"
users = 4
[[workloads]]
use = "transactions.invalid"
rate = "40/s"
first_wallet = 4
users = 4
{invalid}
[[expectations]]
use = "balances-conserved"
patience = "5s"
"""
NODES = ("validator-0", "validator-1", "validator-2", "executor-0")
Judge = Callable[..., Awaitable[Finished]]


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Judge:
    monkeypatch.setenv("HARNESS_DEVNET_MISBEHAVE", "allowed")

    async def run(switch: str = "", invalid: str = "", duration: str = "4s") -> Finished:
        table = ", ".join(f'{name} = "{switch}"' for name in NODES)
        chain = f", misbehave = {{ {table} }}" if switch else ""
        playbook = PLAYBOOK.format(chain=chain, invalid=invalid, duration=duration)
        return await run_playbook(playbook, tmp_path / "runs", Registry(), deployer="process")

    return run


def verdicts(finished: Finished) -> dict[str, str]:
    return {name: state.verdict for name, state in finished.state.expectations.items()}


@pytest.mark.parametrize(
    ("switch", "mix", "failing", "shows"),
    [
        ("accept-bad-signature", "bad-signature", {"rejects-invalid", "invalid-never-included"}, "bad-signature"),
        ("accept-replay", "replay", {"rejects-invalid", "invalid-never-included"}, "replay"),
        ("include-invalid", "bad-signature", {"invalid-never-included"}, "included"),
        ("mint", "malformed", {"balances-conserved"}, "created"),
        ("negative-balance", "insufficient-funds", {"balances-conserved", "rejects-invalid"}, "below 0"),
    ],
)
async def test_a_broken_ledger_fails_by_the_right_expectation(
    judge: Judge, switch: str, mix: str, failing: set[str], shows: str
) -> None:
    finished = await judge(switch, f"mix = {{ {mix} = 1, truncated = 1 }}")
    judged = verdicts(finished)
    assert finished.outcome.exit_code == 1, finished.outcome
    assert {name for name in failing if judged[name] != "fail"} == set(), judged
    measured = " ".join(finished.state.expectations[name].measured for name in failing)
    assert shows in measured
    spared = {"rejects-invalid", "invalid-never-included"} - failing
    if switch in ("include-invalid", "mint"):
        assert {judged[name] for name in spared} == {"pass"}, judged
    if switch == "include-invalid":
        assert judged["balances-conserved"] == "pass"


async def test_the_same_network_unbroken_passes_with_every_kind(judge: Judge) -> None:
    finished = await judge(duration="6s")
    judged, told = verdicts(finished), {k: e.measured for k, e in finished.state.expectations.items()}
    sender = judged.pop("transaction-inclusion")  # a busy machine may have held up the sender, which is said then
    assert set(judged.values()) == {"pass"} and sender in ("pass", "unknown"), told
    kinds = finished.state.expectations["rejects-invalid"].evidence["kinds"]
    assert len(kinds) == 12 and all(set(counts) == {"rejected"} for counts in kinds.values()), kinds
    assert "supply" in finished.state.expectations["balances-conserved"].measured
    assert not (finished.directory.path / "invalid").exists()


async def test_what_was_accepted_is_kept_and_can_be_sent_again(judge: Judge) -> None:
    first = await judge("accept-bad-signature", "mix = { bad-signature = 1 }", "2s")
    kept = sorted((first.directory.path / "invalid").glob("*.json"))
    assert kept and json.loads(kept[0].read_text())["kind"] == "bad-signature"
    again = await judge("", f'replay = "{kept[0]}"', "2s")
    figures = again.state.expectations["rejects-invalid"].evidence["kinds"]
    assert figures == {"bad-signature": {"rejected": 1}}


async def test_nothing_sent_is_unknown(judge: Judge) -> None:
    finished = await judge("", 'mix = { truncated = 1 }\nmax_in_flight = 1\nnodes = "executor"', "10ms")
    judged = verdicts(finished)
    assert judged["invalid-never-included"] == "unknown"
    assert finished.outcome.exit_code == 2


async def test_kinds_that_the_chain_cannot_make_are_refused_in_plan(judge: Judge) -> None:
    with pytest.raises(SpecError, match="this chain can make no 'double-spend'"):
        await judge("", "mix = { double-spend = 1 }")
