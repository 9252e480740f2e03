"""systemd's watchdog is fed only when a packet of our own has just gone the way that every phone's packet goes.

Through the kernel to Python, through the rules, and back. A gateway whose process lives and whose gate does not is
restarted so; the kernel stays closed meanwhile. Without systemd the same word stands in the status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

PROBE_SECONDS: Final = 2.0
MOST_LOST: Final = 3  # probes in a row until its owner is told: one may be lost where a queue is full for a moment


class Watchdog:
    """Call it every PROBE_SECONDS. `wrong` is what is the matter now; "" if nothing is."""

    def __init__(
        self,
        probe: Callable[[], str | None],
        state: Callable[[], tuple[str, str]],
        tell: Callable[[str], None],
        notify: Callable[..., object],
        patience: str = "",
    ) -> None:
        """`probe` sends one and says what became of the last (Backend.probe); `state` is the gate's, with a reason.

        `patience` is the unit's, in microseconds: while this process was being started the supervisor asked for more.
        """
        self.wrong = ""
        self._probe, self._state, self._tell, self._notify = probe, state, tell, notify
        self._patience = patience
        self._lost = 0
        self._ready = False

    def __call__(self) -> None:
        wrong = self._probe()
        if wrong is None:  # none has been sent before
            return
        self.wrong = wrong
        state, reason = self._state()
        if wrong:
            self._lost += 1
            if self._lost == MOST_LOST:
                self._tell(f"the gate does not answer its own probe: {wrong}")
            self._notify(STATUS=f"{state}, not fed: {wrong}")
            return
        self._lost = 0
        fed: dict[str, object] = {"WATCHDOG": 1, "STATUS": f"{state} {reason}".rstrip()}
        if not self._ready and state != "STARTING":
            self._ready = True
            fed["READY"] = 1
            if self._patience:
                fed["WATCHDOG_USEC"] = self._patience
        self._notify(**fed)
