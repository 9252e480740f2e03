"""Consents with a real state.db: what was said holds, what could not be stored did not happen."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from owners import ACCOUNT, INVENTORY, XIAOMI, House

from firewall import granting, state
from firewall.consents import Life
from firewall.control import Refused
from firewall.events import FlowBytes, FlowDecided
from firewall.granting import Wanted
from firewall.inputs import (
    Author,
    ConsentEnded,
    ConsentGiven,
    ConsentsRemembered,
    FlowKey,
    Now,
    PhoneChanged,
    PolicyReplaced,
)
from firewall.state import StateError, StoredPhone
from rules.consent import Subject
from rules.observation import Observation, Source
from rules.store import compiled
from rules.verdict import Decision, Verdict

ANNA, BEN = Author("anna", 1000), Author("ben", 1001)
SERVICE = Subject.parse("service:xiaomi-account")


def wanted(life: Life = Life.H1, subject: Subject = SERVICE, slot: int = 1, group: str = "", left: float | None = None) -> Wanted:
    return Wanted(slot, group, "anna" if slot else "", subject, life, "cli", left)


async def grant(house: House, who: Author = ANNA, answered=None, **more):
    return (await house.granting.grant((wanted(**more),), who, answered))[0]


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
        await grant(house, life=Life.H1)
    flow = FlowKey(6, b"\x0a\x4d\0\x0a", 1, b"\x2a\x3e\x30\x09", 443)
    house.gateway.consents.settle(flow, 1, first.id, house.time.boot)
    house.wait(500.0)
    house.tick()
    assert house.granting.to_json(first)["left"] is None
    assert [one.id for one in house.granting.active] == [first.id]
    assert (await grant(house, life=Life.H1)).id == 2


# -- a disk that does not take it --------------------------------------------------------------------------------------


def fill(house: House) -> None:
    """state.db can have no page more than it has."""
    db = house.state._db
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")
    with contextlib.suppress(StateError):
        for n in range(10_000):
            house.state.set_word(f"ballast {n}", "x" * 400)


async def test_a_full_database_grants_nothing_and_says_so(house: House) -> None:
    before = await grant(house, subject=Subject.parse("name:a.example"))
    fill(house)
    house.delivered.clear()
    for n in range(40):  # rows may still fit into a page that is there: sooner or later none does
        try:
            await grant(house, subject=Subject.parse(f"name:b{n}.{'x' * 60}.{'y' * 60}.example"))
        except Refused as error:
            assert str(error).startswith("not granted: it could not be stored: ")  # noqa: PT017
            assert "full" in str(error)  # noqa: PT017
            break
    else:
        pytest.fail("the database is not full")
    assert [one.consent.id for one in house.delivered] == [one.consent.id for one in house.state.consents()][1:]
    assert house.granting.active[0] == before
    assert len(house.granting.active) == len(house.delivered) + 1
    with sqlite3.connect(house.path / "state.db") as db:
        db.execute("DELETE FROM words")
    house.state._db.execute("PRAGMA max_page_count = 100000")
    await grant(house, subject=Subject.parse("name:last.example"))  # nothing stays broken


def test_a_full_disk_grants_nothing_and_says_so(tmp_path: Path) -> None:
    """On a tmpfs of 256 KiB of our own: what was granted until it was full is there, nothing else, and room heals it."""
    code = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from owners import House
from firewall.consents import Life
from firewall.control import Refused
from firewall.granting import Wanted
from firewall.inputs import Author
from rules.consent import Subject

async def main():
    house, given = House(Path()), []
    ballast = Path("ballast").open("wb", buffering=0)
    try:
        while ballast.write(bytes(4096)): pass
    except OSError: pass
    wanted = lambda n: (Wanted(1, "", "anna", Subject.parse(f"name:h{n}.example"), Life.H1, "cli"),)
    for n in range(100):
        try:
            given += await house.granting.grant(wanted(n), Author("anna"))
        except Refused as error:
            print(error)
            break
    assert house.grants("anna") == [one.id for one in given], (house.grants("anna"), given)
    ballast.close(); Path("ballast").unlink()
    given += await house.granting.grant(wanted(1000), Author("anna"))
    house.start()
    assert house.granting.active == given
    print("healed", len(given))

asyncio.run(main())
"""
    script = f'mount -t tmpfs -o size=256k tmpfs {tmp_path} && cd {tmp_path} && exec {sys.executable} -c "$CODE" {Path(__file__).parents[1] / "helpers"}'
    done = subprocess.run(["unshare", "-m", "bash", "-c", script], env=os.environ | {"CODE": code, "PYTHONPATH": str(Path(__file__).parents[2])}, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-1500:]
    refused, healed = done.stdout.splitlines()
    assert refused.startswith("not granted: it could not be stored: ")
    assert healed.startswith("healed ")


