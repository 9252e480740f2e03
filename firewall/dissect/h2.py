"""[pure] The requests on a cleartext HTTP/2 connection with prior knowledge, in the upload direction (RFC 9113, 3.3).

The same face as HTTP/1's reader. Header blocks are HPACK, whose state runs through the whole connection: what cannot
be decoded once cannot be decoded any more.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from hpack import Decoder, HPACKError

from firewall.dissect import NEED_MORE, NOT_MINE, NeedMore, NotMine
from firewall.dissect.http import Request, request

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LARGEST_BLOCK = 16_384  # bytes of a request's fields, packed or not; as for HTTP/1
LARGEST_TABLE = 65_536  # bytes that a server may let its client use; the default is 4,096
MOST_FRAMES = 1_024  # of one packet that are looked at

HEADERS, CONTINUATION = 1, 9  # frame types (RFC 9113, 6)
END_HEADERS, PADDED, PRIORITY = 4, 8, 32  # flags
_FIELD = 256  # bytes
_FRAME = Struct("!BHBB4x")  # length (one and two bytes), type, flags; the stream does not matter
_HEAD = _FRAME.size


class Requests:
    """Reads the upload direction of one connection, in order and without gaps, from its preface on.

    After each `feed` at most one of these holds: `begun`, `in_body`, `opaque`.
    """

    __slots__ = ("_block", "_buffer", "_decoder", "_heads", "_preface", "_skip", "opaque", "unsure")

    def __init__(self) -> None:
        self.opaque = False  # no further request will be found here
        self.unsure = False  # and a server might find some
        self._preface = True  # is still to come
        self._buffer = b""  # of what cannot be read before more of it is there
        self._skip = 0  # bytes of a frame that is not read
        self._block: bytearray | None = None  # of fields that go on in the next frame
        self._heads = 0
        self._decoder = Decoder(LARGEST_BLOCK)
        self._decoder.max_allowed_table_size = LARGEST_TABLE

    @property
    def begun(self) -> bool:
        """A request's fields have begun, or a frame that may be theirs."""
        return not self.opaque and (self._block is not None or bool(self._buffer))

    @property
    def in_body(self) -> bool:
        return self._skip > 0

    @property
    def size(self) -> int:
        """Bytes that are kept, about: each field that the client has let its table remember is three objects."""
        return len(self._buffer) + len(self._block or b"") + _FIELD * len(self._decoder.header_table.dynamic_entries)

    def feed(self, data: bytes) -> tuple[Request, ...] | NeedMore | NotMine:
        """The requests whose fields end in `data`, as HTTP/1's reader gives them."""
        if self.opaque:
            return () if self._heads or self.unsure else NOT_MINE
        if self._skip >= len(data):
            self._skip -= len(data)
            return ()
        data = self._buffer + data[self._skip :]
        self._skip = 0
        if self._preface:
            if not data.startswith(PREFACE):
                if PREFACE.startswith(data):
                    self._buffer = data
                    return NEED_MORE
                self.opaque = True
                return NOT_MINE
            self._preface = False
            data = data[len(PREFACE) :]
        found: list[Request] = []
        self._buffer = self._frames(data, found)
        if found:
            return tuple(found)
        return NEED_MORE if self.begun or not self._heads else ()

    def _frames(self, data: bytes, found: list[Request]) -> bytes:
        """Read whole frames; what is left of `data` behind them."""
        at, size = 0, len(data)
        for _ in range(MOST_FRAMES):
            if self.opaque or at + _HEAD > size:
                break
            high, low, kind, flags = _FRAME.unpack_from(data, at)
            length = high << 16 | low
            end = at + _HEAD + length
            if kind in (HEADERS, CONTINUATION):
                if length > LARGEST_BLOCK:
                    self._close()
                    break
                if end > size:
                    break
                self._fields(kind, flags, data[at + _HEAD : end], found)
            elif self._block is not None:
                self._close()  # nothing may stand between the parts of a block (6.10)
            elif end > size:
                self._skip = end - size
                return b""
            at = end
        else:
            self._close()
        return b"" if self.opaque else data[at:]

    def _close(self) -> None:
        self.opaque = self.unsure = True
        self._block = None

    def _fields(self, kind: int, flags: int, payload: bytes, found: list[Request]) -> None:
        if (kind == CONTINUATION) != (self._block is not None):
            self._close()
            return
        if kind == HEADERS:
            begin = (1 if flags & PADDED else 0) + (5 if flags & PRIORITY else 0)
            padding = payload[0] if flags & PADDED and payload else 0
            if begin + padding > len(payload):
                self._close()
                return
            self._block = bytearray(payload[begin : len(payload) - padding])
        elif self._block is not None:
            self._block += payload
        block = self._block
        if block is None or len(block) > LARGEST_BLOCK:
            self._close()
        elif flags & END_HEADERS:
            self._block = None
            self._request(bytes(block), found)

    def _request(self, block: bytes, found: list[Request]) -> None:
        try:
            fields = [(bytes(name).lower(), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        except (HPACKError, ValueError, IndexError):  # the latter two as a belt: nobody promised they cannot come
            self._close()
            return
        said = dict(reversed(fields))
        method, path = said.get(b":method"), said.get(b":path", b"")
        if method is None:
            return  # trailers
        self._heads += 1
        hosts = [value.strip() for name, value in fields if name in (b":authority", b"host")]
        found.append(request(method, path or b"/", hosts))
