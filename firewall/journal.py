"""What the log says: the gate's own fortunes, one line each, never whom a phone spoke with.

Flows, names and consents are the history's, which is sealed, kept for a time and its owner's alone. A log is copied,
sent to other machines and kept for ever.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from stat import S_ISREG
from typing import TYPE_CHECKING, Final

from firewall.events import Event, OwnerActed, PolicyChanged, PolicyKept, State, StateChanged, Trouble
from firewall.text import inert

if TYPE_CHECKING:
    from collections.abc import Iterable

ERROR, WARNING, NOTICE = 3, 4, 5  # syslog(3)
MOST: Final = 1 << 20  # bytes of a log that is a file
KEPT: Final = 1 << 16  # of them, when it is cut


def lines(events: Iterable[Event]) -> Iterable[tuple[int, str]]:
    """(level, line) of those that the log is told. Rules may hold names, so an edit is a number and a person."""
    for event in events:
        if isinstance(event, StateChanged):
            level = NOTICE if event.state in {State.ENFORCING, State.STARTING} else ERROR
            yield level, f"state={event.state} {event.reason}".rstrip()
        elif isinstance(event, Trouble):
            yield WARNING, f"trouble {event.text}"
        elif isinstance(event, PolicyChanged):
            yield NOTICE, f"rules revision={event.revision} by={event.who.name}"
        elif isinstance(event, PolicyKept):
            yield WARNING, f"rules refused, revision={event.revision} stays, by={event.who.name}"
        elif isinstance(event, OwnerActed) and event.kind != "phone":
            yield NOTICE, f"{event.kind} {event.text} by={event.who.name}"


def record(events: Iterable[Event]) -> None:
    for level, line in lines(events):
        say(line, level)


def say(text: str, level: int = NOTICE) -> None:
    """Into the gateway's log, which is standard error: a file, or the journal, which knows the time by itself and the
    level by a prefix (sd-daemon(3)).
    """
    before = f"<{level}>" if "JOURNAL_STREAM" in os.environ else f"{time.strftime('%F %T')} "
    with suppress(OSError):
        sys.stderr.write(f"{before}{inert(text)}\n")
        sys.stderr.flush()


def cut() -> None:
    """A log that is a file and has grown large keeps its end: it is not to fill a disk."""
    with suppress(OSError):
        status = os.fstat(2)
        if not S_ISREG(status.st_mode) or status.st_size <= MOST:
            return
        with open("/proc/self/fd/2", "rb") as file:  # noqa: PTH123  what it is called now, or was
            file.seek(-KEPT, os.SEEK_END)
            end = file.read()
        os.ftruncate(2, 0)
        os.write(2, end[end.find(b"\n") + 1 :])
