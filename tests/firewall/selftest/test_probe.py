"""The probe and the witness in a box of their own: joined like a phone, seen where packets leave, and gone without a trace."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from judge import wait_for

from firewall.selftest import packets
from firewall.selftest.probe import Phone
from firewall.selftest.side import SelfTestError, Side
from firewall.selftest.tries import Try
from firewall.selftest.verdict import Outcome
from firewall.selftest.witness import Witness
from firewall.spaces import Space

pytestmark = pytest.mark.lab

# Nobody gave it a MAC: it has the first of its ports', and keeps it while the probe is there.
BRIDGE = "ip link add lan0 type bridge; ip link add p0 address 06:00:00:00:00:01 type veth peer name q0; ip link set q0 up; ip link set p0 master lan0 up; bridge link set dev p0 isolated on"
ONE_ARMED = "ip link add wire0 type veth peer name wire1; ip link set wire0 up; ip link set wire1 up; ip link add link wire0 name lan0 type macvlan mode bridge"
WIRE = "ip link add lan0 type veth peer name far0; ip link set far0 up; ip link set lo up"
ADDRESSES = "ip link set lo up; ip link set lan0 up; ip addr add 192.168.77.1/24 dev lan0; ip addr add fd77::1/64 dev lan0 nodad"
TOKEN = b"0123456789abcdef"
JOINS = """
import sys, time
from firewall.selftest.probe import Phone
from firewall.selftest.side import Side
side = Side.look("lan0")
phone = Phone(side, side.free4(()))
print(phone.port, flush=True)
time.sleep(60)
"""


def sh(script: str) -> str:
    return subprocess.run(["sh", "-ec", script], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def box() -> Iterator[Space]:
    with Space() as made, made.inside():
        yield made


@pytest.mark.parametrize("script", [BRIDGE, ONE_ARMED, WIRE], ids=["bridge", "one-armed", "wire"])
def test_joined_like_a_phone_and_gone_again(box: Space, script: str) -> None:
    sh(f"{script}; {ADDRESSES}")
    before = sh("ip -o link; tc qdisc; tc filter show dev lan0 egress")
    side = Side.look("lan0")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as there, socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        there.bind(("::", 9_999))
        there.settimeout(5)
        server.bind(("192.168.77.1", 80))
        server.listen()
        phone, other = Phone(side, side.free4(())), Phone(side, side.free4(("192.168.77.254",)))
        try:
            assert (str(phone.own4), str(other.own4)) == ("192.168.77.254/24", "192.168.77.253/24")
            for joined, family, to in ((phone, 4, "192.168.77.1"), (phone, 6, "fd77::1"), (other, 4, "192.168.77.1"), (other, 6, "fd77::1")):
                own = joined.address(family)
                assert own
                gateway = socket.inet_pton(socket.AF_INET6 if family == 6 else socket.AF_INET, to)
                joined.send(packets.udp(own, gateway, 40_000, 9_999, TOKEN))
                said, sender = there.recvfrom(100)
                assert said == TOKEN
                there.sendto(b"and back", sender)  # for which this box has to find it first
                wait_for(lambda card=joined: any(b"and back" in frame for frame in card.received()))
            seen = Outcome()
            asyncio.run(phone.connection(Try("web", 4, "", "connection", side.own4.ip.packed, 80, TOKEN, says=TOKEN), seen))
            assert (seen.connected, seen.said, seen.answered, seen.error) == (True, True, False, "no answer")
            if side.kind == "bridge":  # on one wire nothing stands between them
                phone.send(packets.udp(phone.own4.ip.packed, other.own4.ip.packed, 1, 2, TOKEN), other.mac)
                time.sleep(0.2)
                assert not any(TOKEN in frame for frame in other.received())
        finally:
            other.close()
            phone.close()
    wait_for(lambda: sh("ip -o link; tc qdisc; tc filter show dev lan0 egress") == before, 3)


def test_where_there_is_no_place_for_it(box: Space) -> None:
    sh("ip tuntap add lan0 mode tun; ip link set lan0 up; ip addr add 192.168.77.1/24 dev lan0")
    with pytest.raises(SelfTestError, match="consentry setup"):
        Side.look("lan0")
    sh("ip link add lan1 type bridge")
    with pytest.raises(SelfTestError, match="no IPv4 network"):
        Side.look("lan1")
    with pytest.raises(SelfTestError, match="no interface"):
        Side.look("lan7")


@pytest.mark.parametrize("rule", ["", "iif lan0", "not fwmark 0xca6c"])
def test_a_way_out_is_one_in_whichever_table_it_stands(box: Space, rule: str) -> None:
    """A tunnel's default route is in a table of its own (wg-quick): what leaves there has to be tried too."""
    sh(f"{BRIDGE}; {ADDRESSES}; ip link add out0 type veth peer name far0; ip link set out0 up; ip link set far0 up")
    sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1; ip addr add 10.9.0.2/24 dev out0")
    side, ways = Side.look("lan0"), (("192.168.77.254", "192.0.2.10"), ("fd77::fe", "2001:db8:5e1f::a"))
    assert [side.leads_out(*way) for way in ways] == [False, False]
    for family, via in (("-4", "via 10.9.0.1"), ("-6", "via fe80::1")):
        sh(f"ip {family} route add default {via} dev out0 table {100 if rule else 'main'}")
        if rule:
            sh(f"ip {family} rule add {rule} table 100")
    assert [side.leads_out(*way) for way in ways] == [True, True]


def test_whoever_is_killed_leaves_nothing(box: Space) -> None:
    sh(f"{BRIDGE}; {ADDRESSES}")
    before = sh("ip -o link")
    process = subprocess.Popen([sys.executable, "-c", JOINS], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    with process.stdout as said:
        assert said.readline().startswith("cst")
    assert sh("ip -o link") != before
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: sh("ip -o link") == before)


def test_what_leaves_is_seen_wherever_it_leaves(box: Space) -> None:
    sh(f"{BRIDGE}; {ADDRESSES}; ip link add out0 type veth peer name far0; ip link add vpn0 type veth peer name far1")
    sh("for i in out0 far0 vpn0 far1; do ip link set $i up; done; ip addr add 203.0.113.1/24 dev out0; ip addr add 198.51.100.1/24 dev vpn0")
    sh("ip neigh add 203.0.113.9 lladdr 02:00:00:00:00:09 dev out0; ip neigh add 198.51.100.9 lladdr 02:00:00:00:00:09 dev vpn0")
    sh("ip neigh add 192.168.77.9 lladdr 02:00:00:00:00:09 dev lan0")
    alone = Try("bare-udp", 4, "", "frames", socket.inet_aton("198.51.100.9"), 9, b"no such token in it")
    shared = Try("tls", 4, "", "connection", socket.inet_aton("203.0.113.9"), 443, TOKEN)
    with Witness(Side.look("lan0").inside) as witness, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        witness.watch((alone, shared))
        sender.sendto(b"by its address", ("198.51.100.9", 9))
        sender.sendto(b"by its token " + TOKEN, ("203.0.113.9", 53))
        sender.sendto(b"an error quotes " + TOKEN, ("192.168.77.9", 9))  # to the phones: they may hear of it
        sender.sendto(b"somebody else's", ("203.0.113.9", 443))
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as knocking:
            knocking.setblocking(False)
            knocking.connect_ex(("203.0.113.9", 443))
            time.sleep(0.1)
        witness.read()
        assert (witness.left(alone), witness.ways(alone)) == (1, ["vpn0"])
        assert (witness.left(shared), witness.ways(shared)) == (1, ["out0"])
        assert witness.knocked == {shared}
        assert witness.drops() == 0
