from __future__ import annotations

import json

from rules.explain import explain


def test_everything_that_led_to_it_and_what_else_would_match(make) -> None:
    policy = make.policy("block phone:tv", "ask name:xiaomi.com", packs=True)
    told = explain(policy, make.seen(addr="42.62.48.9", sni="api.account.xiaomi.com")).to_json()
    assert (told["verdict"], told["rule"], told["service"]) == ("ask", "r2", "xiaomi-account")
    assert [match["id"] for match in told["matches"]] == ["r2", "xiaomi/1"]
    assert told["names"] == [{"name": "api.account.xiaomi.com", "source": "sni"}]
    assert json.dumps(told)


def test_what_could_still_match_is_told_as_such(make) -> None:
    told = explain(make.policy("block name:a.example"), make.seen(open_=True)).to_json()
    assert told["verdict"] == "held"
    assert told["matches"][0]["answer"] == "could match"
