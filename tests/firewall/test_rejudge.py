from __future__ import annotations

from pathlib import Path

import pytest
from house import House
from play import ALLOW, BLOCK, FRIEND, HELD, Play

from firewall import flow as flows
from firewall.commands import MarkFlow
from firewall.inputs import FlowCounted, PacketSeen, PlacesReplaced, Tick
from firewall.names import SHORTEST
from firewall.rejudge import A_TURN, LEARNT_A_TURN


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return Play(tmp=tmp_path)


def marks(play: Play) -> list[tuple[int, str]]:
    return [(command.flow.sport, command.verdict) for command in play.commands if isinstance(command, MarkFlow)]


def test_many_live_flows_are_cut_in_slices_and_all_of_them(play: Play, wire) -> None:
    ports = range(20_000, 20_000 + A_TURN + 10)
    for sport in ports:
        play.packet(wire.tcp(FRIEND, 443, wire.hello("upload.example.net"), sport=sport))
    play.rules('[[rule]]\naction = "block"\nmatch = "name:example.net"\n')
    assert len(marks(play)) == A_TURN
    assert play.wake_at == play.boot
    first = marks(play)
    play << Tick()
    assert first + marks(play) == [(sport, BLOCK) for sport in ports]
    play << Tick()
    assert marks(play) == []
    assert play.wake_at is None


def test_what_the_kernel_had_learnt_is_learnt_again_in_slices(play: Play) -> None:
    for number in range(LEARNT_A_TURN + 1):
        play.answer(("api.account.xiaomi.com",), f"203.0.113.{number}", ttl=SHORTEST)
    play.rules('[[rule]]\naction = "block"\nmatch = "port:25"\n')
    learnt = [command for command in play.commands if type(command).__name__ == "RefuseAddress"]
    play << Tick()
    learnt += [command for command in play.commands if type(command).__name__ == "RefuseAddress"]
    assert len(learnt) == LEARNT_A_TURN + 1


def test_other_databases_let_the_kernel_forget_what_it_learnt_by_the_old_ones(play: Play) -> None:
    play << PlacesReplaced()
    (load,) = [command for command in play.commands if type(command).__name__ == "Reconcile"]
    assert not load.desired.keep_learned


def test_a_flow_that_the_table_has_no_room_for_is_asked_about_again(play: Play, wire, monkeypatch) -> None:
    monkeypatch.setattr(flows, "MOST", 2)
    for sport in (1, 2):
        play.packet(wire.tcp(FRIEND, 443, wire.hello("en.wikipedia.org"), sport=sport))
        assert marks(play) == []
    play.packet(wire.tcp(FRIEND, 443, wire.hello("api.account.xiaomi.com"), sport=3))
    assert marks(play) == [(1, HELD)]
    play.packet(wire.tcp(FRIEND, 443, wire.hello("api.account.xiaomi.com"), sport=4))
    assert marks(play) == [(2, HELD)]
    play.packet(wire.tcp(FRIEND, 443, wire.hello("api.account.xiaomi.com"), sport=5))
    assert marks(play) == []  # what is refused needs nobody to remember it


def test_an_end_that_is_told_late_may_be_that_of_the_connection_before(play: Play, wire) -> None:
    play.packet(wire.tcp(FRIEND, 443, wire.hello("en.wikipedia.org"), seq=1000))
    (flow,) = play.gateway.flows
    play.boot += 200
    play.packet(wire.tcp(FRIEND, 443, wire.hello("en.wikipedia.org"), seq=9_000_000))
    assert play.verdicts()[0][1] is ALLOW
    play << FlowCounted(flow.key, 1, 1, ended=True, late=True)  # of the first one
    assert marks(play) == [(40000, HELD)]
    for late, pause in ((True, 200), (False, 0)):  # nor is one whose end comes long after, or was told in time
        play.packet(wire.tcp(FRIEND, 443, wire.hello("en.wikipedia.org")))
        play.boot += pause
        play << FlowCounted(flow.key, 1, 1, ended=True, late=late)
        assert (marks(play), len(play.gateway.flows)) == ([], 0)


def test_what_was_refused_begins_anew_for_each_of_many_phones_that_are_given_something_at_once(tmp_path: Path, wire) -> None:
    """One grant a turn, and more flows than a turn looks at: nobody is forgotten, and no pass stands behind another."""
    house = House(tmp=tmp_path)
    macs = [bytes.fromhex(f"0200000003{number:02x}") for number in range(4)]
    ports = range(20_000, 20_000 + A_TURN)
    for number, mac in enumerate(macs):
        for sport in ports:
            house << PacketSeen(sport, mac, wire.udp("192.0.2.9", 9999, sport=sport, src=f"10.77.0.{50 + number}"))
    assert len(house.gateway.flows) == len(macs) * len(ports)  # refused: group strict asks
    anew = []
    for mac in macs:
        house.give("addr:192.0.2.9", slot=house.gateway.phones.with_mac(mac).slot)
        anew += house.marks()
    while house.wake_at == house.boot:
        anew += (house << Tick()).marks()
    assert sorted(anew) == sorted((sport, HELD) for sport in ports for _ in macs)
