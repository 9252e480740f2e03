"""The disk fails while phones go on: the gate does not notice, it is said on the screen, and it heals. b15 to b24 of
threats-and-tests.md.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from judge import Lab, environment, lab_up, lines, wait_for

from firewall.control import AsyncClient

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]
LISTED = "http://api.account.xiaomi.com/pass/v3/user"
FROZEN_SECONDS = 3.0
LOCKER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN EXCLUSIVE"); print("locked", flush=True); sys.stdin.read(); db.rollback()
"""


class Disk:
    """Where the running gateway keeps its history: a small disk of its own, mounted in its mount namespace alone."""

    def __init__(self, lab: Lab, mount: str = "-t tmpfs -o size=3m tmpfs") -> None:
        self.lab = lab
        self.pid = int(Path("/run/consentry", lab.name, "supervisor.pid").read_text())  # it lives on; the gateway's namespace is its
        self.state = f"/run/consentry/{lab.name}/state"
        self.sh(f"mount {mount} {self.state}")
        wait_for(lambda: self.sh(f"test -e {self.file}", check=False) == 0)

    def with_the_state(self) -> None:
        """A next gateway has everything on it, consents as well."""
        before = self.lab.status["gateway_pid"]
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: self.lab.status["gateway_pid"] not in {None, before} and self.lab.state_is("ENFORCING"), 20)
        assert self.sh(f"test -e {self.state}/state.db", check=False) == 0

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
    """Uploads that must be refused, by one phone, while the other's requests must all pass; IPv4 and IPv6 in turn."""
    for n in range(tries):
        family = ("-4", "-6")[n % 2]
        lab.phone("curl", family, "-s", "-m", "2", "-d", f"{word}-{n}-token", LISTED, phone="phone1", check=False)
        lab.phone("curl", family, "-s", "-m", "15", "-o", "/dev/null", f"http://example.com/{word}-{n}", phone="phone2")


def judged(lab: Lab, word: str) -> None:
    payloads = "\n".join(row["payload"] for row in lab.sinks())
    for n in range(5):
        assert re.search(f"{word}-{n}(?!-token)", payloads)  # the positive control
        assert f"{word}-{n}-token" not in payloads


def followed(lab: Lab) -> str:
    """The trouble as a screen that follows is told it."""
    async def first() -> str:
        async with asyncio.timeout(10), AsyncClient(Path(environment(lab.name)["CONSENTRY_SOCKET"])) as client:
            async for item in client.stream("follow"):
                if "status" in item:
                    return item["status"]["trouble"] or ""
        return ""

    return asyncio.run(first())


def noted(lab: Lab) -> list[str]:
    rows = lines(lab.consentry("history", "notes", "--limit", "20", "--json", check=False).stdout)
    return [row["text"] for row in rows if row["kind"] == "trouble"]


def blow(disk: Disk, name: str, strike: Callable[[], object], heal: Callable[[], object], said: str, press: Callable[[], object] = bool) -> None:
    """`said`: what status and screen say while it lasts, and a note when it is over. "": it is over too soon for that.

    `press`: what keeps it up until then.
    """
    attempt(disk.lab, f"before-{name}")
    strike()
    attempt(disk.lab, f"during-{name}")
    if said:
        wait_for(lambda: press() or re.search(said, trouble(disk.lab)), 20)
        wait_for(lambda: press() or re.search(said, followed(disk.lab)), 5)
    judged(disk.lab, f"during-{name}")
    heal()
    began = time.monotonic()
    wait_for(lambda: "cannot be written" not in trouble(disk.lab), 15)
    attempt(disk.lab, f"after-{name}")
    def found() -> str:  # what was refused after it had healed
        return disk.lab.consentry("history", "verdict:refused last:5m", check=False).stdout

    wait_for(found, 10)
    if said:
        wait_for(lambda: any(text.startswith("the history could not be written for ") and re.search(said, text) for text in noted(disk.lab)), 10)
    print(f"{name}: healed after {time.monotonic() - began:.1f} s")
    assert disk.lab.state_is("ENFORCING")


def test_a_full_disk(disk: Disk) -> None:
    def fill() -> None:
        disk.sh(f"cat /dev/zero >> {disk.state}/fill", check=False)

    def press() -> None:
        """The log may still have room for a few rows, and what makes room in it gives it back to the disk."""
        fill()
        disk.lab.phone("curl", "-s", "-m", "2", "-d", "pressed-token", LISTED, phone="phone1", check=False)

    blow(disk, "full", fill, lambda: disk.sh(f"rm {disk.state}/fill"), "full", press)
    assert not disk.lab.arrived("pressed-token")


