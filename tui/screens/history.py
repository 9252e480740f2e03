"""What was refused, to be reviewed."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual import work
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static
from textual.worker import Worker, get_current_worker

from firewall import control, export
from firewall.control import NoGateway, Refused
from firewall.episode import Episode
from firewall.text import inert
from tui import story
from tui.feed import MOST_ROWS
from tui.format import count, moment
from tui.offers import exactly
from tui.screens.page import Page
from tui.widgets.episodes import EpisodeTable
from tui.widgets.filter_line import FilterLine
from tui.widgets.group_table import GroupTable
from tui.widgets.hours import HOURS, Hours
from tui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from textual.widget import Widget

DEFAULT = "verdict:refused,watch last:24h"
PAGE: Final = 500  # rows asked for at once
NEAR: Final = 20  # rows before the end at which the next page is asked for
GROUPS: Final = 500
BY: Final = ("", "service", "phone", "operator", "country", "name", "rule")  # "": rows, not groups


class History(Page):
    MODE = "history"
    table: EpisodeTable
    HELP = """\
What the gate remembers. The bars are the tries per hour of the last 24 hours, among what the filter leaves: in each \
hour from the left blocked, asked, and watched (would be refused).
/ edits the filter, enter asks with it: verdict:refused last:7d  phone:NAME  name:example.com  service:ID  rule:ID, \
and any word of a row: xiaomi. Without last: everything that is kept is searched. Older rows come as you scroll down.
s groups by service, phone, operator, country, name, rule, and back; enter on a group narrows the filter to it.
enter on a row tells everything that is known about it.
e writes all rows that the filter matches to a file, as CSV or JSON: whole or not at all, never over another one. esc \
gives that up.
space marks a row; a and b then make one rule of all that are marked, c answers their questions, e writes only them, y \
copies their names, and esc lets go of them.
o shows who did what to the gate. v looks whether the history is as it was written."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "group", "group"),
        Binding("slash", "filter", "filter"),
        Binding("e", "export", "export"),
        Binding("o", "notes", show=False),  # with them the line of keys would not fit 80 cells
        Binding("v", "verify", show=False),
        Binding("u", "undo", show=False),
        Binding("escape", "back", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.filter_line = FilterLine(self.gate.glyphs, DEFAULT)
        self.hours = Hours(self.gate.glyphs)
        self.table = EpisodeTable(self.gate.glyphs, span=True)
        self.groups = GroupTable(self.gate.glyphs)
        self.prompt = Prompt()
        self.in_full = Static("", id="marked", markup=False)
        self._by = ""
        self._wanted = DEFAULT  # what was asked last, whatever is being written
        self._away = True  # another screen was shown: what stands here may be old
        self._export: Worker[None] | None = None
        self._rows: list[Episode] = []
        self._more: str | None = None  # where the next page begins
        self._dropped = 0  # rows above the first that is held
        self._loading = False

    def body(self) -> Iterable[Widget]:
        yield from (self.filter_line, self.hours, self.table, self.groups, self.in_full, self.prompt)

    def on_mount(self) -> None:
        self.groups.display = self.in_full.display = False

    def on_screen_resume(self) -> None:
        """Behind a box that is closed nothing has changed: the place in the pages is kept."""
        if not self.prompt.display:
            self._shown.focus()
        if self._away:
            self._away = False
            self.search()

    def on_screen_suspend(self) -> None:
        self._away = self.app.current_mode != self.MODE

    @property
    def _shown(self) -> EpisodeTable | GroupTable:
        return self.groups if self._by else self.table

    def look(self, filter_text: str, by: str) -> None:
        """Ask this, grouped by that ("": its rows)."""
        self.filter_line.text = filter_text
        self._group(by)

    # -- asking

    @work(exclusive=True)
    async def search(self) -> None:
        """Ask with what stands in the filter line; a search that still runs is given up."""
        wanted = self._wanted = self.filter_line.text.strip()
        self._loading = True
        try:
            if self._by:
                await self._read_groups(wanted)
            else:
                await self._read_rows(wanted)
            hours = await self.gate.ask("history.hours", filter=wanted, hours=HOURS)
        except (NoGateway, Refused) as error:
            self.filter_line.complain(self.gate.why(error))
        else:
            self.filter_line.complain("")
            self.hours.show(hours.items)
        self._loading = False  # not if it was given up: another one is under way then

    async def _read_rows(self, wanted: str) -> None:
        """The first page that has rows: where searching takes long, pages may come empty."""
        more: str | None = None
        while True:
            reply = await self.gate.ask("history", filter=wanted, limit=PAGE, before=more)
            more = reply.done.get("more")
            if reply.items or more is None:
                break
            self.tabs.tell(Content.assemble(("searching further back", "$muted")))
        self._rows = [Episode.from_json(row) for row in reply.items]
        self._more, self._dropped = more, 0
        self.table.show(self._rows)
        self.table.teach("Nothing in the history matches this filter. / changes it; last:7d looks further back.")
        self._tell(f"{reply.done['seconds']:.1f} s")

    async def _read_groups(self, wanted: str) -> None:
        reply = await self.gate.ask("history.groups", filter=wanted, by=self._by, limit=GROUPS)
        self.groups.show(reply.items)
        self.groups.teach("Nothing in the history matches this filter. / changes it; s groups otherwise.")
        since = reply.done.get("since")
        partly = f"  only since {moment(since, 0.0)}" if since else ""
        text = f"by {self._by}: {count(reply.done['count'], 'group')}{partly}"
        self.tabs.tell(Content.assemble((text, "$warning" if partly else "$muted")))

    @work(exclusive=True)
    async def go_on(self) -> None:
        """The next page; of what is held the newest rows make room."""
        try:
            reply = await self.gate.ask("history", filter=self._wanted, limit=PAGE, before=self._more)
        except (NoGateway, Refused) as error:
            self._more = None
            self.gate.say(self.gate.why(error), trouble=True)
        else:
            rows = [*self._rows, *map(Episode.from_json, reply.items)]
            self._dropped += max(0, len(rows) - MOST_ROWS)
            self._rows, self._more = rows[-MOST_ROWS:], reply.done.get("more")
            self.table.show(self._rows)
            self._tell(f"{reply.done['seconds']:.1f} s")
        self._loading = False

    # -- exporting

    @property
    def exporting(self) -> bool:
        return self._export is not None and not self._export.is_finished

    def action_export(self) -> None:
        if self.exporting:
            self.gate.say("one file is still being written; esc gives it up", trouble=True)
        else:
            self._ask_file(time.strftime("consentry-%Y-%m-%d-%H%M.csv"))

    def _ask_file(self, name: str, why: str = "") -> None:
        here, marked = inert(str(Path.cwd())), self._marked()
        which = f"the {count(len(marked), 'row')} that you marked" if marked else "all rows that the filter matches"
        words = f"Write {which} to a file (.csv, .json or .jsonl), named from {here}."
        self.prompt.ask(f"{words}\n{why}".rstrip(), name, self._begin)

    def _begin(self, name: str) -> None:
        try:
            path = Path(name).expanduser().absolute()
            there = path.exists()
        except (OSError, RuntimeError, ValueError) as error:  # too long, nobody's home
            self._ask_file(name, f"This can name no file: {inert(str(error))}")
            return
        if export.form_of(path.name, None) is None:
            self._ask_file(name, f"{inert(path.name)}: .csv, .json or .jsonl is wanted at its end")
        elif there:
            self._ask_file(name, f"{inert(path.name)} is there already; choose another name")
        else:
            self._export = self.write(path, self._wanted, self._marked())

    def _marked(self) -> list[Episode]:
        return [] if self._by else self.table.marked

    def on_prompt_closed(self) -> None:
        if not self.prompt.display:  # it may ask once more
            self._shown.focus()

    @work(thread=True, group="export")
    def write(self, path: Path, wanted: str, marked: Sequence[Episode]) -> None:
        """What is marked, else all that is wanted; with the rights of whoever looks, and never over another file."""
        app, form = self.gate, export.form_of(path.name, None)
        assert form is not None
        try:
            with control.connect(app.socket) as client, export.begun(path, force=False) as file:
                found = (row.to_json() for row in marked) if marked else export.Pages(client, wanted, None)
                rows = _Counted(found, self._progress)
                export.write(rows, form, file)
        except (NoGateway, Refused) as error:
            words, trouble = app.why(error), True
        else:
            words, trouble = f"{count(rows.number, 'row')} written: {inert(str(path))}", False
        if app.is_running:
            app.call_from_thread(partial(app.say, words, trouble=trouble))

    def _progress(self, rows: int) -> None:
        if get_current_worker().is_cancelled:
            raise Refused("the export was given up; nothing was written")
        self.gate.call_from_thread(self.gate.say, f"{rows:,} rows so far; esc gives up")

    def _tell(self, took: str) -> None:
        phones = count(len({row.phone for row in self._rows}), "phone")
        more = "the newest " if self._more and not self._dropped else ""
        above = f"{self._dropped:,} above: g  " if self._dropped else ""
        text = f"{above}{more}{count(len(self._rows), 'episode')}, {phones}, {took}"
        self.tabs.tell(Content.assemble((text, "$muted")))

    def on_table_pointed(self) -> None:
        told = None if self._by else self.marks(max(20, self.size.width - 2))
        self.in_full.display = told is not None
        self.in_full.update(told or "")
        if self._by or self._loading or self.table.pointed is None:
            return
        if self._dropped and self.table.follows:  # g: back to the newest
            self.search()
        elif self._more and not self.table.follows and self.table.pointed in self._rows[-NEAR:]:
            self._loading = True
            self.go_on()

    # -- keys

    def action_filter(self) -> None:
        self.filter_line.edit()
        self.learn(self.filter_line)

    def action_group(self) -> None:
        self._group(BY[(BY.index(self._by) + 1) % len(BY)])

    def _group(self, by: str) -> None:
        self._by = by
        self.table.display, self.groups.display = not by, bool(by)
        self._shown.action_first()
        self._shown.focus()
        self.search()

    def action_notes(self) -> None:
        from tui.screens.past import Notes  # noqa: PLC0415  the first frame does not wait for it

        self.app.push_screen(Notes())

    def action_verify(self) -> None:
        from tui.screens.past import Verified  # noqa: PLC0415  the first frame does not wait for it

        self.app.push_screen(Verified())

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While the filter is written, letters are letters."""
        if action in {"group", "notes", "verify", "export"}:
            return super().check_action("filter", ())
        return super().check_action(action, parameters)

    def action_back(self) -> None:
        """An export is given up, or what is marked; then back to what this screen began with; then to the live view."""
        if self._export is not None and self.exporting:
            self._export.cancel()
        elif self._marked():
            self.table.unmark()
        elif self.filter_line.text == DEFAULT and not self._by:
            self.app.switch_mode("live")
        else:
            self.look(DEFAULT, "")

    def called(self, row: Episode) -> str:
        return story.called(row)

    def with_marked(self) -> str:
        return "a allow   b block   c consent   e export   y copy"

    def on_filter_line_entered(self) -> None:
        self._shown.focus()
        self.search()

    def on_filter_line_left(self) -> None:
        self._shown.focus()

    def on_table_opened(self) -> None:
        if not self._by:
            self.gate.open_detail(self.table.pointed)
        elif self.groups.pointed is not None:
            self._narrow(self.groups.pointed)

    def _narrow(self, group: dict[str, Any]) -> None:
        """To the rows of this group, and no others."""
        self.look(f"{self._wanted} {exactly(self._by, group['key'])}".strip(), "")


class _Counted:
    """The same rows; `tell` hears after each page how many they were, and may raise."""

    def __init__(self, rows: Iterable[dict[str, Any]], tell: Callable[[int], None]) -> None:
        self._rows = rows
        self._tell = tell
        self.number = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for row in self._rows:
            yield row
            self.number += 1
            if self.number % export.PAGE == 0:
                self._tell(self.number)