async def test_a_read_only_database_grants_nothing_but_still_takes_back(house: House) -> None:
    given = await grant(house)
    house.state._db.execute("PRAGMA query_only = ON")
    house.delivered.clear()
    with pytest.raises(Refused, match="not granted: it could not be stored: .*readonly"):
        await grant(house, slot=2)
    assert (house.delivered, len(house.granting.active)) == ([], 1)
    ended, _, trouble = await house.granting.revoke([given.id], BEN)
    assert house.delivered == [ConsentEnded(given.id, "revoked by ben", BEN)]  # what closes does not wait for a disk
    assert "could not be stored and is tried again" in trouble
    assert house.granting.active == []
    await house.granting.store()
    assert [one.consent.id for one in house.state.consents()] == [given.id]
    house.state._db.execute("PRAGMA query_only = OFF")
    await house.granting.store()
    assert house.state.consents() == ()
    (stored,) = house.state.ended_consents(5)
    assert (stored.consent.why, stored.ender, stored.consent) == ("revoked by ben", "ben", ended[0].consent)


async def test_without_a_state_nothing_is_granted(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"no database" * 1_000)
    house = House(tmp_path)
    with pytest.raises(Refused, match=r"not granted: state\.db cannot be read"):
        await grant(house)


async def test_who_goes_away_meanwhile_leaves_no_half_a_grant(house: House) -> None:
    for turn in range(12):
        asking = asyncio.ensure_future(grant(house, subject=Subject.parse(f"name:h{turn}.example")))
        for _ in range(turn):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        while house.granting._whole._running:
            await asyncio.sleep(0.001)
        stored = [one.consent.id for one in house.state.consents()]
        assert stored == [one.id for one in house.granting.active] == [one.consent.id for one in house.delivered]


def test_killed_between_the_disk_and_the_gate(tmp_path: Path) -> None:
    """Whatever was said is there after the kill; what was not said may be, and is then in force."""
    code = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from owners import House
from firewall.consents import Life
from firewall.granting import Wanted
from firewall.inputs import Author
from rules.consent import Subject

async def main():
    house = House(Path(sys.argv[1]))
    first = len(house.granting.active)
    for n in range(first, 100):
        await house.granting.grant((Wanted(1, "", "anna", Subject.parse(f"name:h{n}.example"), Life.H1, "cli"),), Author("anna"))
        print(n, flush=True)
asyncio.run(main())
"""
    said: list[int] = []
    for _ in range(4):
        child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parents[1] / "helpers")], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(6)]
        os.kill(child.pid, signal.SIGKILL)
        lines += child.stdout.readlines()
        child.stdout.close()
        child.wait()
        said += [int(line) for line in lines if line.endswith("\n")]
        house = House(tmp_path)
        there = [one.subject.what for one in house.granting.active]
        assert len(there) >= len(said)
        assert there == [f"h{n}.example" for n in range(len(there))]
        assert house.delivered == [ConsentsRemembered(tuple(house.granting.active))]  # in force, before any packet
        house.state.close()


@pytest.mark.parametrize("act", ["grant", "revoke"])
def test_killed_exactly_between_the_disk_and_the_gate(tmp_path: Path, act: str) -> None:
    """It was never said, and after the restart it is so: a grant is in force, a revoked one is over."""
    code = """
import asyncio, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from owners import House
from firewall.consents import Life
from firewall.granting import Wanted
from firewall.inputs import Author
from rules.consent import Subject

async def main():
    house = House(Path(sys.argv[1]))
    wanted = (Wanted(1, "", "anna", Subject.parse("name:a.example"), Life.H1, "cli"),)
    if sys.argv[3] == "revoke":
        await house.granting.grant(wanted, Author("anna"))
    house.granting._deliver = lambda batch: os.kill(os.getpid(), 9)
    await (house.granting.revoke([1], Author("ben")) if sys.argv[3] == "revoke" else house.granting.grant(wanted, Author("anna")))
    print("said", flush=True)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parents[1] / "helpers"), act], capture_output=True, text=True, check=False, timeout=100)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, ""), done.stderr
    assert House(tmp_path).grants("anna") == ([1] if act == "grant" else [])


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


async def test_revoking_is_stored_first_and_what_the_core_ends_is_stored_soon(house: House) -> None:
    given, other = await grant(house), await grant(house, slot=2)
    house.delivered.clear()
    order = []
    house.granting._deliver = lambda batch: order.append([one.consent.id for one in house.state.consents()])
    await house.granting.revoke([given.id], BEN)
    assert order == [[other.id]]
    house.granting._deliver = house.deliver
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


# -- questions and consents --------------------------------------------------------------------------------------------


