"""What follows from a devnet's genesis alone, whoever made it."""

from __future__ import annotations

from harness.api import Network, NetworkSpec
from harness_devnet.client import InscriptionFormat, TransactionFormat
from harness_devnet.node.genesis import Genesis
from harness_devnet.node.lottery import Lottery

PANICS = (r"^Traceback \(most recent call last\):", r"^\S+Z CRITICAL ", r"^Fatal Python error")


class GenesisNetwork(Network):
    """A network with this genesis."""

    def __init__(self, spec: NetworkSpec, genesis: Genesis) -> None:
        self.spec = spec
        self.genesis = genesis
        self.supply = sum(genesis.balances.values())
        self._lottery = Lottery(genesis)

    def submission_format(self) -> TransactionFormat:
        return TransactionFormat()

    def data_format(self) -> InscriptionFormat:
        return InscriptionFormat()

    def promised_blocks(self, start: float, end: float) -> float:
        """The slots that begin in [start, end) and that the lottery gives a leader: exact, not the mean."""
        return sum(1 for _ in self._lottery.active_slots(self._slot_from(start), self._slot_from(end)))

    def _slot_from(self, moment: float) -> int:
        """The first slot that begins at or after this moment (Unix seconds)."""
        return -((self.genesis.time - round(moment * 1e6)) // self.genesis.slot)
