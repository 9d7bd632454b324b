"""Nodes that somebody else runs: found running, looked at, and left as they were found."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NoReturn

import anyio

from harness.engine.adopting import endpoint_of
from harness.engine.adoption import allowed
from harness.engine.foreign import ForeignProcess, PidFileProcess, Seen, UnitProcess
from harness.engine.foreign_log import FileLog, ForeignLog, JournalLog
from harness.engine.nodes import NodeHost, ReachedNode
from harness.engine.onlooking import NoMachine
from harness.errors import HarnessError, InfrastructureError, NotReadyError, TeardownError, Unsupported, UsageError
from harness.plugin.contract.base import MachineCapability
from harness.plugin.contract.chain import Launch
from harness.plugin.contract.deployer import Deployment, PlannedNode
from harness.plugin.contract.machine import Address, Exit, Machine
from harness.plugin.contract.node import NodeState

LOOK_EVERY = 5.0
"""Seconds between two looks at a process and its log. Nothing is missed between them, restarts included: a process is
known by when it started, and whoever judges asks for a look of his own first."""

_UNSEEN = Seen(None)


class AdoptedNode(ReachedNode):
    """A node that runs already. Nothing of it is written or removed; it is stopped and suspended only by faults, where
    the inventory allows that, and `let_go` undoes what is not undone by then."""

    adopted = True

    def __init__(self, planned: PlannedNode, api_port: str, log_path: Path, host: NodeHost) -> None:
        super().__init__(planned.spec, api_port, log_path, host)
        assert planned.adoption is not None
        self.machine = machine = _machine(planned, host.deployment)
        self.capabilities = allowed(planned.adoption)
        self.launch = Launch(argv=(), panic_patterns=host.network.panic_patterns)
        self._planned = planned
        self._adoption = planned.adoption
        self._process = _process(planned, machine)
        self._log = _log(planned, machine, log_path)
        self._why_no_log = f"nothing is known of the log of {self.name}: name its unit, or its log, in the inventory"
        self._seen = _UNSEEN
        self._asked = False  # whether the harness has ended the process that was there
        self._watching = anyio.CancelScope()
        self._unwatched: anyio.Event | None = None  # set when nobody watches any more

    @property
    def pid(self) -> int | None:
        return self._seen.pid

    def endpoint(self, port: str = "") -> Address:
        return endpoint_of(self.name, self._adoption, port or self._api_port, self._host.deployment)

    async def attach(self) -> None:
        """See that it runs, and follow it from now on. Raises UsageError for a unit that is not there, NotReadyError
        for a node that does not run, InfrastructureError."""
        if self._process is not None:
            self._seen = await self._process.look()
            if self._seen.pid is None:
                self._refuse(self._process, self._seen)
        if self._log is not None:
            try:
                await self._log.begin()
            except InfrastructureError as error:
                self._log, self._why_no_log = None, f"the log of {self.name} cannot be read: {error}"
        self._change(NodeState.RUNNING, "adopted")
        if self._process is not None:
            self._unwatched = anyio.Event()
            self._host.tasks.start_soon(self._watch, self._process, self._unwatched, name=f"watch {self.name}")

    def _refuse(self, process: ForeignProcess, seen: Seen) -> NoReturn:
        variable = "unit" if self._adoption.unit else "pid_file"
        where = self._planned.host.places.get(variable, self._planned.host.name)
        text = f"{where}: {variable}: {self.name} on {self._planned.host.name}: {process.what}: {seen.why}"
        if seen.missing:
            raise UsageError(text)
        raise NotReadyError(f"{text}; the harness adopts nodes that run, and starts none that it found stopped")

    def _gone(self) -> str:
        return "" if self._process is None or self._seen.pid is not None else f"does not run: {self._seen.why}"

    # What happens to it

    async def _watch(self, process: ForeignProcess, ended: anyio.Event) -> None:
        """Until cancelled. A machine that does not answer tells nothing; whoever needs to know asks himself."""
        try:
            with self._watching:
                while True:
                    await self._host.clock.sleep(LOOK_EVERY)
                    try:
                        await self._catch_up(process)
                        if self._log is not None:
                            await self._log.pull()
                    except InfrastructureError:
                        continue
        finally:
            ended.set()

    async def _catch_up(self, process: ForeignProcess) -> None:
        """See what has become of it without our doing."""
        async with self._control:
            before, self._seen = self._seen, await process.look()
            if self._seen.is_same(before):
                return
            if before.pid is not None:
                how = self._seen.exit(self._host.clock.wall()) if self._seen.pid is None else self._nobody_saw()
                self._exits.append((how, False))
                self._change(NodeState.EXITED, str(how), expected=False)
            if self._seen.pid is not None:
                self._asked = False
                self._change(NodeState.RUNNING, "it was started, not by the harness")

    def _nobody_saw(self) -> Exit:
        return Exit(None, None, self._host.clock.wall())

    async def sync_log(self) -> None:
        """Also sees whether it has ended in the meantime."""
        if self._process is not None:
            await self._catch_up(self._process)
        if self._log is None:
            raise InfrastructureError(self._why_no_log)
        await self._log.pull(all_of_it=True)

    async def process_state(self) -> str:
        process = self._controlled()
        seen = await process.look()
        suspended = None if seen.pid is None else await process.is_suspended(seen.pid)
        return "gone" if suspended is None else "paused" if suspended else "running"

    # Control, as far as it is allowed

    async def start(self, launch: Launch | None = None) -> None:
        if launch is not None:
            raise Unsupported(f"{self.name} is adopted: how it is started is not the harness's to say")
        process = self._controlled(MachineCapability.NODE_CONTROL)
        async with self._control:
            if not self._asked and self._seen.pid is not None:
                return
            self._change(NodeState.STARTING, "started")
            await process.start()  # also where it seems to run: it may be about to end, as it was asked to
            self._seen = await process.look()
            if self._seen.pid is None:
                raise InfrastructureError(f"{self.name}: {process.what} was started, but {self._seen.why}")
            await self.machine.ledger_remove(self._entry)
            self._asked = False
            self._change(NodeState.RUNNING, "started")

    async def stop(self) -> Exit:
        process = self._controlled(MachineCapability.NODE_CONTROL)
        async with self._control:
            await self._end(process, process.stop)
            return self._stopped(self._seen.exit(self._host.clock.wall()), expected=self._seen.obeyed)

    async def kill(self) -> Exit:
        process = self._controlled(MachineCapability.NODE_CONTROL)
        async with self._control:
            await self._end(process, process.kill)
            return self._stopped(Exit(None, signal.SIGKILL, self._host.clock.wall()), expected=True)

    async def _end(self, process: ForeignProcess, end: Callable[[], Awaitable[None]]) -> None:
        if self._seen.pid is None:
            raise InfrastructureError(f"{self.name} is not running")
        await self.machine.ledger_add(self._entry, process.undo_stop(), f"start {process.what}")
        self._asked = True
        await end()
        self._seen = await process.look()
        if self._seen.pid is not None:
            raise InfrastructureError(f"{self.name}: {process.what} was ended, and runs again (pid {self._seen.pid})")

    def _stopped(self, how: Exit, *, expected: bool) -> Exit:
        self._exits.append((how, expected))
        self._change(NodeState.STOPPED, str(how), expected=expected)
        return how

    async def pause(self) -> None:
        process = self._controlled(MachineCapability.PAUSE)
        async with self._control:
            self._seen = await process.look()
            if self._seen.pid is None:
                raise InfrastructureError(f"{self.name} is not running")
            await self.machine.ledger_add(self._entry, process.undo_suspend(self._seen), f"resume {process.what}")
            self._change(NodeState.PAUSED, "paused")  # from now on it is to be resumed, whatever comes
            await process.suspend()

    async def resume(self) -> None:
        process = self._controlled(MachineCapability.PAUSE)
        async with self._control:
            if self._state is NodeState.PAUSED:
                await process.resume()
                await self.machine.ledger_remove(self._entry)
                self._change(NodeState.RUNNING, "resumed")

    async def let_go(self) -> None:
        """Have it run again if the harness has stopped or suspended it: faults heal what they do, this is for when one
        could not. Raises TeardownError."""
        self._watching.cancel()
        if self._unwatched is not None:
            await self._unwatched.wait()  # its machine is about to be left
        try:
            if self._state is NodeState.PAUSED:
                await self.resume()
            elif self._asked:
                await self.start()
        except HarnessError as error:
            raise TeardownError(f"{self.name} on {self.machine.name} is not as it was found: {error}") from error

    @property
    def _entry(self) -> str:
        return f"adopted {self.name}"

    def _controlled(self, needed: MachineCapability | None = None) -> ForeignProcess:
        if self._process is None or (needed is not None and needed not in self.capabilities):
            raise InfrastructureError(f"{self.name} is adopted, and the inventory does not allow {needed or 'this'}")
        return self._process


def _machine(planned: PlannedNode, deployment: Deployment) -> Machine:
    there = planned.adoption is not None and planned.adoption.has_machine
    return deployment.placements[planned.spec.name].machine if there else NoMachine(planned.host.name)


def _process(planned: PlannedNode, machine: Machine) -> ForeignProcess | None:
    adoption = planned.adoption
    assert adoption is not None
    if adoption.unit:
        return UnitProcess(machine, adoption.unit)
    return PidFileProcess(machine, adoption.pid_file) if adoption.pid_file else None


def _log(planned: PlannedNode, machine: Machine, to: Path) -> ForeignLog | None:
    adoption = planned.adoption
    assert adoption is not None
    if adoption.log:
        return FileLog(machine, adoption.log, to)
    return JournalLog(machine, adoption.unit, to) if adoption.unit else None
