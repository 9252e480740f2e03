"""Consents that are kept, with a real gate around them: its death, its disk, its clock, and two owners at once."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from judge import Lab, lab_up, lines, wait_for

pytestmark = pytest.mark.lab
HOST = "api.account.xiaomi.com"
AGAIN = """
import sys
from dataclasses import replace
from pathlib import Path
from firewall import start
from firewall.settings import Settings
settings = Settings.read(Path(sys.argv[1]))
start.end(settings)
if sys.argv[3]:
    import sqlite3
    with sqlite3.connect(Path(settings.state_dir, "state.db")) as db:
        db.execute(sys.argv[3])
start.start(replace(settings, lab=False), ["ip", "netns", "exec", sys.argv[2]])
"""


def upload(lab: Lab, token: str, phone: str = "phone1") -> bool:
    """Whether the far end had it, over both families or neither."""
    code = f"for family in -4 -6; do curl $family -s -o /dev/null -m 20 -d {token}$family- http://{HOST}/; done; true"
    lab.phone("sh", "-c", code, phone=phone)
    four, six = (lab.arrived(f"{token}{family}-") for family in ("-4", "-6"))
    assert four is six
    return four


def asks(lab: Lab, *words: str) -> list[dict]:
    return lines(lab.consentry("asks", *words, "--json").stdout)


def active(lab: Lab) -> list[dict]:
    return lines(lab.consentry("consents", "list", "--json").stdout)


def grant(lab: Lab, life: str = "1h", phone: str = "phone1", *, check: bool = True) -> subprocess.CompletedProcess[str]:
    return lab.consentry("consents", "grant", phone, "service:xiaomi-account", "--for", life, "--json", check=check)


@pytest.fixture(autouse=True)
def anew(lab: Lab) -> Iterator[None]:
    """Every test begins without consents, at the time that it is."""
    lab.consentry("lab", "time", "reset")
    yield
    wait_for(lambda: lab.state_is("ENFORCING"))
    for one in active(lab):
        lab.consentry("consents", "revoke", str(one["id"]), check=False)


def test_from_the_question_to_the_end(lab: Lab) -> None:
    assert not upload(lab, "TOKEN-before")
    asked = wait_for(lambda: asks(lab))[0]
    assert (asked["phone"], asked["kind"], asked["what"], asked["names"][0]["name"]) == ("phone1", "service", "xiaomi-account", HOST)
    given = json.loads(grant(lab).stdout)
    assert asks(lab) == []
    assert upload(lab, "TOKEN-during")
    assert not upload(lab, "TOKEN-other-phone", "phone2")
    (row,) = wait_for(lambda: [row for row in lab.history(f"name:{HOST} verdict:consent") if row["consent"] == given["id"]])
    assert row["phone"] == "phone1"
    wait_for(lambda: active(lab)[0]["up"] > 0)
    assert active(lab)[0]["flows"] == 2
    lab.consentry("consents", "revoke", str(given["id"]))
    assert [one["phone"] for one in asks(lab)] == ["phone2"]  # a flow that was cut is no new try
    assert not upload(lab, "TOKEN-after")
    assert wait_for(lambda: [one for one in asks(lab) if one["phone"] == "phone1"])[0]["id"] == asked["id"]

    def noted() -> list[tuple[str, str, int]]:
        notes = [note for note in lines(lab.consentry("history", "notes", "--json").stdout) if note["kind"] == "consent"]
        return [(note["text"].split(":")[0], note["who"], note["uid"]) for note in notes[:2]]

    wait_for(lambda: noted() == [(f"consent {given['id']} ended", "root", 0), (f"consent {given['id']}", "root", 0)])
    assert json.loads(lab.consentry("history", "verify", "--json").stdout)["broken"] == []


@contextmanager
def ruled(lab: Lab, rule: str, at: str) -> Iterator[None]:
    lab.consentry("rules", "add", rule, "--at", at)
    try:
        yield
    finally:
        lab.consentry("rules", "undo")


def test_case_4_a_block_below_an_ask_that_is_answered_comes_too_late(lab: Lab) -> None:
    with ruled(lab, "ask service:xiaomi-account", "1"):
        with ruled(lab, f"block name:{HOST}", "2"):
            assert not upload(lab, "TOKEN-unasked")
            grant(lab)
            assert upload(lab, "TOKEN-below")
        with ruled(lab, f"block name:{HOST}", "1"):
            assert not upload(lab, "TOKEN-above")
        assert upload(lab, "TOKEN-neither")


def test_case_13_what_never_had_refused_is_granted_and_the_next_try_passes(lab: Lab) -> None:
    """While it is blocked its name does not exist, for two seconds (test_gate); after that no cache is in the way."""
    assert not upload(lab, "TOKEN-asked")
    asked = wait_for(lambda: [one for one in asks(lab) if one["phone"] == "phone1"])[0]
    lab.consentry("asks", "never", str(asked["id"]))
    try:
        assert lab.phone("getent", "hosts", HOST, check=False).stdout == ""
    finally:
        lab.consentry("rules", "undo")
    assert lab.phone("getent", "hosts", HOST).stdout
    grant(lab)
    assert upload(lab, "TOKEN-granted")


def test_a_gate_that_was_killed_knows_its_consents(lab: Lab) -> None:
    given = json.loads(grant(lab).stdout)
    before = lab.status["gateway_pid"]
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: lab.status["gateway_pid"] not in {before, None} and lab.state_is("ENFORCING"), 20)
    assert [(one["id"], one["state"], one["given"]) for one in active(lab)] == [(given["id"], "active", given["given"])]
    assert upload(lab, "TOKEN-in-spite-of-death")
    os.kill(lab.status["gateway_pid"], signal.SIGKILL)
    wait_for(lambda: lab.state_is("ENFORCING"), 20)
    lab.consentry("consents", "revoke", str(given["id"]))
    assert not upload(lab, "TOKEN-after-the-end")


def test_killed_the_moment_it_was_said(lab: Lab) -> None:
    given = json.loads(grant(lab).stdout)
    os.kill(lab.status["gateway_pid"], signal.SIGKILL)
    wait_for(lambda: lab.state_is("ENFORCING"), 20)
    assert [one["id"] for one in active(lab)] == [given["id"]]
    lab.consentry("consents", "revoke", str(given["id"]))
    os.kill(lab.status["gateway_pid"], signal.SIGKILL)
    wait_for(lambda: lab.state_is("ENFORCING"), 20)
    assert active(lab) == []
    assert not upload(lab, "TOKEN-killed")


@contextmanager
def held(lab: Lab) -> Iterator[None]:
    """Somebody else has state.db: nothing can be written."""
    with closing(sqlite3.connect(f"/run/consentry/{lab.name}/state/state.db", isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("ROLLBACK")


def test_what_cannot_be_stored_is_not_granted_and_what_closes_does_not_wait(lab: Lab) -> None:
    assert not upload(lab, "TOKEN-1")
    with held(lab):
        refused = grant(lab, check=False)
        assert (refused.returncode, "not granted: it could not be stored: " in refused.stderr) == (1, True)
        assert (active(lab), len([one for one in asks(lab) if one["phone"] == "phone1"])) == ([], 1)
        assert not upload(lab, "TOKEN-2")
    grant(lab)
    assert upload(lab, "TOKEN-3")
    with held(lab):
        done = lab.consentry("consents", "revoke", "phone1", "service:xiaomi-account")
        assert "it is over, but that could not be stored and is tried again" in done.stderr
        assert not upload(lab, "TOKEN-4")
    database = Path(f"/run/consentry/{lab.name}/state/state.db")

    def stored() -> bool:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
            return db.execute("SELECT count(*) FROM consents WHERE ended = 0").fetchone() == (0,)

    wait_for(stored)


def test_a_disk_that_does_not_take_the_phones_is_said(lab: Lab) -> None:
    def trouble() -> str:
        return json.loads(lab.consentry("status", "--json").stdout)["trouble"] or ""

    with held(lab):
        lab.consentry("lab", "time", "+2m")  # so that when they were seen last is news
        upload(lab, "TOKEN-seen")
        said = wait_for(lambda: re.search("phones are not stored, which is tried again: .*locked", trouble()), 15)
    wait_for(lambda: said[0] not in trouble(), 10)


def test_time_is_told_and_the_wall_clock_may_jump(lab: Lab) -> None:
    grant(lab)
    for jump in ("+366d", "-732d"):
        lab.consentry("lab", "time", jump, "--wall")
        assert 3_500 < active(lab)[0]["left"] <= 3_600
        assert upload(lab, f"TOKEN-jump{jump}")
    lab.consentry("lab", "time", "reset")
    lab.consentry("lab", "time", "+59m")
    assert 0 < active(lab)[0]["left"] <= 60
    lab.consentry("lab", "time", "+2m")
    wait_for(lambda: not active(lab))
    assert not upload(lab, "TOKEN-over")
    ended = lines(lab.consentry("consents", "list", "--ended", "--json").stdout)[0]
    assert (ended["why"], ended["state"]) == ("its time is up", "ended")


def test_owners_at_once(lab: Lab) -> None:
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda life: grant(lab, life, check=False), ["revoked"] * 4))
    assert sorted(one.returncode for one in said) == [0, 1, 1, 1]
    assert len(active(lab)) == 1
    assert all("phone phone1 has consent" in one.stderr for one in said if one.returncode)


def test_after_a_boot_a_clock_that_nobody_has_set_suspends() -> None:
    """The machine's kernel must not call its clock synchronised, and this gate is no lab's; the boot is another's."""
    with lab_up() as lab:
        _suspended_after_a_boot(lab)


def _suspended_after_a_boot(lab: Lab) -> None:
    given = json.loads(grant(lab).stdout)
    lasting = json.loads(grant(lab, "revoked", "phone2").stdout)
    settings = f"/run/consentry/{lab.name}/settings.json"
    again = subprocess.run(
        [sys.executable, "-c", AGAIN, settings, lab.namespaces["gateway"], "UPDATE consents SET boot_id = 'another', trusted = 0"],
        capture_output=True, text=True, timeout=60, check=False,
    )
    assert again.returncode == 0, again.stderr
    wait_for(lambda: lab.state_is("ENFORCING"))
    assert [(one["id"], one["state"]) for one in active(lab)] == [(given["id"], "suspended"), (lasting["id"], "active")]
    assert not upload(lab, "TOKEN-suspended")
    assert upload(lab, "TOKEN-lasting", "phone2")
    lab.consentry("clock", "trust")
    assert [one["state"] for one in active(lab)] == ["active", "active"]
    assert 3_000 < active(lab)[0]["left"] < 3_600
    assert upload(lab, "TOKEN-trusted")
    assert json.loads(lab.consentry("status", "--json").stdout)["clock"] is True
