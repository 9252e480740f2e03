"""[pure] What the probe tries, over IPv4 and IPv6: every way around the gate that we know of.

What needs no answer goes to addresses that are nobody's (RFC 5737, RFC 3849): no server is bothered, and whatever is
seen on its way to one of them is the probe's. What needs a connection first goes to `far`, an ordinary web server, and
to public resolvers: it is the gate that is tested, and nothing but a handshake may reach them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from firewall.selftest import hellos, packets

if TYPE_CHECKING:
    from collections.abc import Iterator

Make = Callable[[bytes, bytes], tuple[bytes, ...]]  # from an address and a token
Way = Literal["frames", "datagram question", "question", "connection", "neighbour"]
NOBODY: Final[dict[int, IPv4Address | IPv6Address]] = {4: IPv4Address("192.0.2.0"), 6: IPv6Address("2001:db8:5e1f::")}
RESOLVER: Final = {4: ip_address("9.9.9.9"), 6: ip_address("2620:fe::9")}  # Quad9's, on every list of resolvers
REFUSED: Final = "api.account.xiaomi.com"  # a service that the packs ask about
RESOLVERS: Final = "cloudflare-dns.com"
SOME_PORT: Final = 9_999
TUNNELS: Final = (("IPIP", 4), ("6in4", 41), ("GRE", 47), ("ESP", 50), ("SCTP", 132))  # protocol numbers


class Here(NamedTuple):
    """Where the probe is, in one family. Addresses as bytes."""

    src: bytes
    peer: bytes  # another phone's
    far: bytes | None  # a web server on the internet; None: its name was not answered


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt. `packets` are for "frames" and "neighbour", `says` for the others."""

    name: str
    family: int
    title: str
    way: Way
    dst: bytes
    port: int
    token: bytes  # is in what must not leave
    packets: tuple[bytes, ...] = ()
    says: bytes = b""
    means: str = ""  # the name that it says, with its port; "" if it says none
    proto: str = "tcp"  # as rules call it

    @property
    def asked(self) -> str:
        """What the rules are asked about it: a name or an address, with its port."""
        if self.means or not self.port:
            return self.means or str(ip_address(self.dst))
        return f"[{ip_address(self.dst)}]:{self.port}"

    @property
    def shared(self) -> bool:
        """Whether others may talk to its address too: then only its token tells it."""
        return self.way == "connection"


def tries(family: int, here: Here, token: Callable[[], bytes]) -> Iterator[Try]:
    """All of one family. `token` gives another one each time."""
    yield from _names(family, token)
    yield from _connections(family, here, token)
    yield from _datagrams(family, here, token)
    yield from _others(family, here, token)


def nobody(family: int, number: int) -> bytes:
    """An address that is nobody's."""
    return (NOBODY[family] + number).packed


def _names(family: int, token: Callable[[], bytes]) -> Iterator[Try]:
    """Its number and its spelling tell such a question from the one that our resolver makes of it."""

    def query() -> bytes:
        word = token().decode()
        return hellos.question(f"{word}.eXaMpLe.CoM", hellos.A, int(word[:4], 16))

    asked, again = query(), query()
    yield Try("dns", family, "DNS elsewhere (UDP)", "datagram question", nobody(family, 53), 53, asked, says=asked)
    yield Try("dns-tcp", family, "DNS elsewhere (TCP)", "question", nobody(family, 54), 53, again, says=again)


