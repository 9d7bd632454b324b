"""Rules where packets are: two nodes in network namespaces of this machine, with IPv4 and IPv6 between them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import anyio
import pytest

from harness.api import (
    CUT,
    Completed,
    Facts,
    FaultError,
    Flow,
    LinkShape,
    Machine,
    MachineLost,
    Service,
    ServiceSpec,
)
from harness.testing.waiting import wait_until
from harness_agent.nft import NftShaper, Session, survey

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real,
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("nft") or not shutil.which("ip"), reason="needs root, nft and ip"
    ),
]

ECHO = """
import socket, sys, threading
def serve(port):
    server = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    while True:
        server.accept()[0].sendall(b"hello")
for port in (5000, 22):
    threading.Thread(target=serve, args=(port,)).start()
counted = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
counted.setsockopt(socket.SOL_SOCKET, 33, 1 << 26)  # SO_RCVBUFFORCE
counted.bind(("0.0.0.0", 5001))
print("up", flush=True)
count = 0
while True:
    said = counted.recv(10)
    if said == b"end" and count:
        print(count, flush=True)
        count = 0
    count += said == b"x"
"""
DIAL = """
import socket, sys
try:
    print(socket.create_connection((sys.argv[1], int(sys.argv[2])), 0.7).recv(5).decode())
except OSError as error:
    print(type(error).__name__)
"""
SEND = """
import socket, sys
ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
ours.connect((sys.argv[1], 5001))
for said in [b"x"] * int(sys.argv[2]) + [b"end"] * 100:
    ours.send(said)
