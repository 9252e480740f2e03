"""Plays one phone's part of a scenario with ordinary client libraries.

Run by lab.py inside the phone's namespace as `python -m firewall.lab.player FILE PHONE [SECONDS]`. One JSON line per
attempt on standard output: `scenario step phone kind upload token ok error status ms`; `token` is "" where nothing was
uploaded.
"""

from __future__ import annotations

import http.client
import itertools
import json
import math
import secrets
import socket
import ssl
import string
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

from dnslib import QTYPE, RCODE, DNSError, DNSQuestion, DNSRecord

from firewall.lab.scenario import TOKEN, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from firewall.lab.scenario import Attempt, Group, Scenario, Step

TIMEOUT: Final = 3.0  # seconds, for each wait of an attempt
LETTERS: Final = string.ascii_letters + string.digits  # a token must not look encoded anywhere
RESOLV_CONF: Final = Path("/etc/resolv.conf")


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one attempt. `ok`: the far end answered as it should."""

    scenario: str
    step: str
    phone: str
    kind: str
    upload: bool
    token: str
    ok: bool
    error: str
    status: int  # of HTTP, or the DNS RCODE; 0 where there is none
    ms: float


class UnexpectedAnswerError(Exception):
    """An answer came, but not the one that was due."""


def play(scenario: Scenario, phone: str, report: Callable[[Result], None], seconds: float = math.inf) -> None:
    """Every group in turn, again and again for `seconds` if it is endless. Results are in the order of the attempts."""
    until = time.monotonic() + seconds if scenario.endless else math.inf
    for _ in itertools.count() if scenario.endless else range(1):
        for group in scenario.groups:
            if time.monotonic() >= until:
                return
            _play_group(scenario, group, phone, report)


def _play_group(scenario: Scenario, group: Group, phone: str, report: Callable[[Result], None]) -> None:
    attempts = [attempt for step in group.steps if phone in step.phones for attempt in step.attempts()]
    with ThreadPoolExecutor(group.together) as pool:
        for result in pool.map(partial(_try, scenario.name, phone), attempts):
            report(result)
    if attempts:
        time.sleep(group.pause)


def _try(scenario: str, phone: str, attempt: Attempt) -> Result:
    step = attempt.step
    token = "".join(secrets.choice(LETTERS) for _ in range(16)) if step.upload else ""
    began, status, error = time.monotonic(), 0, ""
    try:
        status = _KINDS[step.kind](attempt, partial(_fill, token, attempt.n))
    except (OSError, http.client.HTTPException, UnexpectedAnswerError, DNSError) as problem:
        error = f"{type(problem).__name__}: {problem}".rstrip(": ")
    ms = round((time.monotonic() - began) * 1000, 1)
    return Result(scenario, step.name, phone, step.kind, step.upload, token, not error, error, status, ms)


def _fill(token: str, n: int, text: str) -> str:
    return text.replace(TOKEN, token).replace("{n}", str(n))


# -- kinds: each returns a status, and raises if the far end did not answer as it should -------------------------------


def _http(attempt: Attempt, fill: Callable[[str], str]) -> int:
    step = attempt.step
    url = urlsplit(fill(attempt.to))
    assert url.hostname is not None
    secure = url.scheme == "https"
    with closing(http.client.HTTPConnection(url.hostname, url.port or (443 if secure else 80))) as connection:
        connection.sock = _connect(connection.host, connection.port, attempt.ip, socket.SOCK_STREAM)
        if secure:
            tls = ssl.create_default_context()  # trusts SSL_CERT_FILE
            connection.sock = tls.wrap_socket(connection.sock, server_hostname=url.hostname)
        headers = {name: fill(value) for name, value in step.headers.items()}
        body = fill(step.body).encode()
        if step.beats == 1:
            connection.request(step.method, _target(url), body or None, headers)
        else:
            headers["Transfer-Encoding"] = "chunked"  # RFC 9112, 7.1
            connection.request(step.method, _target(url), _beats(step, body), headers, encode_chunked=True)
        response = connection.getresponse()
        response.read()
    if response.status >= 300:
        raise UnexpectedAnswerError(f"HTTP status {response.status}")
    return response.status


def _beats(step: Step, data: bytes) -> Iterator[bytes]:
    for beat in range(step.beats):
        if beat:
            time.sleep(step.every)
        yield data


def _target(url: SplitResult) -> str:
    return (url.path or "/") + (f"?{url.query}" if url.query else "")


def _tcp(attempt: Attempt, fill: Callable[[str], str]) -> int:
    data = fill(attempt.step.body).encode()
    with _connect(*_place(fill(attempt.to)), attempt.ip, socket.SOCK_STREAM) as s:
        for piece in _beats(attempt.step, data):
            s.sendall(piece)
            _expect(data, _read(s, len(data)))
    return 0


def _udp(attempt: Attempt, fill: Callable[[str], str]) -> int:
    data = fill(attempt.step.body).encode()
    with _connect(*_place(fill(attempt.to)), attempt.ip, socket.SOCK_DGRAM) as s:
        s.send(data)
        _expect(data, s.recv(65_536))
    return 0


def _dns(attempt: Attempt, fill: Callable[[str], str]) -> int:
    query = DNSRecord(q=DNSQuestion(fill(attempt.to), QTYPE.A if attempt.ip == 4 else QTYPE.AAAA))
    query.header.id = secrets.randbelow(65_536)
    wire = bytes(query.pack())
    over_tcp = attempt.step.over == "tcp"
    kind = socket.SOCK_STREAM if over_tcp else socket.SOCK_DGRAM
    with _connect(_resolver(attempt.ip), 53, attempt.ip, kind) as s:
        if over_tcp:
            s.sendall(len(wire).to_bytes(2) + wire)
            answer = DNSRecord.parse(_read(s, int.from_bytes(_read(s, 2))))
        else:
            s.send(wire)
            answer = DNSRecord.parse(s.recv(65_536))
    if answer.header.id != query.header.id or answer.q != query.q:
        raise UnexpectedAnswerError("an answer to another question")
    if answer.header.rcode != RCODE.NOERROR:
        raise UnexpectedAnswerError(RCODE.get(answer.header.rcode))
    if not answer.rr:
        raise UnexpectedAnswerError("an empty answer")
    return 0


_KINDS: Final = {"http": _http, "tcp": _tcp, "udp": _udp, "dns": _dns}


def _connect(host: str, port: int, version: int, kind: socket.SocketKind) -> socket.socket:
    """By the IP version that is wanted if `host` is a name, by its own if it is an address."""
    family = socket.AF_INET6 if ":" in host or (version == 6 and not _is_ipv4(host)) else socket.AF_INET
    address = socket.getaddrinfo(host, port, family, kind)[0][4]
    s = socket.socket(family, kind)
    s.settimeout(TIMEOUT)
    try:
        s.connect(address)
    except BaseException:
        s.close()
        raise
    return s


def _is_ipv4(host: str) -> bool:
    try:
        socket.inet_aton(host)
    except OSError:
        return False
    return True


def _place(text: str) -> tuple[str, int]:
    place = urlsplit(f"//{text}")
    assert place.hostname is not None
    assert place.port is not None
    return place.hostname, place.port


def _read(s: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        if not (piece := s.recv(size - len(data))):
            raise UnexpectedAnswerError("closed by the far end")
        data += piece
    return data


def _expect(sent: bytes, received: bytes) -> None:
    if sent != received:
        raise UnexpectedAnswerError("another echo than what was sent")


def _resolver(version: int) -> str:
    """The phone's first resolver of that IP version (resolv.conf(5))."""
    words = (line.split() for line in RESOLV_CONF.read_text().splitlines())
    addresses = [word[1] for word in words if len(word) > 1 and word[0] == "nameserver"]
    return next((address for address in addresses if (":" in address) is (version == 6)), addresses[0])


if __name__ == "__main__":
    play(
        load(Path(sys.argv[1])), sys.argv[2],
        lambda result: print(json.dumps(asdict(result)), flush=True),  # noqa: T201
        *map(float, sys.argv[3:4]),
    )
