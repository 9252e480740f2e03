"""QUIC on the lab's internet, by aioquic: on port 443, and on 4433 with a Retry first. What it decrypts is journalled.

HTTP/3 is answered with 200 and the request's own line; any other protocol's streams are echoed. aioquic belongs to the
tests: a lab without it echoes such datagrams as any others.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer
from aioquic.h3 import events as h3
from aioquic.h3.connection import H3Connection
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.tls import SessionTicket, pull_client_hello

if TYPE_CHECKING:
    from collections.abc import Callable

    from aioquic._buffer import Buffer
    from aioquic.quic.connection import QuicConnection

    from firewall.lab.certificates import Authority
    from firewall.lab.sinks import Journal, Record

    Address = tuple[str, int]
    Send = Callable[[bytes, Address], None]

WITH_RETRY: Final = 4433
ALPN: Final = ["h3", "hq-interop"]
LONG_HEADER: Final = 0x80
ID_LENGTH: Final = 8
TICKETS: Final[dict[bytes, SessionTicket]] = {}  # with one, data comes in the first flight; good at every address


class Quic(QuicServer):
    """All connections to one address and port."""

    def __init__(self, journal: Journal, authority: Authority, wanted: Address, send: Send) -> None:
        self._journal, self._authority, self._wanted = journal, authority, wanted
        configuration = QuicConfiguration(is_client=False, alpn_protocols=ALPN, connection_id_length=ID_LENGTH)
        configuration.certificate, configuration.private_key = authority.identity(wanted[0])
        super().__init__(
            configuration=configuration, create_protocol=self._connection, retry=wanted[1] == WITH_RETRY,
            session_ticket_handler=lambda ticket: TICKETS.__setitem__(ticket.ticket, ticket),
            session_ticket_fetcher=TICKETS.get,
        )
        self.connection_made(Back(send))

    def knows(self, datagram: bytes) -> bool:
        """Whether it is QUIC: it begins a connection, or belongs to one, from whatever address it comes."""
        return datagram[:1] >= bytes((LONG_HEADER,)) or datagram[1 : 1 + ID_LENGTH] in self._protocols

    def _connection(self, quic: QuicConnection, **_: object) -> Sink:
        return Sink(quic, self._journal, self._authority, self._wanted)


class Back(asyncio.DatagramTransport):
    """The way back, as aioquic wants it."""

    def __init__(self, send: Send) -> None:
        super().__init__()
        self.sendto = send  # type: ignore[assignment]

    def close(self) -> None:
        pass


class Sink(QuicConnectionProtocol):
    """One connection: a record of its own once a handshake is complete, beside that of the datagrams."""

    def __init__(self, quic: QuicConnection, journal: Journal, authority: Authority, wanted: Address) -> None:
        super().__init__(quic)
        self._journal, self._authority, self._wanted = journal, authority, wanted
        self._record: Record | None = None
        self._name = ""
        self._source: Address = ("", 0)
        self._http: H3Connection | None = None
        self._requests: dict[int, bytes] = {}  # stream -> what is answered to it
        begin = quic._initialize  # noqa: SLF001  aioquic tells no server which name its client asked for

        def look(peer_cid: bytes) -> None:
            begin(peer_cid)
            handle = quic.tls._server_handle_hello  # noqa: SLF001

            def hello(input_buf: Buffer, initial_buf: Buffer, handshake_buf: Buffer) -> None:
                at = input_buf.tell()
                self._named(pull_client_hello(input_buf).server_name)
                input_buf.seek(at)
                handle(input_buf, initial_buf, handshake_buf)

            quic.tls._server_handle_hello = hello  # type: ignore[method-assign]  # noqa: SLF001

        quic._initialize = look  # type: ignore[method-assign]  # noqa: SLF001

    def _named(self, name: str | None) -> None:
        if name:
            self._name = name
            self._quic.tls.certificate, self._quic.tls.certificate_private_key = self._authority.identity(name)

    def datagram_received(self, data: bytes | str, addr: Any) -> None:  # noqa: ANN401  as aioquic has it
        self._source = addr[:2]
        super().datagram_received(data, addr)

    def quic_event_received(self, event: events.QuicEvent) -> None:
        if isinstance(event, events.HandshakeCompleted):
            if event.alpn_protocol == "h3":
                self._http = H3Connection(self._quic)
            self._open()
        elif isinstance(event, events.ConnectionTerminated):
            if self._record is not None:
                self._journal.close(self._record)
        elif self._http is not None:
            for heard in self._http.handle_event(event):
                self._request(self._http, heard)
        elif isinstance(event, events.StreamDataReceived):
            self._journal.add(self._open(), event.data)
            self._quic.send_stream_data(event.stream_id, event.data, event.end_stream)

    def _open(self) -> Record:
        """With data of a 0-RTT packet before its handshake is complete."""
        if self._record is None:
            self._record = self._journal.open("quic", self._source, self._wanted)
            self._journal.name(self._record, self._name)
        return self._record

    def _request(self, http: H3Connection, event: h3.H3Event) -> None:
        record = self._open()
        if isinstance(event, h3.HeadersReceived):
            fields = dict(event.headers)
            line = b"%s %s HTTP/3\r\n" % (fields.get(b":method", b""), fields.get(b":path", b""))
            self._requests.setdefault(event.stream_id, line)
            self._journal.add(record, line + b"".join(b"%s: %s\r\n" % field for field in event.headers))
            self._journal.name(record, fields.get(b":authority", b"").decode("latin-1").lower() or self._name)
        elif isinstance(event, h3.DataReceived):
            self._journal.add(record, event.data)
        if isinstance(event, (h3.HeadersReceived, h3.DataReceived)) and event.stream_ended:
            line = self._requests.pop(event.stream_id, b"")
            size = b"%d" % len(line)
            http.send_headers(event.stream_id, [(b":status", b"200"), (b"content-length", size)])
            http.send_data(event.stream_id, line, end_stream=True)
