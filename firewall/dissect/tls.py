"""[pure] The first thing a TLS client says: the ClientHello, which names the host it wants (RFC 8446, 4.1.2)."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from firewall.dissect import NEED_MORE, NOT_MINE, NeedMore, NotMine
from firewall.dissect.host import address, claimed

ALERT, HANDSHAKE = 21, 22  # record types (RFC 8446, 5.1)
CLIENT_HELLO = 1
MOST_MAJOR = 15  # of a record's version: 3 says everybody, and Go's servers take any below 16 for a first hello's
SERVER_NAME, ALPN, ENCRYPTED_CLIENT_HELLO = 0, 16, 0xFE0D  # RFC 6066, 7301, 9849
ENCRYPTED_NAME = 0xFFCE  # its predecessor ESNI, of drafts; nobody sent it for show
HOST_NAME = 0
MOST_RECORDS = 4_096  # of one hello: a byte in each of them will do, for the largest that browsers say
RETRY, RANDOM = bytes.fromhex("cf21ad74e59a6111"), slice(11, 19)  # so a HelloRetryRequest's begins, and there (4.1.3)
LARGEST = 16_384  # bytes of a hello, and of a record; BoringSSL and nginx (preread_buffer_size) read no more either
MOST_PROTOCOLS = 16  # of ALPN; browsers offer two or three

# What Chromium and Firefox (the last) send where they have no key, so that servers get used to it (GREASE).
GREASE_SIZES = frozenset((144, 176, 208, 240, 239))  # bytes of payload
# Names that stand in the open where the true one is encrypted: the only one in wide use, Cloudflare's.
DECOYS = frozenset(("cloudflare-ech.com",))

_TYPE_LENGTH = Struct("!HH")


class Hello(NamedTuple):
    """What a whole ClientHello says.

    RFC 6066 wants one host name at most. Who sends more leaves it to the server which one counts, so all are kept.
    """

    names: tuple[str, ...]  # in order, each once; lower case. Empty: none said, or an address, or no possible name
    ech: bool  # an ECH extension is there, real or GREASE
    alpn: tuple[str, ...]  # printable ones of what it offers to speak
    hidden: bool = False  # ech, and not plainly GREASE: the true name may be another. Who asked our DNS for it is true
    addresses: tuple[str, ...] = ()  # said where a name should stand

    @property
    def sni(self) -> str | None:
        """The first name."""
        return self.names[0] if self.names else None


NAMELESS = Hello((), ech=False, alpn=())


def client_hello(data: bytes) -> Hello | NeedMore | NotMine:
    """Read the ClientHello at the beginning of what a client sent, however many records it is cut into.

    NOT_MINE: another protocol, or lengths that contradict each other: no server goes on with that. A hello of more
    than 16 KiB stays NEED_MORE for ever, so that it ends as a name begun and never finished.
    """
    found = _handshake(data)
    return _extensions(found[0]) if isinstance(found, tuple) else found


def alone(data: bytes) -> bool:
    """Whether a whole hello that `data` begins with is all of its one record, and nothing stands behind that."""
    return 5 + (data[3] << 8 | data[4]) == len(data) == 9 + int.from_bytes(data[6:9])


def behind(data: bytes) -> bytes:
    """What a server would read next of a handshake behind the whole hello that `data` begins with; b"" if nothing.

    It reads over changes of ciphers, and over early data that it has refused (RFC 8446, 4.2.10 and D.4).
    """
    found = _handshake(data)
    if not isinstance(found, tuple):
        return b""
    _, rest, at = found
    while not rest and at < len(data):
        if data[at] == HANDSHAKE:
            return data[at:]
        at += 5 + int.from_bytes(data[at + 3 : at + 5])
    return rest


def message(hello: bytes) -> Hello | NotMine:
    """Read a whole ClientHello without records around it, as QUIC carries it (RFC 9001, 4)."""
    whole = len(hello) >= 4 and hello[0] == CLIENT_HELLO and 4 + int.from_bytes(hello[1:4]) == len(hello)
    return _extensions(hello[4:]) if whole else NOT_MINE


def _handshake(data: bytes) -> tuple[bytes, bytes, int] | NeedMore | NotMine:
    """The body of the first handshake message, if it is a ClientHello (RFC 8446, 4 and 5.1).

    And the rest of the record in which it ends, and where that ends.
    """
    size = len(data)
    at = wanted = 0  # wanted: bytes of the message with its header, once known
    message = bytearray()
    for _ in range(MOST_RECORDS):
        if at >= size:
            break
        kind = data[at]
        if kind != HANDSHAKE and (kind != ALERT or message):  # OpenSSL reads over warnings before the hello
            return NOT_MINE
        if at + 1 < size and data[at + 1] > MOST_MAJOR:
            return NOT_MINE
        if at + 5 > size:
            return NEED_MORE
        length = data[at + 3] << 8 | data[at + 4]
        if length > LARGEST:
            return NOT_MINE
        at += 5
        if kind == HANDSHAKE:
            part = data[at : at + length]  # empty ones are forbidden, and read over by OpenSSL
            message += part
            if message and message[0] != CLIENT_HELLO:
                return NOT_MINE
            if not wanted and len(message) >= 4:
                wanted = 4 + int.from_bytes(message[1:4])
                if wanted > LARGEST:
                    return NEED_MORE
            if wanted and len(message) >= wanted:
                return bytes(message[4:wanted]), bytes(message[wanted:]), at + length
        at += length
    return NEED_MORE


def _extensions(hello: bytes) -> Hello | NotMine:
    """Read a hello from legacy_version on."""
    size = len(hello)
    at = 34  # behind legacy_version and random
    if size < 39:
        return NOT_MINE
    at += 1 + hello[at]  # legacy_session_id
    if at + 2 > size:
        return NOT_MINE
    at += 2 + (hello[at] << 8 | hello[at + 1])  # cipher_suites
    if at + 1 > size:
        return NOT_MINE
    at += 1 + hello[at]  # legacy_compression_methods
    if at == size:
        return NAMELESS  # TLS 1.2 lets the extensions be absent
    if at + 2 > size or at + 2 + (hello[at] << 8 | hello[at + 1]) != size:
        return NOT_MINE
    at += 2
    said: list[bytes] = []
    alpn: tuple[str, ...] = ()
    ech = unlike_grease = False
    unpack = _TYPE_LENGTH.unpack_from
    while at < size:
        if at + 4 > size:
            return NOT_MINE
        kind, length = unpack(hello, at)
        at += 4
        if at + length > size:
            return NOT_MINE
        if kind == SERVER_NAME:
            said += _server_names(hello[at : at + length])
        elif kind == ALPN:
            alpn = _protocols(hello[at : at + length])
        elif kind == ENCRYPTED_CLIENT_HELLO:
            ech = True
            unlike_grease |= not _is_grease(hello[at : at + length])
        elif kind == ENCRYPTED_NAME:
            ech = unlike_grease = True
        at += length
    names = tuple(dict.fromkeys([name for one in said for name in claimed(one)]))
    hidden = ech and (unlike_grease or not names or not DECOYS.isdisjoint(names))
    if len(names) == len(said):
        return Hello(names, ech, alpn, hidden)
    return Hello(names, ech, alpn, hidden, tuple(dict.fromkeys(addr for one in said if (addr := address(one)))))


def _is_grease(extension: bytes) -> bool:
    """Whether an ECH extension looks like one that is for show (RFC 9849, 5 and 6.2)."""
    if extension[:1] == b"\x01":
        return True  # the inner hello itself: what it says is what it means
    if len(extension) < 8:
        return False
    at = 8 + (extension[6] << 8 | extension[7])  # behind type, two algorithms, config id and key
    return at + 2 <= len(extension) and (extension[at] << 8 | extension[at + 1]) in GREASE_SIZES


def _server_names(extension: bytes) -> list[bytes]:
    """What a server_name extension says (RFC 6066, 3): at least what is there, and no more than makes sense."""
    said: list[bytes] = []
    at = 2  # behind the length of the list, which the extension's own length repeats
    while at + 3 <= len(extension):
        end = at + 3 + (extension[at + 1] << 8 | extension[at + 2])
        if end > len(extension) and said:
            break
        if extension[at] == HOST_NAME:
            said.append(extension[at + 3 : end])
        at = end
    return said


def _protocols(extension: bytes) -> tuple[str, ...]:
    """The protocol names of an ALPN extension (RFC 7301, 3.1)."""
    protocols: list[str] = []
    at = 2
    while at < len(extension) and len(protocols) < MOST_PROTOCOLS:
        end = at + 1 + extension[at]
        name = extension[at + 1 : end]
        if name and end <= len(extension) and name.isascii() and (text := name.decode("ascii")).isprintable():
            protocols.append(text)
        at = end
    return tuple(protocols)
