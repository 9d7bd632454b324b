"""The app: a run on the screen, live or replayed, and what can be done to it from there."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.events import Click, Resize
from textual.screen import Screen
from textual.widget import Widget

from harness.control.client import ControlClient, ControlError
from harness.control.protocol import FaultRequest
from harness.record.events import Recorded, RunStarted
from harness.record.rundir import RunDirectory
from harness.record.state import RunState
from harness.record.text import block
from harness.tui.garbage import Garbage
from harness.tui.key_line import KeyLine, Offer
from harness.tui.keys import KeysInTurn
from harness.tui.lines import Lines
from harness.tui.log_panel import LogPanel
from harness.tui.merged_log import MergedLog
from harness.tui.moment import Mode, Moment
from harness.tui.palette import commands
from harness.tui.panel import Panel
from harness.tui.panels import charts, header, timeline
from harness.tui.panels import expectations as checks
from harness.tui.panels import workloads as load
from harness.tui.panels.nodes import NodeTable
from harness.tui.panels.nodes import rows as node_rows
from harness.tui.plugin_commands import Finding, PluginCommands
from harness.tui.screens.choice import Answer, Choice
from harness.tui.screens.help import LOG, NODE_KEYS, RUN_KEYS, HelpScreen
from harness.tui.screens.node import NodeScreen
from harness.tui.themes import ANSI_DARK, ANSI_LIGHT, DARK, LIGHT, THEMES
from harness.tui.watching import Watching

if TYPE_CHECKING:
    from harness.plugin.registry import Registry

TICK = 0.1
"""Seconds between two drawings at least."""
STILL = 1.0
"""The same while what is shown stands: keys that change it have it drawn themselves."""
IDLE_AFTER = 1.0
"""Seconds after which what takes long to load is loaded, before a key asks for it."""
BREATH = 0.005
"""Seconds that are left for keys while there is more to be read."""

KEEP = Answer("keep", "Let it go on", "k")
DETACH = Answer("detach", "Leave it running", "d")
ABORT = Answer("abort", "Abort it", "a", is_grave=True)
PANELS = {
    "nodes": ("left", "nodes"),
    "load": ("left", "workloads", "right", "intervals"),
    "checks": ("right", "checks"),
    "log": ("log",),
}
"""What is shown together where there is no room for all."""
STEERING = frozenset({"pause", "faults", "fault", "abort"})
REPLAYING = (
    Binding("left", "seek(-5)", "Seek", key_display="← →"),
    Binding("right_square_bracket", "speed(1)", "Speed", key_display="[ ]"),
)
ABORTED = "It is taken down at once, its faults are healed, and nothing more is judged."


class TimelinePanel(Panel):
    """A click looks at that moment."""

    def on_click(self, event: Click) -> None:
        offset = event.get_content_offset(self)
        if offset is not None and offset.x >= timeline.LABEL and isinstance(self.app, RunApp):
            self.app.seek_to_column(offset.x - timeline.LABEL, self.content_size.width - timeline.LABEL)


def _header(moment: Moment, width: int, height: int) -> Text:
    return header.header(moment, width)


def _facts(moment: Moment, width: int, height: int) -> Text:
    return header.facts(moment, width)


def _phases(moment: Moment, width: int, height: int) -> Text:
    return header.phases(moment, width)


class RunApp(KeysInTurn[int]):
    """Watches one run. Everything on the screen is made from its journal; what is asked of it goes through its control
    socket."""

    CSS_PATH = Path(__file__).with_name("run.tcss")  # also of those that are made from this one elsewhere
    TITLE = "harness"
    COMMANDS = App.COMMANDS | {PluginCommands}
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide"), (160, "-vast")]  # noqa: RUF012 - as Textual declares it
    VERTICAL_BREAKPOINTS = [(0, "-low"), (18, "-high")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "freeze", "Freeze"),
        Binding("p", "pause", "Pause load"),
        Binding("f", "faults", "Fault…"),
        Binding("a", "abort", "Abort…"),
        Binding("left", "seek(-5)", "Earlier", show=False),
        Binding("right", "seek(5)", "Later", show=False),
        Binding("shift+left", "seek(-60)", "Much earlier", show=False),
        Binding("shift+right", "seek(60)", "Much later", show=False),
        Binding("l,escape", "newest", "Newest", show=False),
        Binding("left_square_bracket", "speed(-1)", "Slower", show=False),
        Binding("right_square_bracket", "speed(1)", "Faster", show=False),
        Binding("1", "panel('nodes')", "Nodes", show=False),
        Binding("2", "panel('load')", "Load", show=False),
        Binding("3", "panel('checks')", "Checks", show=False),
        Binding("4", "panel('log')", "Log", show=False),
        Binding("s", "save", "Screenshot", show=False),
        Binding("x", "export", "Export", show=False),
        Binding("t", "light", "Light or dark", show=False),
        Binding("question_mark", "help", "Help"),
        Binding("q", "leave", "Leave", priority=True),
        Binding("ctrl+c", "leave", "Leave", priority=True, show=False),
    ]

    def __init__(
        self,
        directory: RunDirectory,
        registry: Callable[[], Registry] | None = None,
        *,
        replay: bool = False,
        speed: float = 1.0,
        in_series: bool = False,
    ) -> None:
        """`registry` has the plugins that add commands to the palette, None for no such commands; it is asked for in
        another thread, soon or when the palette is opened. `in_series`: closed by itself at the end of a run after
        which others of its matrix come. Raises OSError when the run's journal cannot be read."""
        super().__init__()
        self.ansi_theme_dark, self.ansi_theme_light = ANSI_DARK, ANSI_LIGHT
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = DARK
        self.merged = MergedLog()
        self.watching = Watching(directory, self._told, replay=replay, speed=speed)
        self.client = ControlClient(directory.path)
        self.is_left_running = False
        self.plugin_commands = Finding(registry)
        self._garbage = Garbage()
        self._in_series = in_series
        self._ticked = time.monotonic()
        self._drawn = 0.0

    def notify(self, message: str, **how: Any) -> None:
        """Whoever said it: a run, a node, a plugin. It is shown as text, and does nothing to the terminal."""
        super().notify(block(message), **{**how, "markup": False})

    def compose(self) -> ComposeResult:
        yield Panel(_header, id="header")
        yield Panel(_facts, id="facts")
        yield Panel(_phases, id="phases")
        with Container(id="main"):
            with Vertical(id="left"):
                yield Lines("1 nodes", id="nodes")
                yield Panel(load.workloads, id="workloads", title="2 workloads")
            with Vertical(id="right"):
                yield Panel(charts.block_intervals, id="intervals", title="2 block intervals")
                yield Panel(checks.expectations, id="checks", title="3 expectations")
            yield LogPanel(self.merged, id="log")
        yield TimelinePanel(self._timeline, id="timeline")
        yield KeyLine(self.offer)

    def _timeline(self, moment: Moment, width: int, height: int) -> Text:
        return timeline.timeline(moment, self.watching.latest, width, height)

    def on_mount(self) -> None:
        self._garbage.begin()
        self.action_panel("nodes")
        self.call_after_refresh(self._tick)
        if PluginCommands in self.COMMANDS:
            self.set_timer(IDLE_AFTER, lambda: self.run_worker(self.plugin_commands.find()))

    def on_resize(self, event: Resize) -> None:
        self.call_after_refresh(self.draw)

    def on_unmount(self) -> None:
        self._garbage.end()
        self.watching.close()
        self.merged.close()

    def _told(self, recorded: Recorded, state: RunState) -> None:
        self.merged.add(recorded, state)
        if isinstance(recorded.event, RunStarted):
            directory = self.watching.directory
            self.merged.follow({name: directory.log(name) for name in recorded.event.nodes})

    def _tick(self) -> None:
        if not self.screen_stack:
            return  # it is being closed
        now = time.monotonic()
        more = self.watching.advance(now - self._ticked)
        self._ticked = now
        self.keys_go_on()
        self._garbage.look(self.asked_at)
        if now - self._drawn >= (STILL if self.watching.stands and not more else TICK):
            self.draw()
            self._drawn = time.monotonic()
        self.merged.correct(self.watching.latest.clock_corrections)
        panel = self.screen_stack[0].query_one(LogPanel)
        more = panel.advance(float("inf") if self.watching.shows_all else self.watching.moment.t) or more
        if self._in_series and self._others_come:
            self.exit(0)
        self.set_timer(BREATH if more else TICK, self._tick)

    @property
    def _others_come(self) -> bool:
        state = self.watching.latest
        if state.run is None or state.finish is None or state.finish.status == "interrupted":
            return False
        matrix = state.run.matrix
        return int(matrix.get("number", 0)) < int(matrix.get("of", 0))

    def draw(self) -> None:
        """Everything as it is at the moment that is looked at."""
        if not self.screen_stack:
            return
        moment = self.watching.moment
        if self.watching.trouble:
            self.notify(f"no earlier moment can be shown: {self.watching.trouble}", severity="error")
            self.watching.trouble = ""
        for panel in self.screen_stack[0].query(Panel):
            if panel.display:
                panel.draw(moment)
        self.screen_stack[0].query_one("#nodes", Lines).show(
            NodeTable(node_rows(moment.state, is_cut_off=moment.is_cut_off))
        )
        self.screen_stack[0].query_one(KeyLine).look()

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Everything that keys do; those of plugins come besides (ctrl+p)."""
        return commands(self, screen)

    def action_light(self) -> None:
        """Light, or dark again."""
        self.theme = DARK if self.theme == LIGHT else LIGHT

    # What keys do

    def action_freeze(self) -> None:
        self.watching.freeze()
        self.draw()

    def action_seek(self, seconds: float) -> None:
        self._sought(self.watching.seek_by(seconds))

    def seek_to_column(self, column: int, columns: int) -> None:
        self._sought(self.watching.seek(timeline.moment_of(column, self.watching.moment, columns)))

    def _sought(self, found: bool) -> None:
        if not found:
            self.notify(f"the history was not read so far yet: {self.watching.read or 0:.0%} of it")
        self.draw()

    def action_newest(self) -> None:
        self.watching.newest()
        self.draw()

    def action_speed(self, by: int) -> None:
        self.watching.faster(by)
        self.draw()

    def action_panel(self, name: str) -> None:
        """Show it where the screen has room for one, and have its keys."""
        for one in self.query("#main, #main *").results(Widget):
            if one.id is not None:
                one.set_class(one.id in PANELS[name], "-chosen")
        for lines in self.query(Lines):
            if any(one.id == name for one in lines.ancestors_with_self):
                lines.focus()
        self.call_after_refresh(self.draw)

    @work
    async def action_pause(self) -> None:
        held = self.watching.latest.paused_at is not None
        await self.ask(self.client.resume if held else self.client.pause)

    async def ask(self, what: Callable[[], Awaitable[None]]) -> bool:
        """Ask something of the run, and say so where it does not do it."""
        if not self._can_steer():
            return False
        try:
            await what()
        except ControlError as error:
            self.notify(str(error), severity="error")
            return False
        return True

    def offer(self) -> Offer:
        """What keys are told to do now: nobody steers a run that is over, and a replay is played."""
        watching = self.watching
        if watching.mode is Mode.REPLAY:
            word = "Stop" if watching.playing else "Play"
            return Offer(STEERING, {"freeze": word, "app.freeze": word}, REPLAYING)
        return Offer() if watching.can_steer else Offer(STEERING)

    def _can_steer(self) -> bool:
        if not self.watching.can_steer:
            self.notify("the run is over: there is nothing to steer", severity="warning")
        return self.watching.can_steer

    async def action_faults(self) -> None:
        await self.choose_fault([self.node_under_cursor] if self.node_under_cursor is not None else [])

    @property
    def node_under_cursor(self) -> str | None:
        table = self.screen_stack[0].query_one("#nodes", Lines)
        rows = table.source.rows if isinstance(table.source, NodeTable) else []
        return rows[table.cursor].node.name if table.cursor < len(rows) else None

    async def choose_fault(self, chosen: Sequence[str]) -> None:
        """Have a fault chosen for these nodes, or others, and injected."""
        if not self._can_steer():
            return

        def inject(request: FaultRequest | None) -> None:
            if request is not None:
                self.run_worker(self.ask(partial(self.client.inject, request)))

        from harness.tui.screens.faults import FaultScreen  # not at the top: what reads options takes a while to load

        await self.push_screen(FaultScreen(self.client.faults, sorted(self.watching.latest.nodes), chosen), inject)

    async def action_abort(self) -> None:
        def answered(answer: str | None) -> None:
            if answer == "abort":
                self.run_worker(self.ask(self.client.abort))

        if self._can_steer():
            await self.push_screen(Choice("Abort the run?", ABORTED, (KEEP, ABORT)), answered)

    async def action_leave(self) -> None:
        """Ask, where there is a run that goes on."""
        if len(self.screen_stack) > 1:
            self.pop_screen()
            return
        if not self.watching.can_steer:
            self.exit(0)
            return

        async def abort() -> None:
            if await self.ask(self.client.abort):
                self.notify("it is being taken down; leave when it is done")

        def answered(answer: str | None) -> None:
            if answer == "abort":
                self.run_worker(abort())
            elif answer == "detach":
                self.is_left_running = True
                self.exit(0)

        again = f"harness watch {self.watching.directory.shown}"
        question = Choice("The run goes on. Leave it?", f"To watch it again: {again}", (DETACH, ABORT))
        await self.push_screen(question, answered)

    async def action_help(self) -> None:
        """Of where one is."""
        sections = NODE_KEYS if isinstance(self.screen, NodeScreen) else RUN_KEYS
        if self.screen_stack[0].query_one(LogPanel).has_focus_within:
            sections = {LOG: sections[LOG], **sections} if LOG in sections else sections
        await self.push_screen(HelpScreen(sections))

    async def on_lines_chosen(self, event: Lines.Chosen) -> None:
        if event.lines.id == "nodes" and isinstance(event.lines.source, NodeTable):
            await self.push_screen(NodeScreen(event.lines.source.rows[event.index].node.name))

    def action_save(self) -> None:
        name = f"{self.watching.directory.run_id}-{int(self.watching.moment.t)}s.svg"
        try:
            path = self.save_screenshot(name, str(self.watching.directory.path))
        except OSError as error:  # another user's run, a full disk
            self.notify(f"not saved: {error}", severity="error")
        else:
            self.notify(f"saved {path}")

    @work(thread=True, exclusive=True, group="export")
    def action_export(self) -> None:
        """The run in one file, in the folder that one is in."""
        from harness.record.bundle import bundle

        try:
            made = bundle(self.watching.directory, Path.cwd())
        except OSError as error:
            self.notify(f"not exported: {error}", severity="error")
        else:
            self.notify(f"exported to {made.path}; secrets in nodes' own logs are not redacted")
            if made.left_out:
                self.notify(f"not in it: {'; '.join(made.left_out)}", severity="warning")
