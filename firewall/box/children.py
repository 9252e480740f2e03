"""Programs that the keeper starts and holds: with what they say, whether they work, why they ended."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from firewall.box.words import Fault, fault, not_installed, slow
from firewall.text import inert

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

UP, STARTING, FAILED, OFF = "up", "starting", "failed", "off"
BACK_OFF: Final = (0.5, 1.0, 2.0, 5.0, 15.0, 30.0)  # seconds until the next try, by deaths in a row
SLOW_SECONDS: Final = 20.0  # without having come up: then it is said what it said last
SOUND_SECONDS: Final = 60.0  # up for so long: what died before is forgotten
LINES: Final = 40  # of what it says that are kept
END_SECONDS: Final = 3.0
PR_SET_PDEATHSIG: Final = 1  # prctl(2)
DISABLED: Final = "AP-DISABLED"  # hostapd lives on without an access point (wpa_ctrl.h)
_LIBC: Final = ctypes.CDLL(None)


class Child:
    """One of them. `is_up(line)` says whether a line means that it works. `say` gets every line."""

    def __init__(self, name: str, is_up: Callable[[str], bool], say: Callable[[str], None], **places: str) -> None:
        self.name = name
        self.state = OFF
        self.fault = Fault("", "")
        self.since = time.time()
        self._is_up, self._say, self._places = is_up, say, places
        self._process: subprocess.Popen[bytes] | None = None
        self._said: deque[str] = deque(maxlen=LINES)
        self._rest = b""
        self._deaths = 0
        self._began = self._next = 0.0  # monotonic

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    def keep(self, argv: Sequence[str]) -> None:
        """One step: start it if it is time to, hear what it says, see whether it has ended. Never waits."""
        if self._process is None:
            if time.monotonic() >= self._next:
                self._start(argv)
            return
        self._listen()
        if self._process.poll() is None:
            if self.state == STARTING and time.monotonic() - self._began > SLOW_SECONDS:
                self._become(STARTING, slow(self.name, self._said))
            if self.state == UP and time.monotonic() - self._began > SOUND_SECONDS:
                self._deaths = 0
            return
        self._listen()
        self._gone(fault(self.name, list(self._said), **self._places))

    def lack(self, found: Fault) -> None:
        """It cannot run for now, and not through its own fault; it is started as soon as that is over."""
        if (self.state, self.fault, self._process) == (FAILED, found, None):
            return
        self.end()
        self._become(FAILED, found)
        self._deaths, self._next = 0, 0.0

    def end(self) -> None:
        """Waits for it, at most END_SECONDS."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout:
                process.stdout.close()
        self._become(OFF, Fault("", ""))

    def told(self) -> dict[str, Any]:
        return {
            "state": self.state, "reason": self.fault.reason, "remedy": self.fault.remedy, "since": self.since,
            "pid": self.pid,
        }

    def _start(self, argv: Sequence[str]) -> None:
        self._said.clear()
        self._rest = b""
        self._began = time.monotonic()
        try:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                preexec_fn=_die_with_us,  # noqa: PLW1509  no threads here
            )
        except FileNotFoundError:
            self._gone(not_installed(self.name))
            return
        except OSError as error:
            self._gone(Fault(f"{self.name} cannot be started: {error.strerror}", "see the reason"))
            return
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        if self.state != FAILED:  # a failure stays on the screen until it is over
            self._become(STARTING, Fault("", ""))

    def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with suppress(BlockingIOError):
            while data := os.read(self._process.stdout.fileno(), 1 << 16):
                *lines, self._rest = (self._rest + data[-(1 << 16):]).split(b"\n")
                for line in lines:
                    self._hear(line.decode(errors="replace"))
        self._rest = self._rest[-(1 << 12):]

    def _hear(self, line: str) -> None:
        self._said.append(line)
        self._say(f"{self.name}: {inert(line)}")
        if self._is_up(line):
            self._become(UP, Fault("", ""))
        elif self.state == UP and DISABLED in line:  # radar, or a driver that gives up; it may come back by itself
            self._become(FAILED, fault(self.name, list(self._said), **self._places))

    def _gone(self, found: Fault) -> None:
        if self._process is not None and self._process.stdout:
            self._process.stdout.close()
        self._process = None
        self._next = time.monotonic() + BACK_OFF[min(self._deaths, len(BACK_OFF) - 1)]
        self._deaths += 1
        self._become(FAILED, found)

    def _become(self, state: str, found: Fault) -> None:
        if (state, found) != (self.state, self.fault):
            self.state, self.fault, self.since = state, found, time.time()


def _die_with_us() -> None:
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
