"""What the probe says of queues, by what the kernel says to tc."""

from __future__ import annotations

import pytest

from harness.engine import probe_script

TC = "/sbin/tc"


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Kinds of queues that it has; no module can be asked about, and tc refuses what it does not have in its words."""
    has: set[str] = set()

    def ask(*argv: str) -> tuple[bool, str]:
        works = argv == ("unshare", "--net", "true") or (argv[:3] == ("unshare", "--net", TC) and argv[8] in has)
        return works, "" if works else "Error: Specified qdisc kind is unknown."

    monkeypatch.setattr(probe_script, "find", {"tc": TC, "unshare": "unshare"}.get)
    monkeypatch.setattr(probe_script, "ask", ask)
    monkeypatch.setattr(probe_script, "MODULES", "/nowhere")
    monkeypatch.setattr(probe_script.os, "geteuid", lambda: 0)
    return has


def test_each_queue_is_asked_about_by_itself(kernel: set[str]) -> None:
    kernel |= {"htb", "tbf"}
    assert {kind: probe_script.queue(kind)[0] for kind in probe_script.QUEUES} == {
        "netem": False,
        "htb": True,
        "tbf": True,
    }
    assert probe_script.queue("netem") == (False, "Error: Specified qdisc kind is unknown.")


def test_what_only_root_can_tell(kernel: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_script.os, "geteuid", lambda: 1000)
    assert probe_script.queue("htb") == (None, "only root can ask the kernel")
    monkeypatch.setattr(probe_script, "find", lambda program: None)
    assert probe_script.queue("htb") == (False, "there is no program tc")
