"""What SSH libraries have to say is not for the user's terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.real

CONTROLLER = """
import json, logging, os, signal, sys
import anyio
from harness.api import HostSpec
from harness_ssh.connection import AuthenticationFailed
from harness_ssh.pool import Pool, SshSettings

async def main():
    variables = json.loads(sys.argv[1])
    hosts = [HostSpec("node01", variables), HostSpec("node02", {**variables, "ansible_user": "nobody-knows-me"})]
    pool = Pool(hosts, SshSettings(None), 4)
    connection = await pool.get("node01")
    try:
        await connection.dial("127.0.0.1", int(sys.argv[2]))
    except ConnectionRefusedError:
        print("refused", flush=True)
    try:
        await pool.get("node02")
    except AuthenticationFailed:
        print("not let in", flush=True)
    await anyio.to_thread.run_sync(sys.stdin.readline)
    with anyio.fail_after(20):
        while connection.alive:
            await anyio.sleep(0.02)
    await pool.close()
    print("lost", flush=True)

if "debug" in sys.argv:
    logging.basicConfig(level=logging.DEBUG)
anyio.run(main)
"""


def told(sshd: Any, *words: str) -> str:
    """What a process says on stderr that is refused a port, is refused itself, and loses its connection. It is one of
    its own: in ours pytest listens to all loggers, and none would fall back on stderr."""
    argv = [sys.executable, "-c", CONTROLLER, json.dumps(sshd.variables()), *words]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(argv, text=True, **pipes) as process:  # type: ignore[call-overload]
        assert [process.stdout.readline() for _ in range(2)] == ["refused\n", "not let in\n"]
        sshd.cut()
        said, errors = process.communicate("go\n")
    assert said == "lost\n", errors
    return str(errors)


def test_nothing_of_it_is_on_the_terminal(sshd: Any, free_port: int) -> None:
    assert told(sshd, str(free_port)) == ""


def test_whoever_listens_to_loggers_hears_it(sshd: Any, free_port: int) -> None:
    assert "Connect failed" in told(sshd, str(free_port), "debug")
