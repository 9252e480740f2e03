"""Private DNS that is set to one provider: said once an hour for each phone, in words that help."""

from __future__ import annotations

from pathlib import Path

import pytest
from play import FRIEND, Play

from firewall import notices
from firewall.events import Trouble
from firewall.inputs import QuerySeen


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return Play(tmp=tmp_path)


def said(play: Play) -> list[str]:
    return [event.text for event in play.events if isinstance(event, Trouble)]


def test_a_resolver_that_is_looked_up_by_name(play: Play) -> None:
    (text,) = said(play.ask("dns.google"))
    assert text.startswith("phone1 offline? Set its Private DNS to Automatic")
    assert "it wants encrypted DNS at dns.google, which rule bypass/2 refuses" in text
    assert said(play.ask("dns.google")) == said(play.ask("dns.quad9.net")) == []  # once is enough


def test_who_goes_on_or_begins_again_is_told_of_after_an_hour(play: Play) -> None:
    assert said(play.ask("dns.google"))
    for seconds, told in ((notices.AGAIN - 1, False), (2, True), (1, False), (-notices.AGAIN, True)):
        play.boot += seconds
        assert bool(said(play.ask("dns.google"))) is told


@pytest.mark.parametrize("addr", [FRIEND, "2001:db8:feed::7"])
def test_port_853_elsewhere(play: Play, wire, addr: str) -> None:
    play.answer(("resolver.example.net",), FRIEND)
    play.packet(wire.tcp(addr, 853, wire.hello("resolver.example.net")))
    assert "encrypted DNS at resolver.example.net, which rule bypass/1" in "".join(said(play))
    play.packet(wire.tcp(addr, 853, wire.hello("resolver.example.net"), sport=40001))
    assert said(play) == []


def test_who_says_no_name_is_told_by_address(play: Play, wire) -> None:
    play.packet(wire.udp("2001:db8:feed::7", 853, b"noise"))
    assert "encrypted DNS at 2001:db8:feed::7, which" in "".join(said(play))


def test_other_refusals_and_what_passes_are_no_news(play: Play, wire) -> None:
    play.packet(wire.tcp(FRIEND, 443, wire.hello("api.account.xiaomi.com")))
    assert said(play) == []
    play.rules('[[rule]]\naction = "allow"\nmatch = "port:853"\n')
    play.packet(wire.tcp(FRIEND, 853, wire.hello("resolver.example.net")))
    assert said(play) == []


def test_who_invents_phones_is_not_told_of_each(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "MOST_TOLD", 1)
    for number in range(3):
        play << QuerySeen("q", bytes((2, 0, 0, 0, 9, number)), bytes((10, 77, 0, 90 + number)), "dns.google", 1)
        assert len(said(play)) == (number == 0)
    play.boot += notices.AGAIN
    assert len(said(play.ask("dns.google"))) == 1


def test_what_it_is_called_is_shown_and_not_obeyed(play: Play, wire) -> None:
    play.packet(wire.tcp(FRIEND, 853, wire.hello("a\x1b[31mb.example")))
    assert all("\x1b" not in text for text in said(play))
