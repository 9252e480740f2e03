"""The test from beginning to end: join, see that the witness sees, try everything, hurt the gate, judge, leave."""

from __future__ import annotations

import asyncio
import re
import secrets
import socket
import time
from collections import defaultdict
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from firewall import control
from firewall.backends.linux.uplink import AUTO, default_route
from firewall.engine import wall
from firewall.phones import STRICT
from firewall.selftest import hellos, packets, strikes
from firewall.selftest.probe import Phone
from firewall.selftest.side import BRIDGE, SelfTestError, Side, told
from firewall.selftest.tries import SOME_PORT, Here, Try, nobody, tries
from firewall.selftest.verdict import BLIND, DECIDED, SEEN, VOID, Outcome, Row, believed, judge, refused_at_all
from firewall.selftest.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAMES: Final = ("selftest", "selftest-peer")
WEB: Final = "example.com"  # an ordinary server that answers at 80 and 443, over both families
AT_ONCE: Final = 4  # connections; the gate holds no more than eight of a phone
SETTLE_SECONDS: Final = 1.0  # for what is on its way
CONTROL_SECONDS: Final = 5.0
JOIN_TRIES, JOIN_PAUSE = 24, 0.25  # and seconds between two
HISTORY_SECONDS: Final = 4.0
UNSEEN: Final = Row("joined", 0, "a phone that joins", BLIND, "is not seen by the gate: nobody is asked about it")


