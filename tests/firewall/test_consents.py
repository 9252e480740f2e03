"""Which flows pass by which consents, and which ways the kernel keeps open for them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from firewall import consents
from firewall.commands import OpenWay
from firewall.consents import SHARED_SECONDS, Consent, Consents, Life
from firewall.inputs import FlowKey
from firewall.phones import Phone, Phones
from rules.consent import Grant, Subject
from rules.verdict import Decision, Verdict

ANNA, BEN = Phone(3, "anna", "home"), Phone(4, "ben", "kids")
HOST = ip_address("198.18.7.7").packed
WAY = (3, HOST, 443)


def key(sport: int = 1, dport: int = 443, proto: int = 6) -> FlowKey:
    return FlowKey(proto, ip_address("10.77.0.10").packed, sport, HOST, dport)


def consent(number: int, *, slot: int = 3, group: str = "", subject: str = "name:a.example", life: Life = Life.H1, until: float | None = 100.0, suspended: bool = False) -> Consent:
    return Consent(number, slot, group, "anna", Subject.parse(subject), life, 1e9, "anna", 1000, "cli", until, suspended)


@pytest.fixture
def house() -> Consents:
    return Consents()


def ids(house: Consents, phone: Phone = ANNA, flow: FlowKey | None = None, boot: float = 50.0) -> list[int]:
    return [grant.id for grant in house.of(phone, flow or key(), boot)]


def test_a_phone_has_its_own_consents_and_its_groups_in_the_order_of_their_ids(house: Consents) -> None:
    for one in (consent(9), consent(2, slot=0, group="home"), consent(5, slot=4), consent(7, slot=0, group="kids")):
        house.put(one)
    assert ids(house) == [2, 9]
    assert ids(house, BEN) == [5, 7]
    assert house.of(ANNA, key(), 50.0)[0] == Grant(2, Subject.parse("name:a.example"))
    assert house.of(Phones().stranger, key(), 50.0) == ()
    assert house.exempt([ANNA, BEN, Phone(8, "new", "kids")]) == {3, 4, 8}


def test_one_is_in_force_until_its_time_is_up_and_never_while_it_is_suspended(house: Consents) -> None:
    house.put(consent(1, until=100.0))
    house.put(consent(2, until=None, life=Life.REVOKED))
    house.put(consent(3, until=70.0, suspended=True))
    assert ids(house, boot=99.9) == [1, 2]
    assert ids(house, boot=100.0) == [2]
    assert [one.id for one in house.due(100.0)] == [1]
    assert house.next_end == 100.0
    house.put(consent(3, until=70.0))
    assert ids(house, boot=69.0) == [1, 2, 3]
    assert house.next_end == 70.0
    for number in (1, 3):
        house.drop(number)
    assert (house.next_end, house.due(1e12), len(house)) == (None, [], 1)


def test_a_suspended_consent_exempts_nobody(house: Consents) -> None:
    house.put(consent(1, suspended=True))
    house.put(consent(2, slot=0, group="kids", suspended=True))
    assert house.exempt([ANNA, BEN]) == set()


def test_a_way_is_open_while_a_flow_uses_it(house: Consents) -> None:
    house.put(consent(1))
    assert house.settle(key(1), 3, (1,), 40.0) == [OpenWay(*WAY, 60.0)]
    assert house.settle(key(2), 3, (1,), 41.0) == []
    assert house.settle(key(2), 3, (1,), 42.0) == []
    assert house.settle(key(1), 3, (), 43.0) == []
    assert house.settle(key(2), 3, (), 44.0) == [OpenWay(*WAY, 0)]
    assert house.settle(key(2), 3, (), 45.0) == []
    assert not house.ways


def test_two_ends_on_one_way_do_not_cut_each_other_short(house: Consents) -> None:
    house.put(consent(1, until=100.0))
    house.put(consent(2, until=500.0))
    house.put(consent(3, until=None))
    house.settle(key(1), 3, (1,), 40.0)
    assert house.settle(key(2), 3, (2,), 40.0) == [OpenWay(*WAY, 60.0 + SHARED_SECONDS)]
    house.drop(1)
    assert house.settle(key(1), 3, (), 100.0) == [OpenWay(*WAY, 400.0)]
    assert house.settle(key(3), 3, (3,), 100.0) == [OpenWay(*WAY, 400.0 + SHARED_SECONDS)]
    assert house.settle(key(2), 3, (3,), 100.0) == [OpenWay(*WAY, None)]


def test_once_is_for_the_first_flow_and_no_other(house: Consents) -> None:
    house.put(consent(1, life=Life.ONCE, until=160.0))
    assert ids(house, flow=key(1)) == ids(house, flow=key(2)) == [1]
    assert house.settle(key(1), 3, (1,), 50.0) == [OpenWay(*WAY, None)]
    assert (ids(house, flow=key(1), boot=1e6), ids(house, flow=key(2))) == ([1], [])
    assert ([one.id for one in house.bound(key(1))], house.bound(key(2))) == ([1], ())
    house.put(consent(1, life=Life.ONCE, until=160.0))  # said again, as it was stored
    assert ids(house, flow=key(1), boot=1e6) == [1]
    house.drop(1)
    assert house.bound(key(1)) == ()


def test_which_flows_of_an_earlier_process_may_go_on(house: Consents) -> None:
    house.put(consent(1, until=100.0))
    house.put(consent(2, life=Life.ONCE, until=10.0))  # its two minutes were over long ago; the flow lives
    house.put(replace(consent(3, life=Life.ONCE, until=None), flow=key(9)))
    house.put(consent(4, suspended=True))
    may = [number for number in range(1, 6) if house.lets(number, ANNA, key(1), 50.0)]
    assert may == [1, 2]
    assert house.lets(3, ANNA, key(9), 50.0)
    assert not house.lets(1, ANNA, key(1), 100.0)
    assert not house.lets(1, BEN, key(1), 50.0)


def test_consents_move_to_the_phone_that_another_is_joined_to(house: Consents) -> None:
    house.put(consent(1))
    house.put(consent(2, slot=0, group="home"))
    house.move(3, BEN)
    assert (ids(house), ids(house, BEN)) == ([2], [1])
    assert (house.get(1).phone, house.get(1).slot) == ("ben", 4)


def test_a_phone_cannot_open_more_ways_than_the_kernel_has_room_for(house: Consents, monkeypatch) -> None:
    monkeypatch.setattr(consents, "MOST_OF_A_PHONE", 2)
    house.put(consent(1))
    yes = Decision(Verdict.CONSENT, "xiaomi/2", "consent 1 for a.example answers", "", 1, 1)
    for port in (1, 2):
        assert house.afford(key(1, port), 3, yes) is yes
        house.settle(key(1, port), 3, (1,), 50.0)
    no = house.afford(key(1, 3), 3, yes)
    assert (no.verdict, no.consent, no.rule) == (Verdict.ASK, 0, "xiaomi/2")
    assert no.reason.startswith("2 ways are open by consent already")
    assert house.afford(key(2, 2), 3, yes) is yes  # a way that is open
    assert house.afford(key(1, 3), 4, yes) is yes  # another phone
    monkeypatch.setattr(consents, "MOST_WAYS", 2)
    assert house.afford(key(1, 3), 4, yes).verdict is Verdict.ASK
    house.settle(key(1, 1), 3, (), 50.0)
    assert house.afford(key(1, 3), 3, yes) is yes
    allowed = yes._replace(verdict=Verdict.ALLOW, consent=0)
    assert house.afford(key(1, 9), 3, allowed) is allowed


def test_a_phone_cannot_have_more_flows_by_consent_than_can_be_judged_again_at_once(house: Consents, monkeypatch) -> None:
    monkeypatch.setattr(consents, "MOST_FLOWS", 2)
    house.put(consent(1))
    yes = Decision(Verdict.CONSENT, "xiaomi/2", "consent 1 for a.example answers", "", 1, 1)
    for sport in (1, 2):
        assert house.afford(key(sport), 3, yes) is yes
        house.settle(key(sport), 3, (1,), 50.0)
    no = house.afford(key(3), 3, yes)
    assert (no.verdict, no.consent) == (Verdict.ASK, 0)
    assert no.reason.startswith("2 flows pass by consent already")
    assert house.afford(key(2), 3, yes) is yes  # one of them
    assert house.afford(key(3), 4, yes) is yes  # another phone
    house.settle(key(1), 3, (), 50.0)
    assert house.afford(key(3), 3, yes) is yes
