"""Tab in a line of the rule language: what could stand at the cursor, and putting it there."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from textual.content import Content

from firewall.text import inert
from rules.completion import Vocabulary, completions
from tui.format import cut

if TYPE_CHECKING:
    from collections.abc import Collection

    from textual.widgets import Input

    from rules.completion import Completion
    from rules.expression import ExpressionError
    from tui.glyphs import Glyphs


def possible(
    box: Input, vocabulary: Vocabulary | None, *, rule: bool, terms: Collection[str] = ()
) -> list[Completion]:
    """What could stand at the cursor instead of the word that is there. `rule`: with its action; else a filter, of
    `terms` if not of all.
    """
    found = completions(box.value, box.cursor_position, vocabulary or Vocabulary(), rule=rule, terms=terms)
    return [one for one in found if one.text != box.value[one.start : one.end]]


def unfinished(error: ExpressionError, found: list[Completion]) -> bool:
    """A word that can still become one is no mistake yet, nor is one that is missing behind its colon or comma."""
    return bool(found) and found[0].start - 1 <= error.start and error.end <= found[0].end + 1


def complete(box: Input, found: list[Completion]) -> None:
    """As far as it is certain; asked again, the first of what is possible."""
    if not found:
        return
    start, end, first, _ = found[0]
    texts = [one.text for one in found]
    same = _common([text for text in texts if text.startswith(box.value[start:end])] or texts)
    wanted = same if len(same) > end - start else first
    box.value = box.value[:start] + wanted + box.value[end:]
    box.cursor_position = start + len(wanted)


def offer(found: list[Completion], width: int, glyphs: Glyphs) -> Content:
    """In one line; what it means, where there is only one."""
    if len(found) == 1 and found[0].hint:
        line = f"{found[0].text.strip()}  {found[0].hint}"
    else:
        line = "  ".join(one.text.strip() for one in found)
    return Content.assemble(("tab: ", "$muted"), (cut(inert(line), width - 5, glyphs.ellipsis), "$primary"))


def _common(texts: list[str]) -> str:
    """With what all of them begin."""
    first, last = min(texts), max(texts)
    return "".join(letter for letter, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))
