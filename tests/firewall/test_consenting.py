"""Consents in the gateway, by values: the next try passes, and an end ends everything in the same turn."""

from __future__ import annotations

from pathlib import Path

import pytest
from house import ANNA, CONSENT, HOST, OTHER, A, House
from hypothesis import given, settings
from hypothesis import strategies as st
from play import ALLOW, ASK, FRIEND, HELD, LISTED, MAC, MOVED, packed

from firewall.commands import Exempt, ExpelPair, GiveVerdict, MarkFlow, OpenWay, Reconcile, RefuseAddress, Watch
from firewall.consents import Life
from firewall.events import ConsentGranted, ConsentOver, Trouble
from firewall.inputs import (
    Author,
    CommandFailed,
    ConsentEnded,
    ConsentGiven,
    FlowCounted,
    LockAsked,
    ModeAsked,
    Now,
    PhoneChanged,
    RefusedSeen,
    Tick,
)
from rules.verdict import Verdict


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp=tmp_path)


@pytest.mark.parametrize("to", [FRIEND, "2001:db8:9::9"])
def test_the_next_try_passes_and_the_kernel_knows_for_how_long(house: House, wire, to: str) -> None:
    assert house.upload(wire, 40000, to=to) is ASK
    given = house.give()
    (event,) = house.events
    assert event == ConsentGranted(event.at, given)
    slot = house.gateway.phones.named("phone1").slot
    assert house.of(Exempt) == Exempt(slot, True)  # the kernel's own lists are not for it now
    house.boot += 10
    assert house.upload(wire, 40001, to=to) is CONSENT
    way, verdict = (command for command in house.commands if isinstance(command, (OpenWay, GiveVerdict)))
    assert way == OpenWay(slot, packed(to), 443, 3590.0)
    assert verdict.verdict is CONSENT
    (event,) = house.decided()
    assert (event.decision.consent, event.decision.rule) == (given.id, "xiaomi/2")
    assert house.upload(wire, 40002, name="policy.app.xiaomi.com") is ASK


def test_under_an_address_that_is_new_the_kernel_holds_nothing_against_it_either(house: House) -> None:
    house.ask(HOST).answer((HOST,), MOVED)
    refused = house.of(RefuseAddress)
    assert refused.seconds > 0
    house.give()
    assert RefuseAddress(refused.mac, refused.addr, 0) in house.commands
    house.ask(HOST).answer((HOST,), MOVED)
    assert not [c for c in house.commands if isinstance(c, RefuseAddress)]
    house.revoke(house.number)
    house.ask(HOST).answer((HOST,), MOVED)
    assert house.of(RefuseAddress).seconds > 0


def test_what_had_been_refused_for_good_is_asked_about_again(house: House, wire) -> None:
    house.ask(HOST).answer((HOST,), MOVED)
    house.packet(wire.udp(MOVED, 9999))
    assert house.verdicts()[0][1] is ASK
    house.give()
    assert house.marks() == [(40000, HELD)]
    house.packet(wire.udp(MOVED, 9999))
    assert house.verdicts()[0][1] is CONSENT


def test_revoking_shuts_the_ways_then_cuts_every_flow_in_the_same_turn(house: House, wire) -> None:
    given = house.give()
    for sport in range(40000, 40300):
        assert house.upload(wire, sport, to=(FRIEND, MOVED, "2001:db8:9::9")[sport % 3]) is CONSENT
    assert house.upload(wire, 41000, name="en.wikipedia.org") is ALLOW
    house.revoke(given.id)
    kinds = [type(command) for command in house.commands]
    assert kinds == [*[OpenWay] * 3, *[MarkFlow] * 300, Exempt]
    assert {way.seconds for way in house.ways()} == {0}
    assert house.marks() == [(sport, ASK) for sport in range(40000, 40300)]
    (over,) = house.over()
    assert (over.id, over.why, over.who, over.consent.why, over.consent.ended) == (given.id, "revoked by anna", ANNA, "revoked by anna", over.at)
    decision = house.decided()[0].decision
    assert (decision.verdict, decision.rule, decision.consent) == (ASK, "xiaomi/2", 0)
    assert decision.reason.startswith(f"consent {given.id} is over, revoked by anna; rule xiaomi/2")
    assert house.of(Exempt) == Exempt(given.slot, False)
    assert house.upload(wire, 42000) is ASK


