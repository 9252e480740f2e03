"""Recorded packets, read one by one: pcap and pcapng, also gzipped, in either byte order, with bounded memory.

A file that is cut or damaged gives everything in front of the damage, and then says where it is and what it is.
"""

from __future__ import annotations

import gzip
import zlib
from io import BufferedReader
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import FileIO
    from pathlib import Path

Frame = tuple[float, int, bytes]  # epoch seconds, link type (the number that tcpdump.org gave it), the frame
Window = tuple[float, int, bytes, int, int]  # the same; where in these bytes the frame begins and ends

LARGEST_FRAME: Final = 1 << 18  # bytes; libpcap's MAXIMUM_SNAPLEN
LARGEST_BLOCK: Final = 1 << 24  # bytes; libpcap's limit for a block of pcapng
CHUNK: Final = 1 << 16  # bytes read at a time; of larger pieces each comes from the kernel as new pages, to be filled
MOST_INTERFACES: Final = 65_536  # of one section

_GZIP: Final = b"\x1f\x8b"
_SECTION, _INTERFACE, _PACKET, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 2, 3, 6  # block types of pcapng
_SECTION_MAGIC: Final = 0x1A2B3C4D
_TSRESOL, _TSOFFSET = 9, 14  # options of an interface


_OTHERS: Final = {  # how files begin that people take for captures, and what they are
    b"snoop\0\0\0": "snoop", b"RTSS": "Network Monitor", b"GMBU": "Network Monitor", b"TRSNIFF data": "Sniffer",
    b"XCP\0": "Sniffer", b"btsnoop\0": "Bluetooth's snoop", b"iptrace ": "AIX iptrace", b"\x1c\0\x01\xac": "IXIA",
    b"TR\0\x64\0": "HP-UX nettl", b"\x05VNF": "Visual Networks", b"\xaa\xaa\xaa\xaa": "5Views",
}
_PACKED: Final = {
    b"\xfd7zXZ\0": "xz -d", b"BZh": "bzip2 -d", b"\x28\xb5\x2f\xfd": "zstd -d", b"\x04\x22\x4d\x18": "lz4 -d",
    b"PK\3\4": "unzip", b"7z\xbc\xaf\x27\x1c": "7z x",
}
_CONVERT: Final = "editcap -F pcapng FILE NEW.pcapng"


class CaptureError(ValueError):
    """What is wrong with a file, where, and what would help."""


class _Kind(NamedTuple):
    """What a classic file's first four bytes say, read as little endian."""

    order: str
    unit: float  # seconds
    extra: int  # bytes that each packet's header has beyond the usual sixteen


_KINDS: Final = {
    0xA1B2C3D4: _Kind("<", 1e-6, 0), 0xD4C3B2A1: _Kind(">", 1e-6, 0),
    0xA1B23C4D: _Kind("<", 1e-9, 0), 0x4D3CB2A1: _Kind(">", 1e-9, 0),
    0xA1B2CD34: _Kind("<", 1e-6, 8), 0x34CDB2A1: _Kind(">", 1e-6, 8),  # Kuznetzov's patch
}


class _Interface(NamedTuple):
    link: int
    unit: float  # seconds
    offset: int  # seconds
    snaplen: int  # 0: no limit


