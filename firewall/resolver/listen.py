"""The sockets that phones ask at: UDP and TCP, IPv4 and IPv6, heard on one device only."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import Counter
from contextlib import suppress
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from firewall.backends import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BATCH = 64  # messages of one socket in one turn, so that none keeps the others waiting
LARGEST_QUERY = 4_096  # bytes; a name and its EDNS options need 600
IDLE_SECONDS = 5.0  # a TCP connection that has not finished a question for so long is closed
MOST_CONNECTIONS, MOST_OF_A_PHONE = 128, 16
LARGEST_BACKLOG = 262_144  # bytes a phone may leave unread before its connection is closed
SMALLEST_QUERY = 12
# Bytes that wait. An answer to a sender who was invented waits seconds for a neighbour who never replies, and a few
# hundred of them fill what a socket has by default: then nobody is answered.
SENDING, RECEIVING = 4 << 20, 1 << 20

_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33  # asm-generic/socket.h
IP_PKTINFO = 8  # linux/in.h; the socket module has no name for it before 3.13
_PKTINFO4 = Struct("=i4s4s")  # interface, local address, address in the header (ip(7))
_ANCILLARY = 128


class Received(NamedTuple):
    """One message, and how to answer it."""

    data: bytes
    src: bytes  # packed
    over_udp: bool
    reply: Callable[[bytes], None]



class Listeners:
    """All four sockets. `phone_of` says which addresses are one phone's."""

    def __init__(self, device: str, port: int, phone_of: Callable[[bytes], bytes]) -> None:
        self._device = device
        self._port = port
        self._phone_of = phone_of
        self._index = 0
        self._udp: list[socket.socket] = []
        self._tcp: list[asyncio.Server] = []
        self._connections: set[_Connection] = set()
        self._of_phone: Counter[bytes] = Counter()

    async def open(self, receive: Callable[[Sequence[Received]], None]) -> None:
        """Begin to listen. Raises BackendError if the device or the port cannot be had."""
        loop = asyncio.get_running_loop()
        self._index = _index(self._device)
        try:
            for family in (socket.AF_INET, socket.AF_INET6):
                udp = self._socket(family, socket.SOCK_DGRAM)
                self._udp.append(udp)
                loop.add_reader(udp, _read_udp, udp, receive)
                tcp = self._socket(family, socket.SOCK_STREAM)
                self._tcp.append(await loop.create_server(lambda: _Connection(self, receive), sock=tcp))
        except OSError as error:
            self.close()
            where = f"{self._device}, port {self._port}"
            raise BackendError(f"DNS cannot be answered on {where}: {error.strerror}") from error

    def heard(self) -> bool:
        """Whether these sockets hear the device: they are bound to its number, and one made anew has another."""
        now = _index(self._device)
        return bool(self._udp) and (now in {0, self._index})

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        for udp in self._udp:
            loop.remove_reader(udp)
            udp.close()
        for server in self._tcp:
            server.close()
        for connection in list(self._connections):
            connection.abort()
        self._udp.clear()
        self._tcp.clear()

    def _socket(self, family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
        sock = socket.socket(family, kind)
        try:
            sock.setblocking(False)
            # Also for TCP: a listener that is not bound to the device answers the world outside.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self._device.encode())
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if kind == socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            elif family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            else:
                sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            if kind == socket.SOCK_DGRAM:
                with suppress(PermissionError):
                    sock.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, SENDING)
                    sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVING)
            sock.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", self._port))  # noqa: S104 - of one device
        except OSError:
            sock.close()
            raise
        return sock

    # -- TCP connections tell when they come and go ------------------------------------------------------------------

    def admit(self, connection: _Connection, src: bytes) -> bool:
        phone = self._phone_of(src)
        if len(self._connections) >= MOST_CONNECTIONS or self._of_phone[phone] >= MOST_OF_A_PHONE:
            return False
        self._connections.add(connection)
        self._of_phone[phone] += 1
        connection.phone = phone
        return True

    def leave(self, connection: _Connection) -> None:
        if connection in self._connections:
            self._connections.discard(connection)
            self._of_phone[connection.phone] -= 1
            if not self._of_phone[connection.phone]:
                del self._of_phone[connection.phone]


