"""Canaries: a run whose every part tells the secrets that it was given to whoever listens, and nobody gets to hear.

The run is a real one of the command line, on machines in memory, so that all is searched that leaves the process:
every file of the run, stdout and stderr."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

PLUGIN = '''
import base64
import json
import os
import sys
from contextlib import asynccontextmanager
from urllib.parse import quote

from harness.api import (
    CommandRecord, Expectation, InfrastructureError, Judgement, Secret, Verdict, Workload, hookimpl
)
from harness.testing.fakes import FakeChain, FakeDeployer

SECRETS = []


def forms(secret):
    yield from (secret, repr(secret), json.dumps(secret), quote(secret, safe=""))
    yield base64.b64encode(f"user:{secret}".encode()).decode()


class LeakyChain(FakeChain):
    """The fake one."""
    name = "leaky"


class LeakyDeployer(FakeDeployer):
    """The fake one, which reads every secret."""
    name = "leaky"

    @asynccontextmanager
    async def deploy(self, request):
        for node in request.nodes:
            SECRETS.extend(value.reveal() for value in node.host.vars.values() if isinstance(value, Secret))
        for secret in SECRETS:
            request.access.audit(CommandRecord("h1", ("sudo", "-S", secret), 1, 0.1, secret, f"wrong: {secret}"))
        if os.environ.get("LEAK") == "deploy":
            raise InfrastructureError(f"nobody may log in with {SECRETS}")
        async with super().deploy(request) as deployment:
            yield deployment


class Leak(Workload):
    """Tells them."""
    name = "leak"

    async def run(self, ctx):
        for secret in SECRETS:
            for form in forms(secret):
                ctx.note(f"the password is {form}", nested={form: [form, (form,), {"a": form}]}, raw=[form])
                ctx.warn(f"<{form}>")
                print("stdout", form)
                print("stderr", form, file=sys.stderr)
            ctx.progress(**{"password": secret})
        if os.environ.get("LEAK") == "crash":
            raise RuntimeError(f"{SECRETS[0]} is wrong")


class Told(Expectation):
    """That they were told."""
    name = "told"

    async def evaluate(self, ctx):
        evidence = {form: [form, {"again": form}] for secret in SECRETS for form in forms(secret)}
        return Judgement(Verdict.FAIL, " ".join(SECRETS), f"https://user:{SECRETS[0]}@host", evidence)


@hookimpl
def harness_chains():
    return [LeakyChain]


@hookimpl
def harness_deployers():
    return [LeakyDeployer]


@hookimpl
def harness_workloads():
    return [Leak]


@hookimpl
def harness_expectations():
    return [Told]
'''

PLAYBOOK = """
name = "canaries"
description = "logs in with canary-given"
chain = "leaky"
duration = "200ms"
[topology]
layout = "full"
validators = 2
[[workloads]]
use = "leak"
[[expectations]]
use = "told"
"""

INVENTORY = """
[validators.hosts]
h1 = { ansible_password = "canary-written \\"quoted\\" & <odd>" }
h2 = { ansible_password = { command = ["cat", "printed"] } }
[validators.vars]
harness_deployer = "leaky"
ansible_become_password = { env = "CANARY" }
harness_key_passphrase = { file = "kept" }
"""

CANARIES = {
    "written": 'canary-written "quoted" & <odd>',
    "printed": "canary-printed-§",
    "env": "canary of the environment",
    "kept": "canary/kept+in=a%file",
    "extra": "canary-given",
}
EXTRA = ("-e", f"ansible_sudo_pass={CANARIES['extra']}")

Harness = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "plugins").mkdir(parents=True)
    (folder / "harness.toml").write_text("")
    (folder / "plugins" / "leaky.py").write_text(PLUGIN)
    (folder / "playbook.toml").write_text(PLAYBOOK)
    (folder / "inventory.toml").write_text(INVENTORY)
    for name in ("printed", "kept"):
        (folder / name).write_text(CANARIES[name] + "\n")
    return folder


@pytest.fixture
def harness(project: Path, monkeypatch: pytest.MonkeyPatch) -> Harness:
    """Run `harness` in the project."""

    def run(*args: str, leak: str = "") -> subprocess.CompletedProcess[str]:
        monkeypatch.setenv("CANARY", CANARIES["env"])
        monkeypatch.setenv("LEAK", leak)
        command = [sys.executable, "-m", "harness", *args]
        return subprocess.run(command, capture_output=True, text=True, cwd=project, timeout=120)

    return run


def forms(secret: str) -> list[bytes]:
    texts = [secret, json.dumps(secret)[1:-1], quote(secret, safe=""), quote(secret)]
    core = base64.b64encode(f"user:{secret}".encode())[8:-8]  # "user:" is 5 bytes, the last may hold fewer bits
    return [*(text.encode() for text in texts), core]


def leaks(where: str, content: bytes) -> list[str]:
    found = [name for name, secret in CANARIES.items() if any(form in content for form in forms(secret))]
    return [f"{where}: {name}" for name in found]


def in_files(folder: Path) -> list[str]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert files
    return [leak for file in files for leak in leaks(str(file), str(file).encode() + file.read_bytes())]


@pytest.mark.parametrize(
    ("leak", "code", "told"),
    [("", 1, "canaries"), ("crash", 3, "is wrong"), ("deploy", 3, "nobody may log in with")],
)
@pytest.mark.parametrize("output", ["plain", "json"])
def test_no_canary_leaves_the_process(
    harness: Harness, project: Path, leak: str, code: int, told: str, output: str
) -> None:
    done = harness("run", "playbook.toml", "-i", "inventory.toml", *EXTRA, "--output", output, "--keep", leak=leak)
    assert done.returncode == code, done.stderr
    assert leaks("stdout", done.stdout.encode()) + leaks("stderr", done.stderr.encode()) == []
    assert in_files(project / "runs") == []
    [run] = (project / "runs").iterdir()
    journal = (run / "journal.jsonl").read_text()
    assert told in journal + done.stdout
    assert journal.count(json.dumps("••••••")[1:-1]) > 10  # they did try
    written = {file.name for file in run.iterdir()}
    assert written >= {"run.toml", "journal.jsonl", "result.json", "junit.xml", "samples.sqlite"}
    for event in map(json.loads, journal.splitlines()):  # every line is whole, and of a kind that is known
        assert event["kind"]
    if output == "plain" and leak == "":
        assert "stderr ••••••" in done.stderr
        assert "-e 'ansible_sudo_pass=••••••'" in done.stdout  # the command to run it again
    shown = harness("runs", "show", run.name)
    assert leaks("shown", (shown.stdout + shown.stderr).encode()) == []


@pytest.mark.parametrize(
    "args",
    [
        ("inventory", "list"),
        ("inventory", "list", "--json", *EXTRA),
        ("inventory", "graph", "--vars"),
        ("inventory", "host", "h1", *EXTRA),
        ("run", "playbook.toml", "--check", *EXTRA),
        ("check", "playbook.toml", *EXTRA),
    ],
    ids=" ".join,
)
def test_commands_show_none(harness: Harness, args: tuple[str, ...]) -> None:
    done = harness(*args, "-i", "inventory.toml")
    assert leaks("stdout", done.stdout.encode()) + leaks("stderr", done.stderr.encode()) == []
    assert done.stdout + done.stderr


def test_hosts_say_that_there_is_one(harness: Harness) -> None:
    done = harness("inventory", "host", "h1", "-i", "inventory.toml")
    assert 'ansible_password        = "••••••"  (inventory.toml:3:8 [host])' in done.stdout
