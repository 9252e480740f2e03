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

LOAD, LOAD_HALF, AND, EQUAL, AT_LEAST, RETURN = 0x20, 0x28, 0x54, 0x15, 0x35, 0x06  # linux/bpf_common.h
SO_ATTACH_FILTER, ETH_P_ALL, DST4, DST6 = 26, 3, 30, 38
Step = tuple[int, int, int, int]  # code, steps to skip if so and if not, operand

BEYOND: dict[int, list[Step]] = {  # not to private, link-local or multicast addresses, and for IPv6 not to the lab's own /64
    4: [
        (LOAD_HALF, 0, 0, 12), (EQUAL, 0, 8, 0x0800),
        (LOAD, 0, 0, DST4), (AT_LEAST, 6, 0, 0xE000_0000), (AND, 0, 0, 0xFF00_0000), (EQUAL, 4, 0, 0x0A00_0000),
        (LOAD, 0, 0, DST4), (AND, 0, 0, 0xFFFF_0000), (EQUAL, 1, 0, 0xC0A8_0000),
        (RETURN, 0, 0, 64), (RETURN, 0, 0, 0),
    ],
    6: [
        (LOAD_HALF, 0, 0, 12), (EQUAL, 0, 7, 0x86DD),
        (LOAD, 0, 0, DST6), (AT_LEAST, 5, 0, 0xFC00_0000), (EQUAL, 0, 3, 0x2001_0DB8),
        (LOAD, 0, 0, DST6 + 4), (AND, 0, 0, 0xFFFF_0000), (EQUAL, 1, 0, 0x0077_0000),
        (RETURN, 0, 0, 64), (RETURN, 0, 0, 0),
    ],
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
