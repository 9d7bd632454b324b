"""Opening an inventory, whatever it comes from: files, or plugins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.plugin.discovery import Kind
from harness.plugin.registry import Registry
from harness.spec.inventory import Inventory
from harness.spec.inventory_listing import read_listing
from harness.spec.model import SourceRef


def open_inventory(name: str, registry: Callable[[], Registry]) -> Inventory:
    """The inventory at a path; or of a plugin, for `NAME:ARGUMENT` with the name of an inventory source where there is
    no such file. Blocks. Raises SpecError, and PluginLoadError for a plugin that cannot be used."""
    source, colon, argument = name.partition(":")
    if not colon or Path(name).exists() or source not in (found := registry()).names(Kind.INVENTORY_SOURCE):
        return Inventory.read(Path(name))
    cls = found.get(Kind.INVENTORY_SOURCE, source)
    return Inventory.of(name, *read_listing(cls(cls.Config()).listing(argument), name, SourceRef(name)))