class Capture:
    """One file. Iterate once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0  # bytes of the file; 0 for a pipe
        self._raw: FileIO | None = None
        self._source: _Source | None = None

    @property
    def position(self) -> int:
        """Bytes of the file that were read; of a gzipped one, as it lies on the disk. 0 for a pipe."""
        return self._raw.tell() if self.size and self._raw is not None and not self._raw.closed else self.size

    @property
    def unpacked(self) -> int:
        """Bytes of packets and their headers that were read; of a gzipped file as they are unpacked."""
        return self._source.before + self._source.at if self._source is not None else 0

    def __iter__(self) -> Iterator[Frame]:
        """Raises CaptureError, after what was readable."""
        return ((time, link, data[start:end]) for time, link, data, start, end in self.windows())

    def windows(self) -> Iterator[Window]:
        """The frames, not copied. Raises CaptureError, after what was readable."""
        try:
            with self.path.open("rb", buffering=0) as raw:
                self._raw = raw
                if raw.seekable():  # no pipe
                    self.size = raw.seek(0, 2)
                    raw.seek(0)
                file = BufferedReader(raw)
                zipped = file.peek(2)[:2] == _GZIP
                # read1: what stands in front of the damage of a gzipped file comes before the error
                self._source = source = _Source((gzip.GzipFile(fileobj=file) if zipped else file).read1)
                yield from self._frames(source)
        except CaptureError as error:
            raise CaptureError(f"{self.path}: {error}") from None
        except EOFError:
            raise CaptureError(f"{self.path}: the gzip file is cut off {self._unpacked()}: copy it again") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            damaged = f"the gzip file is damaged {self._unpacked()} ({error})"
            raise CaptureError(f"{self.path}: {damaged}: copy it again") from None
        except OSError as error:
            raise CaptureError(f"{self.path}: cannot be read: {error.strerror}") from None

    def _unpacked(self) -> str:
        source = self._source
        return f"behind {source.before + len(source.data) if source is not None else 0:,} unpacked bytes"

    def _frames(self, source: _Source) -> Iterator[Window]:
        if not source.fill(4):
            raise CaptureError("is empty" if not source.left() else "is no capture: shorter than any header")
        magic = int.from_bytes(source.peek(4), "little")
        if magic == _SECTION:
            return _blocks(source)
        if (kind := _KINDS.get(magic)) is not None:
            return _classic(source, kind)
        raise CaptureError(_no_capture(source.peek(16)))


def _no_capture(begin: bytes) -> str:
    for first, program in _PACKED.items():
        if begin.startswith(first):
            return f"is packed, and only gzip is read: unpack it first ({program})"
    for first, name in _OTHERS.items():
        if begin.startswith(first):
            return f"is a capture of another kind ({name}): convert it with `{_CONVERT}`"
    return f"is no capture: neither pcap nor pcapng begins like this; if Wireshark opens it, `{_CONVERT}` converts it"


class _Source:
    """A window on a stream. Offsets that are shown count from the stream's beginning, unpacked."""

    __slots__ = ("_read", "at", "before", "data")

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self.data = b""
        self.at = 0  # in `data`
        self.before = 0  # bytes of the stream in front of `data`

    def fill(self, wanted: int) -> bool:
        """Have that many bytes from `at` on; whether there are."""
        while len(self.data) - self.at < wanted:
            more = self._read(max(CHUNK, wanted))
            if not more:
                return False
            self.before += self.at
            self.data = self.data[self.at :] + more
            self.at = 0
        return True

    def left(self) -> int:
        return len(self.data) - self.at

    def peek(self, size: int) -> bytes:
        return self.data[self.at : self.at + size]

    def where(self) -> str:
        return f"at byte {self.before + self.at:,}"


def _classic(source: _Source, kind: _Kind) -> Iterator[Window]:
    """draft-ietf-opsawg-pcap: a header of 24 bytes, then packets, each behind a header of 16."""
    if not source.fill(24):
        raise CaptureError("is cut off within its header: copy it again")
    (link,) = Struct(kind.order + "I").unpack(source.peek(24)[20:])
    link &= 0x03FF_FFFF  # the bits above tell of frame check sequences
    source.at += 24
    unit, size = kind.unit, 16 + kind.extra
    unpack = Struct(kind.order + "III").unpack_from
    data, at = source.data, source.at
    end = len(data)
    while True:
        if at + size > end:
            source.at = at
            if not source.fill(size):
                if source.left():
                    raise CaptureError(f"is cut off within a packet's header {source.where()}")
                return
            data, at = source.data, source.at
            end = len(data)
        seconds, fraction, length = unpack(data, at)
        if length > LARGEST_FRAME:
            source.at = at
            raise CaptureError(f"is damaged {source.where()}: no packet has {length:,} bytes")
        start = at + size
        at = start + length
        if at > end:
            source.at = start
            if not source.fill(length):
                raise CaptureError(f"is cut off within a packet {source.where()}: {source.left()} of {length} bytes")
            data, start = source.data, source.at
            at = start + length
            end = len(data)
        yield seconds + fraction * unit, link, data, start, at


# -- pcapng ------------------------------------------------------------------------------------------------------------


