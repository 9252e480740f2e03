"""Consents with a real state.db: what was said holds, over restarts, boots and clocks."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest
from owners import ACCOUNT, ANNA, BEN, INVENTORY, House, grant

from firewall import granting, state
from firewall.consents import Life
from firewall.control import Refused
from firewall.events import FlowBytes, FlowDecided
from firewall.inputs import (
    ConsentGiven,
    ConsentsRemembered,
    FlowKey,
    Now,
    PhoneChanged,
)
from firewall.state import StoredPhone
from rules.consent import Subject
from rules.observation import Observation
from rules.verdict import Decision, Verdict


def slow(house: House, then=lambda: None) -> tuple[threading.Event, threading.Event]:
    """A disk that takes its time over the next grant: whether that has begun, and the word to go on."""
    begun, go, add = threading.Event(), threading.Event(), house.state.add_consents

    def waits(new):
        begun.set()
        assert go.wait(60)
        then()
        return add(new)

    house.state.add_consents = waits
    return begun, go


@pytest.fixture
async def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def test_a_grant_is_stored_before_the_gate_is_told(house: House) -> None:
    stored = []

    def deliver(batch) -> None:
        stored.extend(one.consent.id for one in state.State(house.path / "state.db").consents())
        house.delivered += batch

    house.granting._deliver = deliver
    given = await grant(house)
    assert stored == [given.id]
    assert house.delivered == [ConsentGiven(given)]
    assert (given.who, given.uid, given.screen, given.given, given.until) == ("anna", 1000, "cli", 1_700_000_000.0, 4_600.0)


@pytest.mark.parametrize(("life", "seconds"), [(Life.ONCE, 120), (Life.M15, 900), (Life.H1, 3_600), (Life.H12, 43_200), (Life.REVOKED, None)])
async def test_lives(house: House, life: Life, seconds: int | None) -> None:
    assert (await grant(house, life=life)).until == (None if seconds is None else 1_000.0 + seconds)


@pytest.mark.parametrize(("zone", "now", "until"), [
    ("UTC", "2023-11-14 22:13", "2023-11-15 08:00"), ("Europe/Amsterdam", "2023-11-14 00:30", "2023-11-15 08:00"),
    ("Europe/Amsterdam", "2023-03-25 12:00", "2023-03-26 08:00"), ("Europe/Amsterdam", "2023-12-31 23:59", "2024-01-01 08:00"),  # a day of 23 hours; a year's end
])
async def test_tomorrow_is_eight_of_the_next_day_where_the_gate_stands(house: House, zone: str, now: str, until: str, monkeypatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        house.time = Now(50.0, time.mktime(time.strptime(now, "%Y-%m-%d %H:%M")), trusted=True)
        given = await grant(house, life=Life.TOMORROW)
        assert house.time.wall + given.until - 50.0 == time.mktime(time.strptime(until, "%Y-%m-%d %H:%M"))
    finally:
        monkeypatch.undo()
        time.tzset()


async def test_tomorrow_needs_a_clock(house: House) -> None:
    house.time = house.time._replace(trusted=False)
    with pytest.raises(Refused, match="clock trust"):
        await grant(house, life=Life.TOMORROW)
    assert (house.granting.active, house.delivered) == ([], [])
    assert (await grant(house, life=Life.H12)).until is not None


# -- two owners --------------------------------------------------------------------------------------------------------


async def test_two_owners_at_once_give_one_consent_and_one_is_told(house: House) -> None:
    house.tries("anna", ACCOUNT)
    (question,) = house.inbox.questions
    for answered, words in ((None, r"phone anna has consent 1 .* given by anna"), (question, r"question 1 has been answered already: consent \d+ by")):
        both = await asyncio.gather(grant(house, ANNA, answered), grant(house, BEN, answered), return_exceptions=True)
        (given,) = [one for one in both if not isinstance(one, Refused)]
        (told,) = [one for one in both if isinstance(one, Refused)]
        with pytest.raises(Refused, match=words):
            raise told
        assert [one.id for one in house.granting.active] == [given.id] == [one.consent.id for one in house.state.consents()]
        await house.granting.revoke([given.id], ANNA)
        question.answer = ""


async def test_two_owners_with_different_answers_to_one_question(house: House) -> None:
    house.tries("anna", ACCOUNT)
    (question,) = house.inbox.questions
    name = Subject.parse(f"name:{ACCOUNT}")
    both = await asyncio.gather(grant(house, ANNA, question, subject=name), grant(house, BEN, question), return_exceptions=True)
    assert [isinstance(one, Refused) for one in both] == [False, True]
    assert len(house.granting.active) == 1


async def test_a_try_while_one_owner_answers_gives_the_question_to_no_other(house: House) -> None:
    house.tries("anna", ACCOUNT)
    (question,) = house.inbox.questions
    begun, go = slow(house)
    first = asyncio.ensure_future(grant(house, answered=question))
    await asyncio.to_thread(begun.wait, 60)
    house.tries("anna", ACCOUNT)
    assert question.taken == "is being answered by anna"
    go.set()
    given = await first
    assert question.taken == f"has been answered already: consent {given.id} by anna"


async def test_an_answer_that_could_not_be_given_leaves_the_question_open(house: House) -> None:
    house.tries("anna", ACCOUNT)
    (question,) = house.inbox.questions
    house.state._db.execute("PRAGMA query_only = ON")
    with pytest.raises(Refused):
        await grant(house, ANNA, question)
    assert house.waiting == ["anna service:xiaomi-account"]
    house.state._db.execute("PRAGMA query_only = OFF")
    await grant(house, BEN, question)


async def test_a_once_that_was_taken_is_in_nobodys_way(house: House) -> None:
    first = await grant(house, life=Life.ONCE)
    with pytest.raises(Refused, match="has consent 1"):
        await grant(house, life=Life.ONCE)
    flow = FlowKey(6, b"\x0a\x4d\0\x0a", 1, b"\x2a\x3e\x30\x09", 443)
    house.gateway.consents.settle(flow, 1, (first.id,), house.time.boot)
    house.wait(500.0)
    house.tick()
    assert house.granting.to_json(first)["left"] is None
    assert [one.id for one in house.granting.active] == [first.id]
    assert (await grant(house, life=Life.H1)).id == 2


# -- prolonging --------------------------------------------------------------------------------------------------------


async def test_a_later_end_prolongs_and_an_earlier_one_is_refused(house: House) -> None:
    await grant(house, life=Life.M15)
    flow = FlowKey(6, b"\x0a\x4d\0\x0a", 1, b"\x2a\x3e\x30\x09", 443)
    house.see(FlowDecided(0.0, flow.src, flow, Observation("anna", "tcp", flow.dst, 443), Decision(Verdict.CONSENT, "", "", "", 1, 1)))
    for life, who, until in ((Life.H1, BEN, 4_600.0), (Life.H12, ANNA, 44_200.0), (Life.REVOKED, BEN, None)):
        given = await grant(house, who, life=life)
        assert (given.id, given.who, given.until, given.life) == (1, who.name, until, life)
        assert [(one.id, one.until) for one in house.gateway.consents] == [(1, until)]
        assert [(one.consent.id, one.consent.until, one.consent.who) for one in house.state.consents()] == [(1, until, who.name)]
        assert (house.noted[-1].prolonged, house.granting.to_json(given)["flows"]) == (True, 1)
        for shorter in (Life.ONCE, Life.M15, life):
            with pytest.raises(Refused, match="has consent 1 .* already: .* To give a shorter one"):
                await grant(house, life=shorter)
    house.wait(50_000.0)
    house.tick()
    assert [one.id for one in house.granting.active] == [1]
    house.start()
    assert [(one.id, one.until) for one in house.gateway.consents] == [(1, None)]


async def test_what_is_revoked_while_it_is_prolonged_is_over(house: House) -> None:
    await grant(house, life=Life.M15)
    begun, go = slow(house)
    longer = asyncio.ensure_future(grant(house, BEN))
    await asyncio.to_thread(begun.wait, 60)
    revoking = asyncio.ensure_future(house.granting.revoke([1], ANNA))
    while house.granting.active:  # what passes is cut at once; that it is stored waits for the grant
        await asyncio.sleep(0)
    go.set()
    await revoking
    with pytest.raises(Refused, match="ended at the same moment"):
        await longer
    assert (house.granting.active, house.state.consents(), list(house.gateway.consents)) == ([], (), [])
    assert [one.consent.why for one in house.state.ended_consents(9)] == ["revoked by anna"]


async def test_a_once_prolongs_nothing_by_which_others_pass(house: House) -> None:
    """Else whatever passes by the quarter of an hour would go on until the flow that takes the "once" ends."""
    await grant(house, life=Life.M15)
    house.wait(840.0)  # a minute is left, and a "once" has two
    with pytest.raises(Refused, match="has consent 1 .* already: 60 s left"):
        await grant(house, life=Life.ONCE)
    assert [(one.id, one.life, one.until) for one in house.gateway.consents] == [(1, Life.M15, 1_900.0)]
    await house.granting.revoke([1], ANNA)
    once = await grant(house, life=Life.ONCE)
    assert (await grant(house, life=Life.H1)).id == once.id  # no flow has taken it: it may become more


async def test_a_once_whose_flow_comes_while_it_is_prolonged_stays_that_flows(house: House) -> None:
    given = await grant(house, life=Life.ONCE)
    begun, go = slow(house)
    longer = asyncio.ensure_future(grant(house, BEN, life=Life.H1))
    await asyncio.to_thread(begun.wait, 60)
    flow = FlowKey(6, b"\x0a\x4d\0\x0a", 1, b"\x2a\x3e\x30\x09", 443)
    house.gateway.consents.settle(flow, 1, (given.id,), house.time.boot)
    house.see(FlowDecided(0.0, flow.src, flow, Observation("anna", "tcp", flow.dst, 443), Decision(Verdict.CONSENT, "", "", "", 1, 1)))
    go.set()
    with pytest.raises(Refused, match="ended at the same moment"):
        await longer
    await house.granting.store()
    assert [(one.life, one.flow) for one in house.gateway.consents] == [(Life.ONCE, flow)]
    assert [(one.consent.life, one.consent.until) for one in house.state.consents()] == [(Life.ONCE, house.time.boot)]


async def test_where_no_more_are_given_those_that_are_there_are_prolonged(house: House, monkeypatch) -> None:
    monkeypatch.setattr(granting, "MOST", 1)
    await grant(house, life=Life.M15)
    assert (await grant(house, life=Life.H1)).id == 1
    with pytest.raises(Refused, match="1 consents are in force already"):
        await grant(house, subject=Subject.parse(f"name:{INVENTORY}"))


async def test_what_the_disk_does_not_take_ends_when_it_would_have(house: House) -> None:
    await grant(house, life=Life.M15)
    house.state._db.execute("PRAGMA query_only = ON")
    with pytest.raises(Refused, match="could not be stored"):
        await grant(house)
    assert [one.until for one in house.gateway.consents] == [1_900.0]


async def test_a_full_disk_takes_no_consent_and_when_there_is_room_it_does(house: House) -> None:
    house.state._db.execute("PRAGMA max_page_count = 1")  # as many as there are
    with pytest.raises(Refused, match="not granted: it could not be stored: .*database or disk is full"):
        for n in range(1_000):
            await grant(house, subject=Subject.parse(f"name:h{n}.example"), slot=1 + n % 3)
    given = [one.id for one in house.granting.active]
    assert given == [one.id for one in house.gateway.consents] == [one.consent.id for one in house.state.consents()]
    house.state._db.execute("PRAGMA max_page_count = 100000")
    assert (await grant(house)).id == len(given) + 1


# -- restarts, boots and clocks ----------------------------------------------------------------------------------------


async def test_a_restart_of_the_gate_changes_nothing(house: House) -> None:
    given = [await grant(house), await grant(house, life=Life.REVOKED, slot=0, group="strict"), await grant(house, life=Life.ONCE, slot=2)]
    house.time = Now(1_050.0, 1_700_000_000.0 - 366 * 86_400, trusted=False)  # a clock that jumped means nothing to durations
    house.start()
    assert house.delivered == [ConsentsRemembered(tuple(given))]


async def test_a_boot_takes_the_time_off_that_the_machine_was_off(house: House) -> None:
    await grant(house)
    await grant(house, life=Life.REVOKED, slot=2)
    await grant(house, life=Life.ONCE, slot=3)
    house.wait(600.0)
    await house.granting.store(all_of_it=True)
    house.reboot(1_200.0)
    hour, revoked, once = house.delivered[0].consents
    assert (hour.until, hour.suspended) == (5.0 + 3_600 - 600 - 1_200, False)
    assert (revoked.until, revoked.suspended) == (None, False)
    assert once.until <= 5.0  # its flow did not outlive the boot


async def test_a_boot_long_after_is_over_at_once(house: House) -> None:
    await grant(house)
    house.reboot(366 * 86_400.0)
    assert house.delivered[0].consents[0].until < house.time.boot


@pytest.mark.parametrize(("off", "trusted"), [(60.0, False), (-366 * 86_400.0, True), (366 * 86_400.0, False)])
async def test_with_a_clock_that_cannot_be_right_it_is_suspended_until_somebody_says_so(house: House, off: float, trusted: bool) -> None:
    await grant(house)
    await grant(house, life=Life.REVOKED, slot=2)
    house.reboot(off, trusted=trusted)
    timed, lasting = house.delivered[0].consents
    assert (timed.suspended, lasting.suspended) == (True, False)
    assert (house.grants("anna"), house.grants("tv")) == ([], [2])
    assert house.granting.to_json(timed)["state"] == "suspended"
    await house.granting.store(all_of_it=True)
    assert house.state.consents()[0].boot_id == "boot-1"  # what was left then is all that is known
    house.delivered.clear()
    assert house.granting.resume(owner=False) == 0
    house.time = house.time._replace(trusted=True)
    assert house.granting.resume(owner=True) == 1
    (resumed,) = house.delivered[0].consents
    assert resumed.suspended is False
    assert resumed.until == 5.0 + 3_600 - max(off, 0.0)


async def test_a_clock_that_is_set_right_by_itself_ends_the_suspension(house: House, monkeypatch) -> None:
    monkeypatch.setattr(granting, "LOOK_SECONDS", 0.01)
    await grant(house)
    house.reboot(60.0, trusted=False)
    house.delivered.clear()
    keeping = asyncio.ensure_future(house.granting.keep())
    await asyncio.sleep(0.1)
    assert house.delivered == []
    house.time = house.time._replace(trusted=True)
    until = time.monotonic() + 30
    while not house.delivered:
        assert time.monotonic() < until
        await asyncio.sleep(0.01)
    keeping.cancel()
    assert house.delivered[0].consents[0].until == 5.0 + 3_600 - 60


async def test_a_year_forward_or_back_in_the_middle_of_a_consent(house: House) -> None:
    given = await grant(house)
    for jump in (366 * 86_400.0, -2 * 366 * 86_400.0):
        house.wait(60.0, wall=jump)
        assert house.granting.to_json(given)["left"] == given.until - house.time.boot
        house.start()
        assert house.granting.active == [given]


# -- ends --------------------------------------------------------------------------------------------------------------


async def test_revoking_cuts_first_and_is_said_when_it_is_stored(house: House) -> None:
    """Also behind a disk that is busy with somebody else's grant."""
    given, order = await grant(house), []
    deliver, save = house.deliver, house.state.save_consents
    house.granting._deliver = lambda batch: (order.append("cut"), deliver(batch))
    house.state.save_consents = lambda known: (save(known), order.append("stored"))
    begun, go = slow(house, lambda: order.append("granted"))
    other = asyncio.ensure_future(grant(house, slot=2))
    await asyncio.to_thread(begun.wait, 60)
    revoking = asyncio.ensure_future(house.granting.revoke([given.id], BEN))
    while order != ["cut"]:
        await asyncio.sleep(0)
    go.set()
    await revoking
    order.append("said")
    await other
    assert order == ["cut", "granted", "cut", "stored", "said"]  # the second is the grant's own delivery


