"""The way to a machine that leads through another one is there still when nothing else passes between the two."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from harness.api import CUT, Access, DeployRequest, Flow, HostSpec, Link, MachineCapability, NodeSpec, PlannedNode
from harness.testing.fakes import FakeChain, FakeChainConfig
from harness_ssh.deployer import SshConfig, SshDeployer

pytestmark = [pytest.mark.anyio, pytest.mark.real]

DIAL = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 1.0)
except OSError as error:
    print(type(error).__name__)
"""
NOBODY, CUT_OFF = "ConnectionRefusedError", "TimeoutError"


async def test_a_jump_host_is_a_node(ssh_hosts_plain: Any, tmp_path: Path) -> None:
    with ssh_hosts_plain.lease(2) as (first, second):
        config = tmp_path / "ssh_config"
        config.write_text(f"Host 127.0.0.1\n  IdentityFile {first.key}\n")
        behind = dataclasses.replace(second, ssh_host=second.address, ssh_port=22).variables()
        behind["ansible_ssh_common_args"] += f" -o ProxyJump=root@{first.ssh_host}:{first.ssh_port}"
        hosts = (
            HostSpec(first.name, first.variables()),
            HostSpec(second.name, {**behind, "harness_host_keys": "off"}),
        )
        nodes = tuple(
            PlannedNode(NodeSpec(name, "v", number, number), hosts[number], ("p2p", "api"), "p2p")
            for number, name in enumerate("ab")
        )
        needs = frozenset({MachineCapability.LINK_CONTROL})
        links = (Link("a", "b"), Link("b", "a"))
        request = DeployRequest("run", tmp_path, nodes, links, FakeChain(FakeChainConfig()), Access(), needs)
        options = {"links": "nft", "ssh_config": config, "lease": "15s", "keepalive": "1s"}
        async with SshDeployer(SshConfig.model_validate(options)).deploy(request) as deployment:

            async def dialled(link: Link) -> str:
                machine, to = deployment.placements[link.src].machine, deployment.link_address(link)
                done = await machine.run((machine.python, "-c", DIAL, to.host, str(to.port)))
                return done.stdout.decode().strip()

            for cut in (NOBODY, CUT_OFF, NOBODY):
                shapes = {Flow("a", "b"): CUT, Flow("b", "a"): CUT} if cut == CUT_OFF else {}
                await deployment.shape_links(shapes)
                for link in links:
                    assert await dialled(link) == cut
            assert b"harness" not in first.exec("nft", "list", "tables").stdout
