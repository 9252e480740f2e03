"""Questions beside consents, with a real state.db and the real gate."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest
from owners import ACCOUNT, ANNA, INVENTORY, XIAOMI, House, grant

from firewall import inbox, questions
from firewall.events import FlowDecided
from firewall.inbox import MOST_TOLD, Inbox
from firewall.inputs import (
    FlowKey,
    PolicyReplaced,
)
from firewall.questions import Question
from firewall.state import StateError
from rules.consent import Subject
from rules.decide import decide
from rules.observation import Source
from rules.store import compiled
from rules.verdict import Decision, Verdict


@pytest.fixture
async def house(tmp_path: Path) -> House:
    return House(tmp_path)


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


def of_many(house: House, phone: str, times: int) -> None:
    for n in range(times):
        house.tries(phone, f"x{n}.example", addr=XIAOMI)


async def test_the_owners_phone_is_asked_about_however_many_macs_are_invented(house: House, monkeypatch) -> None:
    house.deliver((PolicyReplaced(compiled("rules.toml", '[[rule]]\naction = "ask"\nmatch = "port:443"\n', 2), ANNA),))
    monkeypatch.setattr(questions, "MOST", 64)
    of_many(house, "guest", 70)
    assert len(house.waiting) == 64
    house.tries("anna", "bank.example")
    assert house.waiting[-1] == "anna name:bank.example"
    assert len(house.waiting) == 64


async def test_who_follows_is_told_a_few_at_a_time_without_a_decision_each(house: House, monkeypatch) -> None:
    house.deliver((PolicyReplaced(compiled("rules.toml", '[[rule]]\naction = "ask"\nmatch = "port:443"\n', 2), ANNA),))
    followers: list[str] = []
    house.inbox = Inbox(house.state, house.gateway, house.now, house.told.append, followed=lambda: bool(followers))
    of_many(house, "anna", 50)
    house.inbox.tell()
    followers.append("ben")
    house.inbox.tell()
    assert house.told == []  # who begins to follow reads what there is
    of_many(house, "anna", 50)
    decided: list[object] = []
    monkeypatch.setattr(inbox, "decide", lambda *args: (decided.append(args), decide(*args))[1])
    house.inbox.tell()
    assert [one["question"]["id"] for one in house.told] == list(range(1, MOST_TOLD + 1))
    house.inbox.tell()
    assert [one["question"]["id"] for one in house.told] == list(range(1, 51))
    assert decided == []
    house.inbox.tell()
    assert len(house.told) == 50


async def test_the_widths_are_in_order_where_a_question_is_fetched(house: House) -> None:
    house.deliver((PolicyReplaced(compiled("rules.toml", f'[[rule]]\naction = "ask"\nmatch = "addr:{XIAOMI}"\n', 2), ANNA),))
    house.tries("anna", "claimed.example", addr=XIAOMI, answered=False)  # a consent for that name would not do
    (question,) = house.inbox.questions
    fetched = house.inbox.to_json(question)["widths"]
    told = house.inbox.to_json(question, ordered=False)["widths"]
    assert sorted(map(str, fetched)) == sorted(map(str, told))
    assert fetched[0]["kind"] == "addr"
    assert told[0]["kind"] == "name"


async def test_many_are_stored_without_packets_waiting_for_it(house: House, monkeypatch) -> None:
    house.deliver((PolicyReplaced(compiled("rules.toml", '[[rule]]\naction = "ask"\nmatch = "port:443"\n', 2), ANNA),))
    monkeypatch.setattr(inbox, "SLICE", 8)
    of_many(house, "anna", 40)
    written: list[int] = []
    to_row = Question.to_row
    monkeypatch.setattr(Question, "to_row", lambda one: (written.append(one.id), to_row(one))[1])
    storing = asyncio.ensure_future(house.inbox.store())
    await asyncio.sleep(0)
    assert len(written) == 8  # the loop has its turn between them
    house.inbox.questions.put_off(house.inbox.questions.get(1), 2e9)
    await asyncio.gather(storing, house.inbox.store())
    stored = dict(house.state.questions())
    assert len(stored) == 40
    assert json.loads(stored[1])["put_off"] == 2e9  # the newest state is stored last


async def test_what_was_not_stored_since_the_gate_stops_is_stored_at_its_end(house: House, monkeypatch) -> None:
    house.deliver((PolicyReplaced(compiled("rules.toml", '[[rule]]\naction = "ask"\nmatch = "port:443"\n', 2), ANNA),))
    monkeypatch.setattr(inbox, "SLICE", 8)
    of_many(house, "anna", 40)
    storing = asyncio.ensure_future(house.inbox.store())
    await asyncio.sleep(0)
    storing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await storing
    await house.inbox.store()
    assert len(house.state.questions()) == 40


async def test_what_a_grant_has_answered_is_stored_as_answered_and_makes_way(house: House) -> None:
    house.tries("anna", ACCOUNT)
    (question,) = house.inbox.questions
    await house.inbox.store()
    await grant(house, answered=question)
    house.inbox.changed(question)
    await house.inbox.store()
    assert json.loads(dict(house.state.questions())[1])["answer"] == "consent 1 by anna"
