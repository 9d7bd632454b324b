"""Submissions from intended send time to inclusion."""

from __future__ import annotations

import enum


class Outcome(enum.StrEnum):
    ACCEPTED = "accepted"


class Tracker:
    """One named record of submissions."""
