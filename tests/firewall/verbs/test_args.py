from __future__ import annotations

import socket

import pytest

from firewall.control import Refused
from firewall.verbs.args import HTTPS, Place, flag, number, parse_place

V4, V6 = socket.inet_aton("42.62.48.9"), socket.inet_pton(socket.AF_INET6, "2001:dc7::1")
WRONG_USAGE = 2  # an exit status (docs/cli.md)


@pytest.mark.parametrize(("what", "place"), [
    ("api.account.xiaomi.com", Place("api.account.xiaomi.com", None, HTTPS)),
    (" API.account.xiaomi.com. ", Place("api.account.xiaomi.com", None, HTTPS)),
    ("example.com:80", Place("example.com", None, 80)),
    ("42.62.48.9", Place("", V4, HTTPS)),
    ("42.62.48.9:5222", Place("", V4, 5222)),
    ("2001:dc7::1", Place("", V6, HTTPS)),
    ("[2001:dc7::1]:53", Place("", V6, 53)),
    ("[2001:dc7::1]", Place("", V6, HTTPS)),
])
def test_names_addresses_and_ports(what: str, place: Place) -> None:
    assert parse_place(what) == place


@pytest.mark.parametrize("what", ["", "a b", "example.com:0", "example.com:x", "example.com:99999", "2001:dc7:::1", "[2001:dc7::1]:٣", "a:b:c"])
def test_nonsense_is_refused_in_words(what: str) -> None:
    with pytest.raises(Refused, match="neither a name nor an address|is no port"):
        parse_place(what)


@pytest.mark.parametrize("value", [0, -1, 101, 1 << 63, 1.5, True, "7", None, [7]])
def test_a_number_out_of_its_range_is_wrong_usage_and_told_with_the_range(value: object) -> None:
    with pytest.raises(Refused, match="limit: a number from 1 to 100 is wanted") as refused:
        number({"limit": value}, "limit", 7, 100)
    assert refused.value.status == WRONG_USAGE
    assert [number(told, "limit", 7, 100) for told in ({}, {"limit": 1}, {"limit": 100})] == [7, 1, 100]


@pytest.mark.parametrize("value", [0, 1, "true", None])
def test_a_flag_is_true_or_false(value: object) -> None:
    with pytest.raises(Refused, match="all: true or false is wanted") as refused:
        flag({"all": value}, "all")
    assert refused.value.status == WRONG_USAGE
