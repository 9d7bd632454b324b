"""What needs no engine: streams cut anywhere, archives, recipes, users, and engines that will not do."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import socket
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.api import HostSpec
from harness_docker import images, sweep
from harness_docker.archive import Entry, pack, unpack_one
from harness_docker.containers import owner_of, shell_command
from harness_docker.deployer import _alive
from harness_docker.engine import Engine, NoEngine, unusable
from harness_docker.limits import limits_of
from harness_docker.links import instead, offered
from harness_docker.service import _moment
from harness_docker.spool import Spool
from harness_docker.streams import STDERR, STDOUT, Log, MarkerFilter

MARKER = b"<sync 0123>"


@given(st.lists(st.sampled_from([b"<sync 0123>", b"<sync 01", b"<", b"23>", b"text\n", b"\x00"])), st.randoms())
def test_markers_are_taken_out_however_the_stream_is_cut(parts: list[bytes], random: Any) -> None:
    whole = b"".join(parts)
    markers = whole.count(MARKER)
    filtered = MarkerFilter()
    for _ in range(markers):
        filtered.expect(MARKER)
    clean, found = b"", []
    at = 0
    while at < len(whole):
        size = random.randint(1, 7)
        piece, seen = filtered.feed(whole[at : at + size])
        clean, found = clean + piece, found + seen
        at += size
    assert clean + filtered.rest() == whole.replace(MARKER, b"")
    assert len(found) == markers


def test_what_is_no_marker_is_not_held_back() -> None:
    filtered = MarkerFilter()
    assert filtered.feed(b"no marker is expected <sync") == (b"no marker is expected <sync", [])
    filtered.expect(MARKER)
    assert filtered.feed(b"a<sync x") == (b"a<sync x", [])
    assert filtered.feed(b"b<sync ") == (b"b", [])
    assert filtered.feed(b"0123>c") == (b"c", [MARKER])


def test_a_log_tells_when_a_marker_has_come_in_both_streams(tmp_path: Path) -> None:
    log = Log(tmp_path / "a" / "log")
    seen: list[str] = []
    log.expect(MARKER, lambda: seen.append((tmp_path / "a" / "log").read_text()))
    log.write(STDOUT, b"out" + MARKER)
    assert seen == []
    log.write(STDERR, b"err" + MARKER + b"later")
    log.close()
    assert seen == ["outerrlater"]
    assert (tmp_path / "a" / "log").read_text() == "outerrlater"


def test_a_log_on_a_full_disk_does_not_stop_the_node() -> None:
    log = Log(Path("/dev/full"))
    log.write(STDOUT, b"lost")
    log.write(STDOUT, b"lost")
    log.close()
    assert "No space left" in log.error


def test_an_archive_is_what_tar_reads(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 700)
    entries = [
        Entry(PurePosixPath("/folder"), None, 0o750, (5, 6)),
        Entry(PurePosixPath("/folder/new\nline"), b"bytes", 0o600),
        Entry(PurePosixPath("/" + "long/" * 60 + "ü"), source, 0o644),
    ]
    packed = b"".join(pack(entries))
    assert packed == b"".join(pack(entries))
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        members = archive.getmembers()
        assert [(m.name, m.mode, m.uid, m.gid, m.size) for m in members] == [
            ("folder", 0o750, 5, 6, 0),
            ("folder/new\nline", 0o600, 0, 0, 5),
            ("long/" * 60 + "ü", 0o644, 0, 0, 700),
        ]
    sink = io.BytesIO()
    unpack_one(iter([packed[at : at + 100] for at in range(512, len(packed), 100)]), PurePosixPath("/x"), sink)
    assert sink.getvalue() == b"bytes"
    with pytest.raises(IsADirectoryError):
        unpack_one(iter([packed]), PurePosixPath("/folder"), sink)


@pytest.mark.parametrize(
    ("recipe", "found"),
    [
        ("FROM debian:bookworm-slim", ["debian:bookworm-slim"]),
        (
            "# FROM not\nARG BASE=a:1\nfrom ${BASE} AS built\nFROM scratch\nFROM built\nFROM --platform=x b",
            ["given", "b"],
        ),
        ("ARG V='12'\nFROM python:$V-slim\nARG V=13\nFROM other:${W:-1}", ["python:12-slim", "other:1"]),
        ("FROM \\\n  a\nFROM a", ["a"]),
    ],
)
def test_the_images_that_a_recipe_builds_upon(recipe: str, found: Sequence[str]) -> None:
    assert images.bases(recipe, {"BASE": "given"}) == found


PASSWD = b"root:x:0:0::/:/bin/sh\nbroken\nnode:x:1000:100:a,b:/:/bin/sh\n"


@pytest.mark.parametrize(
    ("user", "owner"),
    [
        ("", (0, 0)),
        ("node", (1000, 100)),
        ("1000", (1000, 100)),
        ("4321", (4321, 0)),
        ("node:staff", (1000, 50)),
        ("node:7", (1000, 7)),
        ("unknown", (0, 0)),
    ],
)
def test_whom_files_belong_to(user: str, owner: tuple[int, int]) -> None:
    files = {"/etc/passwd": PASSWD, "/etc/group": b"staff:x:50:\n"}
    assert owner_of(user, lambda path: files[str(path)]) == owner


def test_images_without_a_passwd() -> None:
    def read(path: PurePosixPath) -> bytes:
        raise FileNotFoundError(path)

    assert owner_of("node", read) == (0, 0)
    assert owner_of("12:13", read) == (12, 13)


def test_moments() -> None:
    assert _moment("2026-01-31T12:00:00.5Z") == 1769860800.5
    assert _moment("2026-01-31T12:00:00Z") == 1769860800.0
    assert _moment("2026-01-31T12:00:00.123456789Z") == pytest.approx(1769860800.123456789)
    assert _moment("0001-01-01T00:00:00Z") == 0.0


def test_the_spool_is_a_small_machine(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.put(b"1", PurePosixPath("/a/b"), 0o600)
    spool.put(b"2", PurePosixPath("/a/b"), 0o640)
    spool.put(b"3", PurePosixPath("/a/c/d"), 0o640)
    assert spool.find(PurePosixPath("/a/b")).read_bytes() == b"2"
    assert [(str(path), held.mode) for path, held in spool.files] == [("/a/b", 0o640), ("/a/c/d", 0o640)]
    with pytest.raises(IsADirectoryError):
        spool.find(PurePosixPath("/a/c"))
    spool.remove(PurePosixPath("/a/c"))
    with pytest.raises(FileNotFoundError):
        spool.find(PurePosixPath("/a/c/d"))
    assert len(list((tmp_path / "spool").iterdir())) == 1
    spool.clear()
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize(
    ("api", "system", "said"),
    [
        ("1.40", "linux", ""),
        ("1.39", "linux", "too old: it speaks API 1.39, and 1.40"),
        ("1.41", "windows", "runs windows containers"),
    ],
)
def test_engines_that_will_not_do(api: str, system: str, said: str) -> None:
    told = unusable("unix:///x", api, {"OSType": system})
    assert said in told
    assert bool(said) == bool(told)


@pytest.mark.anyio
async def test_no_engine_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NoEngine, match=r"no Docker engine runs at unix:///no/such.sock .*; start it"):
        await Engine.open("unix:///no/such.sock", 1)
    deaf = socket.socket(socket.AF_UNIX)
    deaf.bind(str(tmp_path / "deaf.sock"))
    deaf.close()
    with pytest.raises(NoEngine, match="no Docker engine runs at"):
        await Engine.open(f"unix://{tmp_path}/deaf.sock", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(NoEngine, match="no Docker engine runs at"):
        await Engine.open(f"tcp://127.0.0.1:{port}", 1)
    for elsewhere in ("ssh://host", "tcp://192.0.2.1:2375", "https://host"):
        with pytest.raises(NoEngine, match="another machine's"):
            await Engine.open(elsewhere, 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes somebody else")
def test_no_permission_is_told_with_what_to_do(tmp_path: Path) -> None:
    """In a child that is nobody: what root is refused there is nothing."""
    with socket.socket(socket.AF_UNIX) as closed:
        path = tmp_path / "closed.sock"
        closed.bind(str(path))
        path.chmod(0)
        receiving, sending = os.pipe()
        if (child := os.fork()) == 0:
            try:
                os.setuid(65534)
                asyncio.run(Engine.open(f"unix://{path}", 1))
            except NoEngine as error:
                os.write(sending, str(error).encode())
            finally:
                os._exit(0)
        os.close(sending)
        os.waitpid(child, 0)
        with os.fdopen(receiving) as said:
            assert "there is no permission to use the Docker engine" in said.read()


def test_where_the_engine_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert "base_url" not in sweep.settings() or sweep.settings()["base_url"].startswith(("unix://", "http+unix://"))
    meta = tmp_path / "contexts" / "meta" / hashlib.sha256(b"mine").hexdigest()
    meta.mkdir(parents=True)
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": "mine"}))
    (meta / "meta.json").write_text(
        json.dumps({"Name": "mine", "Metadata": {}, "Endpoints": {"docker": {"Host": "unix:///mine.sock"}}})
    )
    assert sweep.settings()["base_url"] == "unix:///mine.sock"
    monkeypatch.setenv("DOCKER_HOST", "unix:///env.sock")
    assert sweep.settings()["base_url"] == "unix:///env.sock"
    assert sweep.settings("unix:///option.sock")["base_url"] == "unix:///option.sock"


def test_a_shell_in_a_container_is_at_the_engine_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    assert shell_command("c", "") == ("docker", "exec", "-it", "c", "sh")
    monkeypatch.setenv("DOCKER_HOST", "unix:///env.sock")
    assert shell_command("c", "") == ("docker", "-H", "unix:///env.sock", "exec", "-it", "c", "sh")
    assert shell_command("c", "ssh://one")[:3] == ("docker", "-H", "ssh://one")


def test_limits_of_hosts_win_over_options() -> None:
    assert limits_of(HostSpec("h", {}), 2, 1 << 30) == (2, 1 << 30)
    assert limits_of(HostSpec("h", {"harness_memory": "64MiB"}), 2, 1 << 30) == (2, 64 << 20)
    assert limits_of(HostSpec("h", {"harness_cpus": 0.5, "ansible_host": "x"}), 2, 1 << 30) == (0.5, 1 << 30)
    with pytest.raises(ValueError, match=r"harness_cpus: .*; harness_memory: "):
        limits_of(HostSpec("h", {"harness_cpus": "$(id)", "harness_memory": "lots"}), None, None)


@pytest.mark.parametrize(
    "owner", ["", "{}", "null", '{"pid": 1}', '{"pid": 1, "start": "1", "boot": "b", "host": "elsewhere"}']
)
def test_of_whose_controller_nothing_is_known_is_left_alone(owner: str) -> None:
    assert _alive(owner)


@pytest.mark.parametrize(
    ("links", "why_not", "can"),
    [
        ("auto", "", "control delay loss rate"),
        ("auto", "why", "control delay rate"),
        ("nft", "", "control loss"),
        ("nft", "why", ""),
        ("relay", "", "control delay rate"),
    ],
)
def test_what_can_be_done_to_links_and_why_the_rest_cannot(links: Any, why_not: str, can: str) -> None:
    capabilities, lacks = offered(links, why_not)
    assert capabilities == {f"link-{each}" for each in can.split()}
    assert lacks.keys() == {f"link-{each}" for each in ("control", "delay", "loss", "rate")} - capabilities
    assert all(reason.endswith(("takes nft, and why", f'cannot do: links = "{links}"')) for reason in lacks.values())
    assert why_not == "" or any("why" in reason for reason in lacks.values())
    assert ("link-control" in instead(links, why_not)) is (links == "auto" and why_not != "")