def _index(device: str) -> int:
    """Its number; 0 while there is none."""
    try:
        return socket.if_nametoindex(device)
    except OSError:
        return 0


def packed(address: str) -> bytes:
    """A socket address's first part as bytes; a zone after % is left out."""
    address = address.partition("%")[0]
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


# -- UDP -------------------------------------------------------------------------------------------------------------


def _read_udp(sock: socket.socket, receive: Callable[[Sequence[Received]], None]) -> None:
    batch = []
    for _ in range(BATCH):
        try:
            data, ancillary, flags, peer = sock.recvmsg(LARGEST_QUERY, _ANCILLARY)
        except OSError as error:  # nothing left, or the ICMP error of an answer that nobody took
            if error.errno in (errno.EAGAIN, errno.EINTR):
                break
            continue
        if len(data) >= SMALLEST_QUERY and not flags & socket.MSG_TRUNC:
            batch.append(Received(data, packed(peer[0]), True, _Return(sock, ancillary, peer)))
    if batch:
        receive(batch)


class _Return:
    """The way back of one datagram: from the address it came to, so that the kernel undoes its redirection."""

    __slots__ = ("_ancillary", "_peer", "_sock")

    def __init__(self, sock: socket.socket, ancillary: list[tuple[int, int, bytes]], peer: tuple[Any, ...]) -> None:
        self._sock = sock
        self._ancillary = ancillary
        self._peer = peer

    def __call__(self, message: bytes) -> None:
        try:
            self._sock.sendmsg([message], [_source(*item) for item in self._ancillary], 0, self._peer)
        except OSError:
            return  # the phone is gone, its socket buffer full or ours closed: it will ask again


def _source(level: int, kind: int, data: bytes) -> tuple[int, int, bytes]:
    """What recvmsg told about where a datagram came to, as what sendmsg needs to answer from there."""
    if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
        _, local, _ = _PKTINFO4.unpack(data)
        data = _PKTINFO4.pack(0, local, bytes(4))
    return level, kind, data


# -- TCP -------------------------------------------------------------------------------------------------------------


class _Connection(asyncio.Protocol):
    """Questions with their length in front, as many as the phone likes, answered in any order (RFC 7766)."""

    def __init__(self, listeners: Listeners, receive: Callable[[Sequence[Received]], None]) -> None:
        self._listeners = listeners
        self._receive = receive
        self._buffer = bytearray()
        self._src = b""
        self.phone = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._loop = asyncio.get_running_loop()
        self._idle = self._loop.call_later(IDLE_SECONDS, self.abort)
        peer = transport.get_extra_info("peername")
        if peer is None:  # gone before it was accepted
            self.abort()
            return
        self._src = packed(peer[0])
        if not self._listeners.admit(self, self._src):
            self.abort()
            return
        self._transport.set_write_buffer_limits(high=LARGEST_BACKLOG)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._read()

    def pause_writing(self) -> None:
        self.abort()

    def connection_lost(self, _: Exception | None) -> None:
        self._idle.cancel()
        self._listeners.leave(self)

    def abort(self) -> None:
        self._idle.cancel()
        self._transport.abort()

    def _read(self) -> None:
        batch: list[Received] = []
        buffer = self._buffer
        at = 0
        while len(batch) < BATCH and at + 2 <= len(buffer):
            size = buffer[at] << 8 | buffer[at + 1]
            if not SMALLEST_QUERY <= size <= LARGEST_QUERY:
                self.abort()
                return
            if at + 2 + size > len(buffer):
                break
            batch.append(Received(bytes(buffer[at + 2 : at + 2 + size]), self._src, False, self._reply))
            at += 2 + size
        del buffer[:at]
        if not batch:
            return
        self._idle.cancel()
        self._idle = self._loop.call_later(IDLE_SECONDS, self.abort)
        if len(batch) == BATCH:  # the rest after everybody else
            self._transport.pause_reading()
            self._loop.call_soon(self._go_on)
        self._receive(batch)

    def _go_on(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()
            self._read()

    def _reply(self, message: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(len(message).to_bytes(2) + message)
