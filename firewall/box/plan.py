"""[pure] What the owner decided about the box's network: gateway.toml, read and written.

`setup` writes it, everybody else reads it. A file that cannot be understood is a PlanError with its place and what
stands there; nothing is guessed.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_network
from typing import Any, Final

import tomlkit

AP, INLINE, ONE_ARMED = "ap", "inline", "one-armed"
MODES: Final = (AP, INLINE, ONE_ARMED)
BRIDGE: Final = "consentry0"
AUTO: Final = "auto"
SECURITIES: Final = ("wpa3-transition", "wpa2", "wpa3")
CHANNELS: Final = {  # per band, those that need no radar detection first; 0: the radio chooses (ACS)
    "2.4": (0, *range(1, 14)),
    "5": (0, 36, 40, 44, 48, 149, 153, 157, 161, 165, *range(52, 68, 4), *range(100, 148, 4)),
}
_INTERFACE: Final = re.compile(r"[A-Za-z0-9_.:@-]{1,15}")
_PRINTABLE: Final = re.compile(r"[\x20-\x7e]{8,63}")  # IEEE 802.11, annex J.4.1


class PlanError(ValueError):
    """Which word of the plan is wrong, what stands there, and what could."""


@dataclass(frozen=True, slots=True)
class Wifi:
    """The access point's face."""

    ssid: str
    passphrase: str = field(repr=False)
    country: str  # ISO 3166-1: which channels and powers are lawful
    channel: int = 6
    band: str = "2.4"  # GHz
    security: str = "wpa3-transition"

    def __post_init__(self) -> None:
        if not 1 <= len(self.ssid.encode()) <= 32 or not self.ssid.isprintable():
            raise PlanError(f"wifi.ssid: {self.ssid!r} has to be 1 to 32 bytes of printable text")
        if not _PRINTABLE.fullmatch(self.passphrase):
            raise PlanError("wifi.passphrase: 8 to 63 printable ASCII characters are needed")
        if not re.fullmatch("[A-Z]{2}", self.country):
            raise PlanError(f"wifi.country: {self.country!r} is no country; two capital letters, like DE")
        _one_of("wifi.band", self.band, tuple(CHANNELS))
        _one_of("wifi.security", self.security, SECURITIES)
        if self.channel not in CHANNELS[self.band]:
            there = ", ".join(map(str, sorted(CHANNELS[self.band])))
            raise PlanError(f"wifi.channel: {self.channel} is no channel of {self.band} GHz; there are {there}")


