"""The last line of a screen: which keys there are. One widget, where Textual's footer is one for each key, which are
all made anew whenever the focus or the screen changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual.binding import Binding
from textual.reactive import reactive
from textual.screen import Screen
from textual.widget import Widget

LEADING = ("help", "app.help", "leave")
"""What one has to find even where there is room for little."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What is told of keys besides what they say of themselves. `unasked`: actions of which nothing is; `words` for
    others by their actions; `further` keys, which say nothing themselves."""

    unasked: frozenset[str] = frozenset()
    words: Mapping[str, str] = field(default_factory=dict)
    further: tuple[Binding, ...] = ()


class KeyLine(Widget):
    """A click on a key is as good as the key."""

    DEFAULT_CSS = """
    KeyLine { dock: bottom; height: 1; background: $footer-background; color: $footer-foreground; }
    KeyLine > .key-line--key { color: $footer-key-foreground; text-style: bold; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"key-line--key"}

    shown: reactive[tuple[Binding, ...]] = reactive[tuple[Binding, ...]](())

    def __init__(self, offer: Callable[[], Offer]) -> None:
        """`offer` is asked for whenever it `look`s."""
        super().__init__()
        self._offer = offer
        self._keys: tuple[Binding, ...] = ()

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._changed)
        self._changed(self.screen)

    def look(self) -> None:
        """There may be another offer now."""
        offer = self._offer()
        shown = [binding for binding in self._keys if binding.action not in offer.unasked]
        named = [replace(key, description=offer.words.get(key.action, key.description)) for key in shown]
        self.shown = (*named, *offer.further)

    def _changed(self, screen: Screen[object]) -> None:
        if screen.is_attached:
            self._keys = tuple(_shown(screen))
            self.look()

    def render(self) -> Text:
        """Whole keys only: where there is no room for all, those that lead on to the others have it first."""
        last = [self._key(binding) for binding in self.shown if binding.action in LEADING]
        if self.app.ENABLE_COMMAND_PALETTE:
            last.append(self._key(Binding("ctrl+p", "", "palette")))
        room = self.content_size.width
        while last and sum(key.cell_len for key in last) > room:
            del last[0]
        room -= sum(key.cell_len for key in last)
        line = Text(no_wrap=True)
        for key in (self._key(binding) for binding in self.shown if binding.action not in LEADING):
            if line.cell_len + key.cell_len > room:
                break
            line.append_text(key)
        line.pad_right(room - line.cell_len)
        return line.append_text(Text().join(last))

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
