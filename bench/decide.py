"""Promise: what Python does once per flow costs microseconds. No network: rules.decide and the dissectors alone.

A yardstick is timed in turn with them: a hundred additions in a Python loop, so that a slow machine shows as one.
"""

from __future__ import annotations

import itertools
import struct
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pairs import Figure, figure, ratio, take_turns, yardstick
from quicwriter import crypto, initial

from firewall.dissect.http import Requests
from firewall.dissect.quic import Initials
from firewall.dissect.tls import Hello, client_hello
from rules import store
from rules.decide import decide
from rules.observation import Name, Observation, Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from rules.policy import Policy

RULES = 200
CALLS = 5_000
INITIALS = 500  # packets in turn, each with keys of its own
NEEDS: dict[str, str] = {}
REQUEST = b"GET /index.html HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: phone/1.0\r\nAccept: */*\r\n\r\n"


def measure(pairs: int, _: int) -> dict[str, Figure]:
    policy = policy_of(RULES)
    numbers = itertools.count()
    known = observation(next(numbers))
    hello = hello_of("www.example.com")
    assert isinstance(client_hello(hello), Hello)
    assert Requests().feed(REQUEST)
    message = hello[5:]
    initials = itertools.cycle([initial(crypto(0, message), dcid=struct.pack("!Q", n)) for n in range(INITIALS)])
    assert Initials().feed(next(initials)) == (message,)
    assert decide(policy, known).rule == "default"

    def decide_new() -> float:
        """Without what making the observation takes."""
        made = cost(lambda: observation(next(numbers)))
        return cost(lambda: decide(policy, observation(next(numbers)))) - made

    runs = take_turns({
        "yardstick": lambda: cost(yardstick),
        "new": decide_new,
        "known": lambda: cost(lambda: decide(policy, known)),
        "hello": lambda: cost(lambda: client_hello(hello)),
        "request": lambda: cost(lambda: Requests().feed(REQUEST)),
        "initial": lambda: cost(lambda: Initials().feed(next(initials))),
    }, max(pairs, 7))
    figures = {name: figure(runs[name], "us", {name: runs[name]}) for name in runs}
    return figures | {f"{name}, yardsticks": ratio(runs, name, "yardstick", "yardsticks") for name in ("new", "hello")}


def cost(call: Callable[[], object]) -> float:
    """Microseconds of processor time a call."""
    began = time.thread_time_ns()
    for _ in range(CALLS):
        call()
    return (time.thread_time_ns() - began) / CALLS / 1_000


def policy_of(rules: int) -> Policy:
    """What people write, in turn; none of it matches, so that nothing ends the scan early. The packs come after."""
    kinds = (
        "name:tracker{n}.example", "addr:203.0.{n}.0/24", "name:ads{n}.example proto:tcp port:443",
        "phone:phone1 name:video{n}.example",
    )
    matches = [kinds[n % len(kinds)].format(n=n) for n in range(rules)]
    text = "".join(f'[[rule]]\naction = "block"\nmatch = "{match}"\n' for match in matches)
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(text)
        file.flush()
        return store.load(Path(file.name), revision=1)


def observation(number: int) -> Observation:
    """A flow whose hello named a host; no two are equal."""
    name = f"www{number}.example.com"
    addr = struct.pack("!I", 0x08000000 + number)
    return Observation("phone1", "tcp", addr, 443, answered=((name,),), said=(Name(name, Source.SNI),))


def hello_of(host: str) -> bytes:
    """A ClientHello of 517 bytes, as browsers pad it (RFC 7685)."""
    name = host.encode()
    extensions = struct.pack("!HHHBH", 0, len(name) + 5, len(name) + 3, 0, len(name)) + name
    body = b"\x03\x03" + bytes(32) + b"\x00" + struct.pack("!H", 34) + bytes(34) + b"\x01\x00"
    padding = 512 - 4 - len(body) - 2 - len(extensions) - 4
    extensions += struct.pack("!HH", 21, padding) + bytes(padding)
    body += struct.pack("!H", len(extensions)) + extensions
    return b"\x16\x03\x01" + struct.pack("!H", len(body) + 4) + b"\x01" + len(body).to_bytes(3, "big") + body
