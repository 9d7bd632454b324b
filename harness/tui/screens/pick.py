"""Choosing some of a list of names."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.strip import Strip
from textual.widgets import SelectionList, Static
from textual.widgets.selection_list import Selection

from harness.tui.look import cut

_BOX = 3


class Names(SelectionList[str]):
    """Names to be ticked. Which are is said by a sign too, not by colour alone."""

    def __init__(self, names: Sequence[str], chosen: Collection[str], *, id: str = "names") -> None:
        super().__init__(*(Selection(_prompt(name, name in chosen), name, name in chosen) for name in names), id=id)
        self.names = names

    def on_selection_list_selected_changed(self) -> None:
        for index, name in enumerate(self.names):
            self.replace_option_prompt_at_index(index, _prompt(name, name in self.selected))

    def render_line(self, y: int) -> Strip:
        """Without the library's box, whose cross is there whether it is ticked or not."""
        return super().render_line(y).crop(_BOX)


def _prompt(name: str, is_chosen: bool) -> Text:
    return Text(f"{'✓' if is_chosen else ' '} {cut(name, 60)}")


class Pick(ModalScreen[frozenset[str] | None]):
    """Gives the names that are ticked, None for Escape."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back"),
        Binding("enter", "done", "Done", priority=True),
        Binding("a", "all", "All, or none"),
    ]

    def __init__(self, question: str, names: Sequence[str], chosen: Collection[str]) -> None:
        super().__init__()
        self._question = question
        self._names = names
        self._chosen = chosen

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(f"{self._question} (space: tick, a: all or none, enter: done)", markup=False)
            yield Names(self._names, self._chosen)

    def on_mount(self) -> None:
        self.query_one(Names).focus()

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_done(self) -> None:
        self.dismiss(frozenset(self.query_one(Names).selected))

    def action_all(self) -> None:
        names = self.query_one(Names)
        if names.selected:
            names.deselect_all()
        else:
            names.select_all()
