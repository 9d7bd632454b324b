"""One SSH connection: dialled in the event loop, authenticated in a worker thread, checked against known_hosts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import fabric
import paramiko
from paramiko.config import SSHConfig

from harness.api import HarnessError, MachineLost
from harness_ssh import known_hosts
from harness_ssh.auth import Agent, Credentials, KeyFiles, OpenSSHOrder
from harness_ssh.host_keys import HostKeys
from harness_ssh.openssh import Destination, proxy_argv
from harness_ssh.stream import Channel, Pump

AUTHENTICATE_WITHIN = 30.0
"""Seconds that a host may take to decide on a key or password: directory services are slow, and refusals delayed."""
SILENCE = 3
"""A connection is dead when it gives no sign of life for so many times the `keepalive` of its destination."""
PROXY_ENDS_WITHIN = 2.0
"""Seconds for a ProxyCommand to end once its connection has."""
CHANNELS_AT_ONCE = 8
"""Channels of one connection that may be waiting to be opened: a dead one must not take every thread that there is."""

# What paramiko and its like have to say is in the errors; nothing of it belongs on the terminal.
for _name in ("paramiko", "invoke", "fabric", "stamina"):
    logging.getLogger(_name).addHandler(logging.NullHandler())


class AuthenticationFailed(MachineLost):
    """The machine could not be shown that we are who we say."""


class SshConnection:
    """An open connection. Use `open`; close it when done with it."""

    def __init__(self, destination: Destination, line: _Line, fabric_connection: Any, pump: Pump) -> None:
        self.destination = destination
        self._line = line
        self._fabric = fabric_connection
        self._transport = fabric_connection.transport
        self._pump = pump
        self._threads = anyio.CapacityLimiter(CHANNELS_AT_ONCE)
        self._watching = asyncio.create_task(self._watch(), name=f"ssh {destination}")

    @classmethod
    async def open(
        cls,
        destination: Destination,
        credentials: Credentials,
        keys: KeyFiles,
        limiter: anyio.CapacityLimiter,
        via: SshConnection | None = None,
    ) -> SshConnection:
        """Connect, through `via` where there is a jump host before it. At most as many at once as the limiter allows.

        Raises HostKeyRefused, AuthenticationFailed, MachineLost; UsageError for a secret that is not to be had."""
        line = await _dial(destination, via, limiter)
        handshake = _Handshake(destination, credentials, keys, line.sock)
        try:
            opened = await anyio.to_thread.run_sync(handshake.run, limiter=limiter, abandon_on_cancel=True)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(handshake.abandon)
                await anyio.to_thread.run_sync(line.end)
            raise
        return cls(destination, line, opened, Pump(str(destination)))

    @property
    def alive(self) -> bool:
        """Whether nobody has noticed yet that it is dead."""
        return bool(self._transport.is_active())

    @property
    def username(self) -> str:
        return self.destination.user

    async def execute(self, command: str) -> Channel:
        """Have the user's login shell run a command, without a terminal. Raises MachineLost."""
        return await self._channel(partial(self._open_session, command))

    async def dial(self, host: str, port: int) -> Channel:
        """Have the machine connect to an address. Raises MachineLost when there is no connection to do it with, and
        ConnectionRefusedError when it does not get there."""
        return await self._channel(partial(_open_direct, self._transport, host, port, self.destination.connect_timeout))

    async def close(self) -> None:
        with anyio.CancelScope(shield=True):
            self._watching.cancel()
            await asyncio.wait({self._watching})
            await anyio.to_thread.run_sync(self._close)

    async def _watch(self) -> None:
        """Ask for a sign of life now and then. A link that was cut somewhere on the way tells nobody: who does not
        answer is broken off, so that all who wait for him know."""
        keepalive, thread = self.destination.keepalive, anyio.CapacityLimiter(1)
        while keepalive and self.alive:
            await anyio.sleep(keepalive)
            with anyio.move_on_after((SILENCE - 1) * keepalive) as limit:
                ask = partial(self._transport.global_request, "keepalive@openssh.com", wait=True)
                with contextlib.suppress(OSError, EOFError, paramiko.SSHException):  # it is lost, as all will see
                    await anyio.to_thread.run_sync(ask, limiter=thread, abandon_on_cancel=True)
            if limit.cancelled_caught:
                await anyio.to_thread.run_sync(_shut, self._transport.sock)
                return

    async def _channel(self, open: Callable[[], Any]) -> Channel:
        try:
            return Channel(
                await anyio.to_thread.run_sync(open, abandon_on_cancel=True, limiter=self._threads), self._pump
            )
        except paramiko.ChannelException as error:
            raise ConnectionRefusedError(_refusal(error)) from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise MachineLost(f"the connection to {self.destination} is lost: {_reason(error)}") from None

    def _open_session(self, command: str) -> Any:
        channel = self._transport.open_session(timeout=AUTHENTICATE_WITHIN)
        channel.exec_command(command)
        return channel

    def _close(self) -> None:
        self._pump.end()
        _shut(self._transport.sock)
        _close(self._fabric)
        self._line.end()
        self._pump.join()


