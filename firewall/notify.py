"""Telling systemd how this service does: sd_notify(3), without its library."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def notify(**words: object) -> bool:
    """`notify(READY=1, STATUS="...")`; whether somebody listened. Never raises: nobody has to be there."""
    where = os.environ.get("NOTIFY_SOCKET", "")
    if not where:
        return False
    text = "\n".join(f"{word}={' '.join(str(value).split())}" for word, value in words.items())
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
        s.setblocking(False)
        s.sendto(text.encode(), where.replace("@", "\0", 1) if where.startswith("@") else where)
        return True
    return False
