"""What is known about a flow (or a DNS question) at the moment of deciding.

Absent facts are None and mean "not known yet"; `names_open` says whether the flow may still speak a name.
Addresses are packed bytes (4 or 16, network order): they compare and hash fast and sort as numbers do.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from itertools import compress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rules.consent import Grant


class Source(StrEnum):
    """Where a name was learnt. The value is what `via:` and JSON use."""

    DNS = "dns"  # our resolver answered this phone's question with this address
    SNI = "sni"  # TLS ClientHello, server_name (RFC 6066, 3)
    QUIC = "quic"  # the same in QUIC's first packets (RFC 9001)
    HTTP = "http"  # Host header or absolute URI of a cleartext request (RFC 9112, 3.2); HTTP/2's :authority
    XIAOMI = "xiaomi"  # first frame of Xiaomi's push channel
    HTTPDNS = "httpdns"  # asked for over cleartext HTTP, past our DNS
    DNS_ELSEWHERE = "dns-elsewhere"  # asked for in plain DNS, past ours: not where the flow goes


class Sign(StrEnum):
    """What a flow's bytes, or its way, show beside names. The value is what `via:` and JSON use."""

    HIDDEN = "hidden"  # the true name may be encrypted (ECH)
    TUNNEL = "tunnel"  # what goes inside cannot be seen: WireGuard, OpenVPN, IKE, SSH, SOCKS, CONNECT
    HTTPDNS = "httpdns"  # a question past our DNS, also where the asked name is encrypted
    XIAOMI = "xiaomi"  # Xiaomi's push channel, whatever name it says
    STRANGE_QUIC = "quic-unknown"  # a version of QUIC whose hello cannot be read
    DOT = "dot"  # DNS over TLS (RFC 7858), said by its ALPN
    DOQ = "doq"  # DNS over QUIC (RFC 9250)
    NEIGHBOUR = "neighbour"  # the far end is another phone; said by the kernel, which knows where packets go
    DNS_ELSEWHERE = "dns-elsewhere"  # a plain question to another resolver, on another port than DNS's


class Name(NamedTuple):
    """A host name as it was said: lower case, no trailing dot, never empty."""

    name: str
    source: Source


class Place(NamedTuple):
    """Where an address stands and who runs it, by the databases. Empty: not in them; None: there is no valid one."""

    country: str | None = ""  # ISO 3166-1 alpha-2, upper case: where the machine stands
    operator_country: str | None = ""  # where its operator is registered
    asn: int | None = 0  # autonomous system number
    organisation: str = ""  # of that number; for people, no rule asks for it


NOWHERE = Place()


class Observation(NamedTuple):
    """Everything the rules may ask about. Hashable: equal observations get equal decisions.

    Every flow makes two and looks them up; a tuple is made, hashed and compared without running Python.
    """

    phone: str | None  # the owner's name for it
    proto: str | None  # "tcp", "udp", "icmp" (also ICMPv6), else the decimal protocol number
    addr: bytes | None  # far end
    port: int | None  # far end's port; None for protocols without ports as well (then `proto` tells)
    answered: tuple[tuple[str, ...], ...] = ()  # per question our DNS answered with `addr`: asked name, then its CNAMEs
    said: tuple[Name, ...] = ()  # what the flow itself said
    names_open: bool = False  # True: it may still say (another) name
    unfinished: bool = False  # True: it began to say a name and did not end in time, or in a way nobody can be sure of
    group: str | None = ""  # the phone's; None: not known yet
    place: Place | None = NOWHERE  # of `addr`; None: nobody has looked yet
    consents: tuple[Grant, ...] | None = ()  # the phone's, in force now, by id; None: the phone is not known yet
    signs: tuple[Sign, ...] = ()  # of what the flow is; more may come while names_open

    @property
    def missing(self) -> tuple[str, ...]:
        """The facts that are not known yet, in words."""
        known = None not in (self.phone, self.group, self.proto, self.addr, self.place, self.consents)
        if known and self.port is not None:
            return ("the name",) if self.names_open else ()
        return _missing(
            self.phone is None, self.group is None, self.consents is None, self.proto is None, self.addr is None,
            self.addr is not None and self.place is None, self.port is None and self.proto in {None, "tcp", "udp"},
            self.names_open,
        )

    @property
    def near(self) -> bool:
        """Whether it is from phone to phone."""
        return Sign.NEIGHBOUR in self.signs

    @property
    def names(self) -> tuple[Name, ...]:
        """All names with their sources, the flow's own first, each once."""
        asked = (Name(name, Source.DNS) for chain in self.answered for name in chain)
        return tuple(dict.fromkeys((*self.said, *asked)))


@lru_cache(maxsize=256)  # of all that can be missing together
def _missing(*absent: bool) -> tuple[str, ...]:
    facts = "the phone", "its group", "its consents", "the protocol", "the address", "its place", "the port", "the name"
    return tuple(compress(facts, absent))
