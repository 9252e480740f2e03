from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

from hypothesis import given
from hypothesis import strategies as st

from firewall.box.subnets import collides, free4, ula

TAKEN = st.lists(st.builds(
    lambda base, offset, length: IPv4Network((int(IPv4Network(base)[0]) | offset << (32 - length) & 0xFFFFFF, length), strict=False),
    st.sampled_from(["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "0.0.0.0/0"]), st.integers(0, 4095), st.integers(0, 30),
), max_size=12)


@given(TAKEN)
def test_it_overlaps_nothing_that_is_there(taken: list[IPv4Network]) -> None:
    found = free4(taken)
    near = [network for network in taken if network.prefixlen > 4]
    if found is None:
        assert all(any(IPv4Network(space).subnet_of(one) or one.subnet_of(IPv4Network(space)) for one in near) for space in ("192.168.0.0/16",))
        return
    assert found.is_private
    assert found.prefixlen == 24
    assert not any(found.overlaps(network) for network in near)


def test_usual_neighbours() -> None:
    assert free4([]) == IPv4Network("192.168.77.0/24")
    assert free4([IPv4Network("0.0.0.0/0"), IPv4Network("192.168.0.0/16")]) == IPv4Network("172.16.0.0/24")
    assert free4([IPv4Network("192.168.0.0/16"), IPv4Network("172.16.0.0/12")]) == IPv4Network("10.77.0.0/24")
    assert free4([IPv4Network("192.168.0.0/16"), IPv4Network("172.16.0.0/12"), IPv4Network("10.0.0.0/8")]) is None


def test_the_one_in_the_way_is_named() -> None:
    taken = [ip_network("0.0.0.0/0"), ip_network("fd00::/8"), ip_network("192.168.77.128/25")]
    assert collides(IPv4Network("192.168.77.0/24"), taken) == "192.168.77.128/25"
    assert collides(IPv6Network("fd12::/64"), taken) == "fd00::/8"
    assert collides(IPv4Network("10.0.0.0/24"), taken) == ""


@given(st.binary(min_size=5, max_size=5))
def test_a_unique_local_prefix_carries_all_the_chance(chance: bytes) -> None:
    found = ula(chance)
    assert found.prefixlen == 64
    assert found.network_address.packed == b"\xfd" + chance + bytes(10)
