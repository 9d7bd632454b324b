"""Known hosts, checked against what ssh-keygen makes of them."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness_ssh.known_hosts import Trust, add, fingerprint, hash_name, judge, parse, read, types

KEY, OTHER = b"\0\0\0\x0bssh-ed25519-one", b"\0\0\0\x0bssh-ed25519-two"
FILE = Path("known_hosts")


def line(names: str, key: bytes = KEY, type: str = "ssh-ed25519", marker: str = "") -> str:
    return f"{marker} {names} {type} {base64.b64encode(key).decode()} comment here\n".lstrip()


@pytest.mark.parametrize(
    ("names", "name", "trust"),
    [
        ("node01", "node01", Trust.KNOWN),
        ("node01", "NODE01", Trust.KNOWN),
        ("node01,10.0.0.1", "10.0.0.1", Trust.KNOWN),
        ("node01", "node02", Trust.UNKNOWN),
        ("*.example.org", "a.example.org", Trust.KNOWN),
        ("node0?", "node01", Trust.KNOWN),
        ("node*,!node02", "node02", Trust.UNKNOWN),
        ("[node01]:2222", "[node01]:2222", Trust.KNOWN),
        ("[node01]:2222", "node01", Trust.UNKNOWN),
        ("[node01]:2222", "n:2222", Trust.UNKNOWN),
        ("node01", "[node01]:2222", Trust.KNOWN),  # as ssh does, a known key is known on any port
        ("2001:db8::1", "2001:db8::1", Trust.KNOWN),
    ],
)
def test_names_match_as_in_ssh(names: str, name: str, trust: Trust) -> None:
    assert judge(parse(line(names), FILE), name, "ssh-ed25519", KEY).trust is trust


def test_another_key_of_a_known_host_has_changed() -> None:
    verdict = judge(parse("# a comment\n\n" + line("node01", OTHER), FILE), "node01", "ssh-ed25519", KEY)
    assert verdict.trust is Trust.CHANGED
    assert verdict.entry is not None
    assert (verdict.entry.file, verdict.entry.line) == (FILE, 3)


def test_a_key_of_another_type_has_changed_too() -> None:
    entries = parse(line("node01", OTHER, "ssh-rsa"), FILE)
    assert judge(entries, "node01", "ssh-ed25519", KEY).trust is Trust.CHANGED
    assert types(entries, "node01") == ("ssh-rsa",)
    assert types(entries, "node02") == ()


def test_a_changed_key_under_a_name_without_port_leaves_a_port_unknown() -> None:
    assert judge(parse(line("node01", OTHER), FILE), "[node01]:22", "ssh-ed25519", KEY).trust is Trust.UNKNOWN


def test_a_revoked_key_is_refused_though_it_is_known_too() -> None:
    entries = parse(line("node01") + line("*", marker="@revoked"), FILE)
    assert judge(entries, "node01", "ssh-ed25519", KEY).trust is Trust.REVOKED
    assert judge(entries, "[node01]:2222", "ssh-ed25519", KEY).trust is Trust.REVOKED


def test_lines_that_are_none_say_nothing() -> None:
    text = "node01\nnode01 ssh-ed25519\nnode01 ssh-ed25519 ###\n|1|x ssh-ed25519 AAAA\n" + line(
        "*", marker="@cert-authority"
    )
    assert judge(parse(text, FILE), "node01", "ssh-ed25519", KEY).trust is Trust.UNKNOWN


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    judge(parse(text, FILE), "node01", "ssh-ed25519", KEY)


@pytest.mark.parametrize("name", ["node01", "NODE01", "[node01]:2222", "10.0.0.1", "node02", "[node02]:2222"])
def test_what_is_read_of_a_host_judges_it_as_all_does(tmp_path: Path, name: str) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text(line("*,!node02", OTHER, "ssh-rsa") + line("Node01,10.0.0.1") + line("node03") + line("node01"))
    second.write_text(line(hash_name("node02", b"salt")) + line("node0?", marker="@revoked") + line("[node01]:2222"))
    some = read([first, second], name)
    every = (*parse(first.read_text(), first), *parse(second.read_text(), second))
    assert len(some) < len(every)
    for key in (KEY, OTHER, b"third"):
        assert judge(some, name, "ssh-ed25519", key) == judge(every, name, "ssh-ed25519", key)
    assert types(some, name) == types(every, name)


def test_what_is_added_is_found_by_us_and_by_ssh(tmp_path: Path) -> None:
    file = tmp_path / "ssh" / "known_hosts"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    type, blob, *_ = (tmp_path / "key.pub").read_text().split()
    key = base64.b64decode(blob)
    add(file, "node01", type, key)
    file.write_text(file.read_text().rstrip("\n"))  # somebody's editor
    add(file, "[Node02]:2222", type, key, hashed=True)
    assert "02" not in file.read_text()
    for name in ("node01", "[node02]:2222"):
        assert judge(read([file, tmp_path / "none"], name), name, type, key).trust is Trust.KNOWN
        found = subprocess.run(["ssh-keygen", "-F", name, "-f", str(file)], capture_output=True, text=True)
        assert blob in found.stdout
    assert file.stat().st_mode & 0o777 == 0o600
    shown = subprocess.run(["ssh-keygen", "-lf", str(tmp_path / "key.pub")], capture_output=True, text=True).stdout
    assert fingerprint(key) in shown
