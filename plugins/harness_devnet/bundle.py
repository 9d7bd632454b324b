"""devnet.pyz: the node package as one file that any Python 3.11 runs. The same source gives the same bytes."""

from __future__ import annotations

import io
import zipfile
from functools import lru_cache
from importlib import resources

NAME = "devnet.pyz"

_MAIN = b"import sys\n\nfrom devnet.__main__ import main\n\nsys.exit(main())\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)


@lru_cache(maxsize=1)
def devnet_pyz() -> bytes:
    """The zip application: modules in order of name, with fixed times and modes."""
    package = resources.files("harness_devnet") / "node"
    sources = {f"devnet/{entry.name}": entry.read_bytes() for entry in package.iterdir() if entry.name.endswith(".py")}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in sorted({**sources, "__main__.py": _MAIN}.items()):
            info = zipfile.ZipInfo(name, date_time=_EPOCH)
            info.external_attr = 0o644 << 16
            info.create_system = 3
            archive.writestr(info, content, zipfile.ZIP_STORED)
    return buffer.getvalue()
