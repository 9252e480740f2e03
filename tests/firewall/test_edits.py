"""The owner's edits, with a real file, a real state.db and a real worker; only the engine is a list."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from firewall.control import Refused
from firewall.dryrun import DryRun
from firewall.edits import LOOK_SECONDS, Edits, Known
from firewall.episodes import Episodes
from firewall.events import FlowDecided
from firewall.history import History
from firewall.inputs import Author, FlowKey, PhoneChanged, PolicyRefused, PolicyReplaced
from firewall.phones import Phones
from firewall.state import State, StateError
from firewall.verbs.phones import renaming
from rules import store
from rules.decide import decide
from rules.observation import Name, Observation, Source
from rules.store import compiled
from rules.verdict import Decision, Verdict

ANNA = Author("anna", 1000)
TEXT = '# mine\n\n[[rule]] # one\nid = "one"\naction = "block"\nmatch = "port:23"\n'


class House:
    """What stands around the edits."""

    def __init__(self, tmp_path: Path) -> None:
        self.file = tmp_path / "rules.toml"
        self.state_file = tmp_path / "state.db"
        self.state = State(self.state_file)
        self.delivered: list = []
        self.live: list = []
        self.watched: set[str] = set()
        self.edits = self.start()

    def start(self) -> Edits:
        """As after a restart."""
        known = Known(lambda: self.live, lambda: self.watched, lambda: {"phone1", "anna"}, lambda: {"home"})
        self.edits = Edits(self.file, self.state, self.delivered.extend, known, DryRun(self.file.with_name("history.db")))
        return self.edits

    async def do(self, act: str, rule: str = "", **more):
        return await self.edits.edit({"act": act, "rule": rule, **more}, ANNA)

    @property
    def rules(self) -> list[str]:
        policy = self.delivered[-1].policy
        return [str(rule) for rule in policy.rules if rule.source == "mine"]

    def beside(self) -> list[str]:
        return sorted(path.name for path in self.file.parent.iterdir() if "rules.toml" in path.name)


@pytest.fixture
async def house(tmp_path: Path) -> House:
    made = House(tmp_path)
    made.file.write_text(TEXT)
    assert await made.edits.load(Author("start")) == ()
    return made


async def test_an_edit_is_in_the_file_in_state_and_in_use_with_its_author(house: House) -> None:
    done = await house.do("add", text="block name:a.example", note="why")
    assert done == {"revision": 2, "id": done["id"], "position": 1, "words": "added block name:a.example at 1", "undo": "added block name:a.example at 1", "redo": "", "cut": 0}
    assert house.rules == ["block name:a.example", "block port:23"]
    assert isinstance(house.delivered[-1], PolicyReplaced)
    assert house.delivered[-1].who == ANNA
    newest = house.state.revisions(1)[0]
    assert (newest.number, newest.who, newest.uid, newest.act, newest.text) == (2, "anna", 1000, done["words"], house.file.read_text())
    assert newest.digest == house.delivered[-1].policy.digest


async def test_undo_and_redo_restore_every_byte_also_after_a_restart_and_for_others(house: House) -> None:
    texts = [house.file.read_text()]
    for act, rule, more in [("add", "", {"text": "allow"}), ("change", "one", {"text": "ask port:24"}), ("move", "one", {"at": 1}), ("disable", "xiaomi", {}), ("remove", "2", {})]:
        await house.do(act, rule, **more)
        texts.append(house.file.read_text())
    for text in texts[-2::-1]:
        house.start()
        await house.edits.load(Author("start"))
        await house.do("undo")
        assert house.file.read_text() == text
    with pytest.raises(Refused, match="there is nothing to undo"):
        await house.do("undo")
    for text in texts[1:]:
        house.start()
        await house.edits.load(Author("start"))
        assert (await house.do("redo"))["words"].startswith("did again: ")
        assert house.file.read_text() == text
    with pytest.raises(Refused, match="there is nothing to redo"):
        await house.do("redo")
    numbers = [one.number for one in house.state.revisions()]
    assert numbers == list(range(16, 0, -1))


async def test_a_restart_without_a_change_goes_on_with_the_same_revision(house: House) -> None:
    await house.do("add", text="allow")
    await house.start().load(Author("start"))
    assert house.delivered[-1].policy.revision == 2
    assert len(house.state.revisions()) == 2


async def test_undo_does_not_take_back_over_what_was_written_by_hand(house: House) -> None:
    await house.do("add", text="allow")
    house.file.write_text(house.file.read_text() + "# by hand\n")
    await house.edits.load(Author("the file"))
    with pytest.raises(Refused, match="revision 3 of .* was written by hand"):
        await house.do("undo")
    assert house.file.read_text().endswith("# by hand\n")


async def test_a_change_from_outside_is_kept_and_the_edit_beside_it(house: House) -> None:
    house.file.write_text(TEXT.replace("port:23", "port:2323"))
    with pytest.raises(Refused) as caught:
        await house.do("add", text="block name:a.example")
    said = str(caught.value)
    assert "rules.toml was changed from outside at " in said
    assert "+ block port:2323, - block port:23" in said
    assert said.endswith("your version is kept as rules.toml.rej-1")
    assert house.file.read_text() == TEXT.replace("port:23", "port:2323")
    kept = house.file.with_name("rules.toml.rej-1").read_text()
    assert 'match = "name:a.example"' in kept and 'match = "port:23"' in kept
    assert len(house.delivered) == 1
    await house.edits.load(Author("the file"))
    await house.do("add", text="block name:a.example")
    assert house.rules == ["block name:a.example", "block port:2323"]


async def test_what_is_broken_from_outside_is_said_and_left(house: House) -> None:
    house.file.write_text(TEXT.replace('"block"', '"blok"'))
    assert await house.edits.load(Author("the file"))
    assert isinstance(house.delivered[-1], PolicyRefused)
    with pytest.raises(Refused, match="it is wrong now: rules.toml:5:11: action: 'blok' is none"):
        await house.do("remove", "one")
    assert house.file.read_text() == TEXT.replace('"block"', '"blok"')
    assert house.edits.policy is not None and house.edits.policy.revision == 1


async def test_a_rule_that_somebody_else_has_changed_is_not_overwritten(house: House) -> None:
    await house.do("change", "one", text="ask port:23", was="block port:23")
    with pytest.raises(Refused, match="it was 'block port:23', it is 'ask port:23'"):
        await house.do("change", "one", text="allow port:23", was="block port:23")


@pytest.mark.parametrize(("args", "said"), [
    ({"act": "add", "text": "block nam:x"}, "column 7: unknown term 'nam' (did you mean name:?)"),
    ({"act": "add", "text": 7}, "text: a text is wanted"),
    ({"act": [], "text": "block name:a.example"}, "act: a text is wanted"),
    ({"act": "move", "rule": "one", "at": "1"}, "at: a position is wanted"),
    ({"act": "move", "rule": None, "at": 1}, "rule: an id or a position is wanted"),
    ({"act": "boom"}, "none of add"),
])
async def test_nonsense_is_refused_and_nothing_is_written(house: House, args: dict, said: str) -> None:
    with pytest.raises(Refused) as caught:
        await house.edits.edit(args, ANNA)
    assert said in str(caught.value)
    assert house.file.read_text() == TEXT
    assert len(house.delivered) == 1 and len(house.state.revisions()) == 1


async def test_a_disk_that_takes_nothing_leaves_file_policy_and_revisions(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(Refused, match="nothing was changed, .*No space left"):
            await house.do("add", text="allow")

    def unstored(*_: object) -> None:
        raise StateError("state.db: disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(State, "add_revision", unstored)
        with pytest.raises(Refused, match=r"nothing was changed, .*state\.db"):
            await house.do("add", text="allow")
        house.file.write_text(TEXT + "# by hand\n")
        assert [str(one) for one in await house.edits.load(Author("the file"))] == ["state.db: state.db: disk I/O error (the rules stay as they are until then)"]
    assert house.file.read_text() == TEXT + "# by hand\n"
    assert house.beside() == ["rules.toml"]
    assert len(house.state.revisions()) == 1
    assert house.edits.policy.revision == 1
    assert await house.edits.load(Author("the file")) == ()  # and once the disk is well again
    await house.do("add", text="allow")


async def test_before_there_are_rules_nothing_is_edited_or_tried(tmp_path: Path) -> None:
    house = House(tmp_path)
    for ask in (house.edits.test({"text": "allow"}), house.do("add", text="allow")):
        with pytest.raises(Refused, match="not in use: the gateway has just been started; try again"):
            await ask
    house.file.write_text("[[rule]]\n")
    await house.edits.load(Author("start"))
    with pytest.raises(Refused, match=r"not in use: rules\.toml:1: action: is missing"):
        await house.do("add", text="allow")


async def test_without_a_state_nothing_is_edited(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.state = None
    await house.start().load(Author("start"))
    with pytest.raises(Refused, match=r"state\.db cannot be read"):
        await house.do("add", text="allow")


async def test_a_client_that_goes_away_does_not_leave_half_an_edit(house: House) -> None:
    for turn in range(20):
        asking = asyncio.ensure_future(house.do("add", text=f"block port:{turn + 1}"))
        for _ in range(turn):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        while house.edits._whole._running:
            await asyncio.sleep(0.001)
        assert house.edits.policy.digest == compiled("", house.file.read_text(), 0).digest == house.state.revisions(1)[0].digest


async def test_the_watcher_takes_what_is_written_by_hand(house: House) -> None:
    watching = asyncio.ensure_future(house.edits.watch())
    try:
        await house.do("add", text="allow")
        await asyncio.sleep(LOOK_SECONDS * 1.5)
        assert len(house.delivered) == 2  # our own edit is no news
        house.file.write_text("")
        async with asyncio.timeout(30):
            while len(house.delivered) == 2:
                await asyncio.sleep(0.05)
        assert house.rules == []
        assert house.delivered[-1].who.name == "the file"
    finally:
        watching.cancel()


async def test_two_clients_and_sed_80_times_lose_nothing(house: House) -> None:
    """Whatever is in use is whole; what was accepted is in the file or in a revision; what was refused is said."""
    accepted, refused = [], []

    async def client(name: str) -> None:
        for number in range(40):
            try:
                done = await house.edits.edit({"act": "add", "text": f"block name:{name}{number}.example"}, Author(name, 1))
                accepted.append(done["words"])
            except Refused as error:
                refused.append(str(error))
                await asyncio.sleep(0.01)

    async def editor() -> None:
        for number in range(40):
            process = await asyncio.create_subprocess_exec("sed", "-i", f"s/^# mine.*/# mine {number}/", str(house.file))
            await process.wait()
            await house.edits.load(Author("the file"))
            await asyncio.sleep(0.01)

    await asyncio.gather(client("a"), client("b"), editor())
    await house.edits.load(Author("the file"))
    revisions = house.state.revisions()
    assert all(compiled("", one.text, 0).digest == one.digest for one in revisions)  # never half of one
    assert [one.number for one in revisions] == list(range(len(revisions), 0, -1))
    assert {one.act for one in revisions if one.who in "ab"} == set(accepted)
    assert len(accepted) + len(refused) == 80
    assert all("changed from outside" in one or "at the same moment" in one for one in refused)
    assert all("kept as rules.toml.rej-" in one for one in refused)
    assert len(house.beside()) == 1 + len(refused)
    assert "# mine 39" in house.file.read_text()
    assert house.edits.policy.digest == compiled("", house.file.read_text(), 0).digest
    await house.do("add", text="block name:last.example")  # all may have been refused: that depends on who is faster
    assert "name:last.example" in house.file.read_text()


async def test_a_dry_run_says_what_would_change_and_changes_nothing(house: House, make_episode) -> None:
    seen = Observation("phone1", "tcp", bytes([198, 51, 100, 9]), 443, said=(Name("a.example", Source.SNI),))
    house.live = [(seen, decide(house.edits.policy, seen))] * 70
    make_episode(house.file.with_name("history.db"), 3, name="a.example")
    try:
        told = await house.edits.test({"text": "block name:a.example phone:phone1,phon1"})
        assert (told["changed"], told["of"], told["rows"], told["complete"], told["cut"], told["live"]) == (3, 3, 1, True, 70, 70)
        assert told["examples"][0]["what"] == "a.example"
        assert len(told["warnings"]) == 1 and "no phone is called phon1; did you mean phone1?" in told["warnings"][0]
        house.watched = {"phone1"}
        assert (await house.edits.test({"text": "block name:a.example"}))["cut"] == 0
        assert (await house.edits.test({"act": "remove", "rule": "one"}))["changed"] == 0
        with pytest.raises(Refused, match="column 7"):
            await house.edits.test({"text": "block nam:x"})
    finally:
        await house.edits._trial.close()
    assert house.file.read_text() == TEXT
    assert len(house.delivered) == 1


@pytest.fixture
def make_episode():
    """Rows as the gateway writes them."""

    def write(path: Path, number: int, name: str) -> None:
        recorded, history = Episodes(1), History(path)
        seen = Observation("phone1", "tcp", bytes([198, 51, 100, 9]), 443, said=(Name(name, Source.SNI),))
        flow = FlowKey(6, bytes([10, 77, 0, 10]), 40000, bytes([198, 51, 100, 9]), 443)
        decision = Decision(Verdict.ALLOW, "default", "", "", 1)
        rows = [recorded.fold(FlowDecided(time.time(), flow.src, flow, seen, decision)) for _ in range(number)]
        history.append([rows[-1]])
        history.close()
        assert history.trouble is None

    return write


async def test_a_worker_that_dies_is_started_again(tmp_path: Path, make_episode) -> None:
    make_episode(tmp_path / "history.db", 2, name="a.example")
    trial = DryRun(tmp_path / "history.db")
    try:
        block = '[[rule]]\naction = "block"\nmatch = "name:a.example"\n'
        assert (await trial.compare("", block))["changed"] == 2
        first = trial._process
        first.kill()
        assert (await trial.compare("", block)).get("trouble")
        assert (await trial.compare("", block))["changed"] == 2
    finally:
        await trial.close()
    assert trial._process is None
    nothing = DryRun(tmp_path / "none.db")
    try:
        assert "cannot be read" in (await nothing.compare("", block))["trouble"]
    finally:
        await nothing.close()
    assert subprocess.run(["ps", "-p", str(first.pid)], capture_output=True, check=False).returncode == 1


async def test_a_file_that_is_gone_takes_no_rule_away_unless_somebody_says_so(house: House) -> None:
    house.file.rename(house.file.with_name("elsewhere"))
    (problem,) = await house.edits.load(Author("the file"))
    assert "is gone" in problem.message
    assert isinstance(house.delivered[-1], PolicyRefused)
    assert house.edits.policy is not None
    assert [str(rule) for rule in house.edits.policy.rules if rule.source == "mine"] == ["block port:23"]
    assert await house.edits.load(ANNA) == ()  # `consentry rules reload`
    assert house.rules == []


async def test_a_change_counts_once_it_has_been_there_for_two_looks(house: House) -> None:
    """An editor that empties the file and writes it a moment later takes no rule away in between."""
    watching = asyncio.ensure_future(house.edits.watch())
    await asyncio.sleep(LOOK_SECONDS * 1.5)
    before = len(house.delivered)
    house.file.write_text("")
    await asyncio.sleep(LOOK_SECONDS * 0.7)
    house.file.write_text(TEXT.replace("23", "24"))
    until = time.monotonic() + 10
    while len(house.delivered) == before and time.monotonic() < until:
        await asyncio.sleep(0.02)
    watching.cancel()
    assert house.rules == ["block port:24"]
    assert len(house.delivered) == before + 1


async def test_a_phone_is_renamed_with_the_rules_that_name_it_and_undo_takes_back_both(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    phones, turns = Phones(given={b"\2\0\0\0\1\1": "phone1", b"\2\0\0\0\1\2": "phone2"}), []

    def deliver(batch) -> None:
        turns.append(batch)
        for one in batch:
            if isinstance(one, PhoneChanged):
                phones.change(one.phone)

    text = '[[rule]]\naction = "block" # so\nmatch = "name:x.example phone:phone2,phone1"\nid = "x"\n\n[[rule]]\naction = "allow"\nmatch = "-phone:phone1"\nenabled = false\nid = "y"\n'
    house.file.write_text(text)
    known = Known(list, set, lambda: {"phone1"}, set, partial(renaming, phones))
    edits = house.edits = Edits(house.file, house.state, deliver, known, DryRun(house.file.with_name("none")))
    await edits.load(ANNA)
    assert edits.names_phone("phone1") and edits.names_phone("phone2") and not edits.names_phone("anna's")

    def now() -> tuple[str, list[str], list[str]]:
        names = sorted(phone.name for phone in house.state.phones())
        return house.file.read_text(), sorted(phone.name for phone in phones), names

    renamed = text.replace("phone2,phone1", "phone2,anna's").replace("-phone:phone1", "-phone:anna's")
    done = await edits.rename("phone1", "anna's", renaming(phones, "phone1", "anna's", ANNA), ANNA)
    assert done["words"] == 'renamed "phone1" to "anna\'s", in 2 rules'
    assert now() == (renamed, ["anna's", "phone2"], ["anna's"])
    assert [type(one) for one in turns[-1]] == [PhoneChanged, PolicyReplaced]  # together: no packet is judged between
    for act, file, name in (("undo", text, "phone1"), ("redo", renamed, "anna's"), ("undo", text, "phone1")):
        await house.do(act)
        assert now() == (file, sorted([name, "phone2"]), [name])
    with monkeypatch.context() as patch:
        patch.setattr(house.state, "add_revision", full)
        with pytest.raises(Refused, match="nothing was changed"):
            await edits.rename("phone1", "anna", renaming(phones, "phone1", "anna", ANNA), ANNA)
    assert now() == (text, ["phone1", "phone2"], ["phone1"])
    await house.do("redo")
    phones.forget(phones.need("anna's").slot)
    await house.do("undo")  # the phone is gone: then the rules alone
    assert (now()[0], [type(one) for one in turns[-1]]) == (text, [PolicyReplaced])
    with pytest.raises(Refused, match=r"phones\.set"):
        await house.do("rename", "phone1", text="x")
    assert renaming(phones, "phone2", "a,b", ANNA) is None


def full(*_args, **_more) -> None:
    raise StateError("the disk is full")


async def test_the_rules_of_an_old_revision_are_looked_up_as_they_were(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.do("add", text="block name:a.example")
    await house.do("remove", "1")
    then, caveat = await house.edits.policy_of(2)
    assert ([str(rule) for rule in then.rules if rule.source == "mine"], then.revision, caveat) == (["block name:a.example", "block port:23"], 2, "")
    assert (await house.edits.policy_of(3))[0] is house.edits.policy
    house.start()  # as after a restart, with packs that have been updated meanwhile
    await house.edits.load(Author("start"))
    packs = store.load_packs()
    monkeypatch.setattr(store, "load_packs", lambda: packs[:-1])
    assert (await house.edits.policy_of(1))[1] == "the packs have changed since revision 1"
    for number, said in ((9, "there is no revision 9"), (4, "there is no revision 4")):
        with pytest.raises(Refused, match=said):
            await house.edits.policy_of(number)
    with closing(sqlite3.connect(house.state_file)) as db, db:
        db.execute("UPDATE revisions SET text = NULL WHERE number = 1")
    with pytest.raises(Refused, match="no longer kept"):
        await house.edits.policy_of(1)
    house.state.close()
    with pytest.raises(Refused, match=r"state\.db"):
        await house.edits.policy_of(2)
