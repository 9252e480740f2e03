import dataclasses

import pytest

from rules.sentence import parse_sentence
from tui import offers


def terms(episode):
    return [offer.term for offer in offers.whats(episode)]


def test_the_most_specific_comes_first(episode):
    row = episode(1, "api.account.xiaomi.com", service="xiaomi-account", dst="42.62.48.181")
    assert terms(row) == ["name:=api.account.xiaomi.com", "name:xiaomi.com", "service:xiaomi-account", "addr:42.62.48.181"]


@pytest.mark.parametrize(("name", "domain"), [("a.b.co.uk", "name:b.co.uk"), ("x.github.io", "name:x.github.io"), ("xiaomi.com", "name:xiaomi.com")])
def test_the_domain_is_what_somebody_has_registered(episode, name, domain):
    assert terms(episode(1, name))[1] == domain


def test_a_name_that_nobody_can_register_has_no_domain(episode):
    assert terms(episode(1, "co.uk", dst="")) == ["name:=co.uk"]


def test_what_no_rule_can_say_is_not_offered(episode):
    row = episode(1, "[red]\u202e", dst="", phone="p\x1b")
    assert offers.whats(row) == ()
    assert [offer.words for offer in offers.whose(row)] == ["everyone"]


def test_a_group_stands_between_one_phone_and_everyone(episode):
    row = dataclasses.replace(episode(1, "a.example"), group="kids")
    assert [offer.term for offer in offers.whose(row)] == ["phone:phone1", "group:kids", ""]


@pytest.mark.parametrize("phone", ["phone1", "anna's pixel", "a,b"])
def test_what_is_offered_can_be_parsed_and_means_that_phone(episode, phone):
    row = episode(1, "a.example.com", phone=phone, dst="2001:db8::1")
    for what in offers.whats(row):
        text = offers.rule("block", what, offers.whose(row)[0])
        terms = parse_sentence(text).expression.terms
        assert [term.key for term in terms][-1] == "phone"
        assert terms[-1].matcher.values == (phone,)
