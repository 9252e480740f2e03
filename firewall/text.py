"""[pure] Text that came over the wire, made safe to show: no control code, no bidi override, nothing invisible."""

from __future__ import annotations


def inert(text: str) -> str:
    """`text` with every character that does something, or shows nothing, written out: ‹U+202E›."""
    if text.isprintable():  # true for what Unicode calls graphic, and the space
        return text
    return "".join(c if c.isprintable() else f"‹U+{ord(c):04X}›" for c in text)
