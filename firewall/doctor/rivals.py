"""Other programs' firewall rules: what Docker, firewalld, ufw and others may do to the phones' packets beside ours.

In nftables a drop anywhere is final and an accept is not: whoever refuses what is forwarded, refuses it for us too.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from firewall.backends.linux import marks
from firewall.box import bridge
from firewall.box.units import LOCK_TABLE
from firewall.doctor.finding import FAIL, PASS, WARN, Finding, unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from firewall.doctor.world import World

OURS: Final = frozenset(("consentry", bridge.TABLE, LOCK_TABLE))
_FAMILIES: Final = frozenset(("ip", "ip6", "inet"))
_WHO: Final = (("DOCKER", "Docker"), ("ufw", "ufw"), ("LIBVIRT", "libvirt"), ("NM", "NetworkManager"))
REMEDIES: Final = {
    "Docker": "sudo iptables -I DOCKER-USER -i {lan} -j ACCEPT; sudo iptables -I DOCKER-USER -o {lan} -j ACCEPT",
    "firewalld": "sudo firewall-cmd --permanent --zone=trusted --add-interface={lan}; sudo firewall-cmd --reload",
    "ufw": "sudo ufw route allow in on {lan}; sudo ufw route allow out on {lan}",
}
ANY: Final = "let it accept what comes from and goes to {lan}"


@dataclass
class Table:
    """Somebody's table: base chains by hook, rules by chain."""

    name: str
    chains: dict[str, dict[str, Any]] = field(default_factory=dict)
    rules: defaultdict[str, list[list[Any]]] = field(default_factory=lambda: defaultdict(list))

    @property
    def owner(self) -> str:
        if self.name.endswith(" firewalld"):
            return "firewalld"
        named = (who for prefix, who in _WHO if any(chain.startswith(prefix) for chain in self.chains))
        return next(named, f"the table {self.name}")

    def base(self, hook: str) -> list[dict[str, Any]]:
        return [chain for chain in self.chains.values() if chain.get("hook") == hook]

    def reached(self, chain: str) -> set[str]:
        """The chains that a packet in this one may come to."""
        found, new = set(), {chain}
        while new:
            found |= new
            new = {goal for name in new for rule in self.rules[name] for goal in _goals(rule)} - found
        return found

    def accepts(self, rule: list[Any]) -> bool:
        """By itself, or because it leads to a chain that accepts whatever comes there."""
        there = (inner for goal in _goals(rule) for name in self.reached(goal) for inner in self.rules[name])
        return _does(rule, "accept") or any(_does(inner, "accept") and not _conditions(inner) for inner in there)


def tables(listed: Iterable[dict[str, Any]]) -> list[Table]:
    """[pure] Those of others in what `nft -j list ruleset` printed."""
    found: dict[str, Table] = {}
    for item in listed:
        for kind, what in item.items():
            if kind not in {"chain", "rule"} or what["family"] not in _FAMILIES or what["table"] in OURS:
                continue
            name = f"{what['family']} {what['table']}"
            table = found.setdefault(name, Table(name))
            if kind == "chain":
                table.chains[what["name"]] = what
            else:
                table.rules[what["chain"]].append(what.get("expr", []))
    return list(found.values())


def judge(table: Table, lan: str, wan: str) -> Iterator[Finding]:
    """[pure] What one of them does to packets between these two."""
    remedy = REMEDIES.get(table.owner, ANY).format(lan=lan)
    for chain in table.base("forward"):
        rules = [rule for name in table.reached(chain["name"]) for rule in table.rules[name] if _meets(rule, lan, wan)]
        if any(_names(rule, lan) and table.accepts(rule) for rule in rules):
            continue
        refusing = [rule for rule in rules if _does(rule, "drop", "reject")]
        if chain.get("policy") == "drop" or any(not _conditions(rule) for rule in refusing):
            says = f"{table.owner} refuses what is forwarded ({table.name}, {chain['name']}): phones find no internet"
            yield Finding("firewalls", FAIL, says, remedy)
        elif any(not _about_broken(rule) for rule in refusing):
            says = f"{table.owner} refuses some of what is forwarded ({table.name}, {chain['name']})"
            yield Finding("firewalls", WARN, says, remedy)
    for hook in ("prerouting", "forward"):
        for chain in table.base(hook):
            reached = (rule for name in table.reached(chain["name"]) for rule in table.rules[name])
            if any(_sets(rule) & marks.PACKET for rule in reached if _meets(rule, lan, wan)):
                says = f"{table.owner} sets bits of packets' marks that are ours ({table.name}, {chain['name']})"
                yield Finding("firewalls", FAIL, says, f"let it keep to 0x{marks.OTHERS:08x}, or end it")
    for chain in table.base("prerouting"):
        rules = [rule for name in table.reached(chain["name"]) for rule in table.rules[name] if _meets(rule, lan, wan)]
        if any(_does(rule, "redirect", "dnat", "tproxy") and 53 in _numbers(rule) for rule in rules):
            says = f"{table.owner} leads questions for names elsewhere ({table.name}, {chain['name']})"
            remedy = f"find that rule: sudo nft -a list chain {table.name} {chain['name']}"
            yield Finding("firewalls", FAIL, says, remedy)


