"""What the next process has to know of live flows: their names and verdicts, in a file that a reboot takes with it.

The kernel goes on letting allowed flows pass when this process dies. A picture of them is written every few seconds, a
slice at a time so that packets do not wait; the next process joins it with what conntrack still knows. It says which
names phones asked for: root's alone, it counts for an hour of the same boot, and `off --remove` removes it.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from firewall.engine import clock
from firewall.inputs import FlowKey, LearntName, LiveFlow, Remembered
from firewall.settings import write_atomically
from firewall.trust import boot_id
from rules.observation import Name, Sign, Source
from rules.verdict import Decision, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from firewall.gateway import Gateway

SECONDS: Final = 2.0  # between pictures; a flow that ends within is in none
SHARE: Final = 100  # times as long as a picture took: it costs 1 % of a core at most
KEPT_SECONDS: Final = 3_600.0  # a picture that is older is not looked at
SLICE: Final = 64  # rows at a time: a third of a millisecond
_json: Final = json.JSONEncoder(separators=(",", ":")).encode  # json.dumps would make one for every row


async def keep(path: Path, gateway: Gateway) -> None:
    """Write a picture now and then, for ever. What cannot be written is a restart's loss and nobody else's."""
    loop = asyncio.get_running_loop()
    pause = SECONDS
    while True:
        await asyncio.sleep(pause)
        began = loop.time()
        await save(path, gateway)
        pause = max(SECONDS, SHARE * (loop.time() - began))


async def save(path: Path, gateway: Gateway) -> None:
    """One picture, written atomically. Raises nothing: a full disk is told by the history already."""
    lines = [json.dumps({"digest": gateway.enforced.digest, "boot_id": boot_id(), "boot": clock().boot})]
    lines += await _rows(gateway.flows.live(), _flow)
    lines += await _rows(gateway.names.learnt(clock().boot), _learnt)
    try:
        await asyncio.to_thread(write_atomically, path, "\n".join(lines), 0o600)
    except OSError:  # what stands there is older, and true of the flows that are still alive
        return


def load(path: Path, alive: Mapping[FlowKey, Verdict]) -> Remembered:
    """The last picture, and what the kernel lets pass.

    What cannot be read, or is old, is removed and not remembered; that is never an error.
    """
    digest, flows, names = "", list[LiveFlow](), list[LearntName]()
    try:
        first, *rows = path.read_text("utf-8").split("\n")
        head = json.loads(first)
        digest = str(head["digest"])
        if head["boot_id"] != boot_id() or not 0 <= clock().boot - head["boot"] <= KEPT_SECONDS:
            raise ValueError("its times mean nothing any more")
        for row in rows:
            told = json.loads(row)
            if "flow" in told:
                flows.append(_to_flow(told))
            else:
                chain = tuple(map(str, told["chain"]))
                mac, addr = (bytes.fromhex(told[key]) for key in ("mac", "addr"))
                names.append(LearntName(mac, addr, chain, float(told["until"])))
    except (OSError, ValueError, KeyError, TypeError):
        digest, flows, names = "", [], []
        with suppress(OSError):
            path.unlink(missing_ok=True)
    consented = frozenset(key for key, verdict in alive.items() if verdict is Verdict.CONSENT)
    return Remembered(tuple(flows), tuple(names), digest, frozenset(alive), consented)


async def _rows(seen: Iterable[Any], row: Any) -> list[str]:  # noqa: ANN401  any shape and its way to JSON
    """The table may change between two slices: it was copied first."""
    lines = []
    for at, one in enumerate(list(seen)):
        lines.append(_json(row(one)))
        if at % SLICE == SLICE - 1:
            await asyncio.sleep(0)
    return lines


def _flow(was: LiveFlow) -> dict[str, Any]:
    key, decision = was.flow, was.decision
    return {
        "flow": [key.proto, key.src.hex(), key.sport, key.dst.hex(), key.dport],
        "mac": was.mac.hex(),
        "said": [[name.name, str(name.source)] for name in was.said],
        "unfinished": was.unfinished,
        "may_say_more": was.may_say_more,
        "watch": was.watch,
        "decision": [
            str(decision.verdict), decision.rule, decision.reason, decision.service, decision.revision,
            decision.consent, decision.also,
        ],
        "bytes": [was.up, was.down],
        "answered": was.answered,
        "signs": was.signs,
    }


def _to_flow(told: dict[str, Any]) -> LiveFlow:
    proto, src, sport, dst, dport = told["flow"]
    verdict, rule, reason, service, revision, consent, *also = told["decision"]
    return LiveFlow(
        FlowKey(int(proto), bytes.fromhex(src), int(sport), bytes.fromhex(dst), int(dport)),
        bytes.fromhex(told["mac"]),
        tuple(Name(name, Source(source)) for name, source in told["said"]),
        bool(told["unfinished"]),
        bool(told["may_say_more"]),
        int(told["watch"]),
        Decision(Verdict(verdict), rule, reason, service, revision, consent, tuple(also[0]) if also else ()),
        int(told["bytes"][0]),
        int(told["bytes"][1]),
        tuple(tuple(map(str, chain)) for chain in told["answered"]),
        tuple(Sign(sign) for sign in told.get("signs", ())),
    )


def _learnt(name: LearntName) -> dict[str, Any]:
    return {"mac": name.mac.hex(), "addr": name.addr.hex(), "chain": name.chain, "until": name.until}
