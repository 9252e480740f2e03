"""rules.toml on the disk, which its owner edits with other programs too: replaced whole, never over somebody's words.

The new file and the old one change places in one step (renameat2(2), RENAME_EXCHANGE); what came out is looked at then,
and goes back if it is not what the edit was made from. So nothing that another program wrote is ever lost.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import time
from typing import TYPE_CHECKING, Final

from rules import store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK_SECONDS: Final = 2.0
SETTLE_SECONDS: Final = 0.3  # for a program that has the old file open and may still write
MOST_REJECTED: Final = 1_000
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_F_SETLEASE: Final = 1024


class ChangedMeanwhile(Exception):  # noqa: N818  a state of the world
    """Somebody else wrote the file while we did."""


class RulesFile:
    """Methods wait for the disk: call them in a thread. Those that write raise OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> bytes:
        """Raises RuleError; b"" if there is none."""
        return store.read(self.path)

    def fingerprint(self) -> object:
        """Equal while the file is the same; None while there is none."""
        try:
            return _fingerprint(self.path.stat())
        except OSError:
            return None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Against other programs that ask as we do: flock(2) on the directory. Raises OSError (EAGAIN)."""
        folder = os.open(self._target().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            until = time.monotonic() + LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.02)
            yield
        finally:
            os.close(folder)

    def replace(self, expected: bytes, new: bytes) -> object:
        """The new fingerprint. Raises ChangedMeanwhile if what is there is not `expected`; then it stays.

        Mode and owner are kept.
        """
        target = self._target()
        beside = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            written, exists = self._write(beside, new, like=target)
            if not exists:
                if expected:
                    raise ChangedMeanwhile
                try:
                    os.link(beside, target)
                except FileExistsError:
                    raise ChangedMeanwhile from None
            elif target.read_bytes() != expected:
                raise ChangedMeanwhile
            elif _exchange(beside, target):
                _settle(beside)
                if beside.read_bytes() != expected:
                    _exchange(beside, target)
                    self._keep_unless(beside, new)
                    raise ChangedMeanwhile
            else:  # a file system without it: a moment remains in which another's words can be lost
                beside.rename(target)
            _sync(target.parent)
            return written
        finally:
            with contextlib.suppress(OSError):
                beside.unlink()

    def reject(self, wanted: bytes) -> str:
        """Keep what could not be written as rules.toml.rej-N beside the file; its name."""
        target = self._target()
        for number in range(1, MOST_REJECTED):
            path = target.with_name(f"{target.name}.rej-{number}")
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except FileExistsError:
                continue
            with os.fdopen(descriptor, "wb") as file:
                file.write(wanted)
                with contextlib.suppress(OSError):
                    stat = target.stat()
                    os.fchown(file.fileno(), stat.st_uid, stat.st_gid)
            return path.name
        raise OSError(errno.EEXIST, f"{MOST_REJECTED} rejected edits lie there already", str(target.parent))

    def _target(self) -> Path:
        """Where a symbolic link leads."""
        return self.path.resolve()

    @staticmethod
    def _write(path: Path, data: bytes, like: Path) -> tuple[object, bool]:
        """Its fingerprint, and whether there is a file `like`, which mode and owner are taken from."""
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            stat = like.stat() if like.exists() else None
            if stat is not None and (stat.st_uid, stat.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(descriptor, stat.st_uid, stat.st_gid)
            os.fchmod(descriptor, 0o644 if stat is None else stat.st_mode & 0o7777)
            os.fsync(descriptor)
            return _fingerprint(os.fstat(descriptor)), stat is not None

    def _keep_unless(self, path: Path, ours: bytes) -> None:
        """Two others wrote within a moment: the one that came out last is not ours and must not vanish."""
        data = path.read_bytes()
        if data != ours:
            self.reject(data)


def _fingerprint(stat: os.stat_result) -> object:
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _exchange(one: Path, other: Path) -> bool:
    """False if this file system, or this libc, cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP}:
        return False
    raise OSError(number, os.strerror(number), str(other))


def _settle(path: Path) -> None:
    """Wait, a little, until no other program has this file open: a lease is given only then (fcntl(2), F_SETLEASE)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        until = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < until:
            try:
                fcntl.fcntl(descriptor, _F_SETLEASE, fcntl.F_WRLCK)
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                return  # no leases here
            else:
                return
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
