"""Whole protocol cores on simulated time and links: convergence, partitions, catching up, availability."""

from __future__ import annotations

import os

import pytest

from harness_devnet.node.codec import digest, encode
from harness_devnet.node.da import TooFewShares
from harness_devnet.node.ledger import supply
from harness_devnet.node.misbehave import Conduct, Panic


def _star(keys):
    names = list(keys.secrets)
    return [(name, names[0]) for name in names[1:]]


def _ring(keys):
    names = list(keys.secrets)
    return list(zip(names, names[1:] + names[:1], strict=True))


def _full(keys):
    names = list(keys.secrets)
    return [(a, b) for a in names for b in names if a < b]


@pytest.mark.parametrize("layout", [_star, _ring, _full])
def test_all_make_the_promised_blocks_and_agree(keys, simulation, layout):
    keys = keys(validators=4, executors=1)
    net = simulation(keys, layout(keys))
    net.run(100)
    assert len(net.heads()) == 1 and not net.faults
    core = net.cores["validator-0"]
    promised = sum(bool(core.chain.lottery.leaders(slot)) for slot in range(1, 101))
    assert core.chain.head.height == promised
    assert {core.chain.tree.at(h).proposer for h in range(1, promised)} == {f"validator-{i}" for i in range(4)}


def test_a_transfer_reaches_everybody_once(keys, simulation):
    keys = keys(validators=3, executors=1)
    net = simulation(keys, _ring(keys))
    net.run(1)
    id = net.cores["executor-0"].submit(keys.transfer(0, 1, 10, 0))
    net.run(0.2)
    assert all(id in core.chain.mempool for core in net.cores.values())
    net.run(20)
    for core in net.cores.values():
        assert core.chain.state.account(keys.addresses[1]).balance == 1010 and len(core.chain.mempool) == 0
        assert supply(core.chain.state.accounts()) == 4000


def test_a_short_partition_heals_and_loses_no_transaction(keys, simulation):
    keys = keys(validators=4, k=50)
    net = simulation(keys, _full(keys))
    net.run(10)
    side = {"validator-0", "validator-1"}
    net.cut(*net.across(side))
    net.cores["validator-0"].submit(keys.transfer(0, 1, 10, 0))
    net.cores["validator-3"].submit(keys.transfer(2, 3, 20, 0))
    net.run(30)
    assert len(net.heads()) == 2
    a, b = net.cores["validator-0"].chain, net.cores["validator-3"].chain
    assert a.state.account(keys.addresses[1]).balance == 1010 and a.state.account(keys.addresses[3]).balance == 1000
    assert b.state.account(keys.addresses[1]).balance == 1000 and b.state.account(keys.addresses[3]).balance == 1020
    net.mend(*net.across(side))
    net.run(20)
    assert len(net.heads()) == 1
    for core in net.cores.values():
        assert [core.chain.state.account(a).balance for a in keys.addresses] == [989, 1010, 979, 1020]


def test_a_partition_deeper_than_k_does_not_heal(keys, simulation):
    keys = keys(validators=4, k=3)
    net = simulation(keys, _full(keys))
    side = {"validator-0", "validator-1"}
    net.run(5)
    net.cut(*net.across(side))
    net.run(60)
    net.mend(*net.across(side))
    net.run(60)
    assert len(net.heads()) == 2
    a, b = (net.cores[name].chain.tree for name in ("validator-0", "validator-3"))
    common = min(a.final_height, b.final_height)
    assert a.at(common).hash != b.at(common).hash  # two final blocks at one height
    assert not net.cores["validator-0"].syncing


def test_an_absent_node_catches_up_through_a_chain_of_peers(keys, simulation):
    keys = keys(validators=3, executors=3, k=100)
    names = list(keys.secrets)
    links = list(zip(names[1:], names, strict=False))
    net = simulation(keys, links)
    last = {"executor-1", "executor-2"}
    net.cut(*net.across(last))
    net.run(600)
    assert net.cores["executor-2"].chain.head.height == 0
    net.mend(*net.across(last))
    assert net.cores["executor-1"].syncing
    net.run(3)
    assert len(net.heads()) == 1 and not net.cores["executor-2"].syncing


def test_peers_that_send_nonsense_are_dropped(keys, simulation):
    keys = keys(validators=2)
    net = simulation(keys, _full(keys))
    net.run(1)
    junk = [
        {},
        {"type": "x"},
        {"type": "head", "height": -1, "hash": ""},
        {"type": "block"},
        {"type": "txs", "txs": [7]},
        {"type": "get", "locator": [1]},
        {"type": "chain", "blocks": [{}]},
        {"type": "relay", "id": "1", "from": "validator-1", "to": "stranger", "hops": 0, "flood": False, "body": {}},
    ]
    for message in junk:
        net.deliver("validator-1", "validator-0", encode(message))
    net.run(1)
    assert [source for source, _ in net.faults] == ["validator-1"] * len(junk)


