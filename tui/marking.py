"""[pure] Rows that are marked: how many, which, and what the keys do with all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content

from tui.format import cut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui.glyphs import Glyphs


def in_full(texts: Sequence[str], hidden: int, does: str, width: int, glyphs: Glyphs) -> Content:
    """Three lines, where else the row under the cursor is told. `texts` are inert, one for each row in sight; `hidden`:
    how many more are marked, which a filter hides.
    """
    away = f", {hidden if texts else 'all'} of them hidden: nothing is done with those" if hidden else ""
    esc = f"{does}; esc lets go of {'these' if hidden else 'all'}" if texts else "esc shows them"
    return Content("\n").join((
        Content.assemble((cut(f"{glyphs.mark} {len(texts) + hidden} marked{away}", width), "$primary bold")),
        Content(cut(", ".join(texts), width, glyphs.ellipsis)),
        Content.assemble((cut(esc, width, glyphs.ellipsis), "$muted")),
    ))
