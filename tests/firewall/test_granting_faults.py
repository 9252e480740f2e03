"""What the disk did not take did not happen, and is said; what was said is on the disk."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from owners import BEN, House, grant

from firewall.control import Refused
from firewall.inputs import (
    ConsentEnded,
    ConsentsRemembered,
)
from firewall.state import StateError
from rules.consent import Subject


@pytest.fixture
async def house(tmp_path: Path) -> House:
    return House(tmp_path)


def fill(house: House) -> None:
    """state.db can have no page more than it has."""
    db = house.state._db
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")
    with contextlib.suppress(StateError):
        for n in range(10_000):
            house.state.set_word(f"ballast {n}", "x" * 400)


async def test_a_full_database_grants_nothing_and_says_so(house: House) -> None:
    before = await grant(house, subject=Subject.parse("name:a.example"))
    fill(house)
    house.delivered.clear()
    for n in range(40):  # rows may still fit into a page that is there: sooner or later none does
        try:
            await grant(house, subject=Subject.parse(f"name:b{n}.{'x' * 60}.{'y' * 60}.example"))
        except Refused as error:
            assert str(error).startswith("not granted: it could not be stored: ")  # noqa: PT017
            assert "full" in str(error)  # noqa: PT017
            break
    else:
        pytest.fail("the database is not full")
    assert [one.consent.id for one in house.delivered] == [one.consent.id for one in house.state.consents()][1:]
    assert house.granting.active[0] == before
    assert len(house.granting.active) == len(house.delivered) + 1
    with sqlite3.connect(house.path / "state.db") as db:
        db.execute("DELETE FROM words")
    house.state._db.execute("PRAGMA max_page_count = 100000")
    await grant(house, subject=Subject.parse("name:last.example"))  # nothing stays broken


def test_a_full_disk_grants_nothing_and_says_so(tmp_path: Path) -> None:
    """On a tmpfs of 256 KiB of our own: what was granted until it was full is there, nothing else, and room heals it."""
    code = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from owners import House
from firewall.consents import Life
from firewall.control import Refused
from firewall.granting import Wanted
from firewall.inputs import Author
from rules.consent import Subject

async def main():
    house, given = House(Path()), []
    ballast = Path("ballast").open("wb", buffering=0)
    try:
        while ballast.write(bytes(4096)): pass
    except OSError: pass
    wanted = lambda n: (Wanted(1, "", "anna", Subject.parse(f"name:h{n}.example"), Life.H1, "cli"),)
    for n in range(100):
        try:
            given += await house.granting.grant(wanted(n), Author("anna"))
        except Refused as error:
            print(error)
            break
    assert house.grants("anna") == [one.id for one in given], (house.grants("anna"), given)
    ballast.close(); Path("ballast").unlink()
    given += await house.granting.grant(wanted(1000), Author("anna"))
    house.start()
    assert house.granting.active == given
    print("healed", len(given))

asyncio.run(main())
"""
    script = f'mount -t tmpfs -o size=256k tmpfs {tmp_path} && cd {tmp_path} && exec {sys.executable} -c "$CODE" {Path(__file__).parents[1] / "helpers"}'
    done = subprocess.run(["unshare", "-m", "bash", "-c", script], env=os.environ | {"CODE": code, "PYTHONPATH": str(Path(__file__).parents[2])}, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-1500:]
    refused, healed = done.stdout.splitlines()
    assert refused.startswith("not granted: it could not be stored: ")
    assert healed.startswith("healed ")


async def test_a_read_only_database_grants_nothing_but_still_takes_back(house: House) -> None:
    given = await grant(house)
    house.state._db.execute("PRAGMA query_only = ON")
    house.delivered.clear()
    with pytest.raises(Refused, match="not granted: it could not be stored: .*readonly"):
        await grant(house, slot=2)
    assert (house.delivered, len(house.granting.active)) == ([], 1)
    ended, _, trouble = await house.granting.revoke([given.id], BEN)
    assert house.delivered == [ConsentEnded(given.id, "revoked by ben", BEN)]  # what closes does not wait for a disk
    assert "could not be stored and is tried again" in trouble
    assert house.granting.active == []
    await house.granting.store()
    assert [one.consent.id for one in house.state.consents()] == [given.id]
    house.state._db.execute("PRAGMA query_only = OFF")
    await house.granting.store()
    assert house.state.consents() == ()
    (stored,) = house.state.ended_consents(5)
    assert (stored.consent.why, stored.ender, stored.consent) == ("revoked by ben", "ben", ended[0].consent)


