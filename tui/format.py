"""[pure] How values are written."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from rich.cells import cell_len, set_cell_size

from firewall.text import inert
from rules.domain import registrable
from rules.observation import Sign
from tui.glyphs import UNICODE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from firewall.episode import Episode
    from tui.glyphs import Glyphs

USUAL_PORTS: Final = frozenset((0, 53, 80, 443))  # a name is shown without them
_DAY, _WEEK = 86_400, 6 * 86_400


def came_or_went(near: Mapping[str, Any]) -> str:
    """A phone at the access point, in a sentence."""
    strong = "" if near["signal"] is None else f", {near['signal']} dBm"
    return f"{inert(near['phone'])} {'joined' + strong if near['joined'] else 'left'}"


def size(number: int, step: int = 1024) -> str:
    """Bytes in at most four cells up to 999 T: `0`, `812`, `1.2k`, `14k`; k = 1,024. Plain numbers step by 1,000."""
    value = float(number)
    for unit in ("", "k", "M", "G", "T"):
        if value < 999.5:
            return f"{value:.1f}{unit}" if unit and value < 9.95 else f"{value:.0f}{unit}"
        value /= step
    return f"{value:.0f}P"


def count(number: int, noun: str = "", plural: str = "") -> str:
    """`1,204 episodes`: a number never stands alone."""
    word = noun if number == 1 else plural or f"{noun}s"
    return f"{number:,} {word}" if noun else f"{number:,}"


def clock(at: float) -> str:
    """Local time of day."""
    return datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S")


def moment(at: float, now: float) -> str:
    """A time in at most nine cells, the more exact the nearer it is."""
    if not at:
        return "never"
    local, today = datetime.fromtimestamp(at).astimezone(), datetime.fromtimestamp(now).astimezone()
    if local.date() == today.date():
        return local.strftime("%H:%M:%S")
    return local.strftime("%a %H:%M" if abs(now - at) < _WEEK else "%d %b %y")


def duration(seconds: float) -> str:
    whole = max(0, round(seconds))
    for unit, length in (("d", _DAY), ("h", 3_600), ("min", 60)):
        if whole >= 2 * length:
            return f"{whole // length} {unit}"
    return f"{whole} s"


def cut(text: str, width: int, ellipsis: str = UNICODE.ellipsis) -> str:
    """At most `width` cells, the end left out."""
    return text if cell_len(text) <= width else _begin(text, width, ellipsis)


def cut_name(name: str, width: int, ellipsis: str = UNICODE.ellipsis) -> str:
    """At most `width` cells, cut in the middle: `api…xiaomi.com`.

    What was registered stays whole, as that is what a person judges by. If not even that fits, its end is left out, and
    the mark then stands where no name can have its end: what remains is never mistaken for another domain.
    """
    if cell_len(name) <= width:
        return name
    labels = name.split(".")
    kept = max(2, registrable(name).count(".") + 1)
    domain = ".".join(labels[-kept:])
    room = width - cell_len(domain) - 1
    if len(labels) <= kept or room < 0:
        return _begin(domain, width, ellipsis)
    return set_cell_size(name, room).rstrip() + ellipsis + domain


def _begin(text: str, width: int, ellipsis: str) -> str:
    return set_cell_size(text, width - 1).rstrip() + ellipsis if width > 0 else ""


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Exactly `width` cells."""
    free = width - cell_len(text)
    if free < 0:
        return set_cell_size(text, width)
    return " " * free + text if right else text + " " * free


def sparkline(values: Sequence[int], width: int, ramp: str = UNICODE.ramp) -> str:
    """The newest `width` values, the last one on the right. Nothing and something never look alike."""
    shown = values[-width:] if width > 0 else ()
    most = max(shown, default=0)
    steps = len(ramp) - 1
    return "".join(ramp[-(-value * steps // most) if value > 0 else 0] for value in shown)


def series(tries: Mapping[int, int], width: int) -> list[int]:
    """Tries per second as at most `width` values of equal spans, for a sparkline."""
    if not tries:
        return []
    seconds = max(tries) + 1
    bins = [0] * min(width, seconds)
    for second, number in tries.items():
        bins[second * len(bins) // seconds] += number
    return bins


def endpoint(addr: str, port: int) -> str:
    """`1.2.4.8:443`, `[2001:db8::1]:443`; "" if there was none."""
    if not port:
        return addr
    return f"[{addr}]:{port}" if ":" in addr else f"{addr}:{port}"


def place(episode: Episode) -> tuple[str, str]:
    """Country where the far end stands, and who runs it; "" for what is not known."""
    return episode.place.country or "", episode.run_by


def what(episode: Episode, width: int, glyphs: Glyphs = UNICODE) -> str:
    """Where it went, in at most `width` cells: the name, and the port if it is an unusual one; else the address.

    That it is a tunnel is said on every screen: what goes through it was not seen.
    """
    mark = " (tunnel)" if Sign.TUNNEL in episode.signs and width > 20 else ""
    if not episode.name:
        return cut(inert(endpoint(episode.dst, episode.dport)), width - len(mark), glyphs.ellipsis) + mark
    mark = ("" if episode.dport in USUAL_PORTS else f":{episode.dport}") + mark
    return cut_name(inert(episode.name), max(0, width - len(mark)), glyphs.ellipsis) + mark