class _Handshake:
    """All of what blocks on the way from a socket to a connection, in one thread."""

    def __init__(self, destination: Destination, credentials: Credentials, keys: KeyFiles, sock: Any) -> None:
        self._to = destination
        self._credentials = credentials
        self._keys = keys
        self._sock = sock
        self._connection: Any = None
        self._abandoned = False
        self._lock = threading.Lock()

    def abandon(self) -> None:
        """Nobody waits for it any more: make it fail soon, and leave nothing open."""
        with self._lock:
            self._abandoned = True
            connection = self._connection
        _shut(self._sock)
        if connection is not None:
            _close(connection)

    def run(self) -> Any:
        """A connected fabric.Connection."""
        to = self._to
        entries = known_hosts.read(to.known_hosts, to.known_as)
        agent = Agent(to.agent)
        order = OpenSSHOrder(to, self._credentials, self._keys, agent)
        connection = _FabricConnection(
            host=to.hostname,
            port=to.port,
            user=to.user,
            config=_NOTHING_CONFIGURED,
            connect_kwargs={
                "sock": self._sock,
                "auth_strategy": order,
                "banner_timeout": to.connect_timeout,
                "auth_timeout": AUTHENTICATE_WITHIN,
                "transport_factory": partial(_transport, known_hosts.types(entries, to.known_as), to.connect_timeout),
            },
        )
        connection.client.set_missing_host_key_policy(HostKeys(to, entries))
        with self._lock:
            self._connection = connection
        try:
            with contextlib.ExitStack() as failed:
                failed.callback(_close, connection)
                connection.open()
                failed.pop_all()
        except (HarnessError, paramiko.SSHException, OSError, EOFError) as error:
            raise self._explained(error, order) from None
        finally:
            agent.close()
        with self._lock:
            if self._abandoned:
                _close(connection)
        return connection

    def _explained(self, error: Exception, order: OpenSSHOrder) -> Exception:
        """The same as one sentence for a person."""
        to = self._to
        match error:
            case HarnessError():
                return error
            case paramiko.AuthenticationException():
                how = "" if str(error) == "nothing satisfied it" else f" ({error})"
                return AuthenticationFailed(f"{to} does not let us in{how}: {order.attempts}")
            case paramiko.IncompatiblePeer():
                return MachineLost(f"{to} and we have no way of encryption in common: {error}")
            case _:
                return MachineLost(f"{to} did not answer as an SSH server does: {_reason(error)}")


_NOTHING_CONFIGURED = fabric.Config(lazy=True, ssh_config=SSHConfig())
"""Fabric's configuration, of which we want nothing. All connections share it: to make one takes longer than to agree on
keys with a host."""


class _FabricConnection(fabric.Connection):  # type: ignore[misc]  # fabric has no types
    """Takes the host as it is: what is to be read out of it has been. Its attributes are its own: Fabric would write
    some into the configuration."""

    __setattr__ = object.__setattr__

    def derive_shorthand(self, host_string: str) -> dict[str, str | None]:
        return {"user": None, "host": host_string, "port": None}


class _Transport(paramiko.Transport):  # type: ignore[misc]
    """Prefers what is quickest of what is strong."""

    _preferred_ciphers = (
        "aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr",
    )  # fmt: skip
    _active_check_timeout = 1.0
    """Seconds between two looks of an idle thread whether it is to end. It is woken, too (`_shut`)."""


def _transport(types: tuple[str, ...], handshake_within: float, sock: Any, **options: Any) -> Any:
    """A transport that asks the host for keys of the types that are known of it first."""
    transport = _Transport(sock, **options)
    transport.handshake_timeout = handshake_within
    security = transport.get_security_options()
    known = [name for type in types for name in _algorithms(type) if name in security.key_types]
    security.key_types = [*known, *(name for name in security.key_types if name not in known)]
    return transport


