from __future__ import annotations

from rules.index import Atom
from rules.networks import parse_network
from rules.service import Entry, Service


def test_a_service_is_its_names_and_its_networks() -> None:
    network = parse_network("192.0.2.0/24")
    facts = {"source": "s", "date": "2026-01-01", "why": "w"}
    service = Service("x", "X", "nothing", (Entry("a.example", None, **facts), Entry("", network, **facts), Entry("=b.example", None, **facts)))
    assert service.atom() == Atom(("a.example", "=b.example"), (network,))
