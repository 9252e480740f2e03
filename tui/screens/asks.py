"""Who waits for an answer: one row for all that one phone tries at one service."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual import work
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from firewall.control import NoGateway, Refused
from firewall.text import inert
from tui import asking, filtering
from tui.format import count, cut
from tui.screens.filtered import Filtered
from tui.screens.question import LATER_SECONDS
from tui.widgets.ask_table import AskTable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.widget import Widget

    from rules.row_filter import Row
    from tui.glyphs import Glyphs

FRESH_SECONDS: Final = 1.0  # between two looks while something happens
STALE_SECONDS: Final = 5.0  # and while nothing does
NOBODY: Final = """\
Nobody waits for an answer.
What an ask rule refuses becomes a question here: one for each phone and service, however often it is tried. Nothing \
opens until you answer; a question that nobody answers stays, and never turns into a yes."""


class Asks(Filtered):
    MODE = "asks"
    HELP = """\
Every row is a question: one phone wants to reach one service (or domain, or address) that a rule asks about, tried n \
times, all of them refused. Nothing is held open for it: the next try after your answer passes.
enter shows what each answer would open and answers with one key: o once, 1 for 15 min, 2 for 1 h, 3 for 12 h, 4 until \
tomorrow 08:00, 5 until you revoke it. There tab chooses what (the service, this name, its domain, the address) and \
shift+tab for whom.
z puts the question off for an hour; it stays refused meanwhile. b never: makes a block rule, which u takes back.
space marks a row; enter then answers all that are marked, one after the other, z puts them off and b refuses them for \
good, each with a rule of its own; esc lets go of them.
/ narrows the list: phone:NAME  name:example.com  service:ID  country:CN  operator:ID  rule:ID  last:1h, or any word \
of a row. A leading - means not; esc shows all. What is marked and hidden by it is not acted upon.
What you have given stands on screen 5, and is taken back there.
The terminal's bell rings when somebody begins to wait; m silences it, for good, on this account."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "answer", show=False),
        Binding("z", "later", "not now"),
        Binding("b", "never", "never"),
        Binding("m", "bell", "bell"),
        Binding("escape", "back", show=False),
    ]

    ACTS: ClassVar[frozenset[str]] = frozenset({"answer", "later", "never", "bell"})
    TERMS = filtering.ASKS
    table: AskTable

    def __init__(self) -> None:
        super().__init__()
        self.table = AskTable(self.gate.glyphs)
        self.in_full = Static("", id="ask", markup=False)
        self._read_at = 0.0
        self._stirred = -1  # what had happened when it was last read

    def body(self) -> Iterable[Widget]:
        yield from (self.table, self.filter_line, self.in_full)

    def row(self, told: dict[str, Any]) -> Row:
        return filtering.of_question(told)

    # -- what stands

    def on_screen_resume(self) -> None:
        self.table.focus()
        self.read()

    def tick(self) -> None:
        passed = time.monotonic() - self._read_at
        if passed > (FRESH_SECONDS if self._stirred != self.gate.stirred else STALE_SECONDS):
            self.read()

    @work(exclusive=True, group="read")
    async def read(self) -> None:
        self._read_at, self._stirred = time.monotonic(), self.gate.stirred
        try:
            reply = await self.gate.ask("asks", all=True)
        except (NoGateway, Refused) as error:
            self.table.tell([])
            self._tell("", self.gate.why(error))
            return
        self.table.tell(reply.items)
        later = sum(bool(one["put_off"]) for one in reply.items)
        beyond = int(reply.done.get("uncounted") or 0)  # a phone that asks for too many things at once
        words = (f"{later} put off" if later else "", f"{count(beyond, 'try', 'tries')} beyond these" if beyond else "")
        self._tell("  ".join(filter(None, words)), NOBODY)

    def _tell(self, text: str, lesson: str) -> None:
        silent = "bell silent" if self.gate.bell_rings.silent else ""
        self.tell(Content.assemble(("  ".join(filter(None, (text, silent))), "$muted")), lesson)

    def on_table_pointed(self) -> None:
        question = self.table.question
        width = max(20, self.size.width - 2)
        told = self.marks(width)
        if told is None:
            told = Content("") if question is None else in_full(question, time.time(), width, self.gate.glyphs)
        self.in_full.update(told)
        self.refresh_bindings()

    def called(self, row: dict[str, Any]) -> str:
        return f"{inert(row['phone'])}: {inert(str(row['title']))}"

    def with_marked(self) -> str:
        return "enter answers one after the other   z not now   b never: a block rule for each"

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in {"answer", "later", "never"} and self.table.question is None:
            return False
        return super().check_action(action, parameters)

    # -- acts

    def on_table_opened(self) -> None:
        self.action_answer()

    def action_answer(self) -> None:
        self._answer([one["id"] for one in self.chosen()])
        self.table.unmark()

    def _answer(self, numbers: list[int], *, follows: bool = False) -> None:
        """One after the other, until the owner leaves one; what somebody else has answered meanwhile is left out."""
        open_now = [one for number in numbers for one in self.table.told if one["id"] == number]
        if open_now:
            first, *rest = open_now
            others = [one["id"] for one in rest]
            self.gate.open_question(first, "asks", lambda: self._answer(others, follows=True), follows=follows)

    def action_later(self) -> None:
        self.act("asks.later", self.chosen())

    def action_never(self) -> None:
        self.act("asks.never", self.chosen())

    def action_bell(self) -> None:
        bell = self.gate.bell_rings
        try:
            bell.switch()
        except OSError as error:
            trouble = f", but not remembered: {inert(str(error))}"
        else:
            trouble = ""
        word = "the bell is silent" if bell.silent else "the bell rings when somebody begins to wait"
        self.gate.say(f"{word}{trouble}", trouble=bool(trouble))
        self.read()

    @work(group="act")
    async def act(self, verb: str, questions: list[dict[str, Any]]) -> None:
        """One after the other; what the gate refuses is said, and does not keep the others."""
        if not questions:
            return
        never, done, troubles = verb == "asks.never", [], []
        for question in questions:
            subject = {"subject": asking.subject(question), "for": "phone"}
            args = subject if never else {"seconds": LATER_SECONDS}
            try:
                told = (await self.gate.ask(verb, id=question["id"], **args)).done
            except (NoGateway, Refused) as error:
                troubles.append(self.gate.why(error))
                continue
            if never:
                self.gate.granted = None
                done.append(f"{inert(asking.refusal(question, question, 'phone'))}; revision {told.get('revision')}")
            else:
                done.append(inert(question["phone"]))
        self.table.unmark()
        self.gate.say("; ".join((*said(done, never=never), *troubles)), trouble=bool(troubles))
        self.read()


