"""Whether the wall clock may be believed: since this boot it was synchronised, or the owner said that it is right."""

from __future__ import annotations

import ctypes
import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised
TIMEX_BYTES: Final = 256  # more than any struct timex has; all zero: nothing is changed
LOOK_SECONDS: Final = 1.0
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_libc: Final = ctypes.CDLL(None, use_errno=True)


class Trust:
    """Called with boot time. What was believed once is believed until the machine boots again: clocks drift little."""

    def __init__(self, *, believed: bool, synchronised: Callable[[], bool] | None = None) -> None:
        self.believed = believed
        self._synchronised = synchronised or kernel_is_synchronised
        self._looked = float("-inf")

    def __call__(self, boot: float) -> bool:
        if not self.believed and boot - self._looked >= LOOK_SECONDS:
            self._looked = boot
            self.believed = self._synchronised()
        return self.believed


def kernel_is_synchronised() -> bool:
    """As the kernel has it from whoever disciplines its clock (NTP, PTP)."""
    state = int(_libc.adjtimex(ctypes.create_string_buffer(TIMEX_BYTES)))
    return state not in {-1, TIME_ERROR}


def boot_id() -> str:
    """Of this run of the machine. Where the kernel does not tell, one that no other process has: as after a boot."""
    with suppress(OSError):
        if told := BOOT_ID.read_text("ascii").strip():
            return told
    return secrets.token_hex(16)
