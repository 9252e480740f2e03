"""Where an address stands and who runs it: three databases behind one door. maxminddb lives here and nowhere else.

Ours ship in firewall/places; a file of the owner's takes the place of one of them. A database is copied into memory of
ours before it is mapped: a file that somebody shortens while it is mapped kills the process that reads it (SIGBUS).
"""

from __future__ import annotations

import gzip
import io
import os
import socket
import threading
import time
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import resources
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import maxminddb
from maxminddb import MODE_AUTO, InvalidDatabaseError

from firewall.text import inert
from rules.networks import embedded, parse_network
from rules.observation import NOWHERE, Place

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REMEMBERED: Final = 16_384  # addresses
STALE_DAYS: Final = 60
DAY: Final = 86_400.0
LONGEST_NAME: Final = 256  # characters of a network's
LARGEST: Final = 256 << 20  # bytes of an owner's file
PROBED: Final = 1_000  # records that are looked through for what a database is about
ATTRIBUTIONS: Final = (
    "IP Geolocation by DB-IP, https://db-ip.com (CC BY 4.0): where an address stands.",
    "RouteViews, https://www.routeviews.org, DB-IP and the NRO, by way of ip-location-db (CC BY 4.0): AS numbers.",
    "IPtoASN, https://iptoasn.com, by way of ip-location-db (PDDL 1.0): where an operator is registered.",
)

# Addresses that stand nowhere in the world, or everywhere (IANA's special-purpose registries, RFC 6890).
_SPECIAL: Final = """
0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.168.0.0/16
198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4
::/127 64:ff9b:1::/48 100::/64 2001:2::/48 2001:db8::/32 3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8
"""
_NOWHERE: Final = tuple(map(parse_network, _SPECIAL.split()))


class _Kind(NamedTuple):
    """One of the three questions."""

    file: str  # as an owner calls it
    what: str
    ours: str  # in firewall/places
    data: float  # epoch of our file's data; its own date may be that of its packing
    read: Callable[[Any], Any]  # a record -> the answer; None if this record has none


class _Answer(NamedTuple):
    asn: int
    organisation: str


def _country(record: Any) -> str | None:  # noqa: ANN401  whatever a database holds
    """Flat (`country_code`), MaxMind's (`country.iso_code`) and IPinfo's (`country`) way to say it."""
    country = record.get("country")
    code = record.get("country_code") or (country.get("iso_code") if isinstance(country, dict) else country)
    return code.upper() if isinstance(code, str) and len(code) == 2 and code.isascii() and code.isalpha() else None


def _number(record: Any) -> _Answer | None:  # noqa: ANN401
    number = record.get("autonomous_system_number", record.get("asn"))
    if isinstance(number, str):
        digits = number.upper().removeprefix("AS")
        number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 10 else None
    organisation = record.get("autonomous_system_organization", record.get("as_name", ""))
    known = isinstance(number, int) and number > 0
    shown = inert(organisation)[:LONGEST_NAME] if isinstance(organisation, str) else ""
    return _Answer(number, shown) if known else None


_JUNE_1, _JUNE_17 = 1_780_272_000.0, 1_781_654_400.0  # of 2026
KINDS: Final = (
    _Kind("country.mmdb", "where an address stands", "dbip-country-lite.mmdb.gz", _JUNE_1, _country),
    _Kind("operator-country.mmdb", "where its operator is registered", "iptoasn-country.mmdb.gz", _JUNE_17, _country),
    _Kind("asn.mmdb", "AS number and organisation", "asn.mmdb.gz", _JUNE_17, _number),
)


class PlacesError(ValueError):
    """Why a database cannot be used."""


@dataclass(slots=True)
class _Base:
    """One database as it is used now, and what was last seen of the owner's file."""

    kind: _Kind
    reader: maxminddb.Reader | None = None
    file: str = ""
    built: float = 0.0
    seen: tuple[int, ...] | None = None  # stat of the owner's file when it was last read; None: there was none
    trouble: str = ""
    damage: str = ""  # met while looking up

    def ask(self, addr: str) -> Any:  # noqa: ANN401
        """The answer; "" if the address is not in it, None if that cannot be told."""
        if self.reader is None:
            return None
        try:
            record = self.reader.get(addr)
        except (InvalidDatabaseError, UnicodeDecodeError) as error:
            self.damage = f"is damaged: {error}"
            return None
        except ValueError:
            return ""  # IPv6 asked of a database of IPv4
        return (self.kind.read(record) if isinstance(record, dict) else None) or ""


