"""`python -m harness_cometbft.install [--into DIR]`: build the pinned CometBFT release with `go install`."""

from __future__ import annotations

import argparse
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.api import InfrastructureError, UsageError
from harness_cometbft.binary import MODULE, RELEASE, TOOLS, find_go, problem


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def install(into: Path = TOOLS, say: Callable[[str], None] = _to_stderr) -> Path:
    """Build CometBFT into the folder `into`, unless a usable one is there; the binary's path.

    Safe to call from several processes at once. The build is static, so that the same file runs in any Linux
    container. Raises UsageError when Go is missing and InfrastructureError when the build fails."""
    into = into.resolve()
    binary = into / "cometbft"
    into.mkdir(parents=True, exist_ok=True)
    with (into / ".cometbft.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if binary.is_file() and not problem(binary):
            say(f"cometbft: {binary} is there")
            return binary
        go = find_go()
        if go is None:
            raise UsageError(f"cometbft: Go is needed to build {MODULE}; install it from https://go.dev/dl, then retry")
        say(f"cometbft: building {RELEASE} with {go}, about a minute ...")
        environment = {**os.environ, "GOBIN": str(into), "CGO_ENABLED": "0"}
        built = subprocess.run([go, "install", "-ldflags=-s -w", MODULE], env=environment, check=False)
        if built.returncode != 0:
            raise InfrastructureError(f"cometbft: `go install {MODULE}` ended with status {built.returncode}")
        if why := problem(binary):
            raise InfrastructureError(f"cometbft: built, but {why}")
        say(f"cometbft: built {binary}")
        return binary


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m harness_cometbft.install", description=f"Build {MODULE}.")
    parser.add_argument("--into", type=Path, default=TOOLS, metavar="DIR", help="folder for the binary (%(default)s)")
    try:
        install(parser.parse_args(arguments).into)
    except (UsageError, InfrastructureError) as error:
        _to_stderr(str(error))
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
