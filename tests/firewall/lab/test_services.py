"""What answers connections: HTTP in any pieces, TLS in memory, echo; and nothing that is sent upsets it."""

from __future__ import annotations

import asyncio
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.lab.certificates import Authority
from firewall.lab.services import Connection, Http
from firewall.lab.sinks import Journal


class Client:
    """A peer that writes down what a service does; `full` after every write if it is a slow one."""

    def __init__(self, *, slow: bool = False) -> None:
        self.got = bytearray()
        self.names: list[str] = []
        self.closed = False
        self.full = False
        self._slow = slow

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.got += data
        self.full = self._slow

    def close(self) -> None:
        self.closed = True

    def named(self, name: str) -> None:
        self.names.append(name)


def talk(*pieces: bytes) -> Client:
    client = Client()
    http = Http(client)
    for piece in pieces:
        if not client.closed:
            http.received(piece)
    return client


def ok(line: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(line) + 2, line + b"\r\n")


GET = b"GET /a HTTP/1.1\r\nHost: One.example\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nHost: two.example\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"PUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: 1\r\n\r\n"
LAST = b"GET /d HTTP/1.1\r\nhOST: three.example \r\nConnection: close\r\n\r\n"
ANSWERS = ok(b"GET /a HTTP/1.1") + ok(b"POST /b HTTP/1.1") + ok(b"PUT /c HTTP/1.1")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 10_000])
def test_requests_are_answered_however_they_are_cut(size: int) -> None:
    wire = GET + POST + CHUNKED + LAST
    client = talk(*(wire[at : at + size] for at in range(0, len(wire), size)))
    assert bytes(client.got).startswith(ANSWERS + b"HTTP/1.1 200 OK\r\n")
    assert bytes(client.got).endswith(b"Connection: close\r\n\r\nGET /d HTTP/1.1\r\n")
    assert client.names == ["one.example", "two.example", "three.example"]
    assert client.closed


def test_no_answer_before_the_body_is_whole() -> None:
    assert talk(POST[:-1]).got == b""
    assert talk(POST[:-1], POST[-1:]).got == ok(b"POST /b HTTP/1.1")


def test_a_client_that_waits_for_leave_gets_it() -> None:
    client = talk(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert client.got == b"HTTP/1.1 100 Continue\r\n\r\n"


def test_http_1_0_and_head() -> None:
    assert talk(b"GET / HTTP/1.0\r\n\r\n").closed
    assert talk(b"HEAD /bytes/9 HTTP/1.1\r\n\r\n").got.endswith(b"Content-Length: 9\r\n\r\n")


def test_a_download_waits_for_a_slow_client() -> None:
    client = Client(slow=True)
    http = Http(client)
    http.received(b"GET /bytes/200000 HTTP/1.1\r\n\r\n" + GET)
    turns = 0
    while not client.got.endswith(b"GET /a HTTP/1.1\r\n"):
        before = len(client.got)
        http.writable()  # still full: nothing more
        assert len(client.got) == before
        client.full = False
        http.writable()
        turns += 1
        assert turns < 10
    head, body = bytes(client.got).split(b"\r\n\r\n", 1)
    assert head.endswith(b"Content-Length: 200000")
    assert body == bytes(200_000) + ok(b"GET /a HTTP/1.1")


@pytest.mark.parametrize("raw", [b"\0\1\2", b"a token", b"GET / FTP/9\r\n\r\n", b"<stream:stream>", b"lower / HTTP/1.1\r\n\r\n"])
def test_what_is_not_http_is_echoed(raw: bytes) -> None:
    client = talk(raw, b"and more")
    assert client.got == raw + b"and more"
    assert not client.closed


@given(pieces=st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([GET, POST, CHUNKED, LAST, b"\r\n", b"0\r\n\r\n", b"Content-Length: -3\r\n", b"GET /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nzz\r\n"])), max_size=8))
def test_nothing_upsets_http(pieces: list[bytes]) -> None:
    talk(*pieces)


# -- whole connections, over a transport that is a pair of lists -------------------------------------------------------


class Transport(asyncio.Transport):
    def __init__(self, port: int) -> None:
        super().__init__({"sockname": ("42.62.48.181", port), "peername": ("203.0.113.1", 5555)})
        self.sent = bytearray()
        self.closed = False

    def write(self, data) -> None:
        self.sent += data

    def close(self) -> None:
        self.closed = True

    def take(self) -> bytes:
        sent, self.sent = bytes(self.sent), bytearray()
        return sent


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def connect(authority: Authority, port: int) -> tuple[Connection, Transport, Journal]:
    journal, transport = Journal(), Transport(port)
    connection = Connection(journal, authority)
    connection.connection_made(transport)
    return connection, transport, journal


class TlsClient:
    """An ordinary client that trusts the authority, with its bytes carried by hand."""

    def __init__(self, authority: Authority, name: str) -> None:
        context = ssl.create_default_context(cafile=str(authority.file))
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)

    def run(self, step, connection: Connection, transport: Transport):
        for _ in range(20):
            try:
                result = step()
            except ssl.SSLWantReadError:
                result = None
            if data := self.outgoing.read():
                connection.data_received(data)
            if result is not None:
                return result
            self.incoming.write(transport.take())
        raise AssertionError("no end in sight")

    def handshake(self, connection: Connection, transport: Transport) -> None:
        self.run(lambda: self.session.do_handshake() or True, connection, transport)


@pytest.mark.parametrize("name", ["api.account.xiaomi.com", "x" * 60 + ".example.org", "42.62.48.181"])
def test_tls_is_ended_for_any_name_and_its_content_is_recorded(authority: Authority, name: str) -> None:
    connection, transport, journal = connect(authority, 443)
    client = TlsClient(authority, name)
    client.handshake(connection, transport)
    (record,) = journal
    assert (record.received, record.payload) == (0, b"")
    assert record.name == ("" if name[0] == "4" else name)
    client.run(lambda: client.session.write(GET), connection, transport)
    assert (record.received, bytes(record.payload)) == (len(GET), GET)
    assert client.run(lambda: client.session.read(4096), connection, transport).startswith(b"HTTP/1.1 200 OK")
    connection.connection_lost(None)
    assert not record.open


def test_a_client_that_trusts_nobody_leaves_its_hello_behind(authority: Authority, tmp_path) -> None:
    connection, transport, journal = connect(authority, 443)
    client = TlsClient(Authority(tmp_path), "secret.example.org")
    with pytest.raises(ssl.SSLCertVerificationError):
        client.handshake(connection, transport)
    (record,) = journal
    assert record.name == "secret.example.org"
    assert b"secret.example.org" in record.payload
    connection.data_received(client.outgoing.read())  # its alert
    assert transport.closed


def test_a_hello_that_is_none_is_recorded_and_ended(authority: Authority) -> None:
    connection, transport, journal = connect(authority, 443)
    connection.data_received(b"\x16token-in-no-hello")
    (record,) = journal
    assert record.payload == b"\x16token-in-no-hello"
    assert transport.closed


def test_443_without_tls_and_any_other_port(authority: Authority) -> None:
    for port, said in ((443, b"GET / HTTP/1.1\r\n\r\n"), (8443, b"\x16\x03\x01"), (1, b"x")):
        connection, transport, journal = connect(authority, port)
        connection.data_received(said)
        assert transport.take() == said
        assert [bytes(record.payload) for record in journal] == [said]