async def test_a_grant_closes_what_it_answers_and_its_end_opens_it_again(house: House) -> None:
    house.tries("anna", ACCOUNT, times=3)
    house.tries("anna", INVENTORY)
    house.tries("tv", ACCOUNT)
    assert house.waiting == ["anna service:xiaomi-account", "anna service:xiaomi-app-inventory", "tv service:xiaomi-account"]
    given = await grant(house)
    await house.inbox.settle("consent 1 by anna", {1})
    assert house.waiting == ["anna service:xiaomi-app-inventory", "tv service:xiaomi-account"]
    house.tries("anna", ACCOUNT)  # passes
    assert len(house.waiting) == 2
    assert house.granting.to_json(given)["flows"] == 1
    await house.granting.revoke([given.id], ANNA)
    passed = FlowKey(6, b"\x0a\x4d\0\x0a", 40_000, b"\xc6\x33\x64\x09", 443)
    seen = next(iter(house.inbox.questions)).seen
    house.see(FlowDecided(1.0, passed.src, passed, seen, Decision(Verdict.ASK, "xiaomi/2", "consent 1 is over", "xiaomi-account", 1)))  # its flow is cut
    assert len(house.waiting) == 2  # nothing has been refused since
    house.tries("anna", ACCOUNT)
    assert house.waiting[0] == "anna service:xiaomi-account"
    assert next(iter(house.inbox.questions)).count == 4


async def test_a_consent_for_something_else_closes_nothing_however_little_was_seen(house: House) -> None:
    """Refused at its first packet, before it could say a name: a name that may still come is no answer."""
    house.deliver((PolicyReplaced(compiled("rules.toml", '[[rule]]\naction = "ask"\nmatch = "addr:198.51.100.9"\n', 2), ANNA),))
    house.tries("anna", names_open=True)
    house.tries("anna", ACCOUNT, XIAOMI, source=Source.DNS, names_open=True)
    assert house.waiting == ["anna addr:198.51.100.9", "anna service:xiaomi-account"]
    await grant(house, subject=Subject.parse("name:b.example"))
    await house.inbox.settle("consent 1 by anna", {1})
    assert len(house.waiting) == 2
    await grant(house)
    await house.inbox.settle("consent 2 by anna", {1})
    assert house.waiting == ["anna addr:198.51.100.9"]
    await grant(house, subject=Subject.parse("addr:198.51.100.0/24"))
    await house.inbox.settle("consent 3 by anna", {1})
    assert house.waiting == []
    house.deliver((PolicyReplaced(compiled("rules.toml", '[[rule]]\naction = "block"\nmatch = "via:none"\n[[rule]]\naction = "ask"\nmatch = "addr:198.51.100.10"\n', 3), ANNA),))
    house.tries("tv", addr="198.51.100.10", names_open=True)
    await house.inbox.settle("revision 3 of the rules")
    assert house.waiting == ["tv addr:198.51.100.10"]


async def test_other_rules_answer_questions_too(house: House) -> None:
    house.tries("anna", ACCOUNT)
    house.tries("anna", "x.example", addr=XIAOMI)
    house.deliver((PolicyReplaced(compiled("rules.toml", '[[rule]]\naction = "block"\nmatch = "service:xiaomi-account"\n', 2), ANNA),))
    await house.inbox.settle("revision 2 of the rules")
    assert house.waiting == []


async def test_questions_are_stored_and_come_back(house: House) -> None:
    house.tries("anna", ACCOUNT, times=10_000)
    await house.inbox.store()
    house.tries("tv", ACCOUNT)
    house.state._db.execute("PRAGMA query_only = ON")
    with pytest.raises(StateError):
        await house.inbox.store()
    house.state._db.execute("PRAGMA query_only = OFF")
    await house.inbox.store()
    writes = house.state._db.total_changes
    await house.inbox.store()
    assert house.state._db.total_changes == writes  # nothing new, nothing written
    house.start()
    assert house.waiting == ["anna service:xiaomi-account", "tv service:xiaomi-account"]
    assert next(iter(house.inbox.questions)).count == 10_000


async def test_garbage_in_the_table_of_questions_opens_nothing_and_stops_nothing(house: House) -> None:
    house.tries("anna", ACCOUNT)
    await house.inbox.store()
    with sqlite3.connect(house.path / "state.db") as db:
        db.executemany("INSERT INTO questions VALUES (?, ?)", [(50, "{"), (51, "[]"), (52, json.dumps({"slot": "x"})), (53, "\x00")])
    house.start()
    assert house.waiting == ["anna service:xiaomi-account"]
    await house.inbox.store()
    assert [number for number, _ in house.state.questions()] == [1]


async def test_garbage_in_the_table_of_consents_lets_nothing_pass(house: House) -> None:
    await grant(house)
    with sqlite3.connect(house.path / "state.db") as db:
        db.execute("UPDATE consents SET kind = 'everything'")
    with pytest.raises(StateError, match="consent 1"):
        house.start()
    assert house.delivered == []


async def test_a_grant_waits_for_no_reader_and_no_reader_for_it(house: House) -> None:
    """While another process holds the database for a moment, the grant is late and whole."""
    with sqlite3.connect(house.path / "state.db", isolation_level=None, check_same_thread=False) as other:
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(0.3, lambda: other.execute("ROLLBACK")).start()
        given = await grant(house)
    assert [one.consent for one in house.state.consents()] == [given]


def test_that_the_bytes_are_on_the_disk_when_it_is_said(tmp_path: Path) -> None:
    """SQLite's own word for it: a commit with synchronous=FULL in WAL mode has called fsync (sqlite.org/pragma.html)."""
    house = House(tmp_path)
    assert house.state._db.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert house.state._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
