"""[pure] The requests a client sends on one cleartext HTTP/1 connection, in the upload direction (RFC 9112).

Each request may name another host, so bodies are counted over to find the next one. Where two servers could
disagree about where a body ends, the machine says so and reads no further: it does not guess.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from firewall.dissect import NEED_MORE, NOT_MINE, NeedMore, NotMine
from firewall.dissect.host import address, claimed

LARGEST_HEAD = 16_384  # bytes of a head, or of a chunked body's trailers; Node.js and h11 set the same limit
LONGEST_METHOD = 32  # bytes; the longest registered one, UPDATEREDIRECTREF, has 17

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"  # RFC 9110, 5.6.2
_METHOD = re.compile(_TOKEN + rb"{1,%d}[ \t\v\f]" % LONGEST_METHOD)
_PLAIN_LINE = re.compile(rb"([A-Z]{1,20}) ([!-~]+) (HTTP/1\.[01])\r?")  # as nearly all are
_WORD = re.compile(rb"[A-Z]{1,20}")
_METHOD_BEGUN = re.compile(_TOKEN + rb"{0,%d}\Z" % LONGEST_METHOD)
_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]{1,2}")  # whatever it claims to be, a lenient server answers as HTTP/1.1
_HEAD_END = re.compile(rb"\n\r?\n")  # behind the last line's CR: a bare LF may end a line as well (RFC 9112, 2.2)
_BARE_CR = re.compile(rb"\r(?!\n)")
_AUTHORITY = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://([^/?#\\]*)")  # of an absolute URI (RFC 3986, 3)
_PROXIES = re.compile(rb"(?i)\bconnect-(?:udp|ip|tcp|ethernet)\b")  # what may be upgraded to
_MASQUE = re.compile(rb"/\.well-known/masque/(?:udp|ip|tcp)/([^/?#]+)")  # the host that is wanted (RFC 9298, 3)
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")  # RFC 9112, 7.1
_CHUNKED: Final = -1
_PREFACE_LINE: Final = b"PRI * HTTP/2.0\r"  # with no field below it, HTTP/2 begins (RFC 9113, 3.4)
# A field that matters here, whatever white space stands about its name; and the lines below that may belong to it.
_FIELD = re.compile(
    rb"(?i)\n((?:[\v\f\r\0][ \t\v\f\r\0]*)?(?:host|content-length|transfer-encoding|upgrade)[ \t\v\f\r\0]*)"
    rb":([^\n]*)((?:\n(?:[ \t][^\n]*|[^:\n]*(?=\n|\Z)))*)"
)

# What some servers take for a head all the same: of HTTP/0.9, of a version that nobody has, behind white space.
_ODD_HEAD = re.compile(rb"(?i)\s*\S{1,64}[ \t][^\r\n]*[ \t]HTTP/[\w.]{0,16}[ \t]*(?:[\r\n]|\Z)")
_ODD_HOST = re.compile(rb"(?im)^[ \t]*(?:\S{1,64}[ \t]+[a-z][a-z0-9+.-]*://([^/?#\\\s]*)|host[ \t]*:([^\r\n]*))")
_SEARCH: Final = re.compile(rb"(?:M-SEARCH|NOTIFY) \* HTTP/1\.[0-9]\r?\n")  # UPnP's device architecture, 1.3


class Request(NamedTuple):
    """The head of one request. The target is the phone's own text: nothing to print as it is."""

    method: str  # a token (RFC 9110, 5.6.2), its case kept
    target: str  # Latin-1
    hosts: tuple[str, ...]  # the URI's, then Host's; lower case, each once. Servers differ in which they obey
    addresses: tuple[str, ...] = ()  # said where a name should stand
    tunnel: bool = False  # CONNECT, or its like for datagrams and packets (RFC 9298, 9484)