def rivals(world: World) -> Iterator[Finding]:
    """All of them, and what iptables-legacy has, which nft does not show."""
    name, lan, wan = "firewalls", world.lan, world.wan
    if not world.root:
        yield unknown(name)
        return
    done = world.run("nft", "-j", "-t", "list", "ruleset")
    if done is None or done.status:
        return  # `kernel` says so
    others = tables(json.loads(done.out)["nftables"])
    found = [finding for table in others for finding in judge(table, lan or "the phones' interface", wan)]
    if "filter" in world.read("/proc/net/ip_tables_names").split():  # else asking would make that table
        legacy = world.run("iptables-legacy", "-S", "FORWARD")
        if legacy and "-P FORWARD DROP" in legacy.out:
            says = "iptables-legacy drops what is forwarded: phones find no internet"
            remedy = "; ".join(f"sudo iptables-legacy -I FORWARD {side} {lan} -j ACCEPT" for side in ("-i", "-o"))
            found.append(Finding(name, FAIL, says, remedy))
    yield from found
    if not found:
        heard = (table for table in others if not table.name.endswith(" mangle"))  # our queue
        owners = sorted({table.owner for table in heard if table.base("forward") or table.base("prerouting")})
        beside = f"; beside ours: {', '.join(owners)}" if owners else ""
        yield Finding(name, PASS, f"nobody else refuses or diverts what phones send{beside}")


def _goals(rule: list[Any]) -> Iterator[str]:
    for expression in rule:
        for word in ("jump", "goto"):
            if isinstance(expression, dict) and word in expression:
                yield expression[word]["target"]
        if isinstance(expression, dict) and "vmap" in expression:
            yield from _in_map(expression["vmap"])


def _in_map(value: Any) -> Iterator[str]:  # noqa: ANN401  JSON
    if isinstance(value, dict):
        for word, inner in value.items():
            if word in {"jump", "goto"} and isinstance(inner, dict):
                yield inner["target"]
            else:
                yield from _in_map(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _in_map(inner)


def _does(rule: list[Any], *verdicts: str) -> bool:
    """Nft's own verdict, or iptables' target of that name."""
    for expression in rule:
        if not isinstance(expression, dict):
            continue
        if any(word in expression for word in verdicts):
            return True
        target = expression.get("xt", {}).get("name", "").lower()
        if target in verdicts:
            return True
    return False


def _sets(rule: list[Any]) -> int:
    """The bits of a packet's mark that it sets, as far as it says them in numbers."""
    bits = 0
    for part in rule:
        change = part.get("mangle") if isinstance(part, dict) else None
        if change and change.get("key") == {"meta": {"key": "mark"}}:
            bits |= _bits(change["value"])
    return bits


def _bits(value: Any) -> int:  # noqa: ANN401  JSON
    if isinstance(value, int):
        return value
    if isinstance(value, dict) and "|" in value:
        left, right = value["|"]
        return _bits(left) | _bits(right)
    return 0  # what is masked sets nothing


def _conditions(rule: list[Any]) -> bool:
    parts = (part for part in rule if isinstance(part, dict))
    return any("match" in part or part.get("xt", {}).get("type") == "match" for part in parts)


def _interfaces(rule: list[Any]) -> Iterator[tuple[str, str, list[str]]]:
    """(iifname or oifname, == or !=, names) of each match on an interface."""
    for part in rule:
        match = part.get("match", {}) if isinstance(part, dict) else {}
        left = match.get("left")
        key = left.get("meta", {}).get("key") if isinstance(left, dict) else None
        if key in {"iif", "oif", "iifname", "oifname"}:
            right = match["right"]
            names = right.get("set", []) if isinstance(right, dict) else [right]
            yield key, match["op"], [str(name) for name in names]


def _meets(rule: list[Any], lan: str, wan: str) -> bool:
    """Whether a packet between the two can match it, as far as interfaces tell."""
    for _, how, names in _interfaces(rule):
        ours = any(_same(name, side) for name in names for side in (lan, wan) if side)
        if ours is (how == "!="):
            return False
    return True


def _same(pattern: str, interface: str) -> bool:
    return interface.startswith(pattern[:-1]) if pattern.endswith("*") else pattern == interface


def _names(rule: list[Any], lan: str) -> bool:
    return any(how == "==" and any(_same(name, lan) for name in names) for _, how, names in _interfaces(rule))


def _about_broken(rule: list[Any]) -> bool:
    """`ct state invalid`: what belongs to no connection we refuse too."""
    text = json.dumps(rule)
    return '"invalid"' in text or "INVALID" in text


def _numbers(value: Any) -> set[int]:  # noqa: ANN401  JSON
    if isinstance(value, bool):
        return set()
    if isinstance(value, int):
        return {value}
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return set().union(*map(_numbers, inner))
