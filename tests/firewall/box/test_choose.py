from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plans import ONE_ARMED, PLAN

from firewall.box.choose import Found, Radio, Wishes, choose
from firewall.box.plan import PlanError

RADIO = Radio("wlan0", "ath9k_htc", channels={"2.4": (1, 6, 11), "5": (36, 40)})
BOX = Found((RADIO,), ("eth0",), "eth0", ("0.0.0.0/0", "192.168.77.0/24", "fd00::/64"), "DE", ())


def zeros(n: int) -> bytes:
    return bytes(n)


def test_a_box_with_a_radio_is_an_access_point_and_every_choice_has_its_reason() -> None:
    choice = choose(BOX, Wishes(), zeros)
    plan = choice.plan
    assert (plan.mode, plan.port, plan.wan, str(plan.subnet4)) == ("ap", "wlan0", "auto", "192.168.78.0/24")
    assert plan.wifi is not None
    assert (plan.wifi.country, plan.wifi.channel, plan.wifi.security) == ("DE", 6, "wpa3-transition")
    said = "\n".join(choice.why)
    for words in ("radio wlan0: can be an access point", "mode ap: wlan0", "internet: eth0 has the default route", "channel 6 of 2.4 GHz in DE", "network 192.168.78.0/24"):
        assert words in said
    assert plan.wifi.passphrase not in said


@pytest.mark.parametrize(
    ("found", "mode", "port"),
    [
        (Found((), ("eth0", "eth1"), "eth0"), "inline", "eth1"),
        (Found((), ("eth0",), "eth0"), "one-armed", "eth0"),
        (Found((replace(RADIO, access_point=False),), ("eth0", "eth1"), "eth0"), "inline", "eth1"),
        (Found((replace(RADIO, joined="cafe"),), ("eth0",), "wlan0"), "inline", "eth0"),
        (Found((RADIO, replace(RADIO, name="wlan1")), (), "wlan0", country="DE"), "ap", "wlan1"),
    ],
)
def test_the_mode_follows_the_hardware(found: Found, mode: str, port: str) -> None:
    plan = choose(found, Wishes(), zeros).plan
    assert (plan.mode, plan.port) == (mode, port)
    assert plan.dhcp == (mode != "one-armed")


@pytest.mark.parametrize(
    ("found", "wishes", "said"),
    [
        (Found(), Wishes(), "no radio and no wired interface here"),
        (replace(BOX, country=""), Wishes(), "--country: which country"),
        (BOX, Wishes(mode="inline"), "this box has no second wired interface"),
        (replace(BOX, radios=()), Wishes(mode="ap"), "this box has no radio that can be an access point"),
        (BOX, Wishes(mode="ap", radio="wlan7"), "--radio wlan7: is no radio of this box; there are: wlan0 (can be"),
        (replace(BOX, radios=(replace(RADIO, access_point=False),)), Wishes(mode="ap", radio="wlan0"), "its driver ath9k_htc cannot"),
        (BOX, Wishes(mode="inline", radio="eth0"), "eth0 is the way to the internet now"),
        (BOX, Wishes(subnet="192.168.77.128/25"), "--subnet 192.168.77.128/25: 192.168.77.0/24 is in use"),
        (BOX, Wishes(subnet="home"), "--subnet: "),
        (BOX, Wishes(channel=13), "--channel 13: wlan0 may not use it at once in DE; it may: 1, 6, 11"),
        (BOX, Wishes(channel=15), "--channel 15: wlan0 may not use it at once in DE; it may: 36, 40"),
        (replace(BOX, radios=(replace(RADIO, wpa3=False),)), Wishes(security="wpa3"), "--security wpa3: wlan0 cannot protect"),
        (BOX, Wishes(country="Germany"), "wifi.country: 'GERMANY' is no country"),
        (BOX, Wishes(passphrase="short"), "wifi.passphrase"),
    ],
)
def test_what_cannot_be_is_said_with_what_could(found: Found, wishes: Wishes, said: str) -> None:
    with pytest.raises(PlanError, match=".*") as refused:
        choose(found, wishes, zeros)
    assert said in str(refused.value)


