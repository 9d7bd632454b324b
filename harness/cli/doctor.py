"""`harness doctor`: what this machine has and lacks."""

from __future__ import annotations

import os
import platform
import shutil
import sys

import click

from harness.cli.options import here, open_project, open_registry
from harness.errors import ExitCode, PluginLoadError
from harness.plugin.discovery import Kind
from harness.record.text import block

Finding = tuple[str, bool, str]


@click.command()
def doctor() -> int:
    """Say what this machine has, what it lacks, and how to get it: for the core, every plugin and every chain.

    Exits with 0 when nothing is wrong with harness itself; what a single chain lacks is told, and is no error
    until a playbook needs it."""
    for what, there, text in [*_core(), *_plugins()]:
        click.echo(block(f"{'ok     ' if there else 'MISSING'}  {what:<28} {text}"))
    return ExitCode.PASS


def _core() -> list[Finding]:
    disk = shutil.disk_usage(here())
    return [
        ("python", sys.version_info >= (3, 11), f"{platform.python_version()} at {sys.executable}"),
        ("platform", True, f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} CPUs"),
        ("disk here", disk.free > 10**9, f"{disk.free / 10**9:.1f} GB free"),
    ]


def _plugins() -> list[Finding]:
    registry = open_registry(open_project())
    findings = [(f"plugin {c.name}", False, f"{c.problem} ({c.origin})") for c in registry.broken()]
    for kind in (Kind.DEPLOYER, Kind.CHAIN, Kind.WORKLOAD, Kind.EXPECTATION, Kind.FAULT, Kind.TASK):
        for name in registry.names(kind):
            try:
                cls = registry.get(kind, name)
            except PluginLoadError as error:
                findings.append((f"{kind} {name}", False, str(error)))
                continue
            if kind is Kind.CHAIN:
                findings += [(f"{name}: {what}", there, text) for what, there, text in cls.doctor()]
    return findings
