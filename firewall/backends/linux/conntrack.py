"""Connections as the kernel knows them, by our own netlink: marks, counts, ends, and which of them are offloaded.

Formats are those of linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import socket
import struct
import sys
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from firewall.backends.linux import marks
from firewall.backends.linux.nfnl import (
    ACK,
    CREATE,
    CTNETLINK,
    DUMP,
    EXCLUSIVE,
    NESTED,
    REQUEST,
    Netlink,
    attribute,
    attributes,
    message,
    nest,
    number,
)
from firewall.inputs import FlowKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from firewall.commands import MarkFlow

CT_NEW, CT_GET, CT_DELETE = 0, 1, 2
CT_DESTROYED: Final = 3  # multicast group
_ORIGINAL, _REPLY, _STATUS, _TIMEOUT, _MARK, _COUNT_UP, _COUNT_DOWN, _MARK_MASK = 1, 2, 3, 7, 8, 9, 10, 21  # CTA_*
_OFFLOADED: Final = 1 << 14  # IPS_OFFLOAD of CTA_STATUS
_ICMP, _TCP, _ICMPV6 = 1, 6, 58
_DNS: Final = 53
_TO_DNS: Final = struct.pack("=HH", 6, 3) + _DNS.to_bytes(2)  # CTA_PROTO_DST_PORT
# CTA_TUPLE_ORIG with two ports, by its size: the headers (and what pads them) and the values between them.
_USUAL: Final = {
    40 + 2 * size: (
        struct.Struct(f"!8s{size}s4s{size}s8sB7sH6sH2x"),
        (
            struct.pack("=HHHH", 12 + 2 * size, 1 | NESTED, 4 + size, source),
            struct.pack("=HH", 4 + size, source + 1),
            struct.pack("=HHHH", 28, 2 | NESTED, 5, 1),
            struct.pack("=3xHH", 6, 2),
            struct.pack("=2xHH", 6, 3),
        ),
    )
    for size, source in ((4, 1), (16, 3))
}
_COUNTERS: Final = struct.Struct("!4s8x4sQ")
_COUNTERS_HEADERS: Final = struct.pack("=HH", 12, 1), struct.pack("=HH", 12, 2)
_COUNTED: Final = frozenset((_ORIGINAL, _MARK, _COUNT_UP, _COUNT_DOWN))
_REFUSED_SECONDS: Final = 120  # that a flow which is no connection stays refused without a packet


class Counted(NamedTuple):
    flow: FlowKey
    mark: int
    up: int  # bytes with headers; conntrack counts in its original direction
    down: int


def tuple_of(flow: FlowKey, which: int = _ORIGINAL) -> bytes:
    """CTA_TUPLE_ORIG of a flow; or CTA_TUPLE_REPLY, of one the other way."""
    six = len(flow.src) == 16
    addresses = nest(1, attribute(3 if six else 1, flow.src), attribute(4 if six else 2, flow.dst))
    number_ = attribute(1, bytes([flow.proto]))
    if flow.proto == _ICMP:
        rest = attribute(4, flow.sport.to_bytes(2)) + attribute(5, b"\x08") + attribute(6, b"\0")
    elif flow.proto == _ICMPV6:
        rest = attribute(7, flow.sport.to_bytes(2)) + attribute(8, b"\x80") + attribute(9, b"\0")
    else:
        rest = attribute(2, flow.sport.to_bytes(2)) + attribute(3, flow.dport.to_bytes(2))
    return nest(which, addresses, nest(2, number_, rest))


def _family(flow: FlowKey) -> int:
    return socket.AF_INET6 if len(flow.src) == 16 else socket.AF_INET


def set_mark(flow: FlowKey, value: int, mask: int) -> bytes:
    """The request that changes the masked bits of a flow's connection mark. ENOENT: it has ended."""
    payload = tuple_of(flow) + attribute(_MARK, value.to_bytes(4)) + attribute(_MARK_MASK, mask.to_bytes(4))
    return message(CTNETLINK, CT_NEW, REQUEST | ACK, payload, family=_family(flow))


def change(netlink: Netlink, wanted: MarkFlow, *, offloads: bool) -> None:
    """Change a flow's verdict. Of an offloaded one, which neither rules nor marks reach any more, the entry is deleted.

    Of TCP that is its end (conntrack's `tcp_loose` is 0, so the rest of it is no connection's). Anything else begins
    anew with its next packet; where it shall be refused, which that packet may not show, an entry that is marked
    already stands in the place of the old one. Raises OSError; ENOENT: it has ended.
    """
    flow, value = wanted.flow, marks.connection(wanted.verdict, wanted.watch)
    mark = set_mark(flow, value, marks.CONNECTION)
    netlink.call(mark)
    if not offloads or not is_offloaded(netlink, flow):
        return
    family, original = _family(flow), tuple_of(flow)
    netlink.call(message(CTNETLINK, CT_DELETE, REQUEST | ACK, original, family=family))
    if wanted.verdict.refuses and flow.proto != _TCP:
        back = FlowKey(flow.proto, flow.dst, flow.dport, flow.src, flow.sport)
        seconds = attribute(_TIMEOUT, _REFUSED_SECONDS.to_bytes(4))
        entry = original + tuple_of(back, _REPLY) + seconds + attribute(_MARK, value.to_bytes(4))
        try:
            netlink.call(message(CTNETLINK, CT_NEW, REQUEST | ACK | CREATE | EXCLUSIVE, entry, family=family))
        except FileExistsError:  # its next packet was quicker
            netlink.call(mark)


