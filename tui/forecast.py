"""[pure] What an edit would do, from the gateway's dry run: shown before it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.content import Content

from firewall.text import inert
from tui.format import count, cut
from tui.theme import COLOURS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tui.glyphs import Glyphs


def sentence(told: Mapping[str, Any]) -> str:
    """`the last 24 h: 14 of 2,210 decisions would change; 2 live flows are cut`."""
    changed, of, cuts = int(told.get("changed", 0)), int(told.get("of", 0)), int(told.get("cut", 0))
    if not of:
        past = "the last 24 h: nothing was decided"
    elif not changed:
        past = f"the last 24 h: none of {count(of, 'decision')} would change"
    else:
        past = f"the last 24 h: {changed:,} of {count(of, 'decision')} would change"
    now = f"{count(cuts, 'live flow')} {'is' if cuts == 1 else 'are'} cut" if cuts else "no live flow is cut"
    return f"{past}; {now}"


def forecast(told: Mapping[str, Any], width: int, glyphs: Glyphs) -> Content:
    """The sentence, what stands in the way, and examples: a line each."""
    heavy = told.get("changed") or told.get("cut")
    lines = [Content.assemble((sentence(told), "bold" if heavy else "$muted"))]
    lines += [Content.assemble((f"! {inert(str(text))}", "$warning")) for text in told.get("warnings", ())]
    lines += [_example(one, width, glyphs) for one in told.get("examples", ())]
    return Content("\n").join(lines)


def _example(one: Mapping[str, Any], width: int, glyphs: Glyphs) -> Content:
    before, after = str(one.get("before", "")), str(one.get("after", ""))
    words = Content.assemble(
        _verdict(before, glyphs), (" becomes ", "$muted"), _verdict(after, glyphs),
        ("  " + cut(inert(str(one.get("phone", ""))), 16, glyphs.ellipsis), "$muted"),
    )
    room = max(0, width - words.cell_length - 2)
    return Content.assemble(words, "  ", cut(inert(str(one.get("what", ""))), room, glyphs.ellipsis))


def _verdict(word: str, glyphs: Glyphs) -> Content:
    shape = glyphs.verdicts.get(word, " ")
    return Content.assemble((f"{shape} {inert(word)}", COLOURS.get(word, "")))
