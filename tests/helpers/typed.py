"""The command line without its start. One process has read it, and forks for each command that a test types.

A test types some commands hundreds of times, each of which reads a third of a second of Python first. What is forked is
a process of its own all the same: its streams, environment and exit status are a command's.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from functools import cache

from firewall.cli import main

MOST = 1 << 20  # bytes of a command and its environment


class Typist:
    """Types commands for this process, one or several at a time."""

    def __init__(self) -> None:
        self._line, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._line, its):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MOST)
        with its:
            self._process = subprocess.Popen([sys.executable, __file__, str(its.fileno())], pass_fds=[its.fileno()], stdin=subprocess.DEVNULL)
        self._turn = threading.Lock()

    def run(self, words: Sequence[str], env: dict[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
        """As subprocess.run does with captured output and no input. Raises TimeoutExpired, and has killed it then."""
        ours, fds = zip(*(os.pipe() for _ in range(3)), strict=True)
        try:
            with self._turn:
                socket.send_fds(self._line, [json.dumps([list(words), env]).encode()], fds)
        finally:
            for fd in fds:
                os.close(fd)
        said = {fd: bytearray() for fd in ours}
        until = time.monotonic() + timeout
        waiting = set(ours)
        try:
            while waiting:
                ready = select.select(list(waiting), [], [], max(0.0, until - time.monotonic()))[0]
                if not ready:
                    os.kill(json.loads(said[ours[2]].split()[0]), signal.SIGKILL)
                    raise subprocess.TimeoutExpired(list(words), timeout, said[ours[0]], said[ours[1]])
                for fd in ready:
                    said[fd] += (data := os.read(fd, 1 << 16))
                    if not data:
                        waiting.discard(fd)
        finally:
            for fd in ours:
                os.close(fd)
        out, err, (_, status) = said[ours[0]].decode(), said[ours[1]].decode(), said[ours[2]].split()
        return subprocess.CompletedProcess(list(words), int(status), out, err)


@cache
def typist() -> Typist:
    """The one of this process."""
    return Typist()


def serve(line: socket.socket) -> None:
    """Until the other end is closed. A command's number is told when it begins, its exit status when it has ended."""
    gc.freeze()
    running: dict[int, tuple[int, int]] = {}  # pidfd -> process, where its end is told
    while True:
        for fd in select.select([line, *running], [], [])[0]:
            if fd in running:
                pid, tell = running.pop(fd)
                os.close(fd)
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                with suppress(BrokenPipeError):
                    os.write(tell, b" %d" % status)
                os.close(tell)
                continue
            request, fds, _, _ = socket.recv_fds(line, MOST, 3)
            if not request:
                return
            for number in fds:
                os.set_inheritable(number, False)
            pid = os.fork()
            if not pid:
                line.close()
                for theirs in (*running, *(tell for _, tell in running.values())):  # who waits for another's end would wait for this one's
                    os.close(theirs)
                become(*json.loads(request), *fds[:2])
            os.close(fds[0])
            os.close(fds[1])
            os.write(fds[2], b"%d" % pid)
            running[os.pidfd_open(pid)] = (pid, fds[2])


def become(words: list[str], env: dict[str, str], out: int, err: int) -> None:
    status = 1
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.environ.clear()
        os.environ.update(env)
        main(words, prog_name="consentry")
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001  as the interpreter would
        traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
