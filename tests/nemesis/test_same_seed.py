"""The same seed gives the same schedule in every process, whatever order its sets come in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from harness.engine.plan import resolve_file
from harness.engine.seed import derive
from harness.plugin.registry import Registry
from harness.spec.node_patterns import select_nodes
from harness.spec.playbook import PlaybookFile
from harness.spec.toml_document import TomlDocument
from harness.spec.topology import NodeSpec
from harness_nemesis.ending import EndingConfig, Kill
from harness_nemesis.partition import Partition, PartitionConfig
from harness_nemesis.pause import Pause
from harness_nemesis.schedule import Choice, Pace, schedule

PLAYBOOK = """
chain = "devnet"
duration = "300s"
[topology]
layout = "random"
degree = 2
validators = 5
executors = 3
late = "executor-2"
[[workloads]]
use = "chaos.mix"
targets = "validator,executor:!validator-0"
duration = "4s"
faults = [
  { use = "kill", weight = 2 },
  { use = "partition", shape = "majority-minority" },
  { use = "partition", grudge = { "validator-[01]" = ["executor", "validator-4"], "executor" = ["validator"] } },
  { use = "block_peer" },
  { use = "churn" },
]
[[workloads]]
use = "chaos.latency"
delay = "20ms"
targets = "validator"
[[expectations]]
use = "no-forks"
"""

PRINT = """
import json, random, sys
from test_same_seed import told
print(json.dumps(told(int(sys.argv[1]))))
"""


def told(seed: int) -> object:
    """All that a run of this seed is to do to nodes and links."""
    [plan] = resolve_file(PlaybookFile(TomlDocument.parse(PLAYBOOK, "p.toml")), Registry(), seed=seed)
    powers = {node.name: int(node.role == "validator") for node in plan.topology.nodes}
    late = [node.name for node in plan.topology.nodes if node.late]
    found: list[object] = [[link.src, link.dst] for link in plan.topology.links]
    for component in plan.workloads:
        nemesis = component.make()
        names = [node.name for node in select_nodes(component.config.targets, plan.topology.nodes)]  # type: ignore[attr-defined]
        rng = derive(seed, component.id, "")
        for turn in schedule(rng, names, nemesis.choices(), nemesis.config.pace, plan.duration, late):  # type: ignore[attr-defined]
            options = turn.config.model_dump(mode="json", exclude_defaults=True)
            cuts = [[flow.src, flow.dst] for flow in turn.make().cuts(turn.targets, powers)] if turn.targets else []
            found.append([turn.at, turn.fault.name, turn.targets, options, turn.duration, cuts])
    return found


def in_a_process(seed: int, hash_seed: str) -> object:
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), str(root / "plugins"), str(Path(__file__).parent)])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", PRINT, str(seed)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_processes_with_other_hashes_draw_the_same() -> None:
    first, other = in_a_process(7, "1"), in_a_process(7, "2")
    assert first == other == json.loads(json.dumps(told(7)))
    assert first != json.loads(json.dumps(told(8)))
    drawn = {str(one[1]) for one in first if len(one) > 2}  # type: ignore[attr-defined]
    assert drawn == {"kill", "partition", "block_peer", "churn", "latency"}


NODES = [NodeSpec(f"{role}-{n}", role, n, n) for role in ("validator", "executor") for n in range(4)]


@given(
    st.integers(),
    st.sampled_from(["validator", "executors", "all:!validator-0", "validator-[12],executor-3", "validator:&*-2"]),
    st.lists(st.floats(0.1, 10), min_size=3, max_size=3),
    st.lists(st.floats(0, 20), min_size=3, max_size=3),
    st.floats(0, 10),
    st.floats(0.5, 5),
)
def test_a_mix_keeps_to_its_roles_delays_and_cooldowns(
    seed: int, pattern: str, weights: list[float], durations: list[float], cooldown: float, delay: float
) -> None:
    """Also with faults that take all who are free."""
    names = [node.name for node in select_nodes(pattern, NODES)]
    kinds = [(Kill, EndingConfig()), (Pause, Pause.Config()), (Partition, PartitionConfig(shape="halves"))]
    choices = [
        Choice(*kind, duration, weight) for kind, duration, weight in zip(kinds, durations, weights, strict=True)
    ]
    turns = schedule(derive(seed, "x"), names, choices, Pace(delay, 2 * delay, cooldown), 90.0)
    assert turns == schedule(derive(seed, "x"), names, choices, Pace(delay, 2 * delay, cooldown), 90.0)
    assert all(delay - 1e-9 <= b - a <= 2 * delay + 1e-9 for a, b in pairwise([0.0, *(turn.at for turn in turns)]))
    lasting = {kind: duration for (kind, _), duration in zip(kinds, durations, strict=True)}
    for turn in turns:
        assert set(turn.targets) <= set(names) and len(set(turn.targets)) == len(turn.targets)
        assert turn.duration == lasting[turn.fault]  # type: ignore[index]
        assert len(turn.targets) <= 1 or turn.fault is Partition
    for name in names:
        hits = [turn for turn in turns if name in turn.targets]
        assert all(b.at >= a.at + a.duration + cooldown - 1e-9 for a, b in pairwise(hits))
