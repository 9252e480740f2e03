"""The way to the internet comes late, by a line without gateway or MAC (PPP), with another address, with the phones' own network."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest
from homebox import SERVERS, HomeBox, home_box
from judge import wait_for

pytestmark = pytest.mark.lab
THERE, NOT_THERE = "ECONNREFUSED", {"nothing", "ENETUNREACH", "EHOSTUNREACH", "EACCES"}
SPEAK = """
import socket, sys
s = socket.create_connection((sys.argv[1], 7777), 10); s.sendall(b"x"); print(s.recv(99).decode()); s.close()
"""
SERVE = """
import socket, struct
s = socket.create_server(("::", 7777), family=socket.AF_INET6, dualstack_ipv6=True); print("ready", flush=True)
while True:
    one, _ = s.accept()
    one.recv(1); one.sendall(str(struct.unpack_from("I", one.getsockopt(6, socket.TCP_INFO, 104), 16)[0]).encode()); one.close()
"""  # says how large the pieces are that it would send (tcpi_snd_mss)


@pytest.fixture(scope="module")
def box() -> Iterator[HomeBox]:
    """It has been set up, and has booted, where nobody has plugged in anything but the phones. It looks at return paths (rp_filter)."""
    with home_box() as built:
        built.run("sh", "-ec", "ip link set up1 down; ip link set up2 down; for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 1 >$f; done")
        done = built.consentry("setup", "--mode", "inline", "--radio", "port1", "--enforce", check=False)
        assert "no way to the internet" in done.stderr, done.stderr
        built.file("/var/lib/consentry/rules.toml").write_text('[[rule]]\naction = "allow"\nmatch = ""\n')
        wait_for(lambda: built.status["state"] == "ENFORCING")
        joins(built)
        yield built


def joins(box: HomeBox) -> str:
    """phone1's address; over IPv6 it has one too, and a router, when this returns."""
    address = box.lease("phone1")["address"]
    wait_for(lambda: "default" in box.at("phone1", "ip", "-6", "route").stdout and " tentative" not in shown6(box))
    return address


def shown6(box: HomeBox) -> str:
    return box.at("phone1", "ip", "-6", "addr", "show", "dev", "eth0", "scope", "global").stdout or " tentative"


def reached(box: HomeBox) -> set[str]:
    """Which of the server's two addresses phone1 reaches; what it is told of the others is one of the usual words."""
    said = {to: box.knock("phone1", to) for to in SERVERS}
    assert set(said.values()) <= {THERE, *NOT_THERE}, said
    return {to for to, word in said.items() if word == THERE}


def gets_there(box: HomeBox, over: str) -> None:
    """Also back: the server's side has no route to the phones, so their packets came in this uplink's name."""
    wait_for(lambda: reached(box) == set(SERVERS), 20)
    wait_for(lambda: (child := box.children["uplink"])["state"] == "up" and child["interface"] == over)


def wired(box: HomeBox, script: str) -> None:
    """Commands of ip(8) on the box, in this order, as a DHCP client has them; another order is another test."""
    box.run("sh", "-c", "\n".join(f"ip {line.strip()}" for line in script.strip().splitlines()))


def test_a_line_by_ppp_that_comes_late_goes_and_comes_with_another_address(box: HomeBox) -> None:
    for number in (2, 3):
        with box.dialled(1, (f"100.64.0.{number}", f"2001:db8:64::{number}"), ("100.64.0.1", "2001:db8:64::1")):
            gets_there(box, "ppp0")
            wait_for(lambda: box.status["wan"] == "ppp0")
        wait_for(lambda: "no default route" in box.children["uplink"]["reason"])
    assert not reached(box)
    assert box.status["state"] == "ENFORCING"


def test_nobody_sends_pieces_that_the_line_cannot_carry(box: HomeBox) -> None:
    """PPP over Ethernet carries 1,492 bytes, phones and servers believe in 1,500, and many a network swallows who says otherwise."""
    with box.dialled(1, ("100.64.0.2", "2001:db8:64::2"), ("100.64.0.1", "2001:db8:64::1")):
        box.run("ip", "link", "set", "ppp0", "mtu", "1400")
        gets_there(box, "ppp0")
        with box.started("away1", "python3", "-c", SERVE) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            for to, most in zip(SERVERS, (1400 - 20 - 20, 1400 - 40 - 20), strict=True):
                said = int(box.at("phone1", "python3", "-c", SPEAK, to).stdout)
                assert most - 12 <= said <= most  # the twelve are a timestamp's


def test_a_renewed_lease_may_be_another_address_or_another_network(box: HomeBox) -> None:
    for line in ("addr add 10.5.0.1/24 dev eth0", "addr add 2001:db8:5::1/64 dev eth0 nodad"):
        box.at("away1", "ip", *shlex.split(line))
    wired(box, """
        link set up1 up
        addr add 2001:db8:1::2/64 dev up1 nodad
        route add default via 10.1.0.1
        -6 route replace default via 2001:db8:1::1
    """)
    gets_there(box, "up1")
    wired(box, """
        addr flush dev up1 scope global
        addr add 10.1.0.77/24 dev up1
        addr add 2001:db8:1::77/64 dev up1 nodad
        route add default via 10.1.0.1
        -6 route replace default via 2001:db8:1::1
    """)  # the server said no to the old one: first it goes
    gets_there(box, "up1")
    wired(box, """
        addr add 10.5.0.2/24 dev up1
        addr add 2001:db8:5::2/64 dev up1 nodad
        route replace default via 10.5.0.1
        -6 route replace default via 2001:db8:5::1
        addr del 10.1.0.77/24 dev up1
        addr del 2001:db8:1::77/64 dev up1
    """)  # the new one first
    gets_there(box, "up1")


def test_an_uplink_with_the_phones_own_network_is_said_and_the_remedy_helps(box: HomeBox) -> None:
    box.at("away1", "ip", "addr", "add", "192.168.77.254/24", "dev", "eth0")
    wired(box, """
        addr flush dev up1 scope global
        link set up1 up
        addr add 192.168.77.2/24 dev up1
        addr add 2001:db8:1::2/64 dev up1 nodad
        route add default via 192.168.77.254 dev up1
        -6 route replace default via 2001:db8:1::1
    """)
    told = wait_for(lambda: "collide" in (child := box.children["uplink"])["reason"] and child)
    assert told["reason"] == "the network of up1 is 192.168.77.0/24, and the phones' is 192.168.77.0/24: they collide"
    assert told["remedy"] == "sudo consentry setup --subnet auto"
    box.consentry(*told["remedy"].split()[2:])
    assert not joins(box).startswith("192.168.77.")
    gets_there(box, "up1")
