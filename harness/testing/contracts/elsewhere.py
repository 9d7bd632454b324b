"""Plugins made again in another process."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from typing import Any

from harness.plugin.contract.base import Plugin

_START = """
import json, runpy, sys
sys.path[:] = json.loads(sys.argv.pop(1))
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


def command(module: str, *arguments: str) -> list[str]:
    """Runs a module with this process's Python and `sys.path`."""
    return [sys.executable, "-c", _START, json.dumps(sys.path), module, *arguments]


def described(plugin: Plugin[Any]) -> dict[str, Any]:
    """As JSON, for `remade`."""
    cls = type(plugin)
    return {"module": cls.__module__, "class": cls.__qualname__, "config": plugin.config.model_dump(mode="json")}


def remade(plugin: Mapping[str, Any]) -> Any:
    """The plugin that was described."""
    cls: Any = importlib.import_module(plugin["module"])
    for name in plugin["class"].split("."):
        cls = getattr(cls, name)
    return cls(cls.Config.model_validate(plugin["config"]))
