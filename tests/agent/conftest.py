"""Agents of this machine over pipes, whose lives these tests cut short at will."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath

import pytest

from harness.api import CommandRecord, ServiceSpec
from harness.testing.waiting import eventually
from harness_agent import AgentClient, AgentMachine, KeeperSpec, SubprocessTransport
from harness_agent.remote.leftovers import find
from harness_agent.remote.processes import look


class Kit:
    """What these tests have in common. Keepers keep their state in the test's folder."""

    OF_THE_C_LIBRARY = 0b11 << 31
    """Signals 32 and 33 of a mask. glibc lets nobody set them (nptl(7)): inherited as they are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = folder / "base"
        self.home = self.base / f"harness-{os.geteuid()}"
        self.audited: list[CommandRecord] = []
        self.transports: list[SubprocessTransport] = []
        self._clients: list[AgentClient] = []

    async def transport(self) -> SubprocessTransport:
        self.transports.append(await SubprocessTransport.start())
        return self.transports[-1]

    async def attach(self, answer_within: float = 60.0) -> AgentMachine:
        client = await AgentClient.attach(
            await self.transport(), "here", audit=self.audited.append, answer_within=answer_within
        )
        self._clients.append(client)
        return AgentMachine(client, folder=PurePosixPath(self.folder))

    async def keep(self, run: str = "run-1", *, lease: float = 30.0, owner: str = "me@here") -> AgentMachine:
        spec = KeeperSpec(run, owner, lease, str(self.base), "child")
        client = await AgentClient.keep(await self.transport(), "here", spec, audit=self.audited.append)
        self._clients.append(client)
        return AgentMachine(client)

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()
        if (self.home / "lock").exists():
            os.kill(self.keeper(), signal.SIGTERM)
        await self.eventually(lambda: not self.home.exists(), "every keeper has ended", patience=60.0)

    def keeper(self) -> int:
        """The pid of the keeper that has the machine."""
        return int(json.loads((self.home / "lock").read_bytes())["pid"])

    def held(self, run: str = "run-1") -> list[str]:
        """What a run holds, by the record of its keeper."""
        return [held.name for held in find(self.home / "runs" / run / "processes.jsonl") if held.name != "the agent"]

    def program(self, source: str, *args: str, name: str = "n", **env: str) -> ServiceSpec:
        argv = (sys.executable, "-I", "-S", "-X", "utf8", "-u", "-c", source, *args)
        return ServiceSpec(name, argv, PurePosixPath(self.folder), self.folder / f"{name}.log", env)

    def log(self, name: str = "n") -> str:
        path = self.folder / f"{name}.log"
        return path.read_text() if path.exists() else ""

    eventually = staticmethod(eventually)

    @staticmethod
    def is_alive(pid: int) -> bool:
        process = look(pid)
        return process is not None and process.alive


@pytest.fixture
async def kit(tmp_path: Path) -> AsyncIterator[Kit]:
    kit = Kit(tmp_path)
    yield kit
    await kit.close()
