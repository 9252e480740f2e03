from __future__ import annotations

from firewall.resolver import cache
from firewall.resolver.cache import Cache, Entry


def entry(until=100.0, message=b"x" * 10):
    return Entry(0, message, (), ("a.com",), (), until)


def test_until_it_is_over():
    kept = Cache()
    kept.put(b"a", entry())
    assert kept.get(b"a", 99.9) == entry()
    assert kept.get(b"b", 99.9) is None
    assert kept.get(b"a", 100.0) is None
    assert len(kept) == 0


def test_what_is_left():
    assert [entry().left(now) for now in (0.0, 0.1, 99.5, 101.0)] == [100, 100, 1, 1]


def test_the_least_used_goes_first(monkeypatch):
    monkeypatch.setattr(cache, "MOST_ENTRIES", 2)
    kept = Cache()
    for key in (b"a", b"b"):
        kept.put(key, entry())
    kept.get(b"a", 0.0)
    kept.put(b"c", entry())
    assert [kept.get(key, 0.0) is not None for key in (b"a", b"b", b"c")] == [True, False, True]


def test_bytes_are_bounded(monkeypatch):
    monkeypatch.setattr(cache, "MOST_BYTES", 25)
    kept = Cache()
    for key in (b"a", b"b", b"b", b"c"):
        kept.put(key, entry())
    assert len(kept) == 2
    assert kept._bytes == 20
