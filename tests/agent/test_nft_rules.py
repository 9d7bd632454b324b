"""What is said to nft: nothing that somebody else has written, and what nft itself takes for what it is meant to be."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from ipaddress import ip_address

import pytest

from harness.api import CUT, LinkShape
from harness_agent.nft import Session
from harness_agent.nft.rules import address, clashes, loses, removal, ruleset, table_of

V4, V6 = ip_address("10.0.0.1"), ip_address("fd00::1")
HOSTILE = ["a; flush ruleset", "x { }", 'q"uote', "new\nline", "$(reboot)", "ünï", "a b", "..", "-", "x" * 500, ""]
SSH = Session.of("192.0.2.7 50123 192.0.2.1 22")

needs_nft = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("nft"), reason="asks nft, as root")


def checked(text: str) -> None:
    done = subprocess.run(["nft", "--check", "-f", "-"], input=text.encode(), stderr=subprocess.PIPE, check=False)
    assert done.returncode == 0, (text, done.stderr)


def rules(text: str) -> list[str]:
    return [line.strip() for line in text.partition("policy accept;\n")[2].splitlines() if line.strip(" }")]


def test_a_table_is_called_after_its_run() -> None:
    assert table_of("2026-11-22T21-22-32-contract-6272") == "harness_2026-11-22T21-22-32-contract-6272"
    assert len({table_of(run) for run in [*HOSTILE, "a_", "a.", "A_"]}) == len(HOSTILE) + 3
    for run in HOSTILE:
        assert re.fullmatch(r"harness_[A-Za-z0-9_.-]{0,200}", table_of(run))


@needs_nft
@pytest.mark.parametrize("run", HOSTILE, ids=range(len(HOSTILE)))
def test_nft_takes_any_run(run: str) -> None:
    checked(ruleset(table_of(run), [SSH], [([V4, V6], LinkShape(loss=0.3))]))
    checked(removal(table_of(run)))


def test_ssh_and_the_machine_itself_come_first() -> None:
    told = rules(ruleset("t", [SSH, SSH], [([V4], CUT)]))
    assert told == [
        'iifname "lo" accept',
        "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
        "ip saddr { 192.0.2.7 } ip daddr 192.0.2.1 tcp dport 22 accept",
        "ip saddr { 192.0.2.1 } ip daddr 192.0.2.7 tcp sport 22 accept",
        "ip saddr { 10.0.0.1 } drop",
    ]


def test_each_address_of_a_node_is_lost() -> None:
    told = rules(ruleset("t", [], [([V6, V4, ip_address("10.0.0.2")], LinkShape(loss=0.25))]))
    assert told[2:] == [
        "ip saddr { 10.0.0.1, 10.0.0.2 } numgen random mod 1000000 < 250000 drop",
        "ip6 saddr { fd00::1 } numgen random mod 1000000 < 250000 drop",
    ]


@pytest.mark.parametrize(
    ("shape", "lost"),
    [(CUT, True), (LinkShape(loss=1.0), True), (LinkShape(loss=1e-6), True), (LinkShape(loss=1e-9), False),
     (LinkShape(), False), (LinkShape(delay=1.0, rate=1.0), False), (LinkShape(cut=True, loss=0.1), True)],
)  # fmt: skip
def test_what_is_lost(shape: LinkShape, lost: bool) -> None:
    assert loses(shape) is lost
    assert len(rules(ruleset("t", [], [([V4], shape)]))) == 2 + lost


@needs_nft
@pytest.mark.parametrize("loss", [0.000001, 0.05, 0.999999, 1.0])
def test_nft_takes_any_loss(loss: float) -> None:
    checked(ruleset("harness_x", [SSH, Session(V6, V6, 65535)], [([V4, V6], LinkShape(loss=loss)), ([], CUT)]))


def test_addresses_are_those_of_packets() -> None:
    assert str(address("fe80::1%eth0; flush ruleset")) == "fe80::1"
    assert str(address("::ffff:10.0.0.1")) == "10.0.0.1"
    for text in ("10.0.0.1; flush ruleset", "10.0.0.0/8", "node", "", "{ 10.0.0.1 }"):
        with pytest.raises(ValueError):
            address(text)


@pytest.mark.parametrize(
    "said",
    ["", "10.0.0.1 1 10.0.0.2", "a 1 b 22", "10.0.0.1 1 10.0.0.2 0", "10.0.0.1 1 10.0.0.2 22;", "::1 1 ::1 99999"],
)
def test_what_is_no_session(said: str) -> None:
    with pytest.raises(ValueError):
        Session.of(said)


def test_nodes_of_one_address_are_not_told_apart() -> None:
    assert clashes({"a": [V4, V4], "b": [V6]}) == ""
    assert clashes({"a": [V4, V6], "b": [V6]}) == "a and b have the same address, fd00::1"
