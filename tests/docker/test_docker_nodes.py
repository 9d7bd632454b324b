"""A node's process: started, stopped, killed, paused, and what it wrote."""

from __future__ import annotations

import re
import signal
import time
from typing import Any

import anyio
import pytest

from harness.api import InfrastructureError, Link

FOREVER = "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done"

pytestmark = [pytest.mark.anyio, pytest.mark.real]


async def test_it_runs_and_stops_on_its_signal(kit: Any) -> None:
    async with kit.node() as (_, service):
        await kit.logged("up")
        seen = await kit.container()
        assert service.pid == seen["State"]["Pid"] > 0
        assert abs(service.start_time - time.time()) < 60
        assert service.exit is None
        assert await service.state() == "running"
        await service.signal(signal.SIGTERM)
        how = await service.wait()
        assert (how.code, how.signal) == (7, None)
        assert abs(how.at - time.time()) < 60
        assert await service.state() == "gone"
        await service.signal(signal.SIGTERM)  # nothing happens
        await service.pause()
        await service.resume()
    assert kit.left() == []


async def test_signals_reach_its_whole_group(kit: Any) -> None:
    child = "trap 'echo child' USR1; echo ready; while :; do sleep 0.05; done"
    async with kit.node(f"trap 'echo parent' USR1; (trap - USR1; {child}) & while :; do wait; done") as (_, service):
        await kit.logged("ready")
        await service.signal(signal.SIGUSR1)
        await kit.logged("parent")
        await kit.logged("child")


async def test_a_signal_right_after_the_start_is_not_lost(kit: Any) -> None:
    async with kit.deploy("v-0") as deployment:
        place = deployment.placements["v-0"]
        for _ in range(5):
            service = await place.machine.spawn(kit.spec(place, "exec sleep 1000"))
            await service.signal(signal.SIGTERM)
            how = await service.wait()
            assert (how.code, how.signal) == (None, signal.SIGTERM)


async def test_sigkill_ends_all_that_it_started(kit: Any) -> None:
    async with kit.node("setsid sleep 1000 & echo up; sleep 1000") as (_, service):
        await kit.logged("up")
        await service.signal(signal.SIGKILL)
        how = await service.wait()
        assert (how.code, how.signal) == (None, signal.SIGKILL)
        assert (await kit.container())["State"]["Running"] is False


async def test_paused_it_does_nothing_and_signals_wait(kit: Any) -> None:
    count = "trap 'echo term; exit 0' TERM; i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done"
    async with kit.node(count) as (_, service):
        await kit.logged("3")
        await service.pause()
        await service.pause()  # is no error
        assert await service.state() == "paused"
        assert (await kit.container())["State"]["Paused"] is True
        before = kit.log()
        await service.signal(signal.SIGTERM)
        assert await service.state() == "paused"
        assert kit.log() == before
        with pytest.raises(InfrastructureError, match="paused"):
            await service.sync_log()
        await service.resume()
        how = await service.wait()
        assert how.code == 0
        assert "term\n" in kit.log()


async def test_a_paused_one_can_be_killed(kit: Any) -> None:
    async with kit.node() as (_, service):
        await service.signal(signal.SIGSTOP)
        assert await service.state() == "paused"
        await service.signal(signal.SIGKILL)
        with anyio.fail_after(30):
            assert (await service.wait()).signal == signal.SIGKILL


async def test_restarted_it_has_its_files_address_and_ports(kit: Any) -> None:
    script = f'echo run >>"$RUNS"; wc -l <"$RUNS"; grep v-0 /etc/hosts; {FOREVER}'
    async with kit.deploy("v-0") as deployment:
        place = deployment.placements["v-0"]
        spec = kit.spec(place, script, RUNS=str(place.directory / "runs"))
        first = await place.machine.spawn(spec)
        await kit.logged("up")
        before = await kit.container()
        with pytest.raises(InfrastructureError, match="runs already"):
            await place.machine.spawn(spec)
        await first.signal(signal.SIGKILL)
        await first.wait()
        second = await place.machine.spawn(spec)
        await kit.eventually(lambda: kit.log().count("up") == 2, "it is up again")
        after = await kit.container()
        assert after["Id"] == before["Id"]
        assert after["NetworkSettings"]["Ports"] == before["NetworkSettings"]["Ports"]
        assert await first.state() == "gone"
        assert await second.state() == "running"
        hosts = {line for line in kit.log().splitlines() if line.endswith("v-0")}
        assert hosts == {f"{place.advertise}\tv-0"}
        assert "\n2\n" in kit.log()


