"""`ssh -G` is asked once for hosts that its configuration does not tell apart, and what is said stays true."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.api import Connection
from harness_ssh import asked
from harness_ssh.asked import Asked, Said

HOSTS = ("web1", "web2", "db1.example.org", "db2.example.org", "10.7.0.1", "10.7.0.2", "WEB3", "a", "::1")


@pytest.fixture
def asks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hosts that ssh was asked for."""
    hosts: list[str] = []

    def run(argv: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        hosts.append(argv[-1])
        return subprocess.run(argv, **options)

    monkeypatch.setattr(asked, "subprocess", _Subprocess(run))
    return hosts


class _Subprocess:
    DEVNULL, TimeoutExpired = subprocess.DEVNULL, subprocess.TimeoutExpired

    def __init__(self, run: Any) -> None:
        self.run = run


def connection(host: str, port: int | None = None) -> Connection:
    return Connection(name=host, kind="ssh", host=host, port=port)


def comparable(said: Said) -> dict[str, list[str]]:
    return {keyword: list(values) for keyword, values in said.items()}


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("", 3),
        ("User me\nHost *\n  Port 2022\n", 3),
        ("Match final all\n  User me\n", 3),
        ('Host web* !web2\n  User web\nHost="10.7.0.1"\n  Port 7\n', 7),
        ("hOsT db?.example.org\n  HostName %h.internal\n", 9),
        ("IdentityFile ~/%h.key\nProxyCommand nc %h %p\nUserKnownHostsFile ~/known-%k\n", 9),
        ("Include more\nHost none\n  Include more\n", 9),
        ("Match host web1\n  User match\n", 9),
        ("Match originalhost db* exec true\n  User match\n", 9),
        ("CanonicalizeHostname yes\n", 9),
    ],
)
def test_hosts_that_are_alike_are_asked_for_once_and_told_the_same(
    tmp_path: Path, asks: list[str], text: str, most: int
) -> None:
    config, more = tmp_path / "config", tmp_path / "more"
    more.write_text("Host web2\n  User more\n")
    config.write_text(text.replace("Include more", f"Include {more}"))
    ask = Asked()
    together = [comparable(ask(connection(host), config)) for host in HOSTS]
    assert len(asks) <= most
    assert together == [comparable(Asked()(connection(host), config)) for host in HOSTS]


def test_what_else_the_inventory_says_is_not_mixed_up(tmp_path: Path, asks: list[str]) -> None:
    config = tmp_path / "config"
    config.write_text("")
    ask = Asked()
    ports = [ask(connection("web1", port), config)["port"] for port in (None, 7, 8, 7, None)]
    assert ports == [["22"], ["7"], ["8"], ["7"], ["22"]]
    assert asks == ["web1"] * 3
