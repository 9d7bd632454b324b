"""What all workloads do whose senders are processes: start, steer, look after where nodes are, listen, end."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

import anyio
from anyio.abc import TaskGroup

from harness.api import Context, HarnessError, Node, Profile, Redirect, Result, Senders, Start, Told, Tracker
from harness_traffic.schedule import ScheduleConfig

LOOK_AFTER = 0.5
"""Seconds between two looks at where nodes are, and whether they answer."""
LAST_WORDS = 2.0
FOR_EVER = 1e9


class Listener(Protocol):
    """Who keeps the account."""

    def heard(self, sender: int, results: Sequence[Result]) -> None: ...

    def told(self, sender: int, told: Told) -> None: ...


class Sending:
    """Some senders at work for one workload. `nodes` are those that targets are named after, none where they are not
    nodes; `port` is which of their ports."""

    def __init__(self, ctx: Context, config: ScheduleConfig, nodes: Sequence[Node] = (), port: str = "") -> None:
        self._ctx = ctx
        self._config = config
        self._nodes = nodes
        self._port = port
        self._profile = Profile(())
        self._redirects: list[Redirect] = []

    async def run(
        self,
        senders: Senders,
        tracker: Tracker,
        listener: Listener,
        *beside: Callable[[], Coroutine[Any, Any, None]],
        begun: Callable[[TaskGroup | None], None] = lambda tasks: None,
    ) -> None:
        """Send until the deadline, and wait for the last answers. `beside` runs as long as that; `begun` is given the
        tasks that end with it, and None when they have been ended."""
        ctx, config = self._ctx, self._config
        self._profile = config.profile(ctx.block_interval, ctx.deadline - ctx.window.start)
        tracker.target = self._profile.rate(0.0)
        seed = ctx.rng(f"arrivals {tracker.name}").getrandbits(32)

        def told(sender: int, told: Told) -> None:
            tracker.target = self._profile.rate(ctx.clock.now() - ctx.window.start)
            listener.told(sender, told)

        try:
            async with anyio.create_task_group() as tasks:
                begun(tasks)
                await senders.start(Start(ctx.window.start, self._profile, config.arrivals, seed, config.warm_up))
                tasks.start_soon(self._steer, senders)
                tasks.start_soon(self._look_after, senders)
                for call in beside:
                    tasks.start_soon(call)
                await senders.listen(listener.heard, told)
                tasks.cancel_scope.cancel()
        except BaseException:
            begun(None)
            # Broken off: what is in flight is told of, so that it does not count as if it had never been.
            with anyio.move_on_after(LAST_WORDS, shield=True):
                await senders.last_words(listener.heard, listener.told)
            if untold := tracker.figures().get("untold"):
                ctx.warn(
                    f"a sender was lost: {untold} requests were due after its last word, and nobody knows whether they "
                    "were sent"
                )
            raise

    async def _steer(self, senders: Senders) -> None:
        """Pause when the run is paused."""
        while True:
            await self._ctx.until_paused()
            await senders.pause()
            await self._ctx.unpaused()
            await senders.resume()

    async def _look_after(self, senders: Senders) -> None:
        """Tell senders where nodes are, and which of them the block feed hears of."""
        while self._nodes:
            await self._ctx.clock.sleep(LOOK_AFTER)
            views = self._ctx.feed.nodes
            found = []
            for node in self._nodes:
                view = views.get(node.name)
                try:
                    at = self._ctx.sent_to(node, self._port)
                except HarnessError:
                    continue  # it is not there: where it was is as good as anywhere
                found.append(Redirect(node.name, at.host, at.port, view is not None and view.connected))
            if found != self._redirects:
                self._redirects = found
                await senders.redirect(found)