def test_its_time_is_up_by_boot_time_and_at_that_moment(house: House, wire) -> None:
    given = house.give(seconds=900)
    house.upload(wire)
    assert house.wake_at == given.until
    house.tick(899.9)
    assert house.commands == []
    house.tick(0.1)
    assert house.ways()[0].seconds == 0
    assert house.marks() == [(40000, ASK)]
    assert house.over()[0].why == "its time is up"
    house.tick(10)
    assert house.over() == []


@pytest.mark.parametrize("years", [-1, 1, 50])
@pytest.mark.parametrize("trusted", [True, False])
def test_a_wall_clock_that_jumps_by_years_changes_nothing(house: House, wire, years: int, trusted: bool) -> None:
    given = house.give(seconds=900)
    house.upload(wire)
    turn = house.gateway.handle([Tick()], Now(house.boot + 1, 1.7e9 + years * 31_557_600, trusted))
    assert (turn.commands, turn.events, turn.wake_at) == ([], [], given.until)
    turn = house.gateway.handle([Tick()], Now(house.boot + 900, 1.7e9 + years * 31_557_600, trusted))
    assert [type(command) for command in turn.commands] == [OpenWay, MarkFlow, Exempt]


def test_between_its_end_and_the_tick_nothing_new_passes(house: House, wire) -> None:
    house.give(seconds=900)
    house.boot += 900
    assert house.upload(wire) is ASK


def test_once_is_one_connection_of_four(house: House, wire) -> None:
    """decisions.md 9, case 12."""
    given = house.give(life=Life.ONCE, seconds=120)
    assert [house.upload(wire, sport) for sport in range(40000, 40004)] == [CONSENT, ASK, ASK, ASK]
    (first, *_) = house.gateway.flows
    house.tick(7200)
    assert house.commands == []  # as long as it lives
    house << FlowCounted(first.key, 100, 100, ended=True)
    assert house.ways()[0].seconds == 0
    assert (house.over()[0].id, house.over()[0].why) == (given.id, "its flow ended")
    assert house.upload(wire, 40009) is ASK


def test_once_is_over_if_nothing_comes(house: House, wire) -> None:
    house.give(life=Life.ONCE, seconds=120)
    house.tick(120)
    assert house.over()[0].why == "its time is up"
    assert house.upload(wire) is ASK


def test_once_ends_when_its_port_is_used_again(house: House, wire) -> None:
    house.give(life=Life.ONCE, seconds=120)
    assert house.upload(wire) is CONSENT
    house.boot += 60
    assert house.upload(wire) is ASK
    assert house.over()[0].why == "its flow ended"


def test_requests_of_one_connection_are_each_judged(house: House, wire) -> None:
    request = b"POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\n\r\n"
    house.give()
    first, second = request % HOST.encode(), request % b"policy.app.xiaomi.com"
    one = house.packet(wire.tcp(FRIEND, 80, first, seq=1000))
    assert house.verdicts() == [(one, CONSENT, Watch.NAMES)]
    two = house.packet(wire.tcp(FRIEND, 80, second, seq=1000 + len(first)), watched=True)
    assert house.verdicts() == [(two, ASK, Watch.NONE)]
    assert house.ways()[0].seconds == 0
    kinds = [type(command) for command in house.commands]
    assert kinds.index(OpenWay) < kinds.index(GiveVerdict)


def test_a_block_above_is_not_overruled_and_one_that_comes_later_cuts(house: House, wire) -> None:
    house.give()
    assert house.upload(wire) is CONSENT
    house.rules(f'[[rule]]\naction = "block"\nmatch = "name:{HOST}"\n')
    assert house.marks() == [(40000, Verdict.BLOCK)]
    assert house.ways()[0].seconds == 0
    assert house.commands.index(house.ways()[0]) < house.commands.index(house.of(MarkFlow))
    assert house.upload(wire, 40001) is Verdict.BLOCK
    house.rules(f'[[rule]]\naction = "allow"\nmatch = "name:{HOST}"\n')
    assert house.upload(wire, 40002) is ALLOW
    assert house.ways() == []


def test_what_is_allowed_now_needs_its_consent_no_more(house: House, wire) -> None:
    given = house.give()
    house.upload(wire)
    house.rules(f'[[rule]]\naction = "allow"\nmatch = "name:{HOST}"\n')
    marks = [command for command in house.commands if isinstance(command, (MarkFlow, OpenWay))]
    assert [type(mark) for mark in marks] == [MarkFlow, OpenWay]  # never without either
    house.revoke(given.id)
    assert house.marks() == []


