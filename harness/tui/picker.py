"""Which run is to be watched: a list to choose from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Footer, OptionList, Static
from textual.widgets.option_list import Option

from harness.record.glance import Glance
from harness.record.rundir import RunDirectory
from harness.tui.look import DIM, GOOD, cut

_STATUS = 20


class RunPicker(App[RunDirectory]):
    """Gives the run that was chosen, None for none. `runs` in the order in which they are to be offered."""

    CSS = "OptionList { text-wrap: nowrap; text-overflow: ellipsis; }"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [Binding("q,escape,ctrl+c", "quit", "Leave", priority=True)]

    def __init__(self, runs: Sequence[Glance]) -> None:
        super().__init__()
        self._runs = runs

    def compose(self) -> ComposeResult:
        yield Static("Which run? (enter)")
        widest = max((len(run.status) for run in self._runs), default=0)
        yield OptionList(*(Option(line(run, min(widest, _STATUS))) for run in self._runs))
        yield Footer()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.exit(self._runs[event.option_index].directory)


def line(run: Glance, status: int) -> Text:
    """With so many columns for its status."""
    is_running = run.status == "running"
    mark = "●" if is_running else " "
    text = Text(f"{mark} {cut(run.status, status):<{status}} ", GOOD if is_running else DIM, no_wrap=True)
    text.append(f"{cut(run.verdict or '–', 8):<9}")
    text.append(cut(run.directory.run_id, 90), "bold" if is_running else "")
    if run.started is not None:
        text.append(f"  {len(run.started.nodes)} nodes of {cut(run.started.chain, 20)}", DIM)
    return text
