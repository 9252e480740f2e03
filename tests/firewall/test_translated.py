"""A gateway on a network that translates: what its own NAT64 leads to, as its resolver and its routers say."""

from __future__ import annotations

from pathlib import Path

import pytest
from play import ALLOW, ASK, BLOCK, Play, packed

from firewall.commands import Reconcile
from firewall.inputs import RoutersTold, TranslatorsFound
from rules.observation import Place


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return Play(tmp=tmp_path)


def test_behind_a_translator_of_this_network_a_listed_address_is_listed(play: Play, wire) -> None:
    """In the kernel and in Python, whatever rules come later; and it stands where the IPv4 machine stands."""
    own, addr = packed("2001:db8:64::")[:12], "2001:db8:64::192.0.2.181"
    block = '[[rule]]\nid = "{}"\naction = "block"\nmatch = "{}"\n'
    play.rules(block.format("all", "addr:192.0.2.0/24"))
    play.packet(wire.tcp(addr, 4444, b"before"))
    assert play.verdicts()[0][1] is ALLOW
    play << RoutersTold((own,))
    play.packet(wire.tcp(addr, 4444, b"told", sport=40003))
    assert play.verdicts()[0][1] is BLOCK
    play << RoutersTold(())
    play.packet(wire.tcp(addr, 4444, b"no more", sport=40004))
    assert play.verdicts()[0][1] is ALLOW
    play << TranslatorsFound((own,))
    span = own + packed("192.0.2.0"), own + packed("192.0.2.255")
    assert span in play.of(Reconcile).desired.refused6
    play.rules(block.format("half", "addr:192.0.2.0/25") + block.format("there", "country:CN"))
    assert not {span} & set(play.of(Reconcile).desired.refused6)
    play.places[packed("192.0.2.181")] = Place("CN")
    play.packet(wire.tcp(addr, 4444, b"after", sport=40001))
    assert play.decided()[0].decision.rule == "there"
    play.packet(wire.tcp("2001:db8:64::192.0.2.1", 4444, b"after", sport=40002))
    assert play.decided()[0].decision.rule == "half"


@pytest.mark.parametrize("answered", ["192.0.2.9", "64:ff9b::192.0.2.9", "2001:db8:64::192.0.2.9"])
def test_a_name_of_an_address_is_one_of_what_it_leads_to(play: Play, wire, answered: str) -> None:
    """A phone that translates by itself (RFC 6877) asks for IPv4 addresses and goes to IPv6 ones; a hostile one, too."""
    play << TranslatorsFound((packed("2001:db8:64::")[:12],))
    play.rules('[[rule]]\naction = "ask"\nmatch = "name:tracker.example"\n')
    play.answer(("tracker.example",), answered)
    for port, to in enumerate(("192.0.2.9", "64:ff9b::192.0.2.9", "2001:db8:64::192.0.2.9", "2002:c000:209::1")):
        play.packet(wire.tcp(to, 4444, b"token", sport=41_000 + port))
        assert play.verdicts()[0][1] is ASK
        assert play.decided()[0].seen.answered == (("tracker.example",),)
    play.packet(wire.tcp("64:ff9b::192.0.2.8", 4444, b"token"))
    assert play.verdicts()[0][1] is ALLOW
