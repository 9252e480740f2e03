"""Network namespaces of this process: entering somebody's, and having one without a name (namespaces(7)).

A socket stays in the namespace that it was made in, wherever its maker goes. A namespace without a name lives as long
as something of this process holds it: whatever ends the process, its interfaces go with it.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

NEW_NET: Final = 0x40000000  # CLONE_NEWNET
_MINE: Final = "/proc/thread-self/ns/net"
_libc: Final = ctypes.CDLL(None, use_errno=True)


def join(pid: int) -> bool:
    """Move this thread to where `pid` lives; False if it was there already. Raises OSError: no right, or no process."""
    with Path(f"/proc/{pid}/ns/net").open("rb") as there:
        its, mine = os.fstat(there.fileno()), Path(_MINE).stat()
        if (its.st_dev, its.st_ino) == (mine.st_dev, mine.st_ino):
            return False
        _enter(there.fileno())
    return True


class Space:
    """One of our own, empty but for lo. Needs root; raises OSError."""

    def __init__(self) -> None:
        home = os.open(_MINE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _libc.unshare(NEW_NET):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            self.fd = os.open(_MINE, os.O_RDONLY | os.O_CLOEXEC)
            _enter(home)
        finally:
            os.close(home)

    def inside(self) -> AbstractContextManager[None]:
        """As `inside`, in this one."""
        return _meanwhile(self.fd)

    def close(self) -> None:
        os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Let this thread, and what it starts or opens, be in a namespace of ip-netns(8) meanwhile.

    No await: others would run in it too. Raises OSError.
    """
    with Path("/run/netns", name).open("rb") as there, _meanwhile(there.fileno()):
        yield


@contextmanager
def _meanwhile(fd: int) -> Iterator[None]:
    home = os.open(_MINE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _enter(fd)
        yield
    finally:
        _enter(home)
        os.close(home)


def _enter(fd: int) -> None:
    if _libc.setns(fd, NEW_NET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
