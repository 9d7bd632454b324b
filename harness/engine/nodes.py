"""Nodes that the harness runs: one implementation for every deployer, on top of Machine and Service. What nodes that it
adopts (harness.engine.adopted) have in common with them is here too."""

from __future__ import annotations

import signal
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import anyio
import anyio.abc
import anyio.to_thread

from harness.clock import Clock
from harness.engine.adoption import of_ours
from harness.errors import HarnessError, InfrastructureError, NotReadyError, Unreachable
from harness.plugin.contract.chain import ChainClient, Launch, Network
from harness.plugin.contract.deployer import Deployment, Placement
from harness.plugin.contract.machine import Address, Exit, Service, ServiceSpec, Usage
from harness.plugin.contract.node import Node, NodeState
from harness.record.events import Event, NodeChanged
from harness.spec.topology import NodeSpec

FIRST_POLL, LAST_POLL = 0.02, 0.5
"""Seconds between two looks at a node that is starting, growing: its API cannot tell us, we have to ask."""
AFTER_SIGKILL = 10.0
"""Seconds that the kernel may take to end what was killed."""
CLOSE_WITHIN = 2.0
"""Seconds that a client may take to close its connection."""
LOG_TAIL = 15
"""Lines of a node's log that an error about it quotes."""


@dataclass(frozen=True, slots=True)
class NodeHost:
    """What every node of a run shares: where events go, what time it is, which tasks watch, and who is told when the
    run itself (not the node) has failed."""

    network: Network
    deployment: Deployment
    clock: Clock
    emit: Callable[[Event], None]
    tasks: anyio.abc.TaskGroup
    fail: Callable[[str, HarnessError], None]
    joined: Callable[[str], None] = lambda name: None
    """Told the name of each node that was started, the first time and again, once its process is there."""


class ReachedNode(Node):
    """A node as far as it is reached at its API, and told of in the journal. Control calls wait for one another."""

    def __init__(self, spec: NodeSpec, api_port: str, log_path: Path, host: NodeHost) -> None:
        self.spec = spec
        self.log_path = log_path
        self._api_port = api_port
        self._host = host
        self._control = anyio.Lock()
        self._state = NodeState.CREATED
        self._exits: list[tuple[Exit, bool]] = []
        self._client: ChainClient | None = None

    @property
    def state(self) -> NodeState:
        return self._state

    @property
    def exits(self) -> Sequence[tuple[Exit, bool]]:
        return tuple(self._exits)

    def client(self) -> ChainClient:
        if self._client is None:
            self._client = self.new_client()
        return self._client

    def new_client(self) -> ChainClient:
        return self._host.network.client(self.spec, self.endpoint())

    async def aclose(self) -> None:
        """Close the control client."""
        if self._client is not None:
            with anyio.move_on_after(CLOSE_WITHIN):
                await self._client.aclose()
            self._client = None

    async def wait_ready(self, timeout: float) -> None:
        clock, last_answer, pause = self._host.clock, "it never answered", FIRST_POLL
        give_up = clock.now() + timeout
        while clock.now() < give_up:
            if how := self._gone():
                raise NotReadyError(f"{self.name} {how}{await self._quote_log()}")
            try:
                with anyio.fail_after(max(LAST_POLL, give_up - clock.now())):
                    await self.client().head()
                return
            except Unreachable as error:
                last_answer = str(error)
            except TimeoutError:
                last_answer = "it did not answer in time"
            await clock.sleep(pause)
            pause = min(LAST_POLL, 1.5 * pause)
        raise NotReadyError(
            f"{self.name} was not ready within {timeout:g} s ({last_answer}); "
            f"raise ready_timeout, or see its log{await self._quote_log()}"
        )

    @abstractmethod
    async def let_go(self) -> None:
        """At the end of a run: it stops if the harness had started it; else it is as it was found. Raises
        InfrastructureError, TeardownError."""

    async def cut_short(self) -> None:
        """For who cannot wait for a `let_go` that is under way."""

    @abstractmethod
    def _gone(self) -> str:
        """How it ended, so that it cannot answer any more; "" while it may."""

    def _change(self, state: NodeState, why: str, *, expected: bool = True) -> None:
        self._state = state
        self._host.emit(NodeChanged(self.name, state.value, self.pid, why, expected))

    async def _quote_log(self) -> str:
        lines = await anyio.to_thread.run_sync(_last_lines, self.log_path, LOG_TAIL)
        return f"; the end of {self.log_path}:\n" + "\n".join(f"    {line}" for line in lines) if lines else ""


