"""The wizard with a person at its keys, at 80x24."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from ipaddress import IPv4Network

import pytest
from plans import PLAN
from textual.widgets import Button, Input, Select

from firewall.box.choose import Found, Radio, wishes_from
from firewall.box.plan import render
from tui.setup import Setup, found_from

RADIO = Radio("wlan0", "ath9k_htc", channels={"2.4": (1, 6, 11), "5": (36,)})
BOX = Found((RADIO,), ("eth0",), "eth0", ("192.168.77.0/24",), "DE", ("NetworkManager",))
SIZE = (80, 24)


def lines(app: Setup) -> str:
    """What is on the terminal; where lines break does not matter."""
    return " ".join("".join(segment.text for strip in app.screen._compositor.render_strips() for segment in strip).split())


async def test_everything_stands_on_one_screen_and_the_usual_answers_are_given() -> None:
    app = Setup(BOX, {})
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        screen = lines(app)
        for words in ("this box is", "network name", "home-guard", "country", "DE", "mode ap: wlan0 is the phones' access point", "network 192.168.78.0/24", "Set it up", "a new passphrase is shown at the end"):
            assert words in screen, screen
        await pilot.press("ctrl+s")
    assert app.return_value is not None
    wishes = wishes_from(app.return_value)
    assert (wishes.mode, wishes.ssid, wishes.country, wishes.watch, wishes.channel) == ("", "home-guard", "DE", True, None)
    assert app.return_value["service"] is False


async def test_what_is_missing_is_said_and_nothing_can_be_set_up_until_it_is_there() -> None:
    app = Setup(replace(BOX, country=""), {})
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        assert "not yet: --country" in lines(app)
        await pilot.press("ctrl+s")
        await pilot.pause()
        assert app.is_running
        assert app.query_one("#go", Button).disabled
        app.query_one("#country", Input).focus()
        await pilot.press("f", "r")
        await pilot.pause()
        assert "channel 6 of 2.4 GHz in FR" in lines(app)
        await pilot.press("ctrl+s")
    assert app.return_value is not None
    assert app.return_value["country"] == "fr"


async def test_a_wire_needs_no_wifi_and_leaving_changes_nothing() -> None:
    app = Setup(replace(BOX, wired=("eth0", "eth1"), radios=(replace(RADIO, joined="[red]cafe\x1b"),)), {"mode": "inline"})
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        assert "mode inline: eth1" in lines(app)
        assert "joined to [red]cafe‹U+001B› now" in lines(app)
        assert "network name" not in lines(app)
        await pilot.press("escape")
    assert app.return_value is None


@pytest.mark.parametrize("value", ["5/36", "2.4/11"])
async def test_a_channel_is_chosen_with_its_band(value: str) -> None:
    app = Setup(BOX, {"ssid": "other"})
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        app.query_one("#channel", Select).value = value
        await pilot.pause()
        band, channel = value.split("/")
        assert f"channel {channel} of {band} GHz" in lines(app)
        assert "the passphrase stays as it is" in lines(app)
        await pilot.press("ctrl+s")
    assert app.return_value is not None
    assert (app.return_value["band"], app.return_value["channel"], app.return_value["ssid"]) == (band, int(channel), "other")


async def test_what_stands_already_is_what_it_says() -> None:
    """As the flags would choose it: the network of the plan, not the first free one."""
    stands = replace(PLAN, subnet4=IPv4Network("10.5.0.0/24"))
    app = Setup(BOX, {"plan": render(stands), "mode": "ap", "radio": "wlan0", "watch": True})
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        assert f"network 10.5.0.0/24 and {stands.subnet6}" in lines(app)


def test_what_was_found_survives_the_way_to_the_wizard() -> None:
    assert found_from(json.loads(json.dumps(asdict(BOX)))) == BOX