class Places:
    """`folder`: where the owner's own files would be (None: nowhere). Any thread may ask or reload."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._bases = [_Base(kind) for kind in KINDS]
        self._loading = threading.Lock()
        for base in self._bases:
            self._take_ours(base)
        self._remembered = self._fresh()
        self.reload()

    def look_up(self, addr: bytes) -> Place:
        """Packed, 4 or 16 bytes. A tenth of a microsecond for one of the addresses asked for lately."""
        return self._remembered(addr)

    def reload(self) -> bool:
        """Take over what has changed in the owner's folder; whether anything did. Costs three stat(2) if nothing.

        Reading a file takes up to a second: call it from a thread.
        """
        if self._folder is None:
            return False
        with self._loading:
            changed = [base for base in self._bases if self._take_owners(base, self._folder / base.kind.file)]
            if changed:
                self._remembered = self._fresh()
            return bool(changed)

    def status(self) -> list[dict[str, Any]]:
        """One row for each database. `built` is 0 if there is none."""
        now = time.time()
        rows = []
        for base in self._bases:
            age = int((now - base.built) // DAY) if base.reader else 0
            rows.append({
                "file": base.file,
                "what": base.kind.what,
                "built": base.built,
                "age_days": max(age, 0),
                "stale": age > STALE_DAYS,
                "trouble": base.trouble or base.damage,
            })
        return rows

    def _fresh(self) -> Callable[[bytes], Place]:
        """A memory that knows nothing yet, over the databases of now."""
        country, operator_country, asn = self._bases
        return lru_cache(REMEMBERED)(partial(_look_up, country, operator_country, asn))

    def _take_ours(self, base: _Base) -> None:
        kind = base.kind
        base.file = f"{kind.ours.removesuffix('.gz')} (ours)"
        try:
            packed = (resources.files("firewall") / "places" / kind.ours).read_bytes()
            base.reader = _open(gzip.decompress(packed), kind)
            base.built = min(base.reader.metadata().build_epoch, kind.data)
        except (OSError, EOFError, PlacesError) as error:
            base.trouble = f"cannot be read: {error}; rules about it refuse, and open nothing"

    def _take_owners(self, base: _Base, path: Path) -> bool:
        """Whether the database is another one now."""
        try:
            with path.open("rb") as file:
                now = os.fstat(file.fileno())
                seen = (now.st_ino, now.st_dev, now.st_mtime_ns, now.st_size)
                if seen == base.seen:
                    return False
                base.seen = seen
                if now.st_size > LARGEST:
                    raise PlacesError(f"is larger than {LARGEST >> 20} MiB")
                reader = _open(file.read(LARGEST), base.kind)
        except FileNotFoundError:
            if base.seen is not None:
                base.seen = None
                base.trouble = f"{path} is gone; what it said is kept until the next start"
            return False
        except (OSError, PlacesError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            base.trouble = f"{path}: {why}; {base.file} is kept" if base.reader else f"{path}: {why}"
            return False
        base.reader, base.file, base.trouble, base.damage = reader, str(path), "", ""
        base.built = float(reader.metadata().build_epoch)
        return True


def _open(data: bytes, kind: _Kind) -> maxminddb.Reader:
    """Raises PlacesError if it is no database, or one about something else."""
    try:
        reader = _mapped(data)
        records = (record for _, record in islice(reader, PROBED))
        if any(isinstance(record, dict) and kind.read(record) for record in records):
            return reader
    except (InvalidDatabaseError, ValueError, OSError) as error:
        raise PlacesError(f"is no database that can be read ({str(error)[:120]})") from None
    raise PlacesError(f"does not say {kind.what}; is it another file?")


def _mapped(data: bytes) -> maxminddb.Reader:
    """In memory that no file stands behind. The C extension, if there is one, reads only what can be mapped."""
    if not hasattr(os, "memfd_create"):
        return maxminddb.open_database(io.BytesIO(data), maxminddb.MODE_FD)
    memory = os.memfd_create("places")
    try:
        with os.fdopen(memory, "wb", closefd=False) as file:
            file.write(data)
        return maxminddb.open_database(f"/proc/self/fd/{memory}", MODE_AUTO)
    finally:
        os.close(memory)


def _look_up(country: _Base, operator_country: _Base, asn: _Base, addr: bytes) -> Place:
    inner = embedded(addr) if len(addr) == 16 else None
    if inner is not None:
        return _look_up(country, operator_country, asn, inner)
    for first, last in _NOWHERE:
        if first <= addr <= last and len(first) == len(addr):
            return NOWHERE
    text = socket.inet_ntop(socket.AF_INET if len(addr) == 4 else socket.AF_INET6, addr)
    number = asn.ask(text)
    who = number or _Answer(0, "")
    return Place(country.ask(text), operator_country.ask(text), None if number is None else who.asn, who.organisation)
