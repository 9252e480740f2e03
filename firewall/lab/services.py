"""What answers a TCP connection to any address and port: HTTP on 80, TLS and then HTTP on 443, an echo elsewhere.

Transport-level protocols, a few small objects a connection: they have to stand thousands of them a second.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator

    from firewall.lab.certificates import Authority
    from firewall.lab.sinks import Journal

MAX_HEAD: Final = 65_536
PIECE: Final = bytes(65_536)
HANDSHAKE: Final = 0x16  # TLS record type (RFC 8446, 5.1)

_METHOD = re.compile(rb"[A-Z]{1,10}(?: |$)")
_REQUEST = re.compile(rb"[A-Z]{1,10} \S+ HTTP/1\.[01]\r\n")
_DOWNLOAD = re.compile(rb"[A-Z]+ (?:https?://[^/ ]*)?/bytes/([0-9]{1,11})[ ?]")


class Peer(Protocol):
    """The client as a service sees it, through TLS or not."""

    full: bool  # what was written has not gone yet

    def write(self, data: bytes) -> None: ...
    def close(self) -> None:
        """After everything written is gone."""

    def named(self, name: str) -> None:
        """The client has said which host it means."""


class Service(Protocol):
    def received(self, data: bytes) -> None: ...
    def writable(self) -> None:
        """The peer is no longer full."""


class Echo:
    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    def received(self, data: bytes) -> None:
        self._peer.write(data)

    def writable(self) -> None:
        pass


class Http:
    """HTTP/1.1, just enough (RFC 9112): any method, bodies with a length or in chunks, keep-alive, pipelining.

    `/bytes/N` downloads N bytes; everything else gets 200 and its own request line. What is not HTTP is echoed.
    """

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._buffer = bytearray()
        self._conversation = self._converse()

    def received(self, data: bytes) -> None:
        self._buffer += data
        next(self._conversation, None)

    def writable(self) -> None:
        next(self._conversation, None)

    def _converse(self) -> Generator[None]:
        """Runs until it needs more bytes, or room to write; a yield waits for either."""
        while head := (yield from self._head()):
            fields = _fields(head)
            if "host" in fields:
                self._peer.named(fields["host"].lower())
            if fields.get("expect", "").lower() == "100-continue":
                self._peer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            yield from self._body(fields)
            last = fields.get("connection", "").lower() == "close" or b" HTTP/1.0\r\n" in head
            yield from self._answer(head, last=last)
            if last:
                self._peer.close()
                return
        while True:
            self._peer.write(bytes(self._buffer))
            self._buffer.clear()
            yield

    def _head(self) -> Generator[None, None, bytes]:
        """A request's head with its empty line; nothing if this is not HTTP."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if self._buffer and (not _METHOD.match(self._buffer[:16]) or len(self._buffer) > MAX_HEAD):
                return b""
            yield
        if not _REQUEST.match(self._buffer):
            return b""
        return self._take(end + 4)

    def _body(self, fields: dict[str, str]) -> Generator[None]:
        """Read a body and forget it: the journal has it. A length that is none ends it, as what follows is no HTTP."""
        if fields.get("transfer-encoding", "").lower() == "chunked":
            while size := _number((yield from self._line()).split(b";")[0], 16):
                yield from self._skip(size + 2)
            while (yield from self._line()):  # trailers
                pass
        else:
            yield from self._skip(_number(fields.get("content-length", "0").encode("latin-1"), 10))

    def _answer(self, head: bytes, *, last: bool) -> Generator[None]:
        line = head[: head.index(b"\r\n") + 2]
        download = _DOWNLOAD.match(line)
        left = int(download[1]) if download else 0
        fields = b"Content-Type: text/plain\r\nContent-Length: %d\r\n" % (left if download else len(line))
        self._peer.write(b"HTTP/1.1 200 OK\r\n" + fields + (b"Connection: close\r\n\r\n" if last else b"\r\n"))
        if line.startswith(b"HEAD "):
            return
        if not download:
            self._peer.write(line)
        while left:
            self._peer.write(PIECE[:left])
            left -= min(left, len(PIECE))
            while self._peer.full:
                yield

    def _line(self) -> Generator[None, None, bytes]:
        while (end := self._buffer.find(b"\r\n")) < 0:
            yield
        return self._take(end + 2)[:-2]

    def _skip(self, size: int) -> Generator[None]:
        while size > len(self._buffer):
            size -= len(self._buffer)
            self._buffer.clear()
            yield
        del self._buffer[:size]

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken


