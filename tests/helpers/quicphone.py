"""A phone that speaks QUIC: real handshakes by aioquic, also with a first flight of its own making, and raw datagrams.

Run inside a phone's namespace: `python quicphone.py FILE` with a JSON list of cases (see `main`); prints what became of each.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import sys
import time
from dataclasses import replace
from pathlib import Path

import quicwriter
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted, StreamDataReceived
from aioquic.tls import Epoch

MOST_AT_ONCE = 6  # the gate holds eight of a phone
PADDING = 21  # of a hello (RFC 7685)


class Hello(QuicConnection):
    """A connection whose hello is `pad` bytes longer, and whose first flight is `cut` into pieces and shuffled."""

    def __init__(self, pad: int, cut: int, **how) -> None:
        super().__init__(**how)
        self._pad, self._cut, self._flown = pad, cut, False

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        if self._pad:
            self.tls.handshake_extensions.append((PADDING, bytes(self._pad)))

    def datagrams_to_send(self, now: float):
        found = super().datagrams_to_send(now)
        if not found or self._flown or not self._cut:
            return found
        self._flown = True
        hello = bytes(self._crypto_streams[Epoch.INITIAL].sender._buffer)
        made = shuffled(hello, self._cut, self._peer_cid.cid, scid=self.host_cid, version=self._version)
        self._packet_number += len(made)
        return [(datagram, found[0][1]) for datagram in made]


def shuffled(hello: bytes, cut: int, dcid: bytes, **how) -> list[bytes]:
    """Initials with the pieces of a hello in no order, pings and padding between them."""
    pieces = [quicwriter.crypto(at, hello[at : at + cut]) for at in range(0, len(hello), cut)]
    random.shuffle(pieces)
    packets: list[bytes] = [b""]
    for piece in pieces:
        if len(packets[-1]) + len(piece) > 1_000:
            packets.append(b"")
        packets[-1] += b"\x01" * random.randrange(3) + bytes(random.randrange(3)) + piece
    if len(packets) == 1:  # over two of them at least
        half = len(pieces) // 2
        packets = [b"".join(pieces[:half]), b"".join(pieces[half:])]
    return [quicwriter.initial(frames, dcid=dcid, number=number, **how) for number, frames in enumerate(packets)]


class Phone(QuicConnectionProtocol):
    """Says its token once it may, and hopes for the echo."""

    def __init__(self, quic: QuicConnection) -> None:
        super().__init__(quic)
        self.over: asyncio.Future[str] = self._loop.create_future()
        self.ready = asyncio.Event()
        self.heard = 0
        self.http: H3Connection | None = None

    def end(self, why: str) -> None:
        if not self.over.done():
            self.over.set_result(why)
        self.ready.set()

    def error_received(self, exc: Exception) -> None:
        self.end(f"{type(exc).__name__} {getattr(exc, 'errno', '')}")

    def quic_event_received(self, event) -> None:
        if isinstance(event, HandshakeCompleted):
            self.ready.set()
        elif isinstance(event, StreamDataReceived) and self.http is not None:
            for found in self.http.handle_event(event):
                if isinstance(found, DataReceived) and found.stream_ended:
                    self.heard = len(found.data)
                    self.end("")
        elif isinstance(event, StreamDataReceived):
            self.heard += len(event.data)
            if event.end_stream:
                self.end("")
        elif isinstance(event, ConnectionTerminated):
            self.end(f"closed {event.error_code} {event.reason_phrase}")


async def connect(case: dict) -> tuple[Phone, asyncio.DatagramTransport]:
    """`version`, `versions`: the first, and all that are offered; `pad`, `cut`: see Hello; `sport`: own port, 0 for any.

    `ticket`: of an earlier connection: the token goes with the first flight (0-RTT), whatever name the ticket was for.
    """
    ticket = case.get("ticket")
    how = QuicConfiguration(
        is_client=True, alpn_protocols=["h3" if case.get("h3") else "hq-interop"], verify_mode=ssl.CERT_NONE, server_name=case["name"],
        supported_versions=case.get("versions", [1]), original_version=case.get("version"), max_datagram_size=1_200,
        session_ticket=replace(ticket, server_name=case["name"]) if ticket else None,
    )
    quic = Hello(case.get("pad", 0), case.get("cut", 0), configuration=how, session_ticket_handler=case.get("keep"))
    anywhere = "::" if ":" in case["addr"] else "0.0.0.0"
    transport, phone = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Phone(quic), local_addr=(anywhere, case.get("sport", 0)), remote_addr=(case["addr"], case["port"]),
    )
    if noise := case.get("noise"):
        transport.sendto(bytes.fromhex(noise))
        await asyncio.sleep(0.05)
    phone.connect(transport.get_extra_info("peername"), transmit=not ticket)
    if ticket:
        quic.send_stream_data(quic.get_next_available_stream_id(), case["token"].encode(), end_stream=True)
        phone.transmit()
    return phone, transport


async def talk_early(case: dict) -> dict:
    """`early`: another connection first, that brings a ticket."""
    tickets: list = []
    first = await talk({**case["early"], "case": "early", "keep": tickets.append})
    return first if first["error"] else await talk({**case, "ticket": tickets[-1]})


async def talk(case: dict) -> dict:
    """One connection that uploads `token`, `times` times over, or every `beat` seconds until it is cut or a file `until` is there.

    `then`: another case from the same port. `move`: to a new port first.
    """
    began = time.monotonic()
    phone, transport = await connect(case)
    seconds = case.get("seconds", 4.0)
    try:
        async with asyncio.timeout(seconds):
            await phone.ready.wait()
            if not phone.over.done():
                if case.get("move"):
                    await phone.ping()
                    transport = await moved(phone, case)
                data = case["token"].encode() * case.get("times", 1)
                if case.get("h3"):
                    phone.http = H3Connection(phone._quic)
                    fields = {":method": "POST", ":scheme": "https", ":authority": case["name"], ":path": f"/{case['token']}"}
                    stream = phone._quic.get_next_available_stream_id()
                    phone.http.send_headers(stream, [(key.encode(), value.encode()) for key, value in fields.items()])
                    phone.http.send_data(stream, data, end_stream=True)
                    phone.transmit()
                    data = b""
                stream = phone._quic.get_next_available_stream_id()
                while "beat" in case and not phone.over.done() and not Path(case.get("until", "/nowhere")).exists():
                    phone._quic.send_stream_data(stream, data)
                    phone.transmit()
                    await asyncio.sleep(case["beat"])
                if data and not case.get("ticket"):
                    phone._quic.send_stream_data(stream, data, end_stream=True)
                    phone.transmit()
            error = await asyncio.shield(phone.over)
    except TimeoutError:
        error = "timeout"
    ms = (time.monotonic() - began) * 1_000
    found = {"case": case["case"], "error": error, "heard": phone.heard, "ms": ms}
    if "then" in case:
        sport = transport.get_extra_info("sockname")[1]
        transport.abort()
        await asyncio.sleep(0.05)
        found["then"] = await talk({**case["then"], "sport": sport})
    if phone._timer is not None:
        phone._timer.cancel()
    transport.abort()
    return found


async def moved(phone: Phone, case: dict) -> asyncio.DatagramTransport:
    """The connection goes on from another port (RFC 9000, 9)."""
    anywhere = "::" if ":" in case["addr"] else "0.0.0.0"
    new, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Relay(phone), local_addr=(anywhere, 0), remote_addr=(case["addr"], case["port"]),
    )
    phone._transport.abort()
    phone._transport = new
    phone.change_connection_id()
    return new


class Relay(asyncio.DatagramProtocol):
    def __init__(self, phone: Phone) -> None:
        self._phone = phone

    def datagram_received(self, data, addr) -> None:
        self._phone.datagram_received(data, addr)

    def error_received(self, exc: Exception) -> None:
        self._phone.error_received(exc)


class Raw(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.error = ""

    def error_received(self, exc: Exception) -> None:
        self.error = f"{type(exc).__name__} {getattr(exc, 'errno', '')}"


async def throw(case: dict) -> dict:
    """Datagrams as they are, `pause` seconds apart, from one port."""
    transport, raw = await asyncio.get_running_loop().create_datagram_endpoint(Raw, remote_addr=(case["addr"], case["port"]))
    began = time.monotonic()
    for datagram in case["raw"]:
        transport.sendto(bytes.fromhex(datagram))
        await asyncio.sleep(case.get("pause", 0.01))
    until = began + case.get("seconds", 0.5)
    while not raw.error and time.monotonic() < until:
        await asyncio.sleep(0.005)
    transport.close()
    return {"case": case["case"], "error": raw.error, "ms": (time.monotonic() - began) * 1_000}


async def main(cases: list[dict]) -> list[dict]:
    room = asyncio.Semaphore(MOST_AT_ONCE)

    async def one(case: dict) -> dict:
        async with room:
            return await (throw if "raw" in case else talk_early if "early" in case else talk)(case)

    return list(await asyncio.gather(*map(one, cases)))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))))
