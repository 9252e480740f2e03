"""Promise: what a phone says first is hardly held up. The kernel's timestamps of one packet at both ends.

`through the gate` is how long the first payload packet takes from the phone's interface to the server's, reading,
deciding and all; what plain NAT takes for the same is measured beside it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import statistics
import struct
import threading
import time
from typing import TYPE_CHECKING, Final

from pairs import Figure, figure, take_turns
from topology import INTERNET, PHONE, SERVERS, gate, plain_nat, topology

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

NEEDS: dict[str, str] = {}
FLOWS: Final = 400  # a run
PAUSE: Final = 0.002  # seconds between flows: a phone, not a flood
PORT: Final = 80
SO_TIMESTAMPNS: Final = 35
ETH_P_ALL: Final = 3
CLONE_NEWNET: Final = 0x40000000
_TIME = struct.Struct("=qq")


def measure(pairs: int, _: int) -> dict[str, Figure]:
    tails: dict[str, list[float]] = {"gate": [], "plain NAT": []}

    def through(name: str, way: Callable[[], AbstractContextManager[int]]) -> float:
        with topology(offloads=True), way():
            delays = sorted(first_payloads(FLOWS))
        tails[name].append(delays[int(len(delays) * 0.99)])
        return statistics.median(delays)

    runs = take_turns({
        "gate": lambda: through("gate", gate), "plain NAT": lambda: through("plain NAT", plain_nat),
    }, pairs)
    return {
        "p50": figure(runs["gate"], "us", runs),
        "p99": figure(tails["gate"], "us", tails),
    }


def first_payloads(flows: int) -> list[float]:
    """Microseconds from end to end of each flow's first payload packet."""
    delays = []
    with contextlib.ExitStack() as stack:
        near = stack.enter_context(tap(PHONE))
        far = stack.enter_context(tap(INTERNET))
        server = stack.enter_context(inside_namespace(INTERNET, lambda: socket.create_server(("", PORT), backlog=64)))
        for number in range(flows + 20):
            request = f"GET /{number:06} HTTP/1.1\r\nHost: host{number % 100}.example.com\r\n\r\n".encode()
            with inside_namespace(PHONE, lambda: socket.create_connection((SERVERS[4], PORT), 5)) as client:
                accepted, _ = server.accept()
                with accepted:
                    client.sendall(request)
                    accepted.settimeout(5)
                    assert accepted.recv(4_096) == request
            if number >= 20:  # the first ones warm everything up
                delays.append((seen(far, request) - seen(near, request)) / 1_000)
            time.sleep(PAUSE)
    return delays


@contextlib.contextmanager
def tap(namespace: str) -> Iterator[socket.socket]:
    """Everything on the namespace's eth0, with the kernel's timestamps."""
    with inside_namespace(namespace, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)) as sock:
        sock.bind(("eth0", ETH_P_ALL))
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        sock.settimeout(5)
        yield sock


def seen(sock: socket.socket, payload: bytes) -> int:
    """When the packet with this payload passed, in nanoseconds."""
    while True:
        data, ancillary, _, _ = sock.recvmsg(65_536, 64)
        if data.endswith(payload):
            seconds, nanoseconds = _TIME.unpack(ancillary[0][2])
            return int(seconds * 1_000_000_000 + nanoseconds)


def inside_namespace(namespace: str, make: Callable[[], socket.socket]) -> socket.socket:
    """A socket made in a network namespace: it stays there, whoever uses it. In a thread, which alone goes there."""
    made: list[socket.socket | BaseException] = []

    def work() -> None:
        file = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(file, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            made.append(make())
        except BaseException as error:  # noqa: BLE001  it is raised where it was asked for
            made.append(error)
        finally:
            os.close(file)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if isinstance(made[0], BaseException):
        raise made[0]
    return made[0]
