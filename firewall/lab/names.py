"""Which addresses a name has on the lab's internet (pure)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from hashlib import blake2b
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    Address = IPv4Address | IPv6Address


TABLE: Final = Path(__file__).with_name("names.toml")
MAX_CHAIN: Final = 8

# Invented addresses must look global and be on nobody's list. 28.0.0.0/7 belongs to the US Department of Defense and
# serves nobody; 3ffe::/16 was the 6bone's and went back to the registry (RFC 3701).
INVENTED4: Final = IPv4Network("28.0.0.0/7")
INVENTED6: Final = IPv6Network("3ffe::/16")


@dataclass(frozen=True, slots=True)
class Found:
    """What a question finds: the CNAMEs on the way, then addresses of one family (none: the name has no such)."""

    aliases: tuple[str, ...]
    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    addresses: tuple[Address, ...] = ()
    moved: tuple[Address, ...] = ()
    cname: str = ""
    invented: int = 1
    https: str = ""


@dataclass(slots=True)
class NameTable:
    """Names in any case, without the last dot. `moved` says whether the services that ever moved have done so."""

    entries: Mapping[str, _Entry]
    moved: bool = field(default=False)

    @classmethod
    def load(cls, path: Path = TABLE) -> NameTable:
        return cls({name: _entry(values) for name, values in tomllib.loads(path.read_text("utf-8")).items()})

    def find(self, name: str, version: int) -> Found | None:
        """The answer for IP version 4 or 6; None if no such name exists."""
        name = name.lower()
        if name == "invalid" or name.endswith(".invalid"):
            return None
        aliases: list[str] = []
        entry = self._entry(name)
        while entry.cname and len(aliases) < MAX_CHAIN:
            name = entry.cname
            aliases.append(name)
            entry = self._entry(name)
        known = entry.moved if self.moved and entry.moved else entry.addresses
        addresses = tuple(address for address in known if address.version == version)
        return Found(tuple(aliases), addresses or tuple(invent(name, version, n) for n in range(entry.invented)))

    def _entry(self, name: str) -> _Entry:
        return self.entries.get(name) or self.entries.get(f"*.{name.partition('.')[2]}") or _Entry()

    def https(self, name: str) -> str:
        """Where its HTTPS record leads: "." is to itself; "": it has none."""
        return self.entries.get(name.lower(), _Entry()).https

    def can_move(self, name: str) -> bool:
        """Whether an answer for this name must not be kept for long."""
        return bool(self.entries.get(name.lower(), _Entry()).moved)


def invent(name: str, version: int, nth: int = 0) -> Address:
    """A stable global unicast address for a name; two names share one about once in ten thousand names."""
    network = INVENTED4 if version == 4 else INVENTED6
    digest = blake2b(f"{name.lower()} {nth}".encode(), digest_size=16).digest()
    return network[int.from_bytes(digest) % network.num_addresses]


def _entry(values: Mapping[str, object]) -> _Entry:
    def addresses(key: str) -> tuple[Address, ...]:
        listed = values.get(key, ())
        assert isinstance(listed, (list, tuple))
        return tuple(ip_address(text) for text in listed)

    cname, https, invented = values.get("cname", ""), values.get("https", ""), values.get("invented", 1)
    assert isinstance(cname, str)
    assert isinstance(https, str)
    assert isinstance(invented, int)
    return _Entry(addresses("addresses"), addresses("moved"), cname, invented, https)
