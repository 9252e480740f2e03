"""A phone wants something that is asked: what it is, what each answer would open, and one key that answers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual import work
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content

from firewall.control import NoGateway, Refused
from firewall.text import inert
from tui import asking
from tui.format import cut
from tui.screens.box import Box

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDEST: Final = 76  # cells of text
LATER_SECONDS: Final = 3_600
GLANCE_SECONDS: Final = 0.5  # nobody reads a question faster
LABEL: Final = 10  # cells
BOX_KEYS: Final = "a key answers   tab: what   shift+tab: for whom   esc leaves"


class Question(Box):
    """`question`: as "asks" tells it. `screen`: where the owner was, for the record."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "leave", key_display="esc"),
        Binding("enter", "hint", show=False),
        *(Binding(key, f"grant('{life}')", show=False) for key, life in asking.KEYS.items()),
        Binding("z", "later", "not now"),
        Binding("b", "never(False)", "never"),
        Binding("B", "never(True)", show=False),
        Binding("tab", "what(1)", "what", priority=True),
        Binding("shift+tab", "who(1)", "for whom", priority=True),
        Binding("down", "what(1)", show=False, priority=True),
        Binding("up", "what(-1)", show=False, priority=True),
        Binding("right", "who(1)", show=False, priority=True),
        Binding("left", "who(-1)", show=False, priority=True),
        *(Binding(key, f"choose('{key}')", show=False) for key in "snda"),
    ]

    def __init__(self, question: Mapping[str, Any], screen: str, *, follows: bool = False) -> None:
        """`follows`: another one stood here a moment ago, and a key may have been meant for that."""
        super().__init__()
        self._read_at = time.monotonic() + (GLANCE_SECONDS if follows else 0.0)
        self._question = question
        self._screen = f"tui: {screen}"
        self._widths: Sequence[Mapping[str, Any]] = question["widths"]
        self._keys = asking.keys(question["widths"])
        self._whose = asking.whose(question)
        self._what = self._who = 0
        self._told: dict[tuple[int, int], dict[str, Any]] = {}  # previews
        self._trouble = ""
        self._eager = ""  # a life that was chosen before the preview had come
        self._busy = False  # an answer is on its way to the gateway
        self.answered = False

    @property
    def subject(self) -> str:
        return asking.subject(self._widths[self._what])

    @property
    def told(self) -> dict[str, Any] | None:
        """What the gateway says of the answer that is chosen."""
        return self._told.get((self._what, self._who))

    def on_mount(self) -> None:
        box = self.query_one(VerticalScroll)
        box.border_title = "a question" if self._question["count"] else "a consent"
        box.border_subtitle = BOX_KEYS
        box.focus()
        self._chosen()

    def on_resize(self) -> None:
        self._draw()

    # -- keys

    def action_what(self, by: int) -> None:
        self._what = (self._what + by) % len(self._widths)
        self._chosen()

    def action_who(self, by: int) -> None:
        self._who = (self._who + by) % len(self._whose)
        self._chosen()

    def action_choose(self, key: str) -> None:
        if key in self._keys:
            self._what = self._keys.index(key)
            self._chosen()

    def action_hint(self) -> None:
        """Enter answers nothing, so that one too many opens nothing."""
        self.gate.say(f"for how long? {self._lives()}; esc leaves it open")

    def _unread(self) -> bool:
        """Whether nobody can have read it yet: a key answers nothing then."""
        return time.monotonic() < self._read_at

    def action_grant(self, life: str) -> None:
        """Not before it is said what it opens; if that takes long, or was not to be seen yet, the key again."""
        if self._unread():
            return
        again, self._eager = self._eager == life, life
        if again or self._trouble or self.told is not None:
            self._answer("consents.grant", life=life, screen=self._screen, **self._about())
        else:
            self._draw()

    def action_later(self) -> None:
        if self._question["id"] is None:
            self.gate.say("this is no open question, so there is nothing to put off; esc leaves")
        else:
            self._answer("asks.later", id=self._question["id"], seconds=LATER_SECONDS)

    def action_never(self, everyone: bool) -> None:  # noqa: FBT001  a key binding has no keywords
        scope = "all" if everyone else self._whose[self._who].scope
        if self._question["id"] is None:
            self._answer("rules.edit", act="add", text=self._rule(scope))
        else:
            self._answer("asks.never", id=self._question["id"], subject=self.subject, **{"for": scope})

    # -- the gateway

    def _about(self) -> dict[str, Any]:
        asked = {} if self._question["id"] is None else {"ask": self._question["id"]}
        return self._whose[self._who].args | {"subject": self.subject} | asked

    def _chosen(self) -> None:
        self._trouble, self._eager = "", ""
        self._draw()
        if self.told is None:
            self.preview()

    @work(exclusive=True, group="preview")
    async def preview(self) -> None:
        chosen = (self._what, self._who)
        try:
            told = (await self.gate.ask(
                "consents.preview", **self._about()
            )).done
        except (NoGateway, Refused) as error:
            self._trouble, self._eager = self.gate.why(error), ""
        else:
            self._told[chosen] = told
            if self._eager and not told.get("refused"):
                self.action_grant(self._eager)
        self._draw()

    def _answer(self, verb: str, **args: object) -> None:
        """Once, however often the key is pressed."""
        if not self._busy and not self._unread():
            self._busy = True
            self._send(verb, args)

    @work(group="answer")
    async def _send(self, verb: str, args: dict[str, Any]) -> None:
        try:
            if verb == "rules.edit":
                done = await self.gate.change(**args)
            else:
                done = (await self.gate.ask(verb, **args)).done
        except (NoGateway, Refused) as error:
            self._trouble, self._eager, self._busy = self.gate.why(error), "", False
            if isinstance(error, NoGateway):
                self._trouble += "\nWhether it has taken the answer is not known: 5 tells when it is back."
            self._draw()
            return
        self.answered = True
        self.dismiss()
        self.gate.stir()
        self.gate.say(self._outcome(verb, args, done))

    def _outcome(self, verb: str, args: dict[str, Any], done: dict[str, Any]) -> str:
        if verb == "consents.grant":
            self.gate.granted = done.get("id")
            words = inert(str(done.get("words") or f"{self.subject}, {asking.FOR[args['life']]}"))
            return f"granted: {words}; the next try passes; u takes it back, as does 5"
        if verb == "asks.later":
            return f"{inert(self._question['phone'])} is refused as before, and asks again in 1 h; 2 shows it"
        self.gate.granted = None
        rule = args.get("text") or self._rule(args["for"])
        return f"made the rule: {inert(rule)}; revision {done.get('revision')}; u takes it back"

    # -- drawing

    def _rule(self, scope: str) -> str:
        return asking.refusal(self._question, self._widths[self._what], scope)

    def _lives(self) -> str:
        return "   ".join(f"{key} {asking.FOR[life]}" for key, life in asking.KEYS.items())

    def _draw(self) -> None:
        glyphs, question = self.gate.glyphs, self._question
        room = max(20, min(WIDEST, self.size.width - 6))
        title = inert(str(self._widths[self._what if question["id"] is None else 0]["title"]))
        who = cut(inert(question["phone"] or f"group {question['group']}"), 24, glyphs.ellipsis)
        circumstances = asking.circumstances(question, time.time())
        rule = inert(self._rule(self._whose[self._who].scope))
        lines = [
            Content.assemble(
                (f"{glyphs.verdicts['ask']} {who}", "$warning bold"),
                " wants to reach " if question["count"] else " may reach ",
                (cut(title, room - len(who) - 18, glyphs.ellipsis), "bold"),
            ),
            *([Content(cut(circumstances, 2 * room, glyphs.ellipsis))] if circumstances else ()),
            *(Content.assemble((line, "$muted")) for line in asking.names(question, room, glyphs)),
            Content(""),
            Content.assemble((f"{'Allow':<{LABEL}}", "bold"), *self._allow()),
            *self._choice("For", [whom.words for whom in self._whose], [""] * len(self._whose), self._who, room),
            *self._choice("What", [str(width["title"]) for width in self._widths], self._keys, self._what, room),
            Content.assemble(
                (f"{'Refuse':<{LABEL}}", "bold"),
                *(_key("z", "not now, ask again in 1 h   ") if question["id"] is not None else ()),
                *_key("b", "never: makes the rule   "),
                *_key("B", "everyone"),
            ),
            Content.assemble(" " * LABEL, (cut(rule, room - LABEL, glyphs.ellipsis), "$error")),
            Content(""),
            *self._future(),
        ]
        self.show(Content("\n").join(lines))

    def _allow(self) -> list[str | tuple[str, str]]:
        parts: list[str | tuple[str, str]] = []
        for key, life in asking.KEYS.items():
            chosen = self._eager == life
            parts += [(key, "$primary bold"), (f" {asking.FOR[life]}", "bold reverse" if chosen else ""), "   "]
        return parts[:-1]

    def _choice(self, label: str, texts: list[str], keys: list[str], at: int, room: int) -> list[Content]:
        """Side by side as far as they fit, each whole or cut to a line."""
        glyphs = self.gate.glyphs
        lines, line = [], Content.assemble((f"{label:<{LABEL}}", "bold"))
        for number, text in enumerate(texts):
            shown = cut(inert(text), room - LABEL - 4, glyphs.ellipsis)
            key: list[str | tuple[str, str]] = [(f"{keys[number]} ", "$primary bold")] if keys[number] else []
            one = Content.assemble(
                f"{glyphs.choice[number != at]} ", *key, (shown, "bold" if number == at else "$muted")
            )
            if number and line.cell_length + 3 + one.cell_length > room:
                lines.append(line)
                line = Content(" " * LABEL)
            gap = "   " if line.cell_length > LABEL else ""
            line = Content.assemble(line, gap, one)
        return [*lines, line]

    def _future(self) -> list[Content]:
        told = self.told
        if self._trouble:
            return [Content.assemble((line, "$error")) for line in self._trouble.splitlines()]
        if told is None:
            asking_it = "asking the gateway what this opens"
            eager = "is granted as soon as the gateway has said what it opens; the key again does not wait"
            return [Content.assemble((eager if self._eager else asking_it, "$muted"))]
        lines = [Content(inert(str(told.get("words", ""))))]
        lines += [Content.assemble(("! ", "$warning bold"), inert(str(text))) for text in told.get("includes", ())]
        for text in told.get("refused", ()):
            lines.append(Content.assemble((f"! would still be refused: {inert(str(text))}", "$error")))
        if self._eager:
            lines.append(Content.assemble(("not granted yet: the key again grants it all the same", "$warning bold")))
        return lines


def _key(key: str, words: str) -> tuple[tuple[str, str], str]:
    return (key, "$primary bold"), f" {words}"
