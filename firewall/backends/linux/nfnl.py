"""Our own netlink: NFQUEUE, NFLOG, set elements, ruleset generations; connections are in conntrack.py.

pyroute2 has no NFQUEUE, and is two to five times slower where we answer thousands of packets a second. Formats are
those of linux/netlink.h and linux/netfilter/nfnetlink_*.h: netlink's own integers in host order, what nfnetlink's
attributes carry in network order.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

Buffer = bytes | bytearray | memoryview

NETLINK_NETFILTER: Final = 12
SOL_NETLINK: Final = 270
ADD_MEMBERSHIP: Final = 1
NO_ENOBUFS: Final = 5
SO_SNDBUFFORCE: Final = 32
SO_RCVBUFFORCE: Final = 33

CTNETLINK, QUEUE, ULOG, NFTABLES = 1, 3, 4, 10  # subsystems: the high byte of a message's type
REQUEST, ACK, DUMP, EXCLUSIVE, CREATE = 0x1, 0x4, 0x300, 0x200, 0x400
NESTED: Final = 0x8000
ERROR, DONE = 2, 3
DUMP_INTERRUPTED: Final = 0x10
INET: Final = 1  # NFPROTO_INET

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # nlattr: length, type
_FAMILY = struct.Struct("!BBH")  # nfgenmsg: family, version, resource
HEADERS: Final = _HEADER.size + _FAMILY.size


# -- the wire ----------------------------------------------------------------------------------------------------------


def attribute(kind: int, data: bytes = b"") -> bytes:
    return _ATTRIBUTE.pack(4 + len(data), kind) + data + bytes(-len(data) % 4)


def nest(kind: int, *parts: bytes) -> bytes:
    return attribute(kind | NESTED, b"".join(parts))


def message(
    subsystem: int, kind: int, flags: int, payload: bytes = b"", *, family: int = 0, resource: int = 0
) -> bytes:
    head = _HEADER.pack(HEADERS + len(payload), subsystem << 8 | kind, flags, 1, 0)
    return head + _FAMILY.pack(family, 0, resource) + payload


def attributes(data: memoryview, wanted: Container[int] = range(1 << 14)) -> dict[int, memoryview]:
    """Attributes by their type, if it is a wanted one; what does not fit is left out."""
    found = {}
    at, size = 0, len(data)
    while at + 4 <= size:
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < 4 or at + length > size:
            break
        kind &= 0x3FFF
        if kind in wanted:
            found[kind] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


def nested(data: memoryview) -> Iterator[memoryview]:
    """The attributes of a list, in their order; what does not fit is left out."""
    at, size = 0, len(data)
    while at + 4 <= size:
        length, _ = _ATTRIBUTE.unpack_from(data, at)
        if length < 4 or at + length > size:
            break
        yield data[at + 4 : at + length]
        at += (length + 3) & ~3


def messages(data: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """(type, flags, what follows the nlmsghdr) of each message in one datagram."""
    at, size = 0, len(data)
    while at + 16 <= size:
        length, kind, flags, _, _ = _HEADER.unpack_from(data, at)
        if length < 16 or at + length > size:
            break
        yield kind, flags, data[at + 16 : at + length]
        at += (length + 3) & ~3


def number(data: Buffer) -> int:
    return int.from_bytes(data)


class Netlink:
    """A netfilter socket with one buffer, used again and again: what is read from it is valid until the next read."""

    def __init__(self, *, receive: int = 1 << 20, groups: Sequence[int] = (), buffer: int = 1 << 18) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, receive)
        self.socket.bind((0, 0))
        for group in groups:
            self.socket.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, group)
        self._buffer = memoryview(bytearray(buffer))

    def fileno(self) -> int:
        return self.socket.fileno()

    def close(self) -> None:
        self.socket.close()

    def read(self) -> memoryview | None:
        """The next datagram; None if there is none now. OSError ENOBUFS means that some were lost."""
        try:
            return self._buffer[: self.socket.recv_into(self._buffer, 0, socket.MSG_DONTWAIT)]
        except BlockingIOError:
            return None

    def call(self, request: bytes) -> None:
        """Send, and raise what the kernel answers (errno 0 is its acknowledgement)."""
        self.socket.send(request)
        data = self._buffer[: self.socket.recv_into(self._buffer)]
        for kind, _, body in messages(data):
            if kind == ERROR:
                code = -struct.unpack_from("=i", body)[0]
                if code:
                    raise OSError(code, os.strerror(code))

    def commit(self, request: bytes) -> None:
        """A batch: the kernel has answered all of its messages when `send` returns. Raises the first error."""
        self.socket.send(request)
        first = 0
        while (data := self.read()) is not None:
            for kind, _, body in messages(data):
                if kind == ERROR and not first:
                    first = -struct.unpack_from("=i", body)[0]
        if first:
            raise OSError(first, os.strerror(first))

    def ask(self, request: bytes) -> list[tuple[int, memoryview]]:
        """(type, body behind nfgenmsg) of a short answer, an error included."""
        self.socket.send(request)
        data = self._buffer[: self.socket.recv_into(self._buffer)]
        return [(kind, body[4:]) for kind, _, body in messages(data)]

    def dump(self, request: bytes) -> Iterator[tuple[int, memoryview]]:
        """(type, body behind nfgenmsg) of every message of the answer."""
        self.socket.send(request)
        while True:
            data = self._buffer[: self.socket.recv_into(self._buffer)]
            for kind, _, body in messages(data):
                if kind == DONE:
                    return
                if kind == ERROR:
                    code = -struct.unpack_from("=i", body)[0]
                    if code:
                        raise OSError(code, os.strerror(code))
                    return
                yield kind, body[4:]


# -- NFQUEUE (linux/netfilter/nfnetlink_queue.h) -----------------------------------------------------------------------

ACCEPT, DROP = 1, 0  # NF_ACCEPT, NF_DROP
_GSO: Final = 4  # NFQA_CFG_F_GSO: packets come unsegmented. FAIL_OPEN (1) is never asked for
_PACKET_HEADER, _PACKET_MARK, _OUT, _HWADDR, _PAYLOAD = 1, 3, 6, 9, 10  # NFQA_*
_ANSWER = struct.Struct(f"!{HEADERS + 4}sII4sI")  # NFQA_VERDICT_HDR (verdict, id), NFQA_MARK
_NOWHERE = bytes(6)
# A datagram of the queue as it nearly always is, read at one go: nlmsghdr's type, then the headers of the packet's id,
# its two interfaces, its mark and its sender, each with its value. Bits about the packet may follow, then the packet.
_USUAL = struct.Struct("!4x2s14s4sI4x4s4s4sI4sI8s6s2x")
_USUAL_HEADERS: Final = (
    struct.pack("=H", QUEUE << 8),
    *(_ATTRIBUTE.pack(length, kind) for length, kind in ((11, _PACKET_HEADER), (8, 5), (8, 6), (8, _PACKET_MARK))),
    _ATTRIBUTE.pack(16, _HWADDR) + b"\0\6\0\0",  # of an address of 6 bytes
)
_BITS: Final = 14  # NFQA_SKB_INFO


class Queued(NamedTuple):
    id: int
    mac: bytes
    packet: bytes
    mark: int = 0  # the packet's, all 32 bits
    prefix: str = ""  # what the rule that logged it says
    out: int = 0  # index of the interface that it would leave by


class Queue(Netlink):
    """One NFQUEUE. Opening it raises PermissionError if another process reads it."""

    def __init__(self, num: int, length: int = 4_096) -> None:
        super().__init__(receive=8 << 20)
        self._num = num
        for config in (
            attribute(1, struct.pack("!BxH", 1, 0)),  # NFQA_CFG_CMD: bind
            attribute(3, struct.pack("!I", length)),  # NFQA_CFG_QUEUE_MAXLEN: more are dropped
            attribute(4, struct.pack("!I", 1 | _GSO)) + attribute(5, struct.pack("!I", _GSO)),  # mask, flags
        ):
            self.call(message(QUEUE, 2, REQUEST | ACK, config, resource=num))
        self.socket.setsockopt(SOL_NETLINK, NO_ENOBUFS, 1)  # losses are counted in /proc/net/netfilter/nfnetlink_queue
        self._answers = bytearray()
        # NFQA_CFG_PARAMS: whole packets. Last, and nothing is waited for: from here on what comes may be a packet.
        whole = attribute(2, struct.pack("!IB", 0xFFFF, 2))
        self.socket.send(message(QUEUE, 2, REQUEST, whole, resource=num))
        # everything but the three numbers in it is constant: nlmsghdr, nfgenmsg, and the headers of two attributes
        answer = message(QUEUE, 1, REQUEST, attribute(2, bytes(8)) + attribute(3, bytes(4)), resource=num)
        self._answer = answer[: HEADERS + 4], answer[HEADERS + 12 : HEADERS + 16]

    def packets(self, most: int) -> list[Queued]:
        """What waits, at most so many."""
        found: list[Queued] = []
        while len(found) < most and (data := self.read()) is not None:
            found += queued(data)
        return found

    def answer(self, packet: int, verdict: int, mark: int) -> None:
        """Goes out with `flush`. `mark` replaces the packet's mark."""
        begin, middle = self._answer
        self._answers += _ANSWER.pack(begin, verdict, packet, middle, mark)

    def flush(self) -> None:
        """All answers in one system call: the kernel sends their packets on within it. One for a packet that is gone
        (a base chain of somebody's came or went) is an error message that nobody reads.
        """
        if self._answers:
            answers, self._answers = self._answers, bytearray()
            self.socket.send(answers)


