"""A run's hold on one machine: its lock, its lease and its folder there, kept through lost connections."""

from __future__ import annotations

import getpass
import socket
import time

import anyio
import stamina

from harness.api import Access, HarnessError, HostSpec, InfrastructureError, MachineLost
from harness_agent import AgentClient, AgentMachine, KeeperGone, KeeperSpec
from harness_ssh import agents
from harness_ssh.pool import Pool, may_pass
from harness_ssh.transport import LAST_WORDS, ChannelTransport

ANSWERS_WITHIN = 15.0
"""Seconds after which a machine that owes an answer is taken for lost: long for one that is busy, and soon enough to
find it again before its lease is over."""
LET_GO_WITHIN = 45.0
"""Seconds that a machine may take to end all that the run has there, a lost connection included."""


def owner() -> str:
    """Who holds a machine, for those who are refused it."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


class Hold:
    """Take it, have `watch` run while it is held, then let it go."""

    def __init__(self, host: HostSpec, pool: Pool, access: Access, spec: KeeperSpec) -> None:
        self.host = host
        self._pool = pool
        self._access = access
        self._spec = spec
        self._client: AgentClient | None = None
        self._transport: ChannelTransport | None = None
        self._seen = 0.0  # Unix seconds: when the machine was last known to have heard of us
        self._lost = ""  # why there is no way to the machine any more
        self._asked = False  # whether there may be something of the run on the machine
        self._letting_go = False
        self._ended = anyio.Event()

    @property
    def client(self) -> AgentClient:
        assert self._client is not None, "it is taken"
        return self._client

    @property
    def machine(self) -> AgentMachine:
        return AgentMachine(self.client)

    async def take(self) -> None:
        """Not to be cancelled half-way: whoever is being given a machine gets it, and can let it go. Raises
        MachineLocked, MachineLost, InfrastructureError."""
        become = await agents.becoming(self.host.connection)
        self._transport = transport = await agents.start(self._pool, self.host)
        self._asked = True
        try:
            with anyio.CancelScope(shield=True):
                self._client = await AgentClient.keep(
                    transport,
                    self.host.name,
                    self._spec,
                    become=become,
                    audit=self._access.audit,
                    answer_within=ANSWERS_WITHIN,
                )
        except MachineLost:
            raise
        except InfrastructureError:
            self._asked = False  # it was refused: nothing of ours is there
            raise

    def send_soon(self, frame: bytes) -> None:
        """Something to the keeper, besides what its client says; from any thread. Raises BrokenResourceError."""
        if self._transport is not None:
            self._transport.send_soon(frame)

    async def watch(self) -> None:
        """Connect again whenever the connection is lost, until the machine's lease must be over."""
        while True:
            why = await self.client.lost()
            if self._letting_go and await self._has_ended():
                return
            lost_at = anyio.current_time()
            self._seen = time.time()
            self._access.warn(
                self.host.name, f"{why}; what runs there goes on for {self._spec.lease:g} s: trying to connect again"
            )
            await self._pool.drop(self.host.name)
            try:
                await self._connect_again()
            except MachineLost as error:
                self._lost = agents.told(self.host, error)
                self._access.warn(self.host.name, f"given up: {self._lost}")
                self.client.abandon(self._lost)
                return
            self._access.warn(self.host.name, f"connected again after {anyio.current_time() - lost_at:.1f} s")

    async def let_go(self) -> list[str]:
        """End everything that the run has on the machine. Says what is left, a line each."""
        if not self._asked:
            return []
        if self._client is None or self._lost:
            return await self._clear()
        self._letting_go = True
        try:
            with anyio.fail_after(LET_GO_WITHIN):
                left = await self._client.end()
                self._ended.set()
                await self._client.aclose()
        except TimeoutError:
            return [self._unreachable(f"no answer within {LET_GO_WITHIN:g} s")]
        except MachineLost:
            return await self._clear()
        return [f"{self.host.name}: {line}" for line in left]

    async def _clear(self) -> list[str]:
        """The same where it is not held, or no more: it may be there again, and then says itself what is left."""
        try:
            with anyio.fail_after(LET_GO_WITHIN):
                report = await agents.clear(
                    self._pool, self.host, self._access, self._spec.base, run_id=self._spec.run_id
                )
        except TimeoutError:
            return [self._unreachable(f"no answer within {LET_GO_WITHIN:g} s")]
        except HarnessError as error:
            return [self._unreachable(agents.told(self.host, error))]
        return [f"{self.host.name}: {line}" for line in report.left]

    async def _has_ended(self) -> bool:
        """Whether the connection was lost because the keeper has ended, as it was asked to: it says so just before."""
        with anyio.move_on_after(LAST_WORDS):
            await self._ended.wait()
        return self._ended.is_set()

    async def _connect_again(self) -> None:
        """Raises MachineLost, at the latest when the machine's lease must be over, also in the middle of trying."""
        why = "no answer in time"

        def may_come_back(error: Exception) -> bool:
            nonlocal why
            again = may_pass(error) and not isinstance(error, KeeperGone)
            why = agents.told(self.host, error) if again else why
            return again

        with anyio.move_on_after(self._spec.lease):
            async for attempt in stamina.retry_context(
                on=may_come_back, attempts=None, timeout=None, wait_initial=0.2, wait_max=5.0, wait_jitter=0.3
            ):
                with attempt:
                    transport = await agents.start(self._pool, self.host)
                    await self.client.reattach(transport)
                    self._transport = transport
            return
        raise MachineLost(why)

    def _unreachable(self, why: str) -> str:
        until = time.strftime("%H:%M:%S", time.localtime((self._seen or time.time()) + self._spec.lease))
        return f"{self.host.name} cannot be reached ({why}): its lease ends what the run has there, at {until}"
