"""Inventories: Ansible's precedence, where each variable came from, and what is wrong with broken ones.

The expected values for racks.toml are those that ansible-inventory 2.x gives for the same file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import SpecError, UsageError
from harness.spec.deployer_choice import deployer_name, deployer_use
from harness.spec.inventory import Inventory
from harness.spec.inventory_toml import read_groups
from harness.spec.inventory_views import as_graph, as_list
from harness.spec.model import PluginUse, SourceRef
from harness.spec.toml_document import TomlDocument

RACKS = Path(__file__).parent / "samples" / "racks.toml"


def read(text: str) -> Inventory:
    document = TomlDocument.parse(text, "i.toml")
    return Inventory.of("i.toml", *read_groups(document), document)


def said(text: str) -> list[str]:
    with pytest.raises(SpecError) as error:
        read(text)
    return [str(problem) for problem in error.value.problems]


def test_hosts_and_groups() -> None:
    racks = Inventory.read(RACKS)
    assert racks.hosts == (
        "loner", "node01", "node02", "node03", "node04", "node05", "node06", "relay", "exec-a", "exec-b", "exec-c",
    )  # fmt: skip
    assert list(racks.groups) == ["all", "ungrouped", "validators", "rack1", "rack2", "odd", "executors", "rack3"]
    assert racks.hosts_of("validators") == racks.hosts[1:8]
    assert racks.hosts_of("all")[:4] == ("loner", "node01", "node03", "node05")  # its children's, then theirs
    assert sorted(racks.hosts_of("all")) == sorted(racks.select("all")) == sorted(racks.hosts)
    assert racks.hosts_of("ungrouped") == ("loner",)
    assert racks.groups_of("node01") == ("all", "odd", "validators", "rack1")
    assert racks.select("validators:&odd:!node03") == ("node01", "node05")


def test_each_variable_with_the_place_it_came_from() -> None:
    variables = Inventory.read(RACKS).variables("node02", {"port": 9})
    assert {name: (origin.value, origin.source.removeprefix(f"{RACKS}:")) for name, origin in variables.items()} == {
        "user": ("all", "2:1 [group all]"),
        "depth": ("host", "16:26 [host]"),
        "zone": ("z", "13:27 [group rack1]"),
        "kind": ("own", "16:12 [host]"),
        "port": (9, "-e"),
    }
    assert variables["zone"].where == SourceRef(str(RACKS), 13, 27)
    assert variables["zone"].path == ("rack1", "vars", "zone")


def test_list_is_what_ansible_inventory_prints() -> None:
    node = {"user": "all", "port": 1}
    rack1 = node | {"depth": "rack1", "zone": "z", "kind": "range"}
    execs = {"user": "all", "depth": "all"}
    assert as_list(Inventory.read(RACKS)) == {
        "_meta": {
            "hostvars": {
                "loner": {"user": "all", "depth": "all"},
                "node01": rack1,
                "node02": rack1 | {"depth": "host", "kind": "own"},
                "node03": rack1,
                "node04": node | {"depth": "rack2"},
                "node05": node | {"depth": "rack2", "zone": "odd", "kind": "odd"},
                "node06": node | {"depth": "rack2"},
                "relay": node | {"depth": "rack2", "ansible_port": 2222},
                "exec-a": execs,
                "exec-b": execs,
                "exec-c": execs,
            }
        },
        "all": {"children": ["ungrouped", "validators", "odd", "executors"]},
        "ungrouped": {"hosts": ["loner"]},
        "validators": {"children": ["rack1", "rack2"]},
        "rack1": {"hosts": ["node01", "node02", "node03"]},
        "rack2": {"hosts": ["node04", "node05", "node06", "relay"]},
        "odd": {"hosts": ["node01", "node03", "node05"]},
        "executors": {"children": ["rack3"]},
        "rack3": {"hosts": ["exec-a", "exec-b", "exec-c"]},
    }


def test_graph_is_what_ansible_inventory_prints() -> None:
    racks = Inventory.read(RACKS)
    assert as_graph(racks)[:8] == [
        "@all:", "  |--@ungrouped:", "  |  |--loner", "  |--@validators:", "  |  |--@rack1:", "  |  |  |--node01",
        "  |  |  |--node02", "  |  |  |--node03",
    ]  # fmt: skip
    assert as_graph(racks, "odd", variables=True)[:4] == [
        "@odd:", "  |--node01", '  |  |--{depth = "rack1"}', '  |  |--{kind = "range"}',
    ]  # fmt: skip
    with pytest.raises(UsageError, match=r'no group "od"; did you mean "odd"\?'):
        as_graph(racks, "od")


def test_the_nearest_group_wins_then_priority_then_the_name() -> None:
    text = '[a]\nchildren = ["deep"]\nvars = {v = "a"}\n[deep]\nhosts = {h = {}}\nvars = {v = "deep"}\n'
    text += '[z]\nhosts = {h = {}}\nvars = {v = "z", ansible_group_priority = 9, w = "z"}\n'
    text += '[b]\nhosts = {h = {}}\nvars = {w = "b", x = "b"}\n[c]\nhosts = {h = {}}\nvars = {x = "c"}\n'
    values = {name: origin.value for name, origin in read(text).variables("h").items()}
    assert values == {"v": "deep", "w": "z", "x": "c"}


def test_ports_behind_names() -> None:
    inventory = read("[g]\nhosts = ['a:1', 'n[1:2]:22', '[2001:db8::1]:3', '2001:db8::2', 'a:1']\n")
    ports = {host: inventory.variables(host).get("ansible_port") for host in inventory.hosts}
    assert {host: port and port.value for host, port in ports.items()} == {
        "a": 1, "n1": 22, "n2": 22, "2001:db8::1": 3, "2001:db8::2": None,
    }  # fmt: skip
    assert inventory.select("2001:db8::2") == ("2001:db8::2",)


def test_children_may_be_tables_with_groups_in_them() -> None:
    inventory = read(
        '[top.children.inner.hosts]\nh = { a = 1 }\n[top.children.other]\n[other]\nhosts = ["i", "j[1:2]"]\n'
    )
    assert inventory.hosts_of("top") == ("h", "i", "j1", "j2")
    assert inventory.groups_of("h") == ("all", "top", "inner")


def test_a_host_of_another_group_is_not_ungrouped() -> None:
    inventory = read('[ungrouped]\nhosts = ["a", "b"]\n[g]\nhosts = ["b"]\n')
    assert inventory.hosts_of("ungrouped") == ("a",)
    assert inventory.hosts == ("a", "b")


def test_implicit() -> None:
    inventory = Inventory.implicit()
    assert inventory.hosts == inventory.select("all") == ("localhost",)
    assert inventory.variables("localhost")["ansible_connection"].source == "implicit localhost [host]"
    assert deployer_name(inventory) == "process"


def test_unknown_names() -> None:
    racks = Inventory.read(RACKS)
    with pytest.raises(UsageError) as error:
        racks.variables("node1")
    assert str(error.value).startswith(f'{RACKS}: no host "node1"; did you mean "node01"? (hosts: loner, node01')
    with pytest.raises(UsageError) as error:
        racks.select("rak1")
    assert str(error.value).startswith(f'{RACKS}: host pattern "rak1": "rak1" matches no group and no host; did you')


def test_variable_names() -> None:
    assert read("[g]\nhosts = {h = {a = 1}}\nvars = {b = 1}\n").variable_names() == {"a", "b"}


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("x = 3", ["i.toml:1:1: x: must be a group (a table), not 3; "
                   "write [x.hosts] for a group, [all.vars] for variables of all hosts"]),
        ("[g.host]\nh = {}", ['i.toml:1:4: g.host: unknown key; did you mean "hosts"? (known: hosts, children, vars)']),
        ("[g]\nhosts = 3", ["i.toml:2:1: g.hosts: must be a table of hosts, not 3; write [g.hosts]"]),
        ("[g]\nhosts = [3]", ["i.toml:2:10: g.hosts[0]: must be a host's name, not 3"]),
        ("[g.hosts]\nh = 3",
         ["i.toml:2:1: g.hosts.h: must be a table of variables, not 3; a host without variables is written name = {}"]),
        ('[g.hosts]\n"n[4:1]" = {}', ['i.toml:2:1: g.hosts."n[4:1]": [4:1] is empty: 4 comes after 1']),
        ("[g]\nhosts = ['n', 'n:22']",
         ["i.toml:2:15: g.hosts[1]: n is written before, without this port; write n = { ansible_port = 22 }"]),
        ("[g]\nvars = 3", ["i.toml:2:1: g.vars: must be a table of variables, not 3"]),
        ('[g]\nchildren = "x"', ['i.toml:2:1: g.children: must be a list of groups, not "x"; write children = ["x"]']),
        ("[g]\nchildren = [3]", ["i.toml:2:13: g.children[0]: must be a group's name, not 3"]),
        ('[g]\nchildren = ["rak"]\n[rack]\n',
         ['i.toml:2:13: g.children[0]: there is no group "rak"; did you mean "rack"? (groups: rack)']),
        ('[g]\nchildren = ["all"]\n[all]\n',
         ["i.toml:2:13: g.children[0]: all is the parent of every group, so it is no child"]),
        ('[a]\nchildren = ["b"]\n[b]\nchildren = ["c"]\n[c]\nchildren = ["a"]\n',
         ["i.toml:2:13: a.children[0]: groups are children of each other in a circle: a → b → c → a"]),
        ('[a]\nchildren = ["a"]\n',
         ["i.toml:2:13: a.children[0]: groups are children of each other in a circle: a → a"]),
        ('[a.vars]\nansible_group_priority = "high"\n',
         ['i.toml:2:1: a.vars.ansible_group_priority: must be a whole number, not "high"']),
        ("x = 1\n[g]\nhosts = 2\nvars = 3", [
            "i.toml:1:1: x: must be a group (a table), not 1; "
            "write [x.hosts] for a group, [all.vars] for variables of all hosts",
            "i.toml:3:1: g.hosts: must be a table of hosts, not 2; write [g.hosts]",
            "i.toml:4:1: g.vars: must be a table of variables, not 3"]),
    ],
)  # fmt: skip
def test_problems(text: str, problems: list[str]) -> None:
    assert said(text) == problems


words = st.sampled_from(["all", "ungrouped", "a", "b", "n[1:3]", "n[", "n[2:1]", "h:22", "hosts", "children", "vars"])
junk: st.SearchStrategy[Any] = st.recursive(
    st.integers() | words | st.just({}),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(words, junk, max_size=4))
def test_nothing_that_is_written_makes_a_traceback(table: dict[str, Any]) -> None:
    document = TomlDocument("i.toml", "", table)
    try:
        inventory = Inventory.of("i.toml", *read_groups(document), document)
    except SpecError as error:
        assert error.problems
        return
    assert set(inventory.select("all")) == set(inventory.hosts_of("all")) == set(inventory.hosts)
    assert as_graph(inventory, variables=True)[0] == "@all:"
    assert set(as_list(inventory)["_meta"]["hostvars"]) <= set(inventory.hosts)


@pytest.mark.parametrize(
    ("text", "deployer"),
    [
        ("[all]\nhosts = ['h']", "ssh"),
        ("[all]\nhosts = ['localhost']", "process"),
        ("[all]\nhosts = ['localhost']\nvars = {ansible_connection = 'ansible.builtin.ssh'}", "ssh"),
        ("[all]\nhosts = ['h']\nvars = {ansible_connection = 'local'}", "process"),
        ("[all]\nhosts = ['h']\nvars = {ansible_connection = 'ssh'}", "ssh"),
        ("[all]\nhosts = ['h']\nvars = {ansible_connection = 'docker', harness_deployer = 'mine'}", "mine"),
        ("", "process"),
    ],
)
def test_deployer_name(text: str, deployer: str) -> None:
    assert deployer_name(read(text)) == deployer


def test_extra_chooses_the_deployer() -> None:
    assert deployer_name(Inventory.read(RACKS), {"harness_deployer": "docker"}) == "docker"


def test_deployer_options_have_a_place() -> None:
    use = deployer_use(read("[all]\nhosts = ['h', 'i']\n[all.vars.harness_deployer_config]\nrelay = true\n"))
    path = ("all", "vars", "harness_deployer_config")
    assert use == PluginUse("ssh", "ssh", {"relay": True}, SourceRef("i.toml", 2, 10), path)
    use = deployer_use(read("[all]\nhosts = ['h']\n[all.vars]\nharness_deployer = 'docker'\n"))
    assert (use.use, use.where) == ("docker", SourceRef("i.toml", 4, 1))


def test_only_hosts_within_the_limit_choose_the_deployer() -> None:
    inventory = read("[all]\nhosts = ['localhost', 'far']\n")
    assert deployer_name(inventory, limit="far") == "ssh"
    assert deployer_name(inventory, limit="all:!far") == "process"
    with pytest.raises(UsageError, match="--limit"):
        deployer_name(inventory)


def test_hosts_have_places() -> None:
    inventory = read("[all]\nhosts = ['loose']\n[a]\nhosts = [\n  'n[1:2]',\n]\n")
    assert [inventory.where(host) for host in ("loose", "n2")] == [
        SourceRef("i.toml", 2, 10),
        SourceRef("i.toml", 5, 3),
    ]
    assert Inventory.implicit().where("localhost") == SourceRef("implicit localhost")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a]\nhosts = ['h']\nvars = {ansible_connection = 'docker'}\n[b]\nhosts = ['i']\n",
         'i.toml: hosts disagree about harness_deployer: h has "docker" (i.toml:3:9 [group a]), '
         'i has "ssh" (so it is without ansible_connection); '
         "a run has one deployer: give all the same, or choose hosts with --limit"),
        ("[a.hosts]\nh = {harness_deployer_config = {x = 1}}\ni = {}\n",
         "i.toml: hosts disagree about harness_deployer_config: h has a table (i.toml:2:6 [host]), "
         "i has a table (no variable says so); "
         "a run has one deployer: give all the same, or choose hosts with --limit"),
        ("[a.hosts]\nh = {harness_deployer = 3}\n",
         "i.toml:2:6 [host]: harness_deployer must be a deployer's name, not 3"),
        ("[a.hosts]\nh = {harness_deployer_config = 3}\n",
         "i.toml:2:6 [host]: harness_deployer_config must be a table, not 3"),
        ("[a.hosts]\nh = {ansible_connection = 'winrm'}\n",
         'i.toml:2:6 [host]: no deployer is known for ansible_connection = "winrm"; write one of local, ssh, '
         "smart, paramiko, paramiko_ssh, docker, docker_api, or name the deployer: harness_deployer"),
        ("[a.hosts]\nh = {ansible_connection = ['ssh']}\n",
         "i.toml:2:6 [host]: no deployer is known for ansible_connection = a list; write one of local, ssh, "
         "smart, paramiko, paramiko_ssh, docker, docker_api, or name the deployer: harness_deployer"),
    ],
)  # fmt: skip
def test_deployer_problems(text: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        deployer_use(read(text))
    assert str(error.value) == message
