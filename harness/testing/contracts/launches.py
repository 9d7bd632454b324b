"""All that a chain writes for a network, as one digest: in this process, and in others.

python -m harness.testing.contracts.launches WHAT      prints the digest of what `asked` gives"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from harness.plugin.contract.chain import Chain, Launch, Network, NetworkSpec, NodeSite, PeerAddress
from harness.plugin.contract.machine import Address, Facts
from harness.spec.model import TopologySpec, WalletsSpec
from harness.spec.topology import NodeSpec, build_topology
from harness.testing.contracts.elsewhere import described, remade

GENESIS = 1_800_000_000.0
"""Unix seconds."""
WALLETS = WalletsSpec(4, 1_000_000)
ROOT = PurePosixPath("/srv/run")


def network_of(chain: Chain[Any], roles: Mapping[str, int], seed: int) -> Network:
    """A network of so many nodes of each role, each linked with each."""
    topology = build_topology(TopologySpec("full", roles), random.Random(seed))
    return chain.network(NetworkSpec("run", seed, topology, WALLETS, GENESIS))


def site_of(chain: Chain[Any], network: Network, node: NodeSpec, facts: Facts) -> NodeSite:
    """Somewhere for a node."""
    topology, info = network.spec.topology, chain.roles[node.role]
    ports = {port: 20_000 + 10 * node.index + number for number, port in enumerate(info.ports)}
    return NodeSite(
        node=node,
        directory=ROOT / node.name,
        bind="127.0.0.1",
        advertise="127.0.0.1",
        ports=ports,
        dials=tuple(
            PeerAddress(topology.node(link.dst), Address("127.0.0.1", 30_000 + topology.node(link.dst).index))
            for link in topology.links
            if link.src == node.name
        ),
        artifacts={artifact.name: ROOT / "artifacts" / artifact.name for artifact in chain.artifacts(facts)},
        python="python3",
    )


def launches_of(chain: Chain[Any], network: Network, facts: Facts) -> dict[str, Launch]:
    """Of all nodes, by name."""
    nodes = network.spec.topology.nodes
    return {node.name: network.launch(site_of(chain, network, node, facts)) for node in nodes}


def digest(launches: Mapping[str, Launch]) -> str:
    """SHA-256 of every byte and word of them."""
    found = hashlib.sha256()
    for name, launch in sorted(launches.items()):
        files = [(str(file.path), file.content.hex(), file.mode) for file in launch.files]
        found.update(repr((name, launch.argv, files, sorted(launch.env.items()), launch.stop_signal)).encode())
    return found.hexdigest()


def asked(chain: Chain[Any], roles: Mapping[str, int], seed: int, facts: Facts) -> str:
    """What another process is to make the digest of."""
    architecture = {"system": facts.system, "architecture": facts.architecture}
    return json.dumps({"chain": described(chain), "roles": dict(roles), "seed": seed, **architecture})


def main(what: str) -> None:
    asked = json.loads(what)
    chain: Chain[Any] = remade(asked["chain"])
    facts = Facts("elsewhere", asked["system"], "0", asked["architecture"], "3.11.0", 1, 2**30, 2**30)
    launches = launches_of(chain, network_of(chain, asked["roles"], asked["seed"]), facts)
    sys.stdout.write(digest(launches))
