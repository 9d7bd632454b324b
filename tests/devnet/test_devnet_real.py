"""Real node processes: blocks, agreement, transfers, blobs, restarts, and nodes broken on purpose."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import time

import pytest

from harness.api import Unreachable

pytestmark = [pytest.mark.anyio, pytest.mark.real]


async def test_star_makes_blocks_includes_a_transfer_and_agrees(real_network):
    net = real_network("star", {"validator": 3, "executor": 1})
    clients = {name: net.client(name) for name in net.ports}
    await net.linked()
    tx = net.network.transactions(random.Random(1)).make(0)
    receipt = await clients["validator-2"].submit(tx)
    assert (receipt.accepted, receipt.id) == (True, tx.id)
    again = await clients["validator-2"].submit(tx)
    assert not again.accepted and "already" in again.reason

    included = None
    async with asyncio.timeout(20):
        async for header in clients["executor-0"].follow(0):
            block = await clients["executor-0"].block(header.hash, header.height)
            if tx.id in block.tx_ids:
                included = header
                break
    assert included.tx_count == 1 and included.proposer in net.ports

    async def settled():
        return (await clients["validator-0"].head()).final_height >= included.height

    await net.until(settled)
    chains = [await client.balances(final=True) for client in (clients["validator-0"], clients["validator-1"])]
    for address, delta in tx.effects.items():
        assert chains[0][address] == 1000 + delta
    assert all(sum(balances.values()) == 4000 for balances in chains)
    final = await clients["validator-0"].head()
    for client in clients.values():
        await net.until(lambda c=client: _has(c, included))
    assert final.final_height >= included.height
    started = time.monotonic()
    assert [net.kill(name, signal.SIGTERM) for name in net.ports] == [0] * 4
    assert time.monotonic() - started < 4
    for name in net.ports:
        assert not any(
            re.search(p, line) for p in net.launches[name].panic_patterns for line in net.log(name).split("\n")
        )


async def _has(client, header):
    return (await client.block(header.hash, header.height)).header.height == header.height


async def test_ring_disperses_a_blob_and_reads_it_back_in_spite_of_a_wrong_share(real_network, monkeypatch):
    monkeypatch.setenv("HARNESS_DEVNET_MISBEHAVE", "allowed")
    net = real_network("ring", {"validator": 3, "executor": 2}, misbehave={"validator-1": "corrupt-shares"})
    writer, reader = net.client("executor-0"), net.client("executor-1")
    await net.linked()
    blob = os.urandom(10_000)
    receipt = await writer.disperse("channel", blob)
    written = await writer.write_channel("channel", b"hello")
    assert receipt.accepted and written.accepted
    refused = await net.client("validator-0").disperse("channel", blob)
    assert not refused.accepted and "no executor" in refused.reason

    waiting = {receipt.id, written.id}
    async with asyncio.timeout(20):
        async for header in net.client("executor-1").follow(0):
            waiting -= set((await net.client("executor-1").block(header.hash, header.height)).tx_ids)
            if not waiting:
                break
    assert await reader.retrieve(receipt.id) == blob

    async def blamed():
        return (await reader.status())["bad_shares"].get("validator-1")

    await net.until(blamed)
    # With one more validator gone, one good share of the two that are needed is left.
    net.kill("validator-2")
    with pytest.raises(LookupError, match=r"1 good shares of 2 needed; wrong: validator-1"):
        await reader.retrieve(receipt.id)
    net.start("validator-2")  # its shares are on disk

    async def back():
        return await reader.retrieve(receipt.id) == blob

    await net.until(back)
    with pytest.raises(LookupError):
        await reader.retrieve("00" * 32)


async def test_a_killed_node_catches_up_and_keeps_its_chain(real_network):
    net = real_network("star", {"validator": 3})
    watcher, victim = net.client("validator-1"), net.client("validator-2")
    await net.linked()

    async def high(client, height):
        return (await client.head()).height >= height

    await net.until(lambda: high(victim, 4))
    before = await victim.head()
    net.kill("validator-2")
    with pytest.raises(Unreachable):
        await victim.head()
    await net.until(lambda: high(watcher, before.height + 5))
    # What a kill in the middle of a write leaves behind.
    with (net.folder / "validator-2" / "data" / "blocks").open("ab") as blocks:
        blocks.write(b"\0\0\1\0torn")
    net.start("validator-2")
    target = await watcher.head()
    await net.until(lambda: high(victim, target.height))
    restarted = re.findall(r"at height (\d+)", net.log("validator-2"))
    assert int(restarted[1]) >= before.height - 1

    async def same():
        mine, theirs = await victim.head(), await watcher.head()
        return (await victim.peers()) == {"validator-0"} and mine.hash == theirs.hash

    await net.until(same)


async def test_a_frozen_peer_is_noticed_and_taken_back(real_network):
    net = real_network("star", {"validator": 2})
    hub = net.client("validator-0")
    await net.linked()
    net.processes["validator-1"].send_signal(signal.SIGSTOP)

    async def alone():
        return not await hub.peers()

    await net.until(alone)
    net.processes["validator-1"].send_signal(signal.SIGCONT)
    await net.until(hub.peers)


async def test_the_pure_python_node_agrees_with_the_others(real_network, tmp_path):
    """A node without `cryptography` (isolated from site-packages) follows a chain made by nodes that have it."""
    net = real_network("star", {"validator": 2}, start=False)
    launch = net.launches["validator-1"]
    bare = (launch.argv[0], "-I", "-S", *launch.argv[2:])
    net.launches["validator-1"] = type(launch)(bare, launch.files)
    net.start()
    a, b = net.client("validator-0"), net.client("validator-1")
    await net.linked()
    assert (await b.status())["ed25519"] == "pure" and (await a.status())["ed25519"] == "cryptography"
    factory = net.network.transactions(random.Random(1))
    for client in (a, b):
        assert (await client.submit(factory.make(0))).accepted

    async def both():
        return [await c.balance(net.network.wallets[0].address) < 998 for c in (a, b)] == [True, True]

    await net.until(both)


async def test_misbehaviour_needs_permission(real_network, monkeypatch):
    monkeypatch.setenv("HARNESS_DEVNET_MISBEHAVE", "allowed")
    net = real_network("star", {"validator": 1}, start=False, misbehave={"validator-0": "silent"})
    monkeypatch.delenv("HARNESS_DEVNET_MISBEHAVE")
    net.launches["validator-0"].env.clear()
    net.start()
    assert net.processes["validator-0"].wait(timeout=10) == 2
    assert "HARNESS_DEVNET_MISBEHAVE" in net.log("validator-0")


async def test_panic_leaves_a_traceback_and_exit_status_1(real_network, monkeypatch):
    monkeypatch.setenv("HARNESS_DEVNET_MISBEHAVE", "allowed")
    net = real_network("star", {"validator": 2}, misbehave={"validator-1": "panic@2"})
    assert net.processes["validator-1"].wait(timeout=20) == 1
    lines = net.log("validator-1").split("\n")
    assert any(re.search(p, line) for p in net.launches["validator-1"].panic_patterns for line in lines)


async def test_forge_and_freeze_show_and_the_others_go_on(real_network, monkeypatch):
    monkeypatch.setenv("HARNESS_DEVNET_MISBEHAVE", "allowed")
    misbehave = {"validator-1": "forge-balance", "validator-2": "freeze@3"}
    net = real_network("star", {"validator": 3}, misbehave=misbehave)
    honest, forger, frozen = (net.client(f"validator-{i}") for i in range(3))
    await net.linked()

    async def far():
        return (await forger.head()).height >= 8

    await net.until(far)
    assert (await frozen.head()).height == 3 and not (await frozen.head()).syncing
    assert sum((await honest.balances()).values()) == 4000
    assert sum((await forger.balances()).values()) == 4000 + 1_000_000


async def test_http_survives_garbage(real_network):
    net = real_network("star", {"validator": 1})
    client = net.client("validator-0")
    await net.until(client.head)
    port = net.ports["validator-0"]["api"]

    async def say(data):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        return answer.split(b"\r\n")[0]

    def post(path, body):
        return b"POST %s HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (path, len(body), body)

    assert b" 400 " in await say(b"\0\xff\r\n\r\n")
    assert b" 400 " in await say(b"GET")
    assert b" 431 " in await say(b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n")
    assert b" 413 " in await say(b"POST /tx HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n")
    assert b" 501 " in await say(b"POST /tx HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert b" 400 " in await say(post(b"/tx", b"[" * 100_000))
    assert b" 400 " in await say(post(b"/tx", b'{"kind": 1.5}'))
    assert b" 400 " in await say(post(b"/tx", b"\xff"))
    assert b" 422 " in await say(post(b"/tx", b'{"kind": "mint"}'))
    assert b" 400 " in await say(post(b"/tx", b'{"kind": "transfer", "\\ud800": 1}'))
    assert b" 404 " in await say(b"GET /nothing HTTP/1.1\r\n\r\n")
    assert b" 404 " in await say(b"GET /block/zz HTTP/1.1\r\n\r\n")
    assert b" 405 " in await say(b"DELETE /tx HTTP/1.1\r\n\r\n")
    assert b" 400 " in await say(b"GET /blocks?after=-1 HTTP/1.1\r\n\r\n")
    assert b" 400 " in await say(b"GET /account/%2e%2e HTTP/1.1\r\n\r\n")
    p2p = net.ports["validator-0"]["p2p"]
    for frame in (b"\xff\xff\xff\xff", b"\0\0\0\2[]", b"\0\0\0\2{}", b'\0\0\0\x10{"type":"hello"}'):
        reader, writer = await asyncio.open_connection("127.0.0.1", p2p)
        writer.write(frame)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1 << 20)
        writer.close()
    assert (await client.head()).height >= 0
