"""Hypothesis without deadlines: how fast a shared machine is, is nothing that these tests are about."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")
