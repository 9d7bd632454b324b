"""The image that nodes are made from: named, or built from what the chain brings, once for the same content."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import anyio
import anyio.to_thread
from docker.errors import APIError
from docker.utils import parse_repository_tag

from harness.api import Chain, DeployError, Image, Unsupported, UsageError
from harness_docker.archive import Entry, pack
from harness_docker.engine import Engine, Interrupt, Refused, explanation

LABEL = "harness.image"
"""On every image that is built, with the chain's name: `docker image prune --all --filter label=harness.image`."""
RECIPE = ".harness.Dockerfile"
BUILD_LOG = "image-build.log"
BUILD_WITHIN = 1800.0
"""Seconds that a build may be silent: installing packages says little."""
QUOTED = 15
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::-([^}]*))?\}|(\w+))")


@dataclass(frozen=True, slots=True)
class NodeImage:
    """An image as nodes need to know it: its id, its user, its Python, and where in it artifacts are."""

    id: str
    user: str
    python: str
    artifacts: Mapping[str, PurePosixPath] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    """Where the image comes from: `named`, or built to `recipe` with these build arguments. `pull` says whether images
    are fetched from their registries: "missing", "never", "always"."""

    pull: str
    named: str = ""
    recipe: Image | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    python: str = "python3"

    @property
    def needed(self) -> Sequence[str]:
        """Images that must be there, or be fetched, before anything else."""
        return [self.named] if self.recipe is None else bases(self.recipe.dockerfile, self.arguments)


def source_of(
    chain: Chain[Any], architecture: str, *, named: str, base: str, pull: str, arguments: Mapping[str, str], python: str
) -> Source:
    """Raises UsageError when the chain brings nothing to build from and no image is named, or what it brings is not
    complete."""
    if named:
        return Source(pull, named=named, python=python)
    try:
        recipe = chain.image(architecture)
    except Unsupported as error:
        raise UsageError(f'{error}: harness_deployer_config = {{ image = "…" }}') from error
    return Source(pull, recipe=recipe, arguments={**arguments, "BASE": base}, python=recipe.python)


def bases(dockerfile: str, arguments: Mapping[str, str]) -> list[str]:
    """The images that a Dockerfile builds upon: what its FROM lines name that is no earlier stage, with the ARG lines
    before the first of them put in (Dockerfile reference, "Understand how ARG and FROM interact")."""
    known: dict[str, str] = {}
    stages = {"scratch"}
    found: list[str] = []
    for line in re.sub(r"\\\n", " ", dockerfile).splitlines():
        words = line.split()
        if not words or words[0].upper() not in ("ARG", "FROM"):
            continue
        if words[0].upper() == "ARG" and not found:
            name, _, default = words[1].partition("=")
            known[name] = arguments.get(name, default.strip("\"'"))
        elif words[0].upper() == "FROM":
            named = [word for word in words[1:] if not word.startswith("--")]
            image = _VARIABLE.sub(lambda m: known.get(m[1] or m[3], "") or m[2] or "", named[0])
            if image not in stages and image not in found:
                found.append(image)
            stages.add(named[-1])
    return found


async def missing(engine: Engine, source: Source) -> list[str]:
    """What of it is not there and cannot be fetched either, a sentence each. Asks registries, fetches nothing."""
    problems = []
    for name in source.needed:
        there = await _look(engine, name) is not None
        if there and source.pull != "always":
            continue
        if source.pull == "never":
            problems.append(f'the image {name} is not there, and pull = "never"; {_have(name, source)}')
            continue
        try:
            await engine.ask(engine.client.inspect_distribution, name)
        except Refused as refused:
            problems.append(
                f"the image {name} {'is not there, and' if not there else ''} cannot be pulled: {refused}; "
                f"{_have(name, source)}".replace("  ", " ")
            )
    return problems


def _have(name: str, source: Source) -> str:
    option = "image" if source.recipe is None else "base"
    return f"load or build it on this engine (docker load, docker build), or name another one: option {option}"


async def ensure(engine: Engine, source: Source, chain: str, run_dir: Path) -> NodeImage:
    """Have the image, fetching and building as needed. Raises DeployError."""
    try:
        there = [await _have_image(engine, name, source.pull) for name in source.needed]
        if source.recipe is None:
            return _named(there[0], source)
        tag = await anyio.to_thread.run_sync(_tag, chain, source, [one["Id"] for one in there])
        built = await _look(engine, tag)
        if built is None:
            await engine.stream(lambda interrupt: _build(engine, interrupt, tag, chain, source, run_dir / BUILD_LOG))
            built = cast("Mapping[str, Any]", await engine.ask(engine.client.inspect_image, tag))
    except Refused as refused:
        raise DeployError(f"docker: no image: {refused}") from refused
    except OSError as error:  # a file of the recipe
        raise DeployError(f"docker: no image: {error}") from error
    return _built(built, source.recipe)


