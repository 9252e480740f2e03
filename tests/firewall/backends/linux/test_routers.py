"""What routers tell, in closed namespaces: those of the way to the internet, and nobody else."""

from __future__ import annotations

import pytest
from box import outside, run_on_gateway

from firewall.backends.linux.routers import Told

ONE, TWO = bytes(11) + b"\1", bytes(11) + b"\2"


def test_each_holds_for_its_time_and_a_router_takes_it_back() -> None:
    told = Told()
    told.believe(((ONE, 600), (TWO, 60)), 0.0)
    assert told.hold(59.0) == (ONE, TWO)
    assert told.hold(61.0) == (ONE,)
    told.believe(((ONE, 600),), 500.0)
    assert told.hold(1_000.0) == (ONE,)
    told.believe(((ONE, 0),), 1_000.0)
    assert told.hold(1_061.0) == ()


def test_who_changes_his_mind_all_the_time_has_all_judged_anew_a_few_times_a_minute() -> None:
    told, changes, before = Told(), 0, ()
    for now in range(600):
        told.believe(((bytes(11) + bytes((now % 9,)), 600 * (now % 2)),), float(now))
        changes += before != (before := told.hold(float(now)))
    assert 1 < changes < 90


def test_who_invents_many_changes_nothing_of_the_first() -> None:
    told = Told()
    told.believe(((ONE, 600),), 0.0)
    told.believe(tuple((bytes(11) + bytes((n,)), 600) for n in range(3, 50)), 0.0)
    assert len(told.hold(1.0)) == 4
    assert ONE in told.hold(1.0)


HEARD = """
SAY = '''
import socket, struct, sys
hops, interface, source, prefix = int(sys.argv[1]), sys.argv[2], sys.argv[3], bytes.fromhex(sys.argv[4])
message = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 0, 0, 0) + struct.pack("!BBH", 38, 2, 600) + prefix
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, hops)
s.bind((source, 0, 0, socket.if_nametoindex(interface)))
s.sendto(message, ("ff02::1", 0, 0, socket.if_nametoindex(interface)))
'''
def prefix(n):
    return socket.inet_pton(10, f"2001:db8:{n}::")[:12]

async def check(backend, seen, come, sends, frame):
    phone, far = sys.argv[1], sys.argv[1].replace("phone", "far")
    def say(n, where, interface, hops=255, source="fe80::7"):
        words = ["ip", "netns", "exec", where, sys.executable, "-c", SAY, str(hops), interface, source, prefix(n).hex()]
        return asyncio.to_thread(subprocess.run, words, check=True)
    for where, interface in ((far, "out0"), (phone, "eth0")):
        shown("ip", "-n", where, "addr", "add", "fe80::7/64", "dev", interface, "nodad")
    await say(1, phone, "eth0")  # a phone
    await say(2, far, "out0", hops=254)  # from further away
    await say(3, far, "out0", source="2001:db8:1::2")  # not of the link
    await say(4, far, "out0")
    await come(RoutersTold)
    (told,) = [i for i in seen if isinstance(i, RoutersTold)]
    assert told.nat64 == (prefix(4),), told
    assert Path("/proc/sys/net/ipv6/conf/wan0/accept_ra").read_text() == "0\\n"  # whatever the kernel does with them
"""


@pytest.mark.lab
def test_routers_of_the_way_to_the_internet_are_heard_and_nobody_else() -> None:
    with outside() as (gateway, phone, _):
        run_on_gateway((gateway, phone), HEARD)
