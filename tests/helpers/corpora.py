"""The captures of others, and what they hold by their own word: ../shared/data/pcaps/INDEX.tsv."""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from firewall.backends.model import Everybody
from firewall.backends.replay import Replay
from firewall.capture import Capture, Frame
from firewall.dissect import NOT_MINE, ip, link
from firewall.gateway import Gateway
from rules import store
from rules.policy import Policy

BESIDE = Path(os.environ.get("CONSENTRY_SHARED", Path(__file__).parents[3] / "shared"))
CORPORA = BESIDE / "data/pcaps"
WINDOW = 10  # segments that a phone sends before it wants an answer (RFC 6928)
TLS, HTTP, QUIC = "TLS", "HTTP", "QUIC"
MEASURED = (TLS, HTTP, QUIC)
KINDS = {"TLS": TLS, "IMAPS": TLS, "POPS": TLS, "SMTPS": TLS, "HTTP": HTTP, "HTTP_Proxy": HTTP, "QUIC": QUIC}


@dataclass(frozen=True)
class Wanted:
    file: str
    kind: str
    a: str
    b: str
    name: str
    info: str

    @property
    def host(self) -> str:
        """The name without its port."""
        bare, colon, port = self.name.lower().rpartition(":")
        return bare if colon and port.isdigit() else self.name.lower()


@dataclass
class Score:
    of: int = 0
    wrong: list[tuple[Wanted, object]] = field(default_factory=list)

    @property
    def share(self) -> float:
        return 1 - len(self.wrong) / self.of if self.of else 1.0


def wanted() -> dict[str, list[Wanted]]:
    """The rows that nDPI (or suricata) and tshark agree on, by file."""
    rows: dict[str, list[Wanted]] = defaultdict(list)
    with open(CORPORA / "INDEX.tsv", newline="") as file:
        _, *lines = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    for name, _flow, _l4, a, b, proto, _expected, told, agree, info in lines:
        kind = KINDS.get(proto.partition(".")[0])
        if agree == "=" and kind:
            rows[name].append(Wanted(name, kind, a, b, told, info))
    return rows


def end(addr: str, port: int) -> str:
    return f"[{addr}]:{port}" if ":" in addr else f"{addr}:{port}"


@cache
def packs() -> Policy:
    return store.load(None, 1)


def replayed(frames: Iterable[Frame], file: str = "") -> Iterator[dict]:
    """Rows as `consentry replay` without --rules makes them; nobody looks at places here."""
    one = Replay(Gateway(Everybody()), packs(), all_names=True)
    for flow in one.play((*frame, 0, len(frame[2])) for frame in frames):
        yield flow.to_json(file)


def reversed_segments(frames: list[Frame]) -> list[Frame]:
    """What one side says in a row comes last first, ten packets at a time; handshakes stay where they are."""
    changed = list(frames)
    run: dict[frozenset, tuple[object, list[int]]] = {}

    def turn(places: list[int]) -> None:
        for place, other in zip(places, reversed(places), strict=True):
            changed[place] = frames[place][0], frames[other][1], frames[other][2]

    for at, (_, kind, frame) in enumerate(frames):
        start = link.ip_at(kind, frame)
        packet = ip.parse(frame[start:]) if start >= 0 else NOT_MINE
        if packet is NOT_MINE or packet.proto not in (ip.TCP, ip.UDP) or packet.payload >= packet.end or packet.flags & ip.SYN:
            continue
        flow = frozenset(((packet.src, packet.sport), (packet.dst, packet.dport)))
        says = packet.src, packet.sport  # on a machine's own loopback both ends have one address
        side, places = run.get(flow, (None, []))
        if side != says or len(places) >= WINDOW:
            turn(places)
            side, places = run[flow] = says, []
        places.append(at)
    for _, places in run.values():
        turn(places)
    return changed


def duplicated(frames: list[Frame]) -> list[Frame]:
    """Every packet twice."""
    return [frame for frame in frames for _ in range(2)]


def measure(variant: Callable[[list[Frame]], list[Frame]] = list) -> dict[str, Score]:
    scores = {kind: Score() for kind in (TLS, HTTP, QUIC)}
    for file, rows in wanted().items():
        found = defaultdict(list)
        frames = variant(list(Capture(CORPORA / file)))
        for row in replayed(frames, file):
            ends = end(row["src"], row["sport"]), end(row["dst"], row["dport"])
            found[frozenset(ends)].append(row)
        for want in rows:
            score = scores[want.kind]
            score.of += 1
            there = found[frozenset((want.a, want.b))]
            names = {name["name"] for row in there for name in row["names"]}
            best = {row["name"] for row in there if row["via"] != "httpdns"}
            asked = {name["name"] for row in there for name in row["names"] if row["via"] == "httpdns"}
            if want.host not in best | asked:  # what is asked past our DNS is shown first, the server's own name behind it
                score.wrong.append((want, sorted(names) or [row["reason"] for row in there] or "no such flow"))
    return scores


def report(variant: str, scores: dict[str, Score]) -> Iterator[str]:
    """The figures, and each exception with what was found in its place."""
    for kind, score in scores.items():
        yield f"{variant}, {kind}: {score.of - len(score.wrong)} of {score.of} names match ({score.share:.2%})"
        if kind in MEASURED:
            for want, got in score.wrong:
                yield f"    {want.file} {want.a} {want.b} {want.name} ({want.info}): {got}"


if __name__ == "__main__":
    for way in (list, reversed_segments, duplicated):
        print(*report(way.__name__, measure(way)), sep="\n")
