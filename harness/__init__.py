"""harness: stands up a distributed network, loads it, disturbs it and judges it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.engine.deploying import deployer
    from harness.engine.scenario import Scenario

__version__ = "0.1.0"
__all__ = ["Scenario", "__version__", "deployer"]


def __getattr__(name: str) -> Any:
    """The Python API, imported at first use: the command line starts without it."""
    if name == "Scenario":
        from harness.engine.scenario import Scenario

        return Scenario
    if name == "deployer":
        from harness.engine.deploying import deployer

        return deployer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
