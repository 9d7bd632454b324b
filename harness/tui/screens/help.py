"""What keys there are where one is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from harness.tui.moment import Mode

Sections = Mapping[str, Mapping[str, str]]
LOG = "In the log (4)"
RUN_KEYS: Sections = {
    "What is looked at": {
        "space": "freeze the display, or let it go on; the run goes on in any case. In a replay: stop, go on",
        "← → shift+← →": "5 or 60 seconds earlier, later; a click on the time line looks at that moment",
        "l, escape": "back to the newest",
        "[ ]": "a replay slower, faster",
        "1 2 3 4": "nodes, load, checks, what happened (where there is room for one alone)",
        "enter": "open the node under the cursor: its log, and how to get at it",
        "s": "save what is seen as an SVG picture in the run's folder",
        "x": "export the run as one file, with its logs, into the folder that you are in",
        "t": "light or dark",
        "ctrl+p": "everything that can be done, by its name",
    },
    LOG: {
        "/ n N": "search, a regular expression; the next one, the one before",
        "&": "only lines with …, a regular expression; an empty one for all",
        "e": "of which level: all, info and worse, warnings and errors, errors",
        "o": "whose lines: choose nodes",
        "end": "follow what is new",
    },
    "What is done to the run": {
        "p": "hold its workloads, or let them go on",
        "f": "inject a fault by hand; it is proven, healed and journalled like any other",
        "a": "abort it: it is taken down, and nothing is judged",
        "q": "leave; a run that goes on is left alone unless you say otherwise",
    },
}
NODE_KEYS: Sections = {
    "What is looked at": {
        "escape, q": "back to all nodes",
        "space": "freeze the display, or let it go on; the run goes on in any case. In a replay: stop, go on",
        "← → shift+← →": "5 or 60 seconds earlier, later",
        "l": "back to the newest",
        "tab": "what became of it, or its log; ↑ ↓ page and home move in it, end follows what is new",
        "c y": "copy the command that leads to the node, or the one that shows its log",
        "s x t": "save a picture, export the run, light or dark",
        "ctrl+p": "everything that can be done here, by its name",
    },
    "What is done to the run": {"f": "inject a fault into this node"},
}
BADGES = {
    Mode.LIVE: "what is seen is now",
    Mode.FROZEN: "what is seen is a moment ago; the run goes on",
    Mode.PAUSED: "somebody holds the run's workloads",
    Mode.REPLAY: "the run is over, what is seen is its record",
    Mode.DISCONNECTED: "its controller is gone and has said nothing of an end: see `harness clean`",
}


class HelpScreen(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark", "app.pop_screen", "Back")]

    def __init__(self, sections: Sections) -> None:
        super().__init__()
        self._sections = sections

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog wide"):
            yield Static(help_text(self._sections))


def help_text(sections: Sections) -> Text:
    text = Text()
    for title, keys in sections.items():
        text.append(f"{title}\n", "bold")
        for key, what in keys.items():
            text.append(f"  {key:<16} ", "cyan")
            text.append(f"{what}\n")
    text.append("Badges\n", "bold")
    for mode, what in BADGES.items():
        text.append(f"  {mode.value:<16} ", "cyan")
        text.append(f"{what}\n")
    return text
