from __future__ import annotations

import json
import time
from collections import Counter
from ipaddress import ip_address

from firewall import questions
from firewall.events import FlowDecided
from firewall.inputs import FlowKey
from firewall.questions import DARK, DNS, HTTP, PUSH, TLS, TUNNEL, Question, Questions, Topic, place_of
from rules.consent import Kind, Subject
from rules.observation import Name, Observation, Place, Sign, Source
from rules.verdict import Decision, Verdict

THERE = ip_address("198.51.100.9").packed
NETEASE = Place("CN", "CN", 45_062, "Netease")
SERVICE = Subject(Kind.SERVICE, "xiaomi-account")


def asked(name: str = "", *, source: Source = Source.SNI, at: float = 10.0, service: str = "", addr: bytes = THERE, answered=None, place: Place | None = NETEASE):
    said = (Name(name, source),) if name else ()
    seen = Observation("anna", "tcp", addr, 443, ((name,),) if answered is None and name else answered or (), said, group="home", place=place)
    return FlowDecided(at, THERE, FlowKey(6, THERE, 1, addr, 443), seen, Decision(Verdict.ASK, "xiaomi/2", "why", service, 3))


def test_what_was_kept_back_is_added_up_and_stored() -> None:
    known = Questions()
    for tried in (400, 0, 112):
        question = known.fold(asked("a.example")._replace(tried=tried), 1, by_service=False)
    assert question.tried == 512
    assert Question.from_row(1, question.to_row()).tried == 512
    old = question.to_row()
    del old["tried"]  # as an earlier version stored it
    assert Question.from_row(1, old).tried == 0


def fold(known: Questions, slot: int = 1, **more) -> Question | None:
    return known.fold(asked(**more), slot, by_service=bool(more.get("service")))


def test_many_tries_of_one_phone_and_service_are_one_question() -> None:
    known = Questions()
    for n in range(12):
        fold(known, name=f"h{n % 11}.xiaomi.com", service="xiaomi-account", at=10.0 + n)
    (one,) = known
    assert (one.topic, one.count, one.first, one.last) == (Topic(1, SERVICE), 12, 10.0, 21.0)
    assert (len(one.names), one.names["h0.xiaomi.com"], one.more) == (8, 2, 3)
    assert place_of(one) == {"country": "CN", "operator_country": "CN", "asn": 45_062, "organisation": "Netease", "operator": ""}
    fold(known, slot=2, name="h0.xiaomi.com", service="xiaomi-account")
    assert len(list(known)) == 2


def test_what_it_is_about_follows_the_rule_that_asked() -> None:
    known = Questions()
    fold(known, name="a.example.com")
    fold(known, name="b.example.com")
    fold(known, name="router")
    fold(known)
    fold(known, answered=(("a.example",), ("b.example",)))  # ambiguous: only the address is known
    assert [(str(one.topic.subject), one.count) for one in known] == [("name:example.com", 2), ("name:router", 1), ("addr:198.51.100.9", 2)]


def test_widths_begin_with_what_to_offer() -> None:
    known = Questions()
    by_service = fold(known, name=f"api.account.{'x'}iaomi.com", service="xiaomi-account")
    assert [str(width) for width in by_service.widths] == ["service:xiaomi-account", "name:api.account.xiaomi.com", "name:xiaomi.com", "addr:198.51.100.9"]
    one_name = fold(known, name="a.example.com")
    assert [str(width) for width in one_name.widths] == ["name:a.example.com", "name:example.com", "addr:198.51.100.9"]
    fold(known, name="b.example.com")
    assert [str(width) for width in one_name.widths] == ["name:example.com", "name:b.example.com", "addr:198.51.100.9"]
    assert [str(width) for width in fold(known).widths] == ["addr:198.51.100.9"]
    assert [str(width) for width in fold(known, name="example.org").widths] == ["name:example.org", "addr:198.51.100.9"]


def test_whether_it_could_be_read() -> None:
    known = Questions()
    question = fold(known, name="", answered=(("a.example",),))
    assert question.readable == DARK
    fold(known, name="a.example")
    assert question.readable == TLS
    fold(known, name="a.example", source=Source.HTTP)
    fold(known, name="a.example")
    assert question.readable == HTTP  # once is enough
    assert fold(known, name="b.example", source=Source.QUIC).readable == TLS
    assert fold(known, name="c.example", source=Source.XIAOMI).readable == PUSH
    assert fold(known, name="d.example", source=Source.DNS_ELSEWHERE).readable == DNS
    seen = asked(addr=ip_address("198.51.100.10").packed)
    assert known.fold(seen._replace(seen=seen.seen._replace(signs=(Sign.TUNNEL,))), 1, by_service=False).readable == TUNNEL


