"""The composition root of the gateway's process. Read it from top to bottom: it is the diagram of the house.

packets, DNS, conntrack -> engine -> gateway -> backend, resolver;  events -> recorder -> history, control -> TUI, CLI
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import gc
import os
import signal
import sys
import time
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from firewall import journal, memory, underway
from firewall.backends import BackendError, open_backend
from firewall.box.nearby import Nearby
from firewall.control_server import Server
from firewall.dryrun import DryRun
from firewall.edits import Edits, Known
from firewall.engine import Engine, clock, shifted, wall
from firewall.episodes import Episodes
from firewall.events import Trouble
from firewall.gateway import Gateway
from firewall.geo import Places
from firewall.granting import Granting
from firewall.history import History
from firewall.inbox import TELL_SECONDS, Inbox
from firewall.inputs import Author, ConsentsRemembered, LockAsked, ModeAsked, PlacesReplaced, TranslatorsFound
from firewall.notify import message
from firewall.phones import ENFORCE, HOME, STRICT, Phones
from firewall.recorder import FLUSH_SECONDS, Recorder
from firewall.resolver import Resolver
from firewall.settings import Settings, write_atomically
from firewall.shift import FILE
from firewall.state import State, StateError
from firewall.trust import Trust, boot_id
from firewall.verbs import all_verbs
from firewall.verbs.past import backlog
from firewall.verbs.phones import from_store, renaming, to_store
from firewall.watchdog import PROBE_SECONDS, Watchdog
from rules.domain import registrable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from firewall.events import Event
    from firewall.inputs import Now

SEALED = "sealed"  # the word in state.db that remembers the history's newest seal
VERSION = version("consentry")  # once: it is read from a file, and status says it every second
PATIENCE = os.environ.get("WATCHDOG_USEC", "")  # of systemd, if it is there (sd_watchdog_enabled(3))
STATUS_SECONDS = 1.0
BEAT_SECONDS = 1.0
PHONES_SECONDS = 5.0
PLACES_SECONDS = 5.0
TRANSLATORS_SECONDS = 600.0  # between two looks at ipv4only.arpa
RULES_SECONDS = 0.5
SETTLE_SECONDS = 2.0
UPSTREAM_SECONDS = 5.0  # resolv.conf is another one behind another uplink, and empty before the first
UNABLE = 2  # exit status: starting again would not help
AGAIN = 3  # and: it would, and is wanted
PR_SET_PDEATHSIG = 1  # prctl(2)


class App:
    """Everything a gateway is made of, wired once."""

    def __init__(self, settings: Settings, beat: int = -1, died: str = "") -> None:
        """`beat`: where the supervisor waits for signs of life. `died`: what it says of the process before."""
        self.settings = settings
        self._beat = beat
        self._died = died
        self._locked_before = locked_before(settings.locked_file)
        self.memory = settings.memory_file
        self.backend = open_backend(settings)
        self.state, self._state_trouble = open_state(Path(settings.state_dir, "state.db"))
        if self.state is not None:
            underway.finish(self.state, settings.rules_file)
        self._boot_id = boot_id()
        self._trust = Trust(believed=settings.lab or self._word("clock") == self._boot_id)
        self.history = History(
            settings.history_file, clock=wall, trusted=lambda: self.now().trusted, sealed=self._word(SEALED),
            remember=self._remember_seal,
        )
        self.places = Places(Path(settings.state_dir, "places"))
        self.gateway = Gateway(self._phones(), self.places.look_up)
        self.server = Server(settings.socket, all_verbs(self), VERSION, partial(backlog, self))
        episodes = Episodes(self.history.next_id())
        self.recorder = Recorder(
            episodes, self.history, self.server.publish, clock=wall, log=journal.record, followed=self.server.followed
        )
        self.resolver = Resolver(
            settings.lan, settings.upstream_addresses(), self.backend.mac_of,
            known=lambda mac: self.gateway.phones.with_mac(mac) is not self.gateway.phones.stranger,
            named=lambda mac: self.gateway.phones.with_mac(mac).named,
        )
        self.engine = Engine(self.gateway, self.backend, self.resolver, self.seen, self.now)
        self.granting = Granting(
            self.state, self.gateway, self.engine.deliver, self.server.publish, self.now, self._boot_id
        )
        self.inbox = Inbox(
            self.state, self.gateway, self.now, self.server.publish, self.granting.has_passed, self.server.followed
        )
        self.trial = DryRun(settings.history_file, clock=wall)
        self.edits = Edits(settings.rules_file, self.state, self.engine.deliver, self._known(), self.trial, clock=wall)
        self.watchdog = Watchdog(self.backend.probe, self._how, self._trouble, self._to_supervisor, PATIENCE)
        self.nearby = Nearby(settings, self.engine.deliver)
        self._ended = asyncio.Event()
        self.saving = asyncio.Lock()  # of phones and modes: whoever changes them and whoever stores them, in turn
        self._status = 0
        self._unstored = ""  # why the disk has not taken what was learnt of phones

    async def run(self) -> int:
        """Until SIGTERM. The kernel is closed before anything listens, and stays closed after. The exit status."""
        ended = self._ended
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
        await asyncio.to_thread(self.backend.lock)
        await self.server.start()
        self.backend.start(self.engine.deliver)
        await self.resolver.start(self.engine.deliver)
        self.engine.start()
        flows = memory.load(self.memory, await asyncio.to_thread(self.backend.flows))
        self.engine.deliver((self._remembered(), flows))
        if self.state is None:
            self.engine.deliver((LockAsked(True, Author("start"), self._state_trouble),))
        if self._locked_before:
            self.engine.deliver((LockAsked(True, Author("start"), self._locked_before),))
        if self._died:
            self._trouble(f"the gateway before this one {self._died}")
        await self.edits.load(Author("start"))
        if self.gateway.phones.mode != ENFORCE:  # an opening of the owner's is said again after every start
            self.engine.deliver((ModeAsked(self.gateway.phones.mode, Author("start")),))
        registrable("example.com")  # its list is read now (40 ms), not when the first question is asked
        # What is there now stays. Flows come and go by reference count; a collector that walks over a hundred thousand
        # of them would make packets wait for 50 ms.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 50, 1_000)
        duties = (
            (FLUSH_SECONDS, self.recorder.flush),
            (STATUS_SECONDS, lambda: self.server.publish({"status": self.status()})),
            (BEAT_SECONDS, self.beat),
            (PROBE_SECONDS, self.watchdog),
            (TELL_SECONDS, self.inbox.tell),
            (UPSTREAM_SECONDS, lambda: self.resolver.follow(self.settings.upstream_addresses())),
        )
        kept = (
            self.keep_phones(), self.keep_places(), self.keep_translators(), memory.keep(self.memory, self.gateway),
            self.edits.watch(), self.granting.keep(), self.inbox.keep(), self.follow_rules(), self.nearby.run(),
        )
        running = (*(every(seconds, duty) for seconds, duty in duties), *kept)
        tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(one) for one in running]
        waiting: asyncio.Future[Any] = asyncio.ensure_future(ended.wait())
        # a duty that fails ends the process: the supervisor starts a sound one, and the kernel stays closed meanwhile
        done, _ = await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        self.engine.stop()
        await self.resolver.close()
        await self.server.close()
        await self.trial.close()
        await memory.save(self.memory, self.gateway)
        await self.granting.store(all_of_it=True)
        with suppress(StateError):
            await self.inbox.store()
        self.backend.close()
        self.recorder.flush()
        self.history.close()
        for task in done:
            task.result()
        return self._status

    def now(self) -> Now:
        """The time as the kernel tells it, and whether the wall clock may be believed."""
        told = clock()
        return told if self._trust(told.boot) else told._replace(trusted=False)

    def seen(self, events: Iterable[Event]) -> None:
        """Everything that happened passes here, in the hot path."""
        events = tuple(events)
        self.recorder.record(events)
        self.inbox.see(events)
        self.granting.see(events)

    # -- state -------------------------------------------------------------------------------------------------------

    def need_state(self) -> State:
        """Raises StateError while what must survive a power cut cannot be read."""
        if self.state is None:
            raise StateError(self._state_trouble)
        return self.state

    def begin_anew(self) -> None:
        """End in a way that makes the supervisor start a fresh process, if the state can be read now.

        Raises StateError if it still cannot.
        """
        State(Path(self.settings.state_dir, "state.db")).close()
        self._status = AGAIN
        self._ended.set()

    def _word(self, word: str) -> str:
        with suppress(StateError):
            return self.need_state().word(word)
        return ""

    def _remember_seal(self, seal: str) -> None:
        with suppress(StateError):
            self.need_state().set_word(SEALED, seal)

    def believe_clock(self) -> None:
        """Until the machine boots again. Waits for the disk; raises StateError."""
        self.need_state().set_word("clock", self._boot_id)
        self._trust.believed = True

    def _remembered(self) -> ConsentsRemembered:
        try:
            return self.granting.remembered()
        except StateError as error:  # then nobody may what only a consent lets them
            self._trouble(f"consents cannot be read, so none is in force: {error}")
            return ConsentsRemembered(())

    def _phones(self) -> Phones:
        given = {bytes.fromhex(mac.replace(":", "")): name for mac, name in self.settings.phones.items()}
        if self.state is None:
            return Phones(given=given)
        stored = (from_store(phone) for phone in self.state.phones())
        return Phones(stored, given, self.state.word("mode", ENFORCE))

    async def keep_phones(self) -> None:
        """Store those that came or were seen again; while the disk does not take them, status says so."""
        phones = self.gateway.phones
        while True:
            await asyncio.sleep(PHONES_SECONDS)
            async with self.saving:
                unsaved = {phone: to_store(phone) for phone in phones.unsaved}
                if not unsaved:
                    self._unstored = ""
                elif self.state is not None:
                    try:
                        await asyncio.to_thread(self.state.save_phones, unsaved.values())
                    except StateError as error:
                        if not self._unstored:
                            self.recorder.record((Trouble(clock().wall, f"phones could not be stored: {error}"),))
                        self._unstored = f"phones are not stored, which is tried again: {error}"
                    else:
                        self._unstored = ""
                        phones.unsaved -= {phone for phone, stored in unsaved.items() if to_store(phone) == stored}

    async def keep_places(self) -> None:
        """Take over databases that the owner has put in the place of ours."""
        while True:
            await asyncio.sleep(PLACES_SECONDS)
            if await asyncio.to_thread(self.places.reload):
                self.engine.deliver((PlacesReplaced(),))

    async def keep_translators(self) -> None:
        """Where this network has IPv6 addresses for IPv4 machines."""
        known: tuple[bytes, ...] = ()
        while True:
            found = await self.resolver.translators()
            if found is not None and found != known:
                known = found
                self.engine.deliver((TranslatorsFound(found),))
            await asyncio.sleep(TRANSLATORS_SECONDS)

    async def follow_rules(self) -> None:
        """What other rules have answered is no question any more."""
        policy = None
        while True:
            await asyncio.sleep(RULES_SECONDS)
            if self.gateway.policy is not policy:
                policy = self.gateway.policy
                await self.inbox.settle(f"revision {policy.revision} of the rules" if policy else "")

    def _known(self) -> Known:
        """Who is there, for what an edit would cut and for warnings about its names."""
        gateway = self.gateway
        return Known(
            live=lambda: gateway.live(clock()),
            watched=lambda: {phone.name for phone in gateway.phones if gateway.phones.watches(phone)},
            phones=lambda: {phone.name for phone in gateway.phones},
            groups=lambda: {phone.group for phone in gateway.phones} | {STRICT, HOME},
            renaming=partial(renaming, gateway.phones),
        )

    async def settled(self) -> None:
        """Until the kernel holds what it was told, or for SETTLE_SECONDS: it may refuse it, which status says."""
        until = time.monotonic() + SETTLE_SECONDS
        while not self.gateway.enforced.settled and time.monotonic() < until:  # noqa: ASYNC110  the gateway is pure
            await asyncio.sleep(0.005)

    def lock(self, who: Author, *, locked: bool) -> None:
        """Remembered, so that neither a death nor a reboot opens what its owner has closed."""
        reason = f"stopped by {who.name}" if locked else ""
        with suppress(OSError):  # a full disk: then until this process ends
            if locked:
                write_atomically(self.settings.locked_file, reason)
            else:
                self.settings.locked_file.unlink(missing_ok=True)
        self.engine.deliver((LockAsked(locked, who, reason),))

    def beat(self) -> None:
        """A sign of life from the loop that decides, not from a thread beside it."""
        self._to_supervisor()

    def _to_supervisor(self, **words: object) -> None:
        """With words for systemd, which listens to the supervisor only."""
        if self._beat >= 0:
            with suppress(OSError):  # full: nobody has looked for a while
                os.write(self._beat, message(**words) + b"\0")

    def _how(self) -> tuple[str, str]:
        return str(self.gateway.state), self.gateway.reason

    def _trouble(self, text: str) -> None:
        self.recorder.record((Trouble(clock().wall, text),))

    def boot_time(self) -> float:
        return clock().boot

    # -- what it says of itself ----------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        gateway, settings = self.gateway, self.settings
        gauges = self.backend.gauges()
        stuck = self.state.stuck if self.state else ""
        return {
            "state": str(gateway.state),
            "reason": gateway.reason,
            "since": self.recorder.since,
            "revision": gateway.policy.revision if gateway.policy else 0,
            "rules": str(settings.rules_file),
            "phones": len(gateway.phones),
            "mode": gateway.phones.mode,
            "watching": sorted(phone.name for phone in gateway.phones if gateway.phones.watches(phone)),
            "asks": self.inbox.waiting(),
            "consents": sum(not consent.suspended for consent in self.granting.active),
            "clock": self.now().trusted,
            "places": self.places.status(),
            "queue": {
                "waiting": gauges.waiting, "lost": gauges.lost, "unanswered": gauges.unanswered, "kind": gauges.queue,
            },
            "per_second": self.recorder.per_second(),
            "flows": len(gateway.flows),
            "lan": settings.lan,
            "wan": self.nearby.children.get("uplink", {}).get("interface") or settings.wan,
            "pid": os.getpid(),
            "version": VERSION,
            "socket": str(settings.socket),
            "lab": settings.lab,
            "probe": self.watchdog.wrong,
            "trouble": "; ".join(filter(None, (self.recorder.trouble, self._unstored, stuck))) or None,
            "children": self.nearby.children,
            "network": self.nearby.network,
        }


def open_state(path: Path) -> tuple[State | None, str]:
    """The state, or why it cannot be read; the gate is then LOCKED (decisions.md 8)."""
    try:
        return State(path), ""
    except StateError as error:
        return None, str(error)


def locked_before(file: Path) -> str:
    """Why the gate is to begin LOCKED; "" if it is not. A reason that cannot be read is one too."""
    try:
        return file.read_text("utf-8", errors="replace")[:500] or "locked before"
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{file}: {error.strerror}"


async def every(seconds: float, duty: Any) -> None:  # noqa: ANN401  any callable without arguments
    while True:
        duty()
        await asyncio.sleep(seconds)


def main(file: str, beat: str = "-1", died: str = "") -> int:
    """A gateway that dies with its supervisor: two supervisors must never feed one queue."""
    if int(beat) >= 0:
        os.set_inheritable(int(beat), False)
        os.set_blocking(int(beat), False)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    settings = Settings.read(Path(file))
    if settings.lab:
        shifted.follow(Path(settings.run_dir, FILE))
    Path(settings.state_dir).mkdir(parents=True, exist_ok=True)
    with Path(settings.run_dir, "gateway.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            sys.stderr.write(f"another gateway runs already: {lock.name} is locked\n")
            return UNABLE
        try:
            return asyncio.run(App(settings, int(beat), died).run())
        except BackendError as error:
            sys.stderr.write(f"{error}\n")
            return UNABLE


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
