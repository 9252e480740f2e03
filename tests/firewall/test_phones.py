from __future__ import annotations

import time

import pytest

from firewall import phones
from firewall.commands import AdmitPair, ExpelPair
from firewall.phones import HOME, IDLE_SECONDS, NOBODY, STRICT, Phone, PhoneError, Phones

LAB = bytes.fromhex("020000000101")
OTHER = bytes.fromhex("aabbccddeeff")
ADDR, ADDR6 = bytes([10, 77, 0, 10]), bytes(15) + b"\1"


def mac(number: int) -> bytes:
    return number.to_bytes(6)


def test_given_names_are_at_home_and_the_ends_of_macs_are_strict() -> None:
    known = Phones(given={LAB: "phone1"})
    assert (known.of(LAB, 5.0).name, known.of(LAB, 5.0).group) == ("phone1", HOME)
    newcomer = known.of(OTHER, 5.0)
    assert (newcomer.name, newcomer.group, newcomer.named, newcomer.first) == ("phone-eeff", STRICT, False, 5.0)
    assert known.of(bytes.fromhex("112233dd44eeff"[:12]), 5.0).name == "phone-44ee"


def test_two_phones_never_share_a_name_or_a_slot() -> None:
    known = Phones()
    macs = [bytes.fromhex(text) for text in ("aabbccddeeff", "aabbcc11eeff", "aabb2211eeff", "cabb2211eeff")]
    assert len({known.of(each, 0.0).name for each in macs}) == len({known.of(each, 0.0).slot for each in macs}) == 4
    assert known.of(macs[1], 0.0) is known.of(macs[1], 9.0)


def test_nobody_is_a_stranger_and_inventing_macs_takes_the_places_of_the_unnamed_only(monkeypatch) -> None:
    monkeypatch.setattr(phones, "MOST", 3)
    known = Phones(given={LAB: "phone1"})
    assert known.of(NOBODY, 0.0) is known.stranger
    busy, _ = known.admit(mac(2), ADDR, 0.0, 0.0)
    assert busy is not None
    for number in range(3, 50):
        assert known.of(mac(number), float(number)) is not known.stranger
    assert known.named("phone1") is not None
    assert known.of(mac(2), 60.0) is busy  # it talks: it stays
    assert len(known) == 3
    for number in (100, 101):
        known.admit(mac(number), bytes([10, 0, 0, number]), 0.0, 0.0)
    assert known.of(mac(102), 70.0) is known.stranger


@pytest.mark.parametrize("talking", [False, True])
def test_whoever_invents_macs_costs_little(talking: bool) -> None:
    """Ten thousand within a minute, when every place is taken: 20 us each where every phone was looked at for each, 250 us."""
    known = Phones(given={LAB: "phone1"})
    for number in range(1, phones.MOST + 2):
        known.of(mac(number), float(number))
        if talking:
            known.admit(mac(number), number.to_bytes(4), 0.0, float(number))
    assert len(known) == phones.MOST
    began = time.process_time()
    for number in range(10_000):
        known.of(mac(1_000_000 + number), 5_000.0 + number / 200)
    assert time.process_time() - began < 1.0
    assert known.named("phone1") is not None
    assert len(known) == len({phone.name for phone in known}) == len({phone.slot for phone in known}) == phones.MOST
    assert (known.of(mac(2), 6_000.0) is not known.stranger) is True
    assert (known.of(mac(2), 6_000.0).addresses != {}) is talking  # who talks has kept its place


def test_names_that_are_free_again_can_be_given() -> None:
    known = Phones(given={LAB: "phone1", OTHER: "phone2"})
    known.change(known.edited("phone1", new_name="anna"))
    known.change(known.edited("phone2", new_name="phone1"))
    assert (known.of(LAB, 0.0).name, known.of(OTHER, 0.0).name, known.named("phone2")) == ("anna", "phone1", None)
    known.forget(known.need("anna").slot)
    known.change(known.edited("phone1", new_name="anna"))
    assert known.named("anna") is known.of(OTHER, 0.0)
    assert known.of(mac(9), 0.0).slot == 1  # the lowest that is free


@pytest.mark.parametrize("addr", [ADDR, ADDR6])
def test_an_address_belongs_to_who_came_first_until_it_is_silent(addr: bytes) -> None:
    known = Phones(given={LAB: "phone1"})
    phone, commands = known.admit(LAB, addr, 100.0, 0.0)
    assert phone is not None
    assert commands == [AdmitPair(LAB, addr, phone.slot)]
    assert known.admit(LAB, addr, 101.0, 0.0) == (phone, [])
    assert known.admit(OTHER, addr, 102.0, 0.0) == (None, [])
    known.used(addr, 150.0)
    assert known.admit(OTHER, addr, 150.0 + IDLE_SECONDS - 1, 0.0) == (None, [])
    other, commands = known.admit(OTHER, addr, 150.0 + IDLE_SECONDS, 0.0)
    assert other is not None
    assert commands == [ExpelPair(LAB, addr), AdmitPair(OTHER, addr, other.slot)]
    assert known.admit(LAB, addr, 150.0 + IDLE_SECONDS, 0.0) == (None, [])