def test_another_consent_takes_over_what_it_is_for(house: House, wire) -> None:
    second, first = house.give(seconds=43_200), house.give(f"name:{HOST}")
    house.upload(wire)
    house.revoke(first.id)
    assert [(c.verdict, c.flow.sport) for c in house.commands if isinstance(c, MarkFlow)] == [(CONSENT, 40000)]
    assert house.ways()[0].seconds == 43_200
    assert house.decided()[0].decision.consent == second.id
    house.revoke(second.id)
    assert house.marks() == [(40000, ASK)]
    assert house.ways()[0].seconds == 0


def test_a_flow_that_needs_two_consents_ends_with_either(house: House, wire) -> None:
    house.rules('[[rule]]\naction = "ask"\nmatch = "port:443"\n[[rule]]\naction = "ask"\nmatch = "service:xiaomi-account"\n')
    name, service = house.give("addr:198.18.0.0/16"), house.give()
    assert house.upload(wire) is CONSENT
    assert house.decided()[0].decision.consent == name.id
    house.revoke(name.id)
    assert house.marks() == [(40000, ASK)]
    house.revoke(service.id)
    assert house.marks() == []


def test_two_owners_at_once_and_an_id_that_never_was(house: House, wire) -> None:
    given = house.give()
    house.upload(wire)
    house.revoke(given.id)
    house.revoke(given.id)
    assert (house.commands, house.events) == ([], [])
    house.revoke(4711)
    assert (house.commands, house.events) == ([], [])
    one, two = house.consent(), house.consent()
    turn = house.gateway.handle([ConsentGiven(one), ConsentGiven(two), ConsentEnded(one.id, "revoked by ben", Author("ben"))], Now(house.boot, 1e9, trusted=True))
    assert [type(event) for event in turn.events] == [ConsentGranted, ConsentGranted, ConsentOver]
    assert house.upload(wire, 40001) is CONSENT


def test_a_group_has_consents_and_who_comes_into_it_or_leaves_it_follows(house: House, wire) -> None:
    given = house.give(slot=0, group="home")
    mine = house.gateway.phones.named("phone1")
    assert house.of(Exempt).slot == mine.slot
    assert house.upload(wire) is CONSENT
    assert house.upload(wire, 40001, mac=OTHER, src="10.77.0.11") is ASK  # nobody has named it
    assert not [c for c in house.commands if isinstance(c, Exempt)]
    other = house.gateway.phones.at(packed("10.77.0.11"))
    house << PhoneChanged(house.gateway.phones.edited(other.name, group="home"), "into home", ANNA)
    assert house.of(Reconcile).desired.exempt == (mine.slot, other.slot)
    assert house.upload(wire, 40002, mac=OTHER, src="10.77.0.11") is CONSENT
    house << PhoneChanged(house.gateway.phones.edited("phone1", group="kids"), "into kids", ANNA)
    assert (40000, ASK) in house.marks()
    house.revoke(given.id)
    assert house.marks() == [(40002, ASK)]


def test_a_phone_that_leaves_a_group_leaves_its_consents_at_once(house: House, wire, monkeypatch) -> None:
    monkeypatch.setattr("firewall.rejudge.A_TURN", 1)
    house.give(slot=0, group="home")
    for sport in range(40000, 40005):
        house.upload(wire, sport)
    house << PhoneChanged(house.gateway.phones.edited("phone1", group="kids"), "into kids", ANNA)
    assert house.marks() == [(sport, ASK) for sport in range(40000, 40005)]


def test_a_new_phone_of_a_group_with_a_consent_reaches_us(house: House, wire) -> None:
    house.give(slot=0, group="strict", subject="addr:0.0.0.0/0")
    assert house.upload(wire, 40001, mac=OTHER, src="10.77.0.11") is CONSENT
    assert house.of(Exempt) == Exempt(house.gateway.phones.at(packed("10.77.0.11")).slot, True)


def test_a_phone_that_is_forgotten_takes_its_consents_along(house: House, wire) -> None:
    house.give()
    house.upload(wire)
    slot = house.gateway.phones.named("phone1").slot
    house << PhoneChanged(None, "phone1 was forgotten", ANNA, forgotten=slot)
    assert house.over()[0].why == "the phone was forgotten"
    assert (40000, ASK) in house.marks()
    assert house.ways()[0].seconds == 0
    late = house.give(slot=slot)  # of somebody who had not heard of it
    assert house.over()[0].id == late.id


