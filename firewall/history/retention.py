"""Forgetting. What is sealed goes by whole minutes, oldest first, and its seals stay.

Allowed rows are kept for a day, for the gateway is no spy; then they are counts per hour, phone and organisation. All
others are kept for 90 days, or until there is too much.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from firewall.history.rows import forget_hits, forget_subject
from firewall.history.seals import KEPT, NO_ALLOWED, NOTHING

if TYPE_CHECKING:
    import sqlite3

KEEP_SECONDS: Final = 90 * 86_400
KEEP_ALLOWED_SECONDS: Final = 86_400
LARGEST: Final = 2 << 30  # bytes in use; beyond it the oldest minutes go
STEP_ROWS: Final = 2_000  # at a time, so that writing never waits long

_COUNT: Final = """
    INSERT INTO counts SELECT CAST(e.first / 3600 AS INTEGER) * 3600, k.phone, s.organisation, sum(e.count),
        sum(e.bytes_up), sum(e.bytes_down)
    FROM episodes e CROSS JOIN subjects s ON s.id = e.subject CROSS JOIN kinds k ON k.id = e.kind
    WHERE k.verdict = 'allow' AND e.id IN (SELECT value FROM json_each(?)) GROUP BY 1, 2, 3
    ON CONFLICT DO UPDATE SET count = count + excluded.count, bytes_up = bytes_up + excluded.bytes_up,
        bytes_down = bytes_down + excluded.bytes_down
"""


def forget(db: sqlite3.Connection, now: float, *, largest: int = LARGEST, step: int = STEP_ROWS) -> int:
    """Within a transaction: some of what is to go; how many rows went. As many as `step`: there is more."""
    mark(db, now - KEEP_ALLOWED_SECONDS, KEPT, NO_ALLOWED, now)
    for stage in (KEPT, NO_ALLOWED):
        mark(db, now - KEEP_SECONDS, stage, NOTHING, now)
    if size(db) > largest:
        mark_oldest(db)
    db.execute("DELETE FROM counts WHERE hour < ?", (now - KEEP_SECONDS,))
    forget_hits(db, now - KEEP_SECONDS)
    return sweep(db, step)


def mark(db: sqlite3.Connection, before: float, stage: int, gone: int, now: float) -> None:
    """What was sealed before then is to go. Minutes go in their order, whatever their clocks said: one that claims
    to be of the future keeps none behind it.
    """
    select = "SELECT min(number) FROM seals WHERE gone = ? AND at >= ? AND at <= ?"
    young = db.execute(select, (stage, before, now + KEEP_ALLOWED_SECONDS)).fetchone()[0]
    edge = 1 << 62 if young is None else young
    db.execute("UPDATE seals SET gone = ? WHERE gone = ? AND number < ?", (gone, stage, edge))


def mark_oldest(db: sqlite3.Connection) -> None:
    """The oldest minutes, until there are some rows to go."""
    done = _edge(db, NOTHING)
    if db.execute("SELECT 1 FROM episodes WHERE id <= ? LIMIT 1", (done,)).fetchone():
        return  # the last ones have not gone yet
    some = db.execute("SELECT id FROM episodes ORDER BY id LIMIT 1 OFFSET 500").fetchone()
    if some:
        db.execute(
            "UPDATE seals SET gone = ? WHERE number <= (SELECT min(number) FROM seals WHERE rows >= ?) AND gone < ?",
            (NOTHING, some[0], NOTHING),
        )


def sweep(db: sqlite3.Connection, step: int) -> int:
    """Remove rows of what is marked."""
    all_gone, allowed_gone = _edge(db, NOTHING), max(_edge(db, NO_ALLOWED), _edge(db, NOTHING))
    select = "SELECT id, subject, kind FROM episodes WHERE id <= ? ORDER BY id LIMIT ?"
    rows = db.execute(select, (all_gone, step)).fetchall()
    others = len(rows)
    kinds = [number for (number,) in db.execute("SELECT id FROM kinds WHERE verdict = 'allow'")]
    swept = db.execute("SELECT coalesce((SELECT value FROM marks WHERE word = 'swept'), 0)").fetchone()[0]
    allowed: list[tuple[int, int, int]] = []
    if others < step and kinds and max(swept, all_gone) < allowed_gone:
        select = (
            "SELECT id, subject, kind FROM episodes WHERE id > ? AND id <= ? "  # noqa: S608
            f"AND kind IN ({', '.join('?' * len(kinds))}) ORDER BY id LIMIT ?"
        )
        allowed = db.execute(select, (max(swept, all_gone), allowed_gone, *kinds, step - others)).fetchall()
        reached = allowed[-1][0] if len(allowed) == step - others else allowed_gone
        db.execute("INSERT OR REPLACE INTO marks VALUES ('swept', ?)", (reached,))
    notes = db.execute("SELECT coalesce(max(notes), 0) FROM seals WHERE gone = ?", (NOTHING,)).fetchone()[0]
    db.execute("DELETE FROM notes WHERE id <= ?", (notes,))
    gone = rows + allowed
    db.execute(_COUNT, (json.dumps([number for number, *_ in gone]),))
    db.executemany("DELETE FROM episodes WHERE id = ?", [(number,) for number, *_ in gone])
    for subject in {subject for _, subject, _ in gone}:
        forget_subject(db, subject)
    empty = "DELETE FROM kinds WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM episodes WHERE kind = ?1)"
    db.executemany(empty, {(kind,) for *_, kind in gone})
    return len(gone)


def _edge(db: sqlite3.Connection, gone: int) -> int:
    """Up to this row they are to go."""
    return int(db.execute("SELECT coalesce(max(rows), 0) FROM seals WHERE gone = ?", (gone,)).fetchone()[0])


def spare(db: sqlite3.Connection) -> int:
    """Bytes of pages that rows have left behind, for new ones."""
    free, page = (int(db.execute(f"PRAGMA {word}").fetchone()[0]) for word in ("freelist_count", "page_size"))
    return free * page


def size(db: sqlite3.Connection) -> int:
    """Bytes in use. The file itself never shrinks: pages of rows that were deleted stay in it for new ones."""
    words = ("page_count", "freelist_count", "page_size")
    pages, free, page = (int(db.execute(f"PRAGMA {word}").fetchone()[0]) for word in words)
    return (pages - free) * page
