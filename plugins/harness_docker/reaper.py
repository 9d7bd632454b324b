"""The controller's end of the reaper: it outlives the controller, and removes what that leaves (see sweep)."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import anyio

from harness.api import DeployError
from harness_docker import sweep

START_WITHIN = 60.0
LEAVE_WITHIN = 10.0
LOG = "reaper.log"


class Reaper:
    """A process that waits for the controller's death. It has a session of its own: Ctrl-C in the terminal is for the
    controller alone."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    @classmethod
    async def start(cls, deployment: str, engine: str, run_dir: Path) -> Reaper:
        """Before anything is made. Raises DeployError."""
        log = run_dir / LOG
        with log.open("ab") as complaints, anyio.CancelScope(shield=True):
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                str(Path(sweep.__file__)),
                deployment,
                engine,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=complaints,
                start_new_session=True,
            )
        return cls(process, log)

    async def ready(self) -> None:
        """Wait until it watches. Raises DeployError."""
        assert self._process.stdout is not None
        with anyio.move_on_after(START_WITHIN):
            if await self._process.stdout.readline() == b"ready\n":
                return
        why = (await anyio.Path(self._log).read_text(errors="replace")).strip().splitlines()
        raise DeployError(f"docker: no reaper: {why[-1] if why else 'it does not answer'}")

    async def dismiss(self) -> None:
        """Nothing is left for it to remove."""
        assert self._process.stdin is not None
        self._process.stdin.write(sweep.DONE + b"\n")
        self._process.stdin.close()
        with anyio.move_on_after(LEAVE_WITHIN):
            await self._process.wait()
            return
        self._process.kill()
        await self._process.wait()

    def abandon(self) -> None:
        """Let it do what could not be done here: as when the controller dies."""
        assert self._process.stdin is not None
        self._process.stdin.close()
