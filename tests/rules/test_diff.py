from __future__ import annotations

from types import SimpleNamespace

from rules.decide import decide
from rules.diff import EXAMPLES, compare, cuts


def row(seen, *, proto="tcp", name="", count=1, last=1.0) -> SimpleNamespace:
    return SimpleNamespace(seen=seen, phone=seen.phone, proto=proto, name=name, dst="198.51.100.9", dport=443, count=count, last=last)


def test_decisions_that_would_change_are_counted_and_shown(make) -> None:
    before, after = make.policy("block port:23"), make.policy("block name:a.example", "block port:23")
    past = [
        row(make.seen(sni="a.example"), name="a.example", count=14),
        row(make.seen(sni="a.example", port=23), name="a.example", count=3),  # refused before and after
        row(make.seen(sni="b.example"), name="b.example", count=2_000),
        row(make.seen(phone="anna", sni="www.a.example"), name="www.a.example", last=2.0),
    ]
    diff = compare(before, after, past)
    assert (diff.of, diff.changed) == (2_018, 15)
    assert [one.to_json() for one in diff.examples] == [
        {"phone": "phone1", "what": "a.example", "before": "allow", "after": "block", "last": 1.0, "count": 14},
        {"phone": "anna", "what": "www.a.example", "before": "allow", "after": "block", "last": 2.0, "count": 1},
    ]
    assert compare(after, before, past).changed == 15
    assert compare(after, after, past).changed == 0


def test_examples_are_few_and_different(make) -> None:
    past = [row(make.seen(addr=f"198.51.100.{n // 2}"), name=f"h{n // 2}.example") for n in range(40)]
    examples = compare(make.policy(), make.policy("ask"), past).examples
    assert len(examples) == EXAMPLES == len({one.what for one in examples})


def test_a_question_that_was_refused_changes_if_it_would_be_answered(make) -> None:
    asked = make.seen(addr=None, proto=None, port=None, dns="a.example")
    blocked, asking, port = make.policy("block name:a.example"), make.policy("ask name:a.example"), make.policy("block name:a.example port:443")
    past = [row(asked, proto="dns", name="a.example")]
    assert [one.after for one in compare(blocked, asking, past).examples] == ["allow"]
    assert compare(blocked, port, past).changed == 1  # it depends on the port: the question is answered
    assert compare(blocked, make.policy("block"), past).changed == 0


def test_live_flows_that_would_be_cut(make) -> None:
    before = make.policy("block port:23")
    seen = [make.seen(sni="a.example"), make.seen(sni="b.example"), make.seen(port=23), make.seen(phone="watched", sni="a.example")]
    live = [(one, decide(before, one)) for one in seen]
    assert cuts(make.policy("block name:a.example"), live, {"watched"}) == (1, 3)
    assert cuts(before, live) == (0, 3)
