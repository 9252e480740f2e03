"""A screen without a terminal ends: nobody can see it, and reading from what is gone never waits."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS: Final = 1.0  # to end in good order; writing to a terminal that is gone may wait for ever


def end_with_terminal(end: Callable[[int], object]) -> None:
    """Call `end` with an exit status, in this event loop, when the terminal hangs up or a signal says so."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGHUP, signal.SIGTERM):
        loop.add_signal_handler(number, end, 128 + number)
    there = sys.__stdin__
    if there is not None and there.isatty():
        threading.Thread(target=_watch, args=(there.fileno(), loop, end), daemon=True, name="hang-up").start()


def _watch(terminal: int, loop: asyncio.AbstractEventLoop, end: Callable[[int], object]) -> None:
    hung_up = select.poll()
    hung_up.register(terminal, 0)  # told of nothing but that
    hung_up.poll()
    loop.call_soon_threadsafe(end, 128 + signal.SIGHUP)
    time.sleep(SECONDS)
    os._exit(128 + signal.SIGHUP)
