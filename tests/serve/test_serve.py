"""Runs in a browser: who may look, what is seen, and that nothing can be done from there."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from aiohttp import ClientSession, CookieJar, WSMsgType, WSServerHandshakeError, web
from yarl import URL

from harness.record.rundir import RunDirectory
from harness.serve.access import is_from_us, is_loopback, is_token, names_us, new_token
from harness.serve.server import RunServer
from harness.serve.terminal import ScreenProcess, within

pytestmark = pytest.mark.anyio
JOURNAL = Path(__file__).parents[1] / "tui/journals/healthy.jsonl.gz"
RUN = "2026-01-31T12-00-00-quickstart-7f3a"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    directory = RunDirectory(tmp_path / "runs" / RUN)
    directory.logs.mkdir(parents=True)
    directory.journal.write_bytes(gzip.decompress(JOURNAL.read_bytes()))
    result = {"verdict": "pass", "status": "done", "reason": "<script>alert(1)</script> \x1b[31m"}
    directory.result.write_text(json.dumps(result))
    return tmp_path / "runs"


async def served(runs: Path, token: str = "") -> AsyncIterator[str]:
    runner = web.AppRunner(RunServer(runs, token).app())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()


@pytest.fixture
async def site(runs: Path) -> AsyncIterator[str]:
    async for url in served(runs):
        yield url


@pytest.fixture
async def client() -> AsyncIterator[ClientSession]:
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
        yield session


async def test_the_list_has_every_run_and_text_stays_text(site: str, client: ClientSession) -> None:
    async with client.get(site) as answer:
        page = await answer.text()
        assert answer.status == 200 and answer.headers["X-Content-Type-Options"] == "nosniff"
    assert f"/runs/{RUN}/watch" in page and f"/runs/{RUN}/report" in page
    assert "<script>" not in page and "&lt;script&gt;" in page and "\x1b" not in page


async def test_a_run_has_its_report_and_others_have_none(site: str, client: ClientSession) -> None:
    async with client.get(f"{site}/runs/{RUN}/report") as answer:
        assert answer.status == 200 and "consensus-liveness" in await answer.text()
    for other in ("nothing", "..", "%2e%2e%2f%2e%2e", "last", RUN[:-1]):
        async with client.get(f"{site}/runs/{other}/report") as answer:
            assert answer.status == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "192.0.2.7", ""])
async def test_a_name_that_is_not_this_machines_is_refused(site: str, client: ClientSession, host: str) -> None:
    async with client.get(site, headers={"Host": host}) as answer:
        assert answer.status in (400, 403)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", ""])
async def test_another_sites_page_gets_no_screen(site: str, client: ClientSession, origin: str) -> None:
    with pytest.raises(WSServerHandshakeError) as refused:
        await client.ws_connect(f"{site}/runs/{RUN}/socket", headers={"Origin": origin} if origin else {})
    assert refused.value.status == 403


async def test_the_screen_is_drawn_and_ends_with_its_page(site: str, client: ClientSession) -> None:
    drawn = b""
    async with client.ws_connect(f"{site}/runs/{RUN}/socket?width=120&height=36", headers={"Origin": site}) as socket:
        with anyio.fail_after(60):
            while b"quickstart" not in drawn or b"Freeze" not in drawn:
                message = await socket.receive()
                drawn += message.data if isinstance(message.data, bytes) else b""
    assert b"Pause load" not in drawn, "it is to look at only"
    with anyio.fail_after(20):
        while subprocess.run(["pgrep", "-f", f"harness.serve.screen .*{RUN}"], capture_output=True).stdout:
            await anyio.sleep(0.05)


@pytest.mark.parametrize(
    "said",
    [
        "{",
        '"x"',
        '["stdin", "\\ud800"]',
        '["stdin", 5]',
        "[" * 50_000,
        '["resize", {"width": 1000000000, "height": -5}]',
    ],
)
async def test_whatever_a_browser_says_the_screen_goes_on(site: str, client: ClientSession, said: str) -> None:
    async with client.ws_connect(f"{site}/runs/{RUN}/socket", headers={"Origin": site}) as socket:
        await socket.send_str(said)
        await socket.send_str('["ping", "still there"]')
        with anyio.fail_after(60):
            while (message := await socket.receive()).type is not WSMsgType.TEXT:
                assert message.type is WSMsgType.BINARY
        assert json.loads(message.data) == ["pong", "still there"]


def test_no_screen_is_too_large_or_too_small_to_be_drawn() -> None:
    assert [within(count) for count in (-5, 0, 80, 10**9)] == [10, 10, 80, 500]


async def test_a_screen_that_does_not_end_when_asked_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.serve.terminal.PATIENCE", 0.1)
    deaf = "import sys, time; print('__GANGLION__', flush=True); time.sleep(1000)"
    screen = ScreenProcess([sys.executable, "-c", deaf], web.WebSocketResponse())
    await screen.start(80, 24)
    process = screen._process
    assert process is not None
    with anyio.fail_after(20):
        await screen.stop()
    assert process.returncode == -signal.SIGKILL


async def test_there_is_an_end_to_screens(site: str, client: ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.serve.server.SCREENS", 0)
    with pytest.raises(WSServerHandshakeError) as refused:
        await client.ws_connect(f"{site}/runs/{RUN}/socket", headers={"Origin": site})
    assert refused.value.status == 503


async def test_elsewhere_a_token_is_needed_and_does_not_stay_in_the_address(runs: Path, client: ClientSession) -> None:
    token = new_token()
    async for site in served(runs, token):
        for path in ("/", f"/runs/{RUN}/report", "/static/js/textual.js", "/?token=wrong"):
            async with client.get(f"{site}{path}") as answer:
                assert answer.status == 401
        async with client.get(f"{site}/?token={token}", allow_redirects=False) as answer:
            assert answer.status == 302 and answer.headers["Location"] == "/"
            cookie = answer.headers["Set-Cookie"]
            assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
        there = URL(f"{site}//evil.example/?token={token}")
        async with client.get(there, allow_redirects=False) as answer:
            assert answer.headers["Location"] == "/evil.example/", "on this site"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
        async with client.get(f"{site}/runs/{RUN}/report") as answer:
            assert answer.status == 200


async def test_the_command_tells_the_address_and_ends_when_asked(runs: Path, client: ClientSession) -> None:
    command = [sys.executable, "-u", "-m", "harness", "serve", "--runs", str(runs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = await anyio.to_thread.run_sync(process.stdout.readline)
        url = line.rpartition(" ")[2].strip()
        assert url.startswith("http://127.0.0.1:")
        async with client.get(url) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        assert await anyio.to_thread.run_sync(process.wait) == 0


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
async def test_nothing_is_left_of_the_screens_of_a_server_that_ends(
    runs: Path, client: ClientSession, end: signal.Signals
) -> None:
    command = [sys.executable, "-u", "-m", "harness", "serve", "--runs", str(runs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = await anyio.to_thread.run_sync(process.stdout.readline)
        url = line.rpartition(" ")[2].strip().rstrip("/")
        async with client.ws_connect(f"{url}/runs/{RUN}/socket", headers={"Origin": url}) as socket:
            drawn = b""
            with anyio.fail_after(60):
                while b"quickstart" not in drawn:
                    message = await socket.receive()
                    drawn += message.data if isinstance(message.data, bytes) else b""
            process.send_signal(end)
            with anyio.fail_after(20):
                await anyio.to_thread.run_sync(process.wait)
    with anyio.fail_after(20):
        while subprocess.run(["pgrep", "-f", f"harness.serve.screen {runs}"], capture_output=True).stdout:
            await anyio.sleep(0.05)


async def test_who_listens_everywhere_tells_an_address_that_others_can_open(runs: Path, client: ClientSession) -> None:
    command = [sys.executable, "-u", "-m", "harness", "serve", "--host", "0.0.0.0", "--runs", str(runs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = await anyio.to_thread.run_sync(process.stdout.readline)
        url = line.rpartition(" ")[2].strip()
        process.send_signal(signal.SIGINT)
        assert await anyio.to_thread.run_sync(process.wait) == 0
    assert URL(url).host not in ("0.0.0.0", "::", None) and "token=" in url


def test_who_is_this_machine() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "::1", "localhost", "127.8.9.1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.0.2.1", "localhost.evil.example", "")))
    assert names_us("localhost:8000") and names_us("[::1]:8000") and names_us("127.0.0.1")
    assert not names_us("evil.example:8000") and not names_us("[") and not names_us("127.0.0.1.evil.example")
    assert is_from_us("http://h:1", "h:1") and not is_from_us("http://h:1", "h:2") and not is_from_us("", "h")
    assert is_token("a", "a") and not is_token("ä", "a") and not is_token("", "a")
