"""Commands that plugins add to the terminal's palette, and what these may do there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from harness.plugin.contract.base import NoConfig, Plugin
from harness.record.state import RunState

Level = Literal["information", "warning", "error"]


class RunScreen(Protocol):
    """A run on somebody's screen. What is asked of the run raises ControlError, a HarnessError, when it is over or says
    no; an error that a command does not catch is shown, and that is all."""

    @property
    def state(self) -> RunState:
        """The run as it is shown: as it was at the moment `t`."""

    @property
    def t(self) -> float:
        """The moment that is looked at, in seconds since the run began."""

    @property
    def node(self) -> str | None:
        """The node under the cursor."""

    def notify(self, text: str, level: Level = "information") -> None:
        """Tell something in passing."""

    def copy(self, text: str) -> None:
        """Into the clipboard."""

    def show(self, title: str, text: str) -> None:
        """Open a panel with text of any length. It is data: nothing in it is markup."""

    async def faults(self) -> Sequence[Mapping[str, Any]]:
        """What can be injected: {name, about, options: JSON Schema, why: "" or why it cannot be in this run}."""

    async def inject(
        self, fault: str, targets: Sequence[str], duration: float, options: Mapping[str, Any] | None = None
    ) -> None:
        """Inject a fault on these nodes for so many seconds; returns when it is proven to be there. It is healed and
        journalled as any other."""

    async def pause(self) -> None:
        """Hold the run's workloads."""

    async def resume(self) -> None:
        """Let them go on."""


class ScreenCommand(Plugin[NoConfig], ABC):
    """Something more that can be done from the palette (ctrl+p), where `name` and the first line of the docstring are
    seen."""

    @abstractmethod
    async def run(self, screen: RunScreen) -> None:
        """Do it. The screen goes on meanwhile, so nothing in here may block: what takes long is awaited."""
