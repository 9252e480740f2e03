from __future__ import annotations

import socket

import pytest

from firewall.episode import Episode
from firewall.episodes import MOST_OPEN, OPEN_SECONDS, Episodes
from firewall.events import FlowBytes, FlowDecided, Trouble
from firewall.inputs import FlowKey
from rules.expression import parse_filter
from rules.observation import Name, Observation, Sign, Source
from rules.verdict import Decision, Verdict

PHONE = socket.inet_aton("10.77.0.10")


def flow(sport: int = 40000) -> FlowKey:
    return FlowKey(6, PHONE, sport, socket.inet_aton("198.51.100.9"), 443)


def decided(at: float, *, name: str = "a.example", verdict: Verdict = Verdict.ALLOW, sport: int = 40000, key: bool = True, **more) -> FlowDecided:
    facts = {"phone": "phone1", "proto": "tcp", "addr": socket.inet_aton("198.51.100.9"), "port": 443, "said": (Name(name, Source.SNI),) if name else ()} | more
    seen = Observation(**facts)
    return FlowDecided(at, PHONE, flow(sport) if key else None, seen, Decision(verdict, "default", "why", "", 3))


def test_tries_of_one_place_are_one_row() -> None:
    episodes = Episodes(7)
    first = episodes.fold(decided(100.0))
    again = episodes.fold(decided(102.5, sport=40001))
    assert first is again
    assert (again.id, again.count, again.first, again.last, again.tries) == (7, 2, 100.0, 102.5, {0: 1, 2: 1})
    assert (again.name, again.via, again.src, again.dst, again.dport) == ("a.example", "sni", "10.77.0.10", "198.51.100.9", 443)


def test_a_copy_does_not_grow_with_its_row() -> None:
    episodes = Episodes(1)
    row = episodes.fold(decided(100.0))
    then, told = row.copy(), row.to_json()
    assert then == row
    episodes.fold(decided(101.0, sport=40001))
    assert (then.count, then.tries, then.to_json()) == (1, {0: 1}, told)


def test_other_names_verdicts_and_questions_are_other_rows() -> None:
    episodes = Episodes(1)
    rows = [
        episodes.fold(decided(1.0)),
        episodes.fold(decided(1.0, name="b.example")),
        episodes.fold(decided(1.0, name="", answered=(("x",), ("y",)))),
        episodes.fold(decided(1.0, name="")),
        episodes.fold(decided(1.0, key=False, proto=None, addr=None, port=None, said=(), answered=(("a.example",),))),
    ]
    assert [row.id for row in rows] == [1, 2, 3, 4, 5]
    assert [row.via for row in rows] == ["sni", "sni", "ambiguous", "none", "dns"]
    assert rows[-1].proto == "dns"
    assert rows[-1].dst == ""


def test_what_a_rule_refused_and_what_it_lets_pass_after_an_edit_are_two_rows() -> None:
    episodes = Episodes(1)
    refused = episodes.fold(decided(1.0, verdict=Verdict.ASK))
    passed = episodes.fold(decided(2.0, verdict=Verdict.ALLOW))
    assert (refused.verdict, refused.count) == ("ask", 1)
    assert (passed.verdict, passed.count) == ("allow", 1)


def test_a_tunnel_is_never_in_one_row_with_what_could_be_read() -> None:
    episodes = Episodes(1)
    tunnel, hidden = {"signs": (Sign.TUNNEL,)}, {"signs": (Sign.HIDDEN,)}
    rows = [episodes.fold(decided(1.0, **facts)) for facts in ({}, tunnel, {"name": ""}, {"name": "", **tunnel}, {"name": "", **hidden})]
    assert [(row.id, row.via, row.way, row.signs) for row in rows] == [
        (1, "sni", "sni", ()), (2, "sni", "tunnel", (Sign.TUNNEL,)), (3, "none", "none", ()), (4, "tunnel", "tunnel", (Sign.TUNNEL,)),
        (5, "none", "none", (Sign.HIDDEN,)),
    ]
    for row in rows:
        assert Episode.from_json(row.to_json()) == row
        assert parse_filter("via:tunnel").matches(row, 2.0) is (Sign.TUNNEL in row.signs)