def queued(data: memoryview) -> list[Queued]:
    """The packets in a datagram of the queue."""
    size = len(data)
    if size >= _USUAL.size + 12:
        found = _USUAL.unpack_from(data)
        if found[::2] == _USUAL_HEADERS:
            at = _USUAL.size
            length, kind = _ATTRIBUTE.unpack_from(data, at)
            if kind == _BITS:
                at += length
                length, kind = _ATTRIBUTE.unpack_from(data, at)
            end = at + length
            if kind == _PAYLOAD and end <= size < end + 4:
                return [Queued(found[3], found[11], bytes(data[at + 4 : end]), found[9], out=found[7])]
    return list(_any_queued(data))


def _any_queued(data: memoryview) -> Iterator[Queued]:
    for kind, _, body in messages(data):
        if kind == QUEUE << 8:
            parts = attributes(body[4:])
            hardware = parts.get(_HWADDR)
            mac = bytes(hardware[4:10]) if hardware is not None else _NOWHERE
            payload = parts.get(_PAYLOAD, b"")
            mark = number(parts.get(_PACKET_MARK, b""))
            out = number(parts.get(_OUT, b""))
            yield Queued(number(parts[_PACKET_HEADER][:4]), mac, bytes(payload), mark, out=out)


# -- NFLOG (linux/netfilter/nfnetlink_log.h) ---------------------------------------------------------------------------


