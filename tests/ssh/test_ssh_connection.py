"""Connections to real sshds: whom they trust, how they prove who they are, and what they say when it does not work."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import paramiko
import pytest

from harness.api import HostSpec, MachineLost, UsageError
from harness_ssh.connection import AuthenticationFailed, SshConnection
from harness_ssh.host_keys import HostKeyRefused
from harness_ssh.pool import Pool, SshSettings

pytestmark = [pytest.mark.anyio, pytest.mark.real]


@asynccontextmanager
async def pool_of(*variables: dict[str, Any], config: Path | None = None, forks: int = 20) -> AsyncIterator[Pool]:
    """A pool of hosts called node01, node02 …"""
    hosts = [HostSpec(f"node{number:02}", each) for number, each in enumerate(variables, 1)]
    pool = Pool(hosts, SshSettings(config), forks)
    try:
        yield pool
    finally:
        await pool.close()


async def said(connection: SshConnection, command: str) -> str:
    """What a command says on stdout."""
    channel = await connection.execute(command)
    return b"".join([piece async for piece in channel]).decode()


async def test_a_connection_is_made_once_and_shared(sshd: Any) -> None:
    async with pool_of(sshd.variables()) as pool:
        first = await pool.get("node01")
        assert await said(first, "echo hello") == "hello\n"
        assert await pool.get("node01") is first


async def test_stderr_and_status_are_kept(sshd: Any) -> None:
    async with pool_of(sshd.variables()) as pool:
        channel = await (await pool.get("node01")).execute("echo [bold]wrong >&2; exit 3")
        assert [piece async for piece in channel] == []
        await channel.wait_closed()
        assert (channel.complaints, channel.exit_status) == ("[bold]wrong", 3)


async def test_bytes_pass_unchanged_both_ways_at_once(sshd: Any) -> None:
    sent = os.urandom(3_000_000)
    async with pool_of(sshd.variables()) as pool:
        channel = await (await pool.get("node01")).execute("cat")

        async def send() -> None:
            for start in range(0, len(sent), 100_000):
                await channel.send(sent[start : start + 100_000])
            await channel.send_eof()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            received = b"".join([piece async for piece in channel])
    assert received == sent


async def test_who_does_not_read_makes_the_sender_wait(sshd: Any) -> None:
    """Neither side keeps more than its buffers hold; and another channel of the connection is not held up by it."""
    async with pool_of(sshd.variables()) as pool:
        connection = await pool.get("node01")
        channel = await connection.execute("sleep 1000")
        sent = 0
        with anyio.move_on_after(1.0) as limit:
            while True:
                await channel.send(bytes(1_000_000))
                sent += 1_000_000
        assert limit.cancelled_caught
        assert 1_000_000 <= sent < 8_000_000
        assert await said(connection, "echo alive") == "alive\n"
        flood = await connection.execute("cat /dev/zero")
        await flood.receive(1)
        assert await said(connection, "echo alive") == "alive\n"
        assert flood._unread < 2_000_000


async def test_no_thread_outlives_its_connection(sshd: Any) -> None:
    def ours() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith(("ssh ", "Thread-"))]

    before = ours()
    async with pool_of(*[sshd.variables()] * 8) as pool:
        async with anyio.create_task_group() as tasks:
            for number in range(1, 9):
                tasks.start_soon(pool.get, f"node{number:02}")
        assert len(ours()) >= len(before) + 16
    with anyio.fail_after(10):
        while ours() != before:
            await anyio.sleep(0.02)


async def test_an_unknown_host_key_is_refused_with_its_fingerprint(sshd: Any) -> None:
    sshd.known_hosts.write_text("")
    async with pool_of(sshd.variables()) as pool:
        with pytest.raises(HostKeyRefused) as refused:
            await pool.get("node01")
    listed = subprocess.run(["ssh-keygen", "-lf", sshd.host_key], capture_output=True, text=True).stdout
    assert listed.split()[1] in str(refused.value)
    assert 'harness_host_keys = "accept-new"' in str(refused.value)
    assert sshd.known_hosts.read_text() == ""


async def test_a_changed_host_key_is_refused_even_by_accept_new(make_sshd: Any) -> None:
    sshd = make_sshd()
    other = make_sshd("other")
    sshd.known_hosts.write_text(f"[127.0.0.1]:{sshd.port} {sshd.public(other.host_key)}")
    for policy in ("check", "accept-new"):
        async with pool_of(sshd.variables(harness_host_keys=policy)) as pool:
            with pytest.raises(HostKeyRefused) as refused:
                await pool.get("node01")
        assert f"{sshd.known_hosts}:1" in str(refused.value)
        assert f"ssh-keygen -f {sshd.known_hosts} -R '[127.0.0.1]:{sshd.port}'" in str(refused.value)
    async with pool_of(sshd.variables(harness_host_keys="off")) as pool:
        await pool.get("node01")
    # What the message says to do helps.
    subprocess.run(["ssh-keygen", "-f", sshd.known_hosts, "-R", f"[127.0.0.1]:{sshd.port}"], check=True)
    async with pool_of(sshd.variables(harness_host_keys="accept-new")) as pool:
        await pool.get("node01")


async def test_accept_new_keeps_the_key_for_ssh_itself(sshd: Any) -> None:
    sshd.known_hosts.unlink()
    async with pool_of(*[sshd.variables(harness_host_keys="accept-new")] * 3) as pool:
        await pool.get("node01")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pool.get, "node02")
            tasks.start_soon(pool.get, "node03")
    assert len(sshd.known_hosts.read_text().splitlines()) == 1
    argv = ["ssh", "-F", "/dev/null", "-o", f"UserKnownHostsFile={sshd.known_hosts}", "-o", "StrictHostKeyChecking=yes"]
    argv += ["-i", str(sshd.key), "-p", str(sshd.port), "127.0.0.1", "true"]
    assert subprocess.run(argv).returncode == 0


async def test_the_key_type_that_is_known_is_asked_for(make_sshd: Any, new_key: Any, tmp_path: Path) -> None:
    """A host with several keys of which an old one is known must not look changed."""
    rsa = new_key("rsa_host_key", kind="rsa")
    sshd = make_sshd(options=(f"HostKey={rsa}",))
    sshd.known_hosts.write_text(f"[127.0.0.1]:{sshd.port} {sshd.public(rsa)}")
    async with pool_of(sshd.variables()) as pool:
        await pool.get("node01")


async def test_a_passphrase_opens_a_key(sshd: Any, new_key: Any) -> None:
    key = new_key("locked", passphrase="open sesame")
    sshd.authorized.write_text(sshd.public(key))
    named = sshd.variables(ansible_ssh_private_key_file=str(key))
    async with pool_of(
        {**named, "harness_key_passphrase": "open sesame"}, {**named, "harness_key_passphrase": "wrong one"}, named
    ) as pool:
        await pool.get("node01")
        with pytest.raises(AuthenticationFailed, match=f"{key} does not open with harness_key_passphrase"):
            await pool.get("node02")
        with pytest.raises(AuthenticationFailed, match=f"{key} is encrypted: .*ssh-add"):
            await pool.get("node03")


@pytest.fixture
def ssh_agent(tmp_path: Path) -> Iterator[Path]:
    """The socket of an empty agent."""
    path = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    while not path.exists():
        assert agent.poll() is None
    yield path
    agent.terminate()
    agent.wait()


async def test_keys_of_an_agent_are_tried(
    sshd: Any, new_key: Any, ssh_agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = new_key("in_agent")
    sshd.authorized.write_text(sshd.public(key))
    subprocess.run(["ssh-add", "-q", key], env={**os.environ, "SSH_AUTH_SOCK": str(ssh_agent)}, check=True)
    key.unlink()
    variables = sshd.variables()
    async with pool_of(variables) as pool:
        with pytest.raises(AuthenticationFailed):
            await pool.get("node01")
        monkeypatch.setenv("SSH_AUTH_SOCK", str(ssh_agent))
        await pool.get("node01")
    # With IdentitiesOnly only those of its keys that are named.
    only = {"ansible_ssh_common_args": f"{variables['ansible_ssh_common_args']} -o IdentitiesOnly=yes"}
    async with pool_of({**variables, **only}, {**variables, **only, "ansible_ssh_private_key_file": str(key)}) as pool:
        with pytest.raises(AuthenticationFailed):
            await pool.get("node01")
        await pool.get("node02")


async def test_a_refusal_names_the_user_and_what_was_tried(sshd: Any, new_key: Any, tmp_path: Path) -> None:
    key = new_key("stranger")
    wrong = sshd.variables(ansible_ssh_private_key_file=str(key))
    missing = sshd.variables(ansible_ssh_private_key_file=str(tmp_path / "missing"))
    async with pool_of(wrong, missing, sshd.variables(ansible_user="nobody-knows-me")) as pool:
        with pytest.raises(AuthenticationFailed) as refused:
            await pool.get("node01")
        assert f"@127.0.0.1:{sshd.port} does not let us in: tried: {key}" in str(refused.value)
        with pytest.raises(AuthenticationFailed, match=f"{tmp_path / 'missing'} is not there"):
            await pool.get("node02")
        with pytest.raises(AuthenticationFailed, match="nobody-knows-me@"):
            await pool.get("node03")


async def test_a_password_that_is_not_to_be_had_is_the_users_mistake(sshd: Any, new_key: Any) -> None:
    variables = sshd.variables(
        ansible_ssh_private_key_file=str(new_key("stranger")), ansible_password={"env": "NOT_SET_ANYWHERE"}
    )
    async with pool_of(variables) as pool:
        with pytest.raises(UsageError, match="NOT_SET_ANYWHERE"):
            await pool.get("node01")


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """Somebody who takes calls and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


