"""How a host is reached: what each variable means, which of several counts, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import SpecError
from harness.spec.connection import VARIABLES, Connection, kind_of
from harness.spec.inventory import Inventory
from harness.spec.inventory_toml import read_groups
from harness.spec.model import SourceRef
from harness.spec.ssh_arguments import JumpHost, SshOptions
from harness.spec.toml_document import TomlDocument

COMMON = "ansible_ssh_common_args"


def said(variables: dict[str, Any], host: str = "h") -> list[str]:
    with pytest.raises(SpecError) as error:
        Connection.of(host, variables)
    return [str(problem).removeprefix(f"host {host}: ") for problem in error.value.problems]


def test_a_host_that_says_nothing() -> None:
    assert Connection.of("node01", {}) == Connection("node01", "ssh", "node01", address="node01")


@pytest.mark.parametrize(
    ("host", "connection", "kind"),
    [
        ("node01", None, "ssh"),
        ("localhost", None, "local"),
        ("127.0.0.1", None, "local"),
        ("::1", None, "local"),
        ("localhost", "ssh", "ssh"),
        ("h", "local", "local"),
        ("h", "ansible.builtin.ssh", "ssh"),
        ("h", "smart", "ssh"),
        ("h", "ansible.builtin.paramiko_ssh", "ssh"),
        ("h", "community.docker.docker", "docker"),
        ("h", "community.docker.docker_api", "docker"),
        ("h", "winrm", "winrm"),
        ("h", "mine.docker", "mine.docker"),
    ],
)
def test_kinds(host: str, connection: str | None, kind: str) -> None:
    assert kind_of(host, connection) == kind
    assert Connection.of(host, {"ansible_connection": connection} if connection else {}).kind == kind


@pytest.mark.parametrize(
    ("variables", "field", "value"),
    [
        ({"ansible_host": "10.0.0.1"}, "host", "10.0.0.1"),
        ({"ansible_host": ""}, "host", "h"),
        ({"ansible_host": "10.0.0.1"}, "address", "10.0.0.1"),
        ({"ansible_host": "10.0.0.1", "harness_address": "192.168.0.1"}, "address", "192.168.0.1"),
        ({"ansible_port": "2222"}, "port", 2222),
        ({"ansible_user": "root"}, "user", "root"),
        ({"ansible_ssh_private_key_file": "~/k"}, "keys", (Path.home() / "k",)),
        ({"ansible_private_key_file": "a", COMMON: "-i b"}, "keys", (Path("a"), Path("b"))),
        ({"ansible_timeout": 3}, "connect_timeout", 3.0),
        ({"ansible_host_key_checking": "no"}, "host_keys", "off"),
        ({COMMON: "-o StrictHostKeyChecking=accept-new"}, "host_keys", "accept-new"),
        ({COMMON: "-o StrictHostKeyChecking=yes", "ansible_host_key_checking": False}, "host_keys", "off"),
        ({"ansible_host_key_checking": False, "harness_host_keys": "check"}, "host_keys", "check"),
        ({"ansible_host_key_checking": True, COMMON: "-o StrictHostKeyChecking=no"}, "host_keys", "off"),
        ({"ansible_become": "yes"}, "become", True),
        ({"ansible_become": 0}, "become", False),
        ({"ansible_become_user": "node"}, "become_user", "node"),
        ({"ansible_become_exe": "/usr/local/bin/sudo"}, "become_exe", "/usr/local/bin/sudo"),
        ({"ansible_become_method": "ansible.builtin.sudo"}, "become", False),
        ({"ansible_python_interpreter": "auto_silent"}, "python", None),
        ({"ansible_python_interpreter": "/usr/bin/python3.9"}, "python", "/usr/bin/python3.9"),
        ({"harness_api": "direct"}, "api", "direct"),
        ({COMMON: "-o UserKnownHostsFile=/dev/null"}, "known_hosts", (Path("/dev/null"),)),
        ({COMMON: "-F none"}, "config_file", Path("/dev/null")),
        ({COMMON: "-o ServerAliveInterval=0"}, "keepalive", 0.0),
        ({COMMON: "-o IdentitiesOnly=yes"}, "identities_only", True),
        ({COMMON: "-J bastion", "ansible_ssh_extra_args": "-J other"}, "proxy_jump", (JumpHost("bastion"),)),
        ({COMMON: '-o ProxyCommand="ssh -W %h:%p -q me@gate"'}, "proxy_command", "ssh -W %h:%p -q me@gate"),
        ({"ansible_ssh_args": "-o Port=1", "ansible_port": 2, COMMON: "-o Port=3"}, "port", 1),
        ({"ansible_port": 2, COMMON: "-o Port=3"}, "port", 2),
        ({COMMON: "-o Port=3", "ansible_ssh_extra_args": "-p 4"}, "port", 3),
    ],
)  # fmt: skip
def test_meanings(variables: dict[str, Any], field: str, value: object) -> None:
    assert getattr(Connection.of("h", variables), field) == value


def test_secrets_are_not_shown() -> None:
    variables = {"ansible_password": "canary-pw", "ansible_become_pass": {"env": "X"}, "harness_key_passphrase": 123456}
    connection = Connection.of("h", variables)
    assert "canary-pw" not in repr(connection)
    assert connection.password is not None
    assert connection.password.reveal() == "canary-pw"
    assert connection.key_passphrase is not None
    assert connection.key_passphrase.reveal() == "123456"
    assert connection.become_password is not None


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"ansible_host": 3}, "ansible_host: must be text, not 3"),
        ({"ansible_host": "-oProxyCommand=x"}, "ansible_host: must be a name without blanks that does not begin with a "
                                               'hyphen, not "-oProxyCommand=x"'),
        ({"ansible_user": "a b"}, 'ansible_user: must be a name without blanks that does not begin with a hyphen, '
                                  'not "a b"'),
        ({"ansible_port": 70000}, "ansible_port: must be a port, from 1 to 65535, not 70000"),
        ({"ansible_port": True}, "ansible_port: must be a port, from 1 to 65535, not true"),
        ({"ansible_timeout": "soon"}, 'ansible_timeout: must be a number of seconds, at least 1, not "soon"'),
        ({"ansible_become": "perhaps"}, 'ansible_become: must be true or false, not "perhaps"'),
        ({"ansible_become": []}, "ansible_become: must be true or false, not a list"),
        ({"ansible_become_method": "su"}, "ansible_become_method: must be sudo, the only way to become somebody else "
                                          'that harness has, not "su"'),
        ({"ansible_become_flags": "-E"}, "ansible_become_flags: is not understood: harness gives sudo its own flags"),
        ({"ansible_private_key": "PEM"}, "ansible_private_key: is not understood: harness reads keys from files: "
                                         "ansible_ssh_private_key_file"),
        ({"ansible_private_key_file": "a\0b"}, "ansible_private_key_file: 'a\\x00b' is no path"),
        ({"harness_api": "tunnle"}, 'harness_api: must be tunnel or direct, not "tunnle"; did you mean "tunnel"?'),
        ({"harness_host_keys": "no"}, 'harness_host_keys: must be check or accept-new or off, not "no"'),
        ({"ansible_host": "{{ inventory_hostname }}.example"},
         "ansible_host: is a template; inventories are taken as they are, so write what it stands for"),
        ({"ansible_connection": ["ssh"]}, "ansible_connection: must be text, not a list"),
        ({COMMON: 3}, f"{COMMON}: must be text, not 3"),
        ({COMMON: "-o 'x"}, f"{COMMON}: cannot be split into words as a shell would: no closing quotation"),
        ({COMMON: "bastion"}, f'{COMMON}: "bastion" is no option; options begin with a hyphen'),
        ({COMMON: "-o"}, f"{COMMON}: -o lacks its value"),
        ({COMMON: "-o Port"}, f'{COMMON}: -o "Port" sets nothing; write -o Key=value'),
        ({COMMON: "-o Port=x"}, f'{COMMON}: Port: "x" is no port; one is a number from 1 to 65535'),
        ({COMMON: "-J -evil"}, f'{COMMON}: ProxyJump: "-evil" is no jump host; write [user@]host[:port]'),
        ({COMMON: "-o IdentitiesOnly=maybe"}, f'{COMMON}: IdentitiesOnly: "maybe" is neither yes nor no'),
        ({COMMON: "-D 8080"}, f"{COMMON}: -D is not understood (understood: -o, -J, -i, -p, -l, -F, "
                              "-A, -C, -K, -T, -X, -Y, -a, -k, -n, -q, -t, -v, -x, -y)"),
        ({COMMON: "-o ProxyJmp=x"},
         f'{COMMON}: the option ProxyJmp is not understood; did you mean "ProxyJump"?'),
        ({COMMON: "-o FowardAgent=yes"},
         f'{COMMON}: the option FowardAgent is not understood; did you mean "ForwardAgent"?'),
        ({COMMON: "-o HostKeyAlias=other"},
         f"{COMMON}: the option HostKeyAlias is not understood; understood: ProxyJump, ProxyCommand, "
         "StrictHostKeyChecking, UserKnownHostsFile, IdentityFile, IdentitiesOnly, Port, User, ConnectTimeout, "
         "ServerAliveInterval"),
    ],
)  # fmt: skip
def test_problems(variables: dict[str, Any], problem: str) -> None:
    assert said(variables) == [problem]


def test_names_that_are_no_addresses_need_one() -> None:
    assert said({}, "-x") == [
        'inventory_hostname: must be a name without blanks that does not begin with a hyphen, not "-x"'
    ]
    assert Connection.of("a b", {"ansible_host": "10.0.0.1"}).host == "10.0.0.1"
    assert Connection.of("a b", {"ansible_connection": "docker"}).host == "a b"


def test_problems_are_where_the_variable_is_written() -> None:
    text = "[g]\nhosts = ['h']\n[g.vars]\nansible_port = 0\n[all.vars]\nharness_api = 'x'\n"
    document = TomlDocument.parse(text, "i.toml")
    variables = Inventory.of("i.toml", *read_groups(document), document).variables("h", {"ansible_become": "x"})
    with pytest.raises(SpecError) as error:
        Connection.of("h", {k: o.value for k, o in variables.items()}, {k: o.where for k, o in variables.items()})
    assert [str(problem).partition(": must")[0] for problem in error.value.problems] == [
        "-e: ansible_become",
        "i.toml:4:1: ansible_port",
        "i.toml:6:1: harness_api",
    ]


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("bastion", (JumpHost("bastion"),)),
        ("me@bastion:2222", (JumpHost("bastion", 2222, "me"),)),
        ("a@corp@bastion", (JumpHost("bastion", None, "a@corp"),)),
        ("one,[2001:db8::1]:22", (JumpHost("one"), JumpHost("2001:db8::1", 22))),
        ("ssh://me@bastion:22", (JumpHost("bastion", 22, "me"),)),
        ("none", ()),
    ],
)
def test_jump_hosts(text: str, hosts: tuple[JumpHost, ...]) -> None:
    assert SshOptions.parse(f"-o ProxyJump={text}").proxy_jump == hosts
    assert SshOptions.parse(f"-J{text} -o ProxyCommand=ignored") == SshOptions(proxy_jump=hosts)


def test_what_changes_nothing_is_passed_over() -> None:
    text = "-C -o ControlMaster=auto -oControlPersist=60s -qT -o 'LogLevel ERROR' -v"
    assert SshOptions.parse(text) == SshOptions()


words = st.text(max_size=6)
values = st.none() | st.booleans() | st.integers() | st.floats() | words | st.lists(words, max_size=2)


@given(st.text(max_size=8), st.dictionaries(st.sampled_from(sorted(VARIABLES)), values))
def test_nothing_makes_a_traceback(host: str, variables: dict[str, Any]) -> None:
    try:
        connection = Connection.of(host, variables)
    except SpecError as error:
        assert error.problems
        return
    assert not connection.host.startswith("-") or connection.kind != "ssh"


def test_sources_of_places() -> None:
    with pytest.raises(SpecError) as error:
        Connection.of("h", {"ansible_port": 0}, {"ansible_port": SourceRef("x.toml", 1, 2)})
    assert str(error.value).startswith("x.toml:1:2: ansible_port: ")


@pytest.mark.parametrize(
    "text", ["-o ForwardAgent=yes", "-A", "-ACt", "-o sendenv=LANG -o RekeyLimit='1G 1h'", "-o HashKnownHosts=no -X"]
)
def test_what_ssh_itself_is_told_changes_nothing(text: str) -> None:
    assert Connection.of("h", {COMMON: text}) == Connection.of("h", {})
