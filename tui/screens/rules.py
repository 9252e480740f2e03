"""The rules, in the order in which they are asked, and the owner's hand on them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual import work
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from firewall.control import NoGateway, Refused
from firewall.text import inert
from tui import filtering
from tui.format import count
from tui.screens.filtered import Filtered
from tui.widgets.rule_editor import RuleEditor
from tui.widgets.rule_table import RuleTable, sentence
from tui.widgets.said import Said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from textual.widget import Widget

    from rules.row_filter import Row

FRESH_SECONDS: Final = 3.0  # hits are asked for again after this
SOON_SECONDS: Final = 0.5  # after which rules that somebody else has edited are here
NOT_YOURS: Final = "a pack's rule stays as it is: d disables it, n writes a rule of yours above it"


class Rules(Filtered):
    MODE = "rules"
    HELP = """\
The first rule that matches decides, from top to bottom: yours (source mine) stand above those of the packs. What no \
rule matches is allowed; group strict is asked.
ask refuses until you consent; block refuses. hits counts decisions, before a restart too. off: disabled. hidden \
(struck through): can never match, because the rule named below the list always matches first.
n writes a new rule above the row under the cursor, e edits one. While you type, the line below says what is wrong, \
or what it means, and what it would have done in the last 24 hours. A rule: an action (allow, ask, block), then terms: \
name:example.com  phone:NAME  group:NAME  service:ID  addr:10.0.0.0/8  country:CN  port:443. A space means and, a \
comma or, a leading - not; without terms it matches everything.
J and K move a rule of yours down and up, d disables and enables any rule, x deletes one of yours, t writes its note. \
space marks a row; d and x then act on all that are marked, and esc lets go of them.
/ leaves the rules that speak of what you write: name:example.com (also of what is above or below it)  phone:NAME  \
service:ID  rule:ID, or any word of action, expression, note, source. A leading - means not; esc shows all. Order and \
numbers stay those of all rules; J and K wait until all are shown.
u takes back the last act, whoever did it and wherever, also after a restart; U does it again.
Everything stands in the file named below, which you may edit by hand: consentry rules check judges it, consentry \
rules reload uses it."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n,insert", "new", "new", key_display="n"),
        Binding("e,enter", "edit", "edit", key_display="e"),
        Binding("J", "move(1)", "down", key_display="J"),
        Binding("K", "move(-1)", "up", key_display="K"),
        Binding("d", "disable", "disable"),
        Binding("x,delete", "remove", "delete", key_display="x"),
        Binding("t", "note", "note"),
        Binding("slash", "filter", show=False),  # with it the line of keys would not fit 80 cells
        Binding("escape", "back", "back", show=False),
    ]

    ACTS: ClassVar[frozenset[str]] = frozenset({"new", "edit", "move", "disable", "remove", "note"})
    TERMS = filtering.RULES
    table: RuleTable

    def __init__(self) -> None:
        super().__init__()
        self.table = RuleTable(self.gate.glyphs)
        self.in_full = Static("", id="rule", markup=False)
        self.editor = RuleEditor(self.gate.glyphs)
        self._revision = -1
        self._undo = ""  # what u would take back
        self._read_at = 0.0
        self._pending: str | None = None  # a rule to edit, brought from another screen

    def body(self) -> Iterable[Widget]:
        yield from (self.table, self.filter_line, self.in_full, self.editor)

    def row(self, told: dict[str, Any]) -> Row:
        return filtering.of_rule(told)

    # -- what stands

    def on_screen_resume(self) -> None:
        if not self.editor.display:
            self.table.focus()
        self.read()

    def tick(self) -> None:
        """Somebody else may have edited; and hits grow."""
        status = self.gate.pulse.status(time.monotonic())
        if status is None:
            return
        wait = FRESH_SECONDS if status["revision"] == self._revision else SOON_SECONDS
        if time.monotonic() - self._read_at > wait:
            self.read()

    @work(exclusive=True, group="read")
    async def read(self) -> None:
        await self._read()

    async def _read(self) -> None:
        self._read_at = time.monotonic()
        try:
            reply = await self.gate.ask("rules")
        except (NoGateway, Refused) as error:
            self.table.take([])
            self.tell(Content(""), self.gate.why(error))
            return
        self._revision = reply.done["revision"]
        self._undo = str(reply.done.get("undo", ""))
        self.table.take(reply.items)
        revision = f"{count(len(reply.items), 'rule')}, revision {self._revision}"
        lesson = "There are no rules: everything is allowed. n writes the first."
        self.tell(Content.assemble((revision, "$muted")), lesson)
        if self._pending is not None:
            text, self._pending = self._pending, None
            self._open(None, 1, text)

    def on_table_pointed(self) -> None:
        rule = self.table.rule
        told = self.marks(max(20, self.size.width - 2))
        if told is None:
            told = Content("") if rule is None else _in_full(rule, self.table.told, self._undo)
        self.in_full.update(told)
        self.refresh_bindings()

    def called(self, row: dict[str, Any]) -> str:
        return inert(f"{row['id']} {sentence(row)}")

    def with_marked(self) -> str:
        word = "disables" if any(rule["enabled"] for rule in self.table.marked) else "enables"
        return f"d {word} them   x deletes yours"

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While a rule is written, letters are letters."""
        if action in {*self.ACTS, "filter"} and self.editor.display:
            return False
        return super().check_action(action, parameters)

    # -- acts

    def action_move(self, by: int) -> None:
        def move(rule: dict[str, Any]) -> dict[str, Any] | None:
            at = int(rule["position"]) + by
            return {"act": "move", "at": at} if 0 < at <= self.table.mine else None

        if self.table.matching < len(self.table.told):
            self.gate.say("a rule moves among all rules, and the filter hides some: esc shows all", trouble=True)
        elif (rule := self._mine()) is not None:
            self.act([str(rule["id"])], move, "moved")

    def action_disable(self) -> None:
        """Several become alike: off, unless all of them are."""
        act = "disable" if any(rule["enabled"] for rule in self.table.chosen) else "enable"
        self._act(lambda rule: {"act": act} if rule["enabled"] == (act == "disable") else None, f"{act}d")

    def action_remove(self) -> None:
        if all(rule["mine"] for rule in self.table.chosen):
            self._act(lambda _rule: {"act": "remove"}, "deleted")
        else:
            self.gate.say(NOT_YOURS, trouble=True)

    def _act(self, what: Callable[[dict[str, Any]], dict[str, Any] | None], word: str) -> None:
        """With all that are marked; if none is, with the one under the cursor."""
        self.act([str(rule["id"]) for rule in self.chosen()], what, word)
        self.table.unmark()

    def _mine(self) -> dict[str, Any] | None:
        """The rule under the cursor, if it is the owner's; else it is said what can be done."""
        rule = self.table.rule
        if rule is not None and not rule["mine"]:
            self.gate.say(NOT_YOURS, trouble=True)
            return None
        return rule

    @work(group="act")
    async def act(self, ids: list[str], what: Callable[[dict[str, Any]], dict[str, Any] | None], word: str) -> None:
        """One after the other, each with the rules as the one before has left them."""
        saved, said = [], []
        for rule_id in ids:
            async with self.gate.changing:
                rule = next((rule for rule in self.table.told if rule["id"] == rule_id), None)
                args = what(rule) if rule is not None else None
                if rule is None or args is None:
                    continue
                try:
                    saved.append(await self.gate.ask_change(rule=rule_id, was=sentence(rule), **args))
                except (NoGateway, Refused) as error:
                    said.append(self.gate.why(error))
                await self._read()
        trouble = bool(said)
        if saved:
            many = f"{word} {len(saved)} rules; u takes them back, one after the other"
            said.insert(0, many if len(saved) > 1 else self.gate.saved(saved[0]))
        if said:
            self.gate.say("; ".join(said), trouble=trouble)

    # -- the editor

    def action_new(self) -> None:
        """Above the row under the cursor; the owner's rules stand above the packs'."""
        rule = self.table.rule
        self._open(None, rule["position"] if rule is not None and rule["mine"] else self.table.mine + 1)

    def action_edit(self) -> None:
        self._edit(note=False)

    def action_note(self) -> None:
        self._edit(note=True)

    def on_table_opened(self) -> None:
        self._edit(note=False)

    def edit(self, text: str) -> None:
        """A new rule, begun on another screen; on top, once the rules are here."""
        self._pending = text
        self.read()

    def _edit(self, *, note: bool) -> None:
        rule = self._mine()
        if rule is not None:
            self._open(rule, rule["position"], note=note)

    def _open(self, rule: dict[str, Any] | None, at: int, text: str = "", *, note: bool = False) -> None:
        self.in_full.display = False
        self.query_one(Said).hush()
        self.editor.open(rule, at, text, note=note)
        self.refresh_bindings()
        self.learn(self.editor)

    def _close(self) -> None:
        self.workers.cancel_group(self, "test")
        self.editor.close()
        self.in_full.display = True
        self.table.focus()
        self.refresh_bindings()

    def on_rule_editor_left(self) -> None:
        self._close()

    def on_rule_editor_typed(self) -> None:
        self.test()

    @work(exclusive=True, group="test")
    async def test(self) -> None:
        args, typed = self._wanted(), self.editor.text
        try:
            reply = await self.gate.ask("rules.test", **(args[0] if args else self._as_it_stands()))
        except (NoGateway, Refused) as error:
            self.editor.complain(self.gate.why(error))
        else:
            if self.editor.text == typed:  # else it is about a rule that is no longer there to be read
                self.editor.foretell(reply.done)

    def on_rule_editor_entered(self) -> None:
        self.workers.cancel_group(self, "test")  # what it answers now would hide why it was refused
        self.save()

    @work(exclusive=True, group="save")
    async def save(self) -> None:
        """Each thing that is changed is an act of its own, and can be taken back alone."""
        done: dict[str, Any] = {}
        async with self.gate.changing:
            try:
                for args in self._wanted():
                    done = await self.gate.ask_change(**args)
            except (NoGateway, Refused) as error:
                await self._read()
                self.editor.complain(f"not saved: {self.gate.why(error)}{self._meanwhile()}")
                return
            self._close()
            await self._read()
        if done:
            in_sight = self.table.point(str(done["id"]))
            self.gate.say(self.gate.saved(done) + ("" if in_sight else "; the filter hides it"))

    def _wanted(self) -> list[dict[str, Any]]:
        """The edits that make of the rule what is typed."""
        editor, rule = self.editor, self.editor.editing
        if rule is None:
            at = {} if editor.at is None else {"at": editor.at}
            return [{"act": "add", "text": editor.text, "note": editor.note} | at]
        same = {"rule": rule["id"], "was": editor.was}
        found = []
        text = {"text": editor.text} if editor.text != editor.was else {}
        note = {"note": editor.note} if editor.note != rule["note"] else {}
        if text or note:
            found.append({"act": "change"} | same | text | note)
        if editor.at not in {None, rule["position"]}:
            found.append({"act": "move", "at": editor.at, "rule": rule["id"]})
        return found

    def _as_it_stands(self) -> dict[str, Any]:
        """A dry run of what is there already, which says what it does today."""
        rule = self.editor.editing
        assert rule is not None
        return {"act": "change", "rule": rule["id"], "text": self.editor.text}

    def _meanwhile(self) -> str:
        """What became of the rule that is edited, if somebody else was faster. Nothing typed is lost."""
        rule = self.editor.editing
        if rule is None:
            return ""
        now = next((one for one in self.table.told if one["id"] == rule["id"]), None)
        if now is None:
            self.editor.rebase(None)
            return ". The rule is gone meanwhile; enter adds yours as a new one"
        if sentence(now) == self.editor.was and now["note"] == rule["note"]:
            return ""
        self.editor.rebase(now)
        return f". It reads now: {inert(sentence(now))}. enter again puts yours in its place"


