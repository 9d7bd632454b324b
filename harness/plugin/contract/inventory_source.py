"""Inventory sources: hosts that come from somewhere else than a file, such as a cloud."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from harness.plugin.contract.base import NoConfig, Plugin


class InventorySource(Plugin[NoConfig], ABC):
    """Lists hosts. A user asks for it with `-i NAME:ARGUMENT`."""

    @abstractmethod
    def listing(self, argument: str) -> Mapping[str, Any]:
        """What an executable inventory would print for Ansible's `--list`, `_meta` included:
        `{"web": {"hosts": […], "vars": {…}, "children": […]}, "_meta": {"hostvars": {"host": {…}}}}`.

        `argument` is what the user wrote behind the colon. Called before there is an event loop, so it may block.
        Raises UsageError for an argument that it cannot use, InfrastructureError when it cannot find out."""
