"""The load generators that are compared: each is first had, outside the measured time, then sends as fast as it can."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ours
from figures import Figures, Load, percentile
from install import CLIENTS, LOCUST, Tools
from process import Done, run

Send = Callable[[Load], Figures]
Generator = Callable[[Tools], Send]
"""Brings the tool where it is not here yet. Raises NotHereError where it cannot be had."""

_CLIENTS = Path(__file__).parent / "clients"
_SAYS = "figures "
ONE_THREAD = {"GOMAXPROCS": "1"}


def environment(load: Load) -> dict[str, str]:
    """What clients of ours are told."""
    told = {"URL": load.url, "BODY": load.body.decode(), "CONNECTIONS": load.connections, "SECONDS": load.seconds}
    return {name: str(value) for name, value in told.items()}


def told_by(done: Done) -> dict[str, Any]:
    """What a script of ours said of its work."""
    lines = [line for line in done.stdout.splitlines() if line.startswith(_SAYS)]
    if not lines:
        raise RuntimeError(f"it told no figures: {done.stdout[-4000:]}")
    figures: dict[str, Any] = json.loads(lines[-1].removeprefix(_SAYS))
    return figures


def _figures(told: Mapping[str, Any], cpu: float) -> Figures:
    return Figures(told["requests"], told["errors"], told["seconds"], cpu, told["p50"], told["p99"])


def wrk(tools: Tools) -> Send:
    program = tools.debian("wrk")

    def send(load: Load) -> Figures:
        # It has whole seconds only.
        argv: list[str | Path] = [
            program,
            "-t1",
            f"-c{load.connections}",
            f"-d{round(load.seconds)}s",
            "-s",
            _CLIENTS / "post.lua",
            load.url,
        ]
        done = run(load.core, argv, seconds=load.seconds, env=environment(load))
        return _figures(told_by(done), done.cpu)

    return send


def vegeta_attack(tools: Tools) -> Callable[[Load, float], tuple[dict[str, Any], float]]:
    """Attacks at this rate, or, where it is 0, as fast as it can; what `vegeta report` says then, and CPU seconds."""
    program = tools.go("vegeta")

    def attack(load: Load, rate: float) -> tuple[dict[str, Any], float]:
        body, results = load.scratch / "body", load.scratch / "results"
        body.write_bytes(load.body)
        argv: list[str | Path] = [program, "attack", f"-rate={rate:g}/1s", f"-duration={load.seconds:g}s"]
        argv += ["-body", body, "-header", "Content-Type: application/json", "-output", results]
        argv += ["-http2=false", "-max-body=0"]
        argv += [f"-{most}={load.connections}" for most in ("workers", "max-workers", "connections", "max-connections")]
        done = run(load.core, argv, seconds=load.seconds, env=ONE_THREAD, input=f"POST {load.url}\n")
        report = run(load.core, [program, "report", "-type=json", results], seconds=load.seconds)
        told: dict[str, Any] = json.loads(report.stdout)
        return told, done.cpu

    return attack


def vegeta(tools: Tools) -> Send:
    attack = vegeta_attack(tools)

    def send(load: Load) -> Figures:
        told, cpu = attack(load, 0)
        right, latencies = told["status_codes"].get("200", 0), told["latencies"]
        seconds = (told["duration"] + told["wait"]) / 1e9
        p50, p99 = latencies["50th"] / 1e9, latencies["99th"] / 1e9
        return Figures(right, told["requests"] - right, seconds, cpu, p50, p99)

    return send


def k6_run(tools: Tools) -> Callable[[Load, float], tuple[dict[str, Any], float]]:
    """Runs the script, at this rate or, where it is 0, as fast as it can; what it told then, and CPU seconds."""
    program = tools.go("k6")

    def script(load: Load, rate: float) -> tuple[dict[str, Any], float]:
        argv: list[str | Path] = [
            program,
            "run",
            "--quiet",
            "--no-usage-report",
            "--address",
            "",
            "--include-system-env-vars",
        ]
        more = {"RATE": f"{rate:g}"} if rate else {}
        done = run(
            load.core,
            [*argv, _CLIENTS / "post.js"],
            seconds=load.seconds,
            env={**environment(load), **more, **ONE_THREAD},
        )
        return told_by(done), done.cpu

    return script


def k6(tools: Tools) -> Send:
    script = k6_run(tools)
    return lambda load: _figures(*script(load, 0))


def locust(tools: Tools) -> Send:
    python = tools.python(LOCUST)

    def send(load: Load) -> Figures:
        url = urlsplit(load.url)
        argv: list[str | Path] = [python, "-m", "locust", "-f", _CLIENTS / "locustfile.py", "--headless", "--json"]
        argv += ["--host", f"{url.scheme}://{url.netloc}", "--only-summary", "--reset-stats", "--loglevel", "ERROR"]
        # So many at once: it paces what it starts otherwise.
        argv += ["-u", str(load.connections), "-r", str(load.connections), "-t", f"{round(load.seconds)}s"]
        done = run(load.core, argv, seconds=load.seconds, env=environment(load))
        (told,) = json.loads(done.stdout)
        times = sorted((float(time), amount) for time, amount in told["response_times"].items())
        latencies = [time / 1000 for time, amount in times for _ in range(amount)]
        requests, errors = told["num_requests"], told["num_failures"]
        seconds = told["last_request_timestamp"] - told["start_time"]
        p50, p99 = (percentile(latencies, percent) if latencies else None for percent in (50, 99))
        return Figures(requests - errors, errors, seconds, done.cpu, p50, p99)

    return send


def _client(python: Path | str, script: str) -> Send:
    def send(load: Load) -> Figures:
        done = run(load.core, [python, _CLIENTS / script], seconds=load.seconds, env=environment(load))
        return _figures(told_by(done), done.cpu)

    return send


OURS, BARE, WRK, VEGETA, K6 = "ours", "bare protocol", "wrk", "vegeta", "k6"
AIOHTTP, LOCUST_FAST, HTTPX = "aiohttp loop", "Locust FastHttpUser", "httpx"
GENERATORS: Mapping[str, Generator] = {
    OURS: lambda tools: lambda load: ours.ours(load.url, load.body, load.connections, load.seconds, load.core),
    BARE: lambda tools: _client(sys.executable, "bare_protocol.py"),
    WRK: wrk,
    VEGETA: vegeta,
    K6: k6,
    AIOHTTP: lambda tools: _client(tools.python(CLIENTS), "aiohttp_loop.py"),
    LOCUST_FAST: locust,
    HTTPX: lambda tools: _client(tools.python(CLIENTS), "httpx_loop.py"),
}
FOOTNOTES = frozenset({HTTPX})
"""Sent with once only."""