class TestAvailability:
    @pytest.mark.parametrize("layout", [_star, _ring])
    def test_blobs_are_dispersed_inscribed_and_read_back(self, keys, simulation, layout):
        keys = keys(validators=4, executors=2)
        net = simulation(keys, layout(keys))
        net.run(1)
        blobs = {net.cores["executor-0"].da.disperse("c", blob): blob for blob in (b"", b"x", os.urandom(5000))}
        net.run(20)
        for id, blob in blobs.items():
            assert any(id in [t.id for t in self._txs(net, h)] for h in range(1, 100))
            assert self._read(net, "executor-1", id) == blob
        assert net.cores["validator-0"].chain.state.channel_writes("c") == 3

    @staticmethod
    def _txs(net, height):
        chain = net.cores["validator-0"].chain
        return chain.block(chain.tree.at(height).hash).txs if height <= chain.head.height else ()

    @staticmethod
    def _read(net, name, id):
        done = []
        retrieval = net.cores[name].da.retrieve(id, lambda: done.append(net.time))
        net.run(9)
        assert len(done) == 1
        return retrieval.result()

    def test_no_inscription_without_enough_attestations(self, keys, simulation):
        keys = keys(validators=4, executors=1)
        net = simulation(keys, _full(keys))
        net.run(1)
        away = {"validator-2", "validator-3"}
        net.cut(*net.across(away))
        id = net.cores["executor-0"].da.disperse("c", b"blob")
        net.run(10)
        chain = net.cores["executor-0"].chain
        assert chain.state.blob(id) is None and id not in chain.mempool
        with pytest.raises(TooFewShares, match="no such blob"):
            net.cores["executor-0"].da.retrieve(id, lambda: None)
        net.mend(*net.across(away))
        net.run(30)
        assert net.cores["executor-0"].chain.state.blob(id) is not None

    @pytest.mark.parametrize(
        ("switch", "told"), [("corrupt-shares", "wrong: validator-1, validator-2"), ("withhold-shares", "wrong: none")]
    )
    def test_one_bad_validator_is_borne_two_are_not(self, keys, simulation, switch, told):
        keys = keys(validators=4, executors=1)
        one = simulation(keys, _star(keys), {"validator-1": Conduct(switch)})
        two = simulation(keys, _star(keys), {"validator-1": Conduct(switch), "validator-2": Conduct(switch)})
        for net in (one, two):
            net.run(1)
            net.id = net.cores["executor-0"].da.disperse("c", b"blob" * 100)
            net.run(20)
            assert net.cores["executor-0"].chain.state.blob(net.id) is not None
        assert self._read(one, "executor-0", one.id) == b"blob" * 100
        assert one.cores["executor-0"].da.bad_shares == ({"validator-1": 1} if switch == "corrupt-shares" else {})
        with pytest.raises(TooFewShares, match=f"2 good shares of 3 needed; {told}"):
            self._read(two, "executor-0", two.id)

    def test_a_validator_attests_only_to_its_own_good_share(self, keys, simulation):
        from harness_devnet.node.da import Custodian, Dispersal, MemoryShares
        from harness_devnet.node.transactions import Rejected

        keys = keys(validators=3, executors=1)
        custodian = Custodian(keys.genesis, keys.identity("validator-1"), MemoryShares())
        dispersal = Dispersal.start(keys.genesis, keys.identity("executor-0"), "c", b"some blob", "00" * 16)
        offers = [dispersal.offer(share) for share in dispersal.shares]
        answer = custodian.take(offers[1])
        assert not dispersal.attested(keys.genesis, answer)
        with pytest.raises(Rejected, match="bad attestation"):
            dispersal.attested(keys.genesis, {**answer, "index": 0})
        swapped = {**offers[1], "share": {**offers[1]["share"], "data": offers[0]["share"]["data"]}}
        rogue = Dispersal.start(keys.genesis, keys.identity("validator-0"), "c", b"some blob", "00" * 16)
        for offer, reason in (
            (offers[0], "does not belong"),
            (swapped, "does not belong"),
            (rogue.offer(rogue.shares[1]), "not signed by an executor"),
            ({**offers[1], "blob": {**dispersal.raw, "channel": "other"}}, "not signed by an executor"),
        ):
            with pytest.raises(Rejected, match=reason):
                custodian.take(offer)

    def test_shares_that_are_no_code_word_are_found_out(self, keys):
        """An executor that commits to random shares gets attestations, but no reader gets two different blobs."""
        from harness_devnet.node import erasure
        from harness_devnet.node.da import Retrieval, Share
        from harness_devnet.node.ledger import BlobRecord

        genesis = keys(validators=4).genesis
        shares = [bytes([i]) * 4 for i in range(4)]
        record = BlobRecord(erasure.merkle_root(shares).hex(), 12, "c")
        retrieval = Retrieval("00" * 32, record, genesis, lambda: None)
        for i, proof in enumerate(erasure.merkle_proofs(shares)):
            assert retrieval.answered(f"validator-{i}", {"share": Share(i, shares[i], tuple(proof)).to_json()})
        with pytest.raises(TooFewShares, match="no code word"):
            retrieval.result()


