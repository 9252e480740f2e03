"""Radios of mac80211_hwsim that are pulled out and plugged in, by its generic netlink family (mac80211_hwsim.h)."""

from __future__ import annotations

import socket
import struct
from typing import Final

GENERIC: Final = 16  # NETLINK_GENERIC, and the number of its family of families (GENL_ID_CTRL)
REQUEST: Final = 0x5  # NLM_F_REQUEST | NLM_F_ACK
GET_FAMILY, FAMILY_ID, FAMILY_NAME = 3, 1, 2  # of GENL_ID_CTRL
NEW_RADIO, DEL_RADIO = 4, 5
RADIO_ID, PERM_ADDR, IFTYPE_SUPPORT = 10, 22, 23
STATION: Final = 1 << 2  # NL80211_IFTYPE_STATION


def plug_in(mac: str, modes: int = 0) -> int:
    """A new radio's number. `modes`: what its driver can (bits of nl80211's interface types); 0: everything."""
    attrs = [(PERM_ADDR, bytes.fromhex(mac.replace(":", "")))] + ([(IFTYPE_SUPPORT, struct.pack("=I", modes))] if modes else [])
    return _ask(_family(), NEW_RADIO, attrs)[0]


def pull_out(number: int) -> None:
    _ask(_family(), DEL_RADIO, [(RADIO_ID, struct.pack("=I", number))])


def _family() -> int:
    _, answer = _ask(GENERIC, GET_FAMILY, [(FAMILY_NAME, b"MAC80211_HWSIM\0")])
    at = 20
    while at < len(answer):
        length, kind = struct.unpack_from("=HH", answer, at)
        if kind == FAMILY_ID:
            return int(struct.unpack_from("=H", answer, at + 4)[0])
        at += length + -length % 4
    raise LookupError("mac80211_hwsim is not loaded")


def _ask(family: int, command: int, attrs: list[tuple[int, bytes]]) -> tuple[int, bytes]:
    """The number that it ends with (a new radio's), and the answer. Raises OSError if it is refused."""
    body = struct.pack("=BBH", command, 1, 0)
    for kind, value in attrs:
        body += struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, GENERIC) as s:
        s.bind((0, 0))
        s.send(struct.pack("=IHHII", 16 + len(body), family, REQUEST, 1, 0) + body)
        answer = s.recv(1 << 16)
    if struct.unpack_from("=H", answer, 4)[0] != 2:  # NLMSG_ERROR, also of success
        return 0, answer
    (number,) = struct.unpack_from("=i", answer, 16)
    if number < 0:
        raise OSError(-number, "mac80211_hwsim refuses")
    return number, b""