async def test_with_other_arguments_it_keeps_what_it_wrote(kit: Any) -> None:
    async with kit.deploy("v-0") as deployment:
        place = deployment.placements["v-0"]
        await place.machine.put(b"put", place.directory / "sub" / "file")
        first = await place.machine.spawn(kit.spec(place, "echo old >written; echo one", VERSION="1"))
        await first.wait()
        second = await place.machine.spawn(kit.spec(place, "cat written sub/file; echo $VERSION", VERSION="2"))
        assert (await second.wait()).code == 0
        assert kit.log() == "one\nold\nput2\n"


async def test_a_program_that_is_not_there_cannot_be_started(kit: Any) -> None:
    async with kit.deploy("v-0") as deployment:
        place = deployment.placements["v-0"]
        spec = kit.spec(place)
        for argv in (("/no/such/program",), ("nosuchprogram", "$(touch /tmp/x)"), ("/etc/passwd",)):
            with pytest.raises(InfrastructureError, match="v-0 cannot be started"):
                await place.machine.spawn(type(spec)(spec.name, argv, spec.cwd, spec.log))
        service = await place.machine.spawn(spec)
        assert await service.state() == "running"


async def test_arguments_and_environment_arrive_as_they_are(kit: Any) -> None:
    odd = ["$(touch /pwned)", "a b", "'\"`", "-n", "new\nline", "ünïcødé", ""]
    async with kit.deploy("v-0") as deployment:
        place = deployment.placements["v-0"]
        spec = kit.spec(place, 'for a in "$@" "$ODD"; do printf "<%s>" "$a"; done', *odd, ODD="$(id)\n;'")
        await (await place.machine.spawn(spec)).wait()
        assert kit.log() == "".join(f"<{one}>" for one in [*odd, "$(id)\n;'"])


async def test_its_log_has_all_that_it_wrote_in_order(kit: Any) -> None:
    """Across restarts, both streams, bytes that are no text, without a newline at the end."""
    script = r"i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line $i; done; printf '\377\000end'; echo err >&2"
    async with kit.deploy("v-0") as deployment:
        place = deployment.placements["v-0"]
        for _ in range(2):
            service = await place.machine.spawn(kit.spec(place, script))
            await service.wait()
            await service.sync_log()
    written = kit.log_path().read_bytes()
    assert written.count(b"err\n") == 2
    lines = "".join(f"line {number}\n" for number in range(1, 3001)).encode() + b"\xff\x00end"
    assert written.replace(b"err\n", b"") == lines * 2


async def test_sync_log_waits_for_what_was_written_before(kit: Any) -> None:
    script = "trap 'printf marked; printf also >&2' USR1; echo up; while :; do sleep 0.02; done"
    async with kit.node(script) as (place, service):
        await kit.logged("up")
        for number in range(1, 6):
            write = "head -c 300000 /dev/zero | tr '\\0' x >/proc/1/fd/1"
            await place.machine.run(["sh", "-c", write])
            await service.sync_log()
            assert kit.log().count("x") == number * 300000
        assert "sync" not in kit.log()


async def test_sync_log_of_what_has_ended_and_of_images_without_a_shell(kit: Any) -> None:
    async with kit.node("rm -f /bin/sh /usr/bin/sh /bin/dash; echo gone; while :; do :; done") as (_, service):
        await kit.logged("gone")
        with pytest.raises(InfrastructureError, match="log is not complete"):
            await service.sync_log()
        await service.signal(signal.SIGKILL)
        await service.sync_log()


