from __future__ import annotations

from pathlib import Path

import pytest
from play import ALLOW, ASK, BLOCK, FRIEND, HELD, MAC, MOVED, Play, packed

from firewall.commands import Acknowledge, AskForLife, GiveVerdict, Watch
from firewall.consents import Consent, Consents, Life
from firewall.dissect import ip
from firewall.flow import Flow
from firewall.inputs import FlowKey, Now, PacketSeen, Tick
from firewall.judge import Judge
from firewall.names import NameTable
from firewall.phones import Phones
from firewall.speech import NO_NAME
from rules import store
from rules.consent import Grant, Subject
from rules.observation import Place

NOW = Now(100.0, 1e9, trusted=True)
HOST = "api.account.xiaomi.com"


class House:
    def __init__(self, file: Path) -> None:
        self.phones, self.names, self.consents = Phones(given={MAC: "phone1"}), NameTable(), Consents()
        self.judge = Judge(self.phones, self.names, self.consents, lambda addr: Place("SG") if addr == packed(MOVED) else Place())
        self.judge.policy = store.load(file, 4)
        self.phone = self.phones.named("phone1")

    def flow(self, to: str = FRIEND) -> Flow:
        return Flow(FlowKey(17, packed("10.77.0.10"), 9, packed(to), 443), MAC, self.phone)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "rules.toml")


def test_everything_that_is_known_of_a_flow_is_in_its_observation(house: House) -> None:
    house.names.learn(house.phone, (HOST,), (packed(MOVED),), 60, NOW.boot)
    house.consents.put(Consent(7, house.phone.slot, "", "phone1", Subject.parse("name:a.example"), Life.H1, 0.0, "anna", None, "cli", 200.0))
    seen = house.judge.observe(house.flow(MOVED), NO_NAME, NOW)
    assert (seen.phone, seen.group, seen.proto, seen.addr, seen.port) == ("phone1", "home", "udp", packed(MOVED), 443)
    assert (seen.answered, seen.place.country, seen.names_open) == (((HOST,),), "SG", False)
    assert seen.consents == (Grant(7, Subject.parse("name:a.example")),)
    assert house.judge.observe(house.flow(), NO_NAME, Now(200.0, 1e9, trusted=True)).consents == ()


def test_a_live_flow_keeps_the_names_it_was_judged_by(house: House) -> None:
    flow = house.flow()
    flow.answered = (("old.example",),)
    house.names.learn(house.phone, ("new.example",), (packed(FRIEND),), 60, NOW.boot)
    assert house.judge.again(flow, NOW).answered == (("old.example",), ("new.example",))


def test_an_early_decision_is_one_that_no_name_changes(house: House) -> None:
    assert house.judge.early(house.flow(), NOW) is None
    early = house.judge.early(house.flow("42.62.48.181"), NOW)
    assert early is not None
    assert early[1].verdict is ASK


