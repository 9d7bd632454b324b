"""harness: stands up a distributed network, loads it, disturbs it and judges it."""

__version__ = "0.1.0"
