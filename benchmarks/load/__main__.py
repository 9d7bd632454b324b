"""Load generators against the same nginx, one core each: who sends how much, and who sends when he is to?

    python benchmarks/load [--seconds 8] [--rounds 3] [--only NAME …] [--json FILE]
    python benchmarks/load --schedule [--rates 5000 20000] [--json FILE]

nginx, one process, has a core, the generator another one. Each posts the same 200 bytes on 50 connections that are
kept alive, as fast as it can. Rounds are interleaved, their order rotates, figures are medians. Requests are those that
the generator itself counts as answered; where nginx has counted others, the report says so. CPU seconds are the
kernel's, less those of a round of one second: what a generator takes to start is not in them. Where the server is busy
all the time, a faster generator would not be seen to be faster; where neither is, others use the machine as well, and
CPU seconds tell more than requests per second.

`--schedule` asks for given rates, evenly spaced, and tells how late requests were sent, as the kernel saw it
(lateness.py), and what the generator itself says of it. As root.

Missing tools are installed where that is allowed, and kept for the next time; the rest goes on without those that
cannot be had."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import tables
from endpoint import BODY, Endpoint, endpoint
from figures import Figures, Load, NotHereError, Trial
from generators import AIOHTTP, FOOTNOTES, GENERATORS, HTTPX, K6, LOCUST_FAST, VEGETA, WRK, Send
from install import CLIENTS, GO, LOCUST, Tools, default_folder, version
from schedule import SCHEDULED, Timed, timed

CONNECTIONS = 50
CORES = (0, 1)
SHORT = 1.0
"""Seconds of the round that tells what it takes to start."""
T = TypeVar("T")


def trial(send: Send, server: Endpoint, seconds: float, short: Figures | None = None) -> Trial:
    with tempfile.TemporaryDirectory(prefix="load-") as scratch:
        served, busy = server.served(), server.cpu()
        figures = send(Load(server.url, BODY, CONNECTIONS, seconds, CORES[1], Path(scratch)))
        busy = server.cpu() - busy
        steady = figures.beyond(short) if short else figures
        return Trial(figures, steady, server.served() - served - 1, busy / figures.seconds)


def had(tools: Tools, wanted: Mapping[str, Callable[[Tools], T]]) -> tuple[dict[str, T], dict[str, str]]:
    """Those that are here, or can be brought here; and why others cannot."""
    here, not_here = {}, {}
    for name, bring in wanted.items():
        say(f"{name}: looked for")
        try:
            here[name] = bring(tools)
        except NotHereError as error:
            not_here[name] = str(error)
    return here, not_here


def compare(
    tools: Tools, server: Endpoint, only: Sequence[str], seconds: float, rounds: int
) -> dict[str, list[Trial] | str]:
    senders, not_here = had(tools, {name: GENERATORS[name] for name in only})
    found: dict[str, list[Trial]] = {name: [] for name in senders}
    short: dict[str, Figures] = {}
    names = list(senders)
    for number in range(-1, rounds):  # a short one first, which warms up, too
        turn = max(0, number) % max(1, len(names))
        for name in names[turn:] + names[:turn]:
            if name in not_here or (name in FOOTNOTES and found[name]):
                continue
            try:
                if number < 0:
                    short[name] = trial(senders[name], server, SHORT).figures
                    continue
                found[name].append(trial(senders[name], server, seconds, short[name]))
                say(f"round {number + 1} {name}: {found[name][-1]}")
            except (NotHereError, RuntimeError) as error:
                not_here[name] = str(error)
    return {name: not_here.get(name) or found[name] for name in only}


def keep_time(
    tools: Tools, server: Endpoint, only: Sequence[str], seconds: float, rates: Sequence[float]
) -> dict[str, list[Timed] | str]:
    senders, not_here = had(tools, {name: SCHEDULED[name] for name in only})
    tcpdump = tools.debian("tcpdump")
    found: dict[str, list[Timed]] = {name: [] for name in senders}
    for rate in rates:
        for name in senders:
            if name in not_here:
                continue
            try:
                found[name].append(timed(senders[name], server, tcpdump, BODY, rate, seconds, CORES))
                say(f"{name}: {found[name][-1]}")
            except (NotHereError, RuntimeError) as error:
                not_here[name] = str(error)
    return {name: not_here.get(name) or found[name] for name in only}


def versions(tools: Tools, ran: Container[str]) -> list[str]:
    """Of the server and of these generators."""
    said = [version(tools.nginx(), "-v")]
    if WRK in ran:
        said.append(version(tools.debian("wrk"), "-v").split(" Copyright")[0])
    said += [GO[name] for name in (VEGETA, K6) if name in ran]
    said += LOCUST if LOCUST_FAST in ran else ()
    return [*said, *(CLIENTS if AIOHTTP in ran or HTTPX in ran else ())]


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schedule", action="store_true", help="keep a schedule instead of sending as fast as can be")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each round")
    parser.add_argument("--rounds", type=int, default=3, help="of the comparison")
    parser.add_argument("--rates", type=float, nargs="+", default=[5_000.0, 20_000.0], help="per second")
    parser.add_argument("--only", nargs="+", choices=GENERATORS, metavar="NAME", help=f"of: {', '.join(GENERATORS)}")
    parser.add_argument("--tools", type=Path, default=default_folder(), help="where the other tools are kept")
    parser.add_argument("--json", type=Path, help="write every round's figures to this file, too")
    arguments = parser.parse_args()
    cores = os.sched_getaffinity(0)
    if not cores.issuperset(CORES):
        parser.error(f"cores {CORES} are wanted, {sorted(cores)} may be used")
    tools = Tools(arguments.tools)
    tools.folder.mkdir(parents=True, exist_ok=True)
    wanted = [
        name for name in (SCHEDULED if arguments.schedule else GENERATORS) if name in (arguments.only or GENERATORS)
    ]
    found: Mapping[str, Sequence[Trial] | Sequence[Timed] | str]
    try:
        with endpoint(tools.nginx(), CORES[0]) as server:
            if arguments.schedule:
                found = times = keep_time(tools, server, wanted, arguments.seconds, arguments.rates)
                print(tables.schedule(times))
            else:
                found = trials = compare(tools, server, wanted, arguments.seconds, arguments.rounds)
                print(tables.throughput(trials))
    except NotHereError as error:
        sys.exit(str(error))
    said = versions(tools, {name for name, what in found.items() if not isinstance(what, str)})
    print(f"\n{'; '.join(said)}; load average {os.getloadavg()[0]:.1f}")
    if arguments.json:
        asked = {name: str(value) for name, value in vars(arguments).items()}
        value = {"versions": said, "arguments": asked, "generators": tables.encoded(found)}
        arguments.json.write_text(json.dumps(value, indent=2))


if __name__ == "__main__":
    main()
