from __future__ import annotations

import pytest

from firewall import names
from firewall.names import Entry, NameTable

A, B = bytes((192, 0, 2, 1)), bytes(15) + b"\1"
SHOP, CDN = ("shop.com",), ("img.shop.com", "cdn.net")


@pytest.fixture
def table():
    return NameTable()


def test_each_phone_has_its_own(table):
    table.learn("one", SHOP, (A, B), 300, 0.0)
    assert table.chains("one", A, 1.0) == table.chains("one", B, 1.0) == (SHOP,)
    assert table.chains("two", A, 1.0) == ()


def test_the_newest_stands_last_and_each_once(table):
    table.learn("one", SHOP, (A,), 300, 0.0)
    table.learn("one", CDN, (A,), 300, 1.0)
    table.learn("one", SHOP, (A,), 300, 2.0)
    assert table.chains("one", A, 3.0) == (CDN, SHOP)


@pytest.mark.parametrize(("ttl", "lives"), [(0, names.SHORTEST), (60, 60), (3600, 3600)])
def test_a_name_outlives_its_ttl(table, ttl, lives):
    table.learn("one", SHOP, (A,), ttl, 100.0)
    assert table.chains("one", A, 100.0 + lives + names.GRACE - 1) == (SHOP,)
    assert table.chains("one", A, 100.0 + lives + names.GRACE) == ()


def test_a_shorter_answer_does_not_shorten(table):
    table.learn("one", SHOP, (A,), 3600, 0.0)
    table.learn("one", SHOP, (A,), 60, 1.0)
    assert table.chains("one", A, 3600.0) == (SHOP,)


def test_addresses_of_a_name(table):
    table.learn("one", CDN, (A, B), 300, 0.0)
    assert table.addresses("one", "cdn.net", 1.0) == table.addresses("one", "img.shop.com", 1.0) == (A, B)
    assert table.addresses("one", "shop.com", 1.0) == ()
    assert table.addresses("two", "cdn.net", 1.0) == ()
    assert table.addresses("one", "cdn.net", 9999.0) == ()


def test_entries_tell_what_is_left(table):
    table.learn("one", SHOP, (A,), 100, 0.0)
    table.learn("one", CDN, (A,), 200, 0.0)
    table.learn("two", SHOP, (B,), 100, 0.0)
    left = names.GRACE - 10.0
    assert list(table.entries(10.0)) == [Entry("one", A, left + 200), Entry("two", B, left + 100)]
    assert list(table.entries(9999.0)) == []


def test_nothing_is_learnt_from_an_empty_answer(table):
    table.learn("one", SHOP, (), 300, 0.0)
    assert len(table) == 0


def test_expire(table):
    table.learn("one", SHOP, (A,), 60, 0.0)
    table.learn("two", SHOP, (A, B), 600, 0.0)
    table.expire(700.0)
    assert len(table) == 2
    table.expire(1200.0)
    assert len(table) == 0
    assert not table._of


def test_a_phone_pays_with_its_own(table, monkeypatch):
    monkeypatch.setattr(names, "MOST_OF_A_PHONE", 3)
    table.learn("two", SHOP, (A,), 60, 0.0)
    many = [bytes((10, 0, 0, n)) for n in range(4)]
    for addr in many[:3]:
        table.learn("one", SHOP, (addr,), 60, 0.0)
    table.learn("one", SHOP, (many[0],), 60, 1.0)  # used again: not the oldest any more
    table.learn("one", SHOP, (many[3],), 60, 2.0)
    assert [bool(table.chains("one", addr, 3.0)) for addr in many] == [True, False, True, True]
    assert table.chains("two", A, 3.0) == (SHOP,)
    assert len(table) == 4


def test_when_all_is_full_the_greediest_pays(table, monkeypatch):
    monkeypatch.setattr(names, "MOST", 3)
    table.learn("greedy", SHOP, (A, B), 60, 0.0)
    table.learn("two", SHOP, (A,), 60, 0.0)
    table.learn("two", SHOP, (B,), 60, 1.0)
    assert len(table) == 3
    assert table.chains("greedy", A, 2.0) == ()
    assert table.chains("two", A, 2.0) == table.chains("two", B, 2.0) == (SHOP,)


def test_one_address_with_endless_names(table):
    for n in range(100):
        table.learn("one", (f"n{n}.com",), (A,), 60, float(n))
    assert table.chains("one", A, 100.0) == tuple((f"n{n}.com",) for n in range(100 - names.MOST_CHAINS, 100))