class Gate:
    """What is asked of the gateway, each time anew: it may be another process by then."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def ask(self, verb: str, **args: object) -> control.Reply:
        """Raises NoGateway and Refused."""
        with control.connect(self._socket) as client:
            return client.ask(verb, **args)

    def status(self) -> dict[str, Any]:
        return self.ask("status").done

    def answers(self) -> dict[str, Any] | None:
        """Its status; None while it does not answer."""
        try:
            return self.status()
        except (control.NoGateway, control.Refused):
            return None


class Session:
    """`say` is told in words what is being done. Needs root, in the gateway's network namespace."""

    def __init__(self, gate: Gate, *, disrupt: bool, say: Callable[[str], None]) -> None:
        self._gate, self._disrupt, self._say = gate, disrupt, say
        self._status = gate.status()
        self._began = wall()
        self._seen: defaultdict[Try, Outcome] = defaultdict(Outcome)

    async def run(self) -> list[Row]:
        """Raises SelfTestError, and NoGateway if the gateway goes away for good."""
        status = self._status
        if status["state"] in {"LOCKED", "STARTING"}:  # then nothing undecided passes, and nothing is proved by that
            raise SelfTestError(f"the gate is {status['state']}. {status['reason']}".rstrip())
        self._wan = default_route(status["lan"]) if status["wan"] == AUTO else status["wan"]
        if not self._wan:
            raise SelfTestError("nobody has a default route, so nothing could leave")
        self._forget()
        side = Side.look(status["lan"])
        side.clean()
        self._say(f"joining {side.name} as two phones that nobody has named ...")
        taken = self._taken(side)
        with Witness(side.inside) as self._witness:
            probe = Phone(side, first := side.free4(taken))
            try:
                peer = Phone(side, side.free4({*taken, str(first.ip)}))
                try:
                    return await self._all(probe, peer)
                finally:
                    peer.close()
            finally:
                probe.close()
                self._forget()

    async def _all(self, probe: Phone, peer: Phone) -> list[Row]:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._witness.fileno(), self._witness.read)
        try:
            known = await self._introduce(probe, NAMES[0]) and await self._introduce(peer, NAMES[1])
            # The other phone asks: to the one that asked, such addresses may be refused whatever is said to them.
            far = {family: await peer.look_up(WEB, family, 4) for family in (4, 6)}
            rows = [lacks for family in (4, 6) if (lacks := self._lacks(family, probe))]
            families = [family for family in (4, 6) if family not in {row.family for row in rows}]
            near = [family for family in (4, 6) if probe.address(family)]  # phones reach each other without a way out
            made = [one for family in near for one in self._made(family, probe, peer, far[family])]
            made = [one for one in made if one.family in families or one.way == "neighbour"]
            self._say(f"trying {len(made)} ways out ...")
            self._witness.watch(made)
            await self._try(made, probe, peer)
            rows += await self._judged(made)
            rows.append(refused_at_all(rows))
            # After the others: what is changed for it makes the gate load its rules anew.
            controls = believed([await self._control(family, probe) for family in families]) if known else [UNSEEN]
            rows[:0] = [*controls, *[await self._ears(family, peer) for family in near]]
            if self._disrupt and families:
                rows += await strikes.all_of_them(self._gate, self._witness, probe, families, far, self._say)
        finally:
            loop.remove_reader(self._witness.fileno())
        if lost := self._witness.drops():
            rows.append(Row("witness", 0, "watching the way out", BLIND, f"missed {lost} packets: it was too busy"))
        return rows

    # -- joining and leaving -----------------------------------------------------------------------------------------

    def _taken(self, side: Side) -> set[str]:
        """Addresses that somebody is known to have."""
        known = {addr for phone in self._gate.ask("phones").items for addr in phone["addresses"]}
        return known | {row["dst"] for row in told("neigh", "show", "dev", side.name) if "dst" in row}

    async def _introduce(self, phone: Phone, name: str) -> bool:
        """Ask for some name, so that the gate knows it; then call it by ours. False: the gate does not see it."""
        side = phone.side
        for sport in range(41_000, 41_000 + JOIN_TRIES):
            for own, gateway in ((phone.own4, side.own4), (phone.own6, side.own6)):
                if own and gateway:  # from each of its addresses, so that the gate knows whose they are
                    src, dst = own.ip.packed, gateway.ip.packed
                    question = hellos.question(f"{secrets.token_hex(8)}.{WEB}", hellos.A, secrets.randbits(16))
                    phone.send(packets.ping(src, dst, bytes(8)))  # whoever answers learns its MAC
                    phone.send(packets.udp(src, dst, sport, 53, question))
            await asyncio.sleep(JOIN_PAUSE)
            if sport > 41_000 and (called := self._called(phone)):
                changed = self._gate.ask("phones.set", phone=called, name=name, group=STRICT).done
                if changed["group"] != STRICT:
                    raise SelfTestError(f"the probe is in group {changed['group']}, not {STRICT}")
                return True
        return False

    def _called(self, phone: Phone) -> str:
        mac = phone.mac.hex(":")
        return next((row["name"] for row in self._gate.ask("phones").items if mac in row["macs"]), "")

    def _forget(self) -> None:
        """Ours by their names, and whoever has a MAC of ours without one yet."""
        with suppress(control.NoGateway, control.Refused):
            for row in self._gate.ask("phones").items:
                ours = row["name"] in NAMES or any(mac.startswith("02:5e:1f:") for mac in row["macs"])
                if ours:
                    with suppress(control.Refused):
                        self._gate.ask("phones.forget", phone=row["name"])

    # -- the control -------------------------------------------------------------------------------------------------

    def _lacks(self, family: int, probe: Phone) -> Row | None:
        """What this box has not, so that nothing of a family can leave anyway."""
        title = "let through on purpose"
        src = probe.address(family)
        if src is None:
            return Row("control", family, title, VOID, f"{probe.side.name} has no IPv{family} address")
        if probe.side.leads_out(str(ip_address(src)), str(ip_address(nobody(family, 10)))):
            return None
        return Row("control", family, title, VOID, f"this box has no way out over IPv{family}")

    async def _control(self, family: int, probe: Phone) -> Row:
        """Let the probe through for a moment: the witness must see it, behind NAT and all, or it can judge nothing."""
        src, dst, title = probe.address(family), nobody(family, 10), "let through on purpose"
        assert src is not None
        until, sport = time.monotonic() + CONTROL_SECONDS, 50_000
        one = Try("control", family, title, "frames", dst, SOME_PORT, secrets.token_hex(8).encode())
        self._witness.watch((one,))
        self._gate.ask("phones.set", phone=NAMES[0], mode="watch")
        try:
            while not self._witness.left(one) and time.monotonic() < until:
                sport += 1  # each a flow of its own: the first may have come before the gate had the word
                probe.send(packets.udp(src, dst, sport, SOME_PORT, one.token))
                await asyncio.sleep(0.1)
        finally:
            self._gate.ask("phones.set", phone=NAMES[0], mode="")
        wan = self._wan
        if wan in self._witness.ways(one):
            return Row("control", family, title, SEEN, f"was seen leaving by {wan}")
        return Row("control", family, title, BLIND, f"was not seen at {wan}: nothing can be judged")

    async def _ears(self, family: int, peer: Phone) -> Row:
        """What this box says to the other phone: whoever hears nothing proves nothing by it."""
        to, title, token = peer.address(family), "the other phone listens", secrets.token_hex(8).encode()
        assert to is not None
        until, heard = time.monotonic() + CONTROL_SECONDS, False
        with socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as s:
            while not heard and time.monotonic() < until:
                with suppress(OSError):
                    s.sendto(token, (str(ip_address(to)), SOME_PORT))
                await asyncio.sleep(0.1)
                heard = any(token in frame for frame in peer.received())
        if heard:
            return Row("ears", family, title, SEEN, "heard this box")
        return Row("ears", family, title, BLIND, "heard nothing: it cannot be judged what phones hear of each other")

    # -- trying and judging ------------------------------------------------------------------------------------------

    def _made(self, family: int, probe: Phone, peer: Phone, far: bytes | None) -> list[Try]:
        src, other = probe.address(family), peer.address(family)
        assert src is not None
        assert other is not None
        return list(tries(family, Here(src, other, far), lambda: secrets.token_hex(8).encode()))

    async def _try(self, made: list[Try], probe: Phone, peer: Phone) -> None:
        turns = asyncio.Semaphore(AT_ONCE)

        async def one_of(one: Try) -> None:
            seen = self._seen[one]
            async with turns:
                if one.way == "datagram question":
                    seen.answered = bool(await probe.question(one.dst, one.says))
                else:
                    await probe.connection(one, seen)

        peer.received()
        for one in made:
            if one.name == "neighbour" and probe.side.kind != BRIDGE:
                self._seen[one].error = "on one wire phones reach each other without this box"
                continue
            for packet in one.packets:
                probe.send(packet, peer.mac if one.name == "neighbour" else None)
                self._seen[one].said = True
            await asyncio.sleep(0.01)
        spoken = (one for one in made if not one.packets)
        await asyncio.gather(*map(one_of, spoken))
        await asyncio.sleep(SETTLE_SECONDS)
        received = peer.received()
        for one in made:
            self._seen[one].heard = one.way == "neighbour" and any(one.token in frame for frame in received)

    async def _judged(self, made: list[Try]) -> list[Row]:
        self._witness.read()
        for one in made:
            self._seen[one].left = self._witness.left(one)
            self._seen[one].ways = ", ".join(self._witness.ways(one))
            self._seen[one].knocked = one in self._witness.knocked
        await self._ask_why([one for one in made if one.name in DECIDED or self._seen[one].left])
        return [judge(one, self._seen[one]) for one in made]

    async def _ask_why(self, tried: list[Try]) -> None:
        """Which rule let them, or refused them, as the history says. An opening is believed if the rules say it too."""
        until = time.monotonic() + HISTORY_SECONDS  # what is shown at once is stored a little later
        found: dict[Try, dict[str, Any]] = {}
        while len(found) < len(tried) and time.monotonic() < until:
            await asyncio.sleep(0.5)
            rows = self._gate.ask("history", filter=f"phone:{NAMES[0]} last:10m", limit=2_000).items
            rows = [row for row in reversed(rows) if row["first"] >= self._began]  # the newest last
            found = {one: row for one in tried for row in rows if _is_of(row, one)}
        for one, row in found.items():
            seen, verdict = self._seen[one], row["verdict"]
            seen.watched = verdict == "watch"
            if verdict in {"ask", "block"}:
                seen.refused = row["rule"]
            elif (seen.left or seen.heard) and verdict in {"allow", "consent"} and self._confirmed(one):
                seen.allowed = row["rule"] or "default"

    def _confirmed(self, one: Try) -> bool:
        told = self._gate.ask("explain", phone=NAMES[0], what=one.asked, proto=one.proto).done
        return told["verdict"] in {"allow", "consent"}


def _is_of(row: dict[str, Any], one: Try) -> bool:
    """A row is about a name, where one is known, wherever it was tried; else about an address."""
    name = re.sub(r":\d+$", "", one.means)
    if row["name"]:
        return bool(row["name"] == name)
    if one.shared and name and name[0].isalpha():
        return False  # another try goes to the same address without one
    return row["dst"] == str(ip_address(one.dst)) and (not one.port or row["dport"] == one.port)
