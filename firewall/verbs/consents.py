"""What phones ask for, and what their owners let them: questions, and the consents that answer them."""

from __future__ import annotations

import asyncio
import difflib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from firewall.consents import Life
from firewall.control import Done, Refused, Verb
from firewall.events import OwnerActed
from firewall.granting import Wanted
from firewall.lives import LONGEST, WORDS
from firewall.phones import HOME, STRICT, PhoneError
from firewall.questions import LONGEST_PUT_OFF, Question
from firewall.state import StateError
from firewall.text import inert
from firewall.verbs.args import flag, number, text
from rules.consent import Kind, Subject
from rules.expression import Expression, ExpressionError, Term, parse_rule
from rules.matchers.group import GroupMatcher
from rules.matchers.phone import PhoneMatcher
from rules.opening import opening, titled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from firewall.app import App
    from firewall.consents import Consent
    from firewall.control import Peer
    from rules.policy import Policy

LATER: Final = 3_600  # seconds, unless it is said
MOST_ENDED: Final = 1_000  # consents that are over and are listed
MOST_IMPORTED: Final = 200  # of one request
SCREEN: Final = 40  # characters
FARTHEST: Final = 1e11  # epoch seconds; not a number is less than nothing
FOR: Final = ("phone", "group", "all")


class ConsentsVerbs:
    def __init__(self, app: App) -> None:
        self._app = app

    def verbs(self) -> dict[str, Verb]:
        return {
            "asks": Verb(self.asks),
            "asks.later": Verb(self.later, changes=True),
            "asks.never": Verb(self.never, changes=True),
            "consents": Verb(self.consents),
            "consents.preview": Verb(self.preview),
            "consents.grant": Verb(self.grant, changes=True),
            "consents.revoke": Verb(self.revoke, changes=True),
            "consents.export": Verb(self.export),
            "consents.import": Verb(self.import_, changes=True),
            "clock.trust": Verb(self.trust, changes=True),
        }

    # -- questions ---------------------------------------------------------------------------------------------------

    async def asks(self, _peer: Peer, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        inbox, wall = self._app.inbox, self._app.now().wall
        waiting = inbox.questions.waiting(wall)
        shown = [one for one in inbox.questions if not one.answer] if flag(args, "all") else waiting
        for question in sorted(shown, key=lambda one: -one.last):
            yield inbox.to_json(question)
        uncounted = sum(inbox.questions.uncounted.values())
        yield Done({"count": len(shown), "waiting": len(waiting), "uncounted": uncounted})

    async def later(self, peer: Peer, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        question = self._open(args)
        seconds = number(args, "seconds", LATER, int(LONGEST_PUT_OFF))
        until = self._app.now().wall + seconds
        self._app.inbox.questions.put_off(question, until)
        self._app.inbox.changed(question)
        try:
            await self._app.inbox.store()
        except StateError as error:
            raise Refused(f"put off until the gateway's next start only, for it could not be stored: {error}") from None
        self._note("ask", f"put off question {question.id} for {seconds // 60} min: {self._about(question)}", peer)
        yield Done({"put_off": until})

    async def never(self, peer: Peer, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        question = self._open(args)
        subject = self._subject(args) if args.get("subject") else question.widths[0]
        whom = text(args, "for", FOR[0])
        phone = self._app.gateway.phones.slot(question.topic.slot)
        who = {
            "phone": (Term(PhoneMatcher.parse((phone.name,))),), "group": (Term(GroupMatcher.parse((phone.group,))),),
            "all": (),
        }.get(whom)
        if who is None:
            raise Refused(f"for: one of {', '.join(FOR)}", 2)
        try:
            rule = Expression((*parse_rule(str(subject)).terms, *who))
        except ExpressionError as error:  # a name that phones may say and rules may not
            raise Refused(f"no rule can be about {subject}: {error}; choose another width, as its address") from None
        note = f"never, said {peer.name} when it was asked about"
        question.answering = peer.name
        try:
            done = await self._app.edits.edit({"act": "add", "text": f"block {rule}", "note": note}, peer.author)
        finally:
            question.answering = ""
        self._app.inbox.close(question, f"rule {done['id']} by {peer.name}")
        yield Done(done)

    def _open(self, args: dict[str, Any]) -> Question:
        """The question of `id`, if it is open. Raises Refused."""
        question = self._app.inbox.questions.get(number(args, "id", 0, 1 << 53))
        if question is None:
            raise Refused(f"there is no question {args.get('id')}; list: asks")
        if question.taken:
            raise Refused(f"question {question.id} {question.taken}")
        return question

    def _about(self, question: Question) -> str:
        phone = self._app.gateway.phones.slot(question.topic.slot)
        return f"{phone.name} wants {titled(self._app.gateway.policy, question.topic.subject)}"

    # -- consents ----------------------------------------------------------------------------------------------------

    async def consents(self, _peer: Peer, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        granting = self._app.granting
        active = granting.active
        for consent in active:
            yield granting.to_json(consent)
        ended: tuple[Any, ...] = ()
        if flag(args, "ended"):
            try:
                ended = await asyncio.to_thread(granting.ended, MOST_ENDED)
            except StateError as error:
                raise Refused(str(error)) from None
        for stored in ended:
            yield granting.to_json(stored.consent, stored)
        yield Done({"count": len(active) + len(ended)})

    async def preview(self, _peer: Peer, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        wanted = self._wanted(args | {"life": str(Life.REVOKED)})
        told = opening(self._policy(), wanted.subject, wanted.phone or None, self._group(wanted))
        tried = [
            (question, decision) for question in self._app.inbox.questions
            if not question.answer and question.topic.slot == wanted.slot and wanted.subject in question.widths
            and (decision := self._app.inbox.trial(question, wanted.subject)) is not None
        ]
        words = f"{told.words} for {wanted.who}{_whoever(wanted.group)}"
        if not told.asked and all(decision.verdict.refuses for _, decision in tried):
            wide = wanted.subject.kind is Kind.ADDR and "/" in wanted.subject.what
            does = "but it answers each that asks about some" if wide else "so it may change nothing"
            words += f"; no rule asks about all of it, {does}"
        if known := self._app.granting.prolongs(wanted):
            words += f"; {known}: a later end prolongs it"
        refused = list(told.refused)
        for question, decision in tried:
            if decision.verdict.refuses and not any(line.startswith(f"rule {decision.rule} ") for line in refused):
                refused.append(f"{decision.reason}: what question {question.id} tried last is still refused")
        yield Done({"words": words, "includes": list(told.includes), "refused": refused, "cuts": 0})

    async def grant(self, peer: Peer, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        question = self._app.inbox.questions.get(number(args, "ask", 1, 1 << 53)) if "ask" in args else None
        if "ask" in args and question is None:
            raise Refused(f"there is no question {args['ask']} any more; list: asks")
        if question is not None and "phone" not in args and "group" not in args:
            args = args | {"phone": self._app.gateway.phones.slot(question.topic.slot).name}
        wanted = self._wanted(args)
        if question is not None:
            phone = self._app.gateway.phones.slot(question.topic.slot)
            if wanted.slot not in {0, phone.slot} or (not wanted.slot and wanted.group != phone.group):
                raise Refused(f"question {question.id} is of phone {phone.name}, not of {wanted.who}")
            if wanted.subject not in question.widths:
                question = None  # whether it is answered by this, the rules say
        known = self._app.granting.prolongs(wanted)
        (consent,) = await self._app.granting.grant((wanted,), peer.author, question)
        if question is not None:
            self._app.inbox.changed(question)
        await self._settle(consent, f"consent {consent.id} by {peer.name}")
        words = f"{self._words(consent)}{' from now on: it was there already' * bool(known)}"
        yield Done(self._app.granting.to_json(consent) | {"words": words})

    async def revoke(self, peer: Peer, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        granting = self._app.granting
        if "id" in args:
            numbers = [number(args, "id", 0, 1 << 53)]
        else:
            slot, group, _ = self._who(args)
            subject = self._subject(args, known=False)
            numbers = [
                one.id for one in granting.active
                if one.subject == subject and one.slot == slot and (slot or one.group == group)
            ]
            if not numbers:
                raise Refused(f"no consent of that phone or group is for {subject}; list: consents list")
        ended, cut, trouble = await granting.revoke(numbers, peer.author)
        for stored in ended:
            yield granting.to_json(stored.consent, stored)
        yield Done({"cut": cut, "trouble": trouble})

    async def export(self, _peer: Peer, _args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        objects = [self._exported(one) for one in self._app.granting.active if one.life is not Life.ONCE]
        for one in objects:
            yield one
        yield Done({"count": len(objects), "refused": []})

    async def import_(self, peer: Peer, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        objects, line = args.get("objects"), number(args, "line", 1, 1 << 53)
        if not isinstance(objects, list) or len(objects) > MOST_IMPORTED:
            raise Refused(f"objects: a list of at most {MOST_IMPORTED} is wanted", 2)
        wanted, passed_over = list[Wanted](), list[str]()
        for at, told in enumerate(objects, line):
            try:
                one = self._imported(told)
                self._app.granting.check(one, wanted)
            except Refused as error:
                if error.status == 2:
                    raise Refused(f"line {at}: {error}; nothing was imported") from None
                passed_over.append(f"line {at}: {error}")
            else:
                if (one.slot, one.group, one.subject) in {(w.slot, w.group, w.subject) for w in wanted}:
                    passed_over.append(f"line {at}: the same stands above")
                else:
                    wanted.append(one)
        given = await self._app.granting.grant(wanted, peer.author) if wanted and not flag(args, "check") else []
        for consent in given:
            await self._settle(consent, f"consent {consent.id} by {peer.name}")
            yield self._app.granting.to_json(consent)
        yield Done({"count": len(wanted), "refused": passed_over})

    async def trust(self, peer: Peer, _args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        try:
            await asyncio.to_thread(self._app.believe_clock)
        except StateError as error:
            raise Refused(f"not changed, for it could not be stored: {error}") from None
        resumed = self._app.granting.resume(owner=True)
        self._note("clock", "the clock is right", peer)
        yield Done({"wall": self._app.now().wall, "resumed": resumed})

    # -- reading what was asked --------------------------------------------------------------------------------------

    def _wanted(self, args: dict[str, Any]) -> Wanted:
        """Raises Refused."""
        slot, group, phone = self._who(args)
        try:
            life = Life(text(args, "life"))
        except ValueError:
            raise Refused(f"life: one of {', '.join(Life)}", 2) from None
        screen = inert(text(args, "screen", "control"))[:SCREEN]
        return Wanted(slot, group, phone, self._subject(args), life, screen)

    def _who(self, args: dict[str, Any]) -> tuple[int, str, str]:
        """Slot, group and name: of a phone, or with slot 0 a group. Raises Refused."""
        phones = self._app.gateway.phones
        if ("phone" in args) == ("group" in args):
            raise Refused("phone or group: one of them is wanted", 2)
        if "phone" in args:
            try:
                phone = phones.need(text(args, "phone"))
            except PhoneError as error:
                raise Refused(str(error)) from None
            return phone.slot, "", phone.name
        group = text(args, "group")
        known = {phone.group for phone in phones} | {HOME, STRICT}
        if group not in known:
            close = difflib.get_close_matches(group, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(known))}"
            raise Refused(f"no phone is in a group {group!r}; {hint}")
        return 0, group, ""

    def _subject(self, args: dict[str, Any], *, known: bool = True) -> Subject:
        """Raises Refused. `known`: a service has to be in a pack that is in use."""
        try:
            subject = Subject.parse(text(args, "subject"))
        except ValueError as error:
            raise Refused(str(error), 2) from None
        if known and subject.kind is Kind.SERVICE and subject.what not in self._policy().services:
            close = difflib.get_close_matches(subject.what, self._policy().services, n=1)
            raise Refused(f"no pack has a service {subject.what!r}{f'; did you mean {close[0]}?' if close else ''}")
        return subject

    def _policy(self) -> Policy:
        policy = self._app.gateway.policy
        if policy is None:
            raise Refused(f"there is no policy: {self._app.gateway.reason}")
        return policy

    def _group(self, wanted: Wanted) -> str:
        return self._app.gateway.phones.slot(wanted.slot).group if wanted.slot else wanted.group

    def _words(self, consent: Consent) -> str:
        who = f"phone {consent.phone}" if consent.slot else f"group {consent.group}{_whoever(consent.group)}"
        return f"consent {consent.id} {opening_of(self._policy(), consent)} for {who}, {WORDS[consent.life]}"

    async def _settle(self, consent: Consent, answer: str) -> None:
        """Whoever it lets asks no more."""
        phones = self._app.gateway.phones
        slots = {consent.slot} if consent.slot else {one.slot for one in phones if one.group == consent.group}
        await self._app.inbox.settle(answer, slots)

    def _note(self, kind: str, what: str, peer: Peer) -> None:
        self._app.recorder.record((OwnerActed(self._app.now().wall, kind, what, peer.author),))

    # -- carrying them -----------------------------------------------------------------------------------------------

    def _exported(self, consent: Consent) -> dict[str, Any]:
        told = self._app.granting.to_json(consent)
        who = {"phone": told["phone"]} if consent.slot else {"group": consent.group}
        return who | {"subject": str(consent.subject)} | {key: told[key] for key in ("life", "ends", "given", "who")}

    def _imported(self, told: object) -> Wanted:
        """Raises Refused: with status 2 for what no export has written."""
        if not isinstance(told, dict) or not {"subject", "life"} <= told.keys():
            raise Refused('an object reads {"phone": "anna", "subject": "service:ID", "life": "1h", "ends": null}', 2)
        wanted = self._wanted(told | {"screen": "import"})
        if wanted.life is Life.ONCE:
            raise Refused("once is not carried over", 2)
        ends, now = told.get("ends"), self._app.now()
        if wanted.life is Life.REVOKED:
            return wanted
        if not isinstance(ends, (int, float)) or isinstance(ends, bool) or not 0 < ends < FARTHEST:
            raise Refused("ends: the time at which it ends is wanted, in epoch seconds", 2)
        if not now.trusted:
            raise Refused("the clock cannot be trusted, so nobody knows what is left of it: consentry clock trust")
        left = min(ends - now.wall, LONGEST[wanted.life])
        if left <= 0:
            raise Refused("its time is up")
        return replace(wanted, left=left)


def _whoever(group: str) -> str:
    """What such a group means, where that is more than its name says."""
    return " (every phone that nobody has named, and those to come)" if group == STRICT else ""


def opening_of(policy: Policy, consent: Consent) -> str:
    return f"opens {titled(policy, consent.subject)}"