def _connections(family: int, here: Here, token: Callable[[], bytes]) -> Iterator[Try]:
    """A handshake says nothing yet and may pass; what follows may not."""
    resolver, tls, plain = RESOLVER[family].packed, hellos.client_hello, hellos.http
    there = f"[{RESOLVER[family]}]" if family == 6 else str(RESOLVER[family])
    encrypted, name = "DNS over HTTPS, by", "dns.quad9.net"
    made: list[tuple[str, str, bytes | None, int, Callable[[bytes], bytes], str]] = [
        ("dot", "DNS over TLS", resolver, 853, lambda word: tls(name, word), f"{name}:853"),
        ("doh", f"{encrypted} name", here.far, 443, lambda word: tls(RESOLVERS, word), f"{RESOLVERS}:443"),
        ("doh-address", f"{encrypted} address", resolver, 443, lambda word: tls(None, word), f"{there}:443"),
        ("tls", "TLS with a refused name", here.far, 443, lambda word: tls(REFUSED, word), f"{REFUSED}:443"),
        ("http", "HTTP with a refused Host", here.far, 80, lambda word: plain(REFUSED, word), f"{REFUSED}:80"),
        ("bare", "bare address (TCP)", here.far, 80, lambda word: b"%b\r\n" % word, ""),
    ]
    for called, title, dst, port, says, means in made:
        word = token()
        if dst is not None:
            yield Try(called, family, title, "connection", dst, port, word, says=says(word), means=means)


def _datagrams(family: int, here: Here, token: Callable[[], bytes]) -> Iterator[Try]:
    src, numbers = here.src, iter(range(60, 99))

    def one(name: str, title: str, port: int, make: Make, means: str = "", proto: str = "udp") -> Try:
        word, dst = token(), nobody(family, next(numbers))
        return Try(name, family, title, "frames", dst, port, word, make(dst, word), means=means, proto=proto)

    def udp(port: int, says: Callable[[bytes], bytes], source: bytes = src) -> Make:
        return lambda dst, word: (packets.udp(source, dst, 40_000 + port % 7, port, says(word)),)

    def whole(dst: bytes, word: bytes) -> bytes:
        return packets.datagram(src, dst, 40_123, SOME_PORT, word * 4)

    yield one("quic", "QUIC", 443, udp(443, lambda word: hellos.quic(REFUSED, word)), f"{REFUSED}:443")
    yield one("doq", "DNS over QUIC", 853, udp(853, lambda word: hellos.quic(RESOLVERS, word)), f"{RESOLVERS}:853")
    yield one("bare-udp", "bare address (UDP)", SOME_PORT, udp(SOME_PORT, lambda word: word))
    yield one(
        "fragments", "a datagram in two fragments", SOME_PORT,
        lambda dst, word: packets.in_two(src, dst, packets.UDP, whole(dst, word), 24, 0x5E1F),
    )
    yield one(
        "lone-fragment", "a fragment without its beginning", 0,
        lambda dst, word: packets.in_two(src, dst, packets.UDP, whole(dst, word), 24, 0x5E20)[1:],
    )
    yield one(
        "spoof", "in another phone's name", SOME_PORT, udp(SOME_PORT, lambda word: word, here.peer),
    )
    yield one(
        "syn", "data in a SYN", 443,
        lambda dst, word: (packets.tcp(src, dst, 40_443, 443, packets.SYN, word * 4),), proto="tcp",
    )
    yield one(
        "stray", "data without a handshake", 443,
        lambda dst, word: (packets.tcp(src, dst, 40_444, 443, packets.PUSH_ACK, word),), proto="tcp",
    )
    if family == 6:
        yield one(
            "options", "behind an extension header", SOME_PORT,
            lambda dst, word: (packets.behind_options(src, dst, packets.UDP, whole(dst, word)),),
        )


def _others(family: int, here: Here, token: Callable[[], bytes]) -> Iterator[Try]:
    src, numbers = here.src, iter(range(100, 120))
    word, dst = token(), nobody(family, next(numbers))
    echo = (packets.ping(src, dst, word),)
    yield Try("ping", family, "ping with data in it", "frames", dst, 0, word, echo, proto="icmp")
    for name, number in TUNNELS:
        word, dst = token(), nobody(family, next(numbers))
        title, sent = f"another protocol ({name})", (packets.ip(src, dst, number, bytes(8) + word),)
        yield Try(name.lower(), family, title, "frames", dst, 0, word, sent, proto=str(number))
    for name, title in (("neighbour", "phone to phone, direct"), ("routed", "phone to phone, by the gateway")):
        word = token()
        packet = packets.udp(src, here.peer, 40_999, SOME_PORT, word)
        yield Try(name, family, title, "neighbour", here.peer, SOME_PORT, word, (packet,), proto="udp")
