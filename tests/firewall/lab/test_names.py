"""Which addresses names have; invented ones must look like anybody's and be on nobody's list."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.lab.names import NameTable, invent

# Xiaomi's server room of 2014, and CNNIC's own networks (RouteViews, June 2026)
LISTED = """
    42.62.48.0/24 42.62.0.0/17 1.2.4.0/24 42.83.128.0/20 42.83.144.0/22 42.83.189.0/24 42.83.190.0/24 42.83.200.0/23
    125.208.32.0/20 125.208.49.0/24 203.99.19.0/24 203.119.24.0/21 203.119.32.0/22 210.2.2.0/23 210.2.4.0/22
    210.2.8.0/21 218.241.96.0/19 2001:dc7::/32 2406:2700::/32
"""
NETWORKS = [ip_network(text) for text in LISTED.split()]


@pytest.fixture
def table() -> NameTable:
    return NameTable.load()


@given(name=st.text(min_size=1, max_size=253), version=st.sampled_from([4, 6]), nth=st.integers(0, 100))
def test_an_invented_address_is_global_unlisted_and_stable(name: str, version: int, nth: int) -> None:
    address = invent(name, version, nth)
    assert address.version == version
    assert address.is_global
    assert not any(address.version == network.version and address in network for network in NETWORKS)
    assert address == invent(name, version, nth)


def test_case_makes_no_difference() -> None:
    assert invent("News.Example.ORG", 4) == invent("news.example.org", 4)


def test_names_do_not_share_addresses() -> None:
    for version in (4, 6):
        assert len({invent(f"host{n}.example.org", version) for n in range(500)}) == 500


def test_real_names_have_real_addresses(table: NameTable) -> None:
    found = table.find("API.account.Xiaomi.com", 4)
    assert found is not None
    assert found.addresses == (ip_address("42.62.48.181"),)
    table.moved = True
    found = table.find("api.account.xiaomi.com", 4)
    assert found is not None
    assert found.addresses == (ip_address("54.179.140.65"),)
    still = table.find("example.com", 4)
    assert still is not None
    assert still.addresses == (ip_address("93.184.216.34"),)


def test_a_chain_of_aliases_ends_in_addresses(table: NameTable) -> None:
    found = table.find("www.bbc.com", 6)
    assert found is not None
    assert found.aliases == ("www.bbc.com.pri.bbc.com", "bbc.map.fastly.net")
    assert found.addresses == (ip_address("2a04:4e42::81"),)


def test_a_ring_of_aliases_ends(tmp_path) -> None:
    file = tmp_path / "names.toml"
    file.write_text('["a"]\ncname = "b"\n["b"]\ncname = "a"\n')
    found = NameTable.load(file).find("a", 4)
    assert found is not None
    assert len(found.aliases) < 20


@pytest.mark.parametrize("name", ["invalid", "x.invalid", "a.b.INVALID"])
def test_nothing_exists_under_invalid(table: NameTable, name: str) -> None:
    assert table.find(name, 4) is None


@pytest.mark.parametrize("version", [4, 6])
def test_every_listed_name_has_addresses_of_both_families(table: NameTable, version: int) -> None:
    for name in table.entries:
        found = table.find(name, version)
        assert found is not None
        assert found.addresses
        assert all(address.version == version for address in found.addresses)
