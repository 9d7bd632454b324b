"""The controller's end of the reaper: it outlives the controller, and removes what that leaves (see sweep)."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.abc import Process

from harness.api import DeployError
from harness_docker import sweep

START_WITHIN = 60.0
LEAVE_WITHIN = 10.0
LOG = "reaper.log"


class Reaper:
    """A process that waits for the controller's death, held by its stdin. It is nobody's child and has a session of its
    own: Ctrl-C in the terminal is for the controller alone."""

    def __init__(self, process: Process, log: Path) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._process = process
        self._to, self._from = process.stdin, process.stdout
        self._log = log

    @classmethod
    async def start(cls, deployment: str, engine: str, run_dir: Path) -> Reaper:
        """Before anything is made. Raises DeployError."""
        log = run_dir / LOG
        argv = [sys.executable, "-P", str(Path(sweep.__file__)), deployment, engine]
        with anyio.CancelScope(shield=True):
            try:
                with await anyio.to_thread.run_sync(log.open, "ab") as complaints:
                    process = await anyio.open_process(argv, stderr=complaints, start_new_session=True)
            except OSError as error:
                raise DeployError(f"docker: no reaper: {error}") from error
        return cls(process, log)

    async def ready(self) -> None:
        """Wait until it watches. Raises DeployError."""
        with anyio.move_on_after(START_WITHIN), contextlib.suppress(anyio.EndOfStream):
            if await self._from.receive() == sweep.READY:
                return
        why = (await anyio.Path(self._log).read_text(errors="replace")).strip().splitlines()
        raise DeployError(f"docker: no reaper: {why[-1] if why else 'it does not answer'}")

    async def dismiss(self) -> None:
        """Nothing is left for it to remove: have it leave, and wait until it has."""
        with contextlib.suppress(anyio.BrokenResourceError):  # it is gone already
            await self._to.send(sweep.DONE)
        await self._to.aclose()
        with anyio.move_on_after(LEAVE_WITHIN), contextlib.suppress(anyio.EndOfStream):
            while True:
                await self._from.receive()
        await self._process.aclose()

    async def abandon(self) -> None:
        """Let it do what could not be done here: as when the controller dies."""
        await self._to.aclose()
        await self._process.aclose()
