"""Deployments: side by side, cut short, gone wrong, and what is left of them: nothing, and all that is others'."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest

from harness.api import (
    Access,
    DeployError,
    Facts,
    HostSpec,
    Image,
    InfrastructureError,
    MachineCapability,
    Owner,
    TeardownError,
)
from harness.testing.fakes import FakeChain, FakeChainConfig
from harness_docker import deployer, record, sweep

pytestmark = [pytest.mark.anyio, pytest.mark.real]

BASE = "debian:bookworm-slim"


class BuiltChain(FakeChain):
    """A chain with a Dockerfile; its `recipe` goes behind the FROM line."""

    name = "built"
    recipe = ""
    mark = ""

    def image(self, architecture: str) -> Image:
        assert architecture
        recipe = f"ARG BASE\nFROM ${{BASE}}\nCOPY mark /mark\n{self.recipe}\n"
        return Image(recipe, {"mark": self.mark.encode()}, python="/usr/bin/python3")


@pytest.fixture
def built(docker_engine: Any) -> Iterator[Any]:
    """A chain that nobody has built before; its images are removed after the test."""
    chain = BuiltChain(FakeChainConfig())
    chain.name = f"built-{uuid.uuid4().hex[:8]}"  # type: ignore[misc]
    chain.mark = uuid.uuid4().hex
    yield chain
    for image in docker_engine("images", "-q", "--filter", f"label=harness.image={chain.name}").split():
        docker_engine("rmi", "--force", image)


async def test_nodes_start_at_once_and_nothing_is_left(kit: Any) -> None:
    names = [f"v-{number}" for number in range(8)]
    async with kit.deploy(*names) as deployment:
        async with anyio.create_task_group() as tasks:
            for place in deployment.placements.values():
                tasks.start_soon(place.machine.spawn, kit.spec(place))
        for name in names:
            await kit.logged("up", name)
        places = deployment.placements.values()
        assert len({place.advertise for place in places}) == 8
        assert len({deployment.endpoint(name, port).port for name in names for port in ("p2p", "api")}) == 16
        assert len(kit.left()) == 8 + 1 + 8
    assert kit.left() == []
    assert sorted(path.name for path in (kit.folder / "run").iterdir()) == []


async def test_a_persons_shell_in_a_nodes_container(kit: Any) -> None:
    async with kit.deploy("v-0") as deployment:
        place = deployment.placements["v-0"]
        await place.machine.put(b"it is here", place.directory / "note")
        await place.machine.spawn(kit.spec(place))
        await kit.logged("up", "v-0")
        without_terminal = [word.replace("-it", "-i") for word in place.reach]
        done = await anyio.run_process([*without_terminal, "-c", f"cat {place.directory}/note"])
    assert done.stdout == b"it is here"


async def test_two_runs_do_not_meet(kit: Any) -> None:
    """Not even with the same id and the same names: each ends what is its own."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(kit.deploy("v-0"))
        requested = kit.request("v-0", run_dir=kit.folder / "other")
        async with kit.deployer().deploy(requested) as second:
            one, other = first.placements["v-0"], second.placements["v-0"]
            mine = await one.machine.spawn(kit.spec(one))
            theirs = await other.machine.spawn(kit.spec(other))
            assert one.advertise != other.advertise
            taken = {first.endpoint("v-0", port) for port in one.ports}
            assert taken.isdisjoint(second.endpoint("v-0", port) for port in one.ports)
            assert await theirs.state() == "running"
        assert await mine.state() == "running"
        assert await theirs.state() == "gone"
        assert not [line for line in (await kit.deployer().heal([], Access())).done if kit.run_id in line]
        assert await mine.state() == "running"
    assert kit.left() == []


