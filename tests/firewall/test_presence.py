from __future__ import annotations

from firewall.events import PhoneJoined, PhoneLeft
from firewall.gateway import Gateway
from firewall.inputs import Joined, Leased, Left, Now
from firewall.phones import Phones

ANNA, NEW = bytes.fromhex("020000000101"), bytes.fromhex("020000000202")


def gateway() -> Gateway:
    return Gateway(Phones(given={ANNA: "anna-pixel"}))


def at(boot: float) -> Now:
    return Now(boot, 1_000.0 + boot, trusted=True)


def test_who_joins_and_leaves_is_told_once_and_known_meanwhile() -> None:
    gate = gateway()
    assert gate.handle([Joined(ANNA, -41)], at(0)).events == [PhoneJoined(1_000.0, "anna-pixel", ANNA, -41)]
    assert gate.handle([Joined(ANNA, -60)], at(5)).events == []  # it stays
    phone = gate.phones.with_mac(ANNA)
    assert gate.presence.signal(phone) == (True, -60)
    assert gate.handle([Left(ANNA)], at(20)).events == [PhoneLeft(1_020.0, "anna-pixel", ANNA)]
    assert gate.presence.signal(phone) == (False, None)
    assert gate.handle([Left(ANNA)], at(40)).events == []


def test_one_that_comes_and_goes_all_the_time_does_not_fill_the_history() -> None:
    gate = gateway()
    told = [event for second in range(60) for event in gate.handle([Joined(ANNA, None), Left(ANNA)], at(second / 6)).events]
    assert len(told) <= 2


def test_whoever_joins_or_gets_an_address_is_a_phone_before_its_first_packet() -> None:
    gate = gateway()
    gate.handle([Leased(NEW, bytes([10, 0, 0, 9]), "Pixel \x1b[31m\u202e")], at(0))
    phone = gate.phones.with_mac(NEW)
    assert (phone.name, phone.group) == ("phone-0202", "strict")
    assert gate.presence.host(phone) == "Pixel ‹U+001B›[31m‹U+202E›"
    assert gate.presence.signal(phone) == (False, None)


def test_invented_senders_take_no_memory() -> None:
    gate = gateway()
    for number in range(3_000):
        mac = number.to_bytes(6)
        gate.handle([Joined(mac, -40), Leased(mac, bytes(4), "x")], at(number))
    assert len(gate.presence._joined) == len(gate.presence._hosts) == 1_024