async def test_nodes_reach_each_other_and_the_controller_reaches_them(kit: Any, tmp_path: Any) -> None:
    """Through the link's address, and through the published port, before and after a restart."""
    script = """exec perl -MIO::Socket::INET -e '
        if ($ARGV[0] eq "listen") {
            $s = IO::Socket::INET->new(LocalAddr => $ARGV[1], LocalPort => $ARGV[2], Listen => 1, Reuse => 1) or die;
            print STDERR "up\n";
            while ($c = $s->accept) { print $c "hello\n"; close $c }
        }
        $c = IO::Socket::INET->new(PeerAddr => $ARGV[1], PeerPort => $ARGV[2]) or die;
        print <$c>;
    ' "$@" """
    link = Link("v-1", "v-0")
    async with kit.deployer().deploy(kit.request("v-0", "v-1", links=[link])) as deployment:
        server, client = deployment.placements["v-0"], deployment.placements["v-1"]
        spec = kit.spec(server, script, "listen", server.bind, str(server.ports["api"]))
        service = await server.machine.spawn(spec)
        await kit.logged("up")
        address = deployment.link_address(link)
        assert (address.host, address.port) == (server.advertise, server.ports["p2p"])
        outside = deployment.endpoint("v-0", "api")
        assert outside.host == "127.0.0.1"

        async def greeted() -> bytes:
            async with await anyio.connect_tcp(outside.host, outside.port) as stream:
                return await stream.receive()

        assert await greeted() == b"hello\n"
        peer = await client.machine.spawn(kit.spec(client, script, "dial", server.advertise, str(server.ports["api"])))
        assert (await peer.wait()).code == 0
        assert kit.log("v-1") == "hello\n"
        await service.signal(signal.SIGKILL)
        await service.wait()
        await server.machine.spawn(spec)
        await kit.eventually(lambda: kit.log().count("up") == 2, "it is up again")
        assert deployment.endpoint("v-0", "api") == outside
        assert await greeted() == b"hello\n"
        published = (await kit.container())["NetworkSettings"]["Ports"]
        assert {binding["HostIp"] for bindings in published.values() for binding in bindings} == {"127.0.0.1"}


async def test_limits_are_kept_and_running_out_of_memory_is_told(kit: Any) -> None:
    deployer = kit.deployer(cpus=0.5, memory="512MiB")
    async with deployer.deploy(kit.request("v-0", harness_memory="32MiB")) as deployment:
        place = deployment.placements["v-0"]
        service = await place.machine.spawn(kit.spec(place, "exec perl -e '$x = q(y) x (200 << 20); sleep 60'"))
        with anyio.fail_after(60):
            how = await service.wait()
        assert (how.signal, how.why) == (signal.SIGKILL, "out of memory (limit 32 MiB)")
        assert str(how) == "killed by SIGKILL: out of memory (limit 32 MiB)"
        host = (await kit.container())["HostConfig"]
        assert (host["NanoCpus"], host["Memory"]) == (500_000_000, 32 << 20)
        assert [machine for machine, text in kit.warned if re.search("out of memory", text)] == ["v-0"]


async def test_a_container_that_somebody_removes_is_lost(kit: Any) -> None:
    async with kit.node() as (_, service):
        await kit.ask("rm", "-f", (await kit.container())["Id"])
        how = await service.wait()
        assert (how.code, how.signal) in ((None, None), (None, signal.SIGKILL))  # as far as it was still to be seen
        assert await service.state() == "gone"
    assert kit.left() == []


async def test_it_runs_as_the_images_user_in_a_folder_of_its_own(kit: Any, built_image: Any) -> None:
    image = built_image("RUN useradd --uid 1234 --no-user-group --gid 33 tester\nUSER tester")
    async with kit.deploy("v-0", image=image) as deployment:
        place = deployment.placements["v-0"]
        await place.machine.put(b"secret", place.directory / "a" / "key", 0o600)
        script = f"id -u; id -g; cat a/key; touch a/mine; {'trap : TERM; echo up; sleep 1000'}"
        service = await place.machine.spawn(kit.spec(place, script))
        await kit.logged("up")
        assert kit.log() == "1234\n33\nsecretup\n"
        await service.sync_log()
        await place.machine.put(b"more", place.directory / "b" / "c" / "key", 0o600)
        folder = place.directory / "b"
        done = await place.machine.run(["stat", "-c", "%u %g %a", str(folder / "c" / "key"), str(folder)])
        assert done.stdout == b"1234 33 600\n1234 33 755\n"
        assert (await place.machine.run(["id", "-u"])).stdout == b"1234\n"
        assert (await place.machine.run(["id", "-u"], become=True)).stdout == b"0\n"
