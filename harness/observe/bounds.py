"""What a generator of load may get wrong before its load says nothing about the network."""

from __future__ import annotations

DROPPED_ALLOWED = 0.05
"""Share of the intended load that it may drop."""
LATENESS_ALLOWED = 0.1
"""Seconds that the 99th percentile of its own lateness may reach …"""
FEWEST_LATE = 5
"""… and of how few late ones nothing follows: of twelve, one is the 99th percentile."""
