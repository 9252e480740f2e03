from __future__ import annotations

import socket

import pytest

from firewall.control import Refused
from firewall.verbs.args import HTTPS, Place, parse_place

V4, V6 = socket.inet_aton("42.62.48.9"), socket.inet_pton(socket.AF_INET6, "2001:dc7::1")


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