@pytest.mark.parametrize("moves", [True, False])
def test_consents_of_a_phone_that_is_joined_to_another_move_if_its_owner_says_so(house: House, wire, moves: bool) -> None:
    house.upload(wire, 40001, mac=OTHER, src="10.77.0.11")
    phones = house.gateway.phones
    other, mine = phones.at(packed("10.77.0.11")), phones.named("phone1")
    given = house.give("addr:0.0.0.0/0", slot=other.slot)
    assert house.upload(wire, 40002, mac=OTHER, src="10.77.0.11") is CONSENT
    house << PhoneChanged(phones.joined(other.name, "phone1"), "joined", ANNA, forgotten=other.slot, consents=moves)
    assert (40002, HELD if moves else ASK) in house.marks()
    assert [way.seconds for way in house.ways()] == [0]
    assert bool(house.over()) is not moves
    assert house.upload(wire, 40003, mac=OTHER, src="10.77.0.11") is (CONSENT if moves else ASK)
    assert house.upload(wire, 40004) is (CONSENT if moves else ASK)
    if moves:
        assert house.gateway.consents.get(given.id).slot == mine.slot


def test_who_invents_macs_takes_no_place_of_a_phone_with_a_consent_and_no_names_with_another(tmp_path: Path, monkeypatch, wire) -> None:
    monkeypatch.setattr("firewall.phones.MOST", 2)
    house = House(tmp=tmp_path)
    house.upload(wire, 40001, mac=OTHER, src="10.77.0.11")
    guest = house.gateway.phones.at(packed("10.77.0.11"))
    given = house.give(f"name:{HOST}", slot=guest.slot, life=Life.REVOKED, seconds=None)
    house.gateway.names.learn(guest, (HOST,), (packed(MOVED),), 60, house.boot)
    house.tick(7200)
    assert house.of(ExpelPair)
    for number in range(3):
        invented = bytes.fromhex(f"02000000020{number}")
        assert house.upload(wire, 40002, mac=invented, src=f"10.77.0.2{number}") is ASK
        assert house.gateway.phones.with_mac(invented) is house.gateway.phones.stranger
        house.boot += 2
    assert house.over() == []
    assert house.upload(wire, 40003, mac=OTHER, src="10.77.0.30") is CONSENT
    house.revoke(given.id)
    house.tick(7200)
    house.upload(wire, 40004, mac=bytes.fromhex("0200000001fe"), src="10.77.0.12")
    newest = house.gateway.phones.at(packed("10.77.0.12"))
    assert newest.slot == guest.slot
    assert house.gateway.names.chains(newest, packed(MOVED), house.boot) == ()


def test_a_phone_that_is_watched_goes_on_being_watched(house: House, wire) -> None:
    house << ModeAsked("watch", ANNA)
    given = house.give()
    assert house.upload(wire) is CONSENT
    house.revoke(given.id)
    assert house.marks() == [(40000, Verdict.WATCH)]


def test_a_new_address_of_a_phone_with_a_consent_is_admitted_though_the_kernel_lists_where_it_goes(house: House, wire) -> None:
    house.give()
    house << RefusedSeen(MAC, wire.tcp(LISTED, 443, flags=2))
    assert house.decided() == []
    assert house.gateway.phones.at(packed(wire.PHONE)) is house.gateway.phones.named("phone1")
    assert house.upload(wire, to=LISTED) is CONSENT


def test_a_locked_gate_opens_nothing_new(house: House, wire) -> None:
    given = house.give()
    house.upload(wire)
    house << LockAsked(True, ANNA)
    assert house.upload(wire, 40001) is HELD
    house.revoke(given.id)
    assert house.marks() == [(40000, ASK)]


def test_icmp_is_never_consented_for_it_has_no_port(house: House, wire) -> None:
    house.give("addr:42.62.48.0/24")
    echo = bytearray(wire.udp(LISTED, 0, b"\x08\0\0\0\0\1\0\1"))
    echo[9] = 1
    house.packet(bytes(echo[:20] + echo[28:]))
    assert house.verdicts()[0][1] is ASK


def test_a_way_that_the_kernel_does_not_take_is_no_way(house: House, wire) -> None:
    house.give()
    house.upload(wire)
    (way,) = house.ways()
    house << CommandFailed(way, "Too many open files in system")
    assert house.marks() == [(40000, ASK)]
    assert "could not open its way" in house.decided()[0].decision.reason
    assert any(isinstance(event, Trouble) for event in house.events)
    house << CommandFailed(OpenWay(way.slot, way.addr, way.port, 0), "Operation not permitted")
    assert house.marks() == []


