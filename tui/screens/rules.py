"""The rules, in the order in which they are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from firewall.control import NoGateway, Refused
from firewall.text import inert
from tui.format import count
from tui.screens.page import Page
from tui.widgets.rule_table import RuleTable
from tui.widgets.tabs import Tabs

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

    def body(self) -> Iterable[Widget]:
        yield RuleTable(self.gate.glyphs)
        yield Static("", id="rule", markup=False)

    def on_screen_resume(self) -> None:
        self.query_one(RuleTable).focus()
        self.run_worker(self._read(), group="rules", exclusive=True)

    async def _read(self) -> None:
        table = self.query_one(RuleTable)
        try:
            reply = await self.gate.ask("rules")
        except (NoGateway, Refused) as error:
            table.show([])
            table.teach(str(error))
            return
        table.show(reply.items)
        table.teach("There are no rules: everything is allowed.")
        revision = f"{count(len(reply.items), 'rule')}, revision {reply.done['revision']}"
        self.query_one(Tabs).tell(Content.assemble((revision, "$text-muted")))

    def on_table_pointed(self) -> None:
        rule = self.query_one(RuleTable).pointed
        self.query_one("#rule", Static).update(Content("") if rule is None else _in_full(rule))

    def action_back(self) -> None:
        self.app.switch_mode("live")


def _in_full(rule: dict[str, Any]) -> Content:
    meaning = f"  {inert(rule['action'])} {inert(rule['match'])}"
    off = "" if rule["enabled"] else "  (off)"
    origin = f"source {inert(rule['source'])}   {count(rule['hits'], 'hit')} since the gateway started"
    return Content("\n").join((
        Content.assemble((inert(rule["id"]), "bold"), meaning, (off, "$warning")),
        Content(inert(rule["note"]) or "without a note"),
        Content.assemble((origin, "$text-muted")),
    ))