async def test_a_once_that_was_taken_is_not_given_again_by_a_restart(house: House) -> None:
    given = await grant(house, life=Life.ONCE)
    house.tries("anna", ACCOUNT)
    assert house.waiting == []  # it passed
    await house.granting.store()
    house.start()
    house.tick()
    house.tries("anna", ACCOUNT)
    assert house.waiting == ["anna service:xiaomi-account"]
    assert [one.consent.id for one in house.granting.ended(5)] == [given.id]


@pytest.mark.parametrize("evicted", [False, True])
async def test_the_next_phone_in_a_place_has_nothing_of_the_one_before(house: House, evicted: bool) -> None:
    """Also if the power goes before the gate could store the ends of its consents."""
    house.state.save_phones([StoredPhone(1, "anna", "home", "", True, 1.0, 1.0, (b"anna01",))])
    await grant(house)
    if not evicted:
        house.state.save_phones([], forgotten=[1])
    house.state.save_phones([StoredPhone(1, "phone-0707", "strict", "", False, 2.0, 2.0, (b"rnd707",))])
    assert house.state.consents() == ()


async def test_what_the_core_ends_is_stored_soon(house: House) -> None:
    given, other = await grant(house), await grant(house, slot=2)
    await house.granting.revoke([given.id], BEN)
    house.wait(3_599.0)
    house.tick()
    assert [one.id for one in house.granting.active] == [other.id]
    house.wait(1.0)
    house.tick()
    assert house.granting.active == []
    assert [one.consent.why for one in house.granting.ended(5)] == ["its time is up", "revoked by ben"]
    await house.granting.store()
    house.start()
    assert (house.granting.active, [one.ender for one in house.granting.ended(5)]) == ([], ["the gate", "ben"])
    with pytest.raises(Refused, match="no consent 1 in force"):
        await house.granting.revoke([given.id], BEN)


