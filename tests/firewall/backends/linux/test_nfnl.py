"""Our netlink against pyroute2's decoding of the same messages, and against the kernel in a namespace of our own."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.nfnetlink import nfctsocket, nftsocket

from firewall.backends.linux import conntrack, nfnl
from firewall.inputs import FlowKey

V4 = FlowKey(6, socket.inet_aton("10.77.0.10"), 40000, socket.inet_aton("42.62.48.9"), 443)
V6 = FlowKey(17, socket.inet_pton(10, "2001:db8::10"), 40000, socket.inet_pton(10, "2001:dc7::9"), 53)
ECHO = FlowKey(1, V4.src, 77, V4.dst, 0)


def decoded(message: bytes, kind):
    decoder = kind(message)
    decoder.decode()
    return decoder


@pytest.mark.parametrize("flow", [V4, V6, ECHO])
def test_set_mark_is_what_pyroute2_reads(flow: FlowKey) -> None:
    read = decoded(conntrack.set_mark(flow, 0x40000000, 0xF8000000), nfctsocket.nfct_msg)
    assert read["header"]["type"] == (nfnl.CTNETLINK << 8 | conntrack.CT_NEW)
    assert read.get_attr("CTA_MARK") == 0x40000000
    assert read.get_attr("CTA_MARK_MASK") == 0xF8000000
    ip, proto = read.get_attr("CTA_TUPLE_ORIG").get_attr("CTA_TUPLE_IP"), read.get_attr("CTA_TUPLE_ORIG").get_attr("CTA_TUPLE_PROTO")
    six = len(flow.src) == 16
    family = socket.AF_INET6 if six else socket.AF_INET
    assert ip.get_attr("CTA_IP_V6_SRC" if six else "CTA_IP_V4_SRC") == socket.inet_ntop(family, flow.src)
    assert ip.get_attr("CTA_IP_V6_DST" if six else "CTA_IP_V4_DST") == socket.inet_ntop(family, flow.dst)
    assert proto.get_attr("CTA_PROTO_NUM") == flow.proto
    if flow is ECHO:
        assert proto.get_attr("CTA_PROTO_ICMP_ID") == 77
    else:
        assert (proto.get_attr("CTA_PROTO_SRC_PORT"), proto.get_attr("CTA_PROTO_DST_PORT")) == (flow.sport, flow.dport)


def test_set_elements_are_what_pyroute2_reads() -> None:
    key = nfnl.padded_mac(bytes.fromhex("020000000101")) + V4.dst
    read = decoded(nfnl.elements(nfnl.NEW_ELEMENT, "consentry", "learned4", [nfnl.element(key, 660)]), nftsocket.nft_set_elem_list_msg)
    assert read["header"]["type"] == (nfnl.NFTABLES << 8 | nfnl.NEW_ELEMENT)
    assert (read.get_attr("NFTA_SET_ELEM_LIST_TABLE"), read.get_attr("NFTA_SET_ELEM_LIST_SET")) == ("consentry", "learned4")
    (element,) = read.get_attr("NFTA_SET_ELEM_LIST_ELEMENTS")
    assert element.get_attr("NFTA_SET_ELEM_TIMEOUT") == 660_000
    assert bytes(element.get_attr("NFTA_SET_ELEM_KEY").get_attr("NFTA_DATA_VALUE")) == key


ID, INDEV, OUTDEV = nfnl.attribute(1, b"\0\0\0\x07\x08\0\2"), nfnl.attribute(5, b"\0\0\0\2"), nfnl.attribute(6, b"\0\0\0\3")
MARK, SENDER = nfnl.attribute(3, b"\x3d\0\x40\1"), nfnl.attribute(9, b"\0\6\0\0\2\0\0\0\1\1\0\0")
BITS, BRIDGE, TIME = nfnl.attribute(14, b"\0\0\0\1"), nfnl.attribute(7, b"\0\0\0\2"), nfnl.attribute(4, bytes(16))
QUEUED = nfnl.Queued(7, bytes.fromhex("020000000101"), b"packet", 0x3D004001, out=3)


@pytest.mark.parametrize(("before", "told"), [
    ((ID, INDEV, OUTDEV, MARK, SENDER, BITS), QUEUED),
    ((ID, INDEV, OUTDEV, MARK, SENDER), QUEUED),
    ((ID, BRIDGE, INDEV, OUTDEV, MARK, SENDER, TIME), QUEUED),
    ((ID, INDEV, OUTDEV, SENDER, BITS), QUEUED._replace(mark=0)),
    ((ID, OUTDEV, MARK), QUEUED._replace(mac=bytes(6))),
    ((ID, MARK, INDEV, OUTDEV, SENDER), QUEUED),
])
@pytest.mark.parametrize("size", range(6, 10))
def test_a_queued_packet_is_read_whatever_the_kernel_tells_with_it(before, told, size) -> None:
    """nfqnl_build_packet_message (linux/net/netfilter/nfnetlink_queue.c) leaves out what there is none of."""
    packet = b"packet" + bytes(range(size - 6))
    payload = nfnl._ATTRIBUTE.pack(4 + size, 10) + packet  # the last one is not padded
    datagram = memoryview(nfnl.message(nfnl.QUEUE, 0, 0, b"".join(before) + payload, family=2))
    assert nfnl.queued(datagram) == [told._replace(packet=packet)]


def test_two_packets_in_one_datagram_are_two() -> None:
    one = nfnl.message(nfnl.QUEUE, 0, 0, ID + INDEV + OUTDEV + MARK + SENDER + nfnl.attribute(10, b"packet"), family=2)
    assert [found.id for found in nfnl.queued(memoryview(one + one))] == [7, 7]
    assert nfnl.queued(memoryview(nfnl.message(nfnl.CTNETLINK, 0, 0, one[20:]))) == []


COUNTERS = b"".join(nfnl.nest(kind, nfnl.attribute(1, (9).to_bytes(8)), nfnl.attribute(2, count.to_bytes(8))) for kind, count in ((9, 700), (10, 1 << 40)))
PADDED = nfnl.nest(9, nfnl.attribute(1, bytes(8)), nfnl.attribute(3), nfnl.attribute(2, (700).to_bytes(8)), nfnl.attribute(3))
BYTES, STATUS = nfnl.attribute(8, b"\x48\0\0\0"), nfnl.attribute(3, b"\0\0\3\x9e")


@pytest.mark.parametrize("flow", [V4, V6, ECHO, V6._replace(proto=58, dport=0), V4._replace(proto=132)])
def test_a_connection_is_read_whatever_stands_beside_its_counters(flow: FlowKey) -> None:
    back = conntrack.tuple_of(FlowKey(flow.proto, flow.dst, flow.dport, flow.src, flow.sport), 2)
    for beside in (b"", STATUS, nfnl.attribute(7, bytes(4)) + STATUS):
        told = conntrack.counted(memoryview(conntrack.tuple_of(flow) + back + beside + COUNTERS + BYTES))
        assert told == conntrack.Counted(flow, 0x48000000, 700, 1 << 40)
    assert conntrack.counted(memoryview(conntrack.tuple_of(flow) + PADDED + BYTES)) == conntrack.Counted(flow, 0x48000000, 700, 0)
    assert conntrack.counted(memoryview(conntrack.tuple_of(flow) + COUNTERS)) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    view = memoryview(data)
    nfnl.attributes(view)
    for _, _, body in nfnl.messages(view):
        nfnl.attributes(body)


KERNEL = """
import errno, os, socket, struct, subprocess, sys
from firewall.backends.linux import conntrack, nfnl
from firewall.inputs import FlowKey