def test_a_row_is_closed_after_a_minute_and_a_new_one_begins() -> None:
    episodes = Episodes(1)
    first = episodes.fold(decided(100.0))
    assert episodes.close(100.0 + OPEN_SECONDS - 1) == ()
    assert episodes.close(100.0 + OPEN_SECONDS) == (first,)
    assert episodes.fold(decided(170.0)).id == 2
    assert first.count == 1


@pytest.mark.parametrize("later", [OPEN_SECONDS, 30_000.0, -1.0])
def test_a_row_whose_time_is_up_does_not_grow_though_nobody_has_closed_it(later: float) -> None:
    """The machine slept, or its clock was set back."""
    episodes = Episodes(1)
    first, other = episodes.fold(decided(100.0)), episodes.fold(decided(100.0, name="other.example"))
    assert episodes.fold(decided(100.0 + later)).id == 3
    assert (first.count, first.last, episodes.closed) == (1, 100.0, 1)
    assert episodes.fold(FlowBytes(100.0 + later, flow(), 5, 6, ended=False)).id == 3
    assert episodes.close(100.0 + OPEN_SECONDS)[0] is other


def test_bytes_find_the_row_of_their_flow_also_after_it_was_closed() -> None:
    episodes = Episodes(1)
    first = episodes.fold(decided(100.0))
    assert episodes.fold(FlowBytes(101.0, flow(), 10, 20, ended=False)) is first
    assert (first.bytes_up, first.bytes_down) == (10, 20)
    episodes.close(200.0)
    later = episodes.fold(FlowBytes(201.0, flow(), 5, 6, ended=True))
    assert (later.id, later.count, later.bytes_up, later.bytes_down, later.first) == (2, 0, 5, 6, 201.0)
    assert (first.bytes_up, first.bytes_down) == (10, 20)
    assert episodes.fold(FlowBytes(202.0, flow(), 5, 6, ended=True)) is None


def test_what_is_no_flow_changes_no_row() -> None:
    assert Episodes(1).fold(Trouble(1.0, "x")) is None


def test_there_are_never_too_many_open_rows() -> None:
    episodes = Episodes(1)
    for n in range(MOST_OPEN + 5):
        episodes.fold(decided(100.0, name=f"n{n}.example"))
    assert len(episodes.close(100.0)) == 5


def test_a_clock_that_steps_back_closes_what_came_from_the_future() -> None:
    episodes = Episodes(1)
    row = episodes.fold(decided(1_000.0))
    assert episodes.close(10.0) == (row,)


def test_the_json_form_comes_back_as_it_was() -> None:
    row = Episodes(1).fold(decided(100.0, answered=(("a.example", "cdn.example"),)))
    assert type(row).from_json(row.to_json()) == row
    assert row.seen.said == (Name("a.example", Source.SNI),)
    assert row.seen.answered == (("a.example", "cdn.example"),)


def test_flows_of_two_consents_are_two_rows_that_say_by_which() -> None:
    episodes = Episodes(1)
    seen = Observation("phone1", "tcp", b"\x2a\x3e\x30\x09", 443, said=(Name("a.example", Source.SNI),))
    for number in (7, 7, 8):
        episodes.fold(FlowDecided(1.0, b"\x0a\x4d\0\x0a", None, seen, Decision(Verdict.CONSENT, "xiaomi/2", "why", "", 1, number)))
    rows = [Episode.from_json(row.to_json()) for row in episodes.close(100.0)]
    assert [(row.consent, row.count, row.verdict) for row in rows] == [(7, 2, "consent"), (8, 1, "consent")]
