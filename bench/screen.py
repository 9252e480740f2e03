"""Promise: the screen is there at once, and takes every key while a thousand rows a second change.

The screen runs in a process of its own and without a terminal (Textual's Pilot), against a gateway that says what it is
told over the real protocol: the one of the tests. An empty Textual program's first frame is measured beside it.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pairs import Figure, figure, ratio

if TYPE_CHECKING:
    from textual.app import App

NEEDS: dict[str, str] = {}
GATEKEEPER: Final = Path(__file__).parent.parent / "tests" / "tui"  # its directory: it has parts of its own beside it
ROWS: Final = 200  # there from the start
EVENTS: Final = 1_000  # a second
STEP: Final = 0.1  # the gateway tells what is new so often
KEYS: Final = 60
BETWEEN_KEYS: Final = 0.05
PATIENCE: Final = 2.0  # seconds after which a key counts as lost
FIRST: Final = "first.example.com"


def measure(pairs: int, _: int) -> dict[str, Figure]:
    return asyncio.run(_measure(pairs))


async def _measure(pairs: int) -> dict[str, Figure]:
    sys.path.insert(0, str(GATEKEEPER))
    gatekeeper = importlib.import_module("gatekeeper")
    first: dict[str, list[float]] = {"consentry": [], "empty": []}
    keys: list[float] = []
    slowest: list[float] = []
    lost: list[float] = []
    for _ in range(pairs):
        with tempfile.TemporaryDirectory(prefix="ckbench-") as folder:
            keeper = gatekeeper.Gatekeeper(Path(folder, "gateway.sock"))
            keeper.rows = [gatekeeper.episode(n, f"host{n}.example.com") for n in range(1, ROWS)]
            keeper.rows.append(gatekeeper.episode(ROWS, FIRST))
            await keeper.open()
            try:
                first["empty"].append((await _run("empty", ""))["first"])
                told = await _run("consentry", str(keeper.path), keeper, gatekeeper.episode)
            finally:
                await keeper.close()
        first["consentry"].append(told["first"])
        times = sorted(told["keys"])
        keys.append(times[len(times) // 2] * 1_000)
        slowest.append(times[-1] * 1_000)
        lost.append(told["lost"])
    return {
        "first frame": figure(first["consentry"], "s"),
        "first frame, beside": ratio(first, "consentry", "empty", "x an empty Textual program"),
        "key": figure(keys, "ms"),
        "slowest key": figure(slowest, "ms"),
        "lost keys": figure(lost, f"of {KEYS}"),
    }


async def _run(what: str, path: str, keeper: Any = None, episode: Any = None) -> dict[str, Any]:
    """The screen's own report. While it runs, the gateway says what has changed."""
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, what, path, stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    first = json.loads(await process.stdout.readline())["at"] - began
    talk = asyncio.ensure_future(_talk(keeper, episode)) if keeper else None
    rest = await process.stdout.readline()
    await process.wait()
    if talk is not None:
        talk.cancel()
    return {"first": first, **(json.loads(rest) if rest else {})}


async def _talk(keeper: Any, episode: Any) -> None:
    number = ROWS
    at = time.monotonic()
    while True:
        new = range(number + 1, number + 1 + int(EVENTS * STEP))
        rows = [episode(n, f"host{n % 5_000}.example.com") for n in new]
        number = new[-1]
        keeper.say(*rows)
        at += STEP
        await asyncio.sleep(max(0.0, at - time.monotonic()))


# -- the screen's process ----------------------------------------------------------------------------------------------


async def _child(what: str, path: str) -> None:
    if what == "empty":
        from textual.app import App as Bare  # noqa: PLC0415  loading it is part of what is measured
        from textual.widgets import Static  # noqa: PLC0415

        class Empty(Bare[None]):
            def compose(self) -> Any:
                yield Static(FIRST)

        app: App[None] = Empty()
    else:
        from tui.app import Consentry  # noqa: PLC0415

        app = Consentry(Path(path), lab=False)
    async with app.run_test(size=(80, 24)):
        while FIRST not in _text(app):  # noqa: ASYNC110  nobody tells what the terminal shows
            await asyncio.sleep(0.002)
        print(json.dumps({"at": time.monotonic()}), flush=True)
        if what != "empty":
            await asyncio.sleep(1.0)  # let the flood begin
            top = app.screen.table.rows[0].id  # type: ignore[attr-defined]
            times = [await _key(app) for _ in range(KEYS)]
            assert app.screen.table.rows[0].id > top + EVENTS, "the flood did not arrive"  # type: ignore[attr-defined]
            answered = [taken for taken in times if taken < PATIENCE]
            print(json.dumps({"keys": answered or [PATIENCE], "lost": len(times) - len(answered)}), flush=True)


def _text(app: App[None]) -> str:
    strips = app.screen._compositor.render_strips()  # noqa: SLF001  what a terminal would show
    return "".join(segment.text for strip in strips for segment in strip)


async def _key(app: App[None]) -> float:
    """Seconds until the cursor has moved one row down."""
    from textual.events import Key  # noqa: PLC0415

    table: Any = app.screen.table  # type: ignore[attr-defined]
    before = table.pointed
    began = time.perf_counter()
    app.post_message(Key("down", None))
    while table.pointed.id == before.id and time.perf_counter() - began < PATIENCE:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    taken = time.perf_counter() - began
    await asyncio.sleep(BETWEEN_KEYS)
    return taken


if __name__ == "__main__":
    asyncio.run(_child(sys.argv[1], sys.argv[2]))
