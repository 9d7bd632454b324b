"""Plugins made again in another process."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from typing import Any

from harness.plugin.contract.base import Plugin

_START = """
import importlib, json, sys
sys.path[:] = json.loads(sys.argv[1])
importlib.import_module(sys.argv[2]).main(*sys.argv[3:])
"""


def command(module: str, *arguments: str) -> list[str]:
    """Calls a module's `main` with this process's Python and `sys.path`."""
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
