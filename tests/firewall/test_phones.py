from __future__ import annotations

from firewall import phones
from firewall.phones import NOBODY, STRANGER, Phones

LAB = bytes.fromhex("020000000101")


def test_given_names_and_ends_of_macs() -> None:
    known = Phones({LAB: "phone1"})
    assert known.name(LAB) == "phone1"
    assert known.name(bytes.fromhex("aabbccddeeff")) == "phone-eeff"
    assert known.name(bytes.fromhex("112233dd44eeff"[:12])) == "phone-44ee"
    assert known.macs("phone-eeff") == (bytes.fromhex("aabbccddeeff"),)


def test_two_phones_never_share_a_name() -> None:
    known = Phones({})
    macs = [bytes.fromhex(text) for text in ("aabbccddeeff", "aabbcc11eeff", "aabb2211eeff", "cabb2211eeff")]
    assert len({known.name(mac) for mac in macs}) == len(macs)
    assert known.name(macs[1]) == known.name(macs[1])


def test_nobody_is_a_stranger_and_so_are_too_many(monkeypatch) -> None:
    monkeypatch.setattr(phones, "MOST", 2)
    known = Phones({})
    assert known.name(NOBODY) == STRANGER
    assert known.name(b"\x02\0\0\0\0\1") != STRANGER
    assert known.name(b"\x02\0\0\0\0\2") != STRANGER
    assert known.name(b"\x02\0\0\0\0\3") == STRANGER
