"""A renaming that dies between rules.toml and state.db: after the next start both say the same."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from firewall import underway
from firewall.inputs import Author
from firewall.state import UNDERWAY, Revision, State, StoredPhone

DIES = """
import asyncio, os, sys
from functools import partial
from pathlib import Path
from firewall.dryrun import DryRun
from firewall.edits import Edits, Known
from firewall.inputs import Author
from firewall.phones import Phones
from firewall.state import State
from firewall.verbs.phones import from_store, renaming

folder, when = Path(sys.argv[1]), sys.argv[2]
async def main():
    state, who = State(folder / "state.db"), Author("anna", 1000)
    phones = Phones(map(from_store, state.phones()))
    known = Known(list, set, set, set, partial(renaming, phones))
    edits = Edits(folder / "rules.toml", state, lambda batch: None, known, DryRun(folder / "none"))
    await edits.load(who)
    die = lambda *_, **__: os.kill(os.getpid(), 9)
    if when == "before":
        edits._file.replace = die
    elif when == "between":
        state.add_revision = die
    else:
        edits._deliver = die
    await edits.rename("phone1", "anna", renaming(phones, "phone1", "anna", who), who)
    print("said")
asyncio.run(main())
"""
RULE = '[[rule]]\naction = "block"\nmatch = "name:x.example phone:phone1"\nid = "x"\n'
MAC = b"\2\0\0\0\1\1"


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = State(tmp_path / "state.db")
    state.save_phones([StoredPhone(1, "phone1", "home", "", True, 1.0, 2.0, (MAC,))])
    tmp_path.joinpath("rules.toml").write_text(RULE)
    return state


def now(state: State, folder: Path) -> tuple[str, str]:
    (phone,) = state.phones()
    assert (phone.slot, phone.group, phone.macs) == (1, "home", (MAC,))
    return phone.name, folder.joinpath("rules.toml").read_text()


@pytest.mark.parametrize(("when", "name", "acts"), [
    ("before", "phone1", 1), ("between", "anna", 2), ("after", "anna", 2),
])
def test_rules_and_phone_say_the_same_whenever_it_dies(tmp_path: Path, state: State, when: str, name: str, acts: int) -> None:
    done = subprocess.run([sys.executable, "-c", DIES, str(tmp_path), when], capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, ""), done.stderr
    if when == "between":
        assert now(state, tmp_path) == ("phone1", RULE.replace("phone1", "anna"))  # what a start would find without it
    underway.finish(state, tmp_path / "rules.toml")
    assert now(state, tmp_path) == (name, RULE.replace("phone1", name))
    assert state.word(UNDERWAY) == ""
    revisions = state.revisions()
    assert len(revisions) == acts
    if acts == 2:
        assert (revisions[0].act, revisions[0].who, revisions[0].uid) == ('renamed "phone1" to "anna", in 1 rule', "anna", 1000)
        assert revisions[0].text == RULE.replace("phone1", "anna")
    underway.finish(state, tmp_path / "rules.toml")
    assert (now(state, tmp_path), len(state.revisions())) == ((name, RULE.replace("phone1", name)), acts)


def test_whoever_wrote_the_file_meanwhile_is_right(tmp_path: Path, state: State) -> None:
    (phone,) = state.phones()
    revision = Revision(1, 5.0, "anna", 1000, "renamed", "digest", "text", None)
    underway.begin(state, b"text", revision, phone)
    underway.finish(state, tmp_path / "rules.toml")
    assert (now(state, tmp_path), state.word(UNDERWAY), state.revisions()) == (("phone1", RULE), "", ())


@pytest.mark.parametrize("word", ["{", "[]", "{}", '{"file": "", "phone": {"macs": []}}', '{"file": "", "phone": {"macs": ["x"]}, "revision": {}}'])
def test_what_another_version_wrote_keeps_nobody_from_starting(tmp_path: Path, state: State, word: str) -> None:
    state.set_word(UNDERWAY, word)
    underway.finish(state, tmp_path / "rules.toml")
    assert (now(state, tmp_path), state.word(UNDERWAY), state.revisions()) == (("phone1", RULE), "", ())


def test_any_edit_after_it_ends_it(tmp_path: Path, state: State) -> None:
    (phone,) = state.phones()
    underway.begin(state, RULE.encode(), Revision(1, 5.0, "anna", 1000, "renamed", "digest", RULE, None), phone)
    state.add_revision(1, 6.0, Author("ben", 1001), "added", "digest", "other")
    assert state.word(UNDERWAY) == ""
