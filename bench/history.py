"""The promise: 1,000 decisions a second for an hour, and of a million episodes any page within 200 ms.

Two databases of a million rows are built: a household's (a few hundred hosts, one in fifty rows is rare) and a hostile
phone's (every row has a name of its own, as a random-subdomain flood makes them).
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairs import Figure, figure

from firewall.episode import Episode
from firewall.history import seals
from firewall.history.rows import Shelf
from firewall.history.schema import connect, reader
from firewall.history.search import Cursor, Search
from rules.expression import IN_FILTERS, parse_filter
from rules.observation import Name, Place, Source

if TYPE_CHECKING:
    from collections.abc import Iterator

NEEDS: dict[str, str] = {}
ROWS = int(os.environ.get("CONSENTRY_BENCH_ROWS", "1000000"))
NOW = 1_795_000_000.0
DAYS = 80
PHONES = ("anna", "ben", "tv", "tablet", "work")
VERDICTS = ("allow", "allow", "ask", "ask", "block", "watch")
PLACES = (("US", "US"), ("DE", "US"), ("CN", "CN"), ("SG", "CN"), ("NL", "NL"), ("", ""))
FILTERS = (
    "", "phone:anna", "-phone:anna", "verdict:refused", "-verdict:allow", "service:service-3", "rule:pack/7",
    "phone:nobody",
    "name:cdn.example", "name:=host7.cdn.example", "-name:cdn.example", "name:rare.example", "name:absent.example",
    "addr:198.51.100.7", "addr:198.51.0.0/16", "addr:203.0.113.77", "addr:10.1.2.3", "port:443", "port:31337", "port:9",
    "proto:udp", "via:ambiguous", "via:http", "group:kids", "last:1h", "-last:30d", "last:7d verdict:refused",
    "phone:tv name:cdn.example verdict:ask", "phone:tv name:rare.example", "name:cdn.example addr:203.0.113.77",
    "-phone:tv -verdict:allow -service:service-1", "rule:default port:31337", "phone:work verdict:watch last:2d",
    "-name:example", "country:CN -phone:tv", "operator-country:NL name:rare.example", "asn:64507",
)


def household(count: int, chance: random.Random) -> Iterator[Episode]:
    hosts = [f"host{n}.{'cdn' if n % 3 else 'app'}{n % 7 or ''}.example" for n in range(600)]
    weights = [1 / (n + 1) for n in range(len(hosts))]
    chosen = chance.choices(range(len(hosts)), weights, k=count)
    for at in range(count):
        n = chosen[at]
        rare = at % 5_000 == 17
        name = f"h{at % 3}.rare.example" if rare else hosts[n]
        yield row(at, count, n, name, "203.0.113.77" if rare else f"198.51.{100 + n % 2}.{n % 250}", chance)


def hostile(count: int, chance: random.Random) -> Iterator[Episode]:
    for at in range(count):
        rare = at % 50_000 == 17
        name = "h1.rare.example" if rare else f"{chance.getrandbits(64):x}.cdn.example"
        addr = "203.0.113.77" if rare else f"198.51.{at >> 8 & 255}.{at & 255}"
        yield row(at, count, at, name, addr, chance)


def row(at: int, count: int, n: int, name: str, dst: str, chance: random.Random) -> Episode:
    when = NOW - DAYS * 86_400 * (1 - at / count)
    country, operator = PLACES[n % len(PLACES)]
    port = 31337 if at % 50_000 == 99 else (443, 443, 443, 80, 5228)[n % 5]
    via = "http" if port == 80 else "sni"
    return Episode(
        at + 1, PHONES[chance.getrandbits(8) % len(PHONES)], "10.77.0.10", dst, port, "tcp" if n % 9 else "udp", name,
        (Name(name, Source.HTTP if port == 80 else Source.SNI),), ((name, f"edge{n % 40}.cdn.example"),), via,
        f"service-{n % 12}" if n % 4 else "", VERDICTS[n % len(VERDICTS)], f"pack/{n % 30}" if n % 4 else "default",
        f"pack/{n % 30} in xiaomi.toml refuses this until its owner consents", 3, 1 + n % 5, when, when + n % 50,
        1_200, 5_400, {0: 1},
        "kids" if n % 11 == 0 else "", Place(country, operator, 64_500 + n % 60, f"Organisation {n % 60}"),
    )


def build(path: Path, rows: Iterator[Episode]) -> tuple[float, float]:
    """CPU seconds to store and to seal."""
    db = connect(path)
    shelf = Shelf(db)
    stored = sealed = 0.0
    waiting: list[Episode] = []

    def write() -> None:
        nonlocal stored, sealed
        began = time.process_time()
        db.execute("BEGIN IMMEDIATE")
        shelf.put(waiting)
        db.commit()
        stored += time.process_time() - began
        began = time.process_time()
        db.execute("BEGIN IMMEDIATE")
        link = seals.seal(db, waiting[-1].id, waiting[-1].last)
        db.commit()
        sealed += time.process_time() - began
        assert link is not None
        shelf.seal(link.rows)
        waiting.clear()

    for one in rows:
        waiting.append(one)
        if len(waiting) == 500:  # what half a second brings at 1,000 a second
            write()
    if waiting:
        write()
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return stored, sealed


def pages(path: Path, text: str, limit: int = 200) -> list[dict[str, Any]]:
    """The first page, the one after it, and one from the middle of time."""
    told = []
    before: Cursor | None = None
    for place in ("first", "next", "middle"):
        if place == "middle":
            before = Cursor(NOW - DAYS * 43_200, ROWS // 2)
        elif place == "next" and before is None:
            continue
        began = time.perf_counter()
        with contextlib.closing(reader(path)) as db:
            page = Search(db, parse_filter(text), NOW).page(limit, before)
        told.append({"ms": 1_000 * (time.perf_counter() - began), "rows": len(page.rows), "more": str(page.more or "")})
        before = page.more
    return told


def measure(_pairs: int, _seconds: int) -> dict[str, Figure]:
    known = [text for text in FILTERS if all(term.split(":")[0].lstrip("-") in IN_FILTERS for term in text.split())]
    found: dict[str, Figure] = {}
    with tempfile.TemporaryDirectory(dir=os.environ.get("CONSENTRY_BENCH_DIR")) as place:
        for kind, rows in (("household", household), ("hostile", hostile)):
            path = Path(place, f"{kind}.db")
            stored, sealed = build(path, rows(ROWS, random.Random(7)))
            told = {text: pages(path, text) for text in known}
            taken = [page["ms"] for each in told.values() for page in each]
            found |= {
                f"{kind}, page": figure(taken, "ms", {text: [page["ms"] for page in told[text]] for text in known}),
                f"{kind}, slowest page": figure([max(taken)], "ms", {"slowest": [max(taken)]}),
                f"{kind}, store": figure([1e6 * stored / ROWS], "us", {"a row": [1e6 * stored / ROWS]}),
                f"{kind}, seal": figure([1e6 * sealed / ROWS], "us", {"a row": [1e6 * sealed / ROWS]}),
                f"{kind}, size": figure([path.stat().st_size / ROWS], "bytes", {"a row": [path.stat().st_size / ROWS]}),
            }
            for text in known:
                words = (f"{page['ms']:.0f} ms {page['rows']}{'+' if page['more'] else ''}" for page in told[text])
                print(f"  {kind:10} {text:45} {'   '.join(words)}", file=sys.stderr)
    return found


if __name__ == "__main__":
    for name, value in measure(0, 0).items():
        print(name, value)
