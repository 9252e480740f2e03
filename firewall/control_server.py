"""The gateway's end of the control protocol (docs/control-protocol.md; its words are in control.py).

What a client sends is never an exception here; a client that does not read is let go, and none keeps another waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import json
import os
import socket
import struct
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from firewall.control import CHANGERS, LARGEST, PROTOCOL, READERS, Done, Peer, Refused, Verb
from firewall.readers import asking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

MOST_CLIENTS: Final = 64
MOST_OF_A_USER: Final = 16  # clients of one uid at a time, root's excepted
KEPT_FOR_ROOT: Final = 16  # places that nobody else takes: who shuts out others does not shut out the owner
LARGEST_REQUEST: Final = 1 << 16  # bytes of a line from a client: reading JSON keeps packets waiting, 10 us a KiB
SO_PEERGROUPS: Final = 59  # asm-generic/socket.h; the socket module has no name for it
MOST_REQUESTS: Final = 16  # of one client at a time
ROWS: Final = ("episode", "question", "consent")  # items with an id, of which the newest state counts
PENDING: Final = 2_000  # rows that wait for one follower
SENDS_A_SECOND: Final = 10
PATIENCE: Final = 5.0  # seconds that a client may leave unread what waits for it
LINGER: Final = 30.0  # seconds for the answers to a client that has ended its side
EXAMPLE: Final = '{"id": 1, "do": "status"}'


class Server:
    """Serves `verbs`, and `follow`, which is its own: what `publish` is given goes to all who follow."""

    def __init__(
        self, path: Path, verbs: Mapping[str, Verb], version: str, backlog: Callable[[int], list[dict[str, Any]]]
    ) -> None:
        self._path = path
        self._backlog = backlog  # called in a thread: the newest items of the past, oldest first
        self._verbs = dict(verbs) | {"follow": Verb(self._follow)}
        self._greeting = {"consentry": PROTOCOL, "version": version}
        self._followers: set[_Follower] = set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._of_user: Counter[int] = Counter()

    async def start(self) -> None:
        """Listen. A socket left behind by a dead gateway is replaced."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        new.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            listener.bind(str(new))
        finally:
            os.umask(before)
        with contextlib.suppress(KeyError):
            os.chown(new, 0, grp.getgrnam(READERS).gr_gid)
            new.chmod(0o660)
        self._server = await asyncio.start_unix_server(self._accept, sock=listener, limit=LARGEST_REQUEST)
        new.rename(self._path)

    async def close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    def followed(self) -> bool:
        """Whether what is published goes to anybody."""
        return bool(self._followers)

    def publish(self, item: dict[str, Any]) -> None:
        """To everybody who follows. Of a row, only its newest state is kept until it can be sent."""
        for follower in self._followers:
            follower.put(item)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._client(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: writer.close())  # also if `close` came before its first line

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            connection = _Connection(writer)
        except OSError:  # gone before it was looked at
            writer.transport.abort()
            return
        uid = connection.peer.uid
        full = self._full(uid)
        if full:
            connection.send(_error(None, full, 1))
            return
        self._of_user[uid] += 1
        asking.set(uid)  # of this task and of those that answer its requests
        running: set[asyncio.Task[None]] = set()
        try:
            connection.send(self._greeting)
            while line := await reader.readline():
                request = asyncio.ensure_future(self._answer(connection, line))
                running.add(request)
                request.add_done_callback(running.discard)
                await asyncio.sleep(0)  # a buffer full of lines must not keep the loop from others
                if len(running) == MOST_REQUESTS:
                    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            if running:  # a script may have ended its side and still read; writing to one who has gone ends it too
                await asyncio.wait(running, timeout=LINGER)
        except ConnectionError:
            pass
        except ValueError:  # a line longer than the limit
            connection.send(_error(None, f"a line is longer than {LARGEST_REQUEST} bytes", 2))
        except asyncio.CancelledError:  # by `close`, which waits for this task to end
            writer.transport.abort()
        finally:
            for request in running:
                request.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await connection.close()
            self._of_user[uid] -= 1
            self._of_user += Counter()  # without those who have none left

    def _full(self, uid: int) -> str:
        """Why this user gets no connection more; "" if it does."""
        clients = self._of_user.total()
        if clients >= MOST_CLIENTS - (KEPT_FOR_ROOT if uid else 0):
            return f"{clients} clients are connected already"
        if uid and self._of_user[uid] >= MOST_OF_A_USER:
            return f"{MOST_OF_A_USER} clients of yours are connected already"
        return ""

    async def _answer(self, connection: _Connection, line: bytes) -> None:
        number: int | None = None
        try:
            try:
                request = json.loads(line)
            except (ValueError, RecursionError):
                raise Refused("that is no JSON", 2) from None
            if not isinstance(request, dict):
                raise Refused(f"a request reads {EXAMPLE}", 2)
            number, verb = request.pop("id", None), request.pop("do", None)
            if not isinstance(number, int) or not isinstance(verb, str):
                number = None
                raise Refused(f"a request reads {EXAMPLE}", 2)
            beside = request.pop("args", {})
            if not isinstance(beside, dict):
                raise Refused("args: an object is wanted", 2)
            request |= beside
            known = self._verbs.get(verb)
            if known is None:
                raise Refused(f"there are only {', '.join(sorted(self._verbs))}", 2)
            if known.changes and not connection.peer.may_change:
                who = connection.peer.name
                remedy = f"sudo usermod -aG {CHANGERS} {who}, and log in again"
                raise Refused(f"only root and group {CHANGERS} may do that: {remedy}")
            async for item in known.run(connection.peer, request):
                if isinstance(item, Done):
                    connection.send({"id": number, "done": item.values})
                    return
                connection.send({"id": number, "item": item})
                await connection.drained()
        except Refused as error:
            connection.send(_error(number, str(error), error.status))
        except ConnectionError:  # it has gone, or was let go
            pass
        except Exception as error:  # noqa: BLE001  a mistake of ours: whoever asked shall not wait for ever
            connection.send(_error(number, f"the gateway failed to answer: {error!r}", 1))
            context = {"message": "a verb failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    async def _follow(self, _peer: Peer, args: dict[str, Any]) -> AsyncIterator[dict[str, Any] | Done]:
        wanted = args.get("backlog", 0)
        follower = _Follower()
        self._followers.add(follower)
        try:
            if isinstance(wanted, int) and 0 < wanted <= PENDING:
                for item in await asyncio.to_thread(self._backlog, wanted):
                    yield item
            while True:
                for item in await follower.take():
                    yield item
                await asyncio.sleep(1 / SENDS_A_SECOND)
        finally:
            self._followers.discard(follower)


class _Connection:
    """One client's writing side."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        writer.transport.set_write_buffer_limits(high=LARGEST // 4)
        self.peer = _peer(writer.get_extra_info("socket"))

    def send(self, message: dict[str, Any]) -> None:
        """Never waits. Who leaves more than 1 MiB unread is let go."""
        transport = self._writer.transport
        if transport.is_closing():
            return
        if transport.get_write_buffer_size() > LARGEST:
            transport.abort()
            return
        line = json.dumps(message).encode() + b"\n"  # escapes are ASCII, whatever a name is made of
        if len(line) > LARGEST:
            raise ValueError(f"{len(line)} bytes are too long for one line")
        self._writer.write(line)

    async def drained(self) -> None:
        """Lets others have their turn. Raises ConnectionError if the client is gone; who does not read is let go."""
        await asyncio.sleep(0)
        try:
            async with asyncio.timeout(PATIENCE):
                await self._writer.drain()
        except TimeoutError:
            self._writer.transport.abort()
            raise ConnectionAbortedError from None

    async def close(self) -> None:
        """What was said is sent first, if the client reads it."""
        self._writer.close()
        try:
            async with asyncio.timeout(PATIENCE):
                await self._writer.wait_closed()
        except OSError:  # TimeoutError is one
            self._writer.transport.abort()


def _error(number: int | None, text: str, status: int) -> dict[str, Any]:
    return {"id": number, "error": text, "status": status}


class _Follower:
    """What waits for one who follows: the newest state of each row, and of the status."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, int], dict[str, Any]] = {}
        self._others: dict[str, dict[str, Any]] = {}
        self._skipped = 0
        self._there = asyncio.Event()

    def put(self, item: dict[str, Any]) -> None:
        kind = next(iter(item))
        if kind not in ROWS:
            self._others.update(dict.fromkeys(item, item))
        else:
            key = kind, item[kind]["id"]
            self._rows.pop(key, None)
            self._rows[key] = item
            if len(self._rows) > PENDING:
                del self._rows[next(iter(self._rows))]
                self._skipped += 1
        self._there.set()

    async def take(self) -> list[dict[str, Any]]:
        await self._there.wait()
        self._there.clear()
        items = [*self._rows.values(), *self._others.values()]
        if self._skipped:
            items.append({"skipped": self._skipped})
        self._rows, self._others, self._skipped = {}, {}, 0
        return items


def _peer(sock: socket.socket) -> Peer:
    """Who was at the other end when it connected: the process's own groups, whatever the user's database says.

    A program that has given a group up has not got it, and neither has one whose user was put into it a moment ago.
    """
    pid, uid, gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    groups = [gid]
    with contextlib.suppress(OSError):  # more than 256 of them (ERANGE), or no such kernel: then its first group counts
        told = sock.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 1_024)
        groups += struct.unpack(f"{len(told) // 4}I", told)
    names = set()
    for group in groups:
        with contextlib.suppress(KeyError):
            names.add(grp.getgrgid(group).gr_name)
    return Peer(pid, uid, gid, frozenset(names))
