"""The plugins of one process: found without importing, imported one source at a time, when one is chosen."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy
from pydantic import BaseModel

from harness.errors import PluginLoadError, UnknownPluginError
from harness.plugin import discovery, hookspecs
from harness.plugin.contract.base import Plugin
from harness.plugin.contract.chain import Chain
from harness.plugin.contract.deployer import Deployer
from harness.plugin.contract.expectation import Expectation
from harness.plugin.contract.fault import Fault
from harness.plugin.contract.inventory_source import InventorySource
from harness.plugin.contract.nemesis import NemesisFamily
from harness.plugin.contract.screen_command import ScreenCommand
from harness.plugin.contract.task import Task
from harness.plugin.contract.workload import Workload
from harness.plugin.discovery import Candidate, Kind
from harness.record.events import Recorded
from harness.spec.playbook_model import TaskModel

CONTRACTS: dict[Kind, type[Plugin[Any]]] = {
    Kind.DEPLOYER: Deployer,
    Kind.CHAIN: Chain,
    Kind.WORKLOAD: Workload,
    Kind.EXPECTATION: Expectation,
    Kind.FAULT: Fault,
    Kind.TASK: Task,
    Kind.INVENTORY_SOURCE: InventorySource,
    Kind.SCREEN_COMMAND: ScreenCommand,
}


@dataclass(frozen=True, slots=True)
class Observer:
    """One plugin's observing hooks, as plain functions; None for one that it has not."""

    name: str
    event: Callable[[Recorded], None] | None
    finished: Callable[[Mapping[str, Any]], None] | None


def _observer(name: str, event: Any, finished: Any) -> Observer:
    def on_event(recorded: Recorded) -> None:
        event(recorded=recorded)

    def on_finished(result: Mapping[str, Any]) -> None:
        finished(result=result)

    on_event.__qualname__ = f"plugin {name}"  # by which the journal names one that fails
    has_event, has_finished = bool(event.get_hookimpls()), bool(finished.get_hookimpls())
    return Observer(name, on_event if has_event else None, on_finished if has_finished else None)


