from __future__ import annotations

import json

from rules.explain import explain


def test_everything_that_led_to_it_and_what_else_would_match(make) -> None:
    policy = make.policy("block phone:tv", "ask name:xiaomi.com", packs=True)
    told = explain(policy, make.seen(addr="42.62.48.9", sni="api.account.xiaomi.com")).to_json()
    assert (told["verdict"], told["rule"], told["service"]) == ("ask", "r2", "xiaomi-account")
    assert [match["id"] for match in told["matches"]] == ["r2", "xiaomi/2"]
    assert told["names"] == [{"name": "api.account.xiaomi.com", "source": "sni"}]
    assert json.dumps(told)


def test_what_could_still_match_is_told_as_such(make) -> None:
    told = explain(make.policy("block name:a.example"), make.seen(open_=True)).to_json()
    assert told["verdict"] == "held"
    assert told["matches"][0]["answer"] == "could match"
    assert (told["missing"], told["claims"], told["source"]) == (["the name"], [], "")


def test_a_rule_below_the_one_that_decides_is_told_and_a_claim_is_called_one(make) -> None:
    policy = make.policy("allow name:cdn.good.com", "block addr:42.62.48.0/24", packs=True)
    told = explain(policy, make.seen(addr="42.62.48.9", sni="cdn.good.com")).to_json()
    assert (told["verdict"], told["rule"], told["source"], told["claims"], told["missing"]) == ("block", "r2", "mine", ["cdn.good.com"], [])
    assert [(match["id"], match["answer"]) for match in told["matches"]] == [("r2", "matches"), ("xiaomi/2", "matches")]
    assert told["reason"] == "rule r2 (mine) blocks addr:42.62.48.0/24: claims cdn.good.com, unproven"
    told = explain(policy, make.seen(dns="cdn.good.com")).to_json()
    assert (told["rule"], told["reason"]) == ("r1", "rule r1 (mine) allows name:cdn.good.com: cdn.good.com")
