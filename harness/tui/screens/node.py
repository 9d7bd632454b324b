"""One node alone: how it stands and stood, what it writes, and how to get at it."""

from __future__ import annotations

import shlex
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from harness.tui.file_lines import FileLines
from harness.tui.key_line import KeyLine
from harness.tui.lines import Lines
from harness.tui.moment import Moment
from harness.tui.panel import Panel
from harness.tui.panels import node as panels
from harness.tui.trail import Trail

if TYPE_CHECKING:
    from harness.tui.app import RunApp

GROW_FOR = 0.03
GROW_EVERY = 0.2


class NodeScreen(ModalScreen[None]):
    """Closed by Escape. Its log goes on while the end is in sight."""

    app: RunApp
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "app.pop_screen", "Back"),
        Binding("c", "copy_reach", "Copy command"),
        Binding("y", "copy_log", "Copy log command", show=False),
        Binding("f", "fault", "Fault…"),
        Binding("end", "follow", "Follow", show=False),
        Binding("space", "app.freeze", "Freeze"),
        Binding("left", "app.seek(-5)", "Earlier", show=False),
        Binding("right", "app.seek(5)", "Later", show=False),
        Binding("shift+left", "app.seek(-60)", "Much earlier", show=False),
        Binding("shift+right", "app.seek(60)", "Much later", show=False),
        Binding("l", "app.newest", "Newest", show=False),
        Binding("s", "app.save", "Screenshot", show=False),
        Binding("x", "app.export", "Export", show=False),
        Binding("t", "app.light", "Light or dark", show=False),
        Binding("question_mark", "app.help", "Help"),
    ]

    def __init__(self, node: str) -> None:
        super().__init__()
        self.node = node
        self._lines: FileLines | None = None
        self._trail: Trail | None = None
        self._about = ""

    def compose(self) -> ComposeResult:
        directory = self.app.watching.directory
        self._lines = FileLines(directory.log(self.node))
        self._trail = trail = Trail(directory.journal, self.node)
        with Vertical(classes="dialog full"):
            yield Static(id="about", markup=False)
            with Horizontal(id="node-charts"):
                yield Panel(partial(panels.behind, trail), id="node-behind", title="blocks behind")
                yield Panel(partial(panels.intervals, trail), id="node-intervals", title="block intervals here")
                yield Panel(partial(panels.cpu, trail), id="node-cpu", title="CPU, of a core")
                yield Panel(partial(panels.memory, trail), id="node-memory", title="memory")
            with Container(id="node-texts"):
                yield Lines("what became of it", id="node-story", follow=True)
                yield Lines("log", id="node-log", follow=True)
            yield KeyLine(self.app.offer)

    def on_mount(self) -> None:
        self.query_one("#node-log", Lines).focus()
        self.call_after_refresh(self._tick)  # when it is known how much room there is

    def on_resize(self) -> None:
        self.call_after_refresh(self.grow)

    def on_unmount(self) -> None:
        if self._lines is not None:
            self._lines.close()
        if self._trail is not None:
            self._trail.close()

    @property
    def log_command(self) -> str:
        """What shows its log in a shell."""
        return shlex.join(["harness", "logs", str(self.app.watching.directory.path), self.node, "-f"])

    @property
    def reach_command(self) -> str:
        """What brings a person there, as far as it is known: else what shows its log."""
        node = self.app.watching.latest.nodes.get(self.node)
        return shlex.join(node.reach) if node is not None and node.reach else self.log_command

    def action_copy_reach(self) -> None:
        self._copy(self.reach_command)

    def action_copy_log(self) -> None:
        self._copy(self.log_command)

    def _copy(self, command: str) -> None:
        self.app.copy_to_clipboard(command)
        self.app.notify(f"copied: {command}", markup=False)

    async def action_fault(self) -> None:
        self.app.pop_screen()
        await self.app.choose_fault((self.node,))

    def action_follow(self) -> None:
        self.query_one("#node-log", Lines).follow = True
        self.grow()

    def _tick(self) -> None:
        more = self.grow()
        self.set_timer(0.001 if more else GROW_EVERY, self._tick)

    def _end(self, moment: Moment) -> int:
        """How many lines of its log there were at that moment."""
        assert self._lines is not None
        if self.app.watching.shows_all:
            return len(self._lines)
        node = self.app.watching.latest.nodes.get(self.node)
        return self._lines.until(moment.state.began + moment.t + (node.clock_correction if node is not None else 0.0))

    def grow(self) -> bool:
        """Read on, and show what there is; whether there is more."""
        assert self._lines is not None and self._trail is not None
        if not self.is_attached:
            return False  # it has been closed
        more = self._lines.grow(GROW_FOR)
        more = self._trail.grow(GROW_FOR) or more
        moment = self.app.watching.moment
        about = self.query_one("#about", Static)
        text = panels.about(moment, self.node, self.log_command, max(20, about.content_size.width))
        if text.markup != self._about:  # what is selected in it stays so
            self._about = text.markup
            about.update(text)
        if self._lines.trouble:
            self.query_one("#node-log", Lines).border_title = f"log: cannot be read: {self._lines.trouble}"
        self.query_one("#node-log", Lines).show(panels.LogUntil(self._lines, self._end(moment)))
        self.query_one("#node-story", Lines).show(panels.Story(self._trail, moment))
        self.query_one(KeyLine).look()
        for panel in self.query(Panel):
            if panel.display:
                panel.draw(moment)
        return more
