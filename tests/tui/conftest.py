"""A scripted gateway and a screen before it."""

from __future__ import annotations

import importlib.util
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from judge import PATIENCE, TooLate

from tui.app import Consentry
from tui.widgets.said import Said


def _beside(name):
    """A module of this directory, which is no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


askkeeper = _beside("askkeeper")
pastkeeper = _beside("pastkeeper")
gatekeeper = _beside("gatekeeper")


class Screen:
    """A running app, and its pilot."""

    def __init__(self, app, pilot):
        self.app, self.pilot = app, pilot

    @property
    def lines(self) -> list[str]:
        """What is on the terminal, as text."""
        return [
            "".join(segment.text for segment in strip) for strip in self.app.screen._compositor.render_strips()
        ]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def row(self, word: str) -> str:
        """The one line with this word."""
        found = [line for line in self.lines if word in line]
        assert len(found) == 1, (word, self.text)
        return found[0]

    async def press(self, *keys):
        await self.pilot.press(*keys)

    async def until(self, ready, what="it to happen"):
        """Wait, at most half a minute, until `ready()` is true; assertions inside count as not yet."""
        end = time.monotonic() + 10 * PATIENCE
        while True:
            try:
                if ready():
                    return
            except AssertionError:
                pass
            if time.monotonic() > end:
                raise TooLate(f"waited for {what}:\n{self.text}")
            await self.pilot.pause(0.02)

    async def shows(self, *words):
        await self.until(lambda: all(word in self.text for word in words), f"{words} to be shown")

    async def hush(self):
        """Click away what the last act said: for many seconds it lies over the line below."""
        await self.pilot.click(Said)
        await self.until(lambda: not self.app.screen.query_one(Said).display, "it to be gone")

    async def hides(self, *words):
        await self.until(lambda: not any(word in self.text for word in words), f"{words} to be gone")


@pytest.fixture(autouse=True)
def own_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
async def gate(tmp_path):
    keeper = gatekeeper.Gatekeeper(tmp_path / "gateway.sock")
    await keeper.open()
    yield keeper
    await keeper.close()


@pytest.fixture
def screen(gate):
    """`async with screen(rows...) as s`: a screen that shows them."""

    @asynccontextmanager
    async def open_screen(*rows, size=(80, 24), lab=False, **kw):
        gate.rows = list(rows)
        app = Consentry(gate.path, lab=lab, **kw)
        async with app.run_test(size=size) as pilot:
            shown = Screen(app, pilot)
            await shown.until(lambda: gate.followers == 1, "the screen to follow")
            await shown.shows("ENFORCING")
            await shown.until(lambda: len(app.screen.table.rows) == len(rows), "the backlog")
            await pilot.pause()  # and drawn
            yield shown

    return open_screen


@pytest.fixture
def another(gate):
    """`async with another() as s`: one more screen before the same gateway."""

    @asynccontextmanager
    async def open_screen(size=(80, 24)):
        app = Consentry(gate.path, lab=False)
        async with app.run_test(size=size) as pilot:
            shown = Screen(app, pilot)
            await shown.shows("ENFORCING")
            yield shown

    return open_screen


@pytest.fixture
def episode():
    return gatekeeper.episode


@pytest.fixture
def question():
    return askkeeper.question


@pytest.fixture
def consent():
    return askkeeper.consent


@pytest.fixture
def phone():
    return pastkeeper.phone
