"""Keys one after the other: each goes where the one before it has led."""

from __future__ import annotations

import time
from collections import deque
from typing import TypeVar

from textual.app import App
from textual.dom import DOMNode
from textual.driver import Driver
from textual.events import Event, Key, MouseEvent

ResultT = TypeVar("ResultT")
PATIENCE = 0.5
"""Seconds after which a key is taken to be done with, as whoever had it may be gone."""


class KeysInTurn(App[ResultT]):
    """Textual sends a key to what has the focus when it comes. What is typed at once, as `4/error`, would all go to
    where the first key was typed, before that one has changed anything. Here a key waits until the one before it has
    gone from the focus up to the app, as keys do, or was taken on its way."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: deque[Key] = deque()
        self._sent_at: float | None = None
        self.asked_at = 0.0
        """When a key was pressed last, or the mouse was used, in monotonic seconds."""

    def get_driver_class(self) -> type[Driver]:
        """Ours, where it would be Textual's for terminals."""
        found = super().get_driver_class()
        if found.__name__ != "LinuxDriver":
            return found
        from harness.tui.driver import PromptDriver  # not on systems that have no such terminals

        return PromptDriver

    async def on_event(self, event: Event) -> None:
        if isinstance(event, Key | MouseEvent):
            self.asked_at = time.monotonic()
        if not isinstance(event, Key) or event.is_forwarded:
            await super().on_event(event)
            return
        self._waiting.append(event)
        if self._sent_at is None or time.monotonic() - self._sent_at > PATIENCE:
            await self._next_key()

    @property
    def is_at_keys(self) -> bool:
        """Whether there are keys that are not answered yet."""
        return self._sent_at is not None

    def keys_go_on(self) -> None:
        """To be called now and then: what waits behind a key that got lost is not lost with it."""
        if self._waiting and self._sent_at is not None and time.monotonic() - self._sent_at > PATIENCE:
            self.call_later(self._next_key)

    async def _next_key(self) -> None:
        self._sent_at = None
        if not self._waiting or not self.screen_stack:
            return
        event, self._sent_at = self._waiting.popleft(), time.monotonic()
        await super().on_event(event)
        self._when_done(event, 2)

    def _when_done(self, event: Key, rounds: int) -> None:
        """Go on when whoever has the focus, and all above it up to the app, have dealt with the key, and once more with
        what that led to, as a change of focus. What a node is told comes after what it was told before."""

        def ask(node: DOMNode) -> None:
            above = node.parent
            if node is self or above is None or (rounds > 1 and event._stop_propagation):
                if rounds > 1:
                    self._when_done(event, rounds - 1)
                else:
                    self.call_later(self._next_key)
            elif not above.call_later(ask, above):
                self.call_later(self._next_key)

        first: DOMNode = (self.focused or self.screen) if self.screen_stack else self
        if not first.call_later(ask, first):
            self.call_later(self._next_key)
