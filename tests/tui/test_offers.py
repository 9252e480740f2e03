import dataclasses

import pytest

from rules.sentence import parse_sentence
from tui import offers


def terms(episode):
    return [offer.term for offer in offers.whats([episode])]


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
    assert offers.whats([row]) == ()
    assert [offer.words for offer in offers.whose([row])] == ["everyone"]


def test_a_group_stands_between_one_phone_and_everyone(episode):
    row = dataclasses.replace(episode(1, "a.example"), group="kids")
    assert [offer.term for offer in offers.whose([row])] == ["phone:phone1", "group:kids", ""]


@pytest.mark.parametrize("phone", ["phone1", "anna's pixel", "a,b"])
def test_what_is_offered_can_be_parsed_and_means_that_phone(episode, phone):
    row = episode(1, "a.example.com", phone=phone, dst="2001:db8::1")
    for what in offers.whats([row]):
        text = offers.rule("block", what, offers.whose([row])[0])
        terms = parse_sentence(text).expression.terms
        assert [term.key for term in terms][-1] == "phone"
        assert terms[-1].matcher.values == (phone,)


def test_of_several_rows_one_rule_says_what_each_of_them_has(episode):
    rows = [episode(1, "a.example.com", dst="192.0.2.1"), episode(2, "b.example.com", dst="192.0.2.2"), episode(3, "a.example.com", dst="192.0.2.1")]
    assert [offer.term for offer in offers.whats(rows)] == ["name:=a.example.com,=b.example.com", "name:example.com", "addr:192.0.2.1,192.0.2.2"]
    assert [offer.words for offer in offers.whats(rows)][:2] == ["2 names (a.example.com, b.example.com), nothing below them", "example.com and everything below it"]
    unnamed = [*rows, episode(4, "", dst="2001:db8::1")]
    assert [offer.term for offer in offers.whats(unnamed)] == ["addr:192.0.2.1,192.0.2.2,2001:db8::1"]
    assert offers.whats([rows[0], episode(5, "", dst="")]) == ()


def test_of_more_rows_than_a_rule_can_hold_nothing_is_offered(episode):
    assert offers.whats([episode(n, "", dst=f"192.0.{n // 256}.{n % 256}") for n in range(257)]) == ()


def test_for_several_phones_it_is_each_of_them(episode):
    rows = [episode(1, "a.example", phone="phone1"), episode(2, "b.example", phone="a,b")]
    assert [(offer.words, offer.term) for offer in offers.whose(rows)] == [("each of 2 phones", 'phone:phone1,"a,b"'), ("everyone", "")]
    kids = [dataclasses.replace(row, group="kids") for row in rows]
    assert [offer.term for offer in offers.whose(kids)][1] == "group:kids"
