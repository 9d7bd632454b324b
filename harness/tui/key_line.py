"""The last line of a screen: which keys there are. One widget, where Textual's footer is one for each key, which are
all made anew whenever the focus or the screen changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual.binding import Binding
from textual.reactive import reactive
from textual.screen import Screen
from textual.widget import Widget


class KeyLine(Widget):
    """A click on a key is as good as the key."""

    DEFAULT_CSS = """
    KeyLine { dock: bottom; height: 1; background: $footer-background; color: $footer-foreground; }
    KeyLine > .key-line--key { color: $footer-key-foreground; text-style: bold; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"key-line--key"}

    shown: reactive[tuple[Binding, ...]] = reactive[tuple[Binding, ...]](())

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._changed)
        self._changed(self.screen)

    def _changed(self, screen: Screen[object]) -> None:
        if screen.is_attached:
            self.shown = tuple(_shown(screen))

    def render(self) -> Text:
        palette = self._key(Binding("ctrl+p", "", "palette")) if self.app.ENABLE_COMMAND_PALETTE else Text()
        room = max(0, self.content_size.width - palette.cell_len)
        line = Text(no_wrap=True)
        for binding in self.shown:
            line.append_text(self._key(binding))
        line.truncate(room)
        line.pad_right(room - line.cell_len)
        return line.append_text(palette)

    def _key(self, binding: Binding) -> Text:
        style = self.get_component_rich_style("key-line--key", partial=True)
        text = Text().append(f" {self.app.get_key_display(binding)}", style).append(f" {binding.description} ")
        text.stylize(Style(meta={"@click": f"app.simulate_key({binding.key!r})"}))
        return text


def _shown(screen: Screen[object]) -> Iterator[Binding]:
    """The first key of each thing that can be done."""
    seen = set()
    for active in screen.active_bindings.values():
        binding = active.binding
        if binding.show and active.enabled and binding.action not in seen:
            seen.add(binding.action)
            yield binding