async def test_flows_and_bytes_are_counted_and_outlive_a_restart(house: House) -> None:
    given = await grant(house)
    flows = [FlowKey(6, b"\x0a\x4d\0\x0a", port, b"\x2a\x3e\x30\x09", 443) for port in (1, 2)]
    by = Decision(Verdict.CONSENT, "xiaomi/2", "", "xiaomi-account", 1, given.id)
    house.see(*(FlowDecided(1.0, flow.src, flow, Observation("anna", "tcp", flow.dst, 443), by) for flow in (*flows, flows[0])))
    house.see(FlowBytes(1.0, flows[0], 100, 10, ended=False), FlowBytes(1.0, flows[1], 1, 1, ended=True), FlowBytes(1.0, FlowKey(6, b"", 1, b"", 1), 5, 5, ended=False))
    told = house.granting.to_json(given)
    assert (told["flows"], told["up"], told["down"]) == (2, 101, 11)
    await house.granting.store(all_of_it=True)
    house.start()
    told = house.granting.to_json(given)
    assert (told["flows"], told["up"], told["down"]) == (2, 101, 11)
    house.see(FlowDecided(1.0, flows[0].src, flows[0], Observation("anna", "tcp", flows[0].dst, 443), by), FlowBytes(2.0, flows[0], 9, 0, ended=True))
    ended, _, _ = await house.granting.revoke([given.id], ANNA)
    assert (ended[0].flows, ended[0].up) == (3, 110) == (house.state.ended_consents(1)[0].flows, house.state.ended_consents(1)[0].up)


