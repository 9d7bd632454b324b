"""The command palette (ctrl+p): everything that keys do where one is."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from textual.actions import parse
from textual.app import SystemCommand
from textual.binding import Binding
from textual.dom import DOMNode
from textual.markup import escape
from textual.screen import Screen

if TYPE_CHECKING:
    from harness.tui.app import RunApp

COMMANDS = (
    ("Freeze the display, or let it go on", "space; the run goes on in any case", "freeze"),
    ("Pause the run's workloads, or let them go on", "p", "pause"),
    ("Inject a fault", "f; chosen from a list, healed after its time", "faults"),
    ("Abort the run", "a; asks first", "abort"),
    ("Back to the newest", "l", "newest"),
    ("Five seconds earlier", "left", "seek(-5)"),
    ("Five seconds later", "right", "seek(5)"),
    ("A minute earlier", "shift+left", "seek(-60)"),
    ("A minute later", "shift+right", "seek(60)"),
    ("Replay slower", "[", "speed(-1)"),
    ("Replay faster", "]", "speed(1)"),
    ("Show nodes", "1", "panel('nodes')"),
    ("Show load", "2", "panel('load')"),
    ("Show expectations", "3", "panel('checks')"),
    ("Show the log", "4", "panel('log')"),
    ("Save a screenshot", "s; an SVG in the run's folder", "save"),
    ("Export the run", "x; journal, report and logs as one file", "export"),
    ("Light or dark", "t", "light"),
    ("Help", "?", "help"),
    ("Leave", "q; a run that goes on is left alone", "leave"),
)
"""Of the app: what it does, its key, and its action."""
LOG_COMMANDS = (
    ("Log: search", "/; a regular expression", "search"),
    ("Log: next that was found", "n", "find(1)"),
    ("Log: previous that was found", "N", "find(-1)"),
    ("Log: only lines with …", "&; a regular expression", "filter"),
    ("Log: of another level", "e; all, info, warnings, errors", "level"),
    ("Log: whose lines", "o; nodes to be chosen", "sources"),
)
"""Of the log's panel, which is shown for them."""
NODE_COMMANDS = (("Open the node under the cursor", "enter; its log, charts and how to get at it", "choose"),)
"""Of the table of nodes."""
ANYWHERE = frozenset({"save", "export", "light", "help", "leave"})
"""Actions of the app that make sense on every screen."""


def commands(app: RunApp, screen: Screen[Any]) -> Iterator[SystemCommand]:
    """What can be done on this screen."""
    is_first = screen is app.screen_stack[0]
    unasked = app.offer().unasked
    for title, about, action in COMMANDS:
        _, name, arguments = parse(action)
        if (is_first or name in ANYWHERE) and name not in unasked and app.check_action(name, arguments):
            yield SystemCommand(title, escape(about), partial(app.run_action, action))
    if is_first:
        for panel, of_it in (("log", LOG_COMMANDS), ("nodes", NODE_COMMANDS)):
            for title, about, action in of_it:
                there = screen.query_one(f"#{panel}")
                yield SystemCommand(title, escape(about), partial(_on_panel, app, panel, there, action))
        return
    for binding in screen.BINDINGS:
        if not isinstance(binding, Binding) or not binding.description:
            continue
        if binding.action not in unasked and binding.action.removeprefix("app.") not in ANYWHERE:
            yield SystemCommand(binding.description, binding.key, partial(app.run_action, binding.action, screen))


async def _on_panel(app: RunApp, panel: str, there: DOMNode, action: str) -> None:
    app.action_panel(panel)
    await app.run_action(action, there)
