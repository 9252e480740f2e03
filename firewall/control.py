"""The protocol that TUI and CLI speak with the gateway (docs/control-protocol.md): its words, and the clients' end.

A Unix socket; one JSON object a line, at most 1 MiB. A request gets any number of items and then one answer. The
gateway's end is control_server.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import pwd
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from firewall.inputs import Author
from firewall.settings import RUN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

PROTOCOL: Final = 1
LARGEST: Final = 1 << 20  # bytes of a line
READERS, CHANGERS = "consentry", "consentry-admin"  # groups
TIMEOUT: Final = 30.0  # seconds that a client waits for an answer


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
    def author(self) -> Author:
        return Author(self.name, self.uid)

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


@dataclass(frozen=True, slots=True)
class Reply:
    """All items, and what the gateway said last."""

    items: list[dict[str, Any]]
    done: dict[str, Any]


def default_socket() -> Path:
    """$CONSENTRY_SOCKET; else the real gateway's, unless only the lab's is there."""
    chosen = os.environ.get("CONSENTRY_SOCKET")
    if chosen:
        return Path(chosen)
    real = RUN / "gateway.sock"
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(real))
        except OSError:
            lab = os.environ.get("CONSENTRY_LAB")
            of_lab = RUN / (lab or "consentry") / "gateway.sock"
            return of_lab if lab or of_lab.exists() else real
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
        raise _closed_to_us(path) from None
    except Refused:
        sock.close()
        raise
    except (OSError, ValueError) as error:
        sock.close()
        raise NoGateway(f"{path}: {error}") from None


def _closed_to_us(path: Path) -> Refused:
    return Refused(f"{path}: only root and group {READERS} may look: sudo usermod -aG {READERS} $USER")


def _greeted(line: bytes) -> dict[str, Any]:
    """The greeting; raises Refused if there is none for us, and ValueError or ConnectionError if it is no gateway."""
    if not line:
        raise ConnectionResetError("it hung up")
    greeting = json.loads(line)
    if not isinstance(greeting, dict):
        raise ValueError("it is no gateway")  # noqa: TRY004  what a peer sends has no type to get wrong
    if "error" in greeting:
        raise Refused(str(greeting["error"]))
    if greeting.get("consentry") != PROTOCOL:
        raise Refused(f"the gateway is of another version ({greeting.get('version')}): restart it, or use its command")
    return greeting


def _request(number: int, verb: str, args: dict[str, Any]) -> bytes:
    """Arguments stand beside `id` and `do`, or in `args` where one of them is called so."""
    beside = args if args.keys().isdisjoint({"id", "do", "args"}) else {"args": args}
    return json.dumps({"id": number, "do": verb} | beside).encode() + b"\n"


class Client:
    """For the command line: one question after the other."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file = sock.makefile("rwb")
        self._numbers = itertools.count(1)
        self.greeting: dict[str, Any] = _greeted(self._file.readline(LARGEST))

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
            self._file.write(_request(next(self._numbers), verb, args))
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
            reader, self._writer = await asyncio.open_unix_connection(str(self._path), limit=LARGEST)
        except PermissionError:
            raise _closed_to_us(self._path) from None
        except OSError as error:
            raise NoGateway(f"{self._path}: {error.strerror}") from None
        try:
            async with asyncio.timeout(TIMEOUT):
                _greeted(await reader.readline())
        except BaseException as error:  # the screen may be left at any moment
            self._writer.close()
            if isinstance(error, OSError | ValueError):
                raise NoGateway(f"{self._path}: {error}") from None
            raise
        self._reading = asyncio.ensure_future(self._read(reader))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._reading is not None
        assert self._writer is not None
        self._writer.close()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

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
        assert self._reading is not None
        if self._reading.done():
            raise NoGateway(f"{self._path}: it went away")
        number = next(self._numbers)
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._waiting[number] = queue
        try:
            self._writer.write(_request(number, verb, args))
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
