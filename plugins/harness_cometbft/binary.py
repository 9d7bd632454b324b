"""Where the `cometbft` binary is, and whether it is of the release series that this plugin speaks to."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from harness.api import UsageError

RELEASE = "v0.38.19"
"""The release that `harness_cometbft.install` builds."""

SERIES = "0.38."
"""Releases whose RPC and files are those that this plugin knows: any patch level of it will do."""

MODULE = f"github.com/cometbft/cometbft/cmd/cometbft@{RELEASE}"
TOOLS = Path(".tools/bin")
INSTALL_COMMAND = "python -m harness_cometbft.install"
_VERSION_TIMEOUT = 10.0
_ELF_MACHINES = {62: "x86_64", 183: "aarch64", 243: "riscv64"}


@functools.lru_cache
def _version(path: Path, modified: int) -> str:
    """What `cometbft version` prints. `modified` makes the cache forget a binary that was replaced.

    Raises OSError when it cannot be run and subprocess.SubprocessError when it fails."""
    done = subprocess.run([path, "version"], capture_output=True, check=True, timeout=_VERSION_TIMEOUT)
    return done.stdout.decode(errors="replace").strip()


def problem(path: Path) -> str:
    """Why the file at `path` cannot be used, "" if it can."""
    try:
        version = _version(path, path.stat().st_mtime_ns)
    except FileNotFoundError:
        return f"{path}: there is no such file"
    except (OSError, subprocess.SubprocessError) as error:
        return f"{path}: `cometbft version` failed: {error}"
    if not version.removeprefix("v").startswith(SERIES):
        return f"{path}: it is version {version}; {SERIES}x is needed"
    return ""


def _usual_places() -> Iterator[Path]:
    """`.tools/bin` of this folder and those above it, PATH, then where `go install` puts binaries."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        yield folder / TOOLS / "cometbft"
    if found := shutil.which("cometbft"):
        yield Path(found)
    if gobin := os.environ.get("GOBIN"):
        yield Path(gobin) / "cometbft"
    for gopath in os.environ.get("GOPATH", str(Path.home() / "go")).split(os.pathsep):
        yield Path(gopath) / "bin" / "cometbft"


def find(configured: str | None = None) -> Path:
    """The binary: `configured`, else $HARNESS_COMETBFT, else the first usable one in the usual places.

    Raises UsageError, saying what to do, when the named one is unusable or when there is none."""
    named = configured or os.environ.get("HARNESS_COMETBFT")
    if named:
        path = Path(named).expanduser().resolve()
        if why := problem(path):
            raise UsageError(f"cometbft: {'binary' if configured else 'HARNESS_COMETBFT'}: {why}")
        return path
    unusable = []
    for path in filter(Path.is_file, _usual_places()):
        if not (why := problem(path)):
            return path.resolve()
        unusable.append(why)
    passed_over = f" (passed over: {'; '.join(unusable)})" if unusable else ""
    raise UsageError(
        f"cometbft: the binary was not found{passed_over}; run `{INSTALL_COMMAND}` (it needs Go), "
        "or set HARNESS_COMETBFT or the chain's option `binary` to its path"
    )


def architecture(path: Path) -> str:
    """Which Linux machines can run it, as uname(1) calls them; "" where that is none that is known here (elf(5))."""
    with path.open("rb") as file:
        header = file.read(20)
    if header[:4] != b"\x7fELF" or len(header) < 20:
        return ""
    return _ELF_MACHINES.get(int.from_bytes(header[18:20], "little" if header[5] == 1 else "big"), "")


def find_go() -> Path | None:
    """The `go` command: on PATH, or where its installer puts it."""
    usual = Path("/usr/local/go/bin/go")
    found = shutil.which("go")
    return Path(found) if found else usual if usual.is_file() else None