def sh(*words, given=None): return subprocess.run(words, input=given, capture_output=True, text=True, check=True).stdout
sh("ip", "link", "set", "lo", "up")
open("/proc/sys/net/netfilter/nf_conntrack_acct", "w").write("1")
open("/proc/sys/net/netfilter/nf_conntrack_events", "w").write("1")
sh("nft", "-f", "-", given='''table inet consentry {
 set learned4 { type ether_addr . ipv4_addr; flags timeout; }
 counter unanswered { packets 7 bytes 700 }
 chain o { type filter hook output priority 0; ip daddr 127.0.0.9 udp dport 999 log group 66 ; ip daddr 127.0.0.9 ct mark set 0x40000001; }
}''')
net = nfnl.Netlink()
key = nfnl.padded_mac(bytes.fromhex("020000000101")) + socket.inet_aton("42.62.48.9")
for seconds in (660, 30):
    net.call(nfnl.batch(nfnl.elements(nfnl.NEW_ELEMENT, "consentry", "learned4", [nfnl.element(key, seconds)])))
    listed = sh("nft", "list", "set", "inet", "consentry", "learned4")
    assert "02:00:00:00:01:01 . 42.62.48.9" in listed and f"timeout {'11m' if seconds == 660 else '30s'}" in listed, listed
