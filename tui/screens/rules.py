"""The rules, in the order in which they are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from firewall.control import NoGateway, Refused
from firewall.text import inert
from tui.format import count
from tui.screens.page import Page
from tui.widgets.rule_table import RuleTable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.widget import Widget


class Rules(Page):
    MODE = "rules"
    HELP = """\
The first rule that matches decides, from top to bottom: yours (source mine) stand above those of the packs. What no \
rule matches is allowed.
ask refuses until you consent; block refuses. hits counts decisions since the gateway started.
Rules are edited in the file named below; consentry rules check judges it, consentry rules reload uses it."""
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "back", "back")]

    def __init__(self) -> None:
        super().__init__()
        self.table = RuleTable(self.gate.glyphs)
        self.in_full = Static("", id="rule", markup=False)

    def body(self) -> Iterable[Widget]:
        yield from (self.table, self.in_full)

    def on_screen_resume(self) -> None:
        self.table.focus()
        self.read()

    @work(exclusive=True)
    async def read(self) -> None:
        try:
            reply = await self.gate.ask("rules")
        except (NoGateway, Refused) as error:
            self.table.show([])
            self.table.teach(self.gate.why(error))
            self.tabs.tell(Content(""))
            return
        self.table.show(reply.items)
        self.table.teach("There are no rules: everything is allowed.")
        revision = f"{count(len(reply.items), 'rule')}, revision {reply.done['revision']}"
        self.tabs.tell(Content.assemble((revision, "$muted")))

    def on_table_pointed(self) -> None:
        rule = self.table.pointed
        self.in_full.update(Content("") if rule is None else _in_full(rule))

    def action_back(self) -> None:
        self.app.switch_mode("live")


def _in_full(rule: dict[str, Any]) -> Content:
    meaning = f"  {inert(rule['action'])} {inert(rule['match'])}"
    off = "" if rule["enabled"] else "  (off)"
    origin = f"source {inert(rule['source'])}   {count(rule['hits'], 'hit')} since the gateway started"
    return Content("\n").join((
        Content.assemble((inert(rule["id"]), "bold"), meaning, (off, "$warning")),
        Content(inert(rule["note"]) or "without a note"),
        Content.assemble((origin, "$muted")),
    ))
