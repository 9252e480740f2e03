"""What was refused, to be reviewed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.content import Content

from firewall.control import NoGateway, Refused
from firewall.episode import Episode
from tui.feed import MOST_ROWS
from tui.format import count
from tui.screens.page import Page
from tui.widgets.episodes import EpisodeTable
from tui.widgets.filter_line import FilterLine
from tui.widgets.hours import Hours

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.widget import Widget

DEFAULT = "verdict:refused last:24h"


class History(Page):
    MODE = "history"
    HELP = """\
What the gate remembers. The bars are refused tries per hour of the last 24 hours, among the rows below.
/ edits the filter, enter asks with it: verdict:refused last:7d  phone:NAME  name:example.com  service:ID  rule:ID. \
Without last: everything that is kept is searched. The newest 2,000 episodes are shown.
enter on a row tells everything that is known about it."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter"),
        Binding("escape", "back", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.filter_line = FilterLine(self.gate.glyphs, DEFAULT)
        self.hours = Hours(self.gate.glyphs)
        self.table = EpisodeTable(self.gate.glyphs, span=True)

    def body(self) -> Iterable[Widget]:
        yield from (self.filter_line, self.hours, self.table)

    def on_screen_resume(self) -> None:
        self.table.focus()
        self.search()

    @work(exclusive=True)
    async def search(self) -> None:
        """Ask with what stands in the filter line; a search that still runs is given up."""
        try:
            reply = await self.gate.ask("history", filter=self.filter_line.text.strip(), limit=MOST_ROWS)
        except (NoGateway, Refused) as error:
            self.filter_line.complain(self.gate.why(error))
            return
        rows = [Episode.from_json(row) for row in reply.items]
        self.filter_line.complain("")
        self.hours.show(rows, time.time())
        most = "the newest " if len(rows) == MOST_ROWS else ""
        phones = count(len({row.phone for row in rows}), "phone")
        text = f"{most}{count(len(rows), 'episode')}, {phones}, {reply.done['seconds']:.1f} s"
        self.tabs.tell(Content.assemble((text, "$muted")))
        self.table.show(rows)
        self.table.teach("Nothing in the history matches this filter. / changes it; last:7d looks further back.")

    def action_filter(self) -> None:
        self.filter_line.edit()
        self.learn(self.filter_line)

    def action_back(self) -> None:
        """Back to what this screen began with; then to the live view."""
        if self.filter_line.text == DEFAULT:
            self.app.switch_mode("live")
            return
        self.filter_line.text = DEFAULT
        self.search()

    def on_filter_line_entered(self) -> None:
        self.table.focus()
        self.search()

    def on_filter_line_left(self) -> None:
        self.table.focus()

    def on_table_opened(self) -> None:
        self.gate.open_detail(self.table.pointed)
