"""What stands where in a lab: names and addresses only. wiring.py puts it into the kernel.

    phone1 eth0 --.
                   lan0 [gateway] wan0 -- down0 [router] up0 -- eth0 [internet]
    phone2 eth0 --'

Two hops from the gateway to the internet: a packet with a small TTL can die behind the gate and before the server.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path
from typing import Final

LAN_IF: Final = "lan0"  # in the gateway, to the phones
WAN_IF: Final = "wan0"  # in the gateway, to the router
OUTER_IF: Final = "down0"  # in the router, to the gateway: where a judge captures
UPLINK_IF: Final = "up0"  # in the router, to the internet
HOST_IF: Final = "eth0"  # the only interface of a phone, and of the internet

LAN4, LAN6 = IPv4Interface("10.77.0.1/24"), IPv6Interface("2001:db8:77::1/64")
GATEWAY4, GATEWAY6 = IPv4Interface("203.0.113.1/24"), IPv6Interface("2001:db8:113::1/64")
ROUTER4, ROUTER6 = IPv4Interface("203.0.113.254/24"), IPv6Interface("2001:db8:113::254/64")
UPLINK4, UPLINK6 = IPv4Interface("198.18.0.1/30"), IPv6Interface("2001:db8:18::1/64")
INTERNET4, INTERNET6 = IPv4Interface("198.18.0.2/30"), IPv6Interface("2001:db8:18::2/64")

RESOLVERS: Final = ("9.9.9.9", "2620:fe::9")  # the internet's name servers: the gateway's upstream
MAX_PHONES: Final = 64
RUN: Final = Path("/run/consentry")
SOCKET: Final = "internet.sock"  # of the internet, in the lab's directory

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")


class LabError(Exception):
    """The lab cannot do what was asked; the text is for a person."""


@dataclass(frozen=True, slots=True)
class Phone:
    """One of the lab's phones; `number` counts from 1. Addresses are static, so that tests can name them."""

    number: int

    @property
    def name(self) -> str:
        return f"phone{self.number}"

    @property
    def mac(self) -> str:
        return f"02:00:00:00:01:{self.number:02x}"

    @property
    def ipv4(self) -> IPv4Interface:
        return IPv4Interface(f"10.77.0.{9 + self.number}/24")

    @property
    def ipv6(self) -> IPv6Interface:
        return IPv6Interface(f"2001:db8:77::{9 + self.number}/64")  # reads as the IPv4 address does

    @property
    def port(self) -> str:
        """The bridge port in the gateway that this phone is plugged into."""
        return f"port{self.number}"


@dataclass(frozen=True, slots=True)
class Topology:
    """A lab by its name; several stand side by side. Raises LabError for a name or a number that cannot be."""

    name: str
    phones: tuple[Phone, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise LabError(f"a lab's name is made of a-z, 0-9 and dashes, at most 32: not {self.name!r}")

    @classmethod
    def of(cls, name: str, phones: int) -> Topology:
        if not 1 <= phones <= MAX_PHONES:
            raise LabError(f"a lab has 1 to {MAX_PHONES} phones, not {phones}")
        return cls(name, tuple(Phone(number) for number in range(1, phones + 1)))

    def namespace(self, role: str) -> str:
        """The namespace of "gateway", "router", "internet" or a phone's name."""
        return f"{self.name}-{role}"

    @property
    def namespaces(self) -> tuple[str, ...]:
        roles = (*(phone.name for phone in self.phones), "gateway", "router", "internet")
        return tuple(self.namespace(role) for role in roles)

    def owns(self, namespace: str) -> bool:
        """Whether a namespace could be this lab's, by its name alone."""
        return re.fullmatch(rf"{re.escape(self.name)}-(phone[0-9]+|gateway|router|internet)", namespace) is not None

    @property
    def run_dir(self) -> Path:
        return RUN / self.name


def default_name() -> str:
    return os.environ.get("CONSENTRY_LAB") or "consentry"
