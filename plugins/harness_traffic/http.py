"""The workload `http`: any HTTP service under load."""

from __future__ import annotations

import math
import random
import re
import string
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from harness.api import (
    NO_LANE,
    Context,
    DefaultExpectation,
    Header,
    Job,
    Node,
    PlanView,
    Profile,
    Result,
    Secret,
    SenderAccount,
    Senders,
    Shot,
    Taken,
    Target,
    Told,
    UsageError,
    Workload,
    missing_secrets,
    request_head,
    revealed,
)
from harness_traffic.openloop import confess
from harness_traffic.schedule import ScheduleConfig
from harness_traffic.sending import FOR_EVER, Sending
from harness_traffic.trust import CertificateFile, certificates

PLACES = ("node", "host", "port", "endpoint")
FILLED = ("number", "random")
AHEAD = 3.0
"""Seconds of load whose bodies are made before they are due: how many went out is told every second."""
LEAST_AHEAD, MOST_AHEAD = 1000, 200_000
MOST_BYTES_AHEAD = 64 << 20
_TEMPLATE = re.compile(r"\$(\$|\{(?P<name>[^}]*)\}|(?P<bare>[a-zA-Z_]\w*)|(?P<stray>))")


def _url(value: str) -> str:
    if unknown := sorted(set(re.findall(r"\{(.*?)\}", value)) - set(PLACES)):
        raise ValueError(f"{{{unknown[0]}}} is no place in a url; there are {', '.join(f'{{{p}}}' for p in PLACES)}")
    if not re.match(r"https?://[^/?#]", value) or not value.isprintable() or " " in value:
        raise ValueError(f"{value!r} is no url; write http://… or https://…")
    if not value.isascii():
        raise ValueError(f"{value!r}: in a url, what is not ASCII is written as %XX, and in a host's name as xn--…")
    filled = value
    for place, example in zip(PLACES, ("n", "h", "1", "h:1"), strict=True):
        filled = filled.replace(f"{{{place}}}", example)
    parts = urlsplit(filled)
    if "@" in parts.netloc:
        raise ValueError("who asks does not belong in a url: give the header Authorization")
    try:
        whole = parts.hostname and parts.port != 0
    except ValueError:
        whole = False
    if not whole:
        raise ValueError(f"{value!r} is no url: there is no such host or port")
    return value


def _header_name(value: str) -> str:
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", value):
        raise ValueError(f"{value!r} is no header's name")
    if value.lower() in ("content-length", "transfer-encoding"):
        raise ValueError(f"{value} is the sender's affair: it knows how long the body is")
    return value


def _header_value(value: str | Secret) -> str | Secret:
    if isinstance(value, str) and not all(ord(character) < 256 for character in value):
        raise ValueError(f"{value!r}: a header's value has no other characters than those of Latin-1")
    return value


def _body(value: str) -> str:
    for match in _TEMPLATE.finditer(value):
        name = match["name"] if match["name"] is not None else match["bare"]
        if match["stray"] is not None or (name is not None and name not in FILLED):
            raise ValueError(
                f"{match[0]!r} cannot be filled in; there are {', '.join('${' + n + '}' for n in FILLED)}, "
                f"and $$ for a dollar sign"
            )
    return value


class HttpConfig(ScheduleConfig):
    """Options of `http`."""

    url: Annotated[str, AfterValidator(_url)] = Field(
        description="where to send; {endpoint}, {host}, {port} and {node} are those of each node, in turn"
    )
    nodes: str = Field("all", description="of which nodes, where the url has such a place: a node pattern")
    port: str = Field("", description="at which of their ports, by the chain's names; without, that of their API")
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = Field("GET", description="how to ask")
    headers: dict[Annotated[str, AfterValidator(_header_name)], Annotated[Header, AfterValidator(_header_value)]] = (
        Field({}, description="what to send along; values may be { env = … }, { file = … }")
    )
    body: Annotated[str, AfterValidator(_body)] = Field(
        "", description="what to send; ${number} counts the requests, ${random} is 16 hexadecimal digits of the seed's"
    )
    status: list[Annotated[int, Field(ge=200, le=599)]] = Field(
        [200], min_length=1, description="which answers are good ones"
    )
    connections: int = Field(8, ge=0, le=10_000, description="connections to each target that are opened beforehand")
    verify: bool = Field(True, description="check the certificates of https")
    ca: CertificateFile = Field(
        "", description="a file of certificates (PEM): who may have signed that of https, instead of the machine's own"
    )


