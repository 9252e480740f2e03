"""Who is called what, and what a lab may call its own."""

from __future__ import annotations

import pytest

from firewall.lab.topology import LAN4, LAN6, MAX_PHONES, LabError, Phone, Topology


def test_the_first_phone_is_where_everybody_expects_it() -> None:
    phone = Phone(1)
    assert (phone.name, phone.mac, str(phone.ipv4.ip), str(phone.ipv6.ip)) == (
        "phone1", "02:00:00:00:01:01", "10.77.0.10", "2001:db8:77::10",
    )


def test_a_full_lab_has_room_for_everybody() -> None:
    phones = Topology.of("x", MAX_PHONES).phones
    for every in ("name", "mac", "ipv4", "ipv6", "port"):
        assert len({getattr(phone, every) for phone in phones}) == MAX_PHONES
    assert all(phone.ipv4.network == LAN4.network and phone.ipv6.network == LAN6.network for phone in phones)
    assert LAN4.ip not in {phone.ipv4.ip for phone in phones}


@pytest.mark.parametrize("name", ["", "a b", "../etc", "A", "-a", "a-", "x" * 33, "a/b", "."])
def test_a_name_that_is_no_name(name: str) -> None:
    with pytest.raises(LabError):
        Topology(name)


@pytest.mark.parametrize("phones", [-1, 0, MAX_PHONES + 1])
def test_too_few_or_too_many_phones(phones: int) -> None:
    with pytest.raises(LabError, match="1 to 64"):
        Topology.of("x", phones)


@pytest.mark.parametrize(
    ("namespace", "owned"),
    [
        ("a-phone1", True), ("a-phone64", True), ("a-gateway", True), ("a-router", True), ("a-internet", True),
        ("a", False), ("a-b-gateway", False), ("a-phone", False), ("a-phone1x", False), ("xa-gateway", False), ("a-gatewayx", False),
    ],
)
def test_a_lab_owns_its_own_namespaces_only(*, namespace: str, owned: bool) -> None:
    assert Topology("a").owns(namespace) is owned


def test_it_owns_what_it_builds() -> None:
    topology = Topology.of("a-b", 3)
    assert all(topology.owns(namespace) for namespace in topology.namespaces)
    assert len(topology.namespaces) == 6