def _blocks(source: _Source) -> Iterator[Window]:
    """draft-ietf-opsawg-pcapng: blocks of (type, length, body, length); a section's first says the byte order."""
    order = "<"
    interfaces: list[_Interface] = []
    last = 0.0
    head = Struct("<II")
    while source.fill(12):
        kind, length = head.unpack_from(source.data, source.at)
        if kind == _SECTION:
            order = _order(source)
            head = Struct(order + "II")
            kind, length = head.unpack_from(source.data, source.at)
            interfaces = []
        if length < 12 or length % 4 or length > LARGEST_BLOCK:
            raise CaptureError(f"is damaged {source.where()}: no block has {length:,} bytes")
        if not source.fill(length):
            raise CaptureError(f"is cut off within a block {source.where()}: {source.left()} of {length} bytes")
        body = source.at + 8
        end = source.at + length - 4
        if int.from_bytes(source.data[end : end + 4], "little" if order == "<" else "big") != length:
            raise CaptureError(f"is damaged {source.where()}: a block's two lengths differ")
        if kind == _INTERFACE:
            if len(interfaces) >= MOST_INTERFACES:
                raise CaptureError(f"is damaged {source.where()}: more than {MOST_INTERFACES:,} interfaces")
            interfaces.append(_interface(source, order, body, end))
        elif kind in (_ENHANCED, _SIMPLE, _PACKET):
            frame = _frame(source, order, kind, body, end, interfaces, last)
            last = frame[0]
            source.at += length
            yield frame
            continue
        source.at += length
    if source.left():
        raise CaptureError(f"is cut off within a block's header {source.where()}")


def _order(source: _Source) -> str:
    magic = source.peek(12)[8:]
    for order, name in (("<", "little"), (">", "big")):
        if int.from_bytes(magic, "little" if name == "little" else "big") == _SECTION_MAGIC:
            return order
    raise CaptureError(f"is damaged {source.where()}: a section without byte order")


def _interface(source: _Source, order: str, at: int, end: int) -> _Interface:
    data = source.data
    if at + 8 > end:
        raise CaptureError(f"is damaged {source.where()}: an interface block of {end - at} bytes")
    link, _, snaplen = Struct(order + "HHI").unpack_from(data, at)
    unit, offset = 1e-6, 0
    option = Struct(order + "HH")
    at += 8
    while at + 4 <= end:
        code, length = option.unpack_from(data, at)
        at += 4
        value = data[at : min(at + length, end)]
        if not code:
            break
        if code == _TSRESOL and len(value) == 1:
            unit = 2.0 ** -(value[0] & 127) if value[0] & 128 else 10.0 ** -value[0]
        elif code == _TSOFFSET and len(value) == 8:
            offset = Struct(order + "q").unpack(value)[0]
        at += (length + 3) & ~3
    return _Interface(link, unit, offset, snaplen)


def _frame(
    source: _Source, order: str, kind: int, at: int, end: int, interfaces: list[_Interface], last: float
) -> Window:
    """A packet, from whichever of the three blocks that hold one."""
    data = source.data
    if kind == _SIMPLE:
        number, high, low, start = 0, 0, 0, at + 4
    else:
        start = at + 20
    if start > end:
        raise CaptureError(f"is damaged {source.where()}: a packet block of {end - at} bytes")
    if kind == _SIMPLE:
        (length,) = Struct(order + "I").unpack_from(data, at)
    elif kind == _ENHANCED:
        number, high, low, length = Struct(order + "IIII").unpack_from(data, at)
    else:
        number, _, high, low, length = Struct(order + "HHIII").unpack_from(data, at)
    if number >= len(interfaces):
        raise CaptureError(f"is damaged {source.where()}: a packet of interface {number}, which is not described")
    interface = interfaces[number]
    if kind == _SIMPLE:  # says only how long the packet was on the wire, and has no time
        length = min(length, interface.snaplen or length)
        time = last
    else:
        time = (high << 32 | low) * interface.unit + interface.offset
    if start + length > end:
        raise CaptureError(f"is damaged {source.where()}: a packet of {length:,} bytes in a block of {end - at}")
    return time, interface.link, data, start, start + length
