"""The gate itself: does it run, does it hold, do the programs beside it, and how old is what it judges by?"""

from __future__ import annotations

import json
import time
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

from firewall.box.machine import read_plan
from firewall.box.nearby import GONE
from firewall.box.plan import PlanError
from firewall.box.starting import pid_of
from firewall.box.units import GATE
from firewall.doctor.finding import FAIL, PASS, WARN, Finding, unknown
from firewall.doctor.kernel import QUEUE
from firewall.geo import STALE_DAYS, Places
from rules.store import load_packs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from firewall.doctor.finding import State
    from firewall.doctor.world import World

STATES: Final[dict[str, State]] = {"failed": FAIL, "starting": WARN}  # of a child; else it is well, or off


def gateway(world: World) -> Iterator[Finding]:
    """Whether one answers, and what it says of itself."""
    name, told = "gateway", world.status
    if world.closed_to_us:
        yield Finding(name, WARN, world.closed_to_us, "sudo consentry doctor")
        return
    if told is None:
        wanted = bool(world.plan)
        says = "none runs" + (", though this box is set up to be one" if wanted else "")
        yield Finding(name, FAIL if wanted else WARN, says, "sudo consentry run")
        return
    since = time.strftime("%a %H:%M", time.localtime(told["since"]))
    way = world.wan or "nowhere: nobody has a default route"
    says = f"{told['state']} since {since}, {told['lan']} to {way}, {told['phones']} phones"
    says += " (the lab)" if told["lab"] else ""
    why = f": {told['reason']}" if told["reason"] else ""
    if told["state"] == "LOCKED":
        yield Finding(name, FAIL, says + why, "look at the reason, then: sudo consentry resume")
    elif told["state"] != "ENFORCING":
        yield Finding(name, WARN, says + why, "consentry history notes")
    elif told.get("mode") == "watch":
        says += "; it only watches: all passes but phone to phone"
        yield Finding(name, WARN, says, "sudo consentry phones enforce")
    else:
        yield Finding(name, PASS, says)
    if trouble := str(told["trouble"] or ""):
        full = any(word in trouble for word in ("history", "stored", "disk"))
        remedy = "free space on the disk; see `disk` below" if full else "consentry history notes"
        yield Finding("history" if full else name, WARN, trouble, remedy)


def plan(world: World) -> Iterator[Finding]:
    """What `consentry setup` has written: whether it can be read, and whether it comes back after a power cut."""
    name, file = "setup", world.plan_file
    if (world.status or {}).get("lab") or not file.exists():
        return
    try:
        told = read_plan(file)
    except PlanError as error:
        if world.root:
            yield Finding(name, FAIL, str(error), "correct it there, or write it anew: sudo consentry setup")
        else:
            yield unknown(name)
        return
    what = f"{told.mode}: {told.lan} at {told.port}, {told.subnet4}"
    enabled = world.run("systemctl", "is-enabled", GATE)
    if enabled is None:
        yield Finding(name, PASS, f"{what}; no systemd starts it with the machine")
    elif enabled.status:
        yield Finding(name, WARN, f"{what}; after a reboot nobody starts it", "sudo consentry service install")
    else:
        yield Finding(name, PASS, f"{what}; it starts with the machine")


def closed(world: World) -> Iterator[Finding]:
    """The two locks: our table, and the policy rule that stays when every firewall rule is flushed."""
    name, lan = "closed", world.lan
    if not lan:
        return
    if not world.root:
        yield unknown(name)
        return
    missing = [
        f"the policy rule of IPv{family}"
        for family in (4, 6)
        if not any(_locks(row, lan) for row in world.rows("ip", "-j", f"-{family}", "rule", "show", "pref", "0"))
    ]
    listed = world.run("nft", "-t", "list", "table", "inet", "consentry")
    if listed is None or listed.status:
        missing.append("the table inet consentry")
    if not missing:
        yield Finding(name, PASS, f"what comes from {lan} has no way out but through the gate")
    elif world.status:
        yield Finding(name, FAIL, f"missing: {', '.join(missing)}", "sudo consentry status; it is put back in a second")
    elif world.sysctl("ipv4/ip_forward") == "1" or world.sysctl("ipv6/conf/all/forwarding") == "1":
        says = f"no gateway runs, this box forwards, and missing: {', '.join(missing)}: phones are unfiltered"
        yield Finding(name, FAIL, says, "sudo consentry run; or switch it off: sudo sysctl net.ipv4.ip_forward=0")
    else:
        yield Finding(name, PASS, "no gateway runs, and this box does not forward")