def test_an_echo_request_is_counted_and_no_consent_is_tried_on_it() -> None:
    known = Questions()
    question = fold(known, service="xiaomi-account", name="a.example")
    echo = asked(service="xiaomi-account")
    known.fold(echo._replace(seen=echo.seen._replace(proto="icmp", port=None)), 1, by_service=True)
    assert (question.count, question.seen.proto, question.seen.port) == (2, "tcp", 443)


def test_bounded_for_a_phone_and_in_all_and_the_rest_is_counted(monkeypatch) -> None:
    known = Questions()
    for n in range(questions.MOST_OF_A_PHONE + 10):
        fold(known, name=f"x{n}.example")
    assert (len(list(known)), known.uncounted) == (64, {1: 10})
    assert fold(known, slot=2, name="x.example") is not None  # no phone takes another's place
    answered = next(iter(known))
    known.close(answered, "consent 1 by anna")
    assert fold(known, name="x100.example") is not None  # what was answered makes way
    assert known.get(answered.id) is None
    assert answered.id in known.gone
    monkeypatch.setattr(questions, "MOST", 65)
    assert fold(known, slot=3, name="x.example") is None
    known.forget(1)
    assert (len(list(known)), known.uncounted) == (1, {3: 1})


def test_ten_thousand_tries_are_one_question_and_cost_little() -> None:
    known = Questions()
    events = [asked(name="api.account.xiaomi.com", service="xiaomi-account", at=float(n)) for n in range(10_000)]
    began = time.process_time()
    for event in events:
        known.fold(event, 1, by_service=True)
    spent = time.process_time() - began
    (one,) = known
    assert (one.count, known.changed) == (10_000, {one.id})
    assert spent < 1.0, f"{spent * 100:.1f} us each"


def test_answered_ones_leave_and_a_new_refused_try_opens_them_again() -> None:
    known = Questions()
    question = fold(known, name="a.example")
    known.close(question, "consent 7 by anna")
    assert known.waiting(20.0) == []
    assert fold(known, name="a.example") is question
    assert (known.waiting(20.0), question.count, question.answer) == ([question], 2, "")


def test_put_off_comes_back_by_itself_and_a_wild_clock_hides_nothing_for_ever() -> None:
    known = Questions()
    question = fold(known, name="a.example")
    known.put_off(question, 3_600.0)
    assert known.waiting(100.0) == []
    assert known.waiting(3_600.0) == [question]
    assert known.waiting(3_600.0 - 366 * 86_400.0) == [question]


def test_stored_ones_come_back_as_they_were_and_garbage_is_dropped() -> None:
    known = Questions()
    fold(known, name="api.account.xiaomi.com", service="xiaomi-account")
    fold(known, addr=ip_address("2001:db8::1").packed, place=None)
    seen = asked(name="d.example")
    known.fold(seen._replace(seen=seen.seen._replace(signs=(Sign.XIAOMI,), names_open=True)), 1, by_service=False)
    fold(known, name="\u202egpj.exe.example", source=Source.HTTP)
    rows = [(one.id, json.loads(json.dumps(one.to_row()))) for one in known]
    again = Questions([*rows, (77, {}), (78, {"seen": []}), (79, rows[0][1] | {"subject": ["magic", "x"]}), (80, rows[0][1] | {"names": 7}), (81, [])])
    assert list(again) == list(known)
    assert again.gone == {77, 78, 79, 80, 81}
    assert fold(again, slot=9, name="new.example").id == 82  # numbers are not given twice


def full(monkeypatch, named=frozenset(), phones: int = 4, each: int = 8) -> Questions:
    """No place is left: unnamed phones from slot 10 on have as many as each may have."""
    monkeypatch.setattr(questions, "MOST", phones * each)
    monkeypatch.setattr(questions, "MOST_OF_A_PHONE", each)
    known = Questions((), lambda slot: slot in named)
    for slot in range(10, 10 + phones):
        for n in range(each):
            assert fold(known, slot, name=f"x{n}.example", at=float(slot * 100 + n)) is not None
    return known


