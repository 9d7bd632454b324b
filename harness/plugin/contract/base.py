"""What every plugin class has in common."""

from __future__ import annotations

import enum
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """Base of every plugin's options. An unknown key is an error; values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoConfig(Config):
    """For plugins without options."""


ConfigT = TypeVar("ConfigT", bound=Config)


class Plugin(Generic[ConfigT]):
    """A named class with a `Config` model and a docstring that `harness plugins doc NAME` shows."""

    name: ClassVar[str]
    Config: ClassVar[type[Any]] = NoConfig

    def __init__(self, config: ConfigT) -> None:
        self.config = config


class Capability(enum.StrEnum):
    """What a chain's client can do. A playbook that needs one which its chain lacks fails in plan."""

    TRANSACTIONS = "transactions"  # submit, and see inclusion in blocks
    TRANSFERS = "transfers"  # transactions move value between wallets
    BALANCES = "balances"  # balance and nonce of a wallet
    BLOBS = "blobs"  # data-availability channels and blobs
    FINALITY = "finality"  # blocks become final
    MEMPOOL = "mempool"  # pending transactions can be counted


class MachineCapability(enum.StrEnum):
    """What a deployer's machines can do to nodes and links."""

    NODE_CONTROL = "node-control"  # start, stop, kill, restart
    PAUSE = "pause"  # suspend and resume a node's processes
    COMMANDS = "commands"  # run commands and hold files
    LAUNCH = "launch"  # start a node otherwise, with other arguments or another environment: the core's doing
    CLOCK = "clock"  # start a node with a clock of its own, by libfaketime
    OWN_DISK = "own-disk"  # a file system of its own, of a given size, for each node
    LINK_CONTROL = "link-control"  # cut and mend the traffic from one node to another
    LINK_DELAY = "link-delay"  # delay it
    LINK_RATE = "link-rate"  # let no more than so many bytes a second of it pass
    LINK_LOSS = "link-loss"  # lose a share of its packets
