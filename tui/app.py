"""The screen: a client of the gateway's control socket, and a process of its own."""

from __future__ import annotations

import asyncio
import locale
import os
import time
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from textual import work
from textual.binding import Binding, BindingType

from firewall.control import AsyncClient, NoGateway, Refused
from firewall.text import inert
from tui import bell, glyphs, link
from tui.bell import Bell
from tui.feed import Feed
from tui.format import came_or_went, count
from tui.hangup import end_with_terminal
from tui.keys import OneByOne
from tui.pulse import Pulse
from tui.screens.live import Live
from tui.screens.page import Page
from tui.theme import THEME
from tui.widgets.header import Header
from tui.widgets.said import Said
from tui.widgets.tabs import Tabs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from textual.screen import Screen

    from firewall.control import Reply
    from firewall.episode import Episode
    from tui.screens.history import History
    from tui.screens.rules import Rules

DRAW_SECONDS: Final = 0.1  # however much happens, rows are drawn ten times a second
HEADER_SECONDS: Final = 0.5
KEY_NAMES: Final = {"enter": "enter", "slash": "/", "question_mark": "?", "escape": "esc"}


def _asks() -> Screen[None]:
    from tui.screens.asks import Asks  # noqa: PLC0415  the first frame does not wait for it

    return Asks()


def _history() -> Screen[None]:
    from tui.screens.history import History  # noqa: PLC0415  the first frame does not wait for it

    return History()


def _rules() -> Screen[None]:
    from tui.screens.rules import Rules  # noqa: PLC0415  the first frame does not wait for it

    return Rules()


def _consents() -> Screen[None]:
    from tui.screens.consents import Consents  # noqa: PLC0415  the first frame does not wait for it

    return Consents()


def _phones() -> Screen[None]:
    from tui.screens.phones import Phones  # noqa: PLC0415  the first frame does not wait for it

    return Phones()


