"""[pure] The ClientHello of TLS over datagrams (DTLS 1.0 and 1.2: RFC 6347, 4.2; 1.3: RFC 9147, 5).

Its message is cut into fragments that say where they belong. Each message is numbered; a client says a second hello
when its server wants a cookie, and begins with the first number again when it connects anew.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from firewall.dissect import NEED_MORE, NOT_MINE, NeedMore, NotMine
from firewall.dissect.reassembly import Reassembly

HANDSHAKE, CLIENT_HELLO = 22, 1
VERSIONS: Final = frozenset((0xFEFF, 0xFEFD))  # of a record; 1.3 says 1.2
LARGEST = 16_384  # bytes of a hello, as over TCP (dissect/tls.py)
MOST_MESSAGES = 4  # that are put together at a time
MOST_RECORDS = 16  # of one datagram

_RECORD = Struct("!BHHHIH")  # type, version, epoch, sequence number, length
_MESSAGE = Struct("!BBHHBHBH")  # type, length, number, where the fragment stands, its length; three bytes each


class Hellos:
    """Fed with the datagrams of one flow from the client.

    `begun`: a hello has begun and is not whole; for ever, if its fragments contradict each other.
    """

    __slots__ = ("_lost", "_messages")

    def __init__(self) -> None:
        self._messages: dict[int, tuple[int, bytearray, Reassembly]] = {}  # number -> size, its beginning, the rest
        self._lost = False

    @property
    def begun(self) -> bool:
        return self._lost or bool(self._messages)

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return sum(len(said) + stream.size for _, said, stream in self._messages.values())

    def feed(self, datagram: bytes) -> tuple[bytes, ...] | NeedMore | NotMine:
        """The ClientHellos that `datagram` completes, as whole messages of TLS: without their cookies.

        NEED_MORE: there is one that is not whole. NOT_MINE: no hello is in it.
        """
        hellos: list[bytes] = []
        at, size = 0, len(datagram)
        mine = False
        for _ in range(MOST_RECORDS):
            if at + _RECORD.size + _MESSAGE.size > size:
                break
            kind, version, epoch, _, _, length = _RECORD.unpack_from(datagram, at)
            at += _RECORD.size
            if kind != HANDSHAKE or version not in VERSIONS or epoch:
                break
            record = datagram[at : at + length]
            at += length
            if record[:1] == bytes((CLIENT_HELLO,)):
                mine = True
                hello = self._fragment(record)
                if hello:
                    hellos.append(hello)
        if hellos:
            return tuple(hellos)
        return NOT_MINE if not mine else NEED_MORE

    def _fragment(self, record: bytes) -> bytes | None:
        if len(record) < _MESSAGE.size:
            self._lost = True
            return None
        _, high, low, number, *place, length_high, length_low = _MESSAGE.unpack_from(record)
        total, offset, length = high << 16 | low, place[0] << 16 | place[1], length_high << 16 | length_low
        data = record[_MESSAGE.size :][:length]
        if len(data) < length or offset + length > total or total > LARGEST:
            self._lost = True
            return None
        if number not in self._messages and len(self._messages) >= MOST_MESSAGES:
            self._lost = True
            return None
        size, said, stream = self._messages.setdefault(number, (total, bytearray(), Reassembly(LARGEST)))
        said += stream.add(offset, data)
        if size != total or stream.disagrees or stream.overflows:
            self._lost = True
        if len(said) < size or self._lost:
            return None
        del self._messages[number]
        return _without_cookie(bytes(said))


def _without_cookie(hello: bytes) -> bytes:
    """What TLS would say. Where the lengths lie it is none, which its reader finds out."""
    at = 35 + hello[34] if len(hello) > 34 else len(hello)  # behind version, random and session id
    cookie = 1 + hello[at] if at < len(hello) else 0
    body = hello[:at] + hello[at + cookie :]
    return bytes((CLIENT_HELLO,)) + len(body).to_bytes(3) + body
