"""The gateway's ears beside the gate: who joins and leaves (hostapd), who has which address (leases), how children do.

All of it may be missing, late or nonsense, and none of it opens anything.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from firewall.box import dnsmasq, hostapd
from firewall.box.machine import read_plan
from firewall.box.places import CONTROL, LEASES
from firewall.box.plan import AP, PlanError
from firewall.box.starting import children, pid_of
from firewall.inputs import Joined, Leased, Left

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from firewall.inputs import Input
    from firewall.settings import Settings

LOOK_SECONDS: Final = 1.0
STATIONS_SECONDS: Final = 5.0  # between looks at all of them: signals change, and an event can be lost
ANSWER_SECONDS: Final = 2.0
MOST: Final = 512  # stations of one access point
LARGEST: Final = 4_096  # bytes of one message
GONE: Final = {
    "state": "failed", "reason": "the keeper of the phones' network does not run",
    "remedy": "sudo consentry run, or: sudo systemctl start consentry-keeper", "since": 0.0, "pid": 0,
}


class Nearby:
    """Without a plan there is nothing to hear."""

    def __init__(self, settings: Settings, deliver: Callable[[Sequence[Input]], None]) -> None:
        self.children: dict[str, Any] = {}  # name -> state, reason, remedy, since, pid
        self.network = ""  # the name of our Wi-Fi
        self._run, self._state, self._deliver = Path(settings.run_dir), Path(settings.state_dir), deliver
        self._plan = settings.plan
        self._leases: tuple[int, int] = (0, 0)  # when the file changed, and its size
        self._known: dict[bytes, tuple[bytes, str]] = {}  # MAC -> the address and host that were told
        self._joined: set[bytes] = set()

    async def run(self) -> None:
        """For ever."""
        if not self._plan:
            await asyncio.Event().wait()
        await asyncio.gather(self._look(), self._listen())

    async def _look(self) -> None:
        while True:
            self.children = children(self._run) if pid_of(self._run) else {"keeper": GONE}
            found = self._new_leases()
            if found:
                self._deliver(found)
            await asyncio.sleep(LOOK_SECONDS)

    def _new_leases(self) -> list[Input]:
        file = self._state / LEASES
        try:
            stat = file.stat()
            if (stat.st_mtime_ns, stat.st_size) == self._leases:
                return []
            with file.open("rb") as opened:
                text = opened.read(256 * dnsmasq.MOST).decode(errors="replace")
        except OSError:
            return []
        self._leases = stat.st_mtime_ns, stat.st_size
        now = {lease.mac: (lease.addr, lease.host) for lease in dnsmasq.leases(text)}
        new = [Leased(mac, *told) for mac, told in now.items() if self._known.get(mac) != told]
        self._known = now
        return list(new)

    # -- hostapd -----------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        with suppress(PlanError):
            plan = read_plan(Path(self._plan))
            self.network = plan.wifi.ssid if plan.wifi else ""
            while plan.mode == AP:
                with suppress(OSError, TimeoutError):
                    await self._attached(self._run / CONTROL / plan.port)
                self._tell(set())  # hostapd is gone, and every phone with it
                await asyncio.sleep(LOOK_SECONDS)
        await asyncio.Event().wait()

    async def _attached(self, place: Path) -> None:
        """Until hostapd goes. Raises OSError or TimeoutError then."""
        mine = self._run / f"hostapd-heard-by-{os.getpid()}"
        mine.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as heard:
            try:
                heard.bind(str(mine))
                heard.connect(str(place))
                await self._ask(heard, "ATTACH")
                while True:
                    self._tell(await self._stations(heard))
                    with suppress(TimeoutError):
                        async with asyncio.timeout(STATIONS_SECONDS):
                            while True:
                                self._event(await _said(heard))
            finally:
                mine.unlink(missing_ok=True)

    async def _ask(self, heard: socket.socket, words: str) -> str:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(ANSWER_SECONDS):
            await loop.sock_sendall(heard, words.encode())
            while (answer := await _said(heard)).startswith("<"):
                self._event(answer)
        return answer

    async def _stations(self, heard: socket.socket) -> set[bytes]:
        found: list[Input] = []
        answer = await self._ask(heard, "STA-FIRST")
        for _ in range(MOST):
            mac = answer.partition("\n")[0]
            station = hostapd.station(answer)
            if station is not None:
                found.append(Joined(station.mac, station.signal))
            if len(mac) != 17 or not answer:
                break
            answer = await self._ask(heard, f"STA-NEXT {mac}")
        if found:
            self._deliver(found)
        return {one.mac for one in found if isinstance(one, Joined)}

    def _event(self, line: str) -> None:
        if (mac := hostapd.joined(line)) is not None:
            self._joined.add(mac)
            self._deliver([Joined(mac, None)])
        elif (mac := hostapd.left(line)) is not None:
            self._joined.discard(mac)
            self._deliver([Left(mac)])

    def _tell(self, now: set[bytes]) -> None:
        gone = self._joined - now
        self._joined = now
        if gone:
            self._deliver([Left(mac) for mac in gone])


async def _said(heard: socket.socket) -> str:
    return (await asyncio.get_running_loop().sock_recv(heard, LARGEST)).decode(errors="replace")


