"""The run that is killed, and twenty moments of its life by its journal: (kind, word in it, how many before it)."""

from __future__ import annotations

from typing import Any

PLAYBOOK = """
name = "doomed"
chain = { use = "devnet", slot_duration = "100ms", security_param = 3 }
duration = "2s"
[topology]
layout = "star"
validators = 3
executors = 2
[wallets]
count = 4
[[workloads]]
use = "transactions"
rate = "20/s"
users = 4
[[workloads]]
use = "chaos.restart"
min_delay = "300ms"
max_delay = "500ms"
target_cooldown = "0s"
[[expectations]]
use = "consensus-liveness"
"""

MOMENTS = [
    *[("run-started", "", 0), ("phase-started", "deploy", 0), ("node-changed", "starting", 0)],
    *[("node-changed", "starting", 3), ("phase-ended", "deploy", 0), ("phase-started", "ready", 0)],
    *[("feed-changed", "", 0), ("block-observed", "", 0), ("phase-started", "capture", 0)],
    *[("phase-started", "drive", 0), ("fault-staged", "intended", 0), ("fault-staged", "injected", 0)],
    *[("fault-staged", "healing", 0), ("workload-progress", "", 2), ("fault-staged", "healed", 0)],
    *[("phase-started", "settle", 0), ("phase-started", "evaluate", 0), ("expectation-judged", "", 0)],
    *[("phase-started", "teardown", 0), ("node-changed", "stopped", 4)],
]


def matches(event: dict[str, Any], kind: str, word: str) -> bool:
    return event["kind"] == kind and (not word or word in (event.get("phase"), event.get("state"), event.get("stage")))