class ManagedNode(ReachedNode):
    """A node that the harness starts and stops; each control call is journalled."""

    def __init__(self, placement: Placement, launch: Launch, api_port: str, log_path: Path, host: NodeHost) -> None:
        super().__init__(placement.node, api_port, log_path, host)
        self.machine = placement.machine
        self.capabilities = of_ours(placement.machine.capabilities)
        self.launch = launch
        self.directory: PurePosixPath = placement.directory
        self._service: Service | None = None
        self._asked: set[int] = set()  # signals by which the current process was asked to end

    @property
    def pid(self) -> int | None:
        service = self._service
        return service.pid if service is not None and service.exit is None else None

    def endpoint(self, port: str = "") -> Address:
        return self._host.deployment.endpoint(self.name, port or self._api_port)

    def _gone(self) -> str:
        if self._service is None:
            return "was never started"
        how = self._service.exit
        if how is None:
            return ""
        if _unseen(how):
            return f"was starting when {self.machine.name} lost hold of it: what became of it is not known"
        return f"ended while it was starting: {how}"

    async def write_files(self) -> None:
        """Put the node's files in its folder: before its first start, and when they are others."""
        for file in self.launch.files:
            await self.machine.put(file.content, self.directory / file.path, file.mode)

    async def start(self, launch: Launch | None = None) -> None:
        async with self._control:
            if self.pid is not None:
                return
            if launch is not None:
                self.launch = launch
                await self.write_files()
            self._change(NodeState.STARTING, "started")
            spec = ServiceSpec(self.name, self.launch.argv, self.directory, self.log_path, self.launch.env)
            self._asked = set()
            self._service = await self.machine.spawn(spec)
            self._host.tasks.start_soon(self._watch, self._service, name=f"watch {self.name}")
            self._change(NodeState.RUNNING, "started")
            self._host.joined(self.name)

    async def stop(self) -> Exit:
        async with self._control:
            return await self._end(self.launch.stop_signal, self.launch.stop_timeout)

    async def kill(self) -> Exit:
        async with self._control:
            return await self._end(signal.SIGKILL, None)

    async def let_go(self) -> None:
        if self._state in (NodeState.RUNNING, NodeState.PAUSED):
            await self.stop()

    async def cut_short(self) -> None:
        """SIGKILL beside the signal to stop."""
        if self._service is not None and self._service.exit is None:
            self._asked.add(signal.SIGKILL)
            await self._service.signal(signal.SIGKILL)

    async def pause(self) -> None:
        async with self._control:
            await self._live_service().pause()
            self._change(NodeState.PAUSED, "paused")

    async def resume(self) -> None:
        async with self._control:
            if self._state is NodeState.PAUSED:
                await self._live_service().resume()
                self._change(NodeState.RUNNING, "resumed")

    async def sync_log(self) -> None:
        if self._service is not None:
            await self._service.sync_log()

    async def process_state(self) -> str:
        return "gone" if self._service is None else await self._service.state()

    async def usage(self) -> Usage | None:
        service = self._service
        return None if service is None or service.exit is not None else await service.usage()

    def _live_service(self) -> Service:
        if self._service is None or self._service.exit is not None:
            raise InfrastructureError(f"{self.name} is not running")
        return self._service

    async def _end(self, number: int, patience: float | None) -> Exit:
        """Signal, wait `patience` seconds, then SIGKILL; None: `number` is SIGKILL itself.

        Being killed for not having stopped is no end that the node can be proud of: it counts as unasked."""
        service = self._service
        if service is None:
            raise InfrastructureError(f"{self.name} was never started")
        if service.exit is None:
            self._asked.add(number)
            await service.signal(number)
            if self._state is NodeState.PAUSED:
                await service.resume()  # a suspended process acts on no signal but SIGKILL
            with anyio.move_on_after(AFTER_SIGKILL if patience is None else patience):
                await service.wait()
            if service.exit is None:
                await service.signal(signal.SIGKILL)
        with anyio.move_on_after(AFTER_SIGKILL):
            how = await service.wait()
            self._note_exit(service, how)
            return how
        raise InfrastructureError(f"{self.name} (pid {service.pid}) is still there {AFTER_SIGKILL:g} s after SIGKILL")

    async def _watch(self, service: Service) -> None:
        self._note_exit(service, await service.wait())

    def _note_exit(self, service: Service, how: Exit) -> None:
        """Record an end once, whoever sees it first: the watcher or the call that asked for it."""
        if service is not self._service or self._state in (NodeState.STOPPED, NodeState.EXITED):
            return
        if _unseen(how):  # that says nothing about the node
            self._change(NodeState.EXITED, str(how))
            of = "it" if self.machine.name == self.name else self.name  # who reads it is told of which node it is
            lost = InfrastructureError(f"{self.machine.name} lost hold of {of}")
            self._host.fail(self.name, lost)
            return
        codes = {0, *(128 + number for number in self._asked)}  # shells and runtimes turn signals into 128 + n
        expected = bool(self._asked) and (how.code in codes or how.signal in self._asked)
        self._exits.append((how, expected))
        self._change(NodeState.STOPPED if self._asked else NodeState.EXITED, str(how), expected=expected)


def _unseen(how: Exit) -> bool:
    """Whether nobody saw it end: whoever supervised it is gone."""
    return how.code is None and how.signal is None


def _last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a log (of its last 64 KiB), with what is not UTF-8 replaced."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - 65536))
        return file.read().decode(errors="replace").splitlines()[-count:]
