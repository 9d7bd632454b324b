"""The same variables, made into a connection by Ansible and by us: what it hands to ssh is what we come to."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.spec.connection import Connection
from harness.spec.inventory import Inventory

Ansible = Callable[..., str]

CASES: dict[str, dict[str, Any]] = {
    "silent": {},
    "localhost": {"ansible_connection": "ssh"},
    "address": {"ansible_host": "10.0.0.1", "ansible_port": 2222, "ansible_user": "me"},
    "older-names": {
        "ansible_host": "h1", "ansible_ssh_host": "h2", "ansible_port": 21, "ansible_ssh_port": "22",
        "ansible_user": "u1", "ansible_ssh_user": "u2", "ansible_private_key_file": "k1",
        "ansible_ssh_private_key_file": "k2", "ansible_timeout": 3, "ansible_ssh_timeout": 4,
    },
    "key": {"ansible_private_key_file": "~/.ssh/key"},
    "timeout": {"ansible_timeout": 3},
    "unchecked": {"ansible_host_key_checking": "no"},
    "checked-again": {"ansible_host_key_checking": False, "ansible_ssh_host_key_checking": "yes"},
    "arguments": {"ansible_ssh_common_args": "-o Port=9 -o User=common -i more", "ansible_ssh_extra_args": "-o Port=8"},
    "arguments-lose": {
        "ansible_port": 5, "ansible_user": "v", "ansible_private_key_file": "first", "ansible_timeout": 7,
        "ansible_ssh_common_args": "-o Port=6 -o User=c -o IdentityFile=second -o ConnectTimeout=8",
    },
    "arguments-win": {"ansible_port": 5, "ansible_ssh_args": "-o Port=6 -o ConnectTimeout=8", "ansible_timeout": 7},
    "timeout-of-common": {"ansible_ssh_common_args": "-o ConnectTimeout=8"},
    "strict": {"ansible_host_key_checking": False, "ansible_ssh_common_args": "-o StrictHostKeyChecking=yes"},
    "accept-new": {"ansible_ssh_common_args": "-o StrictHostKeyChecking=accept-new"},
    "jump": {"ansible_ssh_common_args": "-o ProxyJump=a,b -o ProxyCommand=none"},
    "become": {"ansible_become": "yes"},
    "become-somebody": {"ansible_become": True, "ansible_become_user": "a", "ansible_sudo_user": "b"},
    "become-by": {"ansible_become": 1, "ansible_become_exe": "/opt/a", "ansible_sudo_exe": "/opt/b"},
    "not-become": {"ansible_become": "off", "ansible_become_user": "a"},
}  # fmt: skip


@pytest.fixture(scope="module")
def handed_over(ansible: Ansible, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[str]]]:
    """An inventory of all cases, and the arguments that Ansible gives to ssh for each."""
    folder = tmp_path_factory.mktemp("connections")
    hostvars: dict[str, dict[str, Any]] = {}
    for case, variables in CASES.items():
        ssh = folder / f"ssh-{case}"
        ssh.write_text(f"#!/bin/sh\nprintf '%s\\0' \"$@\" > '{folder}/{case}.argv'\nexit 255\n")
        ssh.chmod(0o755)
        hostvars[case] = {**variables, "ansible_ssh_executable": str(ssh)}
    listing = {"cases": {"hosts": list(CASES)}, "_meta": {"hostvars": hostvars}}
    inventory = folder / "inventory"
    inventory.write_text(f"#!/bin/sh\nexec cat '{folder}/listing.json'\n")
    inventory.chmod(0o755)
    (folder / "listing.json").write_text(json.dumps(listing))
    ansible("ansible", "-i", inventory, "all", "-m", "raw", "-a", "true", check=False)
    argv = {case: (folder / f"{case}.argv").read_text().split("\0")[:-1] for case in CASES}
    return inventory, argv


def options(argv: list[str]) -> dict[str, list[str]]:
    """Every option that is given, with its values in their order: the first is the one that ssh takes."""
    found: dict[str, list[str]] = {}
    letters = {"-i": "IdentityFile", "-J": "ProxyJump"}
    for flag, value in itertools.pairwise(argv):
        if flag == "-o":
            name, _, text = value.partition("=")
            found.setdefault(name, []).append(text.strip('"'))
        elif flag in letters:
            found.setdefault(letters[flag], []).append(value)
    return found


@pytest.mark.parametrize("case", CASES)
def test_ssh_is_told_the_same(handed_over: tuple[Path, dict[str, list[str]]], case: str) -> None:
    path, arguments = handed_over
    argv = arguments[case]
    *_, host, command = argv
    told = options(argv)
    variables = {
        name: origin.value
        for name, origin in Inventory.read(path).variables(case).items()
        if name != "ansible_ssh_executable"  # the only one that we refuse
    }
    ours = Connection.of(case, variables)
    assert (ours.kind, ours.host) == ("ssh", host)
    assert ([str(ours.port)] if ours.port else []) == told.get("Port", [])[:1]
    assert ([ours.user] if ours.user else []) == told.get("User", [])[:1]
    assert list(map(str, ours.keys)) == [str(Path(key).expanduser()) for key in told.get("IdentityFile", [])]
    assert f"{ours.connect_timeout:.0f}" == told["ConnectTimeout"][0]
    strict = told.get("StrictHostKeyChecking", ["yes"])[0]
    assert ours.host_keys == {"yes": "check", "no": "off", "accept-new": "accept-new"}[strict]
    jumps = ",".join(jump.host for jump in ours.proxy_jump or ())
    assert ([jumps] if jumps else []) == told.get("ProxyJump", [])
    assert (f"{ours.become_exe} -H -S -n  -u {ours.become_user} " in command) == ours.become == ("-H -S" in command)