def test_the_unspecified_address_is_nobodys() -> None:
    known = Phones(given={LAB: "phone1"})
    assert known.admit(LAB, bytes(4), 0.0, 0.0) == (known.stranger, [])


def test_a_spoof_is_told_once_a_minute_and_frees_what_is_idle() -> None:
    known = Phones(given={LAB: "phone1"})
    known.admit(LAB, ADDR, 100.0, 0.0)
    text, commands = known.spoofed(OTHER, ADDR, 101.0)
    assert text.startswith("aa:bb:cc:dd:ee:ff uses an address of phone1")
    assert not commands
    assert known.spoofed(OTHER, ADDR, 102.0) == ("", [])
    assert known.spoofed(OTHER, ADDR, 100.0 + IDLE_SECONDS) == ("", [ExpelPair(LAB, ADDR)])
    assert known.spoofed(OTHER, ADDR, 200.0) == ("", [])


def test_one_phone_holds_a_bounded_number_of_addresses() -> None:
    known = Phones(given={LAB: "phone1"})
    for number in range(phones.MOST_ADDRESSES):
        known.admit(LAB, bytes([10, 1, 0, number]), float(number), 0.0)
    phone, commands = known.admit(LAB, ADDR, 1000.0, 0.0)
    assert phone is not None
    assert commands == [ExpelPair(LAB, bytes([10, 1, 0, 0])), AdmitPair(LAB, ADDR, phone.slot)]


def test_addresses_are_free_again_after_an_hour() -> None:
    known = Phones(given={LAB: "phone1"})
    known.admit(LAB, ADDR, 0.0, 0.0)
    assert known.sweep(phones.FREE_SECONDS) == []
    assert known.sweep(phones.FREE_SECONDS + 1) == [ExpelPair(LAB, ADDR)]
    assert known.sweep(phones.FREE_SECONDS + 1) == []


def test_what_the_kernel_knew_stays_if_it_still_holds() -> None:
    known = Phones([Phone(7, "anna", macs=(LAB,))])
    stale = bytes([10, 77, 0, 11])
    assert known.adopt([(LAB, ADDR, 7), (LAB, stale, 8), (OTHER, ADDR6, 9)], 0.0) == [
        ExpelPair(LAB, stale), ExpelPair(OTHER, ADDR6),
    ]
    assert known.admit(LAB, ADDR, 1.0, 0.0)[1] == []


def test_a_name_a_group_and_a_mode() -> None:
    known = Phones(given={LAB: "phone1"})
    phone = known.of(LAB, 0.0)
    wanted = known.edited("phone1", new_name="anna pixel", group="kids", mode="watch")
    assert phone.name == "phone1"  # not before it is stored
    assert known.change(wanted) is phone
    assert (phone.name, phone.group, known.watches(phone)) == ("anna pixel", "kids", True)
    assert known.named("anna pixel") is phone
    known.mode = "watch"
    phone.mode = ""
    assert known.watches(phone)
    phone.mode = "enforce"
    assert not known.watches(phone)


@pytest.mark.parametrize("name", ["", " anna", "a,b", 'a"b', "a:b", "x" * 33, "a\x1bb", "‹U+202E›", "-\n"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(PhoneError, match="cannot be a name"):
        Phones(given={LAB: "phone1"}).edited("phone1", new_name=name)


def test_names_are_not_shared_and_phones_have_to_exist() -> None:
    known = Phones(given={LAB: "phone1", OTHER: "phone2"})
    with pytest.raises(PhoneError, match="phones join"):
        known.edited("phone1", new_name="phone2")
    with pytest.raises(PhoneError, match="there are: phone1, phone2"):
        known.edited("phone3", group="kids")
    with pytest.raises(PhoneError, match="no mode"):
        known.edited("phone1", mode="off")
    with pytest.raises(PhoneError, match="itself"):
        known.joined("phone1", "phone1")


def test_a_new_random_mac_is_joined_to_the_phone_it_is_of() -> None:
    known = Phones(given={LAB: "anna"})
    anna = known.of(LAB, 0.0)
    newcomer, _ = known.admit(OTHER, ADDR, 0.0, 0.0)
    assert newcomer is not None
    wanted = known.joined(newcomer.name, "anna")
    gone, commands = known.forget(newcomer.slot)
    assert (gone, commands) == (newcomer, [ExpelPair(OTHER, ADDR)])
    known.change(wanted)
    assert known.of(OTHER, 9.0) is anna
    assert known.admit(OTHER, ADDR, 1.0, 9.0) == (anna, [AdmitPair(OTHER, ADDR, anna.slot)])


def test_who_is_forgotten_comes_back_as_a_newcomer() -> None:
    known = Phones(given={LAB: "anna"})
    known.forget(known.of(LAB, 0.0).slot)
    assert known.of(LAB, 0.0).group == STRICT
