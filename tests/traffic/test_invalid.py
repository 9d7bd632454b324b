from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from harness.api import BrokenAnswer, NodeSpec, PlanView, Receipt, Transaction, Unreachable, UsageError
from harness_traffic.findings import read
from harness_traffic.invalid import InvalidTransactions
from harness_traffic.transactions import Transactions
from tests.observe.fakes import FakeClient, FakeFactory
from tests.observe.world import World

pytestmark = pytest.mark.anyio
MakeWorld = Callable[..., World]


def workload(**options: Any) -> InvalidTransactions:
    return InvalidTransactions(InvalidTransactions.Config(**{"rate": "10/s", "users": 3, "first_wallet": 5, **options}))


def plan(**changes: Any) -> PlanView:
    values: dict[str, Any] = {
        "roles": {"validator": 1},
        "nodes": (NodeSpec("validator-0", "validator", 0, 0),),
        "wallets": 10,
        "duration": 60.0,
        "block_interval": 2.0,
        "invalid_kinds": frozenset({"replay", "random"}),
    }
    return PlanView(**{**values, **changes})


def test_options_are_checked_against_the_plan(tmp_path: Path) -> None:
    assert workload().check(plan()) == ()
    assert "can make no 'wrong-nonce'; it makes random, replay" in workload(mix={"wrong-nonce": 1}).check(plan())[0]
    assert "nothing would be sent" in workload(rate=0).check(plan())[0]
    assert "there are 6 wallets" in workload().check(plan(wallets=6))[0]
    assert "must refuse" in workload().check(plan(invalid_kinds=frozenset()))[0]
    assert "of random, replay" in workload().describe(plan())
    assert [default.use for default in workload().expectations()] == ["rejects-invalid", "invalid-never-included"]
    with pytest.raises(ValidationError, match="there are no inputs"):
        workload(replay=str(tmp_path))
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ValidationError, match="is no kept input"):
        workload(replay=str(tmp_path))
    (tmp_path / "x.json").write_text("[" * 100_000)
    with pytest.raises(ValidationError, match="is no kept input"):
        workload(replay=str(tmp_path))


Answer = Callable[[FakeClient, Transaction], Receipt]


