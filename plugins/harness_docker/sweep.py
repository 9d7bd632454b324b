"""What a deployment has on an engine, by its label, and how it is removed.

Also a program of its own, the *reaper*, which imports nothing of the harness:

    python -P sweep.py DEPLOYMENT [ENGINE]

It leaves its parent, says "ready" once the engine has answered, and waits for the end of its input, which is held open
by the controller alone. When the input was "done" it leaves; else the controller has died, and everything of the
deployment is removed. A controller that is merely stopped (Ctrl-Z) keeps its network."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from docker import APIClient
from docker.context import ContextAPI
from docker.errors import APIError, DockerException, NotFound
from docker.utils import kwargs_from_env
from requests.exceptions import RequestException

DEPLOYMENT, RUN, NODE, OWNER = "harness.deployment", "harness.run", "harness.node", "harness.owner"
"""The labels of everything that a run makes: what is removed is found by the first, random, one; the run's id may come
again in another folder of runs."""
READY, DONE = b"ready\n", b"done\n"
TIMEOUT = 120.0
"""Seconds that an engine may take to answer: starting fifty containers at once keeps it busy for a while."""
AT_ONCE = 8
PATIENCE = 30.0
"""Seconds for which what the engine refuses to remove is tried again."""
QUIET = 10.0
"""Seconds for which nothing new must have come, until it is believed that nothing comes: what had been asked for when
the controller died may still be in the making."""
GIVE_UP = 600.0
"""Seconds after which an engine that does not answer, or does not let go of something, is left to `harness clean`."""
LOOK_AGAIN = 0.25


def settings(engine: str = "") -> dict[str, Any]:
    """How to reach an engine: a URL; without, as the docker command does it: DOCKER_HOST, else the current context."""
    of_environment: dict[str, Any] = {**kwargs_from_env()}
    if engine:
        return {**of_environment, "base_url": engine}
    if os.environ.get("DOCKER_HOST"):
        return of_environment
    return {**of_environment, **ContextAPI.kwargs_from_context()}


@dataclass(frozen=True, slots=True)
class Thing:
    """A container, network or volume."""

    kind: str
    id: str
    name: str
    labels: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def find(client: APIClient, label: str) -> list[Thing]:
    """Everything with a label (its name, or NAME=VALUE), in an order in which it can be removed."""
    filters = {"label": label}
    containers = [
        Thing("container", each["Id"], each["Names"][0].lstrip("/"), each["Labels"])
        for each in client.containers(all=True, filters=filters)
    ]
    networks = [Thing("network", each["Id"], each["Name"], each["Labels"]) for each in client.networks(filters=filters)]
    volumes = [
        Thing("volume", each["Name"], each["Name"], each["Labels"])
        for each in client.volumes(filters=filters)["Volumes"] or ()
    ]
    return [*containers, *networks, *volumes]


def remove(client: APIClient, deployment: str) -> tuple[list[Thing], list[str]]:
    """Remove everything of a deployment: what was there, and what is left, each with the engine's reason.

    What the engine refuses is tried again for a while: somebody else may be removing just that."""
    seen: dict[str, Thing] = {}
    give_up = time.monotonic() + PATIENCE
    while there := find(client, f"{DEPLOYMENT}={deployment}"):
        seen.update({thing.id: thing for thing in there})
        refusals = _try_to_remove(client, there)
        if refusals and time.monotonic() > give_up:
            return list(seen.values()), refusals
        if refusals:
            time.sleep(LOOK_AGAIN)
    return list(seen.values()), []


def _try_to_remove(client: APIClient, things: list[Thing]) -> list[str]:
    """Containers first: they hold the others. Says what was refused, but for what is gone already."""

    def one(thing: Thing) -> str:
        try:
            _remover(client, thing)()
        except NotFound:
            return ""
        except APIError as error:
            return f"{thing}: {error.explanation or error}"
        return ""

    with ThreadPoolExecutor(AT_ONCE) as pool:
        containers = [thing for thing in things if thing.kind == "container"]
        others = [thing for thing in things if thing.kind != "container"]
        return [refusal for some in (containers, others) for refusal in list(pool.map(one, some)) if refusal]


def _remover(client: APIClient, thing: Thing) -> Callable[[], object]:
    match thing.kind:
        case "container":
            return lambda: client.remove_container(thing.id, force=True, v=True)
        case "network":
            return lambda: client.remove_network(thing.id)
        case _:
            return lambda: client.remove_volume(thing.id)


def _reap(client: APIClient, deployment: str) -> None:
    """Remove it all, again and again, until nothing has been there for a while."""
    began = quiet_since = time.monotonic()
    while time.monotonic() < min(quiet_since + QUIET, began + GIVE_UP):
        try:
            there, _ = remove(client, deployment)
            quiet = not there
        except (DockerException, RequestException) as error:
            print(f"the engine does not answer: {error}", file=sys.stderr)  # noqa: T201 - its log is its stderr
            quiet = False
        if not quiet:
            quiet_since = time.monotonic()
        time.sleep(LOOK_AGAIN)


def main(deployment: str, engine: str = "") -> None:
    if os.fork():
        os._exit(0)  # whoever started it has nobody to wait for
    client = APIClient(version="auto", timeout=int(TIMEOUT), **settings(engine))
    client.ping()
    os.write(sys.stdout.fileno(), READY)
    if sys.stdin.buffer.read() != DONE:
        _reap(client, deployment)


if __name__ == "__main__":
    main(*sys.argv[1:])
