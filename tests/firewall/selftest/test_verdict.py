from __future__ import annotations

import pytest

from firewall.selftest.tries import Try
from firewall.selftest.verdict import (
    BLIND,
    HELD,
    OPEN,
    SEEN,
    THROUGH,
    VOID,
    Outcome,
    Row,
    believed,
    judge,
    passed,
    refused_at_all,
)

UDP = Try("bare-udp", 4, "", "frames", b"", 9, b"t")
TCP = Try("tls", 4, "", "connection", b"", 443, b"t")
DNS = Try("dns", 4, "", "datagram question", b"", 53, b"t")
PEER = Try("neighbour", 4, "", "neighbour", b"", 9, b"t")
ROUTED = Try("routed", 4, "", "neighbour", b"", 9, b"t")
SPOOF = Try("spoof", 4, "", "frames", b"", 9, b"t")


@pytest.mark.parametrize(("one", "seen", "word", "says"), [
    (UDP, Outcome(said=True), HELD, "nothing left"),
    (UDP, Outcome(said=True, left=2), THROUGH, "2 packets"),
    (UDP, Outcome(said=True, left=1, allowed="k3f7"), OPEN, "k3f7"),
    (UDP, Outcome(said=True, left=1, watched=True), THROUGH, "only watches"),
    (UDP, Outcome(), VOID, "not sent"),
    (SPOOF, Outcome(said=True, left=1, allowed="k3f7"), THROUGH, "1 packet "),  # no rule is about somebody else's packets
    (TCP, Outcome(connected=True, said=True), HELD, "handshake only"),
    (TCP, Outcome(error="connection refused"), HELD, "first packet"),
    (TCP, Outcome(error="no answer", knocked=True), VOID, "no server answered"),  # then nothing is proved
    (TCP, Outcome(connected=True, said=True, left=1), THROUGH, "left"),
    (DNS, Outcome(answered=True), HELD, "our resolver"),
    (DNS, Outcome(answered=True, left=1), THROUGH, "left"),  # somebody else answered
    (DNS, Outcome(), HELD, "nothing left"),
    (PEER, Outcome(said=True), HELD, "not received"),
    (PEER, Outcome(said=True, heard=True), THROUGH, "another phone"),
    (PEER, Outcome(said=True, heard=True, allowed="k3f7"), THROUGH, "another phone"),  # no rule is about what goes past the gate
    (ROUTED, Outcome(said=True, heard=True), THROUGH, "another phone"),
    (ROUTED, Outcome(said=True, heard=True, allowed="k3f7"), OPEN, "k3f7"),
    (ROUTED, Outcome(said=True, refused="baseline/3"), HELD, "not received (baseline/3)"),
    (TCP, Outcome(connected=True, said=True, refused="r1"), HELD, "handshake only: nothing it said left (r1)"),
    (TCP, Outcome(said=True, left=1, refused="r1"), THROUGH, "left"),  # whatever the history says
])
def test_one_word_for_each(one: Try, seen: Outcome, word: str, says: str) -> None:
    row = judge(one, seen)
    assert (row.state, row.name, row.family) == (word, one.name, 4)
    assert says in row.says


def test_one_family_that_was_seen_vouches_for_the_witness() -> None:
    def controls(*states: str) -> list[str]:
        return [row.state for row in believed([Row("control", 4, "", state, "") for state in states])]  # type: ignore[arg-type]

    assert controls(SEEN, BLIND) == [SEEN, VOID]
    assert controls(BLIND, BLIND) == [BLIND, BLIND]
    assert controls(BLIND) == [BLIND]


def rows(*states: str) -> list[Row]:
    return [Row("tls", 4, "", state, "") for state in states]  # type: ignore[arg-type]


def test_rules_that_refuse_nothing_are_no_gate() -> None:
    assert refused_at_all(rows(OPEN, OPEN)).state == THROUGH
    assert refused_at_all(rows(OPEN, HELD)).state == HELD
    assert refused_at_all([*rows(OPEN), Row("spoof", 4, "", HELD, "")]).state == THROUGH  # what no rule decides does not count
    assert refused_at_all(rows(VOID)).state == VOID


def test_what_passes() -> None:
    assert passed(rows(HELD, OPEN, SEEN, VOID))
    assert not passed(rows(HELD, THROUGH))
    assert not passed(rows(HELD, BLIND))
    assert not passed(rows(VOID, SEEN))  # nothing was proved