class Consentry(OneByOne[None]):
    """`lab`: leaving ends the lab as well, which is its starter's business."""

    TITLE = "consentry"
    CSS_PATH = "consentry.tcss"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "live": Live, "asks": _asks, "history": _history, "rules": _rules, "consents": _consents, "phones": _phones,
    }
    DEFAULT_MODE = "live"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "switch_mode('live')", show=False),
        Binding("2", "switch_mode('asks')", show=False),
        Binding("3", "switch_mode('history')", show=False),
        Binding("4", "switch_mode('rules')", show=False),
        Binding("5", "switch_mode('consents')", show=False),
        Binding("6", "switch_mode('phones')", show=False),
        Binding("question_mark", "help", "help"),
        Binding("ctrl+c", "quit", show=False, priority=True),
    ]

    def __init__(self, socket: Path, *, lab: bool, look: glyphs.Glyphs = glyphs.UNICODE) -> None:
        super().__init__()
        self.socket = socket
        self.lab = lab
        self.glyphs = look
        self.pulse = Pulse(time.time())
        self.feed = Feed()
        self.bell_rings = Bell(bell.settings())
        self.granted: int | None = None  # the last act was to give this consent
        self.stirred = 0  # grows whenever something happens to a question or a consent
        self.changing = asyncio.Lock()  # one edit after the other
        self.leaving = "ends the lab" if lab else "leaves, the gate goes on"
        self.bind("q", "leave", description="ends" if lab else "quit")
        self.bind("q", "quit", description=self.leaving)
        self.register_theme(THEME)
        self.theme = THEME.name

    def on_mount(self) -> None:
        self.set_class(self.glyphs is glyphs.ASCII, "-ascii")
        if not self.is_headless:
            end_with_terminal(lambda status: self.exit(return_code=status))
        self.run_worker(link.follow(self.socket, self))
        self.set_interval(DRAW_SECONDS, self._draw)
        self.set_interval(HEADER_SECONDS, self._draw_headers)

    async def ask(self, verb: str, **args: object) -> Reply:
        """Raises NoGateway or Refused. Has a connection of its own, so that it never waits behind the rows."""
        async with AsyncClient(self.socket) as client:
            return await client.ask(verb, **args)

    def why(self, error: NoGateway | Refused) -> str:
        """In words for the screen."""
        if isinstance(error, NoGateway):
            return inert(f"no gateway answers: {str(error).removeprefix(f'{self.socket}: ')}")
        return inert(str(error))

    def open_detail(self, episode: Episode | None) -> None:
        if episode is not None:
            from tui.screens.detail import Detail  # noqa: PLC0415  the first frame does not wait for it

            self.push_screen(Detail(episode))

    # -- asks and consents

    def stir(self) -> None:
        """Screens that show questions or consents look again."""
        self.stirred += 1

    def open_question(
        self, question: dict[str, Any], screen: str, then: Callable[[], object] = lambda: None, *,
        follows: bool = False,
    ) -> None:
        """`question`: as the verb "asks" tells it. `screen`: where the owner is, which is recorded with the answer.
        `then`: what is done when it is answered. `follows`: another one was answered a moment ago.
        """
        from tui.screens.question import Question  # noqa: PLC0415  the first frame does not wait for it

        if question["widths"]:
            asked = Question(question, screen, follows=follows)

            def left(_: object) -> None:
                if asked.answered:
                    then()

            self.push_screen(asked, left)
        else:
            self.say("nothing in this row can be consented to", trouble=True)

    @work(group="consent", exclusive=True)
    async def consent_on(self, episodes: Sequence[Episode], screen: str) -> None:
        """The questions of these rows, one after the other, or the consent behind one; else why there is neither."""
        from tui import asking  # noqa: PLC0415  the first frame does not wait for it
        from tui.screens.behind import Behind  # noqa: PLC0415  the first frame does not wait for it

        asked = [row for row in episodes if row.verdict == "ask" and row.dport]
        if asked:
            try:
                questions = (await self.ask("asks", all=True)).items
            except (NoGateway, Refused) as error:
                self.say(self.why(error), trouble=True)
            else:
                self._open_questions(asking.of_rows(asked, questions), screen)
        elif not episodes:
            return
        elif episodes[0].verdict == "consent":
            self.push_screen(Behind(episodes[0].consent))
        elif episodes[0].verdict == "ask":
            self.say("a consent is for what has a port: nobody is asked about this, a writes a rule")
        else:
            self.say(asking.NO_CONSENT.get(episodes[0].verdict, "there is nothing to consent to"))

    def _open_questions(self, questions: Sequence[dict[str, Any]], screen: str, *, follows: bool = False) -> None:
        """Until the owner leaves one."""
        if questions:
            first, *rest = questions
            self.open_question(first, screen, lambda: self._open_questions(rest, screen, follows=True), follows=follows)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Where there is room, the key that leaves says what goes on."""
        if action == "leave":
            return not self.screen.has_class("-wide")
        return super().check_action(action, parameters)

    async def action_leave(self) -> None:
        await self.action_quit()

    def action_help(self) -> None:
        if isinstance(self.screen, Page):
            from tui.screens.help import Help  # noqa: PLC0415  the first frame does not wait for it

            self.push_screen(Help(self.screen.MODE, self.screen.HELP))

    def get_key_display(self, binding: Binding) -> str:
        """Keys by words that every terminal can draw."""
        return binding.key_display or KEY_NAMES.get(binding.key, binding.key)

    # -- the owner's hand

    def act_on(self, episodes: Sequence[Episode], action: str, then: Callable[[], object] = lambda: None) -> None:
        """`action`: "allow" or "block". Asks what of these rows, and for whom; `then` is done when it is saved."""
        if not episodes:
            return
        from tui import offers  # noqa: PLC0415  the first frame does not wait for it
        from tui.screens.act import Act  # noqa: PLC0415  the first frame does not wait for it

        if offered := offers.whats(episodes):
            self.push_screen(Act(episodes, action, offered, then))
        elif len(episodes) == 1:
            self.say("nothing in this row can be written into a rule", trouble=True)
        else:
            self.say("no rule can say what all these rows have (name, service or address): mark fewer", trouble=True)

    def edit_rule(self, text: str) -> None:
        """Write this rule as text, on the screen that has the editor."""
        self.switch_mode("rules")
        self.call_after_refresh(lambda: cast("Rules", self.screen).edit(text))

    def open_history(self, filter_text: str, by: str = "") -> None:
        """What happened, narrowed to this and grouped by that (tui/screens/history.py)."""
        self.switch_mode("history")
        self.call_after_refresh(lambda: cast("History", self.screen).look(filter_text, by))

    async def ask_change(self, **args: object) -> dict[str, Any]:
        """One edit of the rules, by whoever holds `changing`. Raises NoGateway or Refused."""
        return (await self.ask("rules.edit", **args)).done

    async def change(self, **args: object) -> dict[str, Any]:
        """One edit of the rules, after those that are under way. Raises NoGateway or Refused."""
        self.granted = None
        async with self.changing:
            return await self.ask_change(**args)

    @work(group="step")
    async def step(self, way: str) -> None:
        """`way`: "undo" takes back the last act, "redo" does it again."""
        number, self.granted = self.granted, None
        try:
            if way == "undo" and number is not None:
                done = (await self.ask("consents.revoke", id=number)).done
            else:
                done = await self.change(act=way)
        except (NoGateway, Refused) as error:
            self.say(self.why(error), trouble=True)
        else:
            self.say(self.outcome(done) if "revision" in done else self.revoked(done))
            self.stir()

    @staticmethod
    def revoked(done: dict[str, Any]) -> str:
        """What became of a revocation, in words for the status line."""
        flows = count(int(done.get("cut") or 0), "running flow was", "running flows were")
        trouble = f"; {inert(str(done['trouble']))}" if done.get("trouble") else ""
        return f"revoked: {flows} reset; the next try is refused and asked again{trouble}"

    def saved(self, done: dict[str, Any]) -> str:
        """In words for the status line."""
        return f"saved: {self.outcome(done)}; u takes it back"

    @staticmethod
    def outcome(done: dict[str, Any]) -> str:
        cuts = f"; {count(done['cut'], 'live flow was', 'live flows were')} cut" if done.get("cut") else ""
        return f"{inert(str(done.get('words', '')))}; revision {done['revision']}{cuts}"

    def say(self, text: str, *, trouble: bool = False) -> None:
        """What became of an act, where the owner looks now. `text` is inert."""
        for said in self.screen.query(Said):
            said.say(text, trouble=trouble)

    # -- what the link tells (tui/link.py)

    def met(self) -> None:
        self.feed.restart()

    def heard(self, item: dict[str, Any]) -> None:
        if "episode" in item:
            self.feed.put(item["episode"])
        elif "near" in item:
            self.say(came_or_went(item["near"]))
        elif "status" in item:
            if fallen := self.pulse.fell(item["status"]):
                self.say(inert(fallen), trouble=True)
            self.pulse.hear(item["status"], time.monotonic(), time.time())
            if self.bell_rings.hear(self.waiting, time.monotonic()):
                self.bell()
            self._draw_headers()
        elif "question" in item or "consent" in item:
            self.stir()
        elif "skipped" in item:
            self.feed.skipped += item["skipped"]

    def lost(self, error: NoGateway | Refused) -> None:
        self.pulse.lose(self.why(error), time.time())
        self._draw_headers()

    # -- drawing

    @property
    def waiting(self) -> int:
        """Open questions, as far as is known."""
        return int(self.pulse.last_known.get("asks") or 0)

    def _draw(self) -> None:
        for screen in self.screen_stack:
            if isinstance(screen, Page) and screen.is_mounted:
                screen.tick()

    def _draw_headers(self) -> None:
        for screen in self.screen_stack:
            for header in screen.query(Header):
                header.tick()
            for tabs in screen.query(Tabs):
                tabs.count(self.waiting)


def main(socket: Path, *, lab: bool) -> int:
    """Show the gateway behind `socket` until the owner leaves. The exit status is 0 unless the screen has crashed."""
    locale.setlocale(locale.LC_CTYPE, "")
    look = glyphs.choose(locale.nl_langinfo(locale.CODESET), os.environ.get("TERM", ""))
    app = Consentry(socket, lab=lab, look=look)
    app.run()
    return app.return_code or 0
