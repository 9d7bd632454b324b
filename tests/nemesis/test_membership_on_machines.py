"""Who is in the network, on every deployer: leave, join and churn, seen from outside by the machine's processes."""

from __future__ import annotations

import sys

import pytest

from fleet.deployers import OnDocker, OnMachines, OnPlain, OnProcess, OnSystemd
from harness.api import FaultContext, FaultError
from harness.testing.contracts.bench import Bench, Net
from harness.testing.contracts.faults import BenchContext
from harness_nemesis.membership import Churn, Join, JoinConfig, Leave

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]
FIRST, OTHER = "member-0", "member-1"


def context(net: Net, target: str, absent: str = "") -> FaultContext:
    ctx = BenchContext(net, [target])
    ctx.absent = (absent,) if absent else ()
    return ctx


class MembershipContract(OnMachines):
    def is_there(self, bench: Bench) -> bool:
        """Whether the first node has a process."""
        return any(FIRST in one.arguments for one in self.of_node(bench))

    async def test_who_leaves_is_gone_and_who_joins_is_there(self, bench: Bench) -> None:
        async with bench.up(2) as net:
            leaves, joins = Leave(JoinConfig()), Join(JoinConfig())
            ctx = context(net, FIRST)
            assert self.is_there(bench)
            assert (await leaves.prove(ctx)).holds is False, "it has not left yet"
            for _ in range(2):
                await leaves.inject(ctx)
                assert (await leaves.prove(ctx)).holds is True
                assert not self.is_there(bench)
            for _ in range(2):
                await leaves.heal(ctx)
                assert (await leaves.prove_healed(ctx)).holds is True
                assert not self.is_there(bench), "who has left stays away"
            with pytest.raises(FaultError, match="is in the network already"):
                await joins.inject(context(net, FIRST))
            ctx = context(net, FIRST, absent=FIRST)
            for _ in range(2):
                await joins.inject(ctx)
                assert (await joins.prove(ctx)).holds is True
                assert self.is_there(bench)
            for _ in range(2):
                await joins.heal(ctx)
                assert (await joins.prove_healed(ctx)).holds is True
                assert self.is_there(bench)
        assert not net.lost

    async def test_one_leaves_and_another_comes_in_its_place(self, bench: Bench) -> None:
        async with bench.up(2) as net:
            await net.nodes[FIRST].stop()
            churn = Churn(JoinConfig())
            ctx = context(net, OTHER, absent=FIRST)
            for _ in range(2):
                await churn.inject(ctx)
                assert (await churn.prove(ctx)).holds is True
                assert self.is_there(bench)
                assert await net.nodes[OTHER].process_state() == "gone"
            await churn.heal(ctx)
            assert (await churn.prove_healed(ctx)).holds is True
        assert not net.lost

    async def test_who_came_and_died_is_not_told_as_being_there(self, bench: Bench) -> None:
        async with bench.up(2) as net:
            await net.nodes[FIRST].stop()
            churn = Churn(JoinConfig.model_validate({"catch_up": "5s"}))
            ctx = context(net, OTHER, absent=FIRST)
            await churn.inject(ctx)
            await net.nodes[FIRST].kill()
            assert not self.is_there(bench)
            assert (await churn.prove(ctx)).holds is False
            await churn.heal(ctx)

    async def test_nobody_to_come_is_told(self, bench: Bench) -> None:
        async with bench.up(2) as net:
            with pytest.raises(FaultError, match="there is no node to come in the place of member-0"):
                await Churn(JoinConfig()).inject(context(net, FIRST))
            assert self.is_there(bench)


class TestProcess(OnProcess, MembershipContract): ...


class TestDocker(OnDocker, MembershipContract): ...


class TestSystemd(OnSystemd, MembershipContract): ...


class TestPlain(OnPlain, MembershipContract): ...