async def test_without_a_state_nothing_is_granted(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"no database" * 1_000)
    house = House(tmp_path)
    with pytest.raises(Refused, match=r"not granted: state\.db cannot be read"):
        await grant(house)


async def test_who_goes_away_meanwhile_leaves_no_half_a_grant(house: House) -> None:
    for turn in range(12):
        asking = asyncio.ensure_future(grant(house, subject=Subject.parse(f"name:h{turn}.example")))
        for _ in range(turn):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        while house.granting._whole._running:
            await asyncio.sleep(0.001)
        stored = [one.consent.id for one in house.state.consents()]
        assert stored == [one.id for one in house.granting.active] == [one.consent.id for one in house.delivered]


def test_killed_between_the_disk_and_the_gate(tmp_path: Path) -> None:
    """Whatever was said is there after the kill; what was not said may be, and is then in force."""
    code = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from owners import House
from firewall.consents import Life
from firewall.granting import Wanted
from firewall.inputs import Author
from rules.consent import Subject

async def main():
    house = House(Path(sys.argv[1]))
    first = len(house.granting.active)
    for n in range(first, 100):
        await house.granting.grant((Wanted(1, "", "anna", Subject.parse(f"name:h{n}.example"), Life.H1, "cli"),), Author("anna"))
        print(n, flush=True)
asyncio.run(main())
"""
    said: list[int] = []
    for _ in range(4):
        child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parents[1] / "helpers")], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(6)]
        os.kill(child.pid, signal.SIGKILL)
        lines += child.stdout.readlines()
        child.stdout.close()
        child.wait()
        said += [int(line) for line in lines if line.endswith("\n")]
        house = House(tmp_path)
        there = [one.subject.what for one in house.granting.active]
        assert len(there) >= len(said)
        assert there == [f"h{n}.example" for n in range(len(there))]
        assert house.delivered == [ConsentsRemembered(tuple(house.granting.active))]  # in force, before any packet
        house.state.close()


@pytest.mark.parametrize("act", ["grant", "revoke"])
def test_killed_exactly_between_the_disk_and_the_gate(tmp_path: Path, act: str) -> None:
    """It was never said: a grant is stored by then and in force; a revocation cuts first, and has to be said again."""
    code = """
import asyncio, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from owners import House
from firewall.consents import Life
from firewall.granting import Wanted
from firewall.inputs import Author
from rules.consent import Subject

async def main():
    house = House(Path(sys.argv[1]))
    wanted = (Wanted(1, "", "anna", Subject.parse("name:a.example"), Life.H1, "cli"),)
    if sys.argv[3] == "revoke":
        await house.granting.grant(wanted, Author("anna"))
    house.granting._deliver = lambda batch: os.kill(os.getpid(), 9)
    await (house.granting.revoke([1], Author("ben")) if sys.argv[3] == "revoke" else house.granting.grant(wanted, Author("anna")))
    print("said", flush=True)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parents[1] / "helpers"), act], capture_output=True, text=True, check=False, timeout=100)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, ""), done.stderr
    assert House(tmp_path).grants("anna") == [1]


async def test_garbage_in_the_table_of_consents_lets_nothing_pass(house: House) -> None:
    await grant(house)
    with sqlite3.connect(house.path / "state.db") as db:
        db.execute("UPDATE consents SET kind = 'everything'")
    with pytest.raises(StateError, match="consent 1"):
        house.start()
    assert house.delivered == []


async def test_a_grant_waits_for_no_reader_and_no_reader_for_it(house: House) -> None:
    """While another process holds the database for a moment, the grant is late and whole."""
    with sqlite3.connect(house.path / "state.db", isolation_level=None, check_same_thread=False) as other:
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(0.3, lambda: other.execute("ROLLBACK")).start()
        given = await grant(house)
    assert [one.consent for one in house.state.consents()] == [given]


def test_that_the_bytes_are_on_the_disk_when_it_is_said(tmp_path: Path) -> None:
    """SQLite's own word for it: a commit with synchronous=FULL in WAL mode has called fsync (sqlite.org/pragma.html)."""
    house = House(tmp_path)
    assert house.state._db.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert house.state._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
