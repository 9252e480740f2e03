"""From phone to phone, by values: who and where decide, at the first packet; what is said there decides nothing."""

from __future__ import annotations

from pathlib import Path

import captures
import pytest
from play import ALLOW, ASK, BLOCK, MAC, Play, packed

from firewall.commands import MarkFlow, ResetServer, Watch
from firewall.inputs import Author, FlowKey, ModeAsked, PacketSeen
from rules.observation import Sign
from rules.verdict import Verdict

TV = "10.77.0.11"


def near(play: Play, raw: bytes) -> None:
    play.ids += 1
    play << PacketSeen(play.ids, MAC, raw, near=True)


@pytest.mark.parametrize(("rules", "verdict", "rule"), [
    ("", BLOCK, "baseline/3"),
    (f'[[rule]]\naction = "allow"\nmatch = "addr:{TV} port:443"\n', ALLOW, ""),
    ('[[rule]]\naction = "allow"\nmatch = "name:friendly.example"\n', BLOCK, "baseline/3"),
    (f'[[rule]]\naction = "block"\nmatch = "name:friendly.example"\n[[rule]]\naction = "allow"\nmatch = "addr:{TV}"\n', ALLOW, ""),
    ('[[rule]]\naction = "ask"\nmatch = "via:neighbour"\n', ASK, ""),
])
def test_another_phone_is_decided_at_the_first_packet_whatever_is_said_later(tmp_path: Path, rules: str, verdict: Verdict, rule: str) -> None:
    play = Play(rules, tmp=tmp_path)
    near(play, captures.tcp("10.77.0.10", 40001, TV, 443, 1000, captures.SYN))
    assert play.verdicts() == [(play.ids, verdict, Watch.NONE)]
    assert [command for command in play.commands if isinstance(command, ResetServer)] == []  # not one packet has reached it
    (told,) = play.decided()
    assert told.decision.rule == rule or not rule
    assert told.seen.signs == (Sign.NEIGHBOUR,)
    near(play, captures.tcp("10.77.0.10", 40001, TV, 443, 1001, captures.ACK, captures.hello("friendly.example")))
    assert play.verdicts() == [(play.ids, verdict, Watch.NONE)]


def test_watching_a_phone_does_not_lay_the_others_open_to_it(tmp_path: Path) -> None:
    play = Play(tmp=tmp_path)
    play << ModeAsked("watch", Author("anna", 1000))
    near(play, captures.udp("10.77.0.10", 40001, TV, 9, b"x"))
    assert play.verdicts() == [(play.ids, BLOCK, Watch.NONE)]


def test_a_way_to_another_phone_ends_with_its_rule(tmp_path: Path) -> None:
    play = Play(f'[[rule]]\naction = "allow"\nmatch = "addr:{TV}"\n', tmp=tmp_path)
    near(play, captures.udp("10.77.0.10", 40001, TV, 9, b"x"))
    flow = FlowKey(17, packed("10.77.0.10"), 40001, packed(TV), 9)
    play.rules("")
    assert [command for command in play.commands if isinstance(command, MarkFlow)] == [MarkFlow(flow, BLOCK, Watch.NONE)]
