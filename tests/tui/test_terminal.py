"""The screen at a real terminal: keys come in bursts, and a terminal can vanish."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress

import pytest
from judge import PATIENCE, TooLate

ALT_SCREEN = b"\x1b[?1049h"


class Terminal:
    """A pseudo-terminal, and the screen at its other end, whom no signal tells that it hangs up."""

    def __init__(self, socket):
        self.here, there = pty.openpty()
        fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.running = subprocess.Popen(
            [sys.executable, "-P", "-m", "tui", "--socket", str(socket)],
            stdin=there, stdout=there, stderr=there, env=os.environ | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}, start_new_session=True,
        )
        os.close(there)
        self.shown = b""
        asyncio.get_running_loop().add_reader(self.here, self._read)

    def _read(self):
        try:
            self.shown += os.read(self.here, 65_536)
        except OSError:
            asyncio.get_running_loop().remove_reader(self.here)

    def type(self, text):
        os.write(self.here, text.encode())

    def vanish(self):
        asyncio.get_running_loop().remove_reader(self.here)
        os.close(self.here)
        self.here = -1

    async def until(self, ready, seconds=15):
        end = time.monotonic() + seconds * PATIENCE
        while not ready():
            if time.monotonic() > end:
                raise TooLate(f"waited for it to happen at the terminal: {self.shown[-2_000:]!r}")
            await asyncio.sleep(0.02)

    def end(self):
        if self.here >= 0:
            self.vanish()
        with suppress(ProcessLookupError):
            self.running.kill()
        self.running.wait(10)


@pytest.fixture
async def terminal(gate):
    made = []

    async def open_terminal():
        made.append(Terminal(gate.path))
        await made[-1].until(lambda: gate.followers == 1 and b"ENFORCING" in made[-1].shown)
        return made[-1]

    yield open_terminal
    for one in made:
        one.end()


async def test_a_burst_is_read_in_the_order_in_which_it_was_typed(gate, terminal):
    here = await terminal()
    here.type("3")
    await here.until(lambda: any(verb == "history" for verb, _ in gate.asked))
    here.type("/")
    await here.until(lambda: b"complete" in here.shown)
    for number in range(5):
        wanted = f"name:n{number}.example"
        here.type("\x7f" * 40 + wanted + "\r")
        await here.until(lambda wanted=wanted: gate.asked[-1] == ("history.hours", {"filter": wanted, "hours": 24}))
        here.type("/")
        await asyncio.sleep(0.3)


async def test_a_burst_may_open_the_field_that_it_writes_into(gate, terminal):
    here = await terminal()
    for number in range(5):
        wanted = f"name:{number}.example"
        here.type(f"3/\x15{wanted}\r1")
        await here.until(lambda wanted=wanted: ("history", {"filter": wanted, "limit": 500, "before": None}) in gate.asked)
    assert not [verb for verb, _ in gate.asked if verb not in {"history", "history.hours", "asks"}]


async def test_it_ends_when_its_terminal_vanishes(terminal):
    here = await terminal()
    began = time.monotonic()
    here.vanish()
    await here.until(lambda: here.running.poll() is not None, 4)
    print(f"ended after {time.monotonic() - began:.1f} s")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_leaves_the_terminal_as_it_was(terminal, number):
    here = await terminal()
    here.running.send_signal(number)
    await here.until(lambda: here.running.poll() is not None, 4)
    assert here.running.returncode == 128 + number
    await here.until(lambda: b"\x1b[?1049l" in here.shown)