class Log(Netlink):
    """One NFLOG group. Opening it raises OSError if it is taken."""

    def __init__(self, group: int, copy: int = 128) -> None:
        super().__init__(receive=4 << 20)
        for config in (
            attribute(1, b"\x01"),  # NFULA_CFG_CMD: bind
            attribute(2, struct.pack("!IBx", copy, 2)),  # NFULA_CFG_MODE: the first bytes of packets
            attribute(4, struct.pack("!I", 5)),  # NFULA_CFG_TIMEOUT, in hundredths of a second
        ):
            self.call(message(ULOG, 1, REQUEST | ACK, config, resource=group))
        self.socket.setsockopt(SOL_NETLINK, NO_ENOBUFS, 1)

    def packets(self, most: int) -> list[Queued]:
        """What was logged, at most so many datagrams; the id is 0."""
        found: list[Queued] = []
        while most and (data := self.read()) is not None:
            most -= 1
            for kind, _, body in messages(data):
                if kind == ULOG << 8:
                    parts = attributes(body[4:])
                    hardware = parts.get(8)  # NFULA_HWADDR
                    mac = bytes(hardware[4:10]) if hardware is not None else _NOWHERE
                    prefix = _text(parts.get(10, b""))  # NFULA_PREFIX
                    found.append(Queued(0, mac, bytes(parts.get(9, b"")), prefix=prefix))  # NFULA_PAYLOAD
        return found


# -- nftables (linux/netfilter/nf_tables.h) ----------------------------------------------------------------------------

NEW_ELEMENT, GET_ELEMENTS, DELETE_ELEMENT, NEW_GENERATION, GET_GENERATION, GET_OBJECT = 12, 13, 14, 15, 16, 19
RULES_CHANGED: Final = 7  # multicast group
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11


def element(key: bytes, seconds: float = 0, data: bytes = b"") -> bytes:
    """One element of a set without intervals, or of a map; each field of the key is padded to four bytes.

    `seconds` 0: it stays.
    """
    value = nest(2, attribute(1, data)) if data else b""
    timeout = attribute(4, max(int(seconds * 1_000), 1).to_bytes(8)) if seconds else b""
    return nest(1, nest(1, attribute(1, key)), value, timeout)


