"""Who has the default route: the way to the internet when the settings say "auto"."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

AUTO: Final = "auto"
NONE: Final = "no-uplink"  # stands for the interface while there was none yet; nothing goes to it
_UP, _REJECT = 0x1, 0x200  # RTF_UP, RTF_REJECT (linux/route.h)
_NET: Final = Path("/proc/self/net")


def default_route(without: str = "", proc: Path = _NET) -> str:
    """The interface of the default route with the lowest metric, IPv4 before IPv6; "" if there is none.

    `without`: an interface that is never meant. Of the main table: who sends everything into a tunnel by policy rules
    (wg-quick) names the tunnel instead of "auto".
    """
    for read in (_routes4, _routes6):
        found = [(metric, name) for metric, name in read(proc) if name != without]
        if found:
            return min(found)[1]
    return ""


def _routes4(proc: Path) -> Iterator[tuple[int, str]]:
    """Interface, destination, gateway, flags, references, uses, metric, mask, ..."""
    for name, to, _, flags, _, _, metric, mask, *_ in _lines(proc / "route"):
        if (to, mask) == ("00000000", "00000000") and int(flags, 16) & (_UP | _REJECT) == _UP:
            yield int(metric), name


def _routes6(proc: Path) -> Iterator[tuple[int, str]]:
    """Destination, its length, source, its length, next hop, metric, references, uses, flags, interface."""
    for to, length, _, _, _, metric, _, _, flags, name in _lines(proc / "ipv6_route"):
        if int(to, 16) == 0 and length == "00" and int(flags, 16) & (_UP | _REJECT) == _UP:
            yield int(metric, 16), name


def _lines(file: Path) -> Iterator[list[str]]:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return
    yield from (line.split() for line in lines if not line.startswith("Iface"))
