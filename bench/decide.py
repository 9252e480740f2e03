"""Promise: what Python does once per flow costs microseconds. No network: rules.decide and the dissectors alone."""

from __future__ import annotations

import itertools
import struct
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from firewall.dissect.http import Requests
from firewall.dissect.tls import Hello, client_hello
from rules import store
from rules.decide import decide
from rules.observation import Name, Observation, Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from rules.policy import Policy

RULES = 200
CALLS = 5_000
CEILINGS = {"decide, new": 15.0, "client_hello": 10.0}  # microseconds
REQUEST = b"GET /index.html HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: phone/1.0\r\nAccept: */*\r\n\r\n"


class Cost(TypedDict):
    """Microseconds a call: the best round, since other work on the machine can only add; and the rounds' range."""

    microseconds: float
    range: tuple[float, float]


def measure(rounds: int) -> dict[str, Cost]:
    policy = policy_of(RULES)
    numbers = itertools.count()

    def new() -> None:
        decide(policy, observation(next(numbers)))

    known = observation(next(numbers))
    made = cost(lambda: observation(next(numbers)), rounds)
    hello = hello_of("www.example.com")
    assert isinstance(client_hello(hello), Hello)
    assert Requests().feed(REQUEST)
    costs = {
        "decide, new": cost(new, rounds, without=made["microseconds"]),
        "decide, known": cost(lambda: decide(policy, known), rounds),
        "client_hello": cost(lambda: client_hello(hello), rounds),
        "http request": cost(lambda: Requests().feed(REQUEST), rounds),
    }
    assert decide(policy, known).rule == "default"
    return costs


def cost(call: Callable[[], object], rounds: int, without: float = 0.0) -> Cost:
    """`without` is what preparing the call takes."""
    single = []
    for _ in range(rounds):
        began = time.perf_counter_ns()
        for _ in range(CALLS):
            call()
        single.append(round((time.perf_counter_ns() - began) / CALLS / 1000 - without, 2))
    return Cost(microseconds=min(single), range=(min(single), max(single)))


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
