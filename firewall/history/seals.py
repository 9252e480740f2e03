"""Seals: a chain of hashes over what no longer changes, one link about each minute in which something happened.

A link covers the closed rows and the notes since the link before it (ids only grow, and rows close in their order), and
the seal of that link. Allowed rows are hashed apart, because they are forgotten first; what is forgotten leaves its
hashes behind, so that the chain stays whole.

    python -m firewall.history.seals FILE [SEAL]     looks at all of it, in a process of its own
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import re
import signal
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from firewall.history.rows import VERDICT, WHOLE, as_it_was
from firewall.history.schema import OLD_ROWS, reader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MOST_ROWS: Final = 20_000  # that one seal covers
FIRST: Final = bytes(32)  # stands where the first link has no link before it
KEPT, NO_ALLOWED, NOTHING = 0, 1, 2  # what is left of the rows of a link
SHOWN: Final = 100  # broken links that are told
SAYS: Final = (
    "A whole chain proves that no row or note was changed, added or removed since it was sealed, by accident or by "
    "somebody who did not make the chain anew. Whoever can write this file can make it anew. So keep the newest seal "
    "somewhere else, and verify with it: consentry history verify --expect SEAL"
)
_SEAL: Final = re.compile("[0-9a-f]{64}")
PR_SET_PDEATHSIG: Final = 1  # prctl(2)
_json = json.JSONEncoder(separators=(",", ":")).encode


class Link(NamedTuple):
    number: int
    at: float  # epoch seconds, by the house's time
    rows: int  # it covers the rows up to this id
    notes: int
    allowed: bytes  # SHA-256 of the rows of verdict allow, each a line of JSON
    others: bytes
    noted: bytes
    seal: bytes  # SHA-256 of the seal before and of everything above
    gone: int = KEPT  # not sealed: what has been forgotten since

    def __str__(self) -> str:
        return f"{self.number} {self.seal.hex()}"


NONE: Final = Link(0, 0.0, 0, 0, b"", b"", b"", FIRST)


def remembered(text: str) -> Link:
    """The number and the seal of a link that was printed; of what is none, `NONE`."""
    number, _, seal = text.partition(" ")
    if not (number.isdecimal() and _SEAL.fullmatch(seal)):
        return NONE
    return NONE._replace(number=int(number), seal=bytes.fromhex(seal))


def holds(db: sqlite3.Connection, link: Link) -> bool:
    """Whether its seal is in the chain."""
    found = db.execute("SELECT seal FROM seals WHERE number = ?", (link.number,)).fetchone()
    return link.number == 0 or (found is not None and found[0] == link.seal)


def last_link(db: sqlite3.Connection, lost: Link = NONE) -> Link:
    """`lost`: the last one of a file that is gone; the chain goes on after it where this file's ends earlier."""
    found = db.execute("SELECT * FROM seals ORDER BY number DESC LIMIT 1").fetchone()
    last = Link(*found) if found else NONE
    return last if last.number >= lost.number else last._replace(number=lost.number, seal=lost.seal)


def seal(db: sqlite3.Connection, closed: int, at: float, lost: Link = NONE) -> Link | None:
    """Within a transaction: the next link, over rows up to the id `closed` and all notes. None: nothing to seal."""
    before = last_link(db, lost)
    rows = db.execute(f"{WHOLE} WHERE e.id > ? AND e.id <= ? ORDER BY e.id LIMIT ?", (before.rows, closed, MOST_ROWS))
    allowed, others, seen, last = hashlib.sha256(), hashlib.sha256(), 0, before.rows
    for row in rows:
        (allowed if row[VERDICT] == "allow" else others).update(_line(row))
        seen, last = seen + 1, row[0]
    noted, last_note = _noted(db, before.notes, None)
    if not seen and last_note == before.notes:
        return None
    covered = last if seen == MOST_ROWS else max(closed, before.rows)
    link = Link(before.number + 1, at, covered, last_note, allowed.digest(), others.digest(), noted, b"")
    link = link._replace(seal=_seal(before.seal, link))
    db.execute("INSERT INTO seals VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", link)
    return link


