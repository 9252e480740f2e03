"""A file that only takes up room. On a full disk SQLite cannot even delete, for its log has to grow. This makes way."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

BYTES: Final = 2 << 20  # more than the log takes up (schema.LOG_PAGES)
SHARE: Final = 3  # it takes at most the third part of what is free


class Ballast:
    def __init__(self, beside: Path) -> None:
        self._file = beside.with_name(beside.name + ".ballast")

    def put(self) -> None:
        """If it is not there and there is room enough. Never raises."""
        with contextlib.suppress(OSError):
            if self._file.exists():
                return
            disk = os.statvfs(self._file.parent)
            if disk.f_bavail * disk.f_frsize < BYTES * SHARE:
                return
            part = self._file.with_suffix(".part")
            part.write_bytes(bytes(BYTES))
            part.rename(self._file)

    def scarce(self) -> bool:
        """Whether so little is free that the log could stop growing, and emptying it with that. Never raises."""
        with contextlib.suppress(OSError):
            disk = os.statvfs(self._file.parent)
            return disk.f_bavail * disk.f_frsize < BYTES
        return False

    def drop(self) -> None:
        """Never raises."""
        with contextlib.suppress(OSError):
            self._file.unlink(missing_ok=True)