def _locks(rule: dict[str, Any], lan: str) -> bool:
    return rule.get("priority") == 0 and rule.get("iif") == lan and rule.get("action") == "blackhole"


def children(world: World) -> Iterator[Finding]:
    """hostapd, dnsmasq and the uplink, as the keeper of a box that was set up says."""
    try:
        told = json.loads(world.read(world.run_dir / "children.json") or "{}")
        rows = {str(name): dict(row) for name, row in told.items()}
    except (ValueError, TypeError, AttributeError):
        yield Finding("keeper", FAIL, f"{world.run_dir}/children.json cannot be read", "sudo consentry run")
        return
    if not rows:
        if world.plan:
            says = "this box is set up, and nobody keeps its Wi-Fi and DHCP"
            yield Finding("keeper", FAIL, says, "sudo consentry run")
        return
    if not pid_of(world.run_dir):  # what it said last is true no more
        yield Finding("keeper", FAIL, str(GONE["reason"]), str(GONE["remedy"]))
        return
    well = []
    for child, row in rows.items():
        state: State = STATES.get(str(row.get("state")), PASS)
        if state == PASS:
            well.append(f"{child} {row.get('state')}")
        else:
            yield Finding(child, state, f"{row.get('state')}: {row.get('reason')}", str(row.get("remedy") or ""))
    if well:
        yield Finding("keeper", PASS, ", ".join(well))


def queue(world: World) -> Iterator[Finding]:
    """Whether somebody listens where the kernel asks, and what it could not ask."""
    if world.status is None:
        return
    name = "queue"
    rows = [line.split() for line in world.read("/proc/net/netfilter/nfnetlink_queue").splitlines()]
    ours = next((row for row in rows if row and row[0] == str(QUEUE)), None)
    if not world.root:
        lost, waiting = world.status["queue"]["lost"], world.status["queue"]["waiting"]
    elif ours is None:
        yield Finding(name, FAIL, "nobody listens where the kernel asks: what is new waits", "sudo consentry status")
        return
    else:  # number, pid, waiting, copy mode, copy range, lost in the kernel, lost on the way, id
        waiting, lost = int(ours[2]), int(ours[5]) + int(ours[6])
    says = f"{waiting} wait, {lost} lost, by {world.status['queue']['kind']}"
    if lost:
        says += "; what was lost was dropped, and phones tried again"
        yield Finding(name, WARN, says, "consentry history groups last:1h --by phone: who begins so much?")
    else:
        yield Finding(name, PASS, says)


def ages(world: World) -> Iterator[Finding]:
    """Databases of places and packs of rules that have grown old judge a world that was."""
    places = (world.status or {}).get("places") or Places(world.state_dir / "places").status()
    remedy = f"put a newer file into {world.state_dir}/places (docs/rules.md)"
    for row in places:
        if row["trouble"]:
            yield Finding("places", FAIL, f"{row['file'] or row['what']}: {row['trouble']}", remedy)
    old = {row["file"]: row["age_days"] for row in places if row["stale"] and not row["trouble"]}
    if old:
        told = ", ".join(f"{file} {days} days" for file, days in old.items())
        yield Finding("places", WARN, f"old: {told}; what they say of clouds may be wrong", remedy)
    elif not any(row["trouble"] for row in places):
        oldest = max((row["age_days"] for row in places), default=0)
        yield Finding("places", PASS, f"{len(places)} databases, the oldest {oldest} days old")
    today = datetime.now(UTC).date()
    packs = {pack.name: (today - date.fromisoformat(pack.date)).days for pack in load_packs()}
    stale = sorted(name for name, days in packs.items() if days > STALE_DAYS)
    if stale:
        says = f"{', '.join(stale)}: older than {STALE_DAYS} days; new servers of theirs may not be listed"
        yield Finding("lists", WARN, says, "take a newer release of Consentry")
    else:
        yield Finding("lists", PASS, f"{len(packs)} packs of rules, the oldest {max(packs.values())} days old")