# -- many flows at once ------------------------------------------------------------------------------------------------


@pytest.fixture
def many(house: House, wire, monkeypatch) -> House:
    """Twenty flows by one consent, six of them by a way that another consent keeps open too; four are cut a turn."""
    monkeypatch.setattr("firewall.rejudge.AT_ONCE", 4)
    monkeypatch.setattr("firewall.consenting.AT_ONCE", 4)
    monkeypatch.setattr("firewall.rejudge.A_TURN", 4)
    house.give()
    house.give("name:policy.app.xiaomi.com")
    for sport in range(40000, 40020):
        assert house.upload(wire, sport, to=MOVED if sport >= 40014 else FRIEND) is CONSENT
    assert house.upload(wire, 41000, "policy.app.xiaomi.com", to=MOVED) is CONSENT
    return house


def test_of_many_flows_the_ways_are_shut_before_any_is_decided_and_the_rest_follows_in_slices(many: House) -> None:
    ended = many.number - 1
    many.revoke(ended)
    assert (many.commands[0].addr, many.commands[0].seconds) == (packed(FRIEND), 0)
    assert len(many.ways()) == len({way.addr for way in many.ways()})
    assert len(many.decided()) <= 8, "not all of them in one turn"
    assert [sport for sport, _ in many.marks()][:6] == list(range(40014, 40020)), "first what the kernel still lets pass"
    marks, turns = many.marks(), 0
    while many.wake_at == many.boot:
        many.tick()
        marks += many.marks()
        turns += 1
    assert turns == 4
    assert sorted(marks) == [(sport, ASK) for sport in range(40000, 40020)]
    assert {flow.key.sport for flow in many.gateway.flows if flow.decision.consent} == {41000}
    assert list(many.gateway.consents.ways) == [(many.gateway.phones.named("phone1").slot, packed(MOVED), 443)]


def test_no_way_is_opened_again_while_flows_that_are_over_wait_there(many: House, wire) -> None:
    ended = many.number - 1
    many.revoke(ended)
    told = []
    for _ in range(3):
        assert any(flow.decision.consent == ended for flow in many.gateway.flows)
        told.append(many.upload(wire, 43000, "policy.app.xiaomi.com", to=FRIEND))  # another consent is for it
        assert many.ways() == []
    assert told == [HELD] * 3
    while many.wake_at == many.boot:
        many.tick()
    assert many.upload(wire, 43000, "policy.app.xiaomi.com", to=FRIEND) is CONSENT
    assert many.decided()[-1].decision.consent == many.number


def test_what_another_consent_is_for_as_well_begins_anew_where_its_way_had_to_be_shut(many: House, wire) -> None:
    for sport in range(44000, 44010):
        assert many.upload(wire, sport, to="203.0.113.9") is CONSENT
    over = many.give(f"name:{HOST}")  # from now on they pass by this one
    while many.wake_at == many.boot:
        many.tick()
    many.revoke(over.id)
    marks = many.marks()
    while many.wake_at == many.boot:
        assert not [way for way in many.ways() if way.seconds != 0 and many.gateway.consents.shut((way.slot, way.addr, way.port))]
        many.tick()
        marks += many.marks()
    assert {verdict for _, verdict in marks} == {HELD, CONSENT}
    assert len(marks) == len(dict(marks)) == 30
    assert many.upload(wire, 45000, to=FRIEND) is CONSENT


def test_many_consents_whose_time_is_up_together_decide_each_flow_once(house: House, wire) -> None:
    given = [house.give(f"name:{HOST}", seconds=60) for _ in range(20)]
    for sport in range(40000, 40010):
        house.upload(wire, sport)
    house.tick(60)
    assert len(house.over()) == len(given)
    assert [event.decision.reason.split(",")[0] for event in house.decided()] == [f"consent {given[0].id} is over"] * 10


# -- who is only watched -----------------------------------------------------------------------------------------------


def test_a_consent_takes_nothing_from_a_phone_that_is_only_watched(house: House, wire, monkeypatch) -> None:
    monkeypatch.setattr("firewall.consents.MOST_OF_A_PHONE", 1)
    house << ModeAsked("watch", ANNA)
    assert house.upload(wire, 39999) is Verdict.WATCH
    house.give()
    (way,) = house.ways()
    assert house.upload(wire, 40000) is CONSENT
    assert house.upload(wire, 40001, to=MOVED) is Verdict.WATCH  # no room for a second way
    (event,) = house.decided()
    assert (event.decision.verdict, event.decision.consent) == (Verdict.WATCH, 0)
    assert "1 ways are open" in event.decision.reason
    house << CommandFailed(way, "Too many open files in system")
    assert house.marks() == [(39999, Verdict.WATCH), (40000, Verdict.WATCH)]
    assert house.decided()[0].decision.consent == 0


