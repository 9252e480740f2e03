"""Starting a gateway in the background, and ending it. Used by `consentry run` and by the lab."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from firewall import control

if TYPE_CHECKING:
    from collections.abc import Sequence

    from firewall.settings import Settings

READY_SECONDS = 20.0
END_SECONDS = 5.0


class NotStartedError(Exception):
    """The gateway did not come up; the text is what it said last."""


def start(settings: Settings, wrap: Sequence[str] = ()) -> dict[str, Any]:
    """Start a supervised gateway in a session of its own and wait until it enforces, or says why it is LOCKED.

    `wrap` stands before the command (`ip netns exec ...`). Returns the gateway's status. Raises NotStartedError.
    """
    file = settings.write()
    Path(settings.state_dir).mkdir(parents=True, exist_ok=True)
    with settings.log_file.open("ab") as log:
        began = log.tell()
        process = subprocess.Popen(
            [*wrap, sys.executable, "-P", "-m", "firewall.supervisor", str(file)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        status = status_of(settings.socket)
        if status is not None and status["state"] != "STARTING":
            return status
        time.sleep(0.05)
    with settings.log_file.open("rb") as log:
        log.seek(began)
        said = log.read().decode(errors="replace").strip()
    raise NotStartedError(said.splitlines()[-1] if said else f"no answer within {READY_SECONDS:.0f} s")


def status_of(socket: Path) -> dict[str, Any] | None:
    """What the gateway at `socket` says of itself; None if none answers."""
    try:
        with control.connect(socket) as client:
            return client.ask("status").done
    except (control.NoGateway, control.Refused):
        return None


def end(settings: Settings) -> bool:
    """End the supervisor and with it its gateway. The gate stays closed. False if none was running."""
    try:
        pid = int(settings.supervisor_pid_file.read_text())
        supervisor = os.pidfd_open(pid)
    except (OSError, ValueError):
        return False
    try:
        if b"firewall.supervisor" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            return False  # it died without a word, and its number is somebody else's by now
        signal.pidfd_send_signal(supervisor, signal.SIGTERM)
        select.select([supervisor], [], [], END_SECONDS)  # readable once it has ended (pidfd_open(2))
    finally:
        os.close(supervisor)
    settings.supervisor_pid_file.unlink(missing_ok=True)
    return True
