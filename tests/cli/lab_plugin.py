"""A deployer whose machines are told by their hosts' variables what to be like; copied into projects as a plugin."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from harness.api import (
    CommandTimeout,
    Completed,
    Config,
    Deployer,
    HealReport,
    InfrastructureError,
    MachineLost,
    SpecError,
    TeardownError,
    hookimpl,
)
from harness.errors import Problem
from harness.testing.fakes import FakeMachine, FakeWorld


class LabMachine(FakeMachine):
    """`like`: lost, late, refused (commands), slow (hangs), rude (hostile output), old (no Python), else fine."""

    busy, most = 0, 0

    def __init__(self, name, like, forks):
        super().__init__(FakeWorld())
        self.name, self.like, self.forks = name, like, forks

    async def run(self, argv, *, input=b"", env=None, cwd=None, timeout=60.0, become=False):
        LabMachine.busy += 1
        LabMachine.most = max(LabMachine.most, LabMachine.busy)
        try:
            return await self._run(tuple(argv), input, timeout, become)
        finally:
            LabMachine.busy -= 1

    async def _run(self, argv, input, timeout, become):
        if self.like == "wrong":
            raise SpecError([Problem("hosts.toml", 1, 1, key, "is wrong") for key in ("a", "b")])
        if self.like == "lost":
            raise MachineLost(f"{self.name}: no route to host")
        if self.like == "slow":
            await anyio.sleep(min(timeout, 60))
            text = f"{self.name}: {argv[0]} took more than {timeout:g} s and was killed"
            raise CommandTimeout(text, b"so far\n", b"so bad")
        if self.like == "refused" and become:
            raise InfrastructureError(f"{self.name}: sudo asks for a password")
        await anyio.sleep(0.01)
        out, err, code = b"", b"", 0
        if argv[0] == "date":
            out = f"{time.time() + 100:.9f}\n".encode()
        elif argv[0] == "id":
            out = b"0\n" if become else b"1000\n"
        elif argv[-1] == "-" and self.like == "old":
            err, code = b"python3: not found\n", 127
        elif self.like == "rude":
            out, err, code = b"[red]\x1b[31m\xff\n\xe2\x80\xae", b"no end", 7
        else:
            out = repr((argv, input, become)).encode() + b"\n"
        return Completed(argv, code, out, err, 0.25)


class LabConfig(Config):
    """`stuck`: what cannot be cleaned."""

    stuck: str = ""


class Lab(Deployer[LabConfig]):
    """For tests of commands."""

    name = "lab"
    Config = LabConfig
    capabilities = frozenset()

    async def inspect(self, nodes, chain, access):
        return []

    @asynccontextmanager
    async def connect(self, hosts, access):
        access.warn(hosts[0].name, "[b]the link is\nslow")
        yield {host.name: LabMachine(host.name, host.vars.get("like", ""), access.forks) for host in hosts}
        Path("most").write_text(f"{LabMachine.most} of {access.forks}")

    def deploy(self, request):
        raise NotImplementedError

    async def clean(self, run_id, run_dir):
        if self.config.stuck:
            raise TeardownError(f"lab: {self.config.stuck} is still there")
        return [f"removed {self.config.stuck or 'nothing'} of {run_id[-4:]}"]

    async def heal(self, hosts, access):
        if any(host.vars.get("like") == "lost" for host in hosts):
            raise TeardownError("lab: the table harness_x is still there")
        alone = [host.name for host in hosts if host.vars.get("like") == "held"]
        return HealReport(
            tuple(f"{host.name}: healed" for host in hosts if host.name not in alone),
            tuple(f"{name}: run [b]x\n of me: left alone" for name in alone),
        )


@hookimpl
def harness_deployers():
    return [Lab]
