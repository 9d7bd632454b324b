"""What a run has measured, by the names that criteria use. Pure.

    verdict                      the run's
    EXPECTATION.verdict          pass, unknown, fail
    EXPECTATION.FIGURE           any number of its evidence; with a dot for each level: nodes.validator-0.lag
    WORKLOAD.FIGURE              offered, accepted, achieved (per second of the drive; achieved: in a block by its end),
                                 sustained (achieved of offered), acceptance, inclusion (shares), p50, p99 (latency from
                                 the intended sending)
    FIGURE                       the same of every workload that has it

An expectation that judges submissions also has p50, p90, p99, max, acceptance and inclusion, and every number of the
account, without that account's name: transaction-inclusion.answer_seconds.p99."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.observe.bounds import DROPPED_ALLOWED, FEWEST_LATE, LATENESS_ALLOWED
from harness.report.matrix import Flow
from harness.search.criterion import Measure

FIGURES = ("offered", "accepted", "achieved", "sustained", "acceptance", "inclusion", "p50", "p99")
"""What there is of every workload that submits."""
_DROPPED = "dropped: "
_DEEPEST = 4
_MOST = 2_000


@dataclass(frozen=True, slots=True)
class Measured:
    """Of one run. `short` and `late`: why the load was not the one that was asked for, as the generator dropped some of
    it, or sent it late; "" where it did not. What is dropped is less load, not another one: a criterion that does not
    hold all the same would not have held with the rest. Lateness counts as latency, and says nothing."""

    measures: Mapping[str, Sequence[Measure | None]]
    short: str
    late: str
    block_interval: float

    def figure(self, name: str) -> float | None:
        """One number for charts and tables: of several workloads the sum of rates, and the worst of what is no rate."""
        values = [value for value in self.measures.get(name, ()) if isinstance(value, float)]
        if not values:
            return None
        if name in ("offered", "accepted", "achieved"):
            return sum(values)
        return min(values) if name in ("sustained", "acceptance", "inclusion") else max(values)


def measured(result: Mapping[str, Any], flows: Mapping[str, Flow]) -> Measured:
    """Of `result.json` and the loads of the drive, by workload."""
    found: dict[str, list[Measure | None]] = {"verdict": [result.get("verdict")]}
    short, late = "", ""
    for name, flow in flows.items():
        for figure, value in _of_flow(flow, result.get("workloads", {}).get(name, {})).items():
            for known_as in (figure, f"{name}.{figure}"):
                found.setdefault(known_as, []).append(value)
    for one in result.get("expectations", ()):
        id, evidence = one["id"], one.get("evidence") or {}
        found[f"{id}.verdict"] = [one.get("verdict")]
        for path, value in _numbers(evidence):
            found[f"{id}.{path}"] = [value]
        for account in _accounts(evidence):
            for figure, share in _of_account(account).items():
                found.setdefault(f"{id}.{figure}", []).append(share)
            short, late = short or _short(account), late or _late(account)
    run = result.get("run") or {}
    return Measured(found, short, late, float(run.get("block_interval") or 1.0))


def _of_flow(flow: Flow, counts: Mapping[str, Any]) -> dict[str, Measure | None]:
    offered, accepted, included = (counts.get(what) or 0 for what in ("offered", "accepted", "included"))
    sent = offered - (counts.get("dropped") or 0)  # what the generator dropped is no failure of the network's
    return {
        "offered": float(flow.offered),
        "accepted": float(flow.accepted),
        "achieved": float(flow.achieved),
        "sustained": _share(flow.achieved * offered, flow.offered * sent),
        "acceptance": _share(accepted, sent),
        **({"inclusion": _share(included, accepted)} if "included" in counts else {}),
        "p50": flow.p50,
        "p99": flow.p99,
    }


def _of_account(account: Mapping[str, Any]) -> dict[str, Measure | None]:
    latency = account.get("latency_seconds") or {}
    some = bool(latency.get("n"))  # the percentiles of nothing are no measurement
    return {
        **{name: float(latency[name]) if some else None for name in ("p50", "p90", "p99", "max")},
        "acceptance": _share(account["accepted"], account["offered"] - account.get("dropped", 0)),
        **({"inclusion": _share(account["included"], account["accepted"])} if "included" in account else {}),
        **dict(_numbers(account)),
    }


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _accounts(evidence: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Of submissions, by tracker."""
    for one in evidence.values():
        if isinstance(one, Mapping) and _is_number(one.get("offered")) and _is_number(one.get("accepted")):
            yield one


def _numbers(evidence: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, float]]:
    for key, value in list(evidence.items())[:_MOST]:
        if isinstance(value, Mapping) and len(path) < _DEEPEST:
            yield from _numbers(value, (*path, str(key)))
        elif _is_number(value):
            yield ".".join((*path, str(key))), float(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _short(account: Mapping[str, Any]) -> str:
    offered, dropped = account["offered"], account.get("dropped", 0)
    if not offered or dropped <= DROPPED_ALLOWED * offered:
        return ""
    answers = account.get("answer_seconds") or account.get("service_seconds") or {}
    took = f"; answers took {answers['p50']:.2g} s, median" if answers.get("n") else ""
    reasons = {reason: count for reason, count in (account.get("reasons") or {}).items() if reason.startswith(_DROPPED)}
    reason = max(reasons, key=lambda one: reasons[one]).removeprefix(_DROPPED) if reasons else "dropped"
    return f"the generator dropped {dropped / offered:.0%} of the load ({reason}{took})"


def _late(account: Mapping[str, Any]) -> str:
    lateness = account.get("generator_lateness_seconds") or {}
    late = lateness.get("p99") or 0.0
    if late <= LATENESS_ALLOWED or lateness.get("n", math.inf) < 100 * FEWEST_LATE:
        return ""  # of fewer, the 99th percentile is a handful
    return f"the generator sent {late:.3g} s late (99th percentile)"