def said(done: list[str], *, never: bool) -> list[str]:
    """What became of questions, in words. `done`: the rules that were made, or the phones that were put off."""
    if not done:
        return []
    if never:
        return [f"made the rule: {done[0]}; u takes it back" if len(done) == 1 else
                f"made {len(done)} block rules; u takes them back, one after the other"]
    who = f"{done[0]} is refused as before, and asks" if len(done) == 1 else f"{len(done)} stay refused, and ask"
    return [f"{who} again in {count(LATER_SECONDS // 60, 'minute')}"]


def in_full(question: dict[str, Any], now: float, width: int, glyphs: Glyphs) -> Content:
    """Four lines: who wants what; how; which names; what the keys do."""
    later = f"  {asking.again(question['put_off'])}" if question["put_off"] else ""
    how = asking.circumstances(question, now)
    named = asking.names(question, width, glyphs)
    rule = inert(asking.refusal(question, question, "phone"))
    head = Content.assemble(
        (f"{glyphs.verdicts['ask']} {inert(question['phone'])}", "$warning bold"), " wants to reach ",
        (inert(str(question["title"])), "bold"), (later, "$muted"),
    )
    return Content("\n").join((
        head.truncate(width),
        Content(cut(how, width, glyphs.ellipsis)),
        Content.assemble((cut("   ".join(named), width, glyphs.ellipsis), "$muted")),
        Content.assemble(
            (cut(f"enter answers   z not now   b never: {rule}", width, glyphs.ellipsis), "$muted")
        ),
    ))
