from __future__ import annotations

import asyncio
import threading
import time

from firewall.readers import MOST, in_turn


async def test_many_who_look_are_two_at_a_time_and_the_loop_goes_on() -> None:
    lock, at_once, most = threading.Lock(), 0, 0

    def look(n: int) -> int:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.01)
        with lock:
            at_once -= 1
        return n

    asking = asyncio.ensure_future(asyncio.gather(*(in_turn(look, n) for n in range(40))))
    turns = 0
    while not asking.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert (await asking, most) == (list(range(40)), MOST)
    assert turns > 20