@dataclass(frozen=True, slots=True)
class Plan:
    """The phones' side is always one interface of ours, `lan`; `port` is what it is made of."""

    mode: str
    port: str  # ap: the radio; inline: the wired interface; one-armed: the wire to the existing access point
    subnet4: IPv4Network
    subnet6: IPv6Network
    lan: str = BRIDGE
    wan: str = AUTO  # or an interface; "auto": whoever has the default route
    dhcp: bool = True  # addresses and router advertisements are ours to give
    watch: bool = True  # begin watching
    ssh: bool = False
    wifi: Wifi | None = None

    def __post_init__(self) -> None:
        _one_of("mode", self.mode, MODES)
        for word in ("lan", "port", "wan"):
            if not _INTERFACE.fullmatch(name := getattr(self, word)):
                raise PlanError(f"{word}: {name!r} is no name of an interface")
        if self.lan in {self.port, self.wan}:
            raise PlanError(f"lan: {self.lan} is the interface that we make; it cannot be port or wan as well")
        if self.port == self.wan and self.mode != ONE_ARMED:
            raise PlanError(f"wan: {self.wan} is the phones' side already; the internet needs another interface")
        if (self.wifi is None) == (self.mode == AP):
            raise PlanError(f"wifi: mode {self.mode} has {'a' if self.mode == AP else 'no'} section [wifi]")
        if not 16 <= self.subnet4.prefixlen <= 28 or not self.subnet4.is_private:
            raise PlanError(f"subnet4: {self.subnet4} has to be private and between /16 and /28")
        if self.subnet6.prefixlen != 64:
            raise PlanError(f"subnet6: {self.subnet6} has to be a /64, or phones give themselves no address")

    @property
    def address4(self) -> IPv4Interface:
        """The box's own on the phones' side."""
        return IPv4Interface(f"{self.subnet4[1]}/{self.subnet4.prefixlen}")

    @property
    def address6(self) -> IPv6Interface:
        return IPv6Interface(f"{self.subnet6[1]}/64")

    @property
    def leased(self) -> tuple[str, str]:
        """First and last address that phones get; the rest is for those that are set by hand."""
        last = self.subnet4.num_addresses - 1
        return str(self.subnet4[min(10, last // 4)]), str(self.subnet4[last - 1 - min(4, last // 8)])

    @property
    def network(self) -> tuple[object, ...]:
        """All that is no matter of the radio's: what differs in it is made of other interfaces and addresses."""
        return tuple(getattr(self, part.name) for part in fields(self) if part.name != "wifi")


def parse(text: str, place: str = "gateway.toml") -> Plan:
    """Raises PlanError that begins with `place`."""
    try:
        told = tomllib.loads(text)
        wifi = told.pop("wifi", None)
        if wifi is not None:
            wifi = Wifi(**_checked(Wifi, wifi, "wifi."))
        words = _checked(Plan, told, "")
        for word, kind in (("subnet4", IPv4Network), ("subnet6", IPv6Network)):
            words[word] = _network(word, words[word], kind)
        return Plan(**words, wifi=wifi)
    except (tomllib.TOMLDecodeError, PlanError) as error:
        raise PlanError(f"{place}: {error}") from None


def render(plan: Plan) -> str:
    """As `parse` reads it: parse(render(plan)) == plan."""
    document = tomlkit.document()
    document.add(tomlkit.comment("Written by `consentry setup`; edited by hand too. Then: sudo consentry run"))
    for word in _words(Plan):
        value = getattr(plan, word)
        document[word] = value if isinstance(value, bool) else str(value)
    if plan.wifi is not None:
        wifi = tomlkit.table()
        for word in _words(Wifi):
            wifi[word] = getattr(plan.wifi, word)
        document["wifi"] = wifi
    return tomlkit.dumps(document)


def _words(shape: type[Plan | Wifi]) -> dict[str, type]:
    kinds: dict[str, type] = {"bool": bool, "int": int}
    return {part.name: kinds.get(str(part.type), str) for part in fields(shape) if part.name != "wifi"}


def _checked(shape: type[Plan | Wifi], told: Any, place: str) -> dict[str, Any]:  # noqa: ANN401  TOML
    known = _words(shape)
    if not isinstance(told, dict):
        raise PlanError(f"{place.rstrip('.')}: a section is needed, not {told!r}")
    for word, value in told.items():
        if word not in known:
            raise PlanError(f"{place}{word}: there is no such word; there are {', '.join(known)}")
        if type(value) is not known[word]:
            kind = {bool: "true or false", int: "a whole number", str: "text in quotes"}[known[word]]
            raise PlanError(f"{place}{word}: {value!r} stands there, {kind} is needed")
    needed = {part.name for part in fields(shape) if part.default is part.default_factory}
    if lacking := sorted(needed - {"wifi", *told}):
        raise PlanError(f"{place}{lacking[0]}: is missing")
    return dict(told)


def _network(word: str, text: str, kind: type[IPv4Network | IPv6Network]) -> IPv4Network | IPv6Network:
    try:
        found = ip_network(text)
    except ValueError as error:
        raise PlanError(f"{word}: {error}") from None
    if not isinstance(found, kind):
        raise PlanError(f"{word}: {text} is of the other family")
    return found


def _one_of(place: str, value: str, there: tuple[str, ...]) -> None:
    if value not in there:
        raise PlanError(f"{place}: {value!r} is none of {', '.join(there)}")