async def find(engine: Engine, source: Source, chain: str) -> NodeImage | None:
    """The image, where it is there, or was built before from what is there now. Raises InfrastructureError."""
    looked = [await _look(engine, name) for name in source.needed]
    there = [one for one in looked if one is not None]
    if len(there) < len(looked):
        return None
    if source.recipe is None:
        return _named(there[0], source)
    built = await _look(engine, await anyio.to_thread.run_sync(_tag, chain, source, [one["Id"] for one in there]))
    return _built(built, source.recipe) if built is not None else None


def _named(image: Mapping[str, Any], source: Source) -> NodeImage:
    return NodeImage(image["Id"], image["Config"].get("User") or "", source.python)


def _built(image: Mapping[str, Any], recipe: Image) -> NodeImage:
    return NodeImage(image["Id"], image["Config"].get("User") or "", recipe.python, recipe.artifacts)


async def _look(engine: Engine, name: str) -> Mapping[str, Any] | None:
    try:
        seen: Mapping[str, Any] = await engine.ask(engine.client.inspect_image, name)
    except Refused as refused:
        if refused.status == 404:
            return None
        raise
    return seen


async def _have_image(engine: Engine, name: str, pull: str) -> Mapping[str, Any]:
    there = await _look(engine, name)
    if there is not None and pull != "always":
        return there
    if pull == "never":
        raise DeployError(f'docker: the image {name} is not there, and pull = "never"')
    await engine.stream(lambda interrupt: _pull(engine, name, interrupt))
    fetched: Mapping[str, Any] = await engine.ask(engine.client.inspect_image, name)
    return fetched


def _pull(engine: Engine, name: str, interrupt: Interrupt) -> None:
    repository, tag = parse_repository_tag(name)
    for said in engine.client.pull(repository, tag or "latest", stream=True, decode=True):
        if "error" in said:
            raise DeployError(f"docker: {name} cannot be pulled: {said['error']}")
        if interrupt.stopped:
            return


def _entries(recipe: Image) -> Iterator[Entry]:
    """The build's context: the recipe, and the files beside it by name."""
    yield Entry(PurePosixPath(RECIPE), recipe.dockerfile.encode(), 0o644)
    for name, content in sorted(recipe.files.items()):
        runs = isinstance(content, Path) and content.stat().st_mode & 0o111
        yield Entry(PurePosixPath(name), content, 0o755 if runs else 0o644)


def _tag(chain: str, source: Source, base_ids: Sequence[str]) -> str:
    """The same for the same content, whatever it is built for."""
    assert source.recipe is not None
    content = hashlib.sha256(json.dumps([base_ids, sorted(source.arguments.items())]).encode())
    for chunk in pack(_entries(source.recipe)):
        content.update(chunk)
    return f"harness/{re.sub(r'[^a-z0-9]+', '-', chain.lower()).strip('-') or 'chain'}:{content.hexdigest()[:16]}"


def _build(engine: Engine, interrupt: Interrupt, tag: str, chain: str, source: Source, log: Path) -> None:
    """Build it. Given up in the middle, the engine ends and removes what it was building in."""
    assert source.recipe is not None
    with tempfile.TemporaryFile() as context, log.open("w", errors="replace") as said:
        context.writelines(pack(_entries(source.recipe)))
        context.seek(0)
        try:
            output = engine.client.build(
                fileobj=context,
                custom_context=True,
                dockerfile=RECIPE,
                tag=tag,
                rm=True,
                forcerm=True,
                decode=True,
                timeout=int(BUILD_WITHIN),
                buildargs=dict(source.arguments),
                labels={LABEL: chain},
            )
            error = _write(output, said, interrupt)
        except APIError as refused:
            error = explanation(refused)
    if error and not interrupt.stopped:
        lines = log.read_text(errors="replace").splitlines()[-QUOTED:]
        quoted = "".join(f"\n    {line}" for line in lines)
        raise DeployError(f"docker: the image for {chain} cannot be built: {error}; the end of {log}:{quoted}")


def _write(output: Iterable[Mapping[str, Any]], log: IO[str], interrupt: Interrupt) -> str:
    """Keep what a build says; returns the error that it ended with."""
    error = ""
    for line in output:
        log.write(line.get("stream") or line.get("error") or "")
        log.flush()
        error = str(line.get("error", "")) or error
        if interrupt.stopped:
            break
    return error
