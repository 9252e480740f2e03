"""When the terminal's bell is rung: somebody begins to wait. Whether it may is remembered for whoever looks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

QUIET_SECONDS: Final = 30.0  # between two rings: a phone that asks without end is not an alarm clock


def settings() -> Path:
    """The file whose presence silences the bell (XDG Base Directory Specification: state)."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "consentry" / "silent"


class Bell:
    """`now` is monotonic."""

    def __init__(self, silent: Path) -> None:
        self._file = silent
        self.silent = silent.exists()
        self._waiting: int | None = None
        self._rung = float("-inf")

    def hear(self, waiting: int, now: float) -> bool:
        """Whether to ring now that so many questions are open. Those that are older than the screen do not ring."""
        more = self._waiting is not None and waiting > self._waiting
        self._waiting = waiting
        if not more or self.silent or now - self._rung < QUIET_SECONDS:
            return False
        self._rung = now
        return True

    def switch(self) -> None:
        """Silence it, or let it ring again. OSError: that will not be remembered."""
        self.silent = not self.silent
        if self.silent:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.touch()
        else:
            self._file.unlink(missing_ok=True)