# What the next byte belongs to. Numbers: to look a member of an Enum up takes longer than to compare it.
_HEAD, _BODY, _CHUNK_LINE, _CHUNK, _TRAILERS, _OPAQUE = range(6)


class Requests:
    """Reads the upload direction of one connection, in order and without gaps.

    After each `feed` at most one of these holds: `begun`, `in_body`, `opaque`. If none does, the connection is
    between two requests.
    """

    __slots__ = ("_buffer", "_first", "_heads", "_in", "_left", "_may_switch", "_searched", "unsure")

    def __init__(self) -> None:
        self.unsure = False  # opaque, and a server might find requests where we do not
        self._in = _HEAD
        self._buffer = bytearray()  # what has come of a head, a chunk's line or the trailers
        self._searched = 0  # bytes of it that are known to hold no end
        self._left = 0
        self._first = False  # the next chunk is the first of its body
        self._heads = 0
        self._may_switch = False  # CONNECT or Upgrade was asked for: what follows need not be HTTP

    @property
    def begun(self) -> bool:
        """A head has begun and not ended: the next name is on its way."""
        return self._in == _HEAD and bool(self._buffer)

    @property
    def in_body(self) -> bool:
        return self._in not in (_HEAD, _OPAQUE)

    @property
    def body_left(self) -> int:
        """Bytes of the body (of a chunked one: of this chunk) that are known to be still to come."""
        return self._left

    @property
    def word(self) -> bool:
        """All that has come is a word which may be a method; other protocols begin with one, and wait for an answer."""
        return self._in == _HEAD and not self._heads and _WORD.fullmatch(self._buffer) is not None

    @property
    def opaque(self) -> bool:
        """No further request will be found here."""
        return self._in == _OPAQUE

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return len(self._buffer)

    def feed(self, data: bytes) -> tuple[Request, ...] | NeedMore | NotMine:
        """The requests whose heads end in `data`; () if it is all body, or opaque.

        NEED_MORE: none ended, and one has begun. NOT_MINE: the connection does not begin with HTTP/1 (HTTP/2 with
        prior knowledge does not either); it is opaque from then on.
        """
        found: list[Request] = []
        at = 0
        while at < len(data):
            if self._in == _HEAD:
                at = self._head(data, at, found)
            elif self._in in (_BODY, _CHUNK):
                at = self._skip(data, at)
            elif self._in == _CHUNK_LINE:
                at = self._chunk_line(data, at)
            elif self._in == _TRAILERS:
                at = self._trailers(data, at)
            else:
                break
        if found:
            return tuple(found)
        if self.opaque:
            return () if self._heads or self.unsure else NOT_MINE
        return NEED_MORE if self.begun or not self._heads else ()

    def _enter(self, state: int) -> None:
        self._in = state
        self._buffer.clear()
        self._searched = 0

    def _close(self, *, unsure: bool) -> None:
        self._enter(_OPAQUE)
        self.unsure = unsure

    def _give_up(self, line: bytes) -> None:
        """What should be a request is none. HTTP/2 in pieces, after an upgrade, holds requests that we do not see."""
        self._close(unsure=self._heads > 0 and (not self._may_switch or line.startswith(b"PRI")))

    # -- heads ---------------------------------------------------------------------------------------------------

    def _head(self, data: bytes, at: int, found: list[Request]) -> int:
        buffer = self._buffer
        if not buffer:
            while at < len(data) and data[at] in b"\r\n":  # empty lines before a request do not count (2.2)
                at += 1
            whole = _HEAD_END.search(data, at, at + LARGEST_HEAD)
            if whole is not None:
                self._read(data[at : whole.start() + 1], found)
                return whole.end()
        had = len(buffer)
        buffer += data[at : at + LARGEST_HEAD - had]
        end = _HEAD_END.search(buffer, self._searched)
        if end is not None:
            head = bytes(buffer[: end.start() + 1])
            self._enter(_HEAD)
            self._read(head, found)
            return at + end.end() - had
        self._searched = max(0, len(buffer) - 3)
        if not _may_begin_request(buffer):
            self._give_up(bytes(buffer))
        elif len(buffer) >= LARGEST_HEAD:
            self._close(unsure=True)
        return len(data)

    def _read(self, head: bytes, found: list[Request]) -> None:
        line, _, rest = head.partition(b"\n")
        parts = _request_line(line)
        if parts is None or (line == _PREFACE_LINE and rest in (b"", b"\r")):
            self._give_up(line)
            return
        method, target, version = parts
        fields = _fields(rest)
        self._heads += 1
        said = [value.strip() for name, value in fields if name.strip() == b"host"]
        others = len(fields) > len(said)
        upgrade = b",".join(value for name, value in fields if name.strip() == b"upgrade") if others else b""
        self._may_switch = method == b"CONNECT" or (others and b"upgrade" in dict(fields))
        found.append(request(method, target, said, upgrade))
        length = _body(fields, version) if others else 0
        if length is None or _BARE_CR.search(head) or rest[:1] in (b" ", b"\t"):
            self._close(unsure=True)
        elif length and method == b"CONNECT":
            self._close(unsure=True)  # RFC 9110, 9.3.6 gives it no body; a server may still count one
        elif length == _CHUNKED:
            self._first = True
            self._enter(_CHUNK_LINE)
        elif length:
            self._left = length
            self._enter(_BODY)

    # -- bodies --------------------------------------------------------------------------------------------------

    def _skip(self, data: bytes, at: int) -> int:
        step = min(self._left, len(data) - at)
        self._left -= step
        if not self._left:
            self._enter(_HEAD if self._in == _BODY else _CHUNK_LINE)
        return at + step

    def _chunk_line(self, data: bytes, at: int) -> int:
        """A chunk's size. In front of it stands the CRLF that ends the chunk before.

        Read strictly: leniency about chunk lines is where servers have been made to disagree.
        """
        buffer = self._buffer
        had = len(buffer)
        buffer += data[at : at + LARGEST_HEAD - had]
        start = 0 if self._first else 2
        end = buffer.find(b"\n", start)
        if end < 0:
            if len(buffer) >= LARGEST_HEAD:
                self._close(unsure=True)
            return len(data)
        size = _CHUNK_SIZE.fullmatch(buffer, start, end - 1)
        if size is None or buffer[end - 1 : end] != b"\r" or buffer[:start] != b"\r\n"[:start]:
            self._close(unsure=True)
            return len(data)
        self._first = False
        self._left = int(size[1], 16)
        self._enter(_CHUNK if self._left else _TRAILERS)
        if not self._left:
            self._buffer += b"\r\n"  # so that an empty line ends them, whether there are any or not
        return at + end + 1 - had

    def _trailers(self, data: bytes, at: int) -> int:
        buffer = self._buffer
        had = len(buffer)
        buffer += data[at : at + LARGEST_HEAD - had]
        end = buffer.find(b"\r\n\r\n", self._searched)
        if end < 0:
            self._searched = max(0, len(buffer) - 3)
            if len(buffer) >= LARGEST_HEAD:
                self._close(unsure=True)
            return len(data)
        if re.search(rb"(?<!\r)\n", buffer[:end]):
            self._close(unsure=True)  # a lenient server saw the end before
        else:
            self._enter(_HEAD)
        return at + end + 4 - had