def elements(kind: int, table: str, name: str, found: Iterable[bytes]) -> bytes:
    """The message that adds or deletes elements; one batch is one transaction."""
    head = attribute(1, table.encode() + b"\0") + attribute(2, name.encode() + b"\0")
    flags = REQUEST | ACK | (CREATE if kind == NEW_ELEMENT else 0)
    return message(NFTABLES, kind, flags, head + nest(3, *found), family=INET)


def set_elements(netlink: Netlink, table: str, name: str) -> Iterator[tuple[bytes, float | None]]:
    """(key, seconds left; None: it stays) of every element of a set. Raises OSError ENOENT if there is no such set."""
    wanted = attribute(1, table.encode() + b"\0") + attribute(2, name.encode() + b"\0")
    for _, body in netlink.dump(message(NFTABLES, GET_ELEMENTS, REQUEST | DUMP, wanted, family=INET)):
        for one in nested(attributes(body).get(3, memoryview(b""))):  # NFTA_SET_ELEM_LIST_ELEMENTS
            parts = attributes(one)
            left = parts.get(5)  # NFTA_SET_ELEM_EXPIRATION, in ms
            yield bytes(attributes(parts[1])[1]), None if left is None else number(left) / 1_000


def batch(*bodies: bytes) -> bytes:
    begin, end = (
        _HEADER.pack(HEADERS, kind, REQUEST, 1, 0) + _FAMILY.pack(0, 0, NFTABLES) for kind in (_BATCH_BEGIN, _BATCH_END)
    )
    return begin + b"".join(bodies) + end


def padded_mac(mac: bytes) -> bytes:
    return mac + bytes(2)


def counter_packets(netlink: Netlink, table: str, name: str) -> int:
    """Packets that a named counter has seen; 0 if it is gone."""
    wanted = attribute(1, table.encode() + b"\0") + attribute(2, name.encode() + b"\0") + attribute(3, (1).to_bytes(4))
    for kind, body in netlink.ask(message(NFTABLES, GET_OBJECT, REQUEST, wanted, family=INET)):
        if kind >> 8 == NFTABLES:
            counter = attributes(attributes(body).get(4, memoryview(b"")))  # NFTA_OBJ_DATA
            return number(counter.get(2, b""))  # NFTA_COUNTER_PACKETS
    return 0


def generation(netlink: Netlink) -> int:
    """A number that changes with every commit to any table of this network namespace; 6 us."""
    for _, body in netlink.ask(message(NFTABLES, GET_GENERATION, REQUEST)):
        return number(attributes(body)[1])  # NFTA_GEN_ID
    return 0


def committer(body: memoryview) -> tuple[int, str]:
    """(pid, process name) of a commit, from the NEWGEN message that ends it."""
    parts = attributes(body)
    return number(parts.get(2, b"")), _text(parts.get(3, b""))


class Commit(NamedTuple):
    """Who committed what to nftables."""

    pid: int  # as the kernel counts, which a container may not
    port: int  # of the netlink socket; as a rule the pid as its own namespace counts
    process: str
    tables: frozenset[str]  # touched


class Changes(Netlink):
    """Every commit to nftables in this network namespace, a few milliseconds after it."""

    def __init__(self) -> None:
        super().__init__(receive=64 << 20, groups=(RULES_CHANGED,))  # a large load is told element by element
        self._tables: set[str] = set()

    def commits(self) -> list[Commit] | None:
        """Those that one datagram ends; None if none is there. OSError ENOBUFS means that some were lost."""
        data = self.read()
        if data is None:
            return None
        found = []
        at = 0
        for kind, _, body in messages(data):
            port = _HEADER.unpack_from(data, at)[4]
            at += (16 + len(body) + 3) & ~3
            if kind == NFTABLES << 8 | NEW_GENERATION:
                pid, process = committer(body[4:])
                found.append(Commit(pid, port, process, frozenset(self._tables)))
                self._tables.clear()
            elif kind >> 8 == NFTABLES:
                self._tables.add(_text(attributes(body[4:]).get(1, b"")))  # the table's name, in every kind of message
        return found


def _text(data: Buffer) -> str:
    return bytes(data).rstrip(b"\0").decode(errors="replace")
