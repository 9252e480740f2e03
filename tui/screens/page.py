"""What the screens have in common: the header, the tabs, and the keys that work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from textual import work
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Input

from firewall.control import NoGateway, Refused
from firewall.episode import Episode
from rules.completion import Vocabulary
from tui import marking
from tui.widgets.footer import Footer
from tui.widgets.header import Header
from tui.widgets.said import Said
from tui.widgets.table import Table
from tui.widgets.tabs import Tabs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.app import ComposeResult
    from textual.content import Content
    from textual.widget import Widget

    from tui.app import Consentry


class Learner(Protocol):
    def learn(self, vocabulary: Vocabulary) -> None: ...


class Page(Screen[None]):
    """One of the screens behind a number. `HELP` is what `?` says about it: paragraphs."""

    MODE: ClassVar[str]
    HELP: ClassVar[str]
    table: Table[Any]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "act('allow')", "allow"),
        Binding("b", "act('block')", "block"),
        Binding("c", "consent", show=False),
        Binding("u", "undo", "undo"),
        Binding("U,ctrl+r", "redo", show=False),
    ]

    @property
    def gate(self) -> Consentry:
        """The app, by its own type."""
        return cast("Consentry", self.app)

    def __init__(self) -> None:
        super().__init__()
        self.header = Header(self.gate.pulse, self.gate.glyphs)
        self.tabs = Tabs(self.MODE, self.gate.glyphs)
        self._acting = False  # the keys below offer to act on a row

    def body(self) -> Iterable[Widget]:
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        yield self.header
        yield self.tabs
        yield from self.body()
        yield Said()
        yield Footer()

    def tick(self) -> None:
        """Ten times a second while this page is to be seen: draw what has changed."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While something is written, keys are letters; allow and block want a row."""
        if action in {"filter", "act", "consent", "undo", "redo"} and isinstance(self.focused, Input):
            return False
        if action in {"act", "consent"}:
            return self.episode is not None
        return super().check_action(action, parameters)

    def on_table_pointed(self) -> None:
        """Called beside the screen's own: the first row brings its keys."""
        if self._acting != (self.episode is not None):
            self._acting = not self._acting
            self.refresh_bindings()

    @property
    def episode(self) -> Episode | None:
        """The one under the cursor, on screens that show such rows."""
        table = self.focused
        pointed = table.pointed if isinstance(table, Table) else None
        return pointed if isinstance(pointed, Episode) else None

    def action_act(self, action: str) -> None:
        self.gate.act_on(self.chosen(), action, self.table.unmark)

    def action_consent(self) -> None:
        """The questions of the rows, or the consent behind one."""
        self.gate.consent_on(self.chosen(), self.MODE)
        self.table.unmark()

    # -- rows that are marked

    def called(self, row: Any) -> str:  # noqa: ANN401  whatever the screen's table shows
        """A marked row in a few words, inert."""
        raise NotImplementedError

    def with_marked(self) -> str:
        """What the keys do with all that are marked."""
        raise NotImplementedError

    def marks(self, width: int) -> Content | None:
        """What is told instead of the row under the cursor; None while no row is marked."""
        marked, away = self.table.marked, self.table.marked_away
        if not (marked or away):
            return None
        return marking.in_full(list(map(self.called, marked)), away, self.with_marked(), width, self.gate.glyphs)

    def chosen(self) -> list[Any]:
        """What an act is for; it is said why it is for nothing."""
        if not self.table.chosen and self.table.marked_away:
            self.gate.say("what is marked is hidden by the filter: esc shows it, and nothing was done", trouble=True)
        return self.table.chosen

    def action_back(self) -> None:
        """What is marked is let go of first."""
        if self.table.marked:
            self.table.unmark()
        else:
            self.app.switch_mode("live")

    def action_undo(self) -> None:
        self.gate.step("undo")

    def action_redo(self) -> None:
        self.gate.step("redo")

    @work(exclusive=True, group="learn")
    async def learn(self, line: Learner) -> None:
        """Tell a line that is written now what the gateway knows by name."""
        try:
            told = (await self.gate.ask("vocabulary")).done
        except (NoGateway, Refused):
            return  # it can be written without
        line.learn(Vocabulary.from_json(told))

    def on_tabs_chosen(self, event: Tabs.Chosen) -> None:
        self.app.switch_mode(event.page)
