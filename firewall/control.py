"""The protocol that TUI and CLI speak with the gateway, both ends of it (docs/control-protocol.md).

A Unix socket; one JSON object a line, at most 1 MiB. A request gets any number of items and then one answer. What a
client sends is never an exception here; a client that does not read is let go.
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import itertools
import json
import os
import pwd
import socket
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from firewall.settings import RUN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

PROTOCOL: Final = 1
LARGEST: Final = 1 << 20  # bytes of a line, and what may wait for a client that reads slowly
MOST_CLIENTS: Final = 64
READERS, CHANGERS = "consentry", "consentry-admin"  # groups
PENDING: Final = 2_000  # rows that wait for one follower
SENDS_A_SECOND: Final = 10
PATIENCE: Final = 5.0  # seconds that a client may leave unread what waits for it
TIMEOUT: Final = 30.0  # seconds that the command line waits for an answer


class NoGateway(Exception):  # noqa: N818  a state of the world, not a mistake
    """Nobody answers at this socket."""


class Refused(Exception):  # noqa: N818  an answer, not a mistake
    """The gateway said no. `status` is the exit status for the command line."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Peer:
    """Who asks, as the kernel says (SO_PEERCRED, unix(7))."""

    pid: int
    uid: int
    gid: int
    groups: frozenset[str]

    @property
    def name(self) -> str:
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return f"uid {self.uid}"

    @property
    def may_change(self) -> bool:
        return self.uid == 0 or CHANGERS in self.groups


@dataclass(frozen=True, slots=True)
class Done:
    """The last thing that a verb says."""

    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verb:
    """`run(peer, args)` yields items and then a Done; it may raise Refused. `changes`: only for who may change."""

    run: Callable[[Peer, dict[str, Any]], AsyncIterator[dict[str, Any] | Done]]
    changes: bool = False


# -- the gateway's end -------------------------------------------------------------------------------------------------


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
        self._clients = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

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
        self._server = await asyncio.start_unix_server(self._client, sock=listener, limit=LARGEST)
        new.rename(self._path)

    async def close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    def publish(self, item: dict[str, Any]) -> None:
        """To everybody who follows. Of a row, only its newest state is kept until it can be sent."""
        for follower in self._followers:
            follower.put(item)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._clients >= MOST_CLIENTS:
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._clients += 1
        connection = _Connection(writer)
        running: set[asyncio.Task[None]] = set()
        try:
            connection.send(self._greeting)
            while line := await reader.readline():
                request = asyncio.ensure_future(self._answer(connection, line))
                running.add(request)
                request.add_done_callback(running.discard)
        except (ConnectionError, asyncio.CancelledError):
            pass
        except ValueError:  # a line longer than the limit
            connection.send({"id": None, "error": f"a line is longer than {LARGEST} bytes", "status": 2})
        finally:
            for request in running:
                request.cancel()
            self._clients -= 1
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, connection: _Connection, line: bytes) -> None:
        number: object = None
        try:
            try:
                request = json.loads(line)
            except (ValueError, RecursionError):
                raise Refused("that is no JSON", 2) from None
            if not isinstance(request, dict) or not isinstance(request.get("do"), str):
                raise Refused('a request reads {"id": 1, "do": "status"}', 2)
            number = request.pop("id", None)
            verb = self._verbs.get(request.pop("do"))
            if verb is None:
                raise Refused(f"there are only {', '.join(sorted(self._verbs))}", 2)
            if verb.changes and not connection.peer.may_change:
                who = connection.peer.name
                raise Refused(f"only root and group {CHANGERS} may do that: sudo usermod -aG {CHANGERS} {who}")
            async for item in verb.run(connection.peer, request):
                if isinstance(item, Done):
                    connection.send({"id": number, "done": item.values})
                    return
                connection.send({"id": number, "item": item})
                await connection.drained()
        except Refused as error:
            connection.send({"id": number, "error": str(error), "status": error.status})
        except ConnectionError:  # it has gone, or was let go
            pass

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
        self._writer.write(json.dumps(message, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")

    async def drained(self) -> None:
        """Raises ConnectionAbortedError, and lets the client go, if it does not read what waits for it."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._writer.drain()
        except TimeoutError:
            self._writer.transport.abort()
            raise ConnectionAbortedError from None


class _Follower:
    """What waits for one who follows: the newest state of each row, and of the status."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[str, Any]] = {}
        self._others: dict[str, dict[str, Any]] = {}
        self._skipped = 0
        self._there = asyncio.Event()

    def put(self, item: dict[str, Any]) -> None:
        row = item.get("episode")
        if row is None:
            self._others.update(dict.fromkeys(item, item))
        else:
            self._rows.pop(row["id"], None)
            self._rows[row["id"]] = item
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
    pid, uid, gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    try:
        names = {grp.getgrgid(group).gr_name for group in os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)}
    except KeyError:
        names = set()
    return Peer(pid, uid, gid, frozenset(names))


# -- the clients' end --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reply:
    """All items, and what the gateway said last."""

    items: list[dict[str, Any]]
    done: dict[str, Any]


def default_socket() -> Path:
    """$CONSENTRY_SOCKET; else the real gateway's, if it answers; else the lab's."""
    chosen = os.environ.get("CONSENTRY_SOCKET")
    if chosen:
        return Path(chosen)
    real = RUN / "gateway.sock"
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(real))
        except OSError:
            return RUN / (os.environ.get("CONSENTRY_LAB") or "consentry") / "gateway.sock"
    return real