def _fields(head: bytes) -> dict[str, str]:
    """Field names in lower case; of repeated ones the last."""
    lines = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:])
    return {name.strip().lower(): value.strip() for name, _, value in lines}


def _number(text: bytes, base: int) -> int:
    try:
        return max(0, int(text, base))
    except ValueError:
        return 0


class Tls:
    """The server's end of TLS in memory, so that a connection can be looked at before it is decided what it is."""

    def __init__(self, authority: Authority, address: str) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._session = authority.context(address).wrap_bio(self._in, self._out, server_side=True)
        self.established = False
        self.over = False  # ended by the client, or never was TLS

    @property
    def sni(self) -> str:
        """The name in the client's hello; "" if it has said none (yet)."""
        return getattr(self._session.context, "sni", "")

    def decrypt(self, data: bytes) -> bytes:
        """Take what the client sent; return what it meant, if anything yet."""
        self._in.write(data)
        plain = bytearray()
        try:
            if not self.established:
                self._session.do_handshake()
                self.established = True
            while piece := self._session.read(65_536):
                plain += piece
            self.over = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self.over = True
        return bytes(plain)

    def encrypt(self, data: bytes) -> bytes:
        self._session.write(data)
        return self._out.read()

    def end(self) -> bytes:
        with suppress(ssl.SSLError):
            self._session.unwrap()
        return self._out.read()

    def outgoing(self) -> bytes:
        """Handshake messages and alerts that have to be sent now."""
        return self._out.read()


class Connection(asyncio.Protocol):
    """One accepted connection: recorded, and handed to what its port and first byte ask for."""

    def __init__(self, journal: Journal, authority: Authority) -> None:
        self._journal = journal
        self._authority = authority
        self._service: Service | None = None
        self._tls: Tls | None = None
        self.full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._wanted = transport.get_extra_info("sockname")  # TPROXY keeps the address that the client meant
        self._record = self._journal.open("tcp", transport.get_extra_info("peername"), self._wanted)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        self._journal.close(self._record)

    def data_received(self, data: bytes) -> None:
        service = self._service or self._choose(data[0])
        if self._tls is not None:
            data = self._through(self._tls, data)
        if data:
            self._journal.add(self._record, data)
            service.received(data)

    def _choose(self, first: int) -> Service:
        address, port = self._wanted[:2]
        if port == 443 and first == HANDSHAKE:
            self._tls = Tls(self._authority, address)
        self._service = Http(self) if port == 80 or self._tls else Echo(self)
        return self._service

    def _through(self, tls: Tls, data: bytes) -> bytes:
        """What is in `data`, decrypted. The journal shows the handshake itself until TLS stands."""
        handshaking = not tls.established
        if handshaking:
            self._journal.add(self._record, data)
        plain = tls.decrypt(data)
        self._transport.write(tls.outgoing())
        if handshaking:
            self._journal.name(self._record, tls.sni)
            if tls.established:
                self._journal.decrypted(self._record)
        if tls.over:
            self._transport.close()
        return plain

    # -- Peer ----------------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        self._transport.write(self._tls.encrypt(data) if self._tls else data)

    def close(self) -> None:
        if self._tls:
            self._transport.write(self._tls.end())
        self._transport.close()

    def named(self, name: str) -> None:
        self._journal.name(self._record, name)

    # -- flow control: who does not read is not read from -------------------------------------------------------------

    def pause_writing(self) -> None:
        self.full = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self.full = False
        self._transport.resume_reading()
        if self._service is not None:
            self._service.writable()
