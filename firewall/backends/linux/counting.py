"""Bytes of flows, while they run and when they have ended, as conntrack counts them; and how full its table is."""

from __future__ import annotations

import asyncio
import errno
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from firewall.backends.linux import conntrack, marks, nfnl
from firewall.backends.linux.nftables import A_SECOND, MOST_OF_ONE
from firewall.inputs import FlowCounted, Strained

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from firewall.inputs import FlowKey, Input
    from rules.verdict import Verdict

A_TURN: Final = 64  # flows told at once
LOOK_SECONDS: Final = 0.5  # between looks at how full the table is: a flood fills a tenth of it in a second
COUNT_SECONDS: Final = 2.0  # between looks at the bytes of live flows, at least
SHARE: Final = 25  # times as long as such a look took: many flows cost 4 % of a core at most
MOST_COUNTED: Final = 4_096  # live flows; of more, only the end is counted
SAID_SECONDS: Final = 30.0  # between words about a full table
FULL: Final = 0.95  # of the connection table: said
FILLS, CALM = 0.5, 0.4  # of it, or of room for beginnings: from here on each phone has its share, from there no longer
_FLOWS: Final = Path("/proc/sys/net/netfilter/nf_conntrack_count")
_MOST_FLOWS: Final = Path("/proc/sys/net/netfilter/nf_conntrack_max")
# Where a connection begins is kept until it is judged, or its end is seen (gate.nft: begun). Who ends it oddly leaves
# that behind; it may be told a minute later.
BEGUN_SECONDS: Final = 240.0
MOST_BEGUN: Final = 1 << 18  # have room; what is left behind counts twice, for it can go on when the table is full
MOST_ENDS: Final = 1 << 14  # at a time: a fifth of a second at most, for verdicts wait for it
_QUEUES: Final = Path("/proc/net/netfilter/nfnetlink_queue")


def queue_length(number: int) -> tuple[int, int]:
    """(packets that wait in this NFQUEUE now, packets that it has lost)."""
    with suppress(OSError):
        for line in _QUEUES.read_text().splitlines():
            fields = [int(word) for word in line.split()]
            if fields[0] == number:
                return fields[2], fields[5] + fields[6]
    return 0, 0


class Ends(nfnl.Netlink):
    """Hears of every connection that the kernel forgets, before it takes another one of the same ports for new."""

    def __init__(self) -> None:
        super().__init__(receive=64 << 20, groups=(conntrack.CT_DESTROYED,))
        self._late = False  # some were left for later
        self.unjudged = 0  # connections of TCP that ended and had not been let pass: see MOST_BEGUN

    def ended(self) -> list[Input]:
        """All of it, as a rule: packets that are read later may be of the same ports."""
        found: list[Input] = []
        late, self._late = self._late, True
        for _ in range(MOST_ENDS):
            try:
                data = self.read()
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                continue  # some ends were lost: those flows are forgotten when their place is needed
            if data is None:
                self._late = False
                break
            for _, _, body in nfnl.messages(data):
                counted = conntrack.counted(body[4:])
                if counted is not None:
                    found.append(FlowCounted(counted.flow, counted.up, counted.down, True, late))
                if counted is None or not counted.mark & marks.PASSING:
                    self.unjudged += conntrack.of_tcp(body[4:])
        return found


def passing() -> dict[FlowKey, Verdict]:
    """The flows that the kernel lets pass now, and whether for good or while their way is open. It may wait."""
    dump = nfnl.Netlink()
    try:
        entries = dump.dump(conntrack.dump_marked(marks.PASSING, marks.PASSING))
        there = [counted for _, body in entries if (counted := conntrack.counted(body)) is not None]
        return {counted.flow: marks.passing(counted.mark) for counted in there}
    finally:
        dump.close()


async def keep_counting(
    deliver: Callable[[Sequence[Input]], None], strain: Callable[[bool], None], ends: Ends
) -> None:
    """For ever: how far the live flows are, every two seconds or so, and whether their table fills."""
    strained = False
    counts = 0.0  # the next time
    dump = nfnl.Netlink()
    quiet = 0.0  # until when a full table has been said
    past: deque[tuple[float, int]] = deque()  # time, connections that had ended unjudged
    try:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            there, most = int(_FLOWS.read_text()), int(_MOST_FLOWS.read_text())
            past.append((time.monotonic(), ends.unjudged))
            while past[0][0] < past[-1][0] - BEGUN_SECONDS:
                past.popleft()
            left = ends.unjudged - past[0][1]
            full = max(there / most, (there + 2 * left) / MOST_BEGUN)
            if strained is not (full >= (CALM if strained else FILLS)):
                strained = not strained
                strain(strained)
                if strained:
                    share = f"until it is not, each phone may begin {A_SECOND} flows a second, and have {MOST_OF_ONE}"
                    ended = f"{left} connections ended within four minutes that had said nothing or were refused"
                    what = f"the connection table fills, {there} of {most}" if there >= FILLS * most else ended
                    deliver([Strained(f"{what}: {share}")])
            if there >= FULL * most and time.monotonic() > quiet:
                quiet = time.monotonic() + SAID_SECONDS
                lost = "the connection table is full, new flows may be dropped"
                deliver([Strained(f"{lost}: {there} of {most} (sysctl net.netfilter.nf_conntrack_max)")])
            if there > MOST_COUNTED or time.monotonic() < counts:
                continue
            found: list[Input] = []
            began = time.monotonic()
            with suppress(OSError):  # the table changed under the dump: the next one will do
                for _, body in dump.dump(conntrack.dump_marked(marks.PASSING, marks.PASSING)):
                    counted = conntrack.counted(body)
                    if counted is not None:
                        found.append(FlowCounted(counted.flow, counted.up, counted.down, ended=False))
                    if len(found) == A_TURN:
                        deliver(found)
                        found = []
                        await asyncio.sleep(0)  # packets first
            if found:
                deliver(found)
            counts = time.monotonic() + max(COUNT_SECONDS, SHARE * (time.monotonic() - began))
    finally:
        dump.close()
