"""Telling systemd how this service does: sd_notify(3), without its library."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def message(**words: object) -> bytes:
    """`message(READY=1, STATUS="...")`; no line of a value becomes a word of its own, none is longer than a pipe's."""
    return "\n".join(f"{word}={' '.join(str(value).split())[:500]}" for word, value in words.items()).encode()


def notify(told: bytes) -> bool:
    """Whether somebody listened. Never raises: nobody has to be there."""
    where = os.environ.get("NOTIFY_SOCKET", "")
    if not where or not told:
        return False
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
        s.setblocking(False)
        s.sendto(told, where.replace("@", "\0", 1) if where.startswith("@") else where)
        return True
    return False
