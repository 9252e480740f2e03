from __future__ import annotations

import itertools
import socket

import pytest

from firewall.selftest.tries import Here, Try, nobody, tries
from firewall.selftest.verdict import DECIDED, NEVER
from firewall.verbs.args import parse_place

HERE = {
    4: Here(socket.inet_aton("10.77.0.250"), socket.inet_aton("10.77.0.251"), socket.inet_aton("93.184.216.34")),
    6: Here(*(socket.inet_pton(socket.AF_INET6, text) for text in ("2001:db8:77::250", "2001:db8:77::251", "2606:2800::1"))),
}


def made(family: int, **changes: bytes | None) -> list[Try]:
    numbers = itertools.count()
    return list(tries(family, HERE[family]._replace(**changes), lambda: b"%016x" % next(numbers)))


@pytest.mark.parametrize("family", [4, 6])
def test_each_can_be_told_from_all_others(family: int) -> None:
    all_of_it = made(family)
    assert len({one.token for one in all_of_it}) == len({one.name for one in all_of_it}) == len(all_of_it)
    alone = [one.dst for one in all_of_it if not one.shared and one.way != "neighbour"]
    assert len(set(alone)) == len(alone)
    for one in all_of_it:
        for packet in one.packets[:1]:
            assert one.token in b"".join(one.packets), one.name
            assert len(packet) > 20
        if not one.packets:
            assert one.token in one.says, one.name


def test_what_the_rules_are_asked_about_each() -> None:
    """As `parse_place` reads it: a name or an address, with its port where it has one."""
    asked = {one.name: (one.asked, one.proto) for one in made(6)}
    assert asked["tls"] == ("api.account.xiaomi.com:443", "tcp")
    assert asked["bare"] == ("[2606:2800::1]:80", "tcp")
    assert asked["bare-udp"] == ("[2001:db8:5e1f::3e]:9999", "udp")
    assert asked["routed"] == ("[2001:db8:77::251]:9999", "udp")
    assert asked["ping"][1] == "icmp"
    assert asked["gre"] == ("2001:db8:5e1f::67", "47")
    for one in (*made(4), *made(6)):
        assert parse_place(one.asked).port == (one.port or 443), one.name


@pytest.mark.parametrize("family", [4, 6])
def test_nobody_is_bothered(family: int) -> None:
    """Datagrams go to addresses that are documentation's; connections to one web server and one resolver."""
    for one in made(family):
        if one.shared:
            assert one.dst in {HERE[family].far, socket.inet_pton(socket.AF_INET6 if family == 6 else socket.AF_INET, "2620:fe::9" if family == 6 else "9.9.9.9")}
        elif one.way != "neighbour":
            assert one.dst[:2] == nobody(family, 0)[:2]


def test_without_a_web_server_the_rest_is_tried() -> None:
    names = {one.name for one in made(4, far=None)}
    assert {"dot", "doh-address", "bare-udp"} <= names
    assert not {"tls", "http", "doh", "bare"} & names


def test_both_families_try_the_same_but_for_what_one_has_not() -> None:
    four, six = ({one.name for one in made(family)} for family in (4, 6))
    assert six - four == {"options"}
    assert four <= six
    assert six >= DECIDED | NEVER