async def test_phones_that_become_one_share_their_consents(house: House) -> None:
    given, group = await grant(house), await grant(house, slot=0, group="home")
    async with house.granting.moving(1, 2, "tv"):
        house.state.save_phones((StoredPhone(2, "tv", "home", "", True, 0.0, 0.0, ()),), (1,), heir=2)
        house.deliver((PhoneChanged(house.phones.named("tv"), "anna is tv as well", ANNA, 1),))
    assert [(one.id, one.slot, one.phone) for one in house.granting.active] == [(given.id, 2, "tv"), (group.id, 0, "")]
    assert house.grants("tv") == [given.id, group.id]
    await house.granting.store(all_of_it=True)  # writes nothing older over it
    house.start()
    assert house.grants("tv") == [given.id, group.id]


async def test_the_consents_of_a_phone_that_is_forgotten_are_over_also_if_nobody_could_store_that(house: House) -> None:
    given = await grant(house)
    house.tries("anna", INVENTORY)
    house.deliver((PhoneChanged(None, "anna was forgotten", ANNA, 1),))
    assert (house.granting.active, house.waiting, list(house.inbox.questions)) == ([], [], [])
    house.start()  # died before it was stored
    assert house.granting.active == []
    await house.granting.store()
    assert [(one.consent.id, one.consent.why) for one in house.state.ended_consents(5)] == [(given.id, "the phone was forgotten")]


async def test_bounds(house: House, monkeypatch) -> None:
    monkeypatch.setattr(granting, "MOST_OF_ONE", 2)
    monkeypatch.setattr(granting, "MOST", 3)
    for n in range(2):
        await grant(house, subject=Subject.parse(f"name:h{n}.example"))
    with pytest.raises(Refused, match="has 2 consents already"):
        await grant(house)
    await grant(house, slot=2)
    with pytest.raises(Refused, match="3 consents are in force"):
        await grant(house, slot=3)


async def test_ended_ones_are_kept_a_year_and_a_wild_clock_forgets_little(house: House, monkeypatch) -> None:
    monkeypatch.setattr(state, "KEEP_NEWEST", 3)
    for n in range(6):
        given = await grant(house, subject=Subject.parse(f"name:h{n}.example"))
        house.wait(1.0)
        await house.granting.revoke([given.id], ANNA)
    assert len(house.state.ended_consents(10)) == 6
    house.wait(1.0, wall=400 * 86_400.0)
    given = await grant(house)
    await house.granting.revoke([given.id], ANNA)
    assert [one.consent.id for one in house.state.ended_consents(10)] == [7, 6, 5]
    assert (await grant(house)).id == 8  # numbers are not given twice
