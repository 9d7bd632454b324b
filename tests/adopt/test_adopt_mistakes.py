"""Networks that are not the one that a playbook means, and nodes that are not there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.api import Address, Chain, NetworkSpec, Unreachable, Unsupported, UsageError, WalletsSpec
from harness.errors import ExitCode
from harness.testing import run_playbook
from harness_devnet.adopting import AdoptedDevnet, timing_of
from harness_devnet.chain import Devnet

pytestmark = [pytest.mark.anyio, pytest.mark.real]


def asked(net: Any, **changes: Any) -> NetworkSpec:
    """What a playbook that fits this network asks for, but for the changes."""
    return replace(NetworkSpec("r", 5, net.network.spec.topology, WalletsSpec(6, 10_000), 0.0), **changes)


async def adopt(net: Any, spec: NetworkSpec, **apis: Address) -> AdoptedDevnet:
    chain: Chain[Any] = Devnet(Devnet.Config())
    network = await chain.adopt(spec, net.apis | {name.replace("_", "-"): api for name, api in apis.items()})
    assert isinstance(network, AdoptedDevnet)
    return network


async def test_the_network_is_as_it_says_not_as_the_options(testnet: Callable[..., Any]) -> None:
    net = testnet(options={"stakes": {"validator-1": 3}, "active_slot_coeff": 0.25})
    network = await adopt(net, asked(net))
    assert network.genesis == net.network.genesis
    assert timing_of(network.genesis).block_interval == pytest.approx(0.8)
    assert [network.power(node) for node in net.nodes] == [1, 3, 0]
    assert network.other_power == 0
    assert [wallet.address for wallet in network.wallets] == [wallet.address for wallet in net.network.wallets]
    start = network.genesis.time / 1e6
    assert network.promised_blocks(start, start + 1000) == net.network.promised_blocks(start, start + 1000)
    with pytest.raises(Unsupported):
        network.launch(None)  # type: ignore[arg-type]


async def test_members_that_are_no_nodes_of_the_run_keep_their_power_and_go_by_their_keys(
    testnet: Callable[..., Any],
) -> None:
    net = testnet({"validator": 3, "executor": 1}, options={"stakes": {"validator-2": 5}})
    some = replace(
        net.network.spec.topology, nodes=tuple(n for n in net.nodes if n.name in ("validator-0", "executor-0"))
    )
    # What the playbook calls validator-0 is validator-1 of its network.
    apis = {"validator-0": net.apis["validator-1"], "executor-0": net.apis["executor-0"]}
    network = await Devnet(Devnet.Config()).adopt(asked(net, topology=some), apis)
    assert network.other_power == 1 + 5
    client = network.client(some.node("executor-0"), net.apis["executor-0"])
    members = {member.name: member for member in net.network.genesis.members}
    outsiders = {members[name].key[:16] for name in ("validator-0", "validator-2")}
    try:
        proposers = set()
        async for header in client.follow(0):
            proposers.add(header.proposer)
            if len(proposers) > 1 or header.height > 20:
                break
        assert proposers <= {"validator-0"} | outsiders
        assert await client.peers() <= {"validator-0"} | outsiders
    finally:
        await client.aclose()


async def test_wallets_must_be_those_of_the_networks_genesis(testnet: Callable[..., Any]) -> None:
    net = testnet({"validator": 1})
    with pytest.raises(UsageError, match=r"genesis has no wallets of the seed 6: .*--seed"):
        await adopt(net, asked(net, seed=6))
    with pytest.raises(UsageError, match=r"has 6 of the 9 wallets of the seed 5: write count = 6 in \[wallets\]"):
        await adopt(net, asked(net, wallets=WalletsSpec(9, 10_000)))
    with pytest.raises(
        UsageError, match=r"began with 10000, and the playbook wants 20000 in each: write balance = 10000"
    ):
        await adopt(net, asked(net, wallets=WalletsSpec(6, 20_000)))
    assert (await adopt(net, asked(net, seed=6, wallets=WalletsSpec(0)))).wallets == ()
    poorer = await adopt(net, asked(net, wallets=WalletsSpec(2, 10)))
    assert [wallet.balance for wallet in poorer.wallets] == [10_000, 10_000]


async def test_nodes_must_be_of_one_network_and_be_what_the_playbook_says(testnet: Callable[..., Any]) -> None:
    net, other = testnet({"validator": 1, "executor": 1}), testnet({"validator": 1})
    with pytest.raises(UsageError, match=r"executor-0 .* is of another network than validator-0 .*: its genesis is"):
        await adopt(net, asked(net), executor_0=other.apis["validator-0"])
    with pytest.raises(UsageError, match="executor-0 .* and validator-0 .* are one and the same node, 'validator-0'"):
        await adopt(net, asked(net), executor_0=net.apis["validator-0"])
    swapped = {"validator_0": net.apis["executor-0"], "executor_0": net.apis["validator-0"]}
    with pytest.raises(
        UsageError, match="is 'executor-0', an executor of its network, and the playbook has a validator"
    ):
        await adopt(net, asked(net), **swapped)
    with pytest.raises(Unreachable, match="executor-0: 127.0.0.1:1: "):
        await adopt(net, asked(net), executor_0=Address("127.0.0.1", 1))


PLAYBOOK = """
name = "x"
chain = "devnet"
duration = "2s"
[topology]
layout = "full"
validators = 1
[[expectations]]
use = "no-forks"
"""


async def test_a_node_that_does_not_run_is_not_started(testnet: Callable[..., Any], tmp_path: Path) -> None:
    net = testnet({"validator": 1})
    inventory = net.by_pid_files(control=True)
    net.processes["validator-0"].kill()
    net.processes["validator-0"].wait()
    finished = await run_playbook(PLAYBOOK, tmp_path / "runs", inventory=inventory)
    assert finished.outcome.exit_code is ExitCode.INFRASTRUCTURE
    net.start()
    net.pid_file("validator-0").write_text(str(2**22 - 1))
    finished = await run_playbook(PLAYBOOK, tmp_path / "runs", inventory=inventory)
    assert finished.outcome.exit_code is ExitCode.INFRASTRUCTURE
    assert "which it names, is gone; the harness adopts nodes that run" in finished.outcome.reason
    assert f"{net.folder}/inventory.toml:" in finished.outcome.reason


async def test_a_mistake_is_told_as_one(testnet: Callable[..., Any], tmp_path: Path) -> None:
    net = testnet({"validator": 1})
    text = PLAYBOOK.replace("[[exp", "[wallets]\ncount = 3\n[[exp").replace('name = "x"', 'name = "x"\nseed = 9')
    finished = await run_playbook(text, tmp_path / "runs", inventory=net.endpoints_alone())
    assert finished.outcome.exit_code is ExitCode.USAGE
    assert "no wallets of the seed 9" in finished.outcome.reason
