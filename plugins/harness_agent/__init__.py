"""The agent: one small program on each machine, and the controller's end of it.

A library for deployers; it registers nothing."""

from __future__ import annotations

from harness_agent.bundle import command_line
from harness_agent.client import AgentClient
from harness_agent.link import Refusal
from harness_agent.machine import AgentMachine
from harness_agent.service import AgentService
from harness_agent.sweeping import holder, sweep
from harness_agent.transport import SubprocessTransport, Transport
from harness_agent.values import (
    Become,
    Hello,
    KeeperGone,
    KeeperSpec,
    LedgerEntry,
    Limits,
    MachineLocked,
    SweepReport,
    Undo,
)

__all__ = [
    "AgentClient",
    "AgentMachine",
    "AgentService",
    "Become",
    "Hello",
    "KeeperGone",
    "KeeperSpec",
    "LedgerEntry",
    "Limits",
    "MachineLocked",
    "Refusal",
    "SubprocessTransport",
    "SweepReport",
    "Transport",
    "Undo",
    "command_line",
    "holder",
    "sweep",
]
