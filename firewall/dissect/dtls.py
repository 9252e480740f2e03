"""[pure] The ClientHello of TLS over datagrams (DTLS 1.0 and 1.2: RFC 6347, 4.2; 1.3: RFC 9147, 5).

Its message is cut into fragments that say where they belong. Each message is numbered; a client says a second hello
when its server wants a cookie, and begins with the first number again when it connects anew.
"""

from __future__ import annotations

from struct import Struct

from firewall.dissect import NEED_MORE, NOT_MINE, NeedMore, NotMine
from firewall.dissect.reassembly import Reassembly

HANDSHAKE, CLIENT_HELLO = 22, 1
MAJOR = 0xFE  # of any version's; a server looks no further at a first record (RFC 9147, 4)
LARGEST = 16_384  # bytes of a hello, as over TCP (dissect/tls.py)
MOST_MESSAGES = 4  # that are put together at a time
MOST_RECORDS = 128  # of one datagram; as many empty ones as there is room for
MOST_OF_RECORD = 32  # messages; more than one is not seen, and allowed (RFC 9147, 5.5)

_RECORD = Struct("!BBxHHIH")  # type, major version, epoch, sequence number, length
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
            if at + _RECORD.size >= size:
                break
            kind, major, epoch, _, _, length = _RECORD.unpack_from(datagram, at)
            if major != MAJOR:
                break
            at += _RECORD.size
            if kind == HANDSHAKE and not epoch:
                found = self._record(datagram[at : at + length])
                mine = mine or found is not None
                hellos += found or ()
            at += length  # a server drops what it cannot use, and reads on in its datagram (RFC 9147, 4.5.2)
        else:
            self._lost = mine = True
        if hellos:
            return tuple(hellos)
        return NOT_MINE if not mine else NEED_MORE

    def _record(self, record: bytes) -> list[bytes] | None:
        """The hellos that its messages complete; None if none of those is a hello's."""
        hellos: list[bytes] | None = None
        for _ in range(MOST_OF_RECORD):
            if not record:
                return hellos
            if record[0] == CLIENT_HELLO:
                hello = self._fragment(record)
                hellos = [*(hellos or ()), *((hello,) if hello else ())]
            record = record[_MESSAGE.size + int.from_bytes(record[9:12]) :]
        self._lost = True
        return hellos or []

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
