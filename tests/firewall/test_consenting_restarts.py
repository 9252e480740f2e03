"""Consents over restarts: what goes on, what is cut, and what nobody knows any more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from house import CONSENT, House
from play import ASK, HELD, MAC, packed

from firewall.commands import Exempt, MarkFlow, Reconcile
from firewall.consents import Consent, Life
from firewall.inputs import (
    ConsentsRemembered,
    FlowCounted,
    Now,
    PairsFound,
    Remembered,
)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp=tmp_path)


def restarted(house: House, tmp: Path, *consents: Consent, extra=()) -> House:
    flows = tuple(house.gateway.flows.live())
    again = House(None, tmp)
    again.boot, again.number = house.boot + 5, house.number
    alive = frozenset({flow.flow for flow in flows} | set(extra))
    consented = frozenset({flow.flow for flow in flows if flow.decision.consent} | set(extra))
    mine = house.gateway.phones.named("phone1")
    turn = again.gateway.handle(
        [PairsFound(((MAC, packed("10.77.0.10"), mine.slot),)), ConsentsRemembered(consents), Remembered(flows, (), house.gateway.enforced.digest, alive, consented)], Now(again.boot, 1.7e9, trusted=True)
    )
    again.commands, again.events = turn.commands, turn.events
    return again


def test_a_restart_goes_on_where_it_was(house: House, wire, tmp_path: Path) -> None:
    given = house.give()
    house.upload(wire)
    again = restarted(house, tmp_path, given)
    assert [way.seconds for way in again.ways()] == [3595.0]
    assert again.marks() == []
    again.rules("")
    assert again.of(Reconcile).desired.exempt == (given.slot,)
    assert again.marks() == []
    again.revoke(given.id)
    assert again.marks() == [(40000, ASK)]


@pytest.mark.parametrize("why", ["ended", "late", "suspended"])
def test_what_ended_while_nobody_was_there_is_cut_at_the_start(house: House, wire, tmp_path: Path, why: str) -> None:
    given = house.give(seconds=900)
    house.upload(wire)
    house.boot += 1000 if why == "late" else 0
    consents = {"ended": (), "late": (given,), "suspended": (replace(given, suspended=True),)}[why]
    again = restarted(house, tmp_path, *consents)
    assert [way.seconds for way in again.ways()] == [0]
    assert again.marks() == [(40000, ASK)]
    assert again.decided()[0].decision.verdict is ASK
    again.tick()
    assert len(again.over()) == (why == "late")


def test_once_is_still_its_flows_after_a_restart(house: House, wire, tmp_path: Path) -> None:
    given = house.give(life=Life.ONCE, seconds=120)
    house.upload(wire)
    house.boot += 600
    again = restarted(house, tmp_path, given)
    assert again.marks() == []
    again.tick()
    assert again.over() == []
    again.rules("")
    assert again.marks() == []
    assert again.upload(wire, 40001) is ASK
    again << FlowCounted(next(iter(again.gateway.flows)).key, 1, 1, ended=True)
    assert again.over()[0].id == given.id


def test_a_way_that_was_opened_just_before_the_death_is_shut(house: House, wire, tmp_path: Path) -> None:
    given = house.give()
    house.upload(wire)
    (flow,) = house.gateway.flows
    lost, beside = flow.key._replace(sport=9, dport=8443), flow.key._replace(sport=9)
    again = restarted(house, tmp_path, given, extra=(lost, beside))
    assert [(way.port, way.seconds) for way in again.ways()] == [(443, 3595.0), (8443, 0)]
    # nobody knows by which consent they pass: another's way must not let them go on
    assert [(c.flow, c.verdict) for c in again.commands if isinstance(c, MarkFlow)] == [(beside, HELD), (lost, HELD)]


def test_a_flow_that_a_picture_knows_as_allowed_and_the_kernel_by_consent_begins_anew(house: House, wire, tmp_path: Path) -> None:
    house.upload(wire, 40001, "en.wikipedia.org")
    (flow,) = house.gateway.flows
    again = restarted(house, tmp_path, extra=(flow.key,))
    assert (again.marks(), list(again.gateway.flows)) == ([(40001, HELD)], [])


def test_consents_that_are_remembered_are_no_news_and_suspended_ones_come_into_force_later(house: House, wire) -> None:
    suspended = house.consent(suspended=True)
    house << ConsentsRemembered((suspended,))
    assert house.events == []
    assert house.upload(wire) is ASK
    house.tick(7200)
    assert house.over() == []  # it ends by nothing while nobody knows what is left of it
    back = replace(suspended, suspended=False, until=house.boot + 60)
    house << ConsentsRemembered((back,))
    assert house.of(Exempt) == Exempt(back.slot, True)
    assert house.upload(wire, 40001) is CONSENT
    house << ConsentsRemembered((replace(back, until=house.boot + 30),))
    assert [way.seconds for way in house.ways()] == [30]