def _may_begin_request(begun: bytearray) -> bool:
    """Whether this can still become a request: a method, and when its line is whole, a version of HTTP/1."""
    if _METHOD.match(begun) is None:
        return _METHOD_BEGUN.match(begun) is not None
    end = begun.find(b"\n")
    return end < 0 or _request_line(bytes(begun[:end])) is not None


def _request_line(line: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Method, target, version. Lenient servers take any white space for the separator (RFC 9112, 3)."""
    plain = _PLAIN_LINE.fullmatch(line)
    if plain is not None:
        method, target, version = plain.groups()
        return method, target, version
    words = line.split()
    if len(words) < 3 or _METHOD.match(line) is None or _VERSION.fullmatch(words[-1]) is None:
        return None
    return words[0], words[1] if len(words) == 3 else b" ".join(words[1:-1]), words[-1]


def _fields(lines: bytes) -> list[tuple[bytes, bytes]]:
    """The fields that matter here. Names in lower case, with the white space that must not stand before the colon.

    Values are as they stand; a folded line (obs-fold) is kept with its line end, so that who cannot be sure of it can
    see it.
    """
    fields: list[tuple[bytes, bytes]] = []
    for name, value, more in _FIELD.findall(b"\n" + lines):
        if more:
            value += b"".join(b"\n" + line for line in more.split(b"\n") if line[:1] in (b" ", b"\t"))  # noqa: PLW2901
        fields.append((name.lower(), value))
    return fields


def request(method: bytes, target: bytes, said: list[bytes], upgrade: bytes = b"") -> Request:
    """Every name the request may be for (RFC 9112, 3.2.2: the URI's counts; some servers obey Host instead)."""
    tunnel = method == b"CONNECT" or (bool(upgrade) and _PROXIES.search(upgrade) is not None)
    if tunnel and (through := _MASQUE.search(target)):
        said.append(through[1])
    if not target.startswith(b"/"):
        authority = _AUTHORITY.match(target)
        if authority is not None:
            said.insert(0, authority[1].rpartition(b"@")[2])
        elif method == b"CONNECT":
            said.insert(0, target)
    names = [name for one in said for name in claimed(one)]
    hosts = tuple(dict.fromkeys(names)) if len(names) > 1 else tuple(names)
    addresses = () if len(names) == len(said) else tuple(dict.fromkeys(filter(None, map(address, said))))
    return Request(method.decode("latin-1"), target.decode("latin-1"), hosts, addresses, tunnel)


def _body(fields: list[tuple[bytes, bytes]], version: bytes) -> int | None:
    """Bytes of the body, _CHUNKED, or None where servers may disagree (RFC 9112, 6.3)."""
    lengths: list[bytes] = []
    codings: list[bytes] = []
    for name, value in fields:
        bare = name.strip(b" \t\v\f\0")
        values = lengths if bare == b"content-length" else codings if bare == b"transfer-encoding" else None
        if values is None:
            continue
        if name != bare:
            return None  # a server may see it or not
        values += (part.strip(b" \t\r") for part in value.split(b","))
    if codings:
        framed = codings[-1].lower() == b"chunked" and sum(c.lower() == b"chunked" for c in codings) == 1
        plain = all(b"\n" not in c for c in codings)
        return _CHUNKED if framed and plain and not lengths and version != b"HTTP/1.0" else None
    if lengths:
        same = len(set(lengths)) == 1 and _LENGTH.fullmatch(lengths[0])
        return int(lengths[0]) if same else None
    return 0


def odd_head_begins(data: bytes) -> bool:
    """Whether it may become a head that hardly any server takes for one, and has not ended yet."""
    return len(data) <= LARGEST_HEAD and _ODD_HEAD.match(data) is not None and _HEAD_END.search(data) is None


def odd_hosts(data: bytes) -> tuple[str, ...]:
    """The names in what looks like a request's head, and is none."""
    said = (uri.rpartition(b"@")[2] or host.strip() for uri, host in _ODD_HOST.findall(data))
    return tuple([name for one in said for name in claimed(one)])


def searched(datagram: bytes) -> tuple[str, ...] | NotMine:
    """The Host of a search for neighbours in a datagram (SSDP): a group's address, or a name that no server has."""
    if not _SEARCH.match(datagram):
        return NOT_MINE
    found = Requests().feed(datagram)
    return found[0].hosts + found[0].addresses if isinstance(found, tuple) and found else ()