def _in_full(rule: dict[str, Any], rules: list[dict[str, Any]], undo: str) -> Content:
    """Everything about a rule, and what u would take back."""
    meaning = f"  {inert(sentence(rule))}"
    off = "" if rule["enabled"] else "  (off)"
    lines = [Content.assemble((inert(rule["id"]), "bold"), meaning, (off, "$warning"))]
    hider = next((one for one in rules if rule.get("hidden_by") and one["id"] == rule["hidden_by"]), None)
    if hider is not None:
        why = f"can never match: rule {inert(hider['id'])} ({inert(sentence(hider))}) above matches first"
        lines.append(Content.assemble((why, "$warning")))
    hides = [inert(one["id"]) for one in rules if one.get("hidden_by") == rule["id"]]
    if hides:
        lines.append(Content.assemble((f"hides {', '.join(hides)}", "$warning")))
    lines.append(Content(inert(rule.get("words") or rule["note"]) or "without a note"))
    if rule.get("words") and rule["note"]:
        lines.append(Content(inert(rule["note"])))
    origin = f"source {inert(rule['source'])}   {count(rule['hits'], 'hit')}"
    lines.append(Content.assemble((origin, "$muted")))
    if undo:
        lines.append(Content.assemble(("u takes back: ", "$muted"), inert(undo)))
    return Content("\n").join(lines)
