"""What inventories say of nodes that run already, and what is made of it before anything is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.api import Address, Adoption, HostSpec, MachineCapability, RoleInfo, SourceRef, UsageError
from harness.cli.exec import exec_
from harness.engine.adoption import adoption_of, allowed
from harness.engine.plan import Plan, resolve_file
from harness.engine.target import choose_target
from harness.errors import SpecError
from harness.plugin.registry import Registry
from harness.spec.inventory import Inventory
from harness.spec.playbook import PlaybookFile, load_playbook
from harness.spec.toml_document import TomlDocument

ROLE = RoleInfo("votes", votes=True)
API = {"api": "10.0.0.7:9000"}


def read(**variables: Any) -> Adoption | None:
    places = {name: SourceRef("lab.toml", 7, 3) for name in variables}
    return adoption_of(HostSpec("n1", variables, places), ROLE)


def complaint(**variables: Any) -> str:
    with pytest.raises(SpecError) as raised:
        read(**variables)
    text = str(raised.value)
    assert all(line.startswith("lab.toml:7:3: ") for line in text.splitlines())
    return text


def test_hosts_that_say_nothing_are_not_adopted() -> None:
    assert read() is None
    assert read(unit="x.service", pid_file="not even a path") is None  # variables of somebody else's tool
    assert read(manage="deploy", unit="x") is None


def test_endpoints_alone_are_no_machine() -> None:
    adoption = read(manage="adopt", endpoints=API)
    assert adoption is not None
    assert adoption.endpoints == {"api": Address("10.0.0.7", 9000)}
    assert not adoption.has_machine
    assert allowed(adoption) == frozenset()


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("example.org:80", Address("example.org", 80)),
        ("http://example.org:80/", Address("example.org", 80)),
        ("tcp://127.0.0.1:26657", Address("127.0.0.1", 26657)),
        ("[2001:db8::1]:80", Address("2001:db8::1", 80)),
        (26657, Address("192.0.2.4", 26657)),
    ],
)
def test_endpoints_are_addresses_urls_or_ports_of_the_host_itself(written: Any, address: Address) -> None:
    adoption = read(manage="adopt", endpoints={"api": written}, ansible_connection="ssh", ansible_host="192.0.2.4")
    assert adoption is not None
    assert adoption.endpoints["api"] == address


def test_a_port_alone_is_as_the_machine_reaches_itself_through_a_tunnel() -> None:
    common = {
        "manage": "adopt",
        "unit": "x",
        "endpoints": {"api": 80},
        "ansible_connection": "ssh",
        "ansible_host": "h",
    }
    tunnelled, direct = read(**common), read(**common, harness_api="direct")
    assert tunnelled is not None
    assert direct is not None
    assert tunnelled.endpoints["api"] == Address("127.0.0.1", 80)
    assert direct.endpoints["api"] == Address("h", 80)


def test_units_are_services_and_may_be_controlled_pid_files_can_be_suspended_and_work() -> None:
    unit = read(manage="adopt", endpoints=API, unit="devnet-v0", control=True)
    assert unit is not None
    assert unit.unit == "devnet-v0.service"
    assert allowed(unit) == {MachineCapability.NODE_CONTROL, MachineCapability.PAUSE, MachineCapability.COMMANDS}
    pid = read(manage="adopt", endpoints=API, pid_file="/run/x.pid", control="yes", log="/var/log/x.log")
    assert pid is not None
    assert allowed(pid) == {MachineCapability.PAUSE, MachineCapability.COMMANDS}
    looked_at = read(manage="adopt", endpoints=API, unit="devnet@v0.service")
    assert looked_at is not None
    assert allowed(looked_at) == frozenset()


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"manage": "adopted"}, 'manage: must be "adopt" or "deploy", not "adopted"; did you mean "adopt"?'),
        ({"manage": True}, 'manage: must be "adopt" or "deploy", not true'),
        ({"manage": "adopt"}, "endpoints: is missing: where an adopted node listens must be said; write endpoints = {"),
        ({"manage": "adopt", "endpoint": API}, 'it is written "endpoint" here'),
        (
            {"manage": "adopt", "endpoints": "h:1"},
            'endpoints: must be a table, not "h:1"; write endpoints = { api = "h:1" }',
        ),
        (
            {"manage": "adopt", "endpoints": {"apy": "h:1"}},
            'endpoints.apy: is no port of this node; did you mean "api"?',
        ),
        ({"manage": "adopt", "endpoints": {"p2p": "h:1"}}, 'endpoints: lacks "api"'),
        ({"manage": "adopt", "endpoints": {"api": "h"}}, 'endpoints.api: lacks its port: "h"'),
        ({"manage": "adopt", "endpoints": {"api": "h:0"}}, "endpoints.api: must have a port from 1 to 65535, not 0"),
        ({"manage": "adopt", "endpoints": {"api": "h:99999"}}, "must have a port from 1 to 65535"),
        ({"manage": "adopt", "endpoints": {"api": "https://h:1"}}, "nodes are spoken to in plain HTTP"),
        ({"manage": "adopt", "endpoints": {"api": "http://h:1/rpc"}}, 'must be "host:port" and no more'),
        ({"manage": "adopt", "endpoints": {"api": "u:p@h:1"}}, 'must be "host:port" and no more'),
        ({"manage": "adopt", "endpoints": {"api": "h\n:1"}}, 'must be "host:port"'),
        ({"manage": "adopt", "endpoints": {"api": True}}, "not true"),
        ({"manage": "adopt", "endpoints": API, "unit": "--all"}, "unit: must be the name of a systemd unit"),
        ({"manage": "adopt", "endpoints": API, "unit": "a b"}, "unit: must be the name of a systemd unit"),
        ({"manage": "adopt", "endpoints": API, "unit": "x.timer"}, "unit: must be a service, not a timer"),
        ({"manage": "adopt", "endpoints": API, "pid_file": "x.pid"}, "pid_file: must be an absolute path"),
        ({"manage": "adopt", "endpoints": API, "unit": "x", "pid_file": "/x"}, "pid_file: stands beside unit"),
        ({"manage": "adopt", "endpoints": API, "log": "/x"}, "log: needs a machine"),
        ({"manage": "adopt", "endpoints": API, "control": True}, "control: needs a machine"),
        ({"manage": "adopt", "endpoints": API, "unit": "x", "control": "perhaps"}, "control: must be true or false"),
    ],
)
def test_what_is_wrong_is_told_at_its_place(variables: dict[str, Any], text: str) -> None:
    assert text in complaint(**variables)


def test_all_that_is_wrong_is_told_at_once() -> None:
    assert len(complaint(manage="adopt", unit="a b", log="x", control="perhaps").splitlines()) == 4


PLAYBOOK = """
name = "x"
chain = "devnet"
duration = "60s"
[topology]
layout = "full"
validators = 2
executors = 1
{more}
[[expectations]]
use = "no-forks"
"""
CHAOS = '[[workloads]]\nuse = "chaos.restart"\n'


def plan(more: str = "") -> Plan:
    file = PlaybookFile(TomlDocument.parse(PLAYBOOK.format(more=more), "playbook.toml"))
    return resolve_file(file, Registry())[0]


def inventory(tmp_path: Path, text: str) -> Inventory:
    path = tmp_path / "lab.toml"
    path.write_text(text)
    return Inventory.read(path)


ADOPTED = """
[nodes.hosts]
a = {}
b = {}
c = {}
[nodes.vars]
manage = "adopt"
endpoints = { api = 9000 }
"""


def test_an_adopted_host_holds_one_node_whatever_the_roles(tmp_path: Path) -> None:
    target = choose_target(Registry(), inventory(tmp_path, ADOPTED))
    assert {node.spec.name: node.host.name for node in target.place(plan())} == {
        "validator-0": "a", "validator-1": "b", "executor-0": "c",
    }  # fmt: skip
    with pytest.raises(
        UsageError, match=r"asks for 1 node of the role executor, and there are too few hosts .*: a, b;"
    ):
        choose_target(Registry(), inventory(tmp_path, ADOPTED.replace("c = {}\n", ""))).place(plan())


def test_a_run_deploys_its_network_or_adopts_one(tmp_path: Path) -> None:
    mixed = """
