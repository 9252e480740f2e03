"""Colours. What they mean is said in words and shapes as well (tui/glyphs.py); the rest is consentry.tcss."""

from __future__ import annotations

from typing import Final

from textual.theme import Theme

THEME: Final = Theme(
    name="consentry",
    primary="#6ea8fe",
    secondary="#8b97a7",
    accent="#6ea8fe",
    foreground="#dbe2ea",
    background="#0f1318",
    surface="#151a20",
    panel="#1e262f",
    success="#7fcf8f",
    warning="#edb55f",
    error="#f2777f",
    dark=True,
    variables={"footer-key-foreground": "#6ea8fe", "muted": "#8792a1", "line": "#2b3540", "given": "#c9a2f2"},
)
COLOURS: Final = {  # of verdicts
    "block": "$error", "ask": "$warning", "allow": "$success", "watch": "$primary", "held": "$muted",
    "consent": "$given",
}
