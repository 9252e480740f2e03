"""What happens now, and why."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content

from firewall.text import inert
from rules.expression import Filter
from tui import story
from tui.format import count
from tui.screens.page import Page
from tui.widgets.episodes import EpisodeTable
from tui.widgets.filter_line import FilterLine
from tui.widgets.why import Why

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.widget import Widget

    from firewall.episode import Episode


class Live(Page):
    MODE = "live"
    table: EpisodeTable
    HELP = """\
Every row is an episode: one phone, one place, one verdict, with the number of tries in n. The newest is on top. \
Allowed rows are dim.
The cursor rests on the newest row until you move it. Then it stays on its row, and new rows queue up above; g goes \
back to the newest. f freezes everything.
Below (or beside) the table stands why: the rule, its source, and what has left the gateway. enter tells everything.
/ filters in the language of the rules: verdict:refused  phone:NAME  name:example.com  addr:10.0.0.0/8  service:ID  \
rule:ID  via:sni  port:443  last:15m, and any word of a row: xiaomi. A leading - means not.
c on an asked row opens its question; on a row that a consent let through it shows that consent, and x takes it back.
space marks a row; a and b then make one rule of all that are marked, c answers their questions one after the other, y \
copies their names, and esc lets go of them."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "consent", "consent"),
        Binding("f", "freeze", "freeze"),
        Binding("slash", "filter", "filter"),
        Binding("escape", "back", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.frozen = False
        self.table = EpisodeTable(self.gate.glyphs)
        self.filter_line = FilterLine(self.gate.glyphs)
        self.why = Why(self.gate.glyphs, self.marks)
        self._words = ""  # the filter as it was written

    def body(self) -> Iterable[Widget]:
        yield Horizontal(Vertical(self.table, self.filter_line), self.why)

    def on_mount(self) -> None:
        self.filter_line.display = False
        self.table.focus()

    def tick(self) -> None:
        table, feed = self.table, self.gate.feed
        if feed.changed and not self.frozen:
            pinned = None if table.follows or table.pointed is None else table.pointed.id
            table.show(feed.settle(pinned, time.time()), feed.left_out)
        if not table.rows:
            table.teach(self._lesson())
        self._tell()

    def _tell(self) -> None:
        feed = self.gate.feed
        self.header.tell(f"frozen, {feed.unseen:,} new" if self.frozen else "")
        aside = []
        if feed.skipped:
            aside.append(f"{feed.skipped:,} too fast to show: see 3")
        if self.table.above and not self.table.follows:
            aside.append(f"{self.table.above:,} above: g")
        if self._words:
            aside.append(f"/ {inert(self._words)}  {feed.hidden:,} hidden: esc")
        self.tabs.tell(Content.assemble(("   ".join(aside), "$warning")))

    def _lesson(self) -> str:
        if hidden := self.gate.feed.hidden:
            return f"No row matches this filter; {count(hidden, 'row is', 'rows are')} hidden.\nesc shows them."
        status = self.gate.pulse.status(time.monotonic())
        if status is None:
            return (
                f"No gateway answers at {inert(str(self.gate.socket))}.\n"
                "Start one with: sudo consentry run\nThis screen then fills by itself."
            )
        if self.gate.lab:
            return "No phone has spoken yet. The lab's phones begin in a moment; this screen then fills by itself."
        return (
            f"No phone has spoken yet. Connect one to {self.gate.pulse.network}; "
            "this screen then fills by itself."
        )

    def action_freeze(self) -> None:
        self.frozen = not self.frozen

    def action_filter(self) -> None:
        self.filter_line.display = True
        self.filter_line.edit()
        self.learn(self.filter_line)

    def action_back(self) -> None:
        """What is marked in sight is let go of; then, without the filter, everything is shown again."""
        if self.table.marked and not self.filter_line.display:
            self.table.unmark()
            return
        self.filter_line.text = ""
        self._close_filter()

    def _close_filter(self) -> None:
        self.filter_line.display = False
        self.table.focus()

    def on_filter_line_changed(self, event: FilterLine.Changed) -> None:
        self._words = event.text
        self.gate.feed.use(Filter(event.wanted) if event.wanted else None, time.time())
        if self.frozen:
            self.table.show(self.gate.feed.shown, self.gate.feed.left_out)

    def on_filter_line_entered(self) -> None:
        self._close_filter()

    def on_filter_line_left(self) -> None:
        self.action_back()

    def on_table_pointed(self) -> None:
        self.why.show(self.table.pointed)

    def called(self, row: Episode) -> str:
        return story.called(row)

    def with_marked(self) -> str:
        return "a allow   b block   c consent   y copy"

    def on_table_opened(self) -> None:
        self.gate.open_detail(self.table.pointed)
