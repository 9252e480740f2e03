"""[pure] From what was found on this box and what the owner wishes to a plan, with the reason of every choice.

The wizard and the flags of `consentry setup` give the same wishes; here is the one place that decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Any, Final

from firewall.box import subnets
from firewall.box.plan import AP, AUTO, BRIDGE, INLINE, ONE_ARMED, Plan, PlanError, Wifi

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SSID: Final = "home-guard"
WORDS: Final = 4  # groups of the passphrase
LETTERS: Final = "abcdefghijkmnpqrstuvwxyz23456789"  # 32, none of which looks like another: 4 groups of 5 are 100 bits
# When the phones' network becomes another one: their Wi-Fi is ours, or begins behind a foreign access point.
_RENEWED: Final = {
    AP: "they get it as soon as they join again, by themselves",
    INLINE: "switch the access point off and on, or each phone's Wi-Fi; else it takes up to an hour",
    ONE_ARMED: "set it by hand on each, with its gateway and DNS",
}
DEFAULT_CHANNELS: Final = {"2.4": (6, 1, 11), "5": (36, 40, 44, 48)}


@dataclass(frozen=True, slots=True)
class Radio:
    """A wireless interface of this box."""

    name: str
    driver: str = ""
    access_point: bool = True
    wpa3: bool = True
    channels: dict[str, tuple[int, ...]] = field(default_factory=dict)  # band -> those that can be used at once
    blocked: str = ""  # by rfkill: "soft", "hard"
    joined: str = ""  # the network that it is a client of

    @property
    def words(self) -> str:
        """Why it can, or cannot, be the access point."""
        if not self.access_point:
            return f"its driver {self.driver or '(unknown)'} cannot be an access point"
        if self.blocked:
            return f"switched off ({self.blocked} block by rfkill)"
        bands = " and ".join(f"{band} GHz" for band in self.channels) or "no channel without a country"
        return f"can be an access point: {bands}" + (f"; joined to {self.joined} now" if self.joined else "")


@dataclass(frozen=True, slots=True)
class Found:
    """What this box has. Reading it is found.py's business."""

    radios: tuple[Radio, ...] = ()
    wired: tuple[str, ...] = ()
    uplink: str = ""  # who has the default route
    taken: tuple[str, ...] = ()  # networks that are in use, as text
    country: str = ""
    managers: tuple[str, ...] = ()  # of "NetworkManager", "systemd-networkd", "dhcpcd": those that run
    links: tuple[str, ...] = ()  # every interface, of whatever kind


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the owner said; "" and None: choose."""

    mode: str = ""
    radio: str = ""  # the phones' interface, whatever the mode
    uplink: str = ""
    ssid: str = ""
    country: str = ""
    band: str = ""
    channel: int | None = None
    security: str = ""
    passphrase: str = ""
    subnet: str = ""  # "auto" and "": a free one
    watch: bool | None = None
    dhcp: bool | None = None
    ssh: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    plan: Plan
    why: tuple[str, ...]  # a sentence for each thing that was chosen, and for each that was not


def choose(found: Found, wishes: Wishes, chance: Callable[[int], bytes], before: Plan | None = None) -> Choice:
    """`chance(n)` gives n random bytes. `before`: the plan that stands; what nobody wishes otherwise stays as it is.

    Raises PlanError with what is missing and how to say it.
    """
    why: list[str] = []
    if before is not None:
        wishes = _as_before(wishes, before)
    mode, port = _phones_side(found, wishes, why)
    wan = _uplink(found, wishes, mode, port, why)
    wifi = _wifi(found, wishes, port, chance, before.wifi if before else None, why) if mode == AP else None
    subnet4, subnet6 = _subnets(found, wishes, chance, before, why)
    dhcp = before.dhcp if before is not None and before.mode == mode else mode != ONE_ARMED
    dhcp = dhcp if wishes.dhcp is None else wishes.dhcp
    lan = BRIDGE if before is None else before.lan
    plan = Plan(
        mode, port, subnet4, subnet6, lan, wan, dhcp=dhcp, watch=wishes.watch is not False, ssh=wishes.ssh,
        wifi=wifi,
    )
    if mode == ONE_ARMED:
        how = f"by hand: any of {subnet4}, gateway and DNS {plan.address4.ip}"
        if dhcp:
            how = "from this box: switch the wire's other DHCP server off, for who asks that one goes around"
        why.append(
            f"the phones get their address {how}; "
            "a phone that is set back goes around the gate, and the gate cannot see that"
        )
        why.append("if the wire's other router announces IPv6, phones use that, around the gate: switch it off there")
    if "dhcpcd" in found.managers:
        ours = plan.lan if mode == ONE_ARMED else f"{plan.lan} {port}"
        why.append(f"dhcpcd would ask phones for an address; add to /etc/dhcpcd.conf: denyinterfaces {ours}")
    return Choice(plan, tuple(why))


def _as_before(wishes: Wishes, before: Plan) -> Wishes:
    if not wishes.mode and not wishes.radio:
        wishes = replace(wishes, mode=before.mode, radio=before.port)
    watch = before.watch if wishes.watch is None else wishes.watch
    return replace(wishes, uplink=wishes.uplink or before.wan, watch=watch, ssh=wishes.ssh or before.ssh)


def _phones_side(found: Found, wishes: Wishes, why: list[str]) -> tuple[str, str]:
    able = [radio for radio in found.radios if radio.access_point and radio.blocked != "hard"]
    why.extend(f"radio {one.name}: {one.words}" for one in found.radios)
    internet = found.uplink if wishes.uplink in {"", AUTO} else wishes.uplink
    spare_radios = [radio.name for radio in able if radio.name != internet]
    spare_wires = [name for name in found.wired if name != internet]
    mode = wishes.mode
    if not mode:
        if wishes.radio:
            mode = AP if wishes.radio in {radio.name for radio in found.radios} else INLINE
        elif spare_radios:
            mode = AP
        elif spare_wires and internet:
            mode = INLINE
        elif found.wired or internet:
            mode = ONE_ARMED
        else:
            raise PlanError("no radio and no wired interface here that the phones could be behind: plug one in")
    there = {AP: spare_radios, INLINE: spare_wires, ONE_ARMED: [internet] if internet else [*found.wired]}
    if mode not in there:
        raise PlanError(f"--mode {mode}: there are {', '.join(there)}")
    port = wishes.radio or next(iter(there[mode]), "")
    if not port:
        lacking = {
            AP: "no radio that can be an access point and is not the uplink",
            INLINE: "no second wired interface: one leads to the internet, one to the phones",
            ONE_ARMED: "no wired interface",
        }
        raise PlanError(f"--mode {mode}: this box has {lacking[mode]}" + _listed(found))
    radio = next((one for one in found.radios if one.name == port), None)
    if mode == AP and (radio is None or not radio.access_point):
        raise PlanError(f"--radio {port}: {radio.words if radio else 'is no radio of this box'}" + _listed(found))
    if mode != AP and port not in {*found.wired, internet}:
        raise PlanError(f"--radio {port}: is no wired interface of this box" + _listed(found))
    meaning = {
        AP: "is the phones' access point",
        INLINE: "is the phones' side; an access point or a switch is plugged in there",
        ONE_ARMED: "is the wire that the phones' access point is on too",
    }
    why.append(f"mode {mode}: {port} {meaning[mode]}")
    return mode, port


def _listed(found: Found) -> str:
    there = [f"{radio.name} ({radio.words})" for radio in found.radios] + [f"{name} (wired)" for name in found.wired]
    return f"; there are: {', '.join(there)}" if there else ""


def _uplink(found: Found, wishes: Wishes, mode: str, port: str, why: list[str]) -> str:
    if wishes.uplink and wishes.uplink != AUTO:
        away = found.links and wishes.uplink not in found.links
        waits = "; it is not there now, the gate waits for it" if away else ""
        why.append(f"internet: {wishes.uplink}, as you said{waits}")
        return wishes.uplink
    if found.uplink == port and mode != ONE_ARMED:
        raise PlanError(f"{port} is the way to the internet now; the phones need another interface, or --uplink NAME")
    if found.uplink:
        why.append(f"internet: {found.uplink} has the default route; should another have it, the gate follows")
    else:
        why.append("internet: nobody has a default route now; the gate follows whoever gets it")
    return AUTO


def _wifi(
    found: Found, wishes: Wishes, port: str, chance: Callable[[int], bytes], before: Wifi | None, why: list[str]
) -> Wifi:
    radio = next(one for one in found.radios if one.name == port)
    country = wishes.country.upper() or (before.country if before else "") or found.country
    if not country:
        raise PlanError("--country: which country is this box in? Its law says which channels. Two letters, like DE")
    band = wishes.band or (before.band if before and wishes.channel is None else "")
    if not band:
        band = "5" if wishes.channel is not None and wishes.channel > 14 else "2.4"
        if band == "2.4" and radio.channels and "2.4" not in radio.channels:
            band = "5"
    usable = radio.channels.get(band, ())
    wanted = wishes.channel
    if wanted is None and before is not None and before.band == band:
        wanted = before.channel
    if wanted is None:
        preferred = DEFAULT_CHANNELS.get(band, ())
        wanted = next((one for one in preferred if not usable or one in usable), usable[0] if usable else preferred[0])
    elif wanted and usable and wanted not in usable and country == found.country:
        raise PlanError(f"--channel {wanted}: {port} may not use it at once in {country}; it may: {_numbers(usable)}")
    security = wishes.security or (before.security if before else "") or ("wpa3-transition" if radio.wpa3 else "wpa2")
    if security != "wpa2" and not radio.wpa3:
        raise PlanError(f"--security {security}: {port} cannot protect management frames (WPA3): --security wpa2")
    words = {"wpa3-transition": "WPA3, and WPA2 for phones that cannot", "wpa3": "WPA3 only", "wpa2": "WPA2 only"}
    why.append(f"channel {wanted or 'chosen by the radio'} of {band} GHz in {country}; {words.get(security, security)}")
    passphrase = wishes.passphrase or (before.passphrase if before else "") or new_passphrase(chance)
    ssid = wishes.ssid or (before.ssid if before else SSID)
    return Wifi(ssid, passphrase, country, wanted, band, security)


def new_passphrase(chance: Callable[[int], bytes]) -> str:
    """100 random bits in groups that can be typed on a phone."""
    letters = "".join(LETTERS[byte & 31] for byte in chance(5 * WORDS))
    return "-".join(letters[at : at + 5] for at in range(0, len(letters), 5))


def _subnets(
    found: Found, wishes: Wishes, chance: Callable[[int], bytes], before: Plan | None, why: list[str]
) -> tuple[IPv4Network, IPv6Network]:
    taken = [ip_network(text) for text in found.taken]
    kept = before if wishes.subnet != AUTO else None
    subnet6 = kept.subnet6 if kept else subnets.ula(chance(5))
    if wishes.subnet and wishes.subnet != AUTO:
        try:
            subnet4 = IPv4Network(wishes.subnet)
        except ValueError as error:
            raise PlanError(f"--subnet: {error}; like 192.168.77.0/24, or auto") from None
        if hit := subnets.collides(subnet4, taken):
            raise PlanError(f"--subnet {subnet4}: {hit} is in use on this box; --subnet auto finds a free one")
    elif kept and not subnets.collides(kept.subnet4, taken):
        subnet4 = kept.subnet4
    else:
        free = subnets.free4([network for network in taken if isinstance(network, IPv4Network)])
        if free is None:
            raise PlanError("--subnet: all private networks are in use on this box; say which one may be taken")
        subnet4 = free
    why.append(f"network {subnet4} and {subnet6}: nothing on this box is in there")
    if before is not None and before.subnet4 != subnet4:
        why.append(f"phones that are in {before.subnet4} need a new address: {_RENEWED[before.mode]}")
    return subnet4, subnet6


def _numbers(found: Sequence[int]) -> str:
    return ", ".join(map(str, found))


def wishes_from(told: dict[str, Any]) -> Wishes:
    """The wizard's answers."""
    return Wishes(**{word: told[word] for word in Wishes.__slots__ if word in told})


