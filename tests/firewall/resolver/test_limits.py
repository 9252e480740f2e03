from __future__ import annotations

from firewall.resolver import limits
from firewall.resolver.limits import BURST, RATE, Rates


def test_a_burst_then_a_rate():
    rates = Rates()
    assert sum(rates.allows(b"a", 0.0) for _ in range(5_000)) == BURST
    assert sum(rates.allows(b"a", 2.0) for _ in range(5_000)) == 2 * RATE
    assert rates.allows(b"b", 2.0)


def test_another_rate():
    rates = Rates(10.0, 30.0)
    assert sum(rates.allows(b"", 0.0) for _ in range(100)) == 30
    assert sum(rates.allows(b"", 2.0) for _ in range(100)) == 20


def test_patience_is_not_saved_up():
    rates = Rates()
    rates.allows(b"a", 0.0)
    assert sum(rates.allows(b"a", 1e6) for _ in range(5_000)) == BURST


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(limits, "MOST_PHONES", 8)
    rates = Rates()
    for phone in range(100):
        rates.allows(bytes((phone,)), 0.0)
    assert len(rates._buckets) == 8
