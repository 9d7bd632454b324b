"""A question with a few answers, the first of which is the one that harms least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.events import Key
from textual.screen import ModalScreen
from textual.widgets import Button, Static


@dataclass(frozen=True, slots=True)
class Answer:
    """`key` is a letter that gives it."""

    id: str
    label: str
    key: str
    is_grave: bool = False


class Choice(ModalScreen[str]):
    """Gives the id of an answer, "" for Escape."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "answer('')", "Back"),
        Binding("left", "app.focus_previous", show=False),
        Binding("right", "app.focus_next", show=False),
    ]

    def __init__(self, question: str, why: str, answers: Sequence[Answer]) -> None:
        super().__init__()
        self._question = question
        self._why = why
        self._answers = answers

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(self._question, classes="question", markup=False)
            yield Static(self._why, classes="why", markup=False)
            with Horizontal(classes="answers"):
                for answer in self._answers:
                    label, id = f"{answer.label} ({answer.key})", f"answer-{answer.id}"
                    yield Button(label, id=id, variant="error" if answer.is_grave else "default")

    def on_mount(self) -> None:
        self.query(Button).first().focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss((event.button.id or "").removeprefix("answer-"))

    def on_key(self, event: Key) -> None:
        for answer in self._answers:
            if event.character == answer.key:
                event.stop()  # it is not for the screen below, which may have it too
                self.dismiss(answer.id)
                return

    def action_answer(self, id: str) -> None:
        self.dismiss(id)
