"""A fault by hand: which, of which nodes, for how long; and what that means, before it is done."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, OptionList, Static
from textual.widgets.option_list import Option

from harness.control.client import ControlError
from harness.control.protocol import FaultRequest
from harness.errors import UsageError
from harness.spec.durations import format_duration, parse_duration
from harness.spec.variables import parse_extras
from harness.tui.look import BAD, DIM, cut
from harness.tui.screens.pick import Names

_ABOUT = 70


class FaultScreen(ModalScreen[FaultRequest | None]):
    """Gives what is to be asked of the run, None where it is to be nothing. `offer` as ControlClient.faults, which is
    asked while the screen is there already; `chosen` nodes are ticked at first."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Back"),
        Binding("ctrl+s", "inject", "Inject"),
    ]

    def __init__(
        self, offer: Callable[[], Awaitable[Sequence[Mapping[str, Any]]]], nodes: Sequence[str], chosen: Sequence[str]
    ) -> None:
        super().__init__()
        self._offer = offer
        self._faults: dict[str, Mapping[str, Any]] = {}
        self._names = nodes
        self._chosen = chosen

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide"):
            yield Static("Inject a fault", classes="question")
            with Horizontal(id="fault-choice"):
                yield OptionList(id="fault")
                yield Names(self._names, self._chosen, id="targets")
            with Horizontal(id="fault-more"):
                yield Input(value="10s", placeholder="for how long: 10s", id="duration")
                yield Input(placeholder="options: signal=SIGTERM ready_timeout=20s", id="options")
            yield Static(id="effect", markup=False)
            with Horizontal(classes="answers"):
                yield Button("Inject (ctrl+s)", id="inject", variant="error")
                yield Button("Back (esc)", id="back")

    def _order(self, name: str) -> tuple[bool, str]:
        return bool(self._faults[name].get("why")), name

    def _option(self, name: str) -> Option:
        fault = self._faults[name]
        why = str(fault.get("why") or "")
        text = Text.assemble((f"{cut(name, 14):<15}", "bold" if not why else DIM))
        text.append(cut(why or str(fault.get("about") or ""), _ABOUT), DIM)
        return Option(text, id=f"fault-{name}", disabled=bool(why))

    def on_mount(self) -> None:
        self.query_one("#fault").border_title = "which"
        self.query_one("#targets").border_title = "of which nodes (space)"
        self.query_one("#duration").border_title = "for how long"
        self.query_one("#options").border_title = "with these options"
        self.query_one("#fault", OptionList).focus()
        self._tell()
        self.run_worker(self._ask())

    async def _ask(self) -> None:
        try:
            faults = await self._offer()
        except ControlError as error:
            self.dismiss(None)
            self.app.notify(str(error), severity="error", markup=False)
            return
        self._faults = {str(fault["name"]): fault for fault in faults}
        offered = self.query_one("#fault", OptionList)
        offered.add_options(self._option(name) for name in sorted(self._faults, key=self._order))
        offered.action_first()
        self._tell()

    def on_option_list_option_highlighted(self) -> None:
        self._tell()

    def on_selection_list_selected_changed(self) -> None:
        self._tell()

    def on_input_changed(self) -> None:
        self._tell()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "inject":
            self.action_inject()
        else:
            self.action_leave()

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_inject(self) -> None:
        request = self._tell()
        if request is not None:
            self.dismiss(request)

    def _tell(self) -> FaultRequest | None:
        """Spell out what will happen, or what is missing."""
        effect = self.query_one("#effect", Static)
        try:
            request = self._request()
        except UsageError as error:
            effect.update(Text(str(error), DIM))
            return None
        targets = ", ".join(request.targets)
        about = str(self._faults[request.fault].get("about") or "")
        effect.update(
            Text.assemble(
                (f"{request.fault} of {cut(targets, 120)} ", "bold"),
                f"for {format_duration(request.duration)}, then healed. ",
                (cut(about, 200), DIM),
                (" It stands in the journal, and the verdict is on a network that had it.", BAD),
            )
        )
        return request

    def _request(self) -> FaultRequest:
        highlighted = self.query_one("#fault", OptionList).highlighted_option
        name = (highlighted.id or "").removeprefix("fault-") if highlighted is not None else ""
        if name not in self._faults:
            raise UsageError("choose a fault" if self._faults else "asking the run what can be injected …")
        targets = tuple(self.query_one("#targets", Names).selected)
        if not targets:
            raise UsageError("choose the nodes that it is for")
        options = parse_options(self.query_one("#options", Input).value)
        try:
            duration = parse_duration(self.query_one("#duration", Input).value.strip())
        except ValueError as error:
            raise UsageError(str(error)) from None
        return FaultRequest(name, targets, duration, options)


def parse_options(text: str) -> dict[str, Any]:
    """`shape=halves ready_timeout=20s`: values as TOML has them, text without quotes is text. Raises UsageError."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"options: {error}") from None
    return dict(parse_extras(words))
