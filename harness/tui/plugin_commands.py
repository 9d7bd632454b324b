"""What plugins add to the palette: found while nobody waits for it, imported off the screen's way, and kept from doing
harm."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.markup import escape

from harness.control.protocol import FaultRequest
from harness.errors import HarnessError
from harness.record.state import RunState
from harness.record.text import block, one_line
from harness.tui.screens.text import TextScreen

if TYPE_CHECKING:  # what takes a while to load is loaded when the palette is opened
    from harness.plugin.contract.screen_command import Level, ScreenCommand
    from harness.plugin.registry import Registry
    from harness.tui.app import RunApp


@dataclass(frozen=True, slots=True)
class Found:
    """A command of a plugin. `problem`: why it cannot be used, where it cannot."""

    name: str
    about: str
    made: ScreenCommand | None = None
    problem: str = ""


def find(registry: Callable[[], Registry]) -> list[Found]:
    """All there are; plugins are imported for it. Raises nothing: what is broken says so."""
    try:
        plugins = registry()
    except HarnessError as error:
        return [Found("plugins", "cannot be listed", problem=str(error))]
    from harness.plugin.discovery import Kind

    return [_found(plugins, name) for name in plugins.names(Kind.SCREEN_COMMAND)]


def _found(plugins: Registry, name: str) -> Found:
    from harness.plugin.contract.base import NoConfig
    from harness.plugin.discovery import Kind

    try:
        cls = plugins.get(Kind.SCREEN_COMMAND, name)
        return Found(name, inspect.cleandoc(cls.__doc__ or "").partition("\n")[0], cls(NoConfig()))
    except HarnessError as error:
        return Found(name, "cannot be used", problem=str(error))
    except Exception as error:  # noqa: BLE001 - a third party's code may raise anything
        return Found(name, "cannot be used", problem=f"{type(error).__name__}: {error}")


class Finding:
    """The commands of a registry, found once: when it is time for that, or when somebody asks for them before."""

    def __init__(self, registry: Callable[[], Registry] | None) -> None:
        self._registry = registry
        self._lock = anyio.Lock()
        self.found: Sequence[Found] | None = None

    async def find(self) -> None:
        async with self._lock:
            if self.found is None and self._registry is not None:
                self.found = await anyio.to_thread.run_sync(find, self._registry)


class PluginCommands(Provider):
    """For the palette of a RunApp."""

    app: RunApp  # type: ignore[assignment]

    async def startup(self) -> None:
        await self.app.plugin_commands.find()

    async def discover(self) -> Hits:
        for found in self.app.plugin_commands.found or ():
            name = one_line(found.name, 60)
            yield DiscoveryHit(Content(name), partial(self._run, found), name, escape(one_line(found.about, 100)))

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for found in self.app.plugin_commands.found or ():
            name = one_line(found.name, 60)
            score = max(matcher.match(name), matcher.match(found.about) / 2)
            if score > 0:
                about = escape(one_line(found.about, 100))
                yield Hit(score, Content(name), partial(self._run, found), name, about)

    def _run(self, found: Found) -> None:
        self.app.run_worker(run(self.app, found), exclusive=False)


async def run(app: RunApp, found: Found) -> None:
    """Run it; where it fails, that is shown."""
    problem = found.problem
    if found.made is not None:
        try:
            await found.made.run(_Screen(app))
        except HarnessError as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001 - as above
            problem = f"{type(error).__name__}: {error}"
    if problem:
        app.notify(block(f"{found.name}: {problem}"), severity="error", markup=False)


class _Screen:
    """A RunScreen of this app."""

    def __init__(self, app: RunApp) -> None:
        self._app = app

    @property
    def state(self) -> RunState:
        return self._app.watching.moment.state

    @property
    def t(self) -> float:
        return self._app.watching.moment.t

    @property
    def node(self) -> str | None:
        return self._app.node_under_cursor

    def notify(self, text: str, level: Level = "information") -> None:
        self._app.notify(block(text), severity=level, markup=False)

    def copy(self, text: str) -> None:
        self._app.copy_to_clipboard(text)

    def show(self, title: str, text: str) -> None:
        self._app.push_screen(TextScreen(title, text))

    async def faults(self) -> Sequence[Mapping[str, Any]]:
        return await self._app.client.faults()

    async def inject(
        self, fault: str, targets: Sequence[str], duration: float, options: Mapping[str, Any] | None = None
    ) -> None:
        await self._app.client.inject(FaultRequest(fault, tuple(targets), duration, options or {}))

    async def pause(self) -> None:
        await self._app.client.pause()

    async def resume(self) -> None:
        await self._app.client.resume()
