"""A table that draws only the lines that are seen, and whose cursor stays on its row while others come and go."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, ClassVar, Final, Generic, NamedTuple, TypeVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.format import fit

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from textual import events

Row = TypeVar("Row")
GAP: Final = 1  # cells between columns


class Column(NamedTuple):
    title: str
    width: int
    right: bool = False  # aligned


class Cell(NamedTuple):
    """Text that fits its column, and which of the table's component classes (without `table--`) colours it."""

    text: str
    style: str = "row"


class Table(ScrollView, Generic[Row], can_focus=True):
    """Subclasses say what a row's key and cells are.

    Until the owner moves the cursor it rests on the first row, whichever that is. Then it stays on its row, and the
    row on its line, as far as there are lines above; `g` lets go of it.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"table--{name}"
        for name in ("title", "row", "dim", "struck", "cursor", "block", "ask", "allow", "watch", "held", "consent")
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("g,home", "first", show=False),
        Binding("G,end", "last", show=False),
        Binding("space", "mark", show=False),
    ]

    class Pointed(Message):
        """The cursor is on another row, its row has changed, or what is marked."""

    class Opened(Message):
        """The owner wants to know everything about the row under the cursor."""

    def __init__(self, *, id: str | None = None, mark: str = "") -> None:  # noqa: A002  Textual's own word
        """`mark`: what stands before a row that is marked; "": none can be."""
        super().__init__(id=id)
        self.mark = mark
        self._rows: Sequence[Row] = ()
        self._at = 0
        self._columns: Sequence[Column] = ()
        self.follows = True  # the cursor rests on the first row
        self._marks: set[Hashable] = set()
        self._hidden: Sequence[Row] = ()
        self._empty: list[str] = []

    # -- what subclasses say

    def key(self, row: Row) -> Hashable:
        raise NotImplementedError

    def columns(self, width: int) -> Sequence[Column]:
        """Whose widths and gaps fill `width`."""
        raise NotImplementedError

    def cells(self, row: Row, columns: Sequence[Column]) -> Sequence[Cell]:
        raise NotImplementedError

    def restful(self, row: Row) -> bool:  # noqa: ARG002  for those that have lines between their rows
        """Whether the cursor may rest on it."""
        return True

    def markable(self, row: Row) -> bool:
        """Whether something can be done with it and others at once."""
        return self.restful(row)

    # -- what others see

    @property
    def marked(self) -> list[Row]:
        return [row for row in self._rows if self.key(row) in self._marks]

    @property
    def marked_away(self) -> int:
        """How many rows are marked that are hidden."""
        return sum(self.key(row) in self._marks for row in self._hidden) if self._marks else 0

    @property
    def chosen(self) -> list[Row]:
        """What an act is for: the rows that are marked and in sight; if none is marked, the one under the cursor."""
        if self._marks:
            return self.marked
        return [] if self.pointed is None or not self.restful(self.pointed) else [self.pointed]

    def unmark(self) -> None:
        """All that are in sight."""
        if self._marks:
            self._marks -= {self.key(row) for row in self._rows}
            self.refresh()
            self.post_message(self.Pointed())

    @property
    def rows(self) -> Sequence[Row]:
        return self._rows

    @property
    def pointed(self) -> Row | None:
        """The row under the cursor."""
        return self._rows[self._at] if self._rows else None

    @property
    def above(self) -> int:
        """Rows over the first line that is seen."""
        return self.scroll_offset.y

    def show(self, rows: Sequence[Row], hidden: Sequence[Row] = ()) -> None:
        """Replace the rows. The cursor goes where its row has gone; if that is no more, it stays where it is.

        `hidden`: others that are there as well, and keep their marks.
        """
        pointed, line = self.pointed, self._at - self.scroll_offset.y
        self._rows, self._hidden = rows, hidden
        if self._marks:
            self._marks &= {self.key(row) for row in (*rows, *hidden) if self.markable(row)}
        if self.follows or pointed is None:
            self._at = 0
        else:
            key = self.key(pointed)
            self._at = next((at for at, row in enumerate(rows) if self.key(row) == key), min(self._at, len(rows) - 1))
            self._at = max(0, self._at)
        if rows:
            self._at = self._resting(self._at)
        self.virtual_size = Size(0, len(rows) + 1)  # and the line of titles
        if self.follows:
            line = 0
        self.scroll_to(y=self._at - line, animate=False, immediate=True, force=True)
        self.refresh()
        self.post_message(self.Pointed())

    def teach(self, text: str) -> None:
        """What stands there while there are no rows."""
        lines = [line for part in text.splitlines() for line in wrap(part, max(1, self.size.width - 4)) or [""]]
        if lines != self._empty:
            self._empty = lines
            self.refresh()

    def point(self, key: Hashable) -> bool:
        """Move the cursor to this row, if it is there."""
        at = next((at for at, row in enumerate(self._rows) if self.key(row) == key), None)
        if at is not None:
            self._point(at)
        return at is not None

    # -- keys and mouse

    def action_move(self, by: int) -> None:
        self._point(self._at + by)

    def action_page(self, by: int) -> None:
        self._point(self._at + by * max(1, self.size.height - 1))

    def action_first(self) -> None:
        self._point(0)
        self.follows = True

    def action_last(self) -> None:
        self._point(len(self._rows) - 1)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return bool(self.mark) if action == "mark" else super().check_action(action, parameters)

    def action_mark(self) -> None:
        """Or take the mark away; and on to the next row."""
        pointed = self.pointed
        if pointed is not None and self.markable(pointed):
            self._marks ^= {self.key(pointed)}
        self._point(self._at + 1)

    def action_open(self) -> None:
        if self._rows:
            self.post_message(self.Opened())

    def on_click(self, event: events.Click) -> None:
        at = event.y - 1 + self.scroll_offset.y
        if event.y > 0 and at < len(self._rows):
            again = at == self._at and not self.follows
            self._point(at)
            if again:
                self.action_open()

    def _point(self, at: int) -> None:
        if not self._rows:
            return
        self.follows = False
        self._at = self._resting(max(0, min(at, len(self._rows) - 1)))
        top, seen = self.scroll_offset.y, max(1, self.size.height - 1)
        self.scroll_to(y=min(max(top, self._at - seen + 1), self._at), animate=False, immediate=True, force=True)
        self.refresh()
        self.post_message(self.Pointed())

    def _resting(self, at: int) -> int:
        """The next row in the cursor's direction on which it may rest; else the next one back."""
        onward = range(at, len(self._rows)) if at >= self._at else range(at, -1, -1)
        back = range(at, -1, -1) if at >= self._at else range(at, len(self._rows))
        return next((at for way in (onward, back) for at in way if self.restful(self._rows[at])), at)

    # -- drawing

    def on_resize(self) -> None:
        self._columns = self.columns(self.scrollable_content_region.width - 2)
        self.refresh()  # one that was hidden is drawn before it knows its columns
        top, seen = self.scroll_offset.y, max(1, self.size.height - 1)
        if self._at >= top + seen:
            self.scroll_to(y=self._at - seen + 1, animate=False, immediate=True, force=True)

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        if y == 0:
            title = self.get_component_rich_style("table--title")
            texts = [fit(column.title, column.width, right=column.right) for column in self._columns]
            return Strip([Segment(fit(" " + (" " * GAP).join(texts), width), title)], width)
        at = y - 1 + self.scroll_offset.y
        if not self._rows and 0 < at <= len(self._empty):
            return Strip([Segment(fit("  " + self._empty[at - 1], width), self.get_component_rich_style("table--dim"))])
        if at >= len(self._rows):
            return Strip.blank(width, self.rich_style)
        gap = self.get_component_rich_style("table--row")
        marked = bool(self._marks) and self.key(self._rows[at]) in self._marks
        segments = [Segment(self.mark, self.get_component_rich_style("table--watch")) if marked else Segment(" ", gap)]
        for column, (text, style) in zip(self._columns, self.cells(self._rows[at], self._columns), strict=True):
            colour = self.get_component_rich_style(f"table--{style}")
            segments.append(Segment(fit(text, column.width, right=column.right), colour))
            segments.append(Segment(" " * GAP, gap))
        if at == self._at:
            under = self.get_component_rich_style("table--cursor", partial=True)
            segments = list(Segment.apply_style(segments, post_style=under))
            gap += under
        return Strip(segments).adjust_cell_length(width, gap)
