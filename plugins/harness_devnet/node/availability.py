"""The node's part in data availability: who holds, asks, answers and retries. The rules themselves are in da."""

from __future__ import annotations

import base64
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from .codec import Malformed, encode, field
from .consensus import Chain, Identity
from .da import Custodian, Dispersal, Message, Retrieval, ShareStore, TooFewShares
from .host import Host
from .misbehave import Conduct
from .relay import Relay
from .transactions import Rejected, channel_name, signed

log = logging.getLogger("da")

RETRY = 0.7
"""Seconds until an unanswered share or request is sent again, this time flooded; doubled each time for a share."""
DISPERSAL_RETRIES = 7
"""A minute and a half: a validator that comes back in that time still gets its share."""
RETRIEVAL_TIMEOUT = 3.0
"""Seconds to wait for validators before a retrieval makes do with what has come."""
LATE_ANSWERS = 5.0
"""Seconds for which answers to a finished retrieval are still checked: a wrong share counts even when it is late."""


class Availability:
    """`inscribe` takes an inscription into the mempool, passes it on and returns its id."""

    def __init__(
        self,
        chain: Chain,
        who: Identity,
        shares: ShareStore,
        host: Host,
        peers: Callable[[], Iterable[str]],
        inscribe: Callable[[Message], str],
        conduct: Conduct,
    ) -> None:
        self._chain = chain
        self._genesis = chain.genesis
        self._who = who
        self._host = host
        self._conduct = conduct
        self._inscribe = inscribe
        self._life = secrets.token_hex(4)
        self._custodian = Custodian(chain.genesis, who, shares) if who.member.role == "validator" else None
        self._dispersals: dict[str, Dispersal] = {}
        self._retrievals: dict[str, list[Retrieval]] = {}
        self.bad_shares: Counter[str] = Counter()
        self.relay = Relay(
            who.member.name,
            frozenset(member.name for member in chain.genesis.members),
            peers,
            lambda peer, message: host.send(peer, encode(message)),
            self._deliver,
        )

    def _require_executor(self) -> None:
        if self._who.member.role != "executor":
            raise Rejected("this node is no executor")

    def write_channel(self, channel: str, data: bytes) -> str:
        """Inscribe data in a channel; returns the transaction's id. Raises Malformed, Rejected."""
        self._require_executor()
        raw = {
            "kind": "channel", "chain": self._genesis.hash, "from": self._who.member.key, "channel": channel,
            "data": base64.b64encode(data).decode(), "salt": secrets.token_hex(16),
        }  # fmt: skip
        return self._inscribe(signed(raw, self._who.secret))

    def disperse(self, channel: str, blob: bytes) -> str:
        """Code a blob and send its shares; returns its id, under which it will be inscribed.

        Raises Malformed, Rejected."""
        self._require_executor()
        channel_name({"channel": channel})
        if len(blob) > self._genesis.limits.blob_bytes:
            raise Rejected(f"a blob of {len(blob)} bytes, {self._genesis.limits.blob_bytes} are allowed")
        dispersal = Dispersal.start(self._genesis, self._who, channel, blob, secrets.token_hex(16))
        self._dispersals[dispersal.id] = dispersal
        self._offer(dispersal, tries=0)
        return dispersal.id

    def _offer(self, dispersal: Dispersal, tries: int) -> None:
        missing = dispersal.missing()
        if not missing or tries > DISPERSAL_RETRIES:
            del self._dispersals[dispersal.id]
            if missing:
                names = [self._genesis.validators[share.index].name for share in missing]
                log.warning("blob %s: no attestation by %s", dispersal.id[:12], ", ".join(names))
            return
        for share in missing:
            self._ask(self._genesis.validators[share.index].name, dispersal.offer(share), flood=tries > 0)
        self._host.later(RETRY * 2**tries, lambda: self._offer(dispersal, tries + 1))

    def _ask(self, to: str, body: Message, *, flood: bool = False) -> None:
        self.relay.send(to, body, self._life, flood=flood)

    def retrieve(self, blob: str, done: Callable[[], None]) -> Retrieval:
        """Ask all validators for their shares; `done` is called once, when the result can be taken.

        Raises TooFewShares for a blob that is not inscribed."""
        record = self._chain.state.blob(blob)
        if record is None:
            raise TooFewShares("no such blob is inscribed")
        finished = False

        def finish() -> None:
            nonlocal finished
            if not finished:
                finished = True
                self._host.later(LATE_ANSWERS, lambda: self._forget(retrieval))
                done()

        retrieval = Retrieval(blob, record, self._genesis, finish)
        self._retrievals.setdefault(blob, []).append(retrieval)
        for member in self._genesis.validators:
            self._ask(member.name, {"type": "want", "blob": blob})

        def again() -> None:
            if not finished:
                for member in retrieval.silent():
                    self._ask(member.name, {"type": "want", "blob": blob}, flood=True)

        self._host.later(RETRY, again)
        self._host.later(RETRIEVAL_TIMEOUT, finish)
        return retrieval

    def _forget(self, retrieval: Retrieval) -> None:
        waiting = self._retrievals[retrieval.id]
        waiting.remove(retrieval)
        if not waiting:
            del self._retrievals[retrieval.id]

    def _deliver(self, origin: str, body: dict[str, Any]) -> None:
        try:
            self._handle(origin, body)
        except (Malformed, Rejected) as error:
            log.warning("message from %s refused: %s", origin, error)

    def _handle(self, origin: str, body: Message) -> None:
        kind = field(body, "type", str)
        if kind == "keep" and self._custodian:
            self._ask(origin, self._custodian.take(body))
        elif kind == "want" and self._custodian:
            self._ask(origin, self._altered(self._custodian.give(body)))
        elif kind == "attest":
            dispersal = self._dispersals.get(field(body, "blob", str))
            if dispersal and dispersal.attested(self._genesis, body):
                self._inscribe(dispersal.inscription())
        elif kind == "share":
            self._share_came(origin, body)
        else:
            raise Malformed(f"not for a {self._who.member.role}: {kind[:32]!r}")

    def _share_came(self, origin: str, body: Message) -> None:
        wrong = False
        for retrieval in list(self._retrievals.get(field(body, "blob", str), ())):
            wrong |= not retrieval.answered(origin, body)
        if wrong:
            self.bad_shares[origin] += 1
            log.warning("wrong share of blob %s from %s", body["blob"][:12], origin)

    def _altered(self, answer: Message) -> Message:
        """The answer as this node's conduct has it: unchanged, unless it is broken on purpose."""
        height = self._chain.head.height
        if self._conduct.breaks("withhold-shares", height):
            return {**answer, "share": None}
        if answer["share"] and self._conduct.breaks("corrupt-shares", height):
            data = bytearray(base64.b64decode(answer["share"]["data"])) or bytearray(1)
            data[0] ^= 0xFF
            return {**answer, "share": {**answer["share"], "data": base64.b64encode(data).decode()}}
        return answer
