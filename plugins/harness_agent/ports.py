"""Ports of this very machine, for deployers that run nodes on it."""

from __future__ import annotations

from harness.api import DeployError
from harness_agent.remote import ports


class PortLeases(ports.PortLeases):
    """See harness_agent.remote.ports."""

    def __init__(self, count: int) -> None:
        """Raises DeployError when so many are not to be had."""
        try:
            super().__init__(count)
        except ports.NoPorts as error:
            raise DeployError(str(error)) from error
