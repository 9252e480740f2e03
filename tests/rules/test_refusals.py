"""The kernel's sets are nothing but `decide`, asked beforehand."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.decide import decide
from rules.networks import images, merged, parse_network
from rules.observation import Observation, Place
from rules.refusals import refused_networks

NETWORKS = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "0.0.0.0/0", "255.255.255.255", "64:ff9b::/96", "2001:db8::/32", "2001:db8:1::/48", "::/0", "::ffff:10.1.0.0/112", "2002::/16"]
RULE = st.builds(
    lambda action, nets, more: f"{action} addr:{','.join(nets)}{more}",
    st.sampled_from(["allow", "ask", "block"]), st.lists(st.sampled_from(NETWORKS), min_size=1, max_size=3),
    st.sampled_from(["", "", " phone:p", " port:443", " name:a.example", " -name:a.example", " country:CN", " -country:CN", " asn:1", " operator:cnnic", " group:kids", " -group:kids"]),
)
PROBES = [socket.inet_pton(socket.AF_INET, a) for a in ("10.0.0.1", "10.1.0.1", "10.1.2.3", "10.1.2.4", "9.255.255.255", "11.0.0.0", "255.255.255.255", "0.0.0.0")] + [
    socket.inet_pton(socket.AF_INET6, a)
    for a in ("64:ff9b::a01:203", "64:ff9b::b00:1", "::ffff:10.1.0.1", "2002:a01:203::1", "2002:b00:1::1", "2001:db8::1", "2001:db8:1::1", "2001:db7::1", "::1", "ffff::1")
]


@given(st.lists(RULE, max_size=5), st.booleans())
def test_an_address_is_refused_in_the_kernel_exactly_if_every_outcome_is_a_refusal(make, rules, packs) -> None:
    policy = make.policy(*rules, packs=packs)
    four, six = refused_networks(policy)
    for spans in (four, six):
        assert list(spans) == sorted(spans)
        assert merged(spans) == spans
    for addr in PROBES:
        inside = any(first <= addr <= last for first, last in (four if len(addr) == 4 else six))
        assert inside is decide(policy, Observation(None, None, addr, None, names_open=True, group=None, place=None)).verdict.refuses


def test_teredo_is_left_to_python_which_sees_the_address_in_it(make) -> None:
    """IPv4 addresses are strewn over 2001::/32: no range holds those of one network."""
    policy = make.policy("allow addr:192.0.2.1", "block addr:2000::/3")
    _, six = refused_networks(policy)
    assert six == ((make.packed("2000::"), make.packed("2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff")), (make.packed("2001:1::"), make.packed("2002:c000:200:ffff:ffff:ffff:ffff:ffff")), (make.packed("2002:c000:202::"), make.packed("3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")))
    assert decide(policy, make.seen(addr="2001:0:102:304:8000:1:3fff:fdfe")).verdict == "allow"  # 192.0.2.1, inverted
    assert decide(policy, make.seen(addr="2001:0:102:304:8000:1:3fff:fdfd")).verdict == "block"
    assert not policy.teredo_is_nat64


TEREDO_PROBES = [b"\x20\x01\0\0" + server + b"\x80\0\1\2" + bytes(255 - byte for byte in client) for server in PROBES[:8] for client in PROBES[:8]]


@given(st.lists(RULE, max_size=5))
def test_the_kernel_may_take_teredo_for_nat64_where_the_rules_make_no_other_difference(make, rules) -> None:
    """Then nothing is refused there that Python would let pass."""
    policy = make.policy(*rules)
    _, six = refused_networks(policy)
    if policy.teredo_is_nat64:
        for addr in TEREDO_PROBES:
            form = b"\0\x64\xff\x9b" + bytes(8) + bytes(255 - byte for byte in addr[12:])
            if any(first <= form <= last for first, last in six):
                assert decide(policy, Observation(None, None, addr, None, names_open=True, group=None, place=None)).verdict.refuses


@pytest.mark.parametrize(("rules", "alike"), [
    (["block addr:42.62.48.0/24", "allow addr:192.0.2.1"], True), (["block addr:2001:db8::/32"], True), (["block addr:::/0"], True),
    (["allow addr:2001:0:102:304::/64"], False), (["allow addr:64:ff9b::192.0.2.1"], False), (["allow addr:2001::/16"], False),
])
def test_what_is_a_difference(make, rules, alike) -> None:
    assert make.policy(*rules).teredo_is_nat64 is alike


def test_a_teredo_server_closes_and_never_opens(make) -> None:
    listed, free, other = "2001:0:2a3e:3009:8000:1:3fff:fdfe", "2001:0:102:304:8000:1:3fff:fdfe", "2001:0:102:304:8000:1:d5c1:cff6"
    for refusal in ("block addr:42.62.48.0/24", "ask service:xiaomi-account", "block -addr:192.0.2.0/24,1.2.3.4"):
        policy = make.policy(refusal, services=True)
        verdicts = [decide(policy, make.seen(addr=addr)).verdict.refuses for addr in (listed, free, other)]
        assert verdicts == ([True, False, True] if "-addr" not in refusal else [False, False, True]), refusal
    opening = make.policy("allow addr:1.2.3.4", "block addr:42.62.48.0/24")
    assert decide(opening, make.seen(addr=other)).verdict == "block"
    assert decide(make.policy("allow -addr:1.2.3.4", "block addr:0.0.0.0/0"), make.seen(addr=free)).verdict == "block"


def test_all_forms_of_a_listed_network_are_there(make) -> None:
    _, six = refused_networks(make.policy("block addr:42.62.48.0/24"))
    assert set(six) == set(images(parse_network("42.62.48.0/24")))


def test_an_exception_above_a_block_leaves_a_hole(make) -> None:
    four, _ = refused_networks(make.policy("allow addr:42.62.48.5", "block addr:42.62.48.0/24"))
    assert four == ((make.packed("42.62.48.0"), make.packed("42.62.48.4")), (make.packed("42.62.48.6"), make.packed("42.62.48.255")))


def test_networks_of_an_operator_are_refused_in_the_kernel_and_places_are_left_to_python(make) -> None:
    """The kernel knows no place: only what every place would be refused for is in its sets."""
    refused = parse_network("218.241.96.0/19")
    assert refused in refused_networks(make.policy("block operator:cnnic"))[0]
    assert refused_networks(make.policy("block country:CN", "block asn:24406", "ask -country:DE", "block group:strict")) == ((), ())
    assert refused not in refused_networks(make.policy("allow country:CN", "block operator:cnnic"))[0]
    assert refused in refused_networks(make.policy("ask country:CN", "block operator:cnnic"))[0]


@given(st.lists(RULE, max_size=5))
def test_what_the_kernel_refuses_is_refused_wherever_it_stands_and_whoever_asks(make, rules) -> None:
    policy = make.policy(*rules)
    four, six = refused_networks(policy)
    for addr in PROBES:
        if any(first <= addr <= last for first, last in (four if len(addr) == 4 else six)):
            for place in (Place(), Place("CN", "CN", 1), Place("DE", "US", 24406), Place(None, None, None)):
                for group, port, dns in (("kids", 443, ("a.example",)), ("", 80, ("b.example",)), ("strict", 443, ())):
                    answered = (dns,) if dns else ()
                    seen = Observation("p", "tcp", addr, port, answered, group=group, place=place)
                    assert decide(policy, seen).verdict.refuses


def test_what_routers_say_of_translators_closes_and_opens_nothing(make) -> None:
    own = make.packed("2001:db8:64::")[:12]
    listed, free = "2001:db8:64::42.62.48.9", "2001:db8:64::192.0.2.1"
    closing, opening = make.policy("block addr:42.62.48.0/24"), make.policy("allow addr:192.0.2.1", "block addr:2001:db8::/32")
    for policy, addr in ((closing, listed), (opening, free)):
        policy.translate((), (own,))
        assert decide(policy, make.seen(addr=addr)).verdict == "block"
        assert any(first <= make.packed(addr) <= last for first, last in refused_networks(policy)[1])
    assert refused_networks(closing)[1] == merged(images(parse_network("42.62.48.0/24"), [own]))
    opening.translate((own,))
    assert decide(opening, make.seen(addr=free)).verdict == "allow"


def test_behind_a_translator_of_this_network_the_same_is_refused(make) -> None:
    policy = make.policy("block addr:42.62.48.0/24")
    own = make.packed("2001:db8:64::")[:12]
    policy.translate((own,))
    assert refused_networks(policy)[1] == merged(images(parse_network("42.62.48.0/24"), [own]))
    policy.translate(())
    assert refused_networks(policy)[1] == merged(images(parse_network("42.62.48.0/24")))
