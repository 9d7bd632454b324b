"""Ansible's own word on inventories: reads `{"path": …, "patterns": […]}` a line, answers with a line of JSON.

A process of its own, so that no test imports Ansible; one for many inventories, since importing it takes long."""

from __future__ import annotations

import json
import sys
from typing import Any

from ansible import constants
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.vars.manager import VariableManager


def answer(path: str, patterns: list[str]) -> dict[str, Any]:
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=[path])
    variables = VariableManager(loader=loader, inventory=inventory)
    hostvars = {}
    for host in inventory.get_hosts("all"):
        found = variables.get_vars(host=host, include_hostvars=False, stage="all")
        hostvars[host.name] = {k: v for k, v in found.items() if k not in constants.INTERNAL_STATIC_VARS}
    return {
        "hostvars": hostvars,
        "groups": {name: [host.name for host in group.get_hosts()] for name, group in inventory.groups.items()},
        "children": {name: [child.name for child in group.child_groups] for name, group in inventory.groups.items()},
        "matches": {pattern: _matches(inventory, pattern) for pattern in patterns},
    }


def _matches(inventory: InventoryManager, pattern: str) -> list[str] | None:
    try:
        return [str(name) for name in inventory.list_hosts(pattern)]
    except AnsibleError:
        return None


def main() -> None:
    constants.HOST_PATTERN_MISMATCH = "error"
    constants.INVENTORY_ANY_UNPARSED_IS_FAILED = True
    init_plugin_loader([])
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            found = answer(asked["path"], asked["patterns"])
        except AnsibleError as error:
            found = {"error": str(error)}
        print(json.dumps(found, default=str), flush=True)


main()
