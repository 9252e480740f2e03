"""Two threads for what clients want to know, in turn by user: whoever may look may ask as much as they like.

Packets keep their share of the interpreter, and one user's thousand questions are no other user's wait.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

T = TypeVar("T")
MOST: Final = 2  # each one that computes makes the loop wait for the interpreter (architecture 3: 5 ms, p99 18 ms)

asking: Final = ContextVar("asking", default=-1)  # uid of whoever a task answers


class Turns:
    """At most so many at a time; who waits goes on in turn by user."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._waiting: OrderedDict[int, deque[asyncio.Future[None]]] = OrderedDict()  # the next user first

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        if self._free:
            self._free -= 1
        else:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(asking.get(), deque()).append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if not turn.cancelled():  # it had just come
                    self._next()
                raise
        try:
            yield
        finally:
            self._next()

    def _next(self) -> None:
        while self._waiting:
            who, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self._waiting[who] = turns
            if not turn.done():  # else whoever asked has gone
                turn.set_result(None)
                return
        self._free += 1


_turns = Turns(MOST)
_threads = ThreadPoolExecutor(MOST, "reader")


async def in_turn(look: Callable[..., T], *args: object) -> T:
    """`look(*args)` in a thread, when it is this user's turn. What changes something does not wait here."""
    async with _turns.one():
        return await asyncio.get_running_loop().run_in_executor(_threads, look, *args)
