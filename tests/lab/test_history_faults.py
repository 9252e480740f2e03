"""The history's disk fails while phones go on: the gate does not notice, it is said on the screen, and it heals."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from judge import Lab, lab_up, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]
LISTED = "http://api.account.xiaomi.com/pass/v3/user"
LOCKER = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN EXCLUSIVE"); print("locked", flush=True); time.sleep(8); db.rollback()
"""


class Disk:
    """Where the running gateway keeps its history: a tmpfs of 3 MiB, mounted in its mount namespace alone."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.pid = json.loads(lab.consentry("status", "--json").stdout)["pid"]
        self.state = f"/run/consentry/{lab.name}/state"
        self.sh(f"mount -t tmpfs -o size=3m tmpfs {self.state}")
        wait_for(lambda: self.sh(f"test -e {self.file}", check=False) == 0)

    @property
    def file(self) -> str:
        return f"{self.state}/history.db"

    def sh(self, script: str, *, check: bool = True) -> int:
        return subprocess.run(["nsenter", "-t", str(self.pid), "-m", "sh", "-c", script], check=check, stderr=subprocess.DEVNULL).returncode

    def end(self) -> None:
        self.sh(f"umount -l {self.state}", check=False)


@pytest.fixture
def disk() -> Iterator[Disk]:
    with lab_up() as lab:
        made = Disk(lab)
        yield made
        made.end()


def trouble(lab: Lab) -> str:
    return json.loads(lab.consentry("status", "--json").stdout)["trouble"] or ""


def attempt(lab: Lab, word: str, tries: int = 5) -> None:
    """Uploads that must be refused, by one phone, while the other's requests must all pass."""
    for n in range(tries):
        lab.phone("curl", "-4", "-s", "-m", "2", "-d", f"{word}-{n}-token", LISTED, phone="phone1", check=False)
        lab.phone("curl", "-4", "-s", "-m", "5", "-o", "/dev/null", f"http://example.com/{word}-{n}", phone="phone2")


def judged(lab: Lab, word: str) -> None:
    payloads = "\n".join(row["payload"] for row in lab.sinks())
    assert f"{word}-0-token" not in payloads
    assert f"{word}-4" in payloads  # the positive control
    assert f"{word}-4-token" not in payloads


def blow(disk: Disk, name: str, strike: Callable[[], object], heal: Callable[[], object], said: str) -> None:
    attempt(disk.lab, f"before-{name}")
    strike()
    attempt(disk.lab, f"during-{name}")
    if said:
        wait_for(lambda: said in trouble(disk.lab), 20)
    judged(disk.lab, f"during-{name}")
    heal()
    began = time.monotonic()
    wait_for(lambda: "history" not in trouble(disk.lab), 15)
    attempt(disk.lab, f"after-{name}")
    def found() -> str:  # what was refused after it had healed
        return disk.lab.consentry("history", "verdict:refused last:5m", check=False).stdout

    wait_for(found, 10)
    print(f"{name}: healed after {time.monotonic() - began:.1f} s")
    assert disk.lab.state_is("ENFORCING")


def test_a_full_disk(disk: Disk) -> None:
    def fill() -> None:
        disk.sh(f"dd if=/dev/zero of={disk.state}/fill bs=64k; dd if=/dev/zero of={disk.state}/fill2 bs=4k", check=False)

    blow(disk, "full", fill, lambda: disk.sh(f"rm {disk.state}/fill {disk.state}/fill2"), "full")


def test_a_disk_that_becomes_read_only(disk: Disk) -> None:
    def strike() -> None:
        # a file that is open for writing forbids it: the filesystem is replaced by a read-only view of itself
        disk.sh(f"mount --bind {disk.state} {disk.state} && mount -o remount,bind,ro {disk.state}")

    blow(disk, "ro", strike, lambda: disk.sh(f"umount {disk.state}"), "")


def test_another_program_locks_it(disk: Disk) -> None:
    lockers = []

    def strike() -> None:
        command = ["nsenter", "-t", str(disk.pid), "-m", "/usr/bin/env", "python3", "-c", LOCKER, disk.file]
        locker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert locker.stdout is not None
        assert locker.stdout.readline() == "locked\n"
        locker.stdout.close()
        lockers.append(locker)

    blow(disk, "locked", strike, lambda: lockers.pop().wait(timeout=20), "locked")


def test_a_damaged_file(disk: Disk) -> None:
    strike = f"dd if=/dev/urandom of={disk.file} bs=4096 count=64 conv=notrunc; : > {disk.file}-wal"
    blow(disk, "damaged", lambda: disk.sh(strike), lambda: None, "")
    wait_for(lambda: disk.sh(f"ls {disk.state}/history.db.corrupt-*", check=False) == 0, 10)
    assert "damaged" in disk.lab.consentry("history", "notes").stdout


def test_a_file_that_is_removed(disk: Disk) -> None:
    blow(disk, "removed", lambda: disk.sh(f"rm {disk.file}*"), lambda: None, "")
    assert disk.sh(f"test -e {disk.file}") == 0