@pytest.fixture
def bystanders(docker_engine: Any) -> Iterator[None]:
    """Others' things, called and labelled as ours are, as far as others might."""
    name = f"harness-run-{uuid.uuid4().hex[:6]}"
    labels = ["--label=harness.run=run", "--label=harness.node=v-0", "--label=com.example=harness.deployment"]
    docker_engine("network", "create", *labels, name)
    docker_engine("volume", "create", *labels, name)
    docker_engine("run", "--detach", "--name", name, *labels, f"--volume={name}:/v", BASE, "sleep", "1000")
    yield
    assert docker_engine("inspect", "-f", "{{.State.Running}}", name) == "true"
    docker_engine("rm", "--force", "--volumes", name)
    docker_engine("network", "rm", name)
    docker_engine("volume", "rm", name)


@pytest.mark.usefixtures("bystanders")
async def test_bystanders_are_left_alone(kit: Any) -> None:
    async with kit.node():
        pass
    (kit.folder / "run").mkdir(exist_ok=True)
    (kit.folder / "run" / record.NAME).write_text(json.dumps({"engine": "", "deployment": "nobody's"}))
    assert await kit.deployer().clean("run", kit.folder / "run") == []
    await kit.deployer().heal([HostSpec("h", {})], Access())


async def test_the_record_of_a_dead_run_is_all_that_clean_needs(kit: Any) -> None:
    """The remains of a controller and a reaper that are both gone, made here by hand."""
    owner = json.dumps({"pid": 1, "start": "0", "boot": Owner.current().boot, "host": Owner.current().host})
    for _ in range(2):
        deployment = uuid.uuid4().hex
        labels = [f"--label={sweep.DEPLOYMENT}={deployment}", f"--label={sweep.RUN}={kit.run_id}"]
        labels.append(f"--label={sweep.OWNER}={owner}")
        await kit.ask("network", "create", *labels, deployment)
        await kit.ask("volume", "create", *labels, deployment)
        network = f"--network={deployment}"
        name = f"--name={deployment}"
        await kit.ask("run", "--detach", name, *labels, network, f"--volume={deployment}:/v", BASE, "sleep", "1000")
        if not (kit.folder / "run").exists():
            (kit.folder / "run").mkdir()
            (kit.folder / "run" / record.NAME).write_text(json.dumps({"engine": "", "deployment": deployment}))
            removed = await kit.deployer().clean("run", kit.folder / "run")
        else:
            removed = [line for line in (await kit.deployer().heal([], Access())).done if deployment in line]
        assert [line.split()[:2] for line in removed] == [
            ["removed", "container"],
            ["removed", "network"],
            ["removed", "volume"],
        ]
        assert kit.left() == []
    assert await kit.deployer().clean("run", kit.folder / "run") == []
    assert await kit.deployer().clean("run", kit.folder / "never") == []


async def test_cancelled_at_any_moment_it_leaves_nothing(kit: Any) -> None:
    async def whole() -> None:
        async with kit.deploy("v-0", "v-1") as deployment:
            async with anyio.create_task_group() as tasks:
                for place in deployment.placements.values():
                    tasks.start_soon(place.machine.spawn, kit.spec(place))
            await anyio.sleep_forever()

    for delay in (0.05, 0.3, 0.7, 1.2, 2.0):
        with anyio.move_on_after(delay) as scope:
            await whole()
        assert scope.cancelled_caught
        assert kit.left() == []


async def test_cancelling_its_teardown_does_not_stop_it(kit: Any) -> None:
    with anyio.CancelScope() as scope:
        async with kit.node():
            scope.cancel()
    assert kit.left() == []


