"""What was given, to whom, and for how much longer; and what became of what is no more."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual import work
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input

from firewall.control import NoGateway, Refused
from firewall.text import inert
from tui import consenting, filtering
from tui.format import cut
from tui.offers import term
from tui.screens.prompted import Prompted
from tui.widgets.consent_table import ConsentTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from rules.row_filter import Row

FRESH_SECONDS: Final = 1.0  # between two looks while something happens
STALE_SECONDS: Final = 5.0  # and while nothing does
NONE: Final = """\
No consent holds, and none ever did.
A consent opens what an ask rule refuses: for one phone or group, for as long as you say. It is given where somebody \
asks: enter on screen 2, or c on a row of 1. It then stands here until it ends, and x takes it back."""
TRUST: Final = (
    "Say that the clock is right? Consents with an end were suspended because the gateway could not tell how long it "
    "was off; they then go on with the time that is left by this clock."
)


class Consents(Prompted):
    MODE = "consents"
    HELP = """\
Above stand the consents that hold, each with a bar that shrinks and what it has let pass so far; below the line those \
that ended or were revoked, with why and by whom.
x revokes the one under the cursor: its running flows are reset at once, and whatever it opened is refused and asked \
again. c gives it once more: one that has ended, or a later end to one that goes on.
space marks a row; x then revokes all that are marked, and esc lets go of them.
/ narrows the list to what speaks of phone:NAME  group:NAME  service:ID  name:example.com  addr:10.0.0.0/8, or to any \
word of a row: who gave it, why it ended, active. A leading - means not; esc shows all.
enter shows what it let pass. A consent answers only what is asked: a block rule above still refuses.
A consent that waits for the clock opens nothing: after a start without a trusted clock nobody can say how much of it \
is left. t says that the clock is right."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x,delete", "revoke", "revoke", key_display="x"),
        Binding("c", "again", "again"),
        Binding("t", "trust", "clock"),
        Binding("escape", "back", show=False),
    ]

    ACTS: ClassVar[frozenset[str]] = frozenset({"revoke", "again", "trust"})
    TERMS = filtering.CONSENTS
    table: ConsentTable

    def __init__(self) -> None:
        super().__init__()
        self.table = ConsentTable(self.gate.glyphs)
        self._read_at = 0.0
        self._drawn_at = 0.0
        self._stirred = -1  # what had happened when it was last read

    def row(self, told: dict[str, Any]) -> Row:
        return filtering.of_consent(told)

    # -- what stands

    def tick(self) -> None:
        """The bars shrink by themselves; what else changes is asked for."""
        now = time.monotonic()
        if now - self._read_at > (FRESH_SECONDS if self._stirred != self.gate.stirred else STALE_SECONDS):
            self.read()
        if now - self._drawn_at > FRESH_SECONDS:
            self._drawn_at = now
            self.table.refresh()
            self.on_table_pointed()

    @work(exclusive=True, group="read")
    async def read(self) -> None:
        self._read_at, self._stirred = time.monotonic(), self.gate.stirred
        try:
            consents = (await self.gate.ask("consents", ended=True)).items
        except (NoGateway, Refused) as error:
            self.table.tell([], 0.0)
            self.tell(Content(""), self.gate.why(error))
            return
        self.table.tell(consents, time.monotonic())
        states = [one["state"] for one in consents]
        holding, waiting = states.count("active"), states.count(consenting.SUSPENDED)
        parts = ((f"{holding or 'none'} active", "$muted"), (f"  {waiting} suspended" if waiting else "", "$warning"))
        self.tell(Content.assemble(*parts), NONE)
        self.refresh_bindings()

    def on_table_pointed(self) -> None:
        consent = self.table.consent
        width = max(20, self.size.width - 2)
        told = self.marks(width)
        if told is None:
            lines = [] if consent is None else consenting.in_full(
                consent, self.table.passed, time.time(), width, self.gate.glyphs
            )
            told = Content("\n").join(lines)
        self.in_full.update(told)
        self.refresh_bindings()

    def called(self, row: dict[str, Any]) -> str:
        return reach(row)

    def with_marked(self) -> str:
        return "x revokes what is marked"

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What cannot be done with this row has no key."""
        consent = self.table.consent
        if self.prompt.display or isinstance(self.focused, Input):
            return super().check_action(action, parameters)
        if action == "revoke":
            chosen = self.table.chosen
            return not chosen or any(one["state"] != consenting.ENDED for one in chosen)
        if action == "again":
            return not self.table.marked and consent is not None and consent["state"] == consenting.ENDED
        if action == "trust":
            return any(row.get("state") == consenting.SUSPENDED for row in self.table.told)
        return super().check_action(action, parameters)

    def on_table_opened(self) -> None:
        if (consent := self.table.consent) is not None:
            who = term("phone", consent["phone"]) if consent["slot"] else term("group", consent["group"])
            what = term(consent["kind"], consent["what"])
            self.gate.open_history(f"verdict:consent {who} {what}")

    # -- acts

    def action_revoke(self) -> None:
        if chosen := self.chosen():
            one, *more = chosen
            what = f"what {consenting.whom(one)} may reach: {consenting.what(one)}"
            if more:
                which = cut(", ".join(map(reach, chosen)), 4 * self.size.width, self.gate.glyphs.ellipsis)
                what = f"{len(chosen)} consents: {which}"  # those that do not fit are marked above
            its = "Their" if more else "Its"
            consequence = f"{its} running flows are reset at once; the next try is refused and asked again."
            self._confirm(f"Revoke {what}? {consequence}", lambda: self.revoke([consent["id"] for consent in chosen]))

    def action_again(self) -> None:
        if (consent := self.table.consent) is not None:
            self.gate.open_question(once_more(consent), "consents")

    def action_trust(self) -> None:
        self._confirm(TRUST, self.trust)

    def _confirm(self, words: str, then: Callable[[], object]) -> None:
        self.in_full.display = False
        self.call_after_refresh(self.refresh_bindings)
        self.prompt.confirm(words, lambda _: then())

    @work(group="act")
    async def revoke(self, numbers: list[int]) -> None:
        """One after the other; what cannot be revoked is said, and does not keep the others."""
        cut_flows, troubles, done = 0, [], 0
        for number in numbers:
            try:
                told = (await self.gate.ask("consents.revoke", id=number)).done
            except (NoGateway, Refused) as error:
                troubles.append(self.gate.why(error))
            else:
                done += 1
                cut_flows += int(told.get("cut") or 0)
                troubles += [inert(str(told["trouble"]))] if told.get("trouble") else []
        self.table.unmark()
        said = [self.gate.revoked({"cut": cut_flows})] if done else []
        self.gate.say("; ".join((*said, *dict.fromkeys(troubles))), trouble=bool(troubles))
        self.read()

    @work(group="act")
    async def trust(self) -> None:
        try:
            await self.gate.ask("clock.trust")
        except (NoGateway, Refused) as error:
            self.gate.say(self.gate.why(error), trouble=True)
        else:
            self.gate.say("the clock is right, by your word")
        self.read()


def reach(consent: dict[str, Any]) -> str:
    """In a few words, inert."""
    return f"{consenting.whom(consent)}: {consenting.what(consent)}"


def once_more(consent: dict[str, Any]) -> dict[str, Any]:
    """As a question that nobody has asked."""
    width = {"kind": consent["kind"], "what": consent["what"], "title": consent.get("title") or consent["what"]}
    return {
        "id": None, "phone": consent["phone"] if consent["slot"] else "", "group": consent["group"], **width,
        "widths": [width], "names": [], "more": 0, "count": 0, "first": consent["given"], "last": consent["given"],
        "addr": "", "place": {}, "readable": "", "put_off": None,
    }