def test_setting_up_again_changes_only_what_is_wished() -> None:
    two = replace(BOX, radios=(RADIO, replace(RADIO, name="wlan1")), wired=("eth0", "eth1"), taken=())
    first = choose(two, Wishes(radio="wlan1", uplink="eth1", watch=False, ssh=True), zeros).plan
    again = choose(two, Wishes(ssid="other"), zeros, first).plan
    assert again.wifi is not None
    assert again == replace(first, wifi=again.wifi)
    assert again.wifi.ssid == "other"
    assert choose(two, Wishes(watch=True), zeros, first).plan.watch
    assert choose(two, Wishes(mode="inline"), zeros, first).plan.port == "eth0"  # eth1 is the way to the internet


def test_what_was_written_by_hand_stays_and_who_asks_phones_for_addresses_is_said() -> None:
    before = replace(ONE_ARMED, lan="phones0", dhcp=True)
    again = choose(replace(BOX, taken=(), managers=("dhcpcd",)), Wishes(watch=False), zeros, before)
    assert again.plan == replace(before, watch=False, wan="auto")
    assert again.why[-1].endswith("add to /etc/dhcpcd.conf: denyinterfaces phones0")
    assert choose(BOX, Wishes(mode="ap"), zeros, before).plan.dhcp
    gives = choose(BOX, Wishes(mode="one-armed", dhcp=True), zeros)
    assert gives.plan.dhcp
    assert "switch the wire's other DHCP server off" in gives.why[-2]
    assert choose(BOX, Wishes(), zeros, gives.plan).plan.dhcp  # as it was
    assert not choose(BOX, Wishes(dhcp=False), zeros, PLAN).plan.dhcp
    alone = choose(BOX, Wishes(mode="one-armed"), zeros, PLAN)
    assert not alone.plan.dhcp
    assert [said for said in alone.why if "around" in said and ("IPv6" in said or "set back" in said)] == list(alone.why[-2:])  # what it cannot promise


def test_setting_up_again_keeps_what_phones_have_been_told() -> None:
    again = choose(replace(BOX, taken=()), Wishes(channel=11, ssid="new"), zeros, PLAN).plan
    assert again.wifi is not None
    assert PLAN.wifi is not None
    assert (again.subnet4, again.subnet6, again.wifi.passphrase) == (PLAN.subnet4, PLAN.subnet6, PLAN.wifi.passphrase)
    assert (again.wifi.channel, again.wifi.ssid) == (11, "new")
    for subnet in (str(PLAN.subnet4), "10.44.0.0/24"):
        same = choose(replace(BOX, taken=()), Wishes(subnet=subnet), lambda n: b"\x07" * n, PLAN).plan
        assert (str(same.subnet4), same.subnet6) == (subnet, PLAN.subnet6)
    moved = choose(BOX, Wishes(), zeros, PLAN).plan
    assert moved.subnet4 == ip_network("192.168.78.0/24")
    for before, words in ((PLAN, "as soon as they join again"), (replace(PLAN, mode="inline", port="eth1", wifi=None), "off and on"), (ONE_ARMED, "by hand")):
        why = choose(replace(BOX, wired=("eth0", "eth1")), Wishes(subnet="10.44.0.0/24"), zeros, before).why
        assert [words in said for said in why if said.startswith(f"phones that are in {before.subnet4} need a new address")] == [True]
        why = choose(replace(BOX, wired=("eth0", "eth1"), taken=()), Wishes(), zeros, before).why
        assert not [said for said in why if "new address" in said]
    assert choose(BOX, Wishes(subnet="auto"), lambda n: b"\x07" * n, PLAN).plan.subnet6 != PLAN.subnet6


def test_an_uplink_that_is_not_there_yet_is_taken_and_said() -> None:
    box = replace(BOX, links=("eth0", "tun0", "wlan0"))
    assert "internet: tun0, as you said" in choose(box, Wishes(uplink="tun0"), zeros).why
    assert "internet: wg0, as you said; it is not there now, the gate waits for it" in choose(box, Wishes(uplink="wg0"), zeros).why


@given(st.binary(min_size=20, max_size=20))
def test_a_passphrase_is_a_hundred_bits_that_can_be_typed(chance: bytes) -> None:
    from firewall.box.choose import new_passphrase  # noqa: PLC0415

    found = new_passphrase(lambda _: chance)
    assert len(found) == 23
    assert not set(found) & set("lo01IO ")
