from __future__ import annotations

from dataclasses import replace

import plans
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.box.plan import BRIDGE, Plan, PlanError, Wifi, parse, render

TEXT = """
mode = "ap"
port = "wlan0"
subnet4 = "192.168.77.0/24"
subnet6 = "fd12:3456:789a::/64"
[wifi]
ssid = "home-guard"
passphrase = "correct horse battery"
country = "DE"
"""


def test_what_is_not_said_has_a_value_and_the_passphrase_is_never_shown() -> None:
    plan = parse(TEXT)
    assert (plan.lan, plan.wan, plan.watch, plan.ssh, plan.dhcp) == (BRIDGE, "auto", True, False, True)
    assert plan.wifi is not None
    assert (plan.wifi.channel, plan.wifi.band, plan.wifi.security) == (6, "2.4", "wpa3-transition")
    assert (str(plan.address4), str(plan.address6)) == ("192.168.77.1/24", "fd12:3456:789a::1/64")
    assert plan.leased == ("192.168.77.10", "192.168.77.250")
    assert "horse" not in repr(plan)


@given(
    ssid=st.text(min_size=1, max_size=8).filter(lambda text: text.isprintable() and len(text.encode()) <= 32),
    passphrase=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=8, max_size=63),
)
def test_what_is_written_is_read_again(ssid: str, passphrase: str) -> None:
    plan = parse(TEXT)
    plan = Plan(plan.mode, plan.port, plan.subnet4, plan.subnet6, wan="eth0", ssh=True, wifi=Wifi(ssid, passphrase, "US", 36, "5", "wpa3"))
    assert parse(render(plan)) == plan


@pytest.mark.parametrize(
    ("was", "is_now", "said"),
    [
        ('mode = "ap"', 'mode = "mesh"', "mode: 'mesh' is none of ap, inline, one-armed"),
        ('mode = "ap"', 'mode = "inline"', "wifi: mode inline has no section [wifi]"),
        ('port = "wlan0"', "", "port: is missing"),
        ('port = "wlan0"', 'port = "wlan0; reboot"', "port: 'wlan0; reboot' is no name of an interface"),
        ('port = "wlan0"', 'port = "consentry0"', "lan: consentry0 is the interface that we make"),
        ('port = "wlan0"', 'port = "wlan0"\nwan = "wlan0"', "wan: wlan0 is the phones' side already"),
        ('port = "wlan0"', "port = 7", "port: 7 stands there, text in quotes is needed"),
        ('port = "wlan0"', 'port = "wlan0"\ncolour = "red"', "colour: there is no such word"),
        ("192.168.77.0/24", "192.168.77.1/24", "subnet4: 192.168.77.1/24 has host bits set"),
        ("192.168.77.0/24", "8.8.8.0/24", "subnet4: 8.8.8.0/24 has to be private"),
        ("192.168.77.0/24", "fd00::/64", "subnet4: fd00::/64 is of the other family"),
        ("789a::/64", "789a::/48", "subnet6: fd12:3456:789a::/48 has to be a /64"),
        ('"DE"', '"Germany"', "wifi.country: 'Germany' is no country"),
        ('"DE"', '"DE"\nchannel = 15', "wifi.channel: 15 is no channel of 2.4 GHz"),
        ('"DE"', '"DE"\nchannel = true', "wifi.channel: True stands there, a whole number is needed"),
        ("correct horse battery", "short", "wifi.passphrase: 8 to 63"),
        ('"home-guard"', '"' + "x" * 33 + '"', "wifi.ssid:"),
        ("[wifi]", "[wifi", "Expected ']'"),
    ],
)
def test_a_mistake_is_named_with_its_place(was: str, is_now: str, said: str) -> None:
    assert was in TEXT
    with pytest.raises(PlanError) as refused:
        parse(TEXT.replace(was, is_now), "/etc/consentry/gateway.toml")
    assert str(refused.value).startswith("/etc/consentry/gateway.toml: " + said)
    assert "short" not in str(refused.value)


def test_small_subnets_still_have_addresses_to_give() -> None:
    first, last = parse(TEXT.replace("192.168.77.0/24", "10.0.0.16/28")).leased
    assert (first, last) == ("10.0.0.19", "10.0.0.29")


def test_a_plan_of_another_mode_is_another_network_and_another_passphrase_is_not() -> None:
    assert plans.PLAN.network != plans.INLINE.network  # one of them has no Wi-Fi to compare
    assert replace(plans.INLINE, watch=False).network != plans.INLINE.network
    assert plans.PLAN.wifi is not None
    assert replace(plans.PLAN, wifi=replace(plans.PLAN.wifi, channel=1)).network == plans.PLAN.network
