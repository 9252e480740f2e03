"""Holds nothing but the gateway's process, and starts it again when it dies or hangs.

The kernel keeps the gate closed meanwhile: what it has refused stays refused, what it has allowed goes on, and what is
undecided waits or is dropped (architecture 5). The next process is told how the last one ended, for the history. One
that dies too often is started LOCKED: nothing undecided reaches it, so whatever killed it does not kill it again, and
its owner can look, and say `consentry resume`.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from firewall.journal import cut, say
from firewall.notify import notify
from firewall.settings import Settings, write_atomically

if TYPE_CHECKING:
    from types import FrameType

DEATHS: Final = 6  # within MINUTE: something is wrong that starting again does not mend
MINUTE: Final = 60.0
BACK_OFF: Final = (0.0, 0.05, 0.2, 0.5, 1.0)  # seconds before the next start, by deaths within the minute
STEP: Final = 1.0  # seconds; hanging is counted in steps, so that time in which this process slept too does not count
HANGS: Final = 10  # steps without a sign of life
STARTS: Final = 180  # steps until the first one: a large policy takes its time, and so does a small box that boots


class Supervisor:
    """`settings` is the file that firewall.app reads. Runs until SIGTERM, SIGINT or SIGHUP."""

    def __init__(self, settings: Path) -> None:
        read = Settings.read(settings)
        self._pid_file, self._locked_file = read.supervisor_pid_file, read.locked_file
        self._command = [sys.executable, "-P", "-m", "firewall.app", str(settings)]
        self._child: subprocess.Popen[bytes] | None = None
        self._ending = False

    def run(self) -> int:
        """Exit status: 0 after a signal, 2 if the gateway says that starting it again is of no use."""
        self._pid_file.parent.mkdir(parents=True, exist_ok=True)
        with self._pid_file.with_suffix(".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                say(f"another gateway runs already: {lock.name} is locked")
                return 2
            return self._supervise()

    def _supervise(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._end)
        write_atomically(self._pid_file, f"{os.getpid()}\n")
        deaths: deque[float] = deque(maxlen=DEATHS)
        how = ""
        while not self._ending:
            status, how = self._live(how)
            if self._ending or status == 0:
                break
            if status == 2:  # it has said what the machine lacks
                return status
            deaths.append(time.monotonic())
            recent = sum(died > deaths[-1] - MINUTE for died in deaths)
            if recent >= DEATHS:
                self._lock(f"the gateway died {recent} times within a minute; the last time it {how}")
            else:
                say(f"the gateway {how}; starting it again")
                self._pause(BACK_OFF[min(recent, len(BACK_OFF)) - 1])
        return 0

    def _live(self, before: str) -> tuple[int, str]:
        """One process from its start to its end: its exit status, and in words how it ended. `before` is for it."""
        if "WATCHDOG_USEC" in os.environ:  # systemd's patience is for a gate that decides, not for one that begins
            notify(f"WATCHDOG_USEC={int((STARTS + MINUTE + HANGS) * 1e6)}".encode())
        killed_before = out_of_memory_kills()
        mine, its = os.pipe()
        self._child = subprocess.Popen([*self._command, str(its), before], pass_fds=[its])
        os.close(its)
        hung = self._watch(self._child, mine)
        status = self._child.wait()
        os.close(mine)
        if hung:
            return status, f"did not move for {hung} s and was killed"
        if status >= 0:
            return status, f"ended with status {status}"
        with suppress(ValueError):
            how = f"was killed by {signal.Signals(-status).name}"
            if -status == signal.SIGKILL and out_of_memory_kills() > killed_before:
                how += ", for lack of memory as it seems"
            return status, how
        return status, f"was killed by signal {-status}"

    def _watch(self, child: subprocess.Popen[bytes], signs: int) -> int:
        """Until it has ended. It is killed after so many seconds without a sign of life; else 0.

        Signs end with a zero byte; what stands before it is for systemd.
        """
        patience, missed, begun = STARTS, 0, b""
        end = os.pidfd_open(child.pid)
        try:
            while end not in (ready := select.select([end, signs], [], [], STEP)[0]):
                cut()
                if signs in ready and (given := os.read(signs, 4_096)):
                    patience, missed = HANGS, 0
                    *told, begun = (begun + given).split(b"\0")
                    for words in told:
                        notify(words)
                    continue
                if signs in ready:  # closed: it is about to end, or it is a stranger's program that gives none
                    return 0
                missed += 1
                if missed >= patience:
                    child.kill()
                    return missed
        finally:
            os.close(end)
        return 0

    def _lock(self, reason: str) -> None:
        if self._locked_file.exists():  # and dies nevertheless
            say(f"LOCKED: {reason}; next try in {MINUTE:.0f} s")
            self._pause(MINUTE)
            return
        say(f"LOCKED: {reason}")
        try:
            write_atomically(self._locked_file, reason)
        except OSError as error:
            say(f"{self._locked_file}: {error.strerror}; next try in {MINUTE:.0f} s")
            self._pause(MINUTE)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._ending and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self._ending = True
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()


def out_of_memory_kills() -> int:
    """How often the kernel has killed a process for lack of memory since the machine started (proc_vmstat(5))."""
    with suppress(OSError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


if __name__ == "__main__":
    sys.exit(Supervisor(Path(sys.argv[1])).run())
