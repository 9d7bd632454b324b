"""The screen for those who may look at a run, and not touch it."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import App

from harness.tui.app import RunApp

STEERING = frozenset({"pause", "faults", "abort", "save", "export"})


class LookOnlyApp(RunApp):
    """Asks nothing of the run, and writes nothing; plugins' commands might."""

    COMMANDS = App.COMMANDS

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return False if action in STEERING else super().check_action(action, parameters)

    async def choose_fault(self, chosen: Sequence[str]) -> None:
        self.notify("this screen is to look at the run only", severity="warning", markup=False)

    async def action_leave(self) -> None:
        """The run goes on in any case."""
        if len(self.screen_stack) > 1:
            self.pop_screen()
        else:
            self.exit(0)
