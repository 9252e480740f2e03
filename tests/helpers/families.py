"""Both IP versions, or neither: what every test must say to the gate that lets its phones speak through it.

Each phone of a lab has two taps on its wire that keep the first packets of a version on their way beyond the phones' own
network; nobody has to read along. After a test tests/lab/conftest.py asks which versions there were (`crossed`). So a
new test sends what it sends once over each:

* by a parameter `family` of 4 and 6, the lab being the file's, where a test takes no time of its own;
* else both within the test, best at the same time: `Lab.fetch`, or a list of addresses.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from firewall.spaces import inside

LOAD, LOAD_HALF, LOAD_BYTE, AND = 0x20, 0x28, 0x30, 0x54  # linux/bpf_common.h
EQUAL, AT_LEAST, ANY_OF, RETURN = 0x15, 0x35, 0x45, 0x06
SO_ATTACH_FILTER, ETH_P_ALL, DST4, DST6, SYN = 26, 3, 30, 38, 0x02
HEAR, PASS_OVER = -1, -2
Step = tuple[int, int, int, int]  # code, steps to skip (or HEAR, PASS_OVER) if so and if not, operand


def _beyond(ether_type: int, near: list[Step], protocol: int, payload: int, icmp: int, unreachable: int) -> list[Step]:
    """To others than `near`. Of TCP what begins a connection, and no "unreachable": a kernel goes on with those for its
    programs, also when the test in which they ran is over.
    """
    steps = [
        (LOAD_HALF, 0, 0, 12), (EQUAL, 0, PASS_OVER, ether_type), *near, (LOAD_BYTE, 0, 0, protocol),
        (EQUAL, 0, 2, socket.IPPROTO_TCP), (LOAD_BYTE, 0, 0, payload + 13), (ANY_OF, HEAR, PASS_OVER, SYN),
        (EQUAL, 0, HEAR, icmp), (LOAD_BYTE, 0, 0, payload), (EQUAL, PASS_OVER, HEAR, unreachable), (RETURN, 0, 0, 64), (RETURN, 0, 0, 0),
    ]
    ends = {HEAR: len(steps) - 2, PASS_OVER: len(steps) - 1}
    return [(code, *(ends.get(skip, skip + at + 1) - at - 1 for skip in (so, not_so)), operand) for at, (code, so, not_so, operand) in enumerate(steps)]


BEYOND: dict[int, list[Step]] = {  # not to private, link-local or multicast addresses, and for IPv6 not to the lab's own /64
    4: _beyond(0x0800, [
        (LOAD, 0, 0, DST4), (AT_LEAST, PASS_OVER, 0, 0xE000_0000), (AND, 0, 0, 0xFF00_0000), (EQUAL, PASS_OVER, 0, 0x0A00_0000),
        (LOAD, 0, 0, DST4), (AND, 0, 0, 0xFFFF_0000), (EQUAL, PASS_OVER, 0, 0xC0A8_0000),
    ], 23, 34, socket.IPPROTO_ICMP, 3),
    6: _beyond(0x86DD, [
        (LOAD, 0, 0, DST6), (AT_LEAST, PASS_OVER, 0, 0xFC00_0000), (EQUAL, 0, 3, 0x2001_0DB8),
        (LOAD, 0, 0, DST6 + 4), (AND, 0, 0, 0xFFFF_0000), (EQUAL, PASS_OVER, 0, 0x0077_0000),
    ], 20, 54, socket.IPPROTO_ICMPV6, 1),
}
_taps: dict[str, dict[int, socket.socket]] = {}
_ended: set[int] = set()  # of labs that are down


def _tap(family: int) -> socket.socket:
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # hears nothing until it is bound
    s.setblocking(False)
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in BEYOND[family]))
    s.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HxxxxxxP", len(BEYOND[family]), ctypes.addressof(program)))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # as small as it can be: one packet is enough
    s.bind(("eth0", ETH_P_ALL))
    return s


def watch(namespaces: Iterable[str]) -> None:
    """These phones, until `leave`."""
    for namespace in namespaces:
        with inside(namespace):
            _taps[namespace] = {family: _tap(family) for family in BEYOND}


def leave(namespaces: Iterable[str]) -> None:
    for namespace in namespaces:
        for family, tap in _taps.pop(namespace, {}).items():
            if _heard(tap):
                _ended.add(family)
            tap.close()


def crossed() -> set[int]:
    """The versions that phones used towards the gate since this was asked last, those of labs that are gone as well."""
    found = _ended | {family for taps in _taps.values() for family, tap in taps.items() if _heard(tap)}
    _ended.clear()
    return found


def told(lines: Iterable[str]) -> Iterator[str]:
    """What a part of the campaign says, and at its end that it tried one version only, if it did."""
    yield from lines
    if len(found := crossed()) == 1:
        yield f"    broken: only IPv{found.pop()} was tried"


def _heard(tap: socket.socket) -> bool:
    heard = False
    while True:
        try:
            heard = bool(tap.recv(64)) or heard
        except BlockingIOError:
            return heard
        except OSError:  # said once of an interface that went down or away
            continue


def named(value: object) -> int | None:
    """The version that a parameter stands for: 4, "-6", an address."""
    if isinstance(value, str):
        try:
            return ip_address(value).version
        except ValueError:
            value = int(value.lstrip("-")) if value.lstrip("-").isdecimal() else None
    return value if value in (4, 6) and not isinstance(value, bool) else None
