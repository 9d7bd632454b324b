"""Files that may be anything: a folder of runs is shared, and what lies in it was put there by others, too."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


class NotRegularError(OSError):
    """It is a folder, a pipe, a device."""


def open_regular(path: Path) -> BinaryIO:
    """Open a file to be read. Raises OSError, NotRegularError where it is none: a pipe would be waited for, without
    end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegularError(errno.EINVAL, "is no regular file", str(path))
    return os.fdopen(descriptor, "rb")
