from __future__ import annotations

import asyncio
import contextvars
import threading
import time

from firewall.readers import MOST, Turns, asking, in_turn


async def test_many_who_look_are_two_at_a_time_and_the_loop_goes_on() -> None:
    lock, go, at_once, most = threading.Lock(), threading.Event(), 0, 0

    def look(n: int) -> int:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        assert go.wait(60)
        with lock:
            at_once -= 1
        return n

    running = asyncio.ensure_future(asyncio.gather(*(in_turn(look, n) for n in range(40))))
    async with asyncio.timeout(60):
        while at_once < MOST:
            await asyncio.sleep(0.01)
    for _ in range(20):
        await asyncio.sleep(0.001)
    go.set()
    assert (await running, most) == (list(range(40)), MOST)


async def waits(turns: Turns, look, *args):
    async with turns.one():
        return await asyncio.to_thread(look, *args)


def of(uid: int, turns: Turns, look, *args) -> asyncio.Task:
    context = contextvars.copy_context()
    context.run(asking.set, uid)
    return asyncio.get_running_loop().create_task(waits(turns, look, *args), context=context)


async def test_one_user_who_asks_without_end_is_no_other_users_wait() -> None:
    turns, order = Turns(MOST), []

    def look(uid: int) -> None:
        time.sleep(0.002)
        order.append(uid)

    flood = [of(1000, turns, look, 1000) for _ in range(200)]
    await asyncio.sleep(0)
    others = [of(uid, turns, look, uid) for uid in (1001, 1002, 1001)]
    await asyncio.gather(*flood, *others)
    assert max(at for at, uid in enumerate(order) if uid != 1000) < 12


async def test_who_goes_away_leaves_the_turn_to_the_next() -> None:
    turns, gate = Turns(MOST), threading.Event()
    busy = [of(0, turns, gate.wait) for _ in range(MOST)]
    await asyncio.sleep(0)
    gone = [of(n, turns, time.time) for n in range(20)]
    stays = of(7, turns, lambda: "here")
    await asyncio.sleep(0)
    for task in gone:
        task.cancel()
    late = of(8, turns, time.time)
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*busy)
    late.cancel()  # perhaps just when its turn has come
    async with asyncio.timeout(30):
        assert await stays == "here"
        await asyncio.gather(*gone, late, return_exceptions=True)
        assert await asyncio.gather(*(of(9, turns, int) for _ in range(5))) == [0] * 5
    assert turns._free == MOST
    assert not turns._waiting


def test_a_failure_gives_the_turn_back() -> None:
    async def once() -> None:
        turns = Turns(MOST)
        results = await asyncio.gather(*(of(1, turns, int, "x") for _ in range(10)), return_exceptions=True)
        assert {type(one) for one in results} == {ValueError}
        assert turns._free == MOST

    asyncio.run(once())
