"""Allow or block what stands in rows: what, for whom, and what that would do; then one key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual import work
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content

from firewall.control import NoGateway, Refused
from firewall.text import inert
from rules import words
from rules.sentence import parse_sentence
from tui import offers, story
from tui.forecast import forecast
from tui.format import count, cut
from tui.screens.box import Box
from tui.theme import COLOURS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from firewall.episode import Episode
    from tui.offers import Offer

WIDEST: Final = 76  # cells of text
KEYS: Final = "enter saves   esc leaves   e edit as text"
CHOOSING: Final = "      tab: what   shift+tab: for whom   capital letter: everyone"
VERBS: Final = {"allow": "Allow", "block": "Block"}


class Act(Box):
    """`a` or `b`, then a letter for what and enter; a capital letter means everyone."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "leave", key_display="esc"),
        Binding("enter", "save", "save"),
        Binding("e", "edit", "as text"),
        Binding("tab,down", "what(1)", show=False, priority=True),
        Binding("up", "what(-1)", show=False, priority=True),
        Binding("shift+tab,right", "who(1)", show=False, priority=True),
        Binding("left", "who(-1)", show=False, priority=True),
        *(Binding(key, f"choose('{key}', False)", show=False) for key in "ndsa"),
        *(Binding(key.upper(), f"choose('{key}', True)", show=False) for key in "ndsa"),
    ]

    def __init__(
        self, episodes: Sequence[Episode], action: str, offered: tuple[Offer, ...], then: Callable[[], object]
    ) -> None:
        """`then`: what is done when the rule is saved."""
        super().__init__()
        self._episodes = episodes
        self._then = then
        self._action = action
        self._whats = offered
        self._whose = offers.whose(episodes)
        self._what = self._who = 0
        self._told: dict[str, dict[str, Any]] = {}  # dry runs by the rule's text
        self._trouble = ""
        self._eager = False  # enter was pressed before the dry run had answered

    @property
    def text(self) -> str:
        """The rule as it would be saved."""
        return offers.rule(self._action, self._whats[self._what], self._whose[self._who])

    def on_mount(self) -> None:
        box = self.query_one(VerticalScroll)
        box.border_title, box.border_subtitle = self._action, KEYS
        box.focus()
        self._chosen()

    # -- keys

    def action_what(self, by: int) -> None:
        self._what = (self._what + by) % len(self._whats)
        self._chosen()

    def action_who(self, by: int) -> None:
        self._who = (self._who + by) % len(self._whose)
        self._chosen()

    def action_choose(self, key: str, everyone: bool) -> None:  # noqa: FBT001  a key binding has no keywords
        at = next((at for at, offer in enumerate(self._whats) if offer.key == key), None)
        if at is None:
            return
        self._what, self._who = at, len(self._whose) - 1 if everyone else 0
        self._chosen()

    def action_edit(self) -> None:
        self.dismiss()
        self.gate.edit_rule(self.text)

    def action_save(self) -> None:
        """Not before it is said what it does; if something stands in the way, or it takes long, enter again."""
        told = self._told.get(self.text)
        again, self._eager = self._eager, True
        if again or self._trouble or (told is not None and not told.get("warnings")):
            self.save()
        else:
            self._draw()

    # -- the gateway

    def _chosen(self) -> None:
        self._trouble, self._eager = "", False
        self._draw()
        if self.text not in self._told:
            self.try_out()

    @work(exclusive=True, group="try")
    async def try_out(self) -> None:
        text = self.text
        try:
            told = (await self.gate.ask("rules.test", act="add", text=text)).done
        except (NoGateway, Refused) as error:
            self._trouble, self._eager = self.gate.why(error), False
        else:
            self._told[text] = told
            if self._eager and not told.get("warnings"):
                self.save()
                return
        self._draw()

    @work(exclusive=True, group="save")
    async def save(self) -> None:
        try:
            done = await self.gate.change(act="add", text=self.text)
        except (NoGateway, Refused) as error:
            self._trouble, self._eager = self.gate.why(error), False
            self._draw()
            return
        self.dismiss()
        self._then()
        self.gate.say(self.gate.saved(done))

    # -- drawing

    def _draw(self) -> None:
        glyphs = self.gate.glyphs
        room = min(WIDEST, self.size.width - 6)
        colour = COLOURS[self._action]
        verb = (f"{glyphs.verdicts[self._action]} {VERBS[self._action]}  ", f"{colour} bold")
        lines = [Content.assemble(verb, self._of(room)), Content("")]
        for at, offer in enumerate(self._whats):
            mark = glyphs.choice[at != self._what]
            label = "What " if at == 0 else "     "
            style = "bold" if at == self._what else ""
            text = cut(inert(offer.words), room - 11, glyphs.ellipsis)
            key = (offer.key, "$primary bold")
            lines.append(Content.assemble((label, "bold"), f" {mark} ", key, " ", (text, style)))
        whose = Content.assemble(("For  ", "bold"))
        for at, offer in enumerate(self._whose):
            text = cut(inert(offer.words), 26, glyphs.ellipsis)
            style = "bold" if at == self._who else ""
            whose = Content.assemble(whose, f" {glyphs.choice[at != self._who]} ", (text, style), " ")
        lines += [whose, Content.assemble((CHOOSING, "$muted")), Content("")]
        lines += [Content.assemble((inert(self.text), f"{colour} bold")), *self._future(room)]
        self.show(Content("\n").join(lines))

    def _of(self, room: int) -> Content:
        """The row, or how many and which."""
        glyphs, (episode, *more) = self.gate.glyphs, self._episodes
        if more:
            which = cut(", ".join(map(story.called, self._episodes)), max(8, room - 24), glyphs.ellipsis)
            return Content.assemble((count(len(self._episodes), "row"), "bold"), "  ", (which, "$muted"))
        return Content.assemble(
            (cut(inert(episode.phone), 20, glyphs.ellipsis), "bold"), "  ", story.verdict(episode, glyphs), "  ",
            (story.title(episode, max(8, room - 44), glyphs), "$muted"),
        )

    def _future(self, room: int) -> list[Content]:
        told = self._told.get(self.text)
        if self._trouble:
            return [Content.assemble((self._trouble, "$error"))]
        if told is None:
            asking = "saves as soon as the gateway has said what it does; enter again does not wait"
            return [Content.assemble((asking if self._eager else "asking the gateway what it would do", "$muted"))]
        reading = words.sentence(*parse_sentence(self.text))
        lines = [Content.assemble(("reads: ", "$muted"), inert(reading)), forecast(told, room, self.gate.glyphs)]
        if self._eager and told.get("warnings"):
            lines.append(Content.assemble(("not saved yet: enter again saves it all the same", "$warning bold")))
        return lines
