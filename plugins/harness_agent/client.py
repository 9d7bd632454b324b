"""The controller's end of an agent: services and their logs, and what a keeper keeps, over lost connections."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any

import anyio
import anyio.to_thread

from harness.api import CommandRecord, InfrastructureError, ServiceSpec
from harness_agent.link import Link, Refusal
from harness_agent.remote.frames import Frame, Header
from harness_agent.service import AgentService, append, exit_of, unseen
from harness_agent.transport import Transport
from harness_agent.values import Become, KeeperGone, KeeperSpec, LedgerEntry, MachineLocked, Undo
from harness_agent.wire import ANSWER_WITHIN, UNAUDITED, Wire, no_aftermath

RENEWALS = 4
"""How often a lease is renewed while it lasts."""
END_WITHIN = 300.0
"""Seconds that a keeper may need to undo and end everything."""
GONE_WITHIN = 5.0
"""Seconds that a keeper may take to go once nothing is left for it to keep."""


class AgentClient(Wire):
    """Made by `attach` or `keep`."""

    def __init__(
        self,
        name: str,
        become: Become | None,
        audit: Callable[[CommandRecord], None],
        answer_within: float,
        aftermath: Callable[[], Awaitable[None]] = no_aftermath,
        spec: KeeperSpec | None = None,
    ) -> None:
        super().__init__(name, become, audit, answer_within, aftermath)
        self.folder: PurePosixPath
        """On the machine: of an attached agent the home of the user who logged in, of a keeper the run's folder,
        which is that user's too."""
        self._spec = spec
        self._resuming = False
        self._locks_as_root = False  # though we logged in as somebody else, attached
        self._renewing: asyncio.Task[None] | None = None
        self._services: dict[str, AgentService] = {}
        self._hearers: dict[str, Callable[[str], None]] = {}

    @classmethod
    async def attach(
        cls,
        transport: Transport,
        name: str,
        *,
        become: Become | None = None,
        audit: Callable[[CommandRecord], None] = UNAUDITED,
        answer_within: float = ANSWER_WITHIN,
        aftermath: Callable[[], Awaitable[None]] = no_aftermath,
    ) -> AgentClient:
        """An agent that ends with its connection, and all that it started with it. `name` is the machine's, `become`
        how to become root where one is not; None: one may not. `aftermath` is waited for when the connection has ended,
        before anybody is told. Raises MachineLost, the transport being closed."""
        client = cls(name, become, audit, answer_within, aftermath)
        await client._open(transport)
        return client

    @classmethod
    async def keep(
        cls,
        transport: Transport,
        name: str,
        spec: KeeperSpec,
        *,
        become: Become | None = None,
        audit: Callable[[CommandRecord], None] = UNAUDITED,
        answer_within: float = ANSWER_WITHIN,
    ) -> AgentClient:
        """The keeper of a run, started where there is none yet: as root where one is or may become it, else as the
        user who logged in. Its lease is renewed as long as there is a connection, until `aclose`. The transport is
        closed when this raises: MachineLocked, MachineLost, InfrastructureError."""
        client = cls(name, become, audit, answer_within, spec=spec)
        await client._open(transport)
        client._renewing = asyncio.create_task(client._keep_renewing(spec.lease), name="lease")
        return client

    async def reattach(self, transport: Transport) -> None:
        """Go on over a new connection to the same keeper, after the last was lost. What ended meanwhile is told, logs
        go on where they were, and requests that can be repeated are. Raises MachineLost, KeeperGone when all of the
        run has been ended on the machine; the transport is closed then."""
        self._resuming = True
        try:
            await self._open(transport)
        except KeeperGone as gone:
            self.abandon(str(gone))
            raise
        self._repeat()

    async def spawn(self, spec: ServiceSpec, *, hear: Callable[[str], None] | None = None, **what: Any) -> AgentService:
        """Have a service started; `what` goes into the request. With `hear` its stdin and stdout are ours, in lines.
        Raises InfrastructureError."""
        key = uuid.uuid4().hex
        service = self._services[key] = AgentService(self, spec, key, streamed="log" not in what)
        if hear is not None:
            self._hearers[key] = hear
        # Known before it is asked for: it may have ended before its caller has heard that it started.
        try:
            answer = await self.request(
                "spawn",
                finish=True,
                key=key,
                name=spec.name,
                argv=list(spec.argv),
                cwd=str(spec.cwd),
                env=dict(spec.env),
                attach=hear is not None,
                follow=service.streamed,
                **what,
            )
        except BaseException as error:
            self._forget(key)
            service.ended(unseen())
            if isinstance(error, Refusal):
                raise InfrastructureError(f"{spec.name} cannot be started: {error}") from error
            raise
        service.started(answer.header["pid"], answer.header["start"])
        return service

    async def ledger_add(self, entry: str, undo: Sequence[Undo], what: str = "") -> None:
        """Have it on the machine's disk how something is undone, before it is done."""
        steps = [{"argv": list(step.argv), "become": step.become} for step in undo]
        await self.request("ledger-add", entry=entry, undo=steps, what=what, finish=True)

    async def ledger_remove(self, entry: str) -> None:
        """It is undone; nothing happens where it is not there."""
        await self.request("ledger-remove", entry=entry, finish=True)

    async def ledger(self) -> tuple[LedgerEntry, ...]:
        """What is not undone, oldest first."""
        entries = (await self.request("ledger")).header["entries"]
        return tuple(
            LedgerEntry(e["entry"], tuple(Undo(tuple(u["argv"]), u["become"]) for u in e["undo"]), e["what"])
            for e in entries
        )

    async def ports(self, count: int, low: int = 0, high: int = 0) -> tuple[int, ...]:
        """Ports that are free on the machine and are no other run's until `end`: from `low` to `high`, or, unless
        said, from outside the ephemeral range. Raises InfrastructureError when so many are not to be had."""
        try:
            answer = await self.request("ports", count=count, low=low, high=high, repeatable=False, finish=True)
        except Refusal as refusal:
            raise InfrastructureError(f"{self.name}: {refusal}") from refusal
        return tuple(answer.header["ports"])

    async def lock(self, spec: KeeperSpec) -> None:
        """Have the machine for ourselves as a run has, but with an attached agent and no keeper: until `unlock`, or the
        end of the agent, which also ends when its lease is not renewed. As root where one is or may become it. Raises
        MachineLocked, MachineLost, InfrastructureError."""
        problem = "" if self.is_root else await self.become_problem()
        if problem and self._become is not None and self._become.password is not None:
            raise InfrastructureError(problem)
        self._locks_as_root = not self.is_root and not problem
        try:
            await self.request(
                "lock",
                run=spec.run_id,
                owner=spec.owner,
                lease=spec.lease,
                base=spec.base,
                become=self._locks_as_root,
                within=END_WITHIN,
            )
        except Refusal as refusal:
            raise self._refused(refusal) from refusal
        self._renewing = asyncio.create_task(self._keep_renewing(spec.lease), name="lease")

    async def unlock(self) -> None:
        """Have the agent that has the lock end all that it started, and then others have the machine; all that is left
        to do then is `aclose`. Raises MachineLost."""
        self._stop_renewing()
        await self.request("end", become=self._locks_as_root)

    async def renew(self) -> None:
        """Have the lease begin anew."""
        await self.request("renew", become=self._locks_as_root)

    async def end(self) -> tuple[str, ...]:
        """Have everything of the run undone, ended and removed, and its keeper with it; of an attached agent all that
        it started. What is left in spite of that, a line each."""
        self._stop_renewing()
        answer = await self.request("end", within=END_WITHIN)
        with anyio.move_on_after(GONE_WITHIN):
            await self.lost()  # until the keeper is gone itself
        return tuple(answer.header["left"])

    def abandon(self, why: str) -> None:
        super().abandon(why)
        self._stop_renewing()
        services, self._services = self._services, {}
        for service in services.values():
            service.ended(unseen())
            service.stir()

    async def _set_up(self, link: Link) -> None:
        await super()._set_up(link)
        spec = self._spec
        if spec is None:
            self.folder = PurePosixPath(self.hello.home)
            return
        self.is_root = self.is_root or await self._become_root(link)
        try:
            await link.exchange(
                {
                    "do": "keep",
                    "run": spec.run_id,
                    "owner": spec.owner,
                    "lease": spec.lease,
                    "base": spec.base,
                    "mechanism": spec.mechanism,
                    "resume": self._resuming,
                    "become": self.is_root,
                }
            )
        except Refusal as refusal:
            raise self._refused(refusal) from refusal
        self.folder = PurePosixPath((await link.hear("work"))["work"])
        if self._resuming:
            self._resume(link, (await link.exchange({"do": "services"}))["services"])

    async def _become_root(self, link: Link) -> bool:
        """A password that is refused is somebody's mistake; without one, whoever may not become root goes without."""
        if self._become is None:
            return False
        password = self._become.password
        try:
            await link.exchange({"do": "become", "password": password is not None}, (password or "").encode())
        except Refusal as refusal:
            if password is not None:
                raise InfrastructureError(f"{self.name}: {refusal}") from refusal
            return False
        return True

    def _resume(self, link: Link, known: Sequence[Header]) -> None:
        """Services that the keeper does not know are only being asked for."""
        for told in known:
            service = self._services.get(told["key"])
            if service is not None:
                if service.streamed:
                    link.send({"do": "follow", "key": service.key, "offset": service.coming})
                if told["exit"]:
                    service.ended(exit_of(told["exit"]))

    def _refused(self, refusal: Refusal) -> InfrastructureError:
        told = refusal.answer
        if refusal.kind == "gone":
            return KeeperGone(f"{self.name}: {refusal}")
        if refusal.kind == "locked" and "run" in told:
            return MachineLocked(self.name, told["run"], told["owner"], told["since"], told["expires_in"])
        return InfrastructureError(f"{self.name}: {refusal}")

    def _final(self) -> bool:
        return self._spec is None

    async def _keep_renewing(self, lease: float) -> None:
        while True:
            await asyncio.sleep(lease / RENEWALS)
            await self.renew()

    def _stop_renewing(self) -> None:
        if self._renewing is not None and self._renewing is not asyncio.current_task():
            self._renewing.cancel()

    async def _heard(self, frames: Iterable[Frame]) -> None:
        """Pieces of logs that come together are written together; the news of an end comes after its last words."""
        pieces: list[tuple[AgentService, bytes]] = []
        for header, body in frames:
            event = header.get("event")
            if event == "log":
                service = self._services.get(header["key"])
                if service is not None and (content := service.take(header["offset"], body)):
                    pieces.append((service, content))
                continue
            await self._write(pieces)
            pieces = []
            if event is not None:
                self._happened(event, header)
            else:
                self._take(header, body)
        await self._write(pieces)

    async def _write(self, pieces: list[tuple[AgentService, bytes]]) -> None:
        if pieces:
            with anyio.CancelScope(shield=True):
                failed = await anyio.to_thread.run_sync(append, [(service.spec.log, text) for service, text in pieces])
            for service, content in pieces:
                service.grown(len(content), failed.get(service.spec.log, ""))

    def _happened(self, event: str, header: Header) -> None:
        if event == "exit" and (service := self._services.get(header["key"])) is not None:
            service.ended(exit_of(header))
        elif event == "said" and (hear := self._hearers.get(header["key"])) is not None:
            hear(header["line"])
        elif event == "crashed" and self._link is not None:
            self._link.fail(f"the keeper has failed: {header['text']}")
        elif event == "audit":
            self.audit(
                CommandRecord(
                    self.name,
                    tuple(header["argv"]),
                    header["returncode"],
                    header["seconds"],
                    header["user"],
                    header["error"],
                )
            )

    def _forget(self, key: str) -> None:
        self._services.pop(key, None)
        self._hearers.pop(key, None)