async def test_nobody_listens_nobody_answers_nobody_is_there(sshd: Any, free_port: int, silent: socket.socket) -> None:
    port = silent.getsockname()[1]
    variables = sshd.variables()
    async with pool_of(
        {**variables, "ansible_port": free_port},
        {**variables, "ansible_port": port, "ansible_timeout": 1},
        {**variables, "ansible_host": "nowhere.invalid"},
    ) as pool:
        with pytest.raises(MachineLost, match=f"127.0.0.1 refuses connections to port {free_port}"):
            await pool.get("node01")
        with pytest.raises(MachineLost, match="did not answer as an SSH server does"):
            await pool.get("node02")
        with pytest.raises(MachineLost, match=r"nowhere\.invalid is not a name that is known here"):
            await pool.get("node03")


@pytest.fixture
def busy(sshd: Any) -> Iterator[int]:
    """The port of a server that hangs up on the first three who come, as sshd does beyond MaxStartups."""
    server = socket.create_server(("127.0.0.1", 0))
    ends: list[socket.socket] = []

    def serve() -> None:
        for number in itertools.count():
            try:
                caller = server.accept()[0]
            except OSError:
                return
            if number < 3:
                caller.close()
                continue
            callee = socket.create_connection(("127.0.0.1", sshd.port))
            ends.extend((caller, callee))
            for source, sink in ((caller, callee), (callee, caller)):
                threading.Thread(target=_pass_on, args=(source, sink), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    for end in ends:
        end.close()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


async def test_a_server_that_hangs_up_since_many_come_is_asked_again(sshd: Any, busy: int) -> None:
    sshd.known_hosts.write_text(f"[127.0.0.1]:{busy} {sshd.public(sshd.host_key)}")
    async with pool_of(sshd.variables(ansible_port=busy)) as pool:
        assert await said(await pool.get("node01"), "echo hello") == "hello\n"


async def test_ssh_configuration_is_followed(sshd: Any, tmp_path: Path) -> None:
    included = tmp_path / "included"
    included.write_text(
        f"Host front\n HostName 127.0.0.1\n Port {sshd.port}\n IdentityFile {sshd.key}\n HostKeyAlias the-alias\n"
    )
    config = tmp_path / "config"
    known = tmp_path / "known"
    known.write_text(f"the-alias {sshd.public(sshd.host_key)}")
    config.write_text(f"Include {included}\nMatch originalhost front\n UserKnownHostsFile {known}\n")
    async with pool_of({"ansible_host": "front"}, config=config) as pool:
        assert await said(await pool.get("node01"), "echo hello") == "hello\n"
    broken = tmp_path / "broken"
    broken.write_text("NoSuchOption yes\n")
    async with pool_of({"ansible_host": "front"}, config=broken) as pool:
        with pytest.raises(UsageError, match="NoSuchOption|nosuchoption"):
            await pool.get("node01")


async def test_jump_hosts_are_passed_and_shared(make_sshd: Any, tmp_path: Path) -> None:
    """Through two of them, the second of which only the first may reach by our configuration."""
    target, near, far = make_sshd("target"), make_sshd("near"), make_sshd("far")
    known = tmp_path / "known"
    known.write_text("".join(each.known_hosts.read_text() for each in (target, near, far)))
    config = tmp_path / "config"
    config.write_text(
        f"Host near\n HostName 127.0.0.1\n Port {near.port}\n IdentityFile {near.key}\n"
        f"Host far\n HostName 127.0.0.1\n Port {far.port}\n IdentityFile {far.key}\n"
        f"Host *\n UserKnownHostsFile {known}\n"
    )
    arguments = f"-F {config} -J near,far"
    variables = target.variables(ansible_ssh_common_args=arguments)
    async with pool_of(*[variables] * 3) as pool:
        async with anyio.create_task_group() as tasks:
            for name in ("node01", "node02", "node03"):
                tasks.start_soon(pool.get, name)
        assert await said(await pool.get("node03"), "echo hello") == "hello\n"
        assert [sum("Accepted" in line for line in (each.folder / "log").read_text().splitlines())
                for each in (near, far, target)] == [1, 1, 3]  # fmt: skip
        connection = await pool.get("node01")
        far.stop()
        with anyio.fail_after(20):
            while connection.alive:
                await anyio.sleep(0.02)
        with pytest.raises(MachineLost, match="nobody takes the call there"):
            await pool.get("node01")
        far.start()
        assert await said(await pool.get("node01"), "echo back") == "back\n"
    with_none = tmp_path / "without keys"
    with_none.write_text(config.read_text().replace(f" IdentityFile {near.key}\n", ""))
    arguments = f"-F '{with_none}' -o IdentitiesOnly=yes -J near"
    async with pool_of(target.variables(ansible_ssh_common_args=arguments)) as pool:
        with pytest.raises(AuthenticationFailed, match="does not let us in: .*are for its hosts alone: name those of"):
            await pool.get("node01")
    # The jump host's own key is checked as well.
    known.write_text(target.known_hosts.read_text())
    async with pool_of(variables) as pool:
        with pytest.raises(HostKeyRefused, match=str(near.port)):
            await pool.get("node01")


async def test_a_proxy_command_is_gone_through(sshd: Any, tmp_path: Path) -> None:
    proxy = tmp_path / "proxy"
    proxy.write_text(
        "import socket, sys, threading\n"
        "far = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "near = socket.socket(fileno=0)\n"
        "def copy(a, b):\n"
        "    while piece := a.recv(65536): b.sendall(piece)\n"
        "    b.shutdown(socket.SHUT_WR)\n"
        "threading.Thread(target=copy, args=(near, far), daemon=True).start()\n"
        "copy(far, near)\n"
    )
    config = tmp_path / "config"
    config.write_text(f"Host *\n ProxyCommand python3 {proxy} %h %p\n UserKnownHostsFile {sshd.known_hosts}\n")
    variables = sshd.variables(ansible_ssh_common_args=f"-F {config}")
    async with pool_of(variables) as pool:
        assert await said(await pool.get("node01"), "echo hello") == "hello\n"


async def test_a_lost_connection_is_noticed_and_made_again(sshd: Any) -> None:
    async with pool_of(sshd.variables()) as pool:
        first = await pool.get("node01")
        channel = await first.execute("sleep 1000")
        sshd.cut()
        with anyio.fail_after(10):
            assert [piece async for piece in channel] == []
        with pytest.raises((anyio.BrokenResourceError, anyio.ClosedResourceError)), anyio.fail_after(10):
            while True:
                await channel.send(b"x")
                await anyio.sleep(0.01)
        second = await pool.get("node01")
        assert second is not first
        assert await said(second, "echo back") == "back\n"


async def test_cancelling_leaves_nothing_open(sshd: Any, silent: socket.socket) -> None:
    def transports() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if isinstance(thread, paramiko.Transport)]

    async with pool_of(sshd.variables(ansible_port=silent.getsockname()[1])) as pool:
        with anyio.move_on_after(0.3) as limit:
            await pool.get("node01")
        assert limit.cancelled_caught
    with silent.accept()[0] as taken:
        taken.settimeout(5)
        while taken.recv(4096):  # our banner; then the end, or this times out
            pass
    with anyio.fail_after(5):
        while transports():
            await anyio.sleep(0.02)


async def test_as_many_at_once_as_allowed(sshd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once, most = 0, 0
    opened = SshConnection.open

    async def open(*arguments: Any) -> SshConnection:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        try:
            return await opened(*arguments)
        finally:
            at_once -= 1

    monkeypatch.setattr(SshConnection, "open", open)
    async with pool_of(*[sshd.variables()] * 9, forks=3) as pool, anyio.create_task_group() as tasks:
        for number in range(1, 10):
            tasks.start_soon(pool.get, f"node{number:02}")
    assert most == 3
