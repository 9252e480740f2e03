"""[pure] Rows that are marked: how many, which, and what the keys do with all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content

from tui.format import cut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tui.glyphs import Glyphs


def in_full(texts: Sequence[str], does: str, width: int, glyphs: Glyphs) -> Content:
    """Three lines, where else the row under the cursor is told. `texts` are inert, one for each row."""
    return Content("\n").join((
        Content.assemble((f"{glyphs.mark} {len(texts)} marked", "$primary bold")),
        Content(cut(", ".join(texts), width, glyphs.ellipsis)),
        Content.assemble((cut(f"{does}; esc lets go of all", width, glyphs.ellipsis), "$muted")),
    ))
