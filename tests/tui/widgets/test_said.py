from __future__ import annotations

import pytest
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
    monkeypatch.setattr(said, "SECONDS", 0.2)
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
    await pilot.pause(0.3)
    assert not line.display


async def test_what_is_said_next_has_its_own_time(host):
    line, pilot = host
    line.say("first")
    await pilot.pause(0.15)
    line.say("refused", trouble=True)
    await pilot.pause(0.15)
    assert line.display
    assert line.has_class("-trouble")
