"""Text of any length, to be read."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from harness.record.text import block, one_line


class TextScreen(ModalScreen[None]):
    """Whatever its text is, it is shown as it is."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "app.pop_screen", "Back"),
        Binding("c", "copy", "Copy"),
    ]

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title = title
        self._text = text

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog wide") as box:
            box.border_title = Text(one_line(self._title, 90)).markup
            box.border_subtitle = "c copies, esc: back"
            yield Static(Text(block(self._text)), id="text")

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self._text)
        self.app.notify("copied", markup=False)
