from __future__ import annotations

import time

import pytest
from judge import TooLate
from textual.app import App
from textual.widgets import Static

from tui.widgets import said
from tui.widgets.said import Said


class Host(App):
    CSS = "Screen { layers: base said; } Said { layer: said; dock: bottom; }"

    def compose(self):
        yield Static("below")
        yield Said()


@pytest.fixture
async def host(monkeypatch):
    monkeypatch.setattr(said, "SECONDS", 2.0)
    app = Host()
    async with app.run_test(size=(30, 5)) as pilot:
        yield app.query_one(Said), pilot


async def test_it_says_it_and_goes_away(host):
    line, pilot = host
    assert not line.display
    line.say("[red]saved")
    await pilot.pause()
    assert line.display
    assert str(line.render()) == "[red]saved"
    until = time.monotonic() + 60
    while line.display:
        if time.monotonic() > until:
            raise TooLate
        await pilot.pause(0.05)


async def test_what_is_said_next_has_its_own_time(host):
    line, pilot = host
    line.say("first")
    await pilot.pause(1.2)
    line.say("refused", trouble=True)
    await pilot.pause(1.2)
    assert line.display
    assert line.has_class("-trouble")
