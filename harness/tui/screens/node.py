"""One node alone: how it stands, what it writes, and how to get at it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Footer, Static

from harness.record.state import RunState
from harness.tui.file_lines import FileLines
from harness.tui.lines import Lines
from harness.tui.look import BAD, DIM, DOUBTFUL, NONE, clock, cut, of_node, size

if TYPE_CHECKING:
    from harness.tui.app import RunApp

GROW_FOR = 0.03
GROW_EVERY = 0.2


class NodeScreen(ModalScreen[None]):
    """Closed by Escape. Its log goes on while the end is in sight."""

    app: RunApp
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "app.pop_screen", "Back"),
        Binding("c", "copy", "Copy command"),
        Binding("f", "fault", "Fault…"),
        Binding("end", "follow", "Follow", show=False),
    ]

    def __init__(self, node: str) -> None:
        super().__init__()
        self.node = node
        self._lines: FileLines | None = None

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog full"):
            yield Static(id="about", markup=False)
            yield Lines("log", id="node-log", follow=True)
            yield Footer()

    def on_mount(self) -> None:
        self._lines = FileLines(self.app.watching.directory.log(self.node))
        self.query_one(Lines).focus()
        self._grow()

    def on_unmount(self) -> None:
        if self._lines is not None:
            self._lines.close()

    @property
    def command(self) -> str:
        """What shows more of it from a shell."""
        return shlex.join(["harness", "logs", str(self.app.watching.directory.path), self.node, "-f"])

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self.command)
        self.app.notify(f"copied: {self.command}", markup=False)

    async def action_fault(self) -> None:
        self.app.pop_screen()
        await self.app.choose_fault((self.node,))

    def action_follow(self) -> None:
        lines = self.query_one(Lines)
        lines.follow = True
        self._grow_once()

    def _grow(self) -> None:
        more = self._grow_once()
        self.set_timer(0.001 if more else GROW_EVERY, self._grow)

    def _grow_once(self) -> bool:
        assert self._lines is not None
        more = self._lines.grow(GROW_FOR)
        self.query_one(Lines).show(self._lines)
        self.query_one("#about", Static).update(about(self.app.watching.moment.state, self.node, self.command))
        return more


def about(state: RunState, name: str, command: str) -> Text:
    """What is known of it."""
    node = state.nodes.get(name)
    text = Text(cut(name, 60), "bold", no_wrap=True)
    if node is None:
        return text.append("  is not known at this moment", DIM)
    look = of_node(node)
    text.append("  ").append_text(look.text())
    if node.why:
        text.append(f" ({cut(node.why, 80)})", DIM)
    lag = state.lag(name)
    facts = {
        "role": node.role or NONE,
        "machine": node.machine or NONE,
        "version": node.version or NONE,
        "peers": NONE if node.peers is None else f"{node.peers:,}",
        "CPU": NONE if node.cpu is None else f"{node.cpu:.0%} of a core",
        "memory": NONE if node.memory is None else size(node.memory),
        "pid": NONE if node.pid is None else str(node.pid),
        "height": f"{node.height:,}" if node.hash else NONE,
        "behind": NONE if lag is None else f"{lag:,}",
        "exits unasked": f"{node.exits:,}",
    }
    text.append("\n" + " · ".join(f"{key} {cut(value, 40)}" for key, value in facts.items()))
    mine = [fault for fault in state.faults.values() if name in fault.targets]
    for fault in mine[-3:]:
        since = clock(fault.reached.get("injected"))
        text.append(f"\n⚡ {fault.id} {cut(fault.fault, 30)} at {since}: {cut(fault.stage, 30)}", DOUBTFUL)
    if node.last_error:
        text.append(f"\n✗ {cut(node.last_error, 200)}", BAD)
    text.append(f"\n{command}", DIM)
    return text
