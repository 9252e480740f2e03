"""The time by which the history forgets: a clock that is wrong for an hour must not wipe what is kept for months."""

from __future__ import annotations

from typing import Final

LEAP: Final = 7 * 86_400.0  # seconds forward that are believed at once: a box was switched off for a week
DOUBT: Final = 86_400.0  # so long a wall clock must insist on a greater leap, or on a step back


class HouseTime:
    """Follows the wall clock while that is plausible, and else goes on by itself, as fast as time passes.

    A network time service corrects a wrong clock within minutes; what still stands after a day is taken for true.
    """

    def __init__(self, mark: float | None, wall: float, steady: float, *, trusted: bool = True) -> None:
        """`mark`: what `now` said last before this process; None in a new house.

        `steady` counts seconds and never jumps.
        """
        self._now = wall if mark is None else mark
        self._steady = steady
        self._doubted: float | None = None  # since when, in steady seconds
        self.now(wall, steady, trusted=trusted)

    @property
    def doubts(self) -> bool:
        return self._doubted is not None

    def now(self, wall: float, steady: float, *, trusted: bool) -> float:
        expected = self._now + max(0.0, steady - self._steady)
        self._steady = steady
        plausible = trusted and self._now <= wall <= expected + LEAP
        if plausible:
            self._doubted = None
        elif self._doubted is None or not trusted:
            self._doubted = steady
        if plausible or (self._doubted is not None and trusted and steady - self._doubted >= DOUBT):
            self._now, self._doubted = wall, None
        else:
            self._now = expected
        return self._now