[validators.hosts]
a = {}
b = {}
[validators.vars]
manage = "adopt"
endpoints = { api = 1 }
[executors.hosts]
localhost = {}
"""
    with pytest.raises(
        UsageError, match="validator-0 is to be adopted on a, and executor-0 to be deployed on localhost"
    ):
        choose_target(Registry(), inventory(tmp_path, mixed)).place(plan())


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ("", "endpoints alone do not give"),
        (
            'unit = "x"\nansible_connection = "local"',
            "the inventory does not allow on its adopted node: control = true",
        ),
        ('pid_file = "/x"\ncontrol = true\nansible_connection = "local"', "a pid file does not give"),
    ],
)
async def test_faults_that_are_not_allowed_are_refused_in_plan(tmp_path: Path, variables: str, why: str) -> None:
    target = choose_target(Registry(), inventory(tmp_path, ADOPTED + variables))
    with pytest.raises(SpecError, match=why) as raised:
        await target.check(plan(CHAOS))
    assert f"{tmp_path}/lab.toml:3:1: " in str(raised.value)
    assert "chaos.restart needs node-control" in str(raised.value)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("step", "variables", "why"),
    [
        (
            'run = ["true"]',
            "",
            "needs commands, which the inventory does not allow on its adopted node: control = true",
        ),
        ('run = ["true"]', "control = true", ""),
        ('fault = "cpu-stress"\nhold = "1s"', "control = true", ""),
        ('fault = "clock-skew"\nahead = "1h"\nhold = "1s"', "control = true", "needs launch, which cannot be had of"),
        (
            'fault = "upgrade"\narguments = ["-v"]\nhold = "1s"',
            "control = true",
            "how it is started is not the harness",
        ),
    ],
)
async def test_commands_are_run_where_control_is_allowed_and_nobody_elses_node_is_launched_otherwise(
    tmp_path: Path, step: str, variables: str, why: str
) -> None:
    text = ADOPTED + f'unit = "x"\nansible_connection = "local"\n{variables}'
    target = choose_target(Registry(), inventory(tmp_path, text))
    asked = plan(f'[[steps]]\nat = "1s"\ntargets = "all"\n{step}\n')
    if why:
        with pytest.raises(SpecError, match=why):
            await target.check(asked)
    else:
        await target.check(asked)


@pytest.mark.anyio
async def test_faults_need_control_of_their_targets_alone(tmp_path: Path) -> None:
    text = ADOPTED + 'unit = "x"\nansible_connection = "local"'
    text = text.replace("a = {}", "a = { control = true }").replace("b = {}", "b = { control = true }")
    target = choose_target(Registry(), inventory(tmp_path, text))
    await target.check(plan(CHAOS + 'targets = "validators"\n'))
    with pytest.raises(SpecError, match="host c: chaos.restart needs node-control"):
        await target.check(plan(CHAOS + 'targets = "executor-0"\n'))


def test_the_example_is_as_the_quickstart_needs_it() -> None:
    root = Path(__file__).parents[2]
    example = root / "inventories" / "adopt-example.toml"
    target = choose_target(Registry(), Inventory.read(example))
    quickstart = resolve_file(load_playbook(root / "playbooks" / "quickstart.toml"), Registry())[0]
    assert [node.host.name for node in target.place(quickstart)] == [f"node0{i}" for i in range(1, 6)]
    assert example.read_text().split("\n\n")[1] in (root / "docs" / "adopting.md").read_text()


@pytest.mark.anyio
async def test_control_that_is_allowed_passes_the_plan(tmp_path: Path) -> None:
    text = ADOPTED + 'unit = "x"\ncontrol = true\nansible_connection = "local"'
    nodes = await choose_target(Registry(), inventory(tmp_path, text)).check(plan(CHAOS))
    assert [node.adoption is not None and node.adoption.control for node in nodes] == [True] * 3


def test_hosts_that_are_no_machines_need_no_deployer(tmp_path: Path) -> None:
    beside = (
        '[validators.hosts.a]\nmanage = "adopt"\nendpoints = { api = "h:1" }\n[executors.hosts.b]\nmanage = "adopt"\n'
    )
    alone = choose_target(Registry(), inventory(tmp_path, beside))
    assert alone.deployer.name == "adopt"
    one_machine = beside + 'unit = "x"\nansible_connection = "local"\n'
    assert choose_target(Registry(), inventory(tmp_path, one_machine)).deployer.name == "process"


def test_nothing_is_run_on_hosts_that_are_no_machines(tmp_path: Path) -> None:
    path = tmp_path / "lab.toml"
    path.write_text(ADOPTED)
    refused = CliRunner().invoke(exec_, ["all", "-i", str(path), "--", "true"], standalone_mode=False)
    assert isinstance(refused.exception, UsageError)
    assert "a, b, c: adopted by endpoints alone" in str(refused.exception)
    path.write_text(ADOPTED.replace("b = {}", 'b = { unit = "x", ansible_connection = "local" }'))
    done = CliRunner().invoke(exec_, ["all", "-i", str(path), "--", "echo", "here"], standalone_mode=False)
    assert "a: left out" in done.output
    assert [line for line in done.output.splitlines() if line.endswith("here")] == ["b: here"]
