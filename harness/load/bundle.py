"""sender.pyz: what sends, as one file for another machine. The same installation gives the same bytes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from harness.load.station import LIBRARIES

NAME = "sender.pyz"
OURS = (
    "__init__", "arrivals", "connection", "flight", "h11_parser", "job", "loops", "parser", "sender", "server", "shots",
    "station", "tally", "ticker", "wire", "worker",
)  # fmt: skip
PURE = ("h11",)
COMPILED = ("httptools", "uvloop")
"""Only for machines like this one: on others senders do without, at a third of the speed."""
_SUFFIXES = (".py", ".so")
_MAIN = b"import sys\n\nfrom harness.load.station import main\n\nmain(sys.argv)\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)


@lru_cache(maxsize=1)
def sender_pyz() -> bytes:
    """The zip application, for any Python 3.11. Takes about a second: to be called in a thread."""
    files = {"__main__.py": _MAIN, "harness/__init__.py": b""}
    here = Path(__file__).parent
    files |= {f"harness/load/{name}.py": (here / f"{name}.py").read_bytes() for name in OURS}
    for package in PURE:
        files |= {name: content for name, content in _package(package) if name.endswith(".py")}
    for package in COMPILED:
        files |= {f"{LIBRARIES}/{name}": content for name, content in _package(package)}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in sorted(files.items()):
            info = zipfile.ZipInfo(name, date_time=_EPOCH)
            info.external_attr = 0o644 << 16
            info.create_system = 3
            archive.writestr(info, content, zipfile.ZIP_DEFLATED, 6)
    return buffer.getvalue()


def _package(name: str) -> Iterator[tuple[str, bytes]]:
    """Its files that a program needs, by their paths; none where it is not installed."""
    spec = find_spec(name)
    for folder in map(Path, spec.submodule_search_locations or () if spec is not None else ()):
        for path in sorted(folder.rglob("*")):
            if path.suffix in _SUFFIXES and "tests" not in path.parts:
                yield f"{name}/{path.relative_to(folder).as_posix()}", path.read_bytes()
