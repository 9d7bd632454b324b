"""What the senders of one record say of themselves: when they fired, what came back, what it cost them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.load.tally import Tally, Told
from harness.observe.latency import Latencies


@dataclass(frozen=True, slots=True)
class LoadSample:
    """One sender's second (`until` is monotonic seconds), for the record. Percentiles are of that second alone, in
    seconds, 0 where there was none."""

    tracker: str
    sender: int
    until: float
    seconds: float
    tally: Tally
    in_flight: int
    cpu: float
    lateness_p99: float
    response_p50: float
    response_p99: float
    response_max: float


class SenderAccount:
    """All senders of one record, together.

    `total`: their counts. `cpu`: CPU seconds of all; `busiest`: the largest share of a core that one of them took, over
    its whole time. `memory`: the most bytes that one of them had. `machines`: where they are, each once, but this
    one."""

    def __init__(self, name: str, machines: Sequence[str], record: Callable[[LoadSample], None] | None = None) -> None:
        self.processes = processes = len(machines)
        self.machines = tuple(dict.fromkeys(machine for machine in machines if machine))
        self.total = Tally()
        self._where = tuple(machines)
        self._of_machine = {machine: Tally() for machine in self.machines}
        self.memory = 0
        self._name = name
        self._record = record
        self._in_flight = [0] * processes
        self._cpu = [0.0] * processes
        self._seconds = [0.0] * processes

    def told(self, sender: int, told: Told) -> None:
        """One of them tells what it counted since it told last."""
        self.total.add(told.tally)
        if (machine := self._where[sender]) in self._of_machine:
            self._of_machine[machine].add(told.tally)
        self.memory = max(self.memory, told.memory)
        self._in_flight[sender] = told.in_flight
        self._cpu[sender] += told.cpu
        self._seconds[sender] += told.until - told.since
        if self._record is not None:
            lateness, response = Latencies.of(told.tally.lateness), Latencies.of(told.tally.response)
            self._record(
                LoadSample(
                    self._name,
                    sender,
                    told.until,
                    told.until - told.since,
                    told.tally,
                    told.in_flight,
                    told.cpu,
                    lateness.percentile(99),
                    response.percentile(50),
                    response.percentile(99),
                    response.max,
                )
            )

    def by_machine(self) -> Mapping[str, Mapping[str, Any]]:
        """What each machine did of it: how many it was to send, sent, and sent on time, and how late (seconds, as
        Latencies.summary has them)."""
        return {
            machine: {
                "offered": tally.offered,
                "started": tally.started,
                "on_time": tally.on_time,
                "lateness": dict(Latencies.of(tally.lateness).summary()),
            }
            for machine, tally in self._of_machine.items()
        }

    @property
    def in_flight(self) -> int:
        return sum(self._in_flight)

    @property
    def cpu(self) -> float:
        return sum(self._cpu)

    @property
    def busiest(self) -> float:
        return max((cpu / s for cpu, s in zip(self._cpu, self._seconds, strict=True) if s), default=0.0)

    @property
    def unsent(self) -> int:
        """Offered, and never fired."""
        return self.total.dropped + self.total.unready + self.total.behind

    def unsent_reasons(self) -> dict[str, int]:
        """Why these were not."""
        total = self.total
        found = {
            "too many were in flight": total.dropped,
            "none was ready to be sent": total.unready,
            "the generator was behind at the deadline": total.behind,
        }
        return {reason: count for reason, count in found.items() if count}

    def figures(self) -> dict[str, int]:
        """Counts so far, in the words of a tracker's; `untold` only where a sender was lost."""
        total = self.total
        return {
            "offered": total.offered,
            "accepted": total.taken,
            "rejected": total.read,
            "dropped": self.unsent,
            "failed": total.failed,
            "timed_out": total.timed_out + total.lost,
            "in_flight": self.in_flight + total.cut_off,
            **({"untold": total.untold} if total.untold else {}),
        }
