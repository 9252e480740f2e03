"""The rules as they come into use: read from rules.toml, edited in it, taken back, and tried without being used.

One lock for all of it. A revision is in state.db before its policy judges anything, so whatever the history says was
decided by revision N can be looked up in the text of revision N.
"""

from __future__ import annotations

import asyncio
import contextlib
import pwd
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from firewall import underway
from firewall.control import Refused
from firewall.inputs import Author, PolicyRefused, PolicyReplaced
from firewall.readers import in_turn
from firewall.rulesfile import ChangedMeanwhile, RulesFile
from firewall.state import Revision, StateError
from firewall.undo import READ, Steps
from firewall.whole import Whole
from rules import edit, store
from rules.diff import cuts
from rules.expression import ExpressionError
from rules.lint import lint, strangers
from rules.problem import Problem, RuleError
from rules.rule import MINE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from firewall.dryrun import DryRun
    from firewall.inputs import Input, PhoneChanged
    from firewall.state import State, StoredPhone
    from rules.observation import Observation
    from rules.policy import Policy
    from rules.verdict import Decision

LOOK_SECONDS: Final = 0.3  # how often rules.toml is looked at
SLICE: Final = 64  # live flows judged before others have their turn
SAID: Final = 4  # rules named when the file was changed from outside
BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Known:
    """Who and what is there, for cuts and warnings."""

    live: Callable[[], Iterable[tuple[Observation, Decision]]]
    watched: Callable[[], Collection[str]]  # names of phones for whom nothing is blocked
    phones: Callable[[], Collection[str]]
    groups: Callable[[], Collection[str]]
    # (name, new name, who): how a phone gets another name; None if there is no such phone, or the name is taken
    renaming: Callable[[str, str, Author], Renaming | None] = lambda _old, _new, _who: None


class Renaming(NamedTuple):
    """A phone that is renamed in the same step as the rules that name it."""

    stored: StoredPhone
    change: PhoneChanged


@dataclass(frozen=True, slots=True)
class Plan:
    """An edit that can be done. `policy` has the number that it would get."""

    before: bytes  # the file's
    text: str
    policy: Policy
    words: str
    id: str = ""
    position: int = 0
    undoes: int | None = None


