"""[pure] Tunnels, told by their first bytes: what goes through them cannot be seen, so it is never counted as clean.

What wants to look like nothing (obfs4, Shadowsocks, AmneziaWG) or like ordinary TLS cannot be told this way; nor can
a tunnel inside TLS. WireGuard: its paper, 5.4. OpenVPN: its protocol page. IKE: RFC 7296, 3.1. L2TP: RFC 2661, 3.1.
What carries packets in the clear: carried.py.
"""

from __future__ import annotations

import re
from typing import Final

from firewall.dissect import NEED_MORE, NOT_MINE, NeedMore, NotMine
from firewall.dissect.carried import within
from firewall.dissect.host import claimed

PPTP_MAGIC: Final = b"\x1a\x2b\x3c\x4d"  # RFC 2637, 2.1
MOST_METHODS = 9  # of a SOCKS5 greeting; IANA has assigned nine
SOCKS4: Final = b"\x04"  # its first byte
LONGEST_SOCKS4 = 8 + 255 + 255 + 2  # bytes of its request: a user and a name, each to its zero
LONGEST_OPENVPN = 2_048  # bytes of its first message, with a client's key in it (--tls-crypt-v2)

_OPENVPN_OPCODES: Final = frozenset(opcode << 3 for opcode in (1, 7, 10))  # the client's first; key id 0
_OPENVPN_MACS: Final = (16, 20, 28, 32, 48, 64)  # bytes of --tls-auth's HMAC
_FIRST_IDS: Final = frozenset((b"\0\0\0\x01", b"\x0f\0\0\x01", b"\x0a\x01\0\x01"))
_SSH = re.compile(rb"SSH-[12]\.[0-9]{1,3}-")  # RFC 4253, 4.2
_SOCKS5 = re.compile(rb"\x05[\x01-\x03]\x00\x03(.)", re.DOTALL)  # what is wanted, by name (RFC 1928, 4)
_SOCKS4A = re.compile(rb"\x04[\x01\x02]..\x00\x00\x00[^\x00]+(?:\x00([^\x00]*)(\x00)?)?", re.DOTALL)  # SOCKS4a
_IKE_FIRST: Final = frozenset(((0x20, 34), (0x10, 2), (0x10, 4)))  # version, exchange
_IKE_EXCHANGES: Final = frozenset((0x20, n) for n in range(34, 45)) | {(0x10, n) for n in (2, 4, 5, 6, 32)}
_IKE_NO_FLAGS: Final = {0x20: 0xC7, 0x10: 0xF8}  # version -> bits that none has set
_TOR = re.compile(r"www\.(?=[a-z]*[2-7])[a-z2-7]{10,25}\.(?:com|net)")


def tcp(data: bytes) -> str | NotMine:
    """Which tunnel a TCP stream begins with. It does not wait for more: other binary protocols begin like these.

    Ask HTTP's reader first: "SSH-2.0-x" is a possible method too.
    """
    if _SSH.match(data):
        return "ssh"
    if _is_socks(data):
        return "socks"
    if data[4:8] == PPTP_MAGIC and data[2:4] == b"\0\x01":
        return "pptp"
    end = 2 + int.from_bytes(data[:2])
    if len(data) >= end and _is_openvpn(data[2:end]):
        return "openvpn"
    return NOT_MINE


def may_begin(data: bytes) -> bool:
    """Whether a stream that begins like this, and is none yet, may become what `tcp` knows; SSH apart, a line."""
    size, first = len(data), data[:1]
    if size < 3:
        return True
    if first == b"\x05":
        return data[1] <= MOST_METHODS and size < 2 + data[1]
    if first == b"\x04":
        return data[1] in (1, 2) and size <= LONGEST_SOCKS4
    length = int.from_bytes(data[:2])
    if data[2] in _OPENVPN_OPCODES:
        return size < 2 + length <= LONGEST_OPENVPN
    return size < 8 and (b"\0\x01" + PPTP_MAGIC).startswith(data[2:])


def udp(data: bytes) -> str | NotMine:
    """Which tunnel a datagram is of."""
    size = len(data)
    if size >= 32 and data[0] in (1, 4) and data[1:4] == b"\0\0\0":
        if data[0] == 1 and size == 148:
            return "wireguard"
        if data[0] == 4 and size % 16 == 0 and data[12:16] == bytes(4):  # a counter that has only begun
            return "wireguard"
    if _is_openvpn(data):
        return "openvpn"
    if _is_ike(data) or (data[:4] == bytes(4) and _is_ike(data[4:], begins=False)):  # non-ESP marker (RFC 3948)
        return "ike"
    if size >= 12 and data[0] & 0xC8 == 0xC8 and data[1] & 15 == 2 and int.from_bytes(data[2:4]) == size:
        return "l2tp"
    return "ip" if within(data) else NOT_MINE


def like_tor(name: str, alpn: tuple[str, ...]) -> bool:
    """Whether a hello looks like Tor's to its first relay: a random name in base32 that no DNS has, and no ALPN."""
    return not alpn and _TOR.fullmatch(name) is not None


def _is_socks(data: bytes) -> bool:
    """SOCKS5, its greeting (RFC 1928, 3); SOCKS4, its request."""
    if data[:1] == b"\x05" and len(data) > 2:
        end = 2 + data[1]
        return 1 <= data[1] <= MOST_METHODS and len(data) >= end and data[end : end + 1] in (b"", b"\x01", b"\x05")
    return data[:1] == b"\x04" and data[1:2] in (b"\x01", b"\x02") and len(data) > 8 and data[-1] == 0


def socks_hosts(data: bytes) -> tuple[str, ...] | NeedMore:
    """The host that a SOCKS client wants, by name: CONNECT by other words. Behind its greeting, or all at once."""
    if four := _SOCKS4A.match(data):
        return NEED_MORE if not four[2] and len(data) < LONGEST_SOCKS4 else claimed(four[1] or b"")
    five = _SOCKS5.search(data)
    if five is None:
        return ()
    host = data[five.end() : five.end() + five[1][0]]
    return claimed(host) if len(host) == five[1][0] else NEED_MORE


def _is_openvpn(data: bytes) -> bool:
    """A client's hard reset: opcode, session id, then, where the server wants it, an HMAC or an encrypted part."""
    size = len(data)
    if size < 14 or data[0] not in _OPENVPN_OPCODES or data[1:9] == bytes(8):
        return False
    if size == 14:
        return data[9:] == bytes(5)  # no acknowledgements, packet id 0
    for mac in _OPENVPN_MACS:
        if size == 9 + mac + 8 + 5 and data[9 + mac : 13 + mac] == b"\0\0\0\x01" and data[-5:] == bytes(5):
            return True
    # --tls-crypt: a packet id of 1; of its version 2 with a mark in the first byte, and once in the second
    return size >= 54 and data[9:13] in _FIRST_IDS


def _is_ike(data: bytes, *, begins: bool = True) -> bool:
    """A message of IKEv2 or IKEv1, whose length is its own. `begins`: the first, with no responder yet, and number 0.

    Behind NAT both sides go on from other ports (RFC 7296, 2.23): there the first is any.
    """
    if len(data) < 28 or data[:8] == bytes(8) or int.from_bytes(data[24:28]) != len(data):
        return False
    version, exchange, flags = data[17:20]
    if not begins:
        return (version, exchange) in _IKE_EXCHANGES and not flags & _IKE_NO_FLAGS[version]
    return data[8:16] == bytes(8) and data[20:24] == bytes(4) and (version, exchange) in _IKE_FIRST
