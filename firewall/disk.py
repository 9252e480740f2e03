"""A disk that hangs: what was begun on it neither ends nor fails, so nobody would hear of it."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

STUCK_SECONDS: Final = 10.0  # a slow card in a busy moment needs less


class Disk:
    """One file's, on which one thing is done at a time. It may be looked at from any thread."""

    def __init__(self) -> None:
        self._began: float | None = None  # by a clock that never jumps

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        self._began = time.monotonic()
        try:
            yield
        finally:
            self._began = None

    @property
    def stuck(self) -> str:
        """In words; "" while it answers, or nothing is asked of it."""
        began = self._began
        if began is None or (seconds := time.monotonic() - began) < STUCK_SECONDS:
            return ""
        return f"the disk has not answered for {seconds:.0f} s"