class Edits:
    """`deliver` is the engine's: when it returns, the gateway judges by the policy it was given."""

    def __init__(
        self, file: Path, state: State | None, deliver: Callable[[Sequence[Input]], None], known: Known, trial: DryRun,
        *, clock: Callable[[], float] = time.time,
    ) -> None:
        """Raises StateError."""
        self.policy: Policy | None = None  # in use
        self.steps = Steps.of(state.revisions() if state is not None else ())
        self._file = RulesFile(file)
        self._state = state
        self._deliver = deliver
        self._known = known
        self._trial = trial
        self._clock = clock
        self._lock = asyncio.Lock()
        self._seen: object = None  # the file's fingerprint when it was last read
        self._loaded: bytes | None = None  # what the policy in use was read from
        self._problems: tuple[Problem, ...] = ()  # of what was last read
        self._whole = Whole()

    # -- reading -----------------------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """For ever: a change of the file counts once it has been there for two looks, for an editor may be at it."""
        before = self._seen
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = await asyncio.to_thread(self._file.fingerprint)
            if now == before and now != self._seen:
                await self.load(Author("the file"))
            before = now

    async def load(self, who: Author) -> tuple[Problem, ...]:
        """Read rules.toml and the packs; what is wrong with them, if anything. Then the last good policy stays."""
        return await self._whole(self._load(who))

    async def _load(self, who: Author) -> tuple[Problem, ...]:
        async with self._lock:
            self._seen = await asyncio.to_thread(self._file.fingerprint)
            try:
                if self._seen is None and self._loaded and who.uid is None:
                    raise RuleError((Problem(self._file.path.name, 0, 0, "is gone", "put it back, or: rules reload"),))
                data, policy = await asyncio.to_thread(self._read, who)
            except RuleError as error:
                self._problems = error.problems
                self._deliver((PolicyRefused(error.problems, who),))
                return error.problems
            self._use(data, policy, who)
            return ()

    def _read(self, who: Author) -> tuple[bytes, Policy]:
        data = self._file.read()
        text = store.decode(self._file.path.name, data)
        newest = self.steps.newest
        number = newest.number if newest else 0
        policy = store.compiled(self._file.path.name, text, number)
        if newest is None or (newest.text, newest.digest) != (text, policy.digest):
            policy = store.compiled(self._file.path.name, text, number + 1)
            what = "again, with other packs" if newest and newest.text == text else f"by {who.name}"
            try:
                self._remember(policy, f"{READ}{self._file.path.name} {what}", text, who, None)
            except StateError as error:
                problem = Problem("state.db", 0, 0, str(error), "the rules stay as they are until then")
                raise RuleError((problem,)) from None
        return data, policy

    def _remember(
        self, policy: Policy, act: str, text: str, who: Author, undoes: int | None, phone: Renaming | None = None
    ) -> None:
        """Raises StateError. Without a state the gate is locked, and nothing is remembered."""
        if self._state is None:
            return
        new = self._revision(policy, act, text, who, undoes)
        phones = (phone.stored,) if phone else ()
        self._state.add_revision(new.number, new.at, who, act, new.digest, text, undoes, phones)
        self.steps.add(new)

    def _revision(self, policy: Policy, act: str, text: str, who: Author, undoes: int | None) -> Revision:
        return Revision(policy.revision, self._clock(), who.name, who.uid, act, policy.digest, text, undoes)

    def _use(self, data: bytes, policy: Policy, who: Author, phone: Renaming | None = None) -> None:
        self.policy, self._loaded, self._problems = policy, data, ()
        self._deliver((*((phone.change,) if phone else ()), PolicyReplaced(policy, who)))  # one turn: no packet between

    # -- editing -----------------------------------------------------------------------------------------------------

    async def edit(self, args: dict[str, Any], who: Author) -> dict[str, Any]:
        """Do it; the answer of verb `rules.edit`. Raises Refused; then file, policy and revisions are as they were."""
        return await self._whole(self._edit(args, who))

    async def rename(self, old: str, new: str, phone: Renaming, who: Author) -> dict[str, Any]:
        """The phone and all rules that name it, in one step that undo takes back whole. As `edit`."""
        return await self._whole(self._edit({"edit": edit.Edit("rename", old, new)}, who, phone))

    def names_phone(self, name: str) -> bool:
        """Whether a rule of the owner's does."""
        rules = self.policy.rules if self.policy else ()
        return any(rule.source == MINE and edit.names_phone(rule, name) for rule in rules)

    async def _edit(self, args: dict[str, Any], who: Author, phone: Renaming | None = None) -> dict[str, Any]:
        async with self._lock:
            if self._state is None:
                raise Refused("state.db cannot be read, so no edit could be taken back; mend it first")
            plan = await asyncio.to_thread(self._fresh_plan, args)
            phone = phone or self._renamed_by(plan, args, who)
            cut = 0 if phone else (await self._cuts(plan.policy))[0]  # its live flows still have the old name
            self._seen = await asyncio.to_thread(self._write, plan, who, phone)
            self._use(_encoded(plan), plan.policy, who, phone)
            return {
                "revision": plan.policy.revision, "id": plan.id, "position": plan.position, "words": plan.words,
                "undo": self.undo_words, "redo": self.redo_words, "cut": cut,
            }

    def _renamed_by(self, plan: Plan, args: dict[str, Any], who: Author) -> Renaming | None:
        """Undo and redo of a step in which a phone was renamed rename it as well, if it is still there to be."""
        found = edit.RENAMED.search(plan.words) if plan.undoes is not None else None
        if found is None:
            return None
        old, new = found.groups()
        return self._known.renaming(*((old, new) if args.get("act") == "redo" else (new, old)), who)

    @property
    def undo_words(self) -> str:
        """What undo would take back; "" if there is nothing."""
        return self.steps.undo[-1].words if self.steps.undo else ""

    @property
    def redo_words(self) -> str:
        return self.steps.redo[-1].words if self.steps.redo else ""

    def _fresh_plan(self, args: dict[str, Any]) -> Plan:
        """The plan, if the file is what the gateway has read."""
        try:
            found = self._file.read()
        except RuleError as error:
            raise Refused(f"the rules can only be edited once they can be read: {error}") from None
        if self._loaded is None:
            raise self._none_in_use()
        if found != self._loaded:
            raise self._rejected(args, found)
        return self._plan(args, found)

    def _plan(self, args: dict[str, Any], before: bytes) -> Plan:
        act = args.get("act", "add")
        name = self._file.path.name
        newest = self.steps.newest
        number = (newest.number if newest else 0) + 1
        try:
            if act in ("undo", "redo"):
                words, text, undoes = self._step(act)
                return Plan(before, text, store.compiled(name, text, number), words, undoes=undoes)
            text = store.decode(name, before)
            done = edit.apply(text, _wanted(args), store.load_packs())
            return Plan(before, done.text, store.compiled(name, done.text, number), done.words, done.id, done.position)
        except edit.EditError as error:
            raise Refused(str(error)) from None
        except ExpressionError as error:
            remedy = f" ({error.remedy})" if error.remedy else ""
            raise Refused(f"column {error.start + 1}: {error.message}{remedy}") from None
        except RuleError as error:
            raise Refused(f"nothing was written: {error}") from None

    def _step(self, act: str) -> tuple[str, str, int]:
        """What undo or redo does, the text that it brings back, and which revision it undoes."""
        steps = self.steps.undo if act == "undo" else self.steps.redo
        if not steps:
            hand = self.steps.by_hand
            if hand is not None and hand.number > 1:
                when = time.strftime("%d %b %H:%M", time.localtime(hand.at))
                raise Refused(f"nothing to {act}: revision {hand.number} of {when} was written by hand ({hand.who})")
            raise Refused(f"there is nothing to {act}")
        step = steps[-1]
        assert self._state is not None
        try:
            revision = self._state.revision(step.to)
        except StateError as error:
            raise Refused(str(error)) from None
        if revision is None or revision.text is None:
            raise Refused(f"the text of revision {step.to} is no longer kept")
        return f"{'took back' if act == 'undo' else 'did again'}: {step.words}", revision.text, step.number

    def _write(self, plan: Plan, who: Author, phone: Renaming | None) -> object:
        """The file, then the revision; if that cannot be stored, the file becomes what it was. Its fingerprint."""
        name = self._file.path.name
        new = _encoded(plan)
        try:
            with self._file.locked():
                if phone is not None and self._state is not None:
                    revision = self._revision(plan.policy, plan.words, plan.text, who, plan.undoes)
                    underway.begin(self._state, new, revision, phone.stored)
                fingerprint = self._file.replace(plan.before, new)
                try:
                    self._remember(plan.policy, plan.words, plan.text, who, plan.undoes, phone)
                except StateError:
                    self._file.replace(new, plan.before)
                    raise
                return fingerprint
        except ChangedMeanwhile:
            raise Refused(f"{name} was written by somebody else at the same moment; {self._kept(new)}") from None
        except BlockingIOError:
            raise Refused(f"{name} is locked by another program; nothing was written") from None
        except (OSError, StateError) as error:
            raise Refused(f"nothing was changed, for it cannot be written: {error}") from None

    def _none_in_use(self) -> Refused:
        wrong = "; ".join(map(str, self._problems)) or "the gateway has just been started; try again"
        return Refused(f"{self._file.path.name} is not in use: {wrong}")

    def _rejected(self, args: dict[str, Any], found: bytes) -> Refused:
        """The file is not what was read: the edit is kept beside it, and its owner told what happened."""
        path = self._file.path
        assert self._loaded is not None
        said = f"{path.name} was changed from outside{_changer(path)}: {self._changes(found)}"
        with contextlib.suppress(Refused):
            said += f"; {self._kept(_encoded(self._plan(args, self._loaded)))}"
        return Refused(said)

    def _kept(self, wanted: bytes) -> str:
        try:
            return f"your version is kept as {self._file.reject(wanted)}"
        except OSError as error:
            return f"your version could not be kept: {error}"

    def _changes(self, found: bytes) -> str:
        """What somebody did to the file, in rules."""
        name = self._file.path.name
        try:
            policy = store.compiled(name, store.decode(name, found), 0)
        except RuleError as error:
            return f"it is wrong now: {error.problems[0]}"
        before = {rule.id: str(rule) for rule in self.policy.rules if rule.source == MINE} if self.policy else {}
        after = {rule.id: str(rule) for rule in policy.rules if rule.source == MINE}
        news = [f"+ {text}" for id_, text in after.items() if before.get(id_) != text]
        news += [f"- {text}" for id_, text in before.items() if after.get(id_) != text]
        more = f" and {len(news) - SAID} more" if len(news) > SAID else ""
        return ", ".join(news[:SAID]) + more if news else "its order, switches or comments"

    # -- trying ------------------------------------------------------------------------------------------------------

    async def test(self, args: dict[str, Any]) -> dict[str, Any]:
        """What an edit would do; the answer of verb `rules.test`. Raises Refused. Nothing is changed."""
        began = time.monotonic()
        before, policy = self._loaded, self.policy
        if before is None or policy is None:
            raise self._none_in_use()
        plan = await in_turn(self._plan, args, before)
        cut, live = await self._cuts(plan.policy)
        past = await self._trial.compare(store.decode(self._file.path.name, before), plan.text)
        told = {"words": plan.words, "cut": cut, "live": live, "warnings": self._warnings(policy, plan.policy)}
        return told | past | {"seconds": time.monotonic() - began}

    async def policy_of(self, number: int) -> tuple[Policy, str]:
        """The rules as they were in that revision, and in what they are not: the packs are today's. Raises Refused."""
        return await in_turn(self._policy_of, number)

    def _policy_of(self, number: int) -> tuple[Policy, str]:
        if self.policy is not None and self.policy.revision == number:
            return self.policy, ""
        if self._state is None:
            raise Refused("state.db cannot be read, and old rules stand in it")
        try:
            revision = self._state.revision(number)
        except StateError as error:
            raise Refused(str(error)) from None
        if revision is None:
            raise Refused(f"there is no revision {number}")
        if revision.text is None:
            raise Refused(f"the text of revision {number} is no longer kept")
        try:
            policy = store.compiled(self._file.path.name, revision.text, number)
        except RuleError as error:
            raise Refused(f"the rules of revision {number} cannot be read any more: {error}") from None
        changed = "" if policy.digest == revision.digest else f"the packs have changed since revision {number}"
        return policy, changed

    async def _cuts(self, after: Policy) -> tuple[int, int]:
        """(live flows that would be cut, live flows that pass), a few at a time so that packets need not wait."""
        watched = self._known.watched()
        cut = passing = 0
        for some in _slices(self._known.live()):
            more, these = cuts(after, some, watched)
            cut, passing = cut + more, passing + these
            await asyncio.sleep(0)
        return cut, passing

    def _warnings(self, before: Policy, after: Policy) -> list[str]:
        """What the edit brings with it that its owner may not want."""
        known = lint(before)
        unknown = strangers(after, self._known.phones(), self._known.groups())
        old = strangers(before, self._known.phones(), self._known.groups())
        return [one for one in (*lint(after), *unknown) if one not in (*known, *old)]