class TestMisbehaviour:
    """Each switch breaks one property; the rest of the network goes on."""

    def _run(self, keys, simulation, switch, seconds=60, **options):
        keys = keys(validators=3, **options)
        net = simulation(keys, _full(keys), {"validator-1": Conduct(*switch)})
        net.run(seconds)
        return keys, net, net.cores["validator-1"], net.cores["validator-0"]

    def test_silent(self, keys, simulation):
        _, net, _, honest = self._run(keys, simulation, ("silent", 5))
        proposers = [honest.chain.tree.at(h).proposer for h in range(1, honest.chain.head.height + 1)]
        assert "validator-1" not in proposers[5:] and len(net.heads()) == 1

    def test_freeze(self, keys, simulation):
        _, _, broken, honest = self._run(keys, simulation, ("freeze", 5))
        assert broken.chain.head.height == 5 and honest.chain.head.height > 15 and not broken.syncing

    def test_fork(self, keys, simulation):
        _, net, broken, honest = self._run(keys, simulation, ("fork", 5), seconds=120, k=3)
        assert net.cores["validator-2"].chain.head == honest.chain.head
        final = min(broken.chain.tree.final_height, honest.chain.tree.final_height)
        assert final > 5 and broken.chain.tree.at(final).hash != honest.chain.tree.at(final).hash
        proposers = {broken.chain.tree.at(h).proposer for h in range(6, broken.chain.head.height + 1)}
        assert proposers == {"validator-1"}

    def test_drop_transactions(self, keys, simulation):
        keys, net, broken, honest = self._run(keys, simulation, ("drop-transactions",), seconds=5)
        dropped = broken.submit(keys.transfer(0, 1, 10, 0))
        honest.submit(keys.transfer(2, 1, 10, 0))
        net.run(40)
        assert dropped in broken.chain.mempool and dropped not in honest.chain.mempool
        assert honest.chain.state.account(keys.addresses[0]).nonce == 0
        assert honest.chain.state.account(keys.addresses[2]).nonce == 1
        tree = honest.chain.tree
        theirs = [tree.at(h) for h in range(1, honest.chain.head.height) if tree.at(h).proposer == "validator-1"]
        assert theirs and not any(node.tx_count for node in theirs)

    def test_stay_behind(self, keys, simulation):
        _, net, broken, honest = self._run(keys, simulation, ("stay-behind",))
        assert broken.chain.head == honest.chain.head  # until it is started again
        before = broken.chain.head.height
        broken.start()
        net.run(20)
        assert broken.chain.head.height == before < honest.chain.head.height

    def test_sign_twice(self, keys, simulation):
        keys = keys(validators=3)
        net = simulation(keys, _full(keys), {"validator-1": Conduct("sign-twice")})
        signed = {}
        for nonce in range(40):
            net.cores["validator-0"].submit(keys.transfer(0, 1, 1, nonce))
            net.run(1)
            for core in net.cores.values():
                tree = core.chain.tree
                for node in map(tree.get, list(tree._nodes)):
                    signed.setdefault((node.proposer, node.slot), set()).add(node.hash)
        twice = [proposer for (proposer, _), hashes in signed.items() if len(hashes) > 1]
        assert len(twice) > 3 and set(twice) == {"validator-1"}
        assert len(net.heads()) == 1 and not net.faults

    def test_slow_pace(self, keys, simulation):
        keys = keys(validators=3)
        conduct = {f"validator-{i}": Conduct("slow-pace") for i in range(3)}
        slow, sound = simulation(keys, _full(keys), conduct), simulation(keys, _full(keys))
        for net in (slow, sound):
            net.run(1300)
        heights = [net.cores["validator-0"].chain.head.height for net in (slow, sound)]
        assert heights[1] / heights[0] == pytest.approx(1.3, abs=0.06)

    def test_panic(self, keys, simulation):
        with pytest.raises(Panic):
            self._run(keys, simulation, ("panic", 4))


def test_shares_are_named_by_the_digest_of_the_commitment(keys):
    from harness_devnet.node.da import Dispersal

    keys = keys(validators=3, executors=1)
    dispersal = Dispersal.start(keys.genesis, keys.identity("executor-0"), "c", b"blob", "00" * 16)
    body = {name: value for name, value in dispersal.raw.items() if name != "sig"}
    assert dispersal.id == digest(encode(body))
