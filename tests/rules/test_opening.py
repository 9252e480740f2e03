"""What the grant screen says: on the shipped packs, and where rules stand in the way (decisions.md 9, cases 5 and 6)."""

from __future__ import annotations

import pytest

from rules.consent import Grant, Subject
from rules.decide import decide
from rules.networks import parse_network
from rules.observation import Observation, Place
from rules.opening import MOST_SAID, Opening, opening, titled
from rules.store import compiled
from rules.verdict import Verdict

ACCOUNT = "service:xiaomi-account"


def opened(subject: str, *rules: str, phone: str | None = "anna", group: str = "home") -> Opening:
    text = "".join(f'[[rule]]\nid = "r{n}"\naction = "{rule.partition(" ")[0]}"\nmatch = "{rule.partition(" ")[2]}"\n' for n, rule in enumerate(rules, 1))
    return opening(compiled("rules.toml", text, 1), Subject.parse(subject), phone, group)


def test_account_and_messaging_share_a_host_and_that_is_said() -> None:
    told = opened(ACCOUNT)
    assert told.words == "opens service Xiaomi account and messaging"
    assert told.includes[:3] == ("api.account.xiaomi.com and everything below", "account.xiaomi.com and everything below", "42.62.48.0/24, where no name is said or it is one of these")
    assert told.includes[3].startswith("rule xiaomi/2 asks for: ")
    assert "Account and messaging share these hosts" in told.includes[3]
    assert (told.refused, told.asked) == ((), True)


def test_a_block_above_is_named() -> None:  # case 6
    told = opened(ACCOUNT, "block country:CN")
    assert told.refused == ("rule r1 (block country:CN) still refuses everything in China",)
    policy = compiled("rules.toml", '[[rule]]\nid = "r1"\naction = "block"\nmatch = "country:CN"\n', 1)
    flow = Observation("anna", "tcp", parse_network("42.62.48.9")[0], 443, (("account.xiaomi.com",),), group="home", place=Place("CN"), consents=(Grant(1, Subject.parse(ACCOUNT)),))
    assert decide(policy, flow).rule == "r1"
    assert decide(policy, flow._replace(place=Place("SG"))).verdict is Verdict.CONSENT


def test_a_name_in_two_services_needs_both_and_that_is_said() -> None:  # case 5
    told = opened(ACCOUNT, "ask name:api.account.xiaomi.com")
    assert told.refused == ("rule r1 (ask name:api.account.xiaomi.com) still asks about everything to api.account.xiaomi.com and below, at api.account.xiaomi.com",)
    assert opened("name:api.account.xiaomi.com", "ask name:api.account.xiaomi.com").refused == ()


@pytest.mark.parametrize(("rules", "refused"), [
    (["block name:account.xiaomi.com"], ["r1"]), (["block service:xiaomi-account"], ["r1"]), (["block addr:42.62.48.0/25"], ["r1"]), (["block phone:anna"], ["r1"]), (["block"], ["r1"]),
    (["block phone:tv"], []), (["block group:strict"], []), (["block port:5222"], []), (["block port:443"], ["r1"]), (["block via:none"], ["r1"]),
    (["allow", "block name:account.xiaomi.com"], []),  # never gets so far
    (["ask service:xiaomi-account", "block country:CN"], []),  # behind an ask that is answered only asks count
    (["ask service:xiaomi-account", "ask country:CN"], ["r2"]), (["ask country:CN", "block name:account.xiaomi.com"], ["r1", "r2"]),
])
def test_which_rules_would_still_refuse(rules: list[str], refused: list[str]) -> None:
    assert [one.split()[1] for one in opened(ACCOUNT, *rules).refused] == refused


def test_for_a_group_rules_about_single_phones_may_be_in_the_way() -> None:
    assert [one.split()[1] for one in opened(ACCOUNT, "block phone:tv", phone=None, group="home").refused] == ["r1"]
    assert [one.split()[1] for one in opened(ACCOUNT, phone=None, group="strict").refused] == ["strict/1"]


def test_a_domain_says_whose_services_it_holds_and_an_address_that_all_names_are_meant() -> None:
    domain = opened("name:xiaomi.com")
    assert "of service Xiaomi app inventory: policy.app.xiaomi.com" in domain.includes
    assert opened("name:x.api.account.xiaomi.com").includes[0] == "a part of service Xiaomi account and messaging"
    address = opened("addr:42.62.48.0/28")
    assert address.includes[:2] == ("every name that is served there, whatever it is", "a part of service Xiaomi account and messaging")
    assert address.asked is True
    assert opened("name:nobody.example").asked is False
    assert (opened("service:no-such").words, opened("service:no-such").includes) == ("opens service no-such", ())


def test_lists_are_bounded() -> None:
    told = opened(ACCOUNT, *(f"block phone:anna country:CN port:443 asn:{n}" for n in range(1, 31)))
    assert len(told.refused) == MOST_SAID + 1
    assert told.refused[-1] == "and 10 more"


def test_what_people_call_it() -> None:
    policy = compiled("rules.toml", "", 1)
    assert [titled(policy, Subject.parse(text)) for text in (ACCOUNT, "name:a.example", "addr:10.0.0.1", "addr:10.0.0.0/8")] == [
        "service Xiaomi account and messaging", "a.example and everything below", "address 10.0.0.1", "network 10.0.0.0/8",
    ]
    assert titled(None, Subject.parse(ACCOUNT)) == "service xiaomi-account"