def _wanted(args: dict[str, Any]) -> edit.Edit:
    """Raises Refused."""
    if isinstance(ours := args.get("edit"), edit.Edit):
        return ours
    if args.get("act") == "rename":
        raise Refused("act: a phone is renamed by phones.set, with the rules that name it", 2)

    def text(key: str) -> str | None:
        value = args.get(key)
        if value is not None and not isinstance(value, str):
            raise Refused(f"{key}: a text is wanted", 2)
        return value

    rule, at = args.get("rule", ""), args.get("at")
    if isinstance(rule, bool) or not isinstance(rule, (str, int)):
        raise Refused("rule: an id or a position is wanted", 2)
    if at is not None and (isinstance(at, bool) or not isinstance(at, int)):
        raise Refused("at: a position is wanted", 2)
    return edit.Edit(text("act") or "add", str(rule), text("text"), at, text("note"), text("was"))


def _encoded(plan: Plan) -> bytes:
    return (BOM if plan.before.startswith(BOM) else b"") + plan.text.encode()


def _changer(path: Path) -> str:
    """" by anna at 10:02:11", as far as the file can tell."""
    try:
        stat = path.stat()
    except OSError:
        return ""
    try:
        owner = pwd.getpwuid(stat.st_uid).pw_name
    except KeyError:
        owner = f"uid {stat.st_uid}"
    return f" at {time.strftime('%H:%M:%S', time.localtime(stat.st_mtime))} (it is {owner}'s)"


def _slices(flows: Iterable[tuple[Observation, Decision]]) -> Iterator[list[tuple[Observation, Decision]]]:
    some = []
    for one in flows:
        some.append(one)
        if len(some) == SLICE:
            yield some
            some = []
    if some:
        yield some
