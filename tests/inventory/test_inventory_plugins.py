"""Inventories of plugins: `-i NAME:ARGUMENT`."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import SpecError
from harness.plugin.inventories import open_inventory
from harness.plugin.registry import Registry

CLOUD = '''
from harness.api import InventorySource, UsageError, hookimpl


class Cloud(InventorySource):
    """Machines of a region."""

    name = "cloud"

    def listing(self, argument):
        if argument == "mars":
            raise UsageError("cloud: there is no region mars")
        hosts = "none" if argument == "broken" else [f"{argument}-1", f"{argument}-2"]
        return {"validators": {"hosts": hosts, "vars": {"ansible_password": "cloud-canary"}}}


@hookimpl
def harness_inventory_sources():
    return [Cloud]
'''


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    (tmp_path / "cloud.py").write_text(CLOUD)
    return Registry([], project_plugins=tmp_path)


def test_a_plugin_lists_hosts(registry: Registry) -> None:
    inventory = open_inventory("cloud:eu", lambda: registry)
    assert inventory.hosts == inventory.hosts_of("validators") == ("eu-1", "eu-2")
    assert str(inventory.variables("eu-1")["ansible_password"].value) == "••••••"
    assert inventory.variables("eu-1")["ansible_password"].source == "cloud:eu [group validators]"


def test_a_wrong_listing_is_a_problem_of_the_source(registry: Registry) -> None:
    with pytest.raises(SpecError) as error:
        open_inventory("cloud:broken", lambda: registry)
    assert str(error.value) == 'cloud:broken: validators.hosts: must be a list of names, not "none"'


def test_a_file_of_such_a_name_is_a_file(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cloud:eu.toml").write_text("[all.hosts]\nh = {}\n")
    assert open_inventory("cloud:eu.toml", lambda: registry).hosts == ("h",)


def test_without_such_a_plugin_it_is_a_file_that_is_not_there(registry: Registry) -> None:
    with pytest.raises(SpecError, match="cluod:eu: there is no such file"):
        open_inventory("cluod:eu", lambda: registry)
