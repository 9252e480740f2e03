"""What phones ask and are told: HTTPS records lead where addresses may lead, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
from house import House
from play import FRIEND, LISTED, MAC, Play, packed

from firewall import names
from firewall.commands import ForwardQuery, RefuseAddress, RefuseQuery, SendAnswer
from firewall.inputs import AnswerSeen, Author, LockAsked, Tick

FRIEND6, LISTED6 = "2001:db8::7", "64:ff9b::42.62.48.181"
ALLOW_HIDDEN = '[[rule]]\naction = "allow"\nmatch = "name:good.example via:hidden"\n'


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return Play(tmp=tmp_path)


def hints(play: Play, chain: tuple[str, ...], *addresses: str) -> Play:
    return play << AnswerSeen("q", MAC, packed("10.77.0.10"), chain, tuple(map(packed, addresses)), 60, hints=True)


def test_hints_that_are_refused_are_left_out_and_the_rest_is_learnt(play: Play) -> None:
    play.rules('[[rule]]\naction = "block"\nmatch = "addr:42.62.48.0/24"\n')
    hints(play, ("good.example",), FRIEND, LISTED, FRIEND6, LISTED6)
    assert play.of(SendAnswer) == SendAnswer("q", frozenset({packed(LISTED), packed(LISTED6)}))
    names = play.gateway.names
    phone = play.gateway.phones.named("phone1")
    assert [bool(names.chains(phone, packed(addr), play.boot)) for addr in (FRIEND, FRIEND6, LISTED, LISTED6)] == [True, True, False, False]
    play.answer(("good.example",), LISTED)  # what was asked for is answered truly, and stopped at the flow
    assert play.of(SendAnswer).left_out == frozenset()


def test_no_hint_leads_to_a_name_that_needs_consent(play: Play) -> None:
    hints(play, ("api.account.xiaomi.com",), FRIEND)
    assert play.of(SendAnswer).left_out == {packed(FRIEND)}
    assert not [command for command in play.commands if isinstance(command, RefuseAddress)]  # nobody was told of it


def test_what_is_consented_to_has_its_hints(tmp_path: Path) -> None:
    house = House(tmp=tmp_path)
    house.give()
    hints(house, ("api.account.xiaomi.com",), FRIEND)
    assert house.of(SendAnswer).left_out == frozenset()


def test_what_a_record_leads_to_is_a_name_of_the_chain(play: Play) -> None:
    play.rules('[[rule]]\naction = "block"\nmatch = "name:tracker.example"\n')
    hints(play, ("good.example", "cdn.tracker.example"), FRIEND)
    assert play.of(RefuseQuery).decision.verdict == "block"
    assert play.decided()[0].seen.answered == (("good.example", "cdn.tracker.example"),)


@pytest.mark.parametrize(("rules", "ech"), [
    ("", False),  # the default allows the name, and nobody said that it may be hidden
    ('[[rule]]\naction = "allow"\nmatch = "name:good.example"\n', False),
    (ALLOW_HIDDEN, True),
    ('[[rule]]\naction = "allow"\nmatch = "via:hidden"\n', True),
    ('[[rule]]\naction = "block"\nmatch = "country:CN"\n' + ALLOW_HIDDEN, False),  # where it leads is not known yet
    ('[[rule]]\naction = "block"\nmatch = "via:hidden"\n', False),
])
def test_keys_that_hide_a_name_stay_only_where_a_rule_says_so(play: Play, rules: str, *, ech: bool) -> None:
    play.rules(rules)
    assert play.answer(("good.example",), FRIEND).of(SendAnswer).ech is False  # no such keys in answers of this kind
    assert hints(play, ("good.example",), FRIEND).of(SendAnswer).ech is ech


def test_who_is_locked_is_told_nothing(play: Play) -> None:
    assert play.ask("good.example").of(ForwardQuery)
    play << LockAsked(True, Author("anna"))
    assert not play.ask("good.example").commands
    assert not hints(play, ("good.example",), FRIEND).commands


def test_who_has_no_room_for_a_name_is_not_answered(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "MOST_OF_A_PHONE", 2)
    for addr in (FRIEND, "198.18.7.8"):
        assert play.answer(("api.account.xiaomi.com",), addr).of(SendAnswer)
    assert not [one for one in play.answer(("good.example",), "198.18.7.9").commands if isinstance(one, SendAnswer)]
    play.boot += 2_000
    play << Tick()
    assert play.answer(("good.example",), "198.18.7.9").of(SendAnswer)