net.call(nfnl.batch(nfnl.elements(nfnl.DELETE_ELEMENT, "consentry", "learned4", [nfnl.element(key)])))
try: net.call(nfnl.batch(nfnl.elements(nfnl.DELETE_ELEMENT, "consentry", "learned4", [nfnl.element(key)]))); raise SystemExit("no error")
except OSError as error: assert error.errno == errno.ENOENT, error
assert nfnl.counter_packets(net, "consentry", "unanswered") == 7
assert nfnl.counter_packets(net, "consentry", "none") == 0

log = nfnl.Log(66)
changes = nfnl.Netlink(groups=(nfnl.RULES_CHANGED,))
ended = nfnl.Netlink(groups=(conntrack.CT_DESTROYED,))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("127.0.0.9", 999))
c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); c.connect(("127.0.0.9", 999)); c.send(b"token")
flow = FlowKey(17, socket.inet_aton("127.0.0.1"), c.getsockname()[1], socket.inet_aton("127.0.0.9"), 999)
log.socket.settimeout(5); data = log._buffer[:log.socket.recv_into(log._buffer)]
assert b"token" in bytes(data)
found = [conntrack.counted(body) for _, body in net.dump(conntrack.dump_marked(0x40000000, 0xC0000000))]
assert [(f.flow, f.mark, f.up) for f in found] == [(flow, 0x40000001, 33)], found
net.call(conntrack.set_mark(flow, 0x80000000, 0xF8000000))
(entry,) = [conntrack.counted(body) for _, body in net.dump(conntrack.dump_marked(0x80000000, 0xC0000000))]
assert entry.mark == 0x80000001, hex(entry.mark)   # the bit of somebody else is still there
net.call(conntrack.forget_marked(0x80000000, 0xC0000000))
ended.socket.settimeout(5)
kind, _, body = next(nfnl.messages(ended._buffer[:ended.socket.recv_into(ended._buffer)]))
assert conntrack.counted(body[4:]).flow == flow
try: net.call(conntrack.set_mark(flow, 0, 0xF8000000)); raise SystemExit("no error")
except OSError as error: assert error.errno == errno.ENOENT, error
nft = subprocess.Popen(["nft", "add", "table", "inet", "other"]); nft.wait()
changes.socket.settimeout(5); told = []
while not told or told[-1][0] != nfnl.NFTABLES << 8 | nfnl.NEW_GENERATION:
    told += [(kind, bytes(body)) for kind, _, body in nfnl.messages(changes._buffer[:changes.socket.recv_into(changes._buffer)])]
assert nfnl.committer(memoryview(told[-1][1])[4:]) == (nft.pid, "nft"), told

q = nfnl.Queue(77)
try: nfnl.Queue(77); raise SystemExit("two readers")
except PermissionError: pass
sh("iptables-nft", "-A", "OUTPUT", "-d", "127.0.0.9", "-p", "udp", "--dport", "999", "-j", "NFQUEUE", "--queue-num", "77")
sh("nft", "add chain inet consentry p { type filter hook output priority 10; meta mark 0x44000005 counter accept; ip daddr 127.0.0.9 udp dport 999 drop; }")
u.settimeout(5); u.recv(99)
for n, (verdict, mark) in enumerate([(nfnl.ACCEPT, 0x44000005), (nfnl.ACCEPT, 0), (nfnl.DROP, 0x44000005), (nfnl.ACCEPT, 0x44000005)]):
    c.send(b"number%d" % n)
    while not (packets := q.packets(64)): pass
    assert packets[0].packet.endswith(b"number%d" % n)
    q.answer(packets[0].id, verdict, mark); q.flush()
assert [u.recv(99), u.recv(99)] == [b"number0", b"number3"]
assert q.packets(64) == []
print("all of it")
"""


@pytest.mark.lab
def test_the_kernel_agrees() -> None:
    done = subprocess.run(["unshare", "-n", sys.executable, "-c", KERNEL], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "all of it\n", done.stderr[-2000:]
