"""The gateway's ears, beside a hostapd that is a socket of ours and a lease file as dnsmasq writes it."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

from judge import PATIENCE
from plans import PLAN

from firewall.box.nearby import GONE, Nearby
from firewall.box.plan import render
from firewall.inputs import Joined, Leased, Left
from firewall.settings import Settings

ONE, TWO = "02:00:00:00:01:01", "02:00:00:00:01:02"


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


class Hostapd:
    """As much of its control socket as is asked for (ctrl_iface_ap.c)."""

    def __init__(self, place: Path) -> None:
        self.stations = {ONE: -41}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(place))
        self._socket.setblocking(False)
        self._listener = ""
        asyncio.get_running_loop().add_reader(self._socket, self._answer)

    def say(self, text: str) -> None:
        self._socket.sendto(text.encode(), self._listener)

    def _answer(self) -> None:
        asked, whose = self._socket.recvfrom(4096)
        words = asked.decode().split()
        if words[0] == "ATTACH":
            self._listener = whose
            self._socket.sendto(b"OK\n", whose)
            return
        order = list(self.stations)
        at = 0 if words[0] == "STA-FIRST" else order.index(words[1]) + 1 if words[1] in order else len(order)
        told = f"{order[at]}\nflags=[AUTH][ASSOC][AUTHORIZED]\nsignal={self.stations[order[at]]}\n" if at < len(order) else "FAIL\n"
        self._socket.sendto(told.encode(), whose)

    def end(self, place: Path) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        place.unlink()


async def until(seen: list, wanted: object) -> None:
    async with asyncio.timeout(5 * PATIENCE):
        while wanted not in seen:
            await asyncio.sleep(0.02)


async def test_joins_leaves_signals_and_leases_reach_the_gateway(tmp_path: Path) -> None:
    plan = tmp_path / "gateway.toml"
    plan.write_text(render(PLAN))
    (tmp_path / "hostapd").mkdir()
    place = tmp_path / "hostapd/wlan0"
    seen: list = []
    nearby = Nearby(Settings("consentry0", "auto", run_dir=str(tmp_path), state_dir=str(tmp_path), plan=str(plan)), seen.extend)
    running = asyncio.ensure_future(nearby.run())
    try:
        (tmp_path / "leases").write_text(f"1700000000 {ONE} 192.168.77.42 Annas-Pixel 01:02\ngarbage\n")
        await until(seen, Leased(mac(ONE), socket.inet_aton("192.168.77.42"), "Annas-Pixel"))
        hostapd = Hostapd(place)  # the radio came later
        await until(seen, Joined(mac(ONE), -41))
        hostapd.say(f"<3>AP-STA-CONNECTED {TWO}")
        hostapd.say("<3>AP-STA-CONNECTED nonsense")
        await until(seen, Joined(mac(TWO), None))
        hostapd.say(f"<3>AP-STA-DISCONNECTED {TWO}")
        await until(seen, Left(mac(TWO)))
        hostapd.end(place)
        await until(seen, Left(mac(ONE)))
        assert nearby.children == {"keeper": GONE}  # nobody holds the network up, and that is said
        assert not list(tmp_path.glob("hostapd-heard-by-*"))
    finally:
        running.cancel()


async def test_a_lease_is_told_once_and_again_when_it_changes(tmp_path: Path) -> None:
    plan = tmp_path / "gateway.toml"
    plan.write_text(render(PLAN))
    nearby = Nearby(Settings("consentry0", "auto", run_dir=str(tmp_path), state_dir=str(tmp_path), plan=str(plan)), list)
    file = tmp_path / "leases"
    file.write_text(f"1 {ONE} 192.168.77.42 a *\n")
    assert len(nearby._new_leases()) == 1
    assert nearby._new_leases() == []
    file.write_text(f"2 {ONE} 192.168.77.42 a *\n1 {TWO} 192.168.77.43 b *\n")
    os.utime(file, ns=(1, 1))
    assert [one.mac for one in nearby._new_leases()] == [mac(TWO)]
