"""A list of lines of any length, of which only those that are seen are made."""

from __future__ import annotations

from typing import ClassVar, Protocol

from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip


class Source(Protocol):
    """Where lines come from. `heading` stays on top, empty where there is none."""

    def __len__(self) -> int: ...

    def line(self, index: int, width: int) -> Text: ...

    def heading(self, width: int) -> Text: ...


class NoLines:
    """Before there are any."""

    def __len__(self) -> int:
        return 0

    def line(self, index: int, width: int) -> Text:
        raise IndexError(index)

    def heading(self, width: int) -> Text:
        return Text()


class Lines(ScrollView, can_focus=True):
    """Shows a source, with a cursor. `follow`: the end stays in sight as lines are added, while the cursor is there."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Up", show=False),
        Binding("down", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "go(0)", "First", show=False),
        Binding("end", "go(-1)", "Last", show=False),
        Binding("enter", "choose", "Open", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {"lines--cursor"}

    cursor = reactive(0, repaint=False)
    follow = reactive(False, repaint=False)

    class Chosen(Message):
        """A line was chosen, by Enter or by a click."""

        def __init__(self, lines: Lines, index: int) -> None:
            super().__init__()
            self.lines = lines
            self.index = index

        @property
        def control(self) -> Lines:
            return self.lines

    def __init__(self, title: str = "", *, id: str, follow: bool = False) -> None:
        super().__init__(id=id)
        self.border_title = title
        self.source: Source = NoLines()
        self._has_heading = False
        self._seen: list[Text | None] = []
        self._follows = follow
        self.set_reactive(Lines.follow, follow)

    def show(self, source: Source) -> None:
        """Show this from now on; to be called whenever what it has may have changed. Only lines that do are drawn."""
        self.source = source
        self._has_heading = bool(source.heading(self._width).plain)
        count = len(source)
        size = Size(self._width, count + self._has_heading)
        if size != self.virtual_size:
            self.virtual_size = size
        if self.follow:
            self.cursor = max(0, count - 1)
            self.scroll_end(animate=False, immediate=True)
        elif self.cursor >= count:
            self.cursor = max(0, count - 1)
        self._draw_changed()

    def _draw_changed(self) -> None:
        region = self.scrollable_content_region
        seen = [self._text(y, region.width) for y in range(region.height)]
        if len(seen) != len(self._seen):
            self.refresh()
        elif changed := [y for y, text in enumerate(seen) if text != self._seen[y]]:
            self.refresh(*(Region(0, y, region.width, 1) for y in changed))
        self._seen = seen

    def _text(self, y: int, width: int) -> Text | None:
        """What stands in a line of the screen."""
        if self._has_heading and y == 0:
            return self.source.heading(width)
        index = y + round(self.scroll_offset.y) - self._has_heading
        return self.source.line(index, width) if 0 <= index < len(self.source) else None

    @property
    def _width(self) -> int:
        return max(1, self.scrollable_content_region.width)

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        text = self._text(y, width)
        if text is None:
            return Strip.blank(width, self.rich_style)
        is_heading = self._has_heading and y == 0
        if self.has_focus and not is_heading and y + round(self.scroll_offset.y) - self._has_heading == self.cursor:
            text = text.copy()
            text.pad_right(max(0, width - text.cell_len))
            text.stylize(self.get_component_rich_style("lines--cursor", partial=True))
        return self._strip(text, width)

    def _strip(self, text: Text, width: int) -> Strip:
        segments = list(text.render(self.app.console, end=""))
        return Strip(segments).apply_style(self.rich_style + Style()).adjust_cell_length(width, self.rich_style)

    def watch_cursor(self) -> None:
        self.refresh()

    def action_move(self, by: int) -> None:
        self._go(self.cursor + by)

    def action_page(self, by: int) -> None:
        self._go(self.cursor + by * max(1, self._visible - 1))

    def action_go(self, index: int) -> None:
        self._go(index if index >= 0 else len(self.source) - 1)

    def go_to(self, index: int) -> None:
        """Put the cursor there, in sight."""
        self.follow = False
        self._go(index)

    def action_choose(self) -> None:
        if self.cursor < len(self.source):
            self.post_message(self.Chosen(self, self.cursor))

    async def _on_click(self, event: events.Click) -> None:
        index = event.y + round(self.scroll_offset.y) - self._has_heading
        if 0 <= index < len(self.source) and event.y >= self._has_heading:
            again = index == self.cursor
            self._go(index)
            if again or event.chain == 2:
                self.action_choose()

    @property
    def _visible(self) -> int:
        return max(1, self.scrollable_content_region.height - self._has_heading)

    def _go(self, index: int) -> None:
        count = len(self.source)
        self.cursor = min(max(0, index), max(0, count - 1))
        if self.cursor == count - 1:
            self.follow = self._follows
        else:
            self.follow = False
        top = round(self.scroll_offset.y)
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, immediate=True)
        elif self.cursor >= top + self._visible:
            self.scroll_to(y=self.cursor - self._visible + 1, animate=False, immediate=True)
        self.refresh()
