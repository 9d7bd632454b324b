"""The workload `http`, its options, and the verdicts of `http-load`, on real servers and a real (small) network."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, cast

import pytest
from pydantic import ValidationError

from harness.api import ExitCode, NodeSpec, PlanView, SenderAccount, Verdict
from harness.load.arrivals import of_points
from harness.load.senders import Senders
from harness.load.tally import Tally
from harness.load.wire import Shot
from harness.record.events import WorkloadProgress
from harness.record.journal import Recorded
from harness.report.reading import page_of, read_run
from harness.testing import Finished, run_playbook
from harness.testing.stalling import stalling_server
from harness_checks.http_load import HttpLoad
from harness_traffic.http import Http, _Feeder

pytestmark = pytest.mark.anyio

NETWORK = """
name = "http"
duration = "3s"
settle = "100ms"
chain = { use = "devnet", slot_duration = "200ms", active_slot_coeff = 0.9 }
[topology]
layout = "full"
validators = 1
"""


class Service:
    """Answers with the status that `answer(number, path, body)` says, and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bytes, str]] = []
        self.status = 200
        self.hold: Event | None = None
        lock = Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def answer(this) -> None:
                body = this.rfile.read(int(this.headers.get("Content-Length", "0")))
                with lock:
                    self.asked.append((this.command, this.path, body, this.headers.get("Authorization", "")))
                if self.hold is not None:
                    self.hold.wait(10)
                this.send_response(self.status)
                this.send_header("Content-Length", "2")
                this.end_headers()
                this.wfile.write(b"ok")

            do_GET = do_POST = do_PUT = answer

            def log_message(this, *args: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    thread = Thread(target=service.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield service
    if service.hold is not None:
        service.hold.set()
    service.server.shutdown()
    service.server.server_close()
    thread.join()


def plan(**changes: Any) -> PlanView:
    nodes = (NodeSpec("validator-0", "validator", 0, 0),)
    values = {"roles": {"validator": 1}, "nodes": nodes, "wallets": 0, "duration": 60.0, "block_interval": 2.0}
    return PlanView(**{**values, **changes})


def workload(**options: Any) -> Http:
    return Http(Http.Config(**{"url": "http://h/", "rate": "10/s", **options}))


def test_options_that_cannot_be_are_refused() -> None:
    for wrong, why in (
        ({"url": "ftp://x"}, "is no url"),
        ({"url": "http://{nowhere}/"}, "{nowhere} is no place"),
        ({"url": "http://me:secret@h/"}, "Authorization"),
        ({"url": "http://h/a b"}, "is no url"),
        ({"body": "${user}"}, "cannot be filled in"),
        ({"body": "5 $"}, "cannot be filled in"),
        ({"method": "HEAD"}, "method"),
        ({"status": [99]}, "status"),
        ({"headers": {"A": "b\r\nEvil: c"}}, "one line"),
        ({"headers": {"A: b": "c"}}, "no header's name"),
        ({"headers": {"A": "中"}}, "Latin-1"),
        ({"headers": {"content-length": "5"}}, "the sender's affair"),
        ({"url": "http://h:99999/"}, "no such host or port"),
        ({"url": "http://h:x/"}, "no such host or port"),
        ({"url": "http://h:0/"}, "no such host or port"),
        ({"url": "http://:80/"}, "no such host or port"),
        ({"url": "http://[::1/"}, "url"),
        ({"url": "http://h/ü"}, "%XX"),
        ({"url": "http://h:{port}x/"}, "no such host or port"),
    ):
        with pytest.raises(ValidationError, match=why.replace("{", r"\{").replace("}", r"\}")):
            workload(**wrong)
    assert "not in order" in workload(stages=[{"at": "5s", "rate": 1}, {"at": "2s", "rate": 1}]).check(plan())[0]
    assert "nothing would be measured" in workload(warm_up="60s").check(plan())[0]
    assert "nothing would be sent" in workload(rate="0/s").check(plan())[0]
    assert "can send more than 1,000,000" in workload(rate="1000000000/s").check(plan())[0]
    assert "no answer is waited for longer than 25s" in workload(submit_timeout="40s").check(plan())[0]
    assert workload(url="http://{endpoint}/", nodes="nobody").check(plan())
    assert workload(url="http://elsewhere/", nodes="nobody").check(plan()) == ()


def test_places_of_nodes_make_a_url() -> None:
    for url in ("http://{endpoint}/", "https://{host}:{port}/{node}", "http://{host}:80/", "http://{node}.example/"):
        assert workload(url=url).check(plan()) == ()


def test_a_schedule_is_told_in_plan() -> None:
    ramp = workload(rate="0/s", stages=[{"at": "30s", "rate": "100/s"}, {"at": "40s", "rate": "0/s", "jump": True}])
    assert ramp.describe(plan()) == "0/s, then up to 100/s in 2 stages to http://h/, 2500 requests in all"


async def run(rest: str, tmp_path: Path) -> Finished:
    return await run_playbook(NETWORK + rest, tmp_path / "runs")


def judged(finished: Finished) -> Any:
    (state,) = finished.state.expectations.values()
    return state


@pytest.mark.real
async def test_everything_is_sent_and_what_came_back_is_told(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "Bearer very-secret-token")
    finished = await run(
        f"""
        [[workloads]]
        use = "http"
        url = "{service.url}/pay?x=1"
        method = "POST"
        body = '{{"n": ${{number}}, "r": "${{random}}", "cost": "$$5"}}'
        rate = "40/s"
        arrivals = "poisson"
        headers = {{ Authorization = {{ env = "TOKEN" }} }}
        """,
        tmp_path,
    )
    state = judged(finished)
    assert state.verdict == Verdict.PASS, state
    evidence = state.evidence["http"]
    assert evidence["offered"] == evidence["accepted"] == len(service.asked) > 70
    assert {(method, path, who) for method, path, _, who in service.asked} == {
        ("POST", "/pay?x=1", "Bearer very-secret-token")
    }
    bodies = sorted(body for _, _, body, _ in service.asked)
    assert len(set(bodies)) == len(bodies)
    assert b'{"n": 0, "r": "' in bodies[0]
    assert bodies[0].endswith(b'"cost": "$5"}')
    assert evidence["sender"]["completed"] == evidence["accepted"]
    assert evidence["latency_seconds"]["n"] == evidence["accepted"]
    for file in finished.directory.path.rglob("*"):
        assert not file.is_file() or b"very-secret-token" not in file.read_bytes(), file
    with sqlite3.connect(finished.directory.samples) as samples:
        (offered, taken) = samples.execute("SELECT sum(offered), sum(taken) FROM load").fetchone()
    assert offered == taken == evidence["offered"]
    page = page_of(read_run(finished.directory))
    assert "http: accepted" in page and "http: included" not in page
    assert "Latency of http" in page
    row = next(line for line in page.splitlines() if "<td" in line and ">http<" in line)
    assert "–" not in row, "the latencies are those of the answers"


@pytest.mark.real
async def test_the_sum_is_exact_where_a_sender_was_killed(service: Service, tmp_path: Path) -> None:
    def kill(recorded: Recorded) -> None:
        if isinstance(recorded.event, WorkloadProgress) and recorded.event.figures.get("offered", 0) > 200:
            argv = ["pgrep", "-P", str(os.getpid()), "-f", "harness.load.worker"]
            senders = subprocess.run(argv, capture_output=True, text=True).stdout.split()
            if len(senders) == 2:
                os.kill(int(senders[0]), signal.SIGKILL)

    text = (
        NETWORK.replace('"3s"', '"60s"')
        + f"""
    [[workloads]]
    use = "http"
    url = "{service.url}/"
    rate = "200/s"
    senders = 2
    """
    )
    finished = await run_playbook(text, tmp_path / "runs", on_event=kill)
    assert finished.outcome.exit_code == ExitCode.INFRASTRUCTURE
    assert "killed by signal 9" in finished.outcome.reason
    evidence = judged(finished).evidence["http"]
    outcomes = ("accepted", "rejected", "dropped", "failed", "timed_out", "in_flight", "untold")
    assert evidence["offered"] == sum(evidence[name] for name in outcomes), evidence
    assert evidence["untold"] > 0
    figures = finished.state.workloads["http"].figures
    assert {name: figures[name] for name in outcomes} == {name: evidence[name] for name in outcomes}
    nobody_knows = evidence["in_flight"] + evidence["untold"]
    assert evidence["accepted"] <= len(service.asked) <= evidence["accepted"] + nobody_knows
    (warning,) = [one for one in finished.state.warnings.values() if "whether they were sent" in one.message]
    assert f"{evidence['untold']} requests" in warning.message
    with sqlite3.connect(finished.directory.samples) as samples:
        (row,) = samples.execute("""SELECT sum(offered), sum(started), sum(taken), sum(cut_off), sum(untold),
            sum(started + dropped + unready + behind + untold),
            sum(taken + refused + timed_out + lost + failed + cut_off) FROM load""")
        by_sender = samples.execute("SELECT sum(offered), max(until) FROM load GROUP BY sender ORDER BY 2").fetchall()
    offered, started, taken, cut_off, untold, of_offered, of_started = row
    assert offered == of_offered == evidence["offered"]
    assert started == of_started
    assert (taken, cut_off, untold) == tuple(evidence[name] for name in ("accepted", "in_flight", "untold"))
    (of_dead, ended), (of_living, later) = by_sender
    assert of_living - of_dead == pytest.approx(100 * (later - ended), abs=20)


@pytest.mark.real
async def test_bad_answers_fail_with_what_was_said(service: Service, tmp_path: Path) -> None:
    service.status = 503
    state = judged(await run(f'[[workloads]]\nuse = "http"\nurl = "{service.url}/"\nrate = "20/s"', tmp_path))
    assert state.verdict == Verdict.FAIL
    assert "good answers to 0 % of 60" in state.measured
    assert "status 503 (60×)" in state.measured


@pytest.mark.real
async def test_a_generator_that_could_not_send_says_so_first(service: Service, tmp_path: Path) -> None:
    """One connection and answers that take their time: most of the load never leaves. That is no word on the server."""
    service.hold = Event()
    options = 'rate = "50/s"\nmax_in_flight = 1\nsubmit_timeout = "20s"'
    workloads = f'[[workloads]]\nuse = "http"\nurl = "{service.url}/"\n{options}'
    Thread(target=lambda: (service.hold.wait(9), service.hold.set()), daemon=True).start()  # type: ignore[union-attr]
    state = judged(await run(workloads, tmp_path))
    assert state.verdict == Verdict.UNKNOWN
    assert state.measured.startswith("the generator dropped 149 of 150: the load was not as asked")
    assert state.evidence["http"]["reasons"] == {"dropped: too many were in flight": 149}


@pytest.mark.real
async def test_a_stall_of_the_server_is_in_the_percentiles(tmp_path: Path) -> None:
    with stalling_server(after=1.0, stall=1.5) as url:
        options = 'rate = "100/s"\nmax_in_flight = 1000'
        state = judged(await run(f'[[workloads]]\nuse = "http"\nurl = "{url}"\n{options}', tmp_path))
    assert state.verdict == Verdict.PASS
    evidence = state.evidence["http"]
    assert evidence["accepted"] == 300
    assert evidence["latency_seconds"]["p90"] > 0.9
    assert evidence["service_seconds"]["p90"] > 0.9  # each of them waited on its own connection


@pytest.mark.real
async def test_each_node_is_asked_in_turn(tmp_path: Path) -> None:
    state = judged(
        await run('[[workloads]]\nuse = "http"\nurl = "http://{endpoint}/head"\nrate = "30/s"', tmp_path),
    )
    assert state.verdict == Verdict.PASS, state
    assert state.evidence["http"]["accepted"] == 90


@pytest.mark.real
async def test_bodies_of_any_size_are_fed_in_portions(service: Service, tmp_path: Path) -> None:
    """A thousand of them would be more than a sender takes at once."""
    padding = "x" * 300_000
    options = f"""method = "POST"\nbody = "${{number}} {padding}"\nrate = "20/s"\nheaders = {{ Host = "elsewhere" }}"""
    state = judged(await run(f'[[workloads]]\nuse = "http"\nurl = "{service.url}/"\n{options}', tmp_path))
    assert state.verdict == Verdict.PASS, state
    assert sorted(int(body.split()[0]) for _, _, body, _ in service.asked) == list(range(60))


def test_what_was_cut_off_before_it_was_answered_is_nobodys_failure_and_no_pass() -> None:
    def judge(**counts: int) -> tuple[Verdict, str]:
        account = SenderAccount("http", ["this one"])
        account.total = Tally(offered=10, started=10, **counts)
        return HttpLoad(HttpLoad.Config())._judge(account)

    assert judge(cut_off=10) == (
        Verdict.UNKNOWN,
        "10 of 10 were cut off before they were answered: good answers to 0 % of 10",
    )
    assert judge(taken=5, cut_off=5)[0] is Verdict.UNKNOWN
    assert judge(taken=5, cut_off=4, failed=1)[0] is Verdict.FAIL
    assert judge(taken=10)[0] is Verdict.PASS
    assert judge(taken=10, untold=1) == (
        Verdict.UNKNOWN,
        "1 of 11 were cut off before they were answered: good answers to 90.9 % of 11",
    )


def test_a_bound_of_latencies_that_were_not_measured_is_not_kept() -> None:
    account = SenderAccount("http", ["this one"])
    account.total = Tally(offered=10, started=10, taken=10, warming=10)
    verdict, line = HttpLoad(HttpLoad.Config(max_p99="1s"))._judge(account)
    assert (verdict, line.split(":")[0]) == (Verdict.UNKNOWN, "no latency was measured")


@pytest.mark.real
async def test_a_port_that_nodes_have_not_is_told_with_those_that_they_have(tmp_path: Path) -> None:
    finished = await run('[[workloads]]\nuse = "http"\nurl = "http://{endpoint}/"\nport = "nope"', tmp_path)
    assert "port = nope: validator-0 has no such port; it has p2p, api" in finished.outcome.reason
    assert finished.outcome.exit_code == ExitCode.USAGE


async def test_after_a_pause_there_are_bodies_for_what_was_due_in_it() -> None:
    """A spike that comes later, by as long as the pause was: when it comes, the rate as planned is low again."""
    fed: list[Shot] = []

    class Fed(Senders):
        async def feed(self, shots: Iterable[Shot]) -> None:
            fed.extend(shots)

    points = [(0.0, 100.0), (5.0, 100.0), (5.0, 5000.0), (7.0, 5000.0), (7.0, 10.0)]
    profile, account = of_points(points, 60.0), SenderAccount("http", ["this one"])
    feeder = _Feeder(cast(Any, None), Http.Config(url="http://h/"), (), Fed(()), account, itertools.repeat(b"x"))
    await feeder.fill(profile)
    assert len(fed) == 1000
    account.total = Tally(offered=100, started=100)  # paused after a second
    await feeder.fill(profile, 8.0)
    assert len(fed) >= 500 + 2 * 5000