@pytest.fixture
async def world(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> tuple[World, list[Transaction], list[Answer]]:
    """A network whose factory makes `random`, and whose nodes refuse that, unless an answer is given."""
    world, sent, answers = make_world(), [], []  # type: ignore[var-annotated]
    world.component = "transactions.invalid"
    world.chain = SimpleNamespace(invalid_kinds=frozenset({"random", "replay", "duplicate-in-batch"}))  # type: ignore[assignment]
    plain = FakeClient.submit

    def invalid(self: FakeFactory, kind: str, sender: int, settled: Transaction | None = None) -> Transaction:
        if kind == "replay":
            assert settled is not None
            return settled
        return Transaction(f"bad-{self.rng.getrandbits(32):x}", self.rng.randbytes(8), sender)

    def make(self: FakeFactory, sender: int) -> Transaction:
        made = maker(self, sender)
        return Transaction(
            made.id, json.dumps([made.id, sender, made.nonce]).encode(), sender, made.nonce, made.effects
        )

    async def submit(self: FakeClient, transaction: Transaction) -> Receipt:
        sent.append(transaction)
        if transaction.id.startswith("bad"):
            return answers[0](self, transaction) if answers else Receipt(False, transaction.id, "bad")
        id, sender, nonce = json.loads(transaction.payload)
        effects = {"wallet-0": 0}
        return await plain(self, Transaction(id, transaction.payload, sender, nonce, effects))

    maker = FakeFactory.make
    monkeypatch.setattr(FakeFactory, "invalid", invalid, raising=False)
    monkeypatch.setattr(FakeFactory, "make", make)
    monkeypatch.setattr(FakeClient, "submit", submit)
    return world, sent, answers


def marks(world: World) -> dict[str, int]:
    return dict(world.tracker("invalid:transactions.invalid").summary().marks)


Stage = tuple[World, list[Transaction], list[Answer]]


async def test_every_kind_is_offered_at_its_rate_and_refused(world: Stage) -> None:
    network, _, _ = world
    async with network.live():
        await network.drive(workload(), 40)
        await network.blocks(5)
    found = marks(network)
    assert set(found) == {"random rejected", "replay rejected", "duplicate-in-batch rejected"}
    assert all(count > 50 for count in found.values()), found
    originals = network.tracker("originals:transactions.invalid").summary()
    assert originals.accepted == originals.offered == originals.included > 0
    assert not (network.run_dir / "invalid").exists()
    assert set(network.network.unwanted.values()) == {0, 1}


@pytest.mark.parametrize(("mix", "mark"), [({"random": 1, "replay": 1}, "replay unsent"), ({}, "replay left-out")])
async def test_a_kind_of_which_none_was_sent_is_entered(world: Stage, mix: dict[str, float], mark: str) -> None:
    """Nothing is final in a second: there is nothing to be replayed."""
    network, _, _ = world
    async with network.live():
        await network.drive(workload(mix=mix), 1)
    assert marks(network)[mark] == 1
    assert "random unsent" not in marks(network)


async def test_the_mix_decides_and_the_seed_what_is_sent(world: Stage) -> None:
    network, sent, _ = world
    async with network.live():
        await network.drive(workload(mix={"random": 1}), 5)
        first, sent[:] = list(sent), []
        await network.drive(workload(mix={"random": 1}), 5)
    assert len(first) == 50
    assert [each.payload for each in first] == [each.payload for each in sent]


def accept(client: FakeClient, transaction: Transaction) -> Receipt:
    return Receipt(True, transaction.id)


def break_down(client: FakeClient, transaction: Transaction) -> Receipt:
    raise BrokenAnswer("status 500")


def say_nothing(client: FakeClient, transaction: Transaction) -> Receipt:
    raise Unreachable("no answer")


def refuse_mutely(client: FakeClient, transaction: Transaction) -> Receipt:
    return Receipt(False, transaction.id)


@pytest.mark.parametrize(
    ("answer", "mark"), [(accept, "accepted"), (break_down, "broken"), (say_nothing, "unanswered")]
)
async def test_what_was_not_refused_is_kept_and_sent_again(world: Stage, answer: Answer, mark: str) -> None:
    network, sent, answers = world
    answers.append(answer)
    async with network.live():
        await network.drive(workload(mix={"random": 1}), 1)
        assert marks(network) == {f"random {mark}": 10}
        kept = read(network.run_dir / "invalid")
        assert {each.payload for each in kept} == {each.payload for each in sent}
        assert any("was not refused" in warning for warning in network.warnings)
        sent.clear()
        answers[:] = []
        await network.drive(workload(replay=str(network.run_dir / "invalid")), 20)
    assert [each.payload for each in sent] == [each.payload for each in kept]
    assert marks(network)["random rejected"] == 10


async def test_a_refusal_without_a_reason_is_told_apart(world: Stage) -> None:
    network, _, answers = world
    answers.append(refuse_mutely)
    async with network.live():
        await network.drive(workload(mix={"random": 1}), 1)
    assert marks(network) == {"random unexplained": 10}


async def test_a_node_under_a_fault_is_not_blamed(world: Stage) -> None:
    network, _, answers = world
    answers.append(say_nothing)
    for name in network.nodes:
        network.faults.windows[name] = [(0.0, None)]
    async with network.live():
        await network.drive(workload(mix={"random": 1}), 1)
    assert marks(network) == {"random disturbed": 10}
    assert not (network.run_dir / "invalid").exists()


async def test_one_that_turns_up_in_a_block_is_kept(world: Stage) -> None:
    network, sent, _ = world
    async with network.live():
        await network.drive(workload(mix={"random": 1}), 1)
        network.make_block()
        head = network.nodes["validator-0"].script.head
        network.bodies[head.hash] = (sent[3].id,)
        await network.blocks(1)
    (kept,) = (network.run_dir / "invalid").glob("*.json")
    document = json.loads(kept.read_text())
    assert base64.b64decode(document["payload"]) == sent[3].payload
    assert document["included"] == head.hash


async def test_wallets_of_others_are_left_alone(world: Stage) -> None:
    network, _, _ = world
    network.component = "transactions"
    await Transactions(Transactions.Config(users=6)).prepare(network)
    network.component = "transactions.invalid"
    with pytest.raises(UsageError, match="would be used by transactions as well"):
        await workload().prepare(network)