def connect(path: Path) -> Client:
    """Raises NoGateway."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(TIMEOUT)
    try:
        sock.connect(str(path))
        return Client(sock)
    except PermissionError:
        sock.close()
        raise Refused(f"{path}: only root and group {READERS} may look: sudo usermod -aG {READERS} $USER") from None
    except (OSError, ValueError) as error:
        sock.close()
        raise NoGateway(f"{path}: {error}") from None


class Client:
    """For the command line: one question after the other."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file = sock.makefile("rwb")
        self._numbers = itertools.count(1)
        self.greeting: dict[str, Any] = self._read()

    def ask(self, verb: str, **args: object) -> Reply:
        """Raises Refused, and NoGateway if it goes away meanwhile."""
        items = []
        for answer in self._stream(verb, args):
            if "item" in answer:
                items.append(answer["item"])
            else:
                return Reply(items, answer["done"])
        raise NoGateway("it went away before it had answered")

    def follow(self) -> Iterator[dict[str, Any]]:
        """Everything that is published from now on, until the gateway goes away (NoGateway)."""
        self._sock.settimeout(None)
        for answer in self._stream("follow", {}):
            yield answer["item"]

    def _stream(self, verb: str, args: dict[str, Any]) -> Iterator[dict[str, Any]]:
        try:
            self._file.write(json.dumps({"id": next(self._numbers), "do": verb} | args).encode() + b"\n")
            self._file.flush()
            while True:
                answer = self._read()
                if "error" in answer:
                    raise Refused(answer["error"], answer["status"])
                yield answer
        except (OSError, ValueError) as error:
            raise NoGateway(str(error)) from None

    def _read(self) -> dict[str, Any]:
        line = self._file.readline()
        if not line:
            raise ConnectionResetError("it went away")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        self._sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient:
    """For the TUI: questions and streams side by side on one connection. `async with` opens it, or raises NoGateway."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Queue[dict[str, Any] | None]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        try:
            reader, self._writer = await asyncio.open_unix_connection(str(self._path), limit=2 * LARGEST)
            await reader.readline()
        except OSError as error:
            raise NoGateway(f"{self._path}: {error.strerror}") from None
        self._reading = asyncio.ensure_future(self._read(reader))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._reading is not None
        assert self._writer is not None
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        self._writer.close()

    async def ask(self, verb: str, **args: object) -> Reply:
        """Raises Refused, and NoGateway if it goes away meanwhile."""
        items: list[dict[str, Any]] = []
        async for answer in self._answers(verb, args):
            if "done" in answer:
                return Reply(items, answer["done"])
            items.append(answer["item"])
        raise NoGateway("it went away before it had answered")

    async def stream(self, verb: str, **args: object) -> AsyncIterator[dict[str, Any]]:
        """Items, until the gateway ends it or goes away (NoGateway)."""
        async for answer in self._answers(verb, args):
            if "done" in answer:
                return
            yield answer["item"]

    async def _answers(self, verb: str, args: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        assert self._writer is not None
        number = next(self._numbers)
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._waiting[number] = queue
        try:
            self._writer.write(json.dumps({"id": number, "do": verb} | args).encode() + b"\n")
            while (answer := await queue.get()) is not None:
                if "error" in answer:
                    raise Refused(answer["error"], answer["status"])
                yield answer
            raise NoGateway(f"{self._path}: it went away")
        finally:
            del self._waiting[number]

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                answer = json.loads(line)
                queue = self._waiting.get(answer.get("id"))
                if queue is not None:
                    queue.put_nowait(answer)
        except (OSError, ValueError):
            pass
        finally:
            for queue in self._waiting.values():
                queue.put_nowait(None)