def _line(row: tuple[Any, ...]) -> bytes:
    """A row as it is hashed: one that no consent let pass as it was before there were any."""
    return _json(as_it_was(row)).encode() + b"\n"


def _seal(before: bytes, link: Link) -> bytes:
    facts = [link.number, link.at, link.rows, link.notes, link.allowed.hex(), link.others.hex(), link.noted.hex()]
    return hashlib.sha256(before + _json(facts).encode()).digest()


def _noted(db: sqlite3.Connection, after: int, upto: int | None) -> tuple[bytes, int]:
    noted, last = hashlib.sha256(), after
    select = "SELECT id, at, kind, text, who, uid FROM notes WHERE id > ? AND id <= ? ORDER BY id"
    for note in db.execute(select, (after, 1 << 62 if upto is None else upto)):
        noted.update(_json(note).encode() + b"\n")
        last = note[0]
    return noted.digest(), last


# -- looking at it -----------------------------------------------------------------------------------------------------


def broken(db: sqlite3.Connection, link: Link, before: Link) -> str:
    """What is wrong with a link; "" if nothing is."""
    if link.number != before.number + 1:
        first, last = before.number + 1, link.number - 1
        return f"seal {first} is missing" if first >= last else f"seals {first} to {last} are missing"
    if link.seal != _seal(before.seal, link):
        return "the seal does not fit to the one before it"
    if link.gone == NOTHING:
        return ""
    allowed, others = hashlib.sha256(), hashlib.sha256()
    for row in db.execute(f"{WHOLE} WHERE e.id > ? AND e.id <= ? ORDER BY e.id", (before.rows, link.rows)):
        (allowed if row[VERDICT] == "allow" else others).update(_line(row))
    if others.digest() != link.others or (link.gone == KEPT and allowed.digest() != link.allowed):
        return "rows were changed, added or removed"
    if _noted(db, before.notes, link.notes)[0] != link.noted:
        return "notes were changed, added or removed"
    return ""


def verify(db: sqlite3.Connection, expected: str = "") -> Iterator[dict[str, Any]]:
    """Now and then how far it is, and at last what was found. Raises sqlite3.Error."""
    db.execute("BEGIN")  # one state, however long it takes
    before = NONE
    found: list[dict[str, Any]] = []
    count = forgotten = 0
    met = not expected
    for values in _links(db):
        link = Link(*values)
        what = broken(db, link, before)
        if what:
            found.append({"minute": link.at, "seal": link.number, "what": what})
        met = met or link.seal.hex() == expected
        forgotten += link.gone == NOTHING
        before, count = link, count + 1
        if count % 1_000 == 0:
            yield {"minutes": count}
    if not met:
        found.append({"minute": before.at, "seal": 0, "what": f"the chain does not hold the seal {expected}"})
    waiting = db.execute("SELECT count(*) FROM episodes WHERE id > ?", (before.rows,)).fetchone()[0]
    old = db.execute("SELECT count(*) FROM sqlite_master WHERE name = ?", (OLD_ROWS,)).fetchone()[0]
    yield {
        "minutes": count, "sealed": before.rows, "forgotten": forgotten, "unsealed": waiting, "complete": not old,
        "broken": found[:SHOWN], "seal": before.seal.hex() if count else "", "says": SAYS,
    }


def _links(db: sqlite3.Connection) -> Iterable[tuple[Any, ...]]:
    number, select = -1, "SELECT * FROM seals WHERE number > ? ORDER BY number LIMIT 500"
    while some := db.execute(select, (number,)).fetchall():
        yield from some
        number = some[-1][0]


def main(file: str, expected: str = "") -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with contextlib.suppress(OSError):  # a service may not be allowed to; then it is as urgent as its parent
        os.nice(10)
    try:
        with contextlib.closing(reader(Path(file))) as db:
            for told in verify(db, expected):
                sys.stdout.write(json.dumps(told) + "\n")
                sys.stdout.flush()
    except sqlite3.Error as error:
        sys.stdout.write(json.dumps({"error": f"{file}: {error}"}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