async def test_what_cannot_be_removed_is_told_and_left_to_the_reaper(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = sweep.find

    def nothing(client: Any, deployment: Any) -> tuple[list[str], list[str]]:
        ours = [str(thing) for thing in found(client, sweep.OWNER)]  # of this test: others run beside it
        return [], [thing for thing in ours if "harness-test" in thing]

    monkeypatch.setattr(sweep, "remove", nothing)
    with pytest.raises(TeardownError, match="docker: still there: container harness-test"):
        async with kit.node():
            pass
    monkeypatch.undo()
    await kit.eventually(lambda: kit.left() == [], "the reaper removes it")


async def test_a_port_that_is_taken_at_the_last_moment_is_told(kit: Any) -> None:
    async with kit.deploy("v-0") as deployment:
        place = deployment.placements["v-0"]
        listener = await anyio.create_tcp_listener(
            local_host="127.0.0.1", local_port=deployment.endpoint("v-0", "api").port
        )
        async with listener:
            with pytest.raises(InfrastructureError, match="address already in use"):
                await place.machine.spawn(kit.spec(place))
        service = await place.machine.spawn(kit.spec(place))
        assert await service.state() == "running"
    assert kit.left() == []


async def test_whatever_a_run_is_called_its_things_have_names_that_engines_take(kit: Any) -> None:
    kit.run_id = "odd $(touch pwned); 'ü' <b>[/] -x\t/../"
    async with kit.node() as (_, service):
        named = await kit.ask("ps", "--format", "{{.Names}}")
        [name] = [line for line in named.splitlines() if line.startswith("harness-odd---touch-pwned----")]
        assert await service.state() == "running"
    assert name not in await kit.ask("ps", "-a")


async def test_when_there_is_no_network_nothing_is_left(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(*_: object, **__: object) -> None:
        raise DeployError("docker: no network for the nodes: no more addresses")

    monkeypatch.setattr(deployer, "make_network", none)
    with pytest.raises(DeployError, match="no more addresses"):
        async with kit.deploy("v-0"):
            pass
    assert kit.left() == []
    assert list((kit.folder / "run").iterdir()) == []


async def test_an_image_is_built_once_for_the_same_content(kit: Any, built: Any, docker_engine: Any) -> None:
    kit.chain = built
    ids = set()
    for mark in (built.mark, built.mark, built.mark + "other"):
        built.mark = mark
        async with kit.deploy("v-0", image="") as deployment:
            place = deployment.placements["v-0"]
            assert place.machine.python == "/usr/bin/python3"
            service = await place.machine.spawn(kit.spec(place, "cat /mark; echo"))
            await service.wait()
        ids.add(await anyio.to_thread.run_sync(docker_engine, "images", "-q", f"harness/{built.name}"))
    assert kit.log().splitlines() == [built.mark.removesuffix("other")] * 2 + [built.mark]
    assert [len(found.split()) for found in sorted(ids, key=len)] == [1, 2]
    assert kit.left() == []


async def test_a_build_that_fails_is_quoted(kit: Any, built: Any) -> None:
    kit.chain, built.recipe = built, "RUN echo what went wrong >&2; exit 3"
    with pytest.raises(DeployError, match=r"cannot be built: .*code: 3(.|\n)*what went wrong"):
        async with kit.deploy("v-0", image=""):
            pass
    assert "what went wrong" in (kit.folder / "run" / "image-build.log").read_text()
    assert kit.left() == []


async def test_a_build_that_is_cancelled_ends(kit: Any, built: Any, docker_engine: Any) -> None:
    kit.chain, built.recipe = built, "RUN echo building; sleep 4321"
    log = kit.folder / "run" / "image-build.log"

    async def deploy() -> None:
        async with kit.deploy("v-0", image=""):
            pass

    await kit.cancel_while(deploy, lambda: log.exists() and "building\n" in log.read_text(), "it builds")
    await kit.eventually(lambda: "4321" not in docker_engine("ps", "-a", "--no-trunc"), "the engine has ended it")
    assert kit.left() == []


async def report(kit: Any, nodes: Any = None, **options: Any) -> Any:
    [report] = await kit.deployer(**options).inspect(nodes or kit.planned("v-0", "v-1"), kit.chain, Access())
    return report


async def test_inspect_sees_what_is_there_and_touches_nothing(kit: Any) -> None:
    odd = {"ansible_host": "10.0.0.1", "ansible_port": 22, "ansible_user": "$(id)", "ansible_become": True}
    seen = await report(kit, kit.planned("v-0", **odd))
    lacks = {MachineCapability.OWN_DISK, MachineCapability.CLOCK}  # no option, and no libfaketime in the image
    assert (seen.host, seen.problems, set(seen.lacks)) == ("here", (), lacks)
    can = {"node-control", "pause", "commands", "link-control", "link-delay", "link-loss", "link-rate"}
    assert {capability.value for capability in seen.capabilities} == can
    assert isinstance(seen.facts, Facts)
    assert kit.left() == []


async def test_inspect_tells_all_that_stands_in_the_way(kit: Any, built: Any) -> None:
    absent = "127.0.0.1:1/absent:none"
    assert (await report(kit, engine="unix:///no.sock")).problems[0].startswith("no Docker engine runs at")
    assert 'pull = "never"' in (await report(kit, image=absent)).problems[0]
    assert "cannot be pulled" in (await report(kit, image=absent, pull="missing")).problems[0]
    assert "brings no Dockerfile" in (await report(kit, image="")).problems[0]
    kit.chain = built
    assert (await report(kit, image="")).problems == ()
    assert f"the image {absent} is not there" in (await report(kit, image="", base=absent)).problems[0]
    limited = kit.planned("v-0", harness_cpus=4096, harness_memory="lots")
    assert "harness_memory: " in (await report(kit, limited)).problems[0]
    limited = kit.planned("v-0", harness_cpus=4096)
    assert "to have 4096 CPUs, and this engine has" in (await report(kit, limited)).problems[0]
    with pytest.raises(DeployError, match=r'not there, and pull = "never"'):
        async with kit.deploy("v-0", image=absent):
            pass
    with pytest.raises(DeployError, match="cannot be pulled|connection refused"):
        async with kit.deploy("v-0", image=absent, pull="missing"):
            pass
    with pytest.raises(DeployError, match="no Docker engine runs at"):
        async with kit.deploy("v-0", engine="unix:///no.sock"):
            pass
    assert kit.left() == []


async def test_a_named_image_without_the_python_of_its_chain_is_a_problem_in_plan(
    kit: Any, built_image: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await report(kit)).problems == (), "this chain starts nothing with it"
    monkeypatch.setattr(type(kit.chain), "needs_python", True)
    old = built_image(
        "RUN printf '#!/bin/sh\\necho 3.9.18 >&2; exit 1\\n' >/usr/bin/python3 && chmod +x /usr/bin/python3"
    )
    none, wrong = (
        "has no python3, and nodes of fake need Python 3.11",
        "has a python3 that does not do (3.9.18), and nodes",
    )
    for image, why in ((BASE, none), (old, wrong)):
        [problem] = (await report(kit, image=image)).problems
        assert problem.startswith(f"the image {image} {why}")
        with pytest.raises(DeployError) as raised:
            async with kit.deploy("v-0", image=image):
                pass
        assert str(raised.value) == f"docker: {problem}"
    fine = built_image("RUN printf '#!/bin/sh\\n' >/usr/bin/mine && chmod +x /usr/bin/mine")
    assert (await report(kit, image=fine, python="/usr/bin/mine")).problems == ()
    async with kit.deploy("v-0", image=fine, python="mine"):
        pass
    assert kit.left() == []
    owners = await kit.ask("ps", "-a", "--filter", "name=harness-try-", "--format", f'{{{{.Label "{sweep.OWNER}"}}}}')
    mine = [owner for owner in owners.splitlines() if json.loads(owner)["pid"] == os.getpid()]
    assert mine == []  # others of this engine may be at it


async def test_the_example_inventory_chooses_it(kit: Any) -> None:
    from harness.engine.target import choose_target
    from harness.plugin.registry import Registry
    from harness.spec.inventory import Inventory

    inventory = Inventory.read(Path(__file__).parents[2] / "inventories" / "docker.toml")
    assert choose_target(Registry(), inventory).deployer.name == "docker"
