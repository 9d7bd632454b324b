"""python devnet.pyz --config node.json"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from pathlib import Path

from . import VERSION, config, node
from .codec import Malformed
from .misbehave import NotAllowed


def _log_to_stderr(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler])


def main() -> int:
    """Run a node; the exit status. 0: stopped by a signal. 1: a failure, with its traceback. 2: bad configuration."""
    parser = argparse.ArgumentParser(prog="devnet", description="One node of a devnet chain.")
    parser.add_argument("--config", type=Path, required=True, help="node.json; genesis.json lies beside it")
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING"])
    parser.add_argument("--version", action="version", version=VERSION)
    arguments = parser.parse_args()
    _log_to_stderr(arguments.log_level)
    try:
        settings = config.read(arguments.config.resolve())
    except (OSError, Malformed, NotAllowed) as error:
        logging.getLogger("node").error("%s", error)
        return 2
    try:
        return asyncio.run(node.run(settings))
    except (OSError, node.WrongStore) as error:
        logging.getLogger("node").error("cannot start: %s", error)
        return 2


if __name__ == "__main__":
    sys.exit(main())