def is_offloaded(netlink: Netlink, flow: FlowKey) -> bool:
    """Whether the kernel carries it past all rules (Documentation/networking/nf_flowtable.rst)."""
    for kind, body in netlink.ask(message(CTNETLINK, CT_GET, REQUEST, tuple_of(flow), family=_family(flow))):
        if kind == CTNETLINK << 8 | CT_NEW:
            return bool(number(attributes(body).get(_STATUS, b"")) & _OFFLOADED)
    return False


def forget_marked(value: int, mask: int) -> bytes:
    """The request that deletes every entry whose mark has this value under the mask."""
    payload = attribute(_MARK, value.to_bytes(4)) + attribute(_MARK_MASK, mask.to_bytes(4))
    return message(CTNETLINK, CT_DELETE, REQUEST | ACK, payload)


def dump_marked(value: int, mask: int) -> bytes:
    payload = attribute(_MARK, value.to_bytes(4)) + attribute(_MARK_MASK, mask.to_bytes(4))
    return message(CTNETLINK, CT_GET, REQUEST | DUMP, payload)


def forget_questions(of_phone: Callable[[bytes], bool]) -> None:
    """Delete what phones began to ask while nobody turned port 53 to our DNS: conntrack holds each to that as long as
    it is asked again from the same port, which stub resolvers do. It may wait. Raises OSError.
    """
    with closing(Netlink()) as netlink:
        lost = []
        for _, body in netlink.dump(dump_marked(0, marks.CONNECTION)):
            if _TO_DNS not in bytes(body):  # most of a table that a flood has filled
                continue
            parts = attributes(body)
            asked, answered = _flow(parts[_ORIGINAL]), _flow(parts[_REPLY])
            if asked.dport == answered.sport == _DNS and of_phone(asked.src):
                lost.append(asked)
        for flow in lost:
            with suppress(FileNotFoundError):  # it has ended
                netlink.call(message(CTNETLINK, CT_DELETE, REQUEST | ACK, tuple_of(flow), family=_family(flow)))


def counted(body: memoryview) -> Counted | None:
    """A conntrack entry (behind nfgenmsg). None for one without a mark: it is no phone's."""
    parts = attributes(body, _COUNTED)
    mark = parts.get(_MARK)
    original = parts.get(_ORIGINAL)
    if mark is None or original is None:
        return None
    return Counted(_flow(original), number(mark), _bytes(parts.get(_COUNT_UP)), _bytes(parts.get(_COUNT_DOWN)))


def of_tcp(body: memoryview) -> bool:
    """Of the same, looked at shortly: the tuple stands first in it, and its protocol before two ports."""
    at = int.from_bytes(body[:2], sys.byteorder) - 20
    return 0 < at < len(body) and body[at] == _TCP


def _flow(original: memoryview) -> FlowKey:
    """Of CTA_TUPLE_ORIG. Where there are two ports the same headers always stand between the values."""
    usual = _USUAL.get(len(original))
    if usual is not None:
        shape, headers = usual
        found = shape.unpack(original)
        if found[::2] == headers:
            _, src, _, dst, _, proto, _, sport, _, dport = found
            return FlowKey(proto, src, sport, dst, dport)
    inner = attributes(original)
    addresses, proto = attributes(inner[1]), attributes(inner[2])
    src, dst = (addresses[1], addresses[2]) if 1 in addresses else (addresses[3], addresses[4])
    kind = proto[1][0]
    sport = proto.get(4 if kind == _ICMP else 7 if kind == _ICMPV6 else 2, b"")
    return FlowKey(kind, bytes(src), number(sport), bytes(dst), number(proto.get(3, b"")))


def _bytes(counters: memoryview | None) -> int:
    """Of CTA_COUNTERS_ORIG or _REPLY: as a rule nothing but packets and bytes, of 64 bits each."""
    if counters is None:
        return 0
    if len(counters) == _COUNTERS.size:
        packets, header, found = _COUNTERS.unpack(counters)
        if (packets, header) == _COUNTERS_HEADERS:
            return int(found)
    return number(attributes(counters).get(2, b""))