def sizes(known: Questions) -> dict[int, int]:
    return dict(sorted(Counter(one.topic.slot for one in known).items()))


def test_invented_macs_cannot_take_the_places_of_who_is_named(monkeypatch) -> None:
    known = full(monkeypatch, {1})
    oldest = next(one for one in known if one.topic.slot == 10)
    mine = [fold(known, 1, name=f"bank{n}.example") for n in range(8)]
    assert None not in mine
    assert sizes(known) == {1: 8, 10: 6, 11: 6, 12: 6, 13: 6}  # whoever has the most gives one
    assert (known.get(oldest.id), oldest.id in known.gone, known.uncounted) == (None, True, {10: 2, 11: 2, 12: 2, 13: 2})
    assert fold(known, 1, name="bank8.example") is None  # that is its share
    for n in range(50):
        fold(known, 10, name=f"y{n}.example")
    assert [one for one in known if one.topic.slot == 1] == mine


def test_the_unnamed_come_by_equal_shares_and_do_not_take_turns(monkeypatch) -> None:
    known = full(monkeypatch)
    for n in range(20):
        fold(known, 20, name=f"new{n}.example")
    assert sizes(known) == {10: 6, 11: 6, 12: 7, 13: 7, 20: 6}
    before = list(known)
    for slot in (10, 11, 20):
        assert fold(known, slot, name="one-more.example") is None
    assert list(known) == before


def test_one_that_is_named_meanwhile_keeps_its_questions_until_it_is_forgotten(monkeypatch) -> None:
    named = {1}
    known = full(monkeypatch, named, phones=2)
    named |= {10, 11}
    assert fold(known, 1, name="bank.example") is None
    known.forget(10)
    named.remove(10)
    assert sizes(known) == {11: 8}
    for n in range(8):
        fold(known, 10, name=f"x{n}.example")  # another's slot now
    assert fold(known, 1, name="bank.example") is not None
    assert sizes(known) == {1: 1, 10: 7, 11: 8}


def test_what_is_answered_makes_way_before_what_is_open_the_longest_answered_first(monkeypatch) -> None:
    known = full(monkeypatch, {1})
    third, first = (known.get(number) for number in (3, 1))
    known.close(third, "consent 1 by anna")
    known.close(first, "consent 2 by anna")
    assert fold(known, 1, name="a.example") is not None
    assert (known.get(3), known.get(1)) == (None, first)
    fold(known, 10, name="x0.example")  # tried again: open
    assert first.answer == ""
    assert fold(known, 1, name="b.example") is not None
    assert known.get(1) is first
    assert sizes(known)[11] == 7
    known.close(third, "consent 3 by anna")  # it is no more; nothing comes back
    assert (known.get(3), 3 in known.changed) == (None, False)
    again = Questions([(one.id, one.to_row()) for one in known], lambda slot: slot == 1)
    again.close(again.get(2), "consent 4 by anna")
    stored = Questions([(one.id, one.to_row()) for one in again], lambda slot: slot == 1)
    assert fold(stored, 1, name="c.example") is not None
    assert stored.get(2) is None


def test_a_try_for_which_there_is_no_place_costs_little() -> None:
    known = Questions((), lambda slot: slot == 1)
    for slot in range(10, 74):
        for n in range(64):
            fold(known, slot, name=f"x{n}.example")
    assert len(list(known)) == questions.MOST
    events = {slot: [asked(name=f"y{n % 100}.example") for n in range(5_000)] for slot in (10, 90)}
    known.fold(events[90][0], 90, by_service=False)
    began = time.process_time()
    for n in range(5_000):
        known.fold(events[10][n], 10, by_service=False)  # has its share
    for n in range(5_000):
        known.fold(events[90][n], 1 + 89 * (n % 2), by_service=False)  # takes others' places
    spent = time.process_time() - began
    assert spent < 1.0, f"{spent * 100:.1f} us each"


def test_two_stored_for_one_topic_are_one() -> None:
    known = Questions()
    row = fold(known, name="a.example").to_row()
    again = Questions([(1, row), (2, row)])
    assert ([one.id for one in again], again.gone) == ([1], {2})
    again.forget(1)
    assert list(again) == []