def ext4(folder: Path) -> str:
    """How to mount one that gives up at its first error."""
    image = folder / "disk"
    with image.open("wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    return f"-o loop,errors=remount-ro {image}"


def test_a_disk_that_becomes_read_only(tmp_path: Path) -> None:
    """As a failing disk does: ext4 gives up, and what is open for writing cannot be written any more (EROFS)."""
    with lab_up() as lab:
        disk = Disk(lab, ext4(tmp_path))

        def strike() -> None:
            disk.sh(f"mount -o remount,abort {disk.state}")
            done = lab.consentry("rules", "add", "block name:readonly.example", check=False)
            assert (done.returncode, done.stdout) == (1, "")  # an edit that cannot be kept is refused, and says why
            assert "nothing was changed, for it cannot be written" in done.stderr

        def heal() -> None:
            disk.end()
            disk.sh(f"mount -t tmpfs -o size=3m tmpfs {disk.state}")

        try:
            blow(disk, "ro", strike, heal, "readonly")
        finally:
            disk.end()


def grant(lab: Lab, phone: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    return lab.consentry("consents", "grant", phone, "service:xiaomi-account", "--for", "1h", check=check)


def holding(lab: Lab) -> list[str]:
    return [one["phone"] for one in lines(lab.consentry("consents", "list", "--json").stdout)]


def test_a_disk_that_stands_still_and_then_becomes_read_only_takes_no_consent(tmp_path: Path) -> None:
    """fsync that takes seconds (b24), on a file system that is really frozen: a grant waits and is none before it is stored;
    the gate, and who only looks, go on. Then it gives up (b16): a grant is refused, and nothing opens.
    """
    with lab_up() as lab:
        disk = Disk(lab, ext4(tmp_path))
        try:
            disk.with_the_state()
            frozen_for_a_while(disk)
            attempt(lab, "before-abort")
            disk.sh(f"mount -o remount,abort {disk.state}")
            done = grant(lab, "phone2", check=False)
            assert (done.returncode, "not granted: it could not be stored: " in done.stderr) == (1, True), done.stderr
            lab.phone("curl", "-s", "-m", "2", "-d", "never-stored-token", LISTED, phone="phone2", check=False)
            assert not lab.arrived("never-stored-token")
            assert holding(lab) == []
            assert lab.state_is("ENFORCING")
        finally:
            disk.end()


def frozen_for_a_while(disk: Disk) -> None:
    lab = disk.lab
    disk.sh(f"fsfreeze -f {disk.state}")
    try:
        with ThreadPoolExecutor(1) as pool:
            began = time.monotonic()
            waits = pool.submit(grant, lab, "phone1")
            attempt(lab, "frozen")
            judged(lab, "frozen")
            assert holding(lab) == []
            assert lines(lab.consentry("asks", "--json").stdout) != []
            assert lab.state_is("ENFORCING")
            wait_for(lambda: time.monotonic() - began > FROZEN_SECONDS)
            assert not waits.done(), waits.exception()
            assert holding(lab) == []
            disk.sh(f"fsfreeze -u {disk.state}")
            waits.result(60)
    finally:
        disk.sh(f"fsfreeze -u {disk.state}", check=False)
    assert holding(lab) == ["phone1"]
    lab.phone("curl", "-s", "-m", "20", "-d", "stored-token", LISTED, phone="phone1")
    assert wait_for(lambda: lab.arrived("stored-token"))
    lab.consentry("consents", "revoke", "phone1", "service:xiaomi-account")


def test_another_program_locks_it(disk: Disk) -> None:
    lockers = []

    def strike() -> None:
        command = ["nsenter", "-t", str(disk.pid), "-m", "/usr/bin/env", "python3", "-c", LOCKER, disk.file]
        locker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert locker.stdout is not None
        assert locker.stdout.readline() == "locked\n"
        lockers.append(locker)

    blow(disk, "locked", strike, lambda: lockers.pop().communicate(timeout=20), "locked")


def test_a_damaged_file(disk: Disk) -> None:
    strike = f"dd if=/dev/urandom of={disk.file} bs=4096 count=64 conv=notrunc; : > {disk.file}-wal"
    blow(disk, "damaged", lambda: disk.sh(strike), lambda: None, "")
    wait_for(lambda: disk.sh(f"ls {disk.state}/history.db.corrupt-*", check=False) == 0, 10)
    wait_for(lambda: "damaged" in disk.lab.consentry("history", "notes").stdout)


def test_a_file_that_is_removed_and_one_that_is_emptied(disk: Disk) -> None:
    """b20: SQLite goes on without a word; Consentry says it on the screen, in the log and when the history is verified."""
    for became, stroke in (("removed", f"rm {disk.file}*"), ("emptied", f": > {disk.file}")):
        blow(disk, became, lambda stroke=stroke: disk.sh(stroke), lambda: None, "")
        wait_for(lambda: disk.sh(f"test -s {disk.file}", check=False) == 0)
        said = f"the history's file was {became}; what only it held is lost"
        wait_for(lambda said=said: said in trouble(disk.lab))
        assert said in followed(disk.lab)
        wait_for(lambda said=said: said in noted(disk.lab))
        wait_for(lambda said=said: said in Path(disk.state, "gateway.log").read_text())
        verified = wait_for(lambda: (done := disk.lab.consentry("history", "verify", check=False)).returncode and done)  # once it is sealed
        assert "missing" in verified.stdout, verified.stdout