# -- whatever happens --------------------------------------------------------------------------------------------------


SUBJECTS = st.sampled_from([A, f"name:{HOST}", "name:xiaomi.com", "addr:198.18.0.0/16", "service:xiaomi-cloud"])
ACTS = st.one_of(
    st.tuples(st.just("give"), SUBJECTS, st.sampled_from([(Life.ONCE, 120), (Life.M15, 900), (Life.REVOKED, None)])),
    st.tuples(st.just("give group"), SUBJECTS, st.sampled_from([(Life.M15, 900), (Life.REVOKED, None)])),
    st.tuples(st.just("upload"), st.integers(40000, 40005), st.sampled_from([HOST, "en.wikipedia.org", "policy.app.xiaomi.com"])),
    st.tuples(st.just("end"), st.integers(7, 12)),
    st.tuples(st.just("flow ends"), st.integers(40000, 40005)),
    st.tuples(st.just("time"), st.sampled_from([1, 60, 400, 900])),
    st.tuples(st.just("rules"), st.sampled_from(["", '[[rule]]\naction = "block"\nmatch = "name:api.account.xiaomi.com"\n', '[[rule]]\naction = "ask"\nmatch = ""\n'])),
)


class Kernel:
    """What it would let pass: connection marks, and the ways with their time."""

    def __init__(self) -> None:
        self.marks: dict[object, Verdict] = {}
        self.ways: dict[tuple[int, bytes, int], float] = {}

    def carry_out(self, house: House) -> None:
        asked = {event.flow: None for event in house.decided()}
        for command in house.commands:
            if isinstance(command, OpenWay):
                way = command.slot, command.addr, command.port
                if command.seconds == 0:
                    self.ways.pop(way, None)
                else:
                    self.ways[way] = float("inf") if command.seconds is None else house.boot + command.seconds
            elif isinstance(command, MarkFlow):
                self.marks[command.flow] = command.verdict
            elif isinstance(command, GiveVerdict) and len(asked) == 1 and command.verdict is CONSENT:
                (flow,) = asked
                self.marks[flow] = command.verdict
                assert self.passes(flow, house), "the way is open before the verdict is given"

    def passes(self, flow, house: House) -> bool:
        slot = house.gateway.phones.named("phone1").slot
        return self.marks.get(flow) is CONSENT and self.ways.get((slot, flow.dst, flow.dport), 0) > house.boot


@settings(max_examples=60, deadline=None)
@given(st.lists(ACTS, max_size=14))
def test_no_flow_ever_outlives_the_consent_that_let_it_pass(wire, tmp_path_factory, acts) -> None:
    house, kernel = House(tmp=tmp_path_factory.mktemp("house")), Kernel()
    for act, *what in acts:
        match act:
            case "give":
                house.give(what[0], *what[1])
            case "give group":
                house.give(what[0], *what[1], slot=0, group="home")
            case "upload":
                house.boot += 5  # no burst: each is a new connection
                house.upload(wire, *what)
            case "end":
                house.revoke(what[0])
            case "flow ends":
                (key,) = [flow.key for flow in house.gateway.flows if flow.key.sport == what[0]] or [None]
                if key is not None:
                    house.boot += 5
                    house << FlowCounted(key, 1, 1, ended=True)
            case "time":
                house.tick(what[0])
            case "rules":
                house.rules(what[0])
        kernel.carry_out(house)
        while house.wake_at is not None and house.wake_at <= house.boot:
            house.tick()
            kernel.carry_out(house)
        active = {consent.id: consent for consent in house.gateway.consents}
        for flow in house.gateway.flows:
            if flow.decision.consent:
                assert active[flow.decision.consent].in_force(house.boot)
                assert kernel.passes(flow.key, house)
            elif kernel.marks.get(flow.key) is CONSENT:
                assert not kernel.passes(flow.key, house) or flow.decision.verdict is not CONSENT
        used = {(flow.phone.slot, flow.key.dst, flow.key.dport) for flow in house.gateway.flows if flow.decision.consent}
        assert set(kernel.ways) == used == set(house.gateway.consents.ways)
        for consent in active.values():
            assert consent.until is None or consent.until > house.boot
