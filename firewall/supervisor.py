"""Holds nothing but the gateway's process, and starts it again when it dies.

The kernel keeps the gate closed meanwhile: what it has refused stays refused, what it has allowed goes on, and what is
undecided waits or is dropped (architecture 5).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

from firewall.settings import Settings, write_atomically

if TYPE_CHECKING:
    from types import FrameType

DEATHS: Final = 6  # within MINUTE: something is wrong that starting again does not mend
MINUTE: Final = 60.0
BACK_OFF: Final = (0.0, 0.05, 0.2, 0.5, 1.0)  # seconds before the next start, by deaths within the minute


class Supervisor:
    """`settings` is the file that firewall.app reads. Runs until SIGTERM, SIGINT or SIGHUP."""

    def __init__(self, settings: Path) -> None:
        self._pid_file = Settings.read(settings).supervisor_pid_file
        self._command = [sys.executable, "-P", "-m", "firewall.app", str(settings)]
        self._child: subprocess.Popen[bytes] | None = None
        self._ending = False

    def run(self) -> int:
        """Exit status: 0 after a signal, 2 if the gateway says that starting it again is of no use."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._end)
        write_atomically(self._pid_file, f"{os.getpid()}\n")
        deaths: deque[float] = deque(maxlen=DEATHS)
        while not self._ending:
            self._child = subprocess.Popen(self._command)
            status = self._child.wait()
            if self._ending or status == 0:
                break
            if status == 2:  # it has said what the machine lacks
                return status
            deaths.append(time.monotonic())
            recent = sum(died > deaths[-1] - MINUTE for died in deaths)
            if recent >= DEATHS:
                say(f"LOCKED: the gateway died {recent} times within a minute; next try in {MINUTE:.0f} s")
                self._pause(MINUTE)
            else:
                say(f"the gateway ended with status {status}; starting it again")
                self._pause(BACK_OFF[min(recent, len(BACK_OFF)) - 1])
        return 0

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._ending and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self._ending = True
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()


def say(text: str) -> None:
    """Into the gateway's log, which is this process's standard error."""
    sys.stderr.write(f"{time.strftime('%F %T')} {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(Supervisor(Path(sys.argv[1])).run())
