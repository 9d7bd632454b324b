"""A link relay as a container: nodes dial it, and it dials nodes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import anyio.to_thread

from harness.api import Address, DeployError, Image, InfrastructureError, Link, MachineLost
from harness_agent.relay import Door, Relay
from harness_docker.containers import Attachment, Helper, create_helper
from harness_docker.engine import Engine, Interrupt
from harness_docker.images import NodeImage, Source, ensure
from harness_docker.streams import STDOUT, Hijacked

NAME = "link relay"
ANY_PORT = Address("0.0.0.0", 0)
CLOSE_WITHIN = 10.0
ENDS_WITHIN = 5.0
"""Seconds until it is known how one has ended that does not listen any more."""
RECIPE = Image(
    """\
ARG BASE=debian:bookworm-slim
FROM ${BASE}
RUN command -v python3 >/dev/null || { apt-get update && \\
    apt-get install --yes --no-install-recommends python3 && rm -rf /var/lib/apt/lists/*; }
""",
    {},
    {},
)
"""Chains bring images without a Python, too. Where they install one in the same words, engines do it once for both."""


async def have_image(engine: Engine, nodes: Source, run_dir: Path) -> NodeImage:
    """The relay's image, where nodes are from `nodes`: a named one is taken to have a Python. Raises DeployError."""
    if nodes.recipe is None:
        return await ensure(engine, nodes, NAME, run_dir)
    return await ensure(engine, Source(nodes.pull, recipe=RECIPE, arguments=nodes.arguments), NAME, run_dir)


class RelayContainer:
    """A relay, and our connection with its stdin and stdout, which is there for as long as the container. `plan` is
    that of a helper whose program is the relay."""

    def __init__(self, engine: Engine, plan: Helper, machine: str, log: Path) -> None:
        self.relay = Relay(machine)
        self.relay.line = self
        self.id = ""
        self._engine = engine
        self._plan = plan
        self._log = log
        self._stream: Hijacked | None = None
        self._life: asyncio.Task[None] | None = None
        self._heard = b""
        self._ended = asyncio.Event()
        self._how = "its connection was lost"

    async def start(self, targets: Mapping[Link, Address]) -> Mapping[Link, Address]:
        """Where each link's target is to be dialled from now on. Raises DeployError."""
        try:
            with anyio.CancelScope(shield=True):
                self.id = await self._engine.ask(create_helper, self._engine.client, self._plan)
                attached = await self._engine.ask(
                    self._engine.client.attach_socket,
                    self.id,
                    params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1},
                )
                self._stream = Hijacked(attached)
                self._life = asyncio.create_task(self._live(self._stream), name=NAME)
                await self._engine.ask(self._engine.client.start, self.id)
            ports = await self.relay.listen([Door(link, ANY_PORT, target) for link, target in targets.items()])
        except InfrastructureError as error:
            raise DeployError(
                f"docker: no link relay: {error}; its image needs Python 3.11 or newer: option python"
            ) from error
        where = self._plan.where
        assert isinstance(where, Attachment), "it is made to be dialled"
        return {link: Address(where.address, port) for link, port in zip(targets, ports, strict=True)}

    async def tell(self, line: str, *, repeatable: bool) -> None:
        stream = self._stream
        assert stream is not None, "it was started"
        try:
            await anyio.to_thread.run_sync(stream.write, line.encode() + b"\n", abandon_on_cancel=True)
        except OSError as error:
            with anyio.move_on_after(ENDS_WITHIN):
                raise InfrastructureError(f"{self.relay.name} has ended ({await self.ended()})") from error
            raise InfrastructureError(f"{self.relay.name} cannot be told anything: {error}") from error

    async def ended(self) -> str:
        await self._ended.wait()
        return self._how

    async def close(self) -> None:
        """After its container was removed: wait until everything about it has ended."""
        if self._life is not None:
            finished, _ = await asyncio.wait({self._life}, timeout=CLOSE_WITHIN)
            if not finished:
                self._life.cancel()
                await asyncio.wait({self._life})

    async def _live(self, stream: Hijacked) -> None:
        try:
            with contextlib.suppress(MachineLost):
                await self._engine.stream(partial(self._follow, stream, asyncio.get_running_loop()))
            with contextlib.suppress(InfrastructureError):
                state = (await self._engine.ask(self._engine.client.inspect_container, self.id))["State"]
                if not state["Running"]:
                    said = await anyio.to_thread.run_sync(_last_line, self._log)
                    self._how = f"exit status {state['ExitCode']}{said and ': '}{said}"
        finally:
            self._ended.set()

    def _follow(self, stream: Hijacked, loop: asyncio.AbstractEventLoop, interrupt: Interrupt) -> None:
        """In a thread, until there is nothing more to come: answers are heard in the loop's."""
        interrupt.watch(stream.response)
        try:
            for number, data in stream.frames():
                if number != STDOUT:
                    with self._log.open("ab") as log:
                        log.write(data)
                    continue
                *lines, self._heard = (self._heard + data).split(b"\n")
                for line in lines:
                    loop.call_soon_threadsafe(self.relay.hear, line.decode())
        finally:
            stream.close()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else ""
