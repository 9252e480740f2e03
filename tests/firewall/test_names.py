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


def weigh(table, *words):
    """Names with one of these words in them are refused."""
    table.weighs = lambda _phone, chain, _addr: 2 * any(word in name for name in chain for word in words)


def ask(table, n, name="friend", addr=A):
    return table.learn("one", (f"{name}{n}.com",), (addr,), 60, float(n))


def test_a_refused_name_is_not_crowded_out_by_friends(table):
    weigh(table, "evil")
    ask(table, 0, "evil")
    for n in range(1, 100):
        ask(table, n)
    chains = table.chains("one", A, 100.0)
    assert chains[0] == ("evil0.com",)
    assert chains[1:] == tuple((f"friend{n}.com",) for n in range(101 - names.MOST_CHAINS, 100))


def test_the_newest_is_known_among_as_many_refused_ones(table):
    """Or a friend's hello would be taken for one that says another name than DNS answered."""
    weigh(table, "evil")
    for n in range(names.MOST_CHAINS):
        ask(table, n, "evil")
    ask(table, 50)
    assert table.chains("one", A, 60.0) == (*((f"evil{n}.com",) for n in range(1, names.MOST_CHAINS)), ("friend50.com",))


def test_what_a_phone_asks_for_costs_little_however_much_it_knows(table, monkeypatch):
    """Each look asks the rules. Others wait for their answers meanwhile."""
    monkeypatch.setattr(names, "MOST_OF_A_PHONE", 800)
    asked = []
    table.weighs = lambda _phone, chain, _addr: asked.append(chain) or 2 * ("evil" in chain[0])
    for addr in addresses(50):
        for n in range(names.MOST_CHAINS):
            ask(table, n, "evil" if n == names.MOST_CHAINS - 1 else "friend", addr)
    for room, addr, most in ((900, addresses(1)[0], names.LOOKS + 2), (800, A, names.LOOKS * names.MOST_CHAINS)):
        monkeypatch.setattr(names, "MOST_OF_A_PHONE", room)
        asked.clear()
        assert ask(table, 99, addr=addr) is (room == 900)
        assert len(asked) <= most


def test_what_a_consent_opens_goes_before_what_nothing_opens(table):
    table.weighs = lambda _phone, chain, _addr: 1 if "consented" in chain[0] else 2
    ask(table, 0, "evil")
    for n in range(1, 40):
        ask(table, n, "consented")
    assert ("evil0.com",) in table.chains("one", A, 50.0)


def addresses(count, first=0):
    return [bytes((10, 0, n >> 8, n & 255)) for n in range(first, first + count)]


def test_a_refused_address_is_not_crowded_out_by_friendly_ones(table, monkeypatch):
    monkeypatch.setattr(names, "MOST_OF_A_PHONE", 50)
    weigh(table, "evil")
    ask(table, 0, "evil")
    for n, addr in enumerate(addresses(500), 1):
        assert ask(table, n, addr=addr)
    assert table.chains("one", A, 500.0) == (("evil0.com",),)
    assert len(table) == 50


def test_who_knows_only_refused_ones_is_told_nothing_more(table, monkeypatch):
    """Fail closed: one of them would have to be forgotten. Others are told all the same."""
    monkeypatch.setattr(names, "MOST_OF_A_PHONE", 50)
    weigh(table, "evil")
    told = [ask(table, n, "evil", addr) for n, addr in enumerate(addresses(60))]
    assert told == [True] * 50 + [False] * 10
    assert not ask(table, 70, addr=A)
    assert table.learn("two", SHOP, (A,), 60, 70.0)
    assert all(table.chains("one", addr, 70.0) for addr in addresses(50))


def test_rules_that_change_are_followed_when_room_is_needed(table, monkeypatch):
    monkeypatch.setattr(names, "MOST_OF_A_PHONE", 50)
    weigh(table, "evil")
    for n, addr in enumerate(addresses(50)):
        ask(table, n, "evil" if n < 25 else "friend", addr)
    weigh(table, "friend")
    for n, addr in enumerate(addresses(25, 100), 100):
        assert ask(table, n, "evil", addr)
    assert all(table.chains("one", addr, 150.0) for addr in addresses(50)[25:])


def test_long_chains_take_more_places(table, monkeypatch):
    """A phone with a DNS server of its own decides how long they are."""
    monkeypatch.setattr(names, "MOST_OF_A_PHONE", 60)
    for n, addr in enumerate(addresses(20)):
        table.learn("one", tuple(f"{n}.{hop}.{'x' * 240}.com" for hop in range(9)), (addr,), 60, float(n))
    assert len(table) <= 60
    assert sum(bool(table.chains("one", addr, 20.0)) for addr in addresses(20)) == 6


def test_places_are_given_back(table):
    weigh(table, "evil")
    for n, addr in enumerate(addresses(40)):
        for k in range(20):
            ask(table, n, "evil" if k % 3 else "friend", addr)
    table.expire(10_000.0)
    assert len(table) == 0
    assert not table._of
    ask(table, 1, "evil")
    table.forget("one")
    assert len(table) == 0


def test_one_address_with_endless_names(table):
    for n in range(100):
        table.learn("one", (f"n{n}.com",), (A,), 60, float(n))
    assert table.chains("one", A, 100.0) == tuple((f"n{n}.com",) for n in range(100 - names.MOST_CHAINS, 100))


def test_a_name_lives_as_long_as_either_of_two_addresses_of_one_machine(table):
    six = bytes(12) + A
    table.inner = {six: A}.get
    table.learn("one", SHOP, (six,), 60, 0.0)
    table.learn("one", SHOP, (A,), 3600, 0.0)
    assert table.chains("one", six, 3600.0) == (SHOP,)
