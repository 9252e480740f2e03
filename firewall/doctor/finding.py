"""[pure] What the doctor says: one finding, its three states, and what helps."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

State = Literal["pass", "warn", "fail"]
PASS: Final = "pass"  # noqa: S105  a state, not a word to keep secret
WARN: Final = "warn"
FAIL: Final = "fail"
UNKNOWN: Final = "not known without root"


class Finding(NamedTuple):
    """`says` may quote what others wrote: show it with `inert`."""

    name: str  # what was looked at: short, stable
    state: State
    says: str
    remedy: str = ""  # what to type or to change; "" where there is nothing to do


def unknown(name: str) -> Finding:
    """Nothing is wrong, and nothing was seen."""
    return Finding(name, WARN, UNKNOWN, "sudo consentry doctor")
