"""Who made a phone's network card, by the first half of its MAC: the IEEE's registry, as the package netaddr brings it.

Its two files are read directly: netaddr itself takes 0.2 s and 20 MB to answer the first question, a look into the
index takes a millisecond and nothing stays in memory.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from firewall.text import inert

LOCAL, GROUP = 0x02, 0x01  # bits of a MAC's first byte (IEEE 802, 8.2)
_NOT_A_VENDOR: Final = frozenset({"IEEE Registration Authority", "Private", "PRIVATE"})  # a shared or secret prefix


def is_random(mac: bytes) -> bool:
    """Whether its phone made this MAC up (or somebody did for it): a locally administered one names no vendor."""
    return bool(mac) and mac[0] & (LOCAL | GROUP) == LOCAL


@lru_cache(maxsize=1_024)
def vendor(mac: bytes) -> str:
    """The organisation that the prefix is registered for; "" if it is random or nobody's, or there is no registry."""
    if len(mac) != 6 or mac[0] & (LOCAL | GROUP):
        return ""
    try:
        return _registered(int.from_bytes(mac[:3]))
    except (OSError, ValueError):
        return ""


def _registered(prefix: int) -> str:
    """From oui.idx (lines: prefix, offset, size) and oui.txt (first line of a record: prefix, "(hex)", name)."""
    spec = find_spec("netaddr")
    if spec is None or spec.origin is None:
        return ""
    folder = Path(spec.origin).parent / "eui"
    index = b"\n" + (folder / "oui.idx").read_bytes()
    at = index.find(b"\n%d," % prefix)
    if at < 0:
        return ""
    _, offset, size = index[at + 1 : index.find(b"\n", at + 1)].split(b",")
    with (folder / "oui.txt").open("rb") as registry:
        registry.seek(int(offset))
        first = registry.read(int(size)).split(b"\n", 1)[0]
    name = first.partition(b"(hex)")[2].decode("utf-8", "replace").strip()
    return "" if name in _NOT_A_VENDOR else inert(name)
