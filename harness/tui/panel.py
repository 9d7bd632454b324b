"""Parts of the screen that pure functions draw."""

from __future__ import annotations

from collections.abc import Callable

from rich.text import Text
from textual.reactive import reactive
from textual.widget import Widget

from harness.tui.moment import Moment

Draw = Callable[[Moment, int, int], Text]
"""What is to be shown of a moment in so many columns and rows."""


class Panel(Widget):
    """A part of the screen that a pure function draws, again only when what it says has changed."""

    shown: reactive[Text] = reactive(Text(), layout=False)

    def __init__(self, draw: Draw, *, id: str, title: str = "") -> None:
        super().__init__(id=id)
        self._draw = draw
        self._moment: Moment | None = None
        self.border_title = title

    def draw(self, moment: Moment) -> None:
        """Where there is no room yet, it is drawn as soon as there is."""
        self._moment = moment
        if self.content_size:
            lines = self.shown.plain.count("\n")
            self.shown = self._draw(moment, self.content_size.width, self._rows)
            if self.styles.is_auto_height and self.shown.plain.count("\n") != lines:
                self.refresh(layout=True)

    @property
    def _rows(self) -> int:
        """As many as it may have: one that is as high as what it shows may grow."""
        most = self.styles.max_height
        if not self.styles.is_auto_height or most is None or not isinstance(self.parent, Widget):
            return self.content_size.height
        return max(1, int(most.resolve(self.parent.content_size, self.app.size)) - self.gutter.height)

    def on_resize(self) -> None:
        if self._moment is not None:
            self.draw(self._moment)

    def render(self) -> Text:
        return self.shown
