"""Tasks of `[[prepare]]`: what is commonly needed to ready a machine for nodes."""

from __future__ import annotations

from typing import Any

from harness.api import Task, hookimpl
from harness_tasks.copy import Copy
from harness_tasks.package import Package
from harness_tasks.run import Run
from harness_tasks.service import Service
from harness_tasks.template import Template
from harness_tasks.wait_for import WaitFor


@hookimpl
def harness_tasks() -> list[type[Task[Any]]]:
    return [Run, Copy, Template, Service, Package, WaitFor]
