"""Keys, genesis and config: the right bytes, and the same ones again."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.api import Network, NodeSite
from harness_cometbft import files
from harness_cometbft.chain import CometBFT, CometConfig
from harness_cometbft.keys import Key

MakeNetwork = Callable[..., Network]
SiteOf = Callable[[Network, str], NodeSite]

# RFC 8032, section 7.1, test 1.
RFC_SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
RFC_PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")


def written(network: Network, site: NodeSite) -> dict[str, bytes]:
    return {str(file.path): file.content for file in network.launch(site).files}


def config_of(network: Network, site: NodeSite) -> dict[str, dict[str, object]]:
    return tomllib.loads(written(network, site)["config/config.toml"].decode())


def test_key_of_a_known_seed() -> None:
    key = Key.from_seed(RFC_SEED)
    assert key.public == RFC_PUBLIC
    assert key.node_id == hashlib.sha256(RFC_PUBLIC).hexdigest()[:40]
    assert key.validator_address == key.node_id.upper()
    private = json.loads(key.node_key_file())["priv_key"]
    assert private["type"] == "tendermint/PrivKeyEd25519"
    assert base64.b64decode(private["value"]) == RFC_SEED + RFC_PUBLIC


def test_derived_keys_differ_by_everything_that_they_derive_from() -> None:
    keys = [Key.derive(1, "node", "a"), Key.derive(2, "node", "a"), Key.derive(1, "validator", "a")]
    keys += [Key.derive(1, "node", "b"), Key.derive(1, "nodea", "")]
    assert len({key.public for key in keys}) == len(keys)


def test_derived_keys_stay_what_they_are() -> None:
    assert Key.derive(7, "node", "validator-0").node_id == "00939129a90965fad201e70750fea372e3221559"


@pytest.mark.parametrize("node", ["validator-0", "full-0"])
def test_the_binary_reads_our_keys_as_we_do(
    cometbft: Path, tmp_path: Path, make_network: MakeNetwork, site_of: SiteOf, node: str
) -> None:
    network = make_network()
    for path, content in written(network, site_of(network, node)).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)

    def say(command: str) -> str:
        argv = [cometbft, command, "--home", tmp_path]
        return subprocess.run(argv, capture_output=True, check=True, text=True).stdout.strip()

    assert say("show-node-id") == Key.derive(7, "node", node).node_id
    assert json.loads(say("show-validator")) == Key.derive(7, "validator", node).public_json()


def test_the_same_spec_and_site_give_the_same_bytes(make_network: MakeNetwork, site_of: SiteOf) -> None:
    first, second = make_network(), make_network()
    for node in first.spec.topology.nodes:
        assert first.launch(site_of(first, node.name)) == second.launch(site_of(second, node.name))


def test_another_seed_gives_other_keys(make_network: MakeNetwork, site_of: SiteOf) -> None:
    first, second = make_network(seed=1), make_network(seed=2)
    ours, theirs = (written(each, site_of(each, "full-0")) for each in (first, second))
    assert {path for path in ours if ours[path] != theirs[path]} == {
        "config/genesis.json",
        "config/config.toml",
        "config/node_key.json",
        "config/priv_validator_key.json",
    }


def test_private_keys_are_not_for_other_users(make_network: MakeNetwork, site_of: SiteOf) -> None:
    network = make_network()
    modes = {file.path.name: file.mode for file in network.launch(site_of(network, "validator-0")).files}
    assert modes["node_key.json"] == modes["priv_validator_key.json"] == 0o600


def test_genesis_has_the_validators_with_their_power(make_network: MakeNetwork, site_of: SiteOf) -> None:
    network = make_network(config={"powers": {"validator-2": 25}}, run_id="run-42", genesis_time=1.5)
    genesis = json.loads(written(network, site_of(network, "full-0"))["config/genesis.json"])
    assert {each["name"]: each["power"] for each in genesis["validators"]} == {
        "validator-0": "10",
        "validator-1": "10",
        "validator-2": "25",
        "validator-3": "10",
    }
    assert genesis["chain_id"] == "run-42"
    assert genesis["genesis_time"] == "1970-01-01T00:00:01.500000Z"
    assert [network.power(node) for node in network.spec.topology.nodes] == [10, 10, 25, 10, 0]


def test_every_node_has_the_same_genesis(make_network: MakeNetwork, site_of: SiteOf) -> None:
    network = make_network()
    names = [node.name for node in network.spec.topology.nodes]
    assert len({written(network, site_of(network, name))["config/genesis.json"] for name in names}) == 1


def test_long_run_ids_become_chain_ids_that_fit_and_differ() -> None:
    long = ["2026-01-31T12-00-00-" + "ä" * 40 + end for end in "xy"]
    short = [files.chain_id(each) for each in long]
    assert all(len(each.encode()) <= 50 for each in short)
    assert short[0] != short[1]
    assert files.chain_id("a" * 50) == "a" * 50


def test_config_names_exactly_the_links_of_the_topology(make_network: MakeNetwork, site_of: SiteOf) -> None:
    network = make_network("star")
    hub, leaf = (config_of(network, site_of(network, name))["p2p"] for name in ("validator-0", "full-0"))
    hub_id = Key.derive(7, "node", "validator-0").node_id
    assert hub["persistent_peers"] == ""
    assert len(str(hub["unconditional_peer_ids"]).split(",")) == 4
    assert leaf["persistent_peers"] == f"{hub_id}@10.0.0.1:1000"
    assert leaf["unconditional_peer_ids"] == hub_id
    assert hub["pex"] is False


def test_config_has_ports_timeouts_and_options(make_network: MakeNetwork, site_of: SiteOf) -> None:
    network = make_network(config={"timeout_commit": "250ms", "timeout_propose": "2s", "mempool_size": 9})
    config = config_of(network, site_of(network, "validator-1"))
    assert config["p2p"]["laddr"] == "tcp://0.0.0.0:1001"
    assert config["rpc"]["laddr"] == "tcp://0.0.0.0:2001"
    assert config["consensus"]["timeout_commit"] == "250ms"
    assert config["consensus"]["timeout_propose"] == "2000ms"
    assert config["mempool"]["size"] == 9


def test_toml_survives_awkward_text() -> None:
    awkward = 'quote " backslash \\ newline \n bell \x07 del \x7f smile 😀'
    assert tomllib.loads(files.toml({"": {"text": awkward}, "s": {"n": 1, "b": True}}).decode()) == {
        "text": awkward,
        "s": {"n": 1, "b": True},
    }


def test_timing_follows_timeout_commit(make_network: MakeNetwork) -> None:
    network = make_network(config={"timeout_commit": "2s"})
    interval = CometBFT(CometConfig.model_validate({"timeout_commit": "2s"})).timing.block_interval
    assert 2.0 < interval < 2.2
    assert network.promised_blocks(100.0, 100.0 + 10 * interval) == pytest.approx(10)


def test_check_names_what_is_wrong(make_network: MakeNetwork) -> None:
    nodes = make_network().spec.topology
    wallets = make_network().spec.wallets
    assert CometBFT(CometConfig(powers={"validator-3": 1})).check(nodes, wallets) == []
    (problem,) = CometBFT(CometConfig(powers={"full-0": 1})).check(nodes, wallets)
    assert "full-0" in problem
