"""The hooks. They are synchronous and only register, or observe; behaviour lives on the registered classes.

A plugin is a module that has some of these, marked with `hookimpl`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import click

    from harness.plugin.contract.chain import Chain
    from harness.plugin.contract.deployer import Deployer
    from harness.plugin.contract.expectation import Expectation
    from harness.plugin.contract.fault import Fault
    from harness.plugin.contract.inventory_source import InventorySource
    from harness.plugin.contract.nemesis import NemesisFamily
    from harness.plugin.contract.screen_command import ScreenCommand
    from harness.plugin.contract.task import Task
    from harness.plugin.contract.workload import Workload
    from harness.record.events import Recorded

PROJECT = "harness"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def harness_deployers() -> Sequence[type[Deployer[Any]]]:  # type: ignore[empty-body]
    """Register deployers: return their classes."""


@hookspec
def harness_chains() -> Sequence[type[Chain[Any]]]:  # type: ignore[empty-body]
    """Register chains: return their classes."""


@hookspec
def harness_workloads() -> Sequence[type[Workload[Any]]]:  # type: ignore[empty-body]
    """Register workloads: return their classes."""


@hookspec
def harness_expectations() -> Sequence[type[Expectation[Any]]]:  # type: ignore[empty-body]
    """Register expectations: return their classes."""


@hookspec
def harness_faults() -> Sequence[type[Fault[Any]]]:  # type: ignore[empty-body]
    """Register faults: return their classes."""


@hookspec
def harness_nemeses() -> Sequence[NemesisFamily]:  # type: ignore[empty-body]
    """Register families of nemeses: each makes a workload "FAMILY.FAULT" of every fault that there is."""


@hookspec
def harness_tasks() -> Sequence[type[Task[Any]]]:  # type: ignore[empty-body]
    """Register tasks: return their classes."""


@hookspec
def harness_inventory_sources() -> Sequence[type[InventorySource]]:  # type: ignore[empty-body]
    """Register inventory sources: return their classes."""


@hookspec
def harness_commands() -> Sequence[click.Command]:  # type: ignore[empty-body]
    """Register subcommands of `harness`: return click commands."""


@hookspec
def harness_screen_commands() -> Sequence[type[ScreenCommand]]:  # type: ignore[empty-body]
    """Register commands of the terminal's palette: return their classes."""


@hookspec
def harness_event(recorded: Recorded) -> None:
    """Observe an event of a run, after it was written to the journal. An exception is noted and ignored."""


@hookspec
def harness_run_finished(result: Mapping[str, Any]) -> None:
    """Observe a finished run: what `result.json` holds."""
