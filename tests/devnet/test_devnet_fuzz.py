"""Damaged messages and transactions: refused with a reason, never a crash."""

from __future__ import annotations

import contextlib
import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness_devnet.node.codec import Malformed, decode_object
from harness_devnet.node.core import PeerFault
from harness_devnet.node.da import Dispersal
from harness_devnet.node.transactions import Rejected

JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["00" * 32, "ff" * 64, "\ud800", "AA==", "validator-0", "executor-0", 2**63, -1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def _places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield from _places(inner, (*path, name))


def _damaged(value, path, junk, remove):
    if not path:
        return junk
    value = copy.deepcopy(value)
    inner = value
    for name in path[:-1]:
        inner = inner[name]
    if remove:
        del inner[path[-1]]
    else:
        inner[path[-1]] = junk
    return value


@pytest.fixture(scope="module")
def world(keys, simulation):
    """A network that has run for a while, and messages of each kind as they were sent in it."""
    keys = keys(validators=3, executors=1)
    net = simulation(
        keys, [("validator-1", "validator-0"), ("validator-2", "validator-0"), ("executor-0", "validator-0")]
    )
    sent = {}
    deliver = net.deliver

    def recording(source, to, message):
        value = decode_object(message)
        kind = value["type"] + (value["body"]["type"] if value["type"] == "relay" else "")
        if to == "validator-0" or kind not in sent:
            sent[kind] = (to, source, value)
        deliver(source, to, message)

    net.deliver = recording
    net.run(2)
    net.cores["validator-1"].submit(keys.transfer(0, 1, 10, 0))
    blob = net.cores["executor-0"].da.disperse("c", b"blob")
    net.cores["executor-0"].da.write_channel("c", b"data")
    net.run(20)
    net.cores["executor-0"].da.retrieve(blob, lambda: None)
    net.cut(frozenset(("validator-2", "validator-0")))
    net.run(20)
    net.mend(frozenset(("validator-2", "validator-0")))
    net.run(5)
    net.deliver = deliver
    expected = {"block", "txs", "get", "chain", "relaykeep", "relayattest", "relaywant", "relayshare"}
    assert expected <= sent.keys()
    return keys, net, sent


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_damaged_messages_are_at_most_a_fault_of_the_peer(world, data):
    _, net, sent = world
    to, source, message = sent[data.draw(st.sampled_from(sorted(sent)))]
    path = data.draw(st.sampled_from([path for path in _places(message) if path]))
    damaged = _damaged(message, path, data.draw(JUNK), data.draw(st.booleans()))
    with contextlib.suppress(PeerFault):
        net.cores[to].received(source, damaged)
    net.run(0.05)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_transactions_are_refused(world, data):
    keys, net, _ = world
    who = keys.identity("executor-0")
    blob = Dispersal.start(keys.genesis, who, "c", b"blob", "00" * 16)
    raw = data.draw(st.sampled_from([keys.transfer(2, 1, 10, 0), {**blob.raw, "attestations": {"0": "00" * 64}}]))
    path = data.draw(st.sampled_from([path for path in _places(raw) if path]))
    with pytest.raises((Malformed, Rejected)):
        net.cores["validator-0"].submit(_damaged(raw, path, data.draw(JUNK), data.draw(st.booleans())))