def test_only_what_is_blocked_is_not_answered(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text('[[rule]]\naction = "block"\nmatch = "name:tracker.example"\n')
    house = House(tmp_path / "rules.toml")
    assert house.judge.blocked(house.phone, (HOST,)) is None
    blocked = house.judge.blocked(house.phone, ("shop.example", "tracker.example"))
    assert blocked is not None
    assert blocked[1].verdict is BLOCK
    house.phones.mode = "watch"
    watched = house.judge.blocked(house.phone, ("tracker.example",))
    assert watched is not None
    assert watched[1].verdict == "watch"


def test_how_much_hangs_on_a_name(house: House) -> None:
    def weighs(*chain: str) -> int:
        return house.judge.weighs(house.phone, chain, packed(FRIEND), NOW.boot)

    assert [weighs("friendly.example"), weighs("shop.example", HOST), weighs(HOST)] == [0, 2, 2]
    house.consents.put(Consent(7, house.phone.slot, "", "phone1", Subject.parse(f"name:{HOST}"), Life.H1, 0.0, "anna", None, "cli", 200.0))
    assert [weighs("friendly.example"), weighs(HOST)] == [0, 1]
    house.phones.mode = "watch"
    assert weighs("app.chat.xiaomi.net") == 2, "what is only watched today is refused tomorrow"
    house.judge.policy = None
    assert weighs(HOST) == 0


@pytest.mark.parametrize(
    "rules",
    [
        'action = "block"\nmatch = "name:tracker.example port:80"\n',
        'action = "block"\nmatch = "name:tracker.example proto:udp"\n',
        'action = "allow"\nmatch = "-name:tracker.example port:80"\n[[rule]]\naction = "block"\nmatch = "port:80"\n',
    ],
)
def test_a_name_that_is_refused_over_some_ports_only_is_not_forgotten_either(tmp_path: Path, rules: str) -> None:
    (tmp_path / "rules.toml").write_text(f"[[rule]]\n{rules}")
    house = House(tmp_path / "rules.toml")
    weighed = [house.judge.weighs(house.phone, (name,), packed(FRIEND), NOW.boot) for name in ("friendly.example", "tracker.example")]
    assert weighed == [0, 1]


def test_a_server_is_asked_for_a_sign_of_life_without_the_byte_in_it(tmp_path: Path, wire) -> None:
    """On a connection in which nothing was said yet, and on one in which the next request may come."""
    play = Play(tmp=tmp_path)
    request = b"GET / HTTP/1.1\r\nHost: friendly.example\r\n\r\n"
    idle = wire.tcp(FRIEND, 80, b"\0", seq=999)
    play << PacketSeen(1, MAC, idle, first=False)
    assert play.verdicts() == [(1, HELD, Watch.NONE)]
    assert play.of(AskForLife).packet == idle
    assert play.wake_at is None
    play.packet(wire.tcp(FRIEND, 80, request, seq=1000))
    assert play.verdicts() == [(1, ALLOW, Watch.NAMES)]
    later = wire.tcp(FRIEND, 80, b"\0", seq=999 + len(request))
    two = play.packet(later, watched=True)
    assert play.verdicts() == [(two, HELD, Watch.NONE)]
    assert play.of(AskForLife).packet == later


def test_where_no_name_can_matter_nobody_is_kept_back(tmp_path: Path, wire) -> None:
    """A byte that looks like a sign of life may be the next of a connection that the kernel has just been told about."""
    play = Play(tmp=tmp_path)
    play.rules('[[rule]]\naction = "allow"\nmatch = ""\n')
    play << PacketSeen(1, MAC, wire.tcp(FRIEND, 80, b"H", seq=999), first=False)
    assert play.verdicts() == [(1, ALLOW, Watch.NONE)]


def test_who_repeats_what_is_held_hears_that_it_was_heard(tmp_path: Path, wire) -> None:
    """Of its first request, and of one behind it; but not of what has passed: that its server acknowledges."""
    play = Play(tmp=tmp_path)
    request = b"GET / HTTP/1.1\r\nHost: friendly.example\r\n\r\n"
    for seq, watched in ((1000, False), (1000 + len(request), True)):
        play.packet(wire.tcp(FRIEND, 80, request[:20], seq=seq), watched=watched)
        assert play.verdicts() == []
        again = play.packet(wire.tcp(FRIEND, 80, request[:20], seq=seq), watched=watched)
        assert play.verdicts() == [(again, HELD, Watch.NONE)]
        told = play.of(Acknowledge)
        assert (ip.parse(told.packet).seq, told.next) == (seq, seq + 20)
        play.packet(wire.tcp(FRIEND, 80, request[20:], seq=seq + 20), watched=watched)
        assert [verdict for _, verdict, _ in play.verdicts()] == [ALLOW, ALLOW]
    play.packet(wire.tcp(FRIEND, 80, request, seq=1000), watched=True)
    assert [type(command) for command in play.commands] == [GiveVerdict]


@pytest.mark.parametrize("address", [FRIEND, "2001:db8:9::9"])
@pytest.mark.parametrize("read", [b"GET", b"GET /1 HTTP/1.1\r\nHost: good.example\r\n\r\n"])
def test_what_waits_behind_a_gap_does_not_pass_unread(tmp_path: Path, wire, address: str, read: bytes) -> None:
    """Its server would keep it, and what is said in its place when the gap is filled would be read here alone."""
    play = Play(tmp=tmp_path)
    rest = b"GET / HTTP/1.1\r\nHost: api.account.xiaomi.com\r\n\r\n"[3 if read == b"GET" else 0 :]
    half = play.packet(wire.tcp(address, 80, read[:2], seq=500))
    play << PacketSeen(7, MAC, wire.tcp(address, 80, rest[9:], seq=509 + len(read)), first=False)
    assert play.verdicts() == []
    play << PacketSeen(8, MAC, wire.tcp(address, 80, read[2:], seq=502), first=False)
    play.boot += 3.1
    given = play.verdicts() or (play << Tick()).verdicts()
    assert sorted(given) == [(half, ALLOW, Watch.NAMES), (7, HELD, Watch.NAMES), (8, ALLOW, Watch.NAMES)]
    again = play.packet(wire.tcp(address, 80, rest, seq=500 + len(read)), watched=True)
    assert play.verdicts() == [(again, ASK, Watch.NONE)]


@pytest.mark.parametrize("address", [FRIEND, "2001:db8:9::9"])
def test_whose_server_asks_for_one_more_hello_is_shown_until_it_has_come(tmp_path: Path, wire, address: str) -> None:
    """In whatever order: a later part of it does not pass before the first, and then another part is judged."""
    play = Play(tmp=tmp_path)
    hello, more = (wire.hello(name) for name in ("friendly.example", "api.account.xiaomi.com"))
    play.packet(wire.tcp(address, 443, hello, seq=1000))
    assert play.verdicts() == [(1, ALLOW, Watch.BEGUN)]
    after = 1000 + len(hello)
    play << PacketSeen(2, MAC, wire.tcp(address, 443, b"\x14\x03\x03\0\1\1", seq=after), watched=True, always=True)
    assert play.verdicts() == [(2, ALLOW, Watch.NAMES)]
    play << PacketSeen(3, MAC, wire.tcp(address, 443, more[9:], seq=after + 15), watched=True, always=True)
    assert play.verdicts() == [(3, HELD, Watch.NONE)]
    play << PacketSeen(4, MAC, wire.tcp(address, 443, more[:9], seq=after + 6), watched=True, always=True)
    assert play.verdicts() == []
    play << PacketSeen(5, MAC, wire.tcp(address, 443, more[9:], seq=after + 15), watched=True, always=True)
    assert play.verdicts() == [(4, ASK, Watch.NONE), (5, ASK, Watch.NONE)]