class Registry:
    """What can be chosen, by kind and name. `project_plugins` is a project's folder of one-file plugins."""

    def __init__(self, candidates: Iterable[Candidate] | None = None, project_plugins: Path | None = None) -> None:
        found = list(discovery.installed() if candidates is None else candidates)
        if project_plugins is not None:
            found += discovery.in_project(project_plugins)
        self.candidates: tuple[Candidate, ...] = (*found, *discovery.nemeses(found))
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._modules: dict[str, ModuleType] = {}
        self._classes: dict[tuple[Kind, str], type[Plugin[Any]]] = {}

    def names(self, kind: Kind) -> list[str]:
        """Names of this kind that can be chosen, sorted, nothing imported."""
        return sorted({c.name for c in self.candidates if c.kind is kind} | {n for k, n in self._classes if k is kind})

    def broken(self) -> list[Candidate]:
        """Candidates that can be seen to be unusable without importing them."""
        return [candidate for candidate in self.candidates if candidate.problem]

    def get(self, kind: Kind, name: str) -> type[Any]:
        """The class of this name, importing its source when it is not yet.

        Raises UnknownPluginError (with the names that there are) or PluginLoadError."""
        if cls := self._classes.get((kind, name)):
            return cls
        matching = {c.source: c for c in self.candidates if c.kind is kind and c.name == name}
        if not matching:
            raise UnknownPluginError(self._unknown(kind, name))
        if len(matching) > 1:
            origins = " and by ".join(c.origin for c in matching.values())
            raise PluginLoadError(f'{kind} "{name}" is provided by {origins}; remove one of them')
        [candidate] = matching.values()
        if candidate.made_from is not None:
            return self._classes.setdefault((kind, name), self._make(candidate, *candidate.made_from))
        self._load(candidate)
        if (kind, name) not in self._classes:
            raise PluginLoadError(
                f'{kind} "{name}" ({candidate.origin}): {candidate.source} was imported, '
                f"but its {kind.hook}() returns no class with name = {name!r}"
            )
        return self._classes[kind, name]

    def observers(self) -> list[Observer]:
        """Every imported plugin that observes. See `load_observers`."""
        found = []
        for name, plugin in self._manager.list_name_plugin():
            others = [other for other in self._manager.get_plugins() if other is not plugin]
            event = self._manager.subset_hook_caller("harness_event", others)
            finished = self._manager.subset_hook_caller("harness_run_finished", others)
            if event.get_hookimpls() or finished.get_hookimpls():
                found.append(_observer(name, event, finished))
        return found

    def load_observers(self) -> list[str]:
        """Import every installed observer; returns one line for each that failed."""
        failed = []
        for candidate in self.candidates:
            if candidate.kind is Kind.OBSERVER and not candidate.problem:
                try:
                    self._load(candidate)
                except PluginLoadError as error:
                    failed.append(str(error))
        return failed

    def commands(self, name: str) -> list[Any]:
        """The click commands of the command plugin of this name."""
        return [
            command
            for candidate in self.candidates
            if candidate.kind is Kind.COMMAND and candidate.name == name
            for command in self._call(self._load(candidate), Kind.COMMAND)
        ]

    def _make(self, candidate: Candidate, family: Candidate, fault: Candidate) -> type[Plugin[Any]]:
        """The workload that a family of nemeses makes of a fault. Raises PluginLoadError."""
        faulty = self.get(Kind.FAULT, fault.name)
        for one in self._call(self._load(family), Kind.NEMESIS):
            if isinstance(one, NemesisFamily) and one.name == family.name:
                try:
                    cls = one.make(faulty)
                except Exception as error:  # third-party code may raise anything
                    raise PluginLoadError(
                        f"{candidate.name} cannot be made of the fault {fault.name} ({fault.origin}): {error}"
                    ) from error
                _check_class(family, Workload, cls)
                return cls
        raise PluginLoadError(f"{family.source} has no family of nemeses named {family.name!r}")

    def _unknown(self, kind: Kind, name: str) -> str:
        there = self.names(kind)
        near = difflib.get_close_matches(name, there, n=1)
        meant = f'; did you mean "{near[0]}"?' if near else ""
        broken = [c for c in self.broken() if name in (c.name, f"{c.kind}.{c.name}")]
        why = f" ({broken[0].origin}: {broken[0].problem})" if broken else ""
        return f'no {kind} is named "{name}"{why}{meant} (installed: {", ".join(there) or "none"})'

    def _load(self, candidate: Candidate) -> ModuleType:
        if module := self._modules.get(candidate.source):
            return module
        try:
            module = _import(candidate)
            self._manager.register(module, candidate.source)
        except Exception as error:  # third-party code may raise anything while it is imported
            raise PluginLoadError(
                f"plugin {candidate.source} ({candidate.origin}) cannot be loaded: {type(error).__name__}: {error}"
            ) from error
        self._modules[candidate.source] = module
        for kind, contract in CONTRACTS.items():
            for cls in self._call(module, kind):
                _check_class(candidate, contract, cls)
                self._classes[kind, cls.name] = cls
        return module

    def _call(self, module: ModuleType, kind: Kind) -> Sequence[Any]:
        """What this one module's hook returns."""
        others = [plugin for plugin in self._manager.get_plugins() if plugin is not module]
        results = self._manager.subset_hook_caller(kind.hook, others)()
        return [item for result in results for item in result]


def _import(candidate: Candidate) -> ModuleType:
    if candidate.entry_point is not None:
        return importlib.import_module(candidate.entry_point.module)
    assert candidate.file is not None
    name = f"harness_project_{candidate.file.stem}"
    spec = importlib.util.spec_from_file_location(name, candidate.file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pydantic look their module up while it is executed
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _check_class(candidate: Candidate, contract: type[Plugin[Any]], cls: object) -> None:
    """Tell the plugin's author what to write, quoting the signature that is missing."""
    who = f"plugin {candidate.source} ({candidate.origin})"
    if not (inspect.isclass(cls) and issubclass(cls, contract)):
        raise PluginLoadError(f"{who}: {cls!r} is not a subclass of harness.api.{contract.__name__}")
    if not isinstance(getattr(cls, "name", None), str):
        raise PluginLoadError(f'{who}: {cls.__name__} has no name; write: name = "..."')
    if not (inspect.isclass(cls.Config) and issubclass(cls.Config, BaseModel)):
        raise PluginLoadError(f"{who}: {cls.__name__}.Config is not a subclass of harness.api.Config")
    if issubclass(cls, Task) and (taken := TaskModel.model_fields.keys() & cls.Config.model_fields.keys()):
        keys = ", ".join(sorted(taken))
        raise PluginLoadError(f"{who}: {cls.__name__}.Config has {keys}, which stands beside every task already")
    if inspect.isabstract(cls):
        missing = ", ".join(
            f"{name}{inspect.signature(getattr(contract, name)) if callable(getattr(contract, name)) else ''}"
            for name in sorted(getattr(cls, "__abstractmethods__", ()))
        )
        raise PluginLoadError(f"{who}: {cls.__name__} lacks {missing}")
