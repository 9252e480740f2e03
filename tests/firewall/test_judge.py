from __future__ import annotations

from pathlib import Path

import pytest
from play import ASK, BLOCK, FRIEND, MAC, MOVED, packed

from firewall.consents import Consent, Consents, Life
from firewall.flow import Flow
from firewall.inputs import FlowKey, Now
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
