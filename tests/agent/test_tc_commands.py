"""What tc is told: pure."""

from __future__ import annotations

from ipaddress import ip_address

from harness.api import LinkShape, MachineCapability
from harness_agent.nft import Session
from harness_agent.tc.commands import Peer, changes, setup, trials

FOUR, SIX = ip_address("10.0.0.2"), ip_address("fd00::2")
SLOW = LinkShape(rate=1_000_000.0)
LATE = LinkShape(delay=0.1, jitter=0.02)


def test_ssh_passes_before_peers() -> None:
    lines = setup("eth0", [Session.of("10.0.0.9 5000 10.0.0.1 22"), Session.of("fd00::9 5000 fd00::1 2222")])
    assert lines[0].startswith("qdisc add dev eth0 root handle 4841: htb default 0"), "others' roots are not replaced"
    ways = {("10.0.0.9/32", "sport 22"), ("10.0.0.1/32", "dport 22"), ("fd00::9/128", "sport 2222")}
    for to, port in ways | {("fd00::1/128", "dport 2222")}:
        [line] = [line for line in lines if f"dst {to} " in line]
        assert f"{port} 0xffff flowid 4841:0" in line, "it goes by all classes"
        assert f"prio {2 if ':' in to else 1} " in line
    assert not any("prio 1 " in line for line in changes("eth0", [], [Peer(0, (FOUR, SIX), SLOW)]))


def test_a_peer_is_known_by_each_of_its_addresses() -> None:
    made = changes("eth0", [], [Peer(4, (FOUR, SIX), SLOW)])
    assert made[0] == (
        "class replace dev eth0 parent 4841: classid 4841:5 htb rate 8000000bit ceil 8000000bit "
        "burst 20000 cburst 20000 quantum 60000"
    )
    assert made[1] == "qdisc replace dev eth0 parent 4841:5 bfifo limit 262144"
    assert made[2:] == [
        "filter add dev eth0 parent 4841: protocol ip prio 18 u32 match ip dst 10.0.0.2/32 flowid 4841:5",
        "filter add dev eth0 parent 4841: protocol ipv6 prio 19 u32 match ip6 dst fd00::2/128 flowid 4841:5",
    ]


def test_delays_are_by_netem_and_in_order() -> None:
    late = changes("eth0", [], [Peer(0, (FOUR,), LATE)])[1]
    assert late.endswith("netem limit 100000 delay 100000us 20000us rate 100000000000bit")
    assert changes("eth0", [], [Peer(0, (FOUR,), LinkShape(delay=0.05))])[1].endswith("delay 50000us")
    both = changes("eth0", [], [Peer(0, (FOUR,), LinkShape(delay=0.05, rate=1000.0))])
    assert "rate 8000bit" in both[0] and "netem" in both[1]


def test_what_stays_is_not_touched() -> None:
    one, two = Peer(0, (FOUR,), SLOW), Peer(1, (SIX,), SLOW)
    assert changes("eth0", [one, two], [one, two]) == []
    assert changes("eth0", [one, two], [two]) == [
        "filter del dev eth0 parent 4841: protocol ip prio 10",
        "class del dev eth0 classid 4841:1",
    ]
    changed = changes("eth0", [one, two], [one, Peer(1, (SIX,), LATE)])
    assert [line.split()[0] for line in changed] == ["class", "qdisc"], "its filters stay"
    assert all("4841:2" in line for line in changed)


def test_trials_have_what_ours_have() -> None:
    told = trials()
    assert "netem" in told[MachineCapability.LINK_DELAY] and "netem" not in told[MachineCapability.LINK_RATE]
    assert all("htb" in batch and "match ip6" in batch and " dev lo " in batch for batch in told.values())
