"""What can go wrong."""

from __future__ import annotations


class FleetError(Exception):
    """The fleet failed: it should have worked here."""


class FleetUnavailable(FleetError):
    """The fleet cannot be had on this machine. The text names what is missing."""
