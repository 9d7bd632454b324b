"""Links between nodes that the kernel delays and slows down: queueing disciplines of machines that hold one node each.

`commands` says what tc is told, `survey` what a machine can and where its peers are, `shaper` has it done."""

from __future__ import annotations

from harness_agent.tc.shaper import QUEUES, Shared, TcShaper
from harness_agent.tc.survey import Survey, survey

__all__ = ["QUEUES", "Shared", "Survey", "TcShaper", "survey"]