"""
HOSTS = "10.77.0.1 a\nfd77::1 a\n10.77.0.2 b\nfd77::2 b\n"


class Space(Machine):
    """A network namespace as a machine. `lost` says how many commands come to nothing before one does."""

    capabilities = frozenset()
    python = "python3"

    def __init__(self, name: str) -> None:
        self.name = name
        self.ledger: dict[str, Sequence[Sequence[str]]] = {}
        self.lost = 0

    @property
    def inside(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.name)

    async def run(self, argv: Sequence[str], *, input: bytes = b"", timeout: float = 60.0, **_: Any) -> Completed:  # type: ignore[override]
        if self.lost:
            self.lost -= 1
            raise MachineLost(f"{self.name}: lost on the way")
        if argv[0].endswith("nft"):
            assert self.ledger, "something is done of which the ledger does not know"
        done = await anyio.run_process([*self.inside, *argv], input=input, check=False)
        return Completed(tuple(argv), done.returncode, done.stdout, done.stderr, 0.0)

    async def ledger_add(self, entry: str, undo: Sequence[Sequence[str]], what: str) -> None:
        self.ledger[entry] = undo

    async def ledger_remove(self, entry: str) -> None:
        del self.ledger[entry]

    def tables(self) -> list[str]:
        told = subprocess.run([*self.inside, "nft", "-j", "list", "tables"], stdout=subprocess.PIPE, check=True).stdout
        return [one["table"]["name"] for one in json.loads(told)["nftables"] if "table" in one]

    async def put(self, content: bytes | Path, path: PurePosixPath, mode: int = 0o644) -> None:
        raise NotImplementedError

    async def get(self, path: PurePosixPath) -> bytes:
        raise NotImplementedError

    async def fetch(self, path: PurePosixPath, to: Path) -> None:
        raise NotImplementedError

    async def remove(self, path: PurePosixPath) -> None:
        raise NotImplementedError

    async def spawn(self, spec: ServiceSpec) -> Service:
        raise NotImplementedError

    async def facts(self) -> Facts:
        raise NotImplementedError


class Pair:
    """a, and b, which answers at ports 5000 and 22 and counts what comes to 5001."""

    def __init__(self, spaces: Mapping[str, Space], server: subprocess.Popen[bytes]) -> None:
        self.spaces = spaces
        self._server = server

    async def shaper(self, run_id: str = "run-1") -> NftShaper:
        seen = {}
        for name, space in self.spaces.items():
            told = await survey(space, {peer: peer for peer in self.spaces if peer != name})
            assert not isinstance(told, str), told
            seen[name] = told
        sessions = [Session.of("10.77.0.1 40000 10.77.0.2 22"), Session.of("fd77::1 40000 fd77::2 22")]
        shaper = NftShaper.of(run_id, self.spaces, seen, sessions)
        assert isinstance(shaper, NftShaper), shaper
        return shaper

    def dial(self, address: str, port: int = 5000) -> str:
        argv = [*self.spaces["a"].inside, "python3", "-I", "-c", DIAL, address, str(port)]
        return subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout.decode().strip()

    def arrived(self, count: int) -> int:
        """How many of so many packets from a to b."""
        subprocess.run([*self.spaces["a"].inside, "python3", "-I", "-c", SEND, "10.77.0.2", str(count)], check=True)
        assert self._server.stdout is not None
        return int(self._server.stdout.readline())


@pytest.fixture
def pair() -> Iterator[Pair]:
    tag = uuid.uuid4().hex[:6]
    names = {node: f"hns{tag}{node}" for node in "ab"}
    spaces = {node: Space(name) for node, name in names.items()}
    with contextlib.ExitStack() as undone:
        for name in names.values():
            folder = Path("/etc/netns") / name
            folder.mkdir(parents=True)
            undone.callback(shutil.rmtree, folder)
            (folder / "hosts").write_text(HOSTS)
            ip("netns", "add", name)
            undone.callback(ip, "netns", "delete", name)
        ip("link", "add", "eth0", "netns", names["a"], "type", "veth", "peer", "eth0", "netns", names["b"])
        for number, name in enumerate(names.values(), 1):
            ip("-n", name, "address", "add", f"10.77.0.{number}/24", "dev", "eth0")
            ip("-n", name, "address", "add", f"fd77::{number}/64", "dev", "eth0", "nodad")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", "eth0", "up")
        server = subprocess.Popen([*spaces["b"].inside, "python3", "-I", "-u", "-c", ECHO], stdout=subprocess.PIPE)
        undone.callback(end, server)
        assert server.stdout is not None and server.stdout.readline() == b"up\n"
        pair = Pair(spaces, server)
        wait_until(lambda: pair.dial("fd77::2") == "hello")  # an interface has IPv6 a moment after it is up
        yield pair


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def end(server: subprocess.Popen[bytes]) -> None:
    server.kill()
    server.wait()
    assert server.stdout is not None
    server.stdout.close()


async def test_both_families_are_cut_but_not_ssh(pair: Pair) -> None:
    shaper = await pair.shaper()
    for flow in (Flow("a", "b"), Flow("b", "a")):
        assert pair.dial("10.77.0.2") == pair.dial("fd77::2") == "hello"
        await shaper.shape({flow: CUT})
        assert pair.spaces[flow.dst].tables() == [shaper.table] and not pair.spaces[flow.src].tables()
        assert pair.dial("10.77.0.2") == pair.dial("fd77::2") == "TimeoutError"
        assert pair.dial("10.77.0.2", 22) == pair.dial("fd77::2", 22) == "hello"
        await shaper.shape({})
    assert pair.dial("10.77.0.2") == "hello"
    assert not any(space.tables() or space.ledger for space in pair.spaces.values())


async def test_as_many_packets_are_lost_as_shall_be(pair: Pair) -> None:
    """Within six standard deviations of the binomial distribution: once in five hundred million times they are not."""
    shaper, count = await pair.shaper(), 4000
    assert pair.arrived(count) == count
    for share in (0.05, 0.5):
        await shaper.shape({Flow("a", "b"): LinkShape(loss=share)})
        usual = count * (1 - share)
        assert abs(pair.arrived(count) - usual) < 6 * (usual * share) ** 0.5
    await shaper.shape({})
    assert pair.arrived(count) == count


async def test_runs_have_tables_of_their_own_and_undo_them_alone(pair: Pair) -> None:
    one, other = await pair.shaper("one"), await pair.shaper("other")
    cut, there = {Flow("a", "b"): CUT}, pair.spaces["b"]
    subprocess.run([*there.inside, "nft", "add table inet bystander"], check=True)
    await one.shape(cut)
    ((undo,),) = there.ledger.values()
    await other.shape(cut)
    assert set(there.tables()) == {"bystander", "harness_one", "harness_other"}
    for _ in range(2):  # a machine that heals may be too late, or the second
        subprocess.run([*there.inside, *undo], check=True)
        assert set(there.tables()) == {"bystander", "harness_other"}
    assert pair.dial("10.77.0.2") == "TimeoutError"
    await one.shape(cut)  # somebody has removed it: it is made again
    assert "harness_one" in there.tables()
    await one.shape({})
    await other.shape({})
    assert there.tables() == ["bystander"]


async def test_what_was_lost_on_the_way_is_said_again_and_then_given_up(pair: Pair) -> None:
    shaper, there = await pair.shaper(), pair.spaces["b"]
    there.lost = 1
    await shaper.shape({Flow("a", "b"): CUT})
    assert pair.dial("10.77.0.2") == "TimeoutError"
    there.lost = 2
    with pytest.raises(FaultError, match="lost on the way"):
        await shaper.shape({})
    await shaper.shape({})
    assert pair.dial("10.77.0.2") == "hello" and not there.ledger


async def test_what_rules_cannot_do_is_refused(pair: Pair) -> None:
    shaper = await pair.shaper()
    with pytest.raises(FaultError, match="from a to b cannot be delayed or slowed down"):
        await shaper.shape({Flow("a", "b"): LinkShape(delay=0.1)})
    assert not pair.spaces["b"].tables()


async def test_who_is_not_known_there_is_said(pair: Pair) -> None:
    there = pair.spaces["b"]
    assert "not a name that is known there" in str(await survey(there, {"c": "no-such-host.invalid"}))
    assert "every machine has" in str(await survey(there, {"c": "127.0.0.1"}))
    assert "is not a name" in str(await survey(there, {"c": "a; nft flush ruleset"}))
    seen = {}
    for name in "ab":
        told = await survey(pair.spaces[name], {peer: "b" for peer in "ab" if peer != name})
        assert not isinstance(told, str)
        seen[name] = told
    assert "the same address" in str(NftShaper.of("run", pair.spaces, seen, []))