def _algorithms(type: str) -> tuple[str, ...]:
    """Signature algorithms of a key type: RSA keys have several, of which the one named like the type is broken."""
    return ("rsa-sha2-512", "rsa-sha2-256") if type == "ssh-rsa" else (type,)


def _open_direct(transport: Any, host: str, port: int, timeout: float) -> Any:
    return transport.open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=timeout)


@dataclass(frozen=True, slots=True)
class _Line:
    """A connected socket, or what paramiko takes for one, and the process behind it where there is one."""

    sock: Any
    proxy: subprocess.Popen[bytes] | None = None

    def end(self) -> None:
        """A ProxyCommand ends when it has nobody to talk to; else it is made to. Blocking."""
        if self.proxy is None:
            return
        self.sock.close()
        try:
            self.proxy.wait(PROXY_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            os.killpg(self.proxy.pid, signal.SIGKILL)
            self.proxy.wait()


async def _dial(to: Destination, via: SshConnection | None, limiter: anyio.CapacityLimiter) -> _Line:
    """Raises MachineLost."""
    if via is not None:
        open = partial(_open_direct, via._transport, to.hostname, to.port, to.connect_timeout)
        try:
            return _Line(await anyio.to_thread.run_sync(open, abandon_on_cancel=True))
        except paramiko.ChannelException as error:
            raise MachineLost(f"{via.destination} cannot connect to {to}: {_refusal(error)}") from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise MachineLost(f"{via.destination} did not get to {to}: {_reason(error)}") from None
    if to.proxy_command:
        return await anyio.to_thread.run_sync(_start_proxy, to)
    return _Line(await _connect(to))


async def _connect(to: Destination) -> socket.socket:
    give_up = anyio.current_time() + to.connect_timeout
    try:
        found = await anyio.getaddrinfo(to.hostname, to.port, family=to.family, type=socket.SOCK_STREAM)
    except OSError as error:
        raise MachineLost(f"{to.hostname} is not a name that is known here: {error.strerror}") from None
    refused: list[str] = []
    for position, (family, kind, protocol, _, address) in enumerate(found):
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        try:
            with anyio.fail_after(max(0.1, give_up - anyio.current_time()) / (len(found) - position)):
                await asyncio.get_running_loop().sock_connect(sock, address)
        except TimeoutError:
            refused.append(f"no answer from {address[0]} port {to.port} within {to.connect_timeout:g} s")
        except ConnectionRefusedError:
            refused.append(f"{address[0]} refuses connections to port {to.port}: is an SSH server running there?")
        except OSError as error:
            refused.append(f"{address[0]} port {to.port}: {error.strerror}")
        else:
            sock.setblocking(True)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        finally:
            if sock.getblocking() is False:
                sock.close()
    raise MachineLost("; ".join(dict.fromkeys(refused)))


def _start_proxy(to: Destination) -> _Line:
    """A ProxyCommand has one end of a socket pair as its stdin and stdout."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            process = subprocess.Popen(
                proxy_argv(to.proxy_command),
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise MachineLost(f"the ProxyCommand to {to} cannot be run: {error.strerror}") from None
    return _Line(ours, process)


def _close(connection: Any) -> None:
    """Also what Fabric takes for closed, half open as it is. One that goes through another may say so to a dead one."""
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        connection.client.close()


def _shut(sock: Any) -> None:
    """Wake whoever reads from it: closing alone does not."""
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):  # not connected any more: nobody waits
        sock.shutdown(socket.SHUT_RDWR)


def _refusal(error: Any) -> str:
    """Why a channel was not opened (RFC 4254, section 5.1); the machine's own words say no more."""
    reasons = {1: "it forwards no connections (AllowTcpForwarding)", 2: "nobody takes the call there"}
    return reasons.get(error.code, error.text or "it refuses")


def _reason(error: BaseException) -> str:
    if isinstance(error, paramiko.SSHException) and isinstance(error.__context__, EOFError | OSError):
        error = error.__context__  # what "Error reading SSH protocol banner" stands for
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, EOFError | ConnectionResetError):
        return "it hung up"
    return str(error).strip().rstrip(".") or type(error).__name__
