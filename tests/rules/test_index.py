"""Against the plainest possible reading of what an atom lists."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.index import Atom, Index
from rules.networks import embedded, parse_network

NAMES = ["a", "b.a", "c.b.a", "xa", "=a", "=b.a", "=c.b.a"]
NETWORKS = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "255.255.255.255", "0.0.0.0/0", "2001:db8::/32", "2001:db8:1::/48", "::/0", "2002:a01::/32", "2001::/23"]
ADDRS = ["9.255.255.255", "10.0.0.0", "10.1.2.3", "10.1.2.4", "10.255.255.255", "11.0.0.0", "255.255.255.255", "0.0.0.0", "2001:db8::", "2001:db8:1::5", "2001:db7:ffff::", "2002:a01:203::", "::ffff:10.1.2.3", "::", "2001::"]
ATOMS = st.lists(st.builds(Atom, st.lists(st.sampled_from(NAMES), max_size=3).map(tuple), st.lists(st.sampled_from(NETWORKS).map(parse_network), max_size=3).map(tuple)), max_size=6)


@given(ATOMS)
def test_names_are_found_at_label_boundaries(atoms) -> None:
    index = Index(atoms)
    for name in ("a", "b.a", "c.b.a", "d.c.b.a", "xa", "b.xa", "other"):
        expected = sum(1 << n for n, atom in enumerate(atoms) if any(name == p[1:] if p[0] == "=" else name == p or name.endswith("." + p) for p in atom.names))
        assert index.name(name) == expected


@given(ATOMS)
def test_addresses_are_found_in_every_form(atoms) -> None:
    index = Index(atoms)
    for text in ADDRS:
        addr = ipaddress.ip_address(text).packed
        forms = {addr, embedded(addr) if len(addr) == 16 else None}
        expected = sum(1 << n for n, atom in enumerate(atoms) if any(form and len(form) == len(first) and first <= form <= last for form in forms for first, last in atom.networks))
        assert index.addr(addr) == expected, text


@given(ATOMS)
def test_cells_cover_each_family_once_and_look_alike_within(atoms) -> None:
    index = Index(atoms)
    for size in (4, 16):
        cells = [cell for cell in index.cells() if len(cell[0]) == size]
        assert cells[0][0] == bytes(size)
        assert cells[-1][1] == b"\xff" * size
        for (_, last), (first, _) in zip(cells, cells[1:], strict=False):
            assert int.from_bytes(last) + 1 == int.from_bytes(first)
        for first, last in cells:
            middle = ((int.from_bytes(first) + int.from_bytes(last)) // 2).to_bytes(size)
            if not first.startswith(b"\x20\x01\0\0"):  # Teredo: strewn over by IPv4
                assert index.addr(first) == index.addr(last) == index.addr(middle)


@pytest.mark.parametrize(("open_", "dns", "sni", "yes", "not_yet", "all_yes", "all_not_yet"), [
    # bit 0 is `name:a`, bit 1 is `name:b`; the table stands in rules/index.py
    (True, [], (), 0b00, 0b11, 0b00, 0b11),
    (True, [("a",)], (), 0b01, 0b10, 0b00, 0b01),
    (True, [("a", "b")], (), 0b11, 0b00, 0b00, 0b11),
    (True, [("a",), ("b",)], (), 0b00, 0b11, 0b00, 0b11),
    (True, [("a",), ("x.a",)], (), 0b01, 0b10, 0b00, 0b01),
    (True, [("c",), ("d",)], (), 0b00, 0b11, 0b00, 0b00),
    (True, [], "a", 0b01, 0b10, 0b00, 0b01),
    (True, [("a",), ("b",)], "a", 0b01, 0b10, 0b00, 0b01),
    (False, [], (), 0b00, 0b00, 0b00, 0b00),
    (False, [("a",), ("b",)], (), 0b11, 0b00, 0b00, 0b00),
    (False, [("a",), ("b",)], "a", 0b01, 0b00, 0b01, 0b00),
    (False, [("a",), ("b",)], "c", 0b11, 0b00, 0b00, 0b00),
    (False, [("a", "b")], "b", 0b11, 0b00, 0b10, 0b00),
])
def test_what_names_are_worth(make, open_, dns, sni, yes, not_yet, all_yes, all_not_yet) -> None:
    case = Index([Atom(("a",)), Atom(("b",))]).look_up(make.seen(dns=dns, sni=sni, open_=open_), 0)
    assert (case.any_yes, case.any_open, case.all_yes, case.all_open) == (yes, not_yet, all_yes, all_not_yet)


def test_claims_over_a_listed_address(make) -> None:
    index = Index([Atom(networks=(parse_network("192.0.2.0/24"),))])

    def unproven(**facts) -> bool:
        return index.look_up(make.seen(addr="192.0.2.1", **facts), 1).unproven

    assert unproven(sni="a")
    assert unproven(sni="a", dns="b")
    assert not unproven(sni="a", dns=[("b", "a")])
    assert not unproven()
    assert not index.look_up(make.seen(sni="a"), 1).unproven
