"""The command that brings a person to a node's host: OpenSSH's own client goes where the harness does."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from harness.api import Connection
from harness_ssh.reach import ssh_command


def there(words: Sequence[str], *command: str) -> str:
    """What a command says there, pasted into a shell as a person would."""
    pasted = f"{shlex.join(words)} {shlex.join(command)}"
    done = subprocess.run(["sh", "-c", pasted], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.real
@pytest.mark.anyio
async def test_a_node_is_reached_by_what_its_placement_says(kit: Any) -> None:
    async with kit.deploy("a") as deployment:
        place = deployment.placements["a"]
        await place.machine.put(b"it is here", place.directory / "note")
        found = await anyio.to_thread.run_sync(there, place.reach, "cat", str(place.directory / "note"))
    assert found == "it is here"


@pytest.mark.real
def test_jump_hosts_keys_and_odd_file_names(make_sshd: Any, new_key: Any, tmp_path: Path) -> None:
    target, near = make_sshd("target"), make_sshd("near")
    key, known = new_key("a key"), tmp_path / "known hosts"
    for each in (target, near):
        each.authorized.write_text(each.authorized.read_text() + each.public(key))
    known.write_text("".join(each.known_hosts.read_text() for each in (target, near)))
    config = tmp_path / "config"
    config.write_text(f'Host *\n UserKnownHostsFile "{known}"\n IdentityFile "{key}"\n')
    user = target.variables()["ansible_user"]
    said = target.connection(
        ansible_ssh_private_key_file=str(key),
        ansible_ssh_common_args=f"-F {config} -J {user}@127.0.0.1:{near.port} -o IdentitiesOnly=yes",
    )
    assert there(ssh_command(said), "echo", "hello") == "hello\n"
    assert "Accepted" in (near.folder / "log").read_text()


@pytest.mark.real
def test_a_proxy_command_and_keys_that_nobody_checks(sshd: Any, tmp_path: Path) -> None:
    said = sshd.connection(
        ansible_ssh_common_args="-F /dev/null -o 'ProxyCommand=nc %h %p'"
        f" -o StrictHostKeyChecking=no -o UserKnownHostsFile={tmp_path / 'nothing'}"
    )
    words = ssh_command(said)
    assert "ProxyCommand=nc %h %p" in words and "StrictHostKeyChecking=no" in words


def test_what_the_inventory_leaves_open_is_left_to_ssh() -> None:
    assert ssh_command(Connection.of("db1", {})) == ("ssh", "db1")
    said = Connection.of("db1", {"ansible_host": "10.0.0.7", "ansible_port": 2222, "ansible_user": "admin"})
    assert ssh_command(said) == ("ssh", "-p", "2222", "admin@10.0.0.7")


def test_no_secret_is_told() -> None:
    secrets = dict.fromkeys(("ansible_password", "ansible_become_password", "harness_key_passphrase"), "hush")
    said = Connection.of("db1", {**secrets, "ansible_ssh_common_args": "-J me@[fe80::1]:2022,far"})
    assert "hush" not in shlex.join(ssh_command(said))
    assert ssh_command(said) == ("ssh", "-J", "me@[fe80::1]:2022,far", "db1")