class Http(Workload[HttpConfig]):
    """Sends HTTP requests at a rate to a service, or to each node in turn, and counts what comes back.

    Open loop: the moments of sending are fixed in advance, and slow answers do not delay them. HTTP/1.1 with
    connections that are kept; a new one is opened when all are in use, so that what is in flight is bounded by
    `max_in_flight` alone. Accepted is what got a good answer, rejected what got another; a lost connection and a
    server that is not there fail. Latencies run from the intended moment to the last byte of the answer."""

    name = "http"
    sends = True
    Config = HttpConfig

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        self._feeder: _Feeder | None = None

    def expectations(self) -> Sequence[DefaultExpectation]:
        return (DefaultExpectation("http-load"),)

    @property
    def _of_nodes(self) -> bool:
        return "{" in self.config.url

    def check(self, ctx: PlanView) -> Sequence[str]:
        wrong = [*self.config.problems(ctx), *missing_secrets(self.config.headers.values()), *self._distrust()]
        return wrong or (ctx.unmatched("nodes", self.config.nodes) if self._of_nodes else ())

    def _distrust(self) -> Iterator[str]:
        """What is wrong with `ca`."""
        config = self.config
        if config.ca and not (config.verify and config.url.startswith("https:")):
            yield "ca is there to check certificates of https with; take it out, or ask for these"
        elif config.ca:
            try:
                certificates(config.ca)
            except UsageError as error:
                yield str(error)

    def describe(self, ctx: PlanView) -> str:
        total = round(self.config.profile(ctx.block_interval, ctx.duration).amount)
        return f"{self.config.told(ctx)} to {self.config.url}, {total} requests in all"

    async def prepare(self, ctx: Context) -> None:
        """Start what sends. Raises InfrastructureError, also for a header whose secret is not to be had; UsageError
        for one that cannot be sent, for a port that nodes have not, and for certificates that are gone."""
        config = self.config
        nodes = ctx.select(config.nodes) if self._of_nodes else ()
        headers = await revealed(config.headers)
        trusted = certificates(config.ca) if config.ca else ""
        profile = config.profile(ctx.block_interval, FOR_EVER)
        fixed = not _TEMPLATE.search(config.body)
        job = Job(
            tuple(self._target(ctx, node, headers, trusted) for node in nodes or (None,)),
            Taken(tuple(config.status)),
            config.submit_timeout,
            config.max_in_flight,
            config.connections,
            idempotent=config.method not in ("POST", "PATCH"),
            repeat=config.body.encode() if fixed else None,
        )
        processes = await ctx.keep(ctx.senders(job, profile.peak, config.senders))
        for why in processes.unreachable:
            ctx.warn(f"not to be reached beforehand: {why}")
        account = ctx.tracker(ctx.component).sent_by(processes.machines, followed=False)
        bodies = iter(()) if fixed else _bodies(config.body, ctx.rng("body"))
        self._feeder = _Feeder(ctx, config, nodes, processes, account, bodies)
        await self._feeder.fill(profile)

    async def run(self, ctx: Context) -> None:
        assert self._feeder is not None
        await self._feeder.run()
        confess(ctx, ctx.tracker(ctx.component))

    def _target(self, ctx: Context, node: Node | None, headers: dict[str, str], trusted: str) -> Target:
        config, url = self.config, self.config.url
        if node is not None:
            ports = ctx.chain.roles[node.spec.role].ports
            if config.port and config.port not in ports:
                raise UsageError(f"port = {config.port}: {node.name} has no such port; it has {', '.join(ports)}")
            at = ctx.sent_to(node, config.port)
            host = f"[{at.host}]" if ":" in at.host else at.host
            for place, value in zip(PLACES, (node.name, host, str(at.port), str(at)), strict=True):
                url = url.replace(f"{{{place}}}", value)
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            head = request_head(config.method, path, parts.netloc, headers)
        except ValueError as error:
            raise UsageError(str(error)) from None
        return Target(
            url if node is None else node.name,
            parts.hostname or "",
            parts.port or (443 if tls else 80),
            head,
            tls,
            config.verify,
            ca=trusted,
        )


def _bodies(template: str, rng: random.Random) -> Iterator[bytes]:
    """One after the other, filled in."""
    filled = string.Template(template)
    number = 0
    while True:
        yield filled.substitute(number=number, random=f"{rng.getrandbits(64):016x}").encode()
        number += 1


class _Feeder:
    """Makes bodies ahead of the load, and keeps the account."""

    def __init__(
        self,
        ctx: Context,
        config: HttpConfig,
        nodes: Sequence[Node],
        processes: Senders,
        account: SenderAccount,
        bodies: Iterator[bytes],
    ) -> None:
        self._ctx = ctx
        self._config = config
        self._senders = processes
        self._account = account
        self._bodies = bodies
        self._nodes = nodes
        self._fed = 0

    async def fill(self, profile: Profile, at: float = 0.0) -> None:
        """Feed what is due in the next seconds, and is not there yet. After a pause that is also what was due in it."""
        total = self._account.total
        due = profile.due_until(at + AHEAD) - total.offered
        most = min(MOST_AHEAD, MOST_BYTES_AHEAD // (len(self._config.body) + 1) + 1)
        wanted = total.started + min(most, max(LEAST_AHEAD, math.ceil(due))) - self._fed
        shots = [Shot(self._fed + n, NO_LANE, 0, body) for n, body in zip(range(wanted), self._bodies, strict=False)]
        self._fed += len(shots)
        if shots:
            await self._senders.feed(shots)

    async def run(self) -> None:
        tracker = self._ctx.tracker(self._ctx.component)
        sending = Sending(self._ctx, self._config, self._nodes, self._config.port)
        await sending.run(self._senders, tracker, self, self._keep_ahead)

    async def _keep_ahead(self) -> None:
        ctx = self._ctx
        profile = self._config.profile(ctx.block_interval, ctx.deadline - ctx.window.start)
        while True:
            await self.fill(profile, ctx.clock.now() - ctx.window.start)
            await ctx.clock.sleep(AHEAD / 6)

    def heard(self, sender: int, results: Sequence[Result]) -> None:
        """Fates are not asked for one by one."""

    def told(self, sender: int, told: Told) -> None:
        self._account.told(sender, told)
