"""The table `inet consentry`: filled in from gate.nft, loaded whole, looked at, removed, by nft(8) and iptables(8)."""

from __future__ import annotations

import hashlib
import json
import math
import re
import subprocess
from collections import deque
from importlib import resources
from ipaddress import ip_address
from string import Template
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from firewall.backends import BackendError
from firewall.backends.linux import marks, offload
from firewall.commands import Watch
from firewall.dissect.quic import VERSIONS
from firewall.settings import DNS_PORT
from rules.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from firewall.backends.linux.pairs import Pair
    from firewall.backends.linux.ways import Way
    from firewall.commands import KernelState

TABLE: Final = "consentry"
QUEUE: Final = 66  # where packets wait
GROUP: Final = 66  # of NFLOG
SPOOFED: Final = "spoofed"  # the prefix of what it logs of packets in another phone's name
XTABLES: Final = (("iptables-nft", "ip6tables-nft"), ("iptables-legacy", "ip6tables-legacy"))
CHILDREN: Final[deque[int]] = deque(maxlen=64)  # pids of the programs started here: what they commit is ours
A_SECOND, BURST = 200, 1_000  # flows that a phone may begin while the connection table fills
MOST_OF_ONE = 4_096  # and have of TCP at a time, where the kernel can count them; a phone in use has some hundreds
_TEREDO: Final = "ip6 daddr 2001::/32 ip6 daddr & ::ffff:ffff ^ 64:ff9b::ffff:ffff @refused6 goto listed"
_INTERFACE: Final = re.compile(r"[A-Za-z0-9_.:@-]{1,15}")  # what of dev_valid_name() is safe between nft's quotes


class Held(NamedTuple):
    """What this process remembers and a whole load puts back."""

    learned: Mapping[Pair, int] = {}  # (MAC, address to refuse) -> seconds left
    pairs: Mapping[Pair, int] = {}  # (MAC, its address) -> slot
    sides: Sequence[int] = ()  # indexes that the phones' interface has had
    ways: Mapping[Way, float] = {}  # that consents open -> seconds left; inf: until told
    strained: bool = False  # the connection table fills: no phone may begin more than its share


class Ruleset:
    """What the two interfaces' gate looks like. `queue` is the number that Python listens at."""

    def __init__(self, lan: str, wan: str, queue: int, *, ssh: bool) -> None:
        for name in (lan, wan):
            if not _INTERFACE.fullmatch(name):
                raise BackendError(f"{name!r} is no name of an interface")
        self._lan, self.wan, self._queue, self._ssh = lan, wan, queue, ssh
        self._template = Template((resources.files("firewall.backends.linux") / "gate.nft").read_text("utf-8"))
        self.kind, self._tools = self._find_queue()
        self.offloads = offload.is_there(accepted)
        self._misplaced = self._find_misplaced()
        self._one_stream = self._find_one_stream()

    def load(self, state: KernelState, held: Held, *, masquerade6: bool) -> None:
        """One transaction, checked first. What is held is put back where the table had been lost.

        Raises BackendError with what nft says.
        """
        text = self.render(state, held, masquerade6=masquerade6)
        try:
            nft("-c", "-f", "-", given=text)
        except BackendError:  # what stands may have other base chains: an older version's, or somebody's
            if not table_stands():
                raise
            text = f"delete table inet {TABLE}\n{text}"
            nft("-c", "-f", "-", given=text)
        nft("-f", "-", given=text)
        for tool in self._tools:
            for rule in self._xtables():
                if run(tool, "-w", "-t", "mangle", "-C", *rule).returncode:
                    done = run(tool, "-w", "-t", "mangle", "-A", *rule)
                    if done.returncode:
                        raise BackendError(f"{tool}: {done.stderr.strip()}")

    def render(self, state: KernelState, held: Held, *, masquerade6: bool) -> str:
        allowed_names = marks.connection(Verdict.ALLOW, Watch.NAMES)
        consented_names = marks.connection(Verdict.CONSENT, Watch.NAMES)
        allowed_begun = marks.connection(Verdict.ALLOW, Watch.BEGUN)
        consented_begun = marks.connection(Verdict.CONSENT, Watch.BEGUN)
        values: dict[str, int] = {
            "connection": marks.CONNECTION,
            "verdict": marks.VERDICT,
            "allowed": marks.ALLOWED,
            "allowed_names": allowed_names,
            "allowed_begun": allowed_begun,
            "allowed_answered": marks.ALLOWED | marks.ANSWERED,
            "blocked": marks.BLOCKED,
            "consented": marks.CONSENTED,
            "consented_names": consented_names,
            "consented_begun": consented_begun,
            "consented_answered": marks.CONSENTED | marks.ANSWERED,
            "others": marks.OTHERS,
            "kept": marks.KEPT,
            "slot": marks.SLOT,
            "ct_others": marks.EVERY & ~marks.CONNECTION,
            "permit": marks.PERMIT,
            "permit_pass": marks.PERMIT | marks.PASS,
            "permit_ask": marks.PERMIT | marks.ASK,
            "permit_ask_names": marks.PERMIT | marks.ASK | Watch.NAMES << marks.WATCH_SHIFT,  # no verdict, no way out
            "permit_ask_begun": marks.PERMIT | marks.ASK | Watch.BEGUN << marks.WATCH_SHIFT,
            "first": marks.FIRST,
            "pass": marks.PASS,
            "probe": marks.PROBE,
            "answer": marks.ASK | marks.CONNECTION,
            "answer_allowed": marks.ASK | marks.ALLOWED,
            "answer_names": marks.ASK | allowed_names,
            "answer_begun": marks.ASK | allowed_begun,
            "answer_blocked": marks.ASK | marks.BLOCKED,
            "answer_consented": marks.ASK | marks.CONSENTED,
            "answer_consented_names": marks.ASK | consented_names,
            "answer_consented_begun": marks.ASK | consented_begun,
        }
        text = self._template.substitute(
            {key: f"0x{value:08x}" for key, value in values.items()},
            lan=self._lan,
            wan=self.wan,
            group=GROUP,
            dns_port=DNS_PORT,
            undecided="drop" if state.locked else "goto undecided",
            strained=self._budget() if held.strained else "",
            begun_time=" timeout 1m" if held.strained else "",  # what is left behind makes room sooner
            queue="" if self._tools else f"queue num {self._queue}",
            ssh="tcp dport 22 accept" if self._ssh else "",
            misplaced=self._misplaced,
            one_stream=self._one_stream,
            teredo=_TEREDO if state.teredo else "",
            **offload.words(self._lan, self.wan, possible=self.offloads),
            quic_versions=", ".join(map(hex, VERSIONS)),
            masquerade6=f'oifname "{self.wan}" meta nfproto ipv6 masquerade' if masquerade6 else "",
        )
        lines = [text]
        for name, elements in (
            ("generation", [str(state.generation)]),
            ("refused4", map(_span, state.refused4)),
            ("refused6", map(_span, state.refused6)),
            ("exempt", map(_slot, state.exempt)),
            ("sides", map(str, held.sides)),
            ("slots4", (f"{_pair(pair)} : {_slot(slot)}" for pair, slot in held.pairs.items() if len(pair[1]) == 4)),
            ("slots6", (f"{_pair(pair)} : {_slot(slot)}" for pair, slot in held.pairs.items() if len(pair[1]) == 16)),
            ("owned4", (str(ip_address(addr)) for _, addr in held.pairs if len(addr) == 4)),
            ("owned6", (str(ip_address(addr)) for _, addr in held.pairs if len(addr) == 16)),
        ):
            kind = "map" if name.startswith("slots") else "set"
            lines += [f"flush {kind} inet {TABLE} {name}", _add(name, elements)]
        if not state.keep_learned:
            lines += [f"flush set inet {TABLE} {name}" for name in ("learned4", "learned6")]
        for name, size in (("learned4", 4), ("learned6", 16)):
            learned = (
                f"{_pair(pair)} timeout {seconds}s"
                for pair, seconds in held.learned.items()
                if len(pair[1]) == size and seconds > 0
            )
            lines.append(_add(name, learned))
        # They are not taken out first: one that is opened while this is loaded must not be lost for a moment.
        for name, size in (("consents4", 4), ("consents6", 16)):
            lines.append(_add(name, (_way(way, left) for way, left in held.ways.items() if len(way.addr) == size)))
        return "\n".join(line for line in lines if line) + "\n"

    def fingerprint(self) -> str:
        """Changes whenever rules, chains or sets of ours do, or the queue rule is lost; "" if the table is gone."""
        listed = run("nft", "-s", "-t", "list", "table", "inet", TABLE)
        if listed.returncode:
            return ""
        for tool in self._tools:
            if any(run(tool, "-w", "-t", "mangle", "-C", *rule).returncode for rule in self._xtables()):
                return ""
        return hashlib.sha256(listed.stdout.encode()).hexdigest()

    def expel_strangers(self) -> bool:
        """Delete chains that somebody put into our table: a load empties them, but their policies would stay."""
        ours = set(re.findall(r"^\tchain (\S+)", self._template.template, re.MULTILINE))
        there = re.findall(r"^\tchain (\S+)", run("nft", "-t", "list", "table", "inet", TABLE).stdout, re.MULTILINE)
        strangers = [name for name in there if name not in ours | offload.CHAINS]
        for name in strangers:
            run("nft", "delete", "chain", "inet", TABLE, name)
        return bool(strangers)

    def learned(self) -> dict[tuple[bytes, bytes], int]:
        """What RefuseAddress had put there before this process began: (MAC, address) -> seconds left."""
        return {
            _pair_of(element["elem"]["val"]): int(element["elem"].get("expires", 0))
            for name in ("learned4", "learned6")
            for element in _listed("set", name)
        }

    def pairs(self) -> dict[Pair, int]:
        """What AdmitPair had put there before this process began: (MAC, address) -> slot."""
        return {
            _pair_of(key): (value & marks.SLOT) >> marks.SLOT_SHIFT
            for name in ("slots4", "slots6")
            for key, value in _listed("map", name)
        }

    @property
    def says(self) -> str:
        """What this kernel has for us, in words."""
        return f"{self.kind}, flowtable" if self.offloads else self.kind

    @property
    def told_of(self) -> bool:
        """Whether the kernel tells of every change: iptables-legacy is no part of nftables."""
        return "legacy" not in self.kind

    def remove(self) -> None:
        """Take out everything that `load` put in."""
        run("nft", "delete", "table", "inet", TABLE)
        for tool in self._tools:
            for rule in self._xtables():
                while run(tool, "-w", "-t", "mangle", "-D", *rule).returncode == 0:
                    pass

    def _budget(self) -> str:
        """Loaded only while it is needed: who is allowed for good pays nothing for it, and else nobody does."""
        slot = f"meta mark & 0x{marks.SLOT:08x}"
        shares = [f"update @budgets {{ {slot} limit rate over {A_SECOND}/second burst {BURST} packets }}"]
        # Datagrams end by themselves, after half a minute or two; and those that wait for us are not counted.
        probe = "set s { type mark; flags dynamic; }; chain c { add @s { meta mark ct count over 1 }; };"
        if accepted(f"table inet consentry_probe {{ {probe} }}"):  # CONFIG_NFT_CONNLIMIT
            shares.append(f"meta l4proto tcp add @shares {{ {slot} ct count over {MOST_OF_ONE} }}")
        new = f'iifname "{self._lan}" ct state new'
        return "\n".join(f"{new} {share} counter name strained drop" for share in shares)

    def xtables(self) -> list[str]:
        """Commands, where the queue is xtables'."""
        return [f"{tool} -w -t mangle -A {' '.join(rule)}" for tool in self._tools for rule in self._xtables()]

    def _xtables(self) -> Sequence[Sequence[str]]:
        """The chain and rule of each, where the queue is xtables': for phones' packets, and for our own probe."""
        ask, queue = f"0x{marks.ASK:x}/0x{marks.ASK:x}", ("-j", "NFQUEUE", "--queue-num", str(self._queue))
        probe = ("-o", "lo", "-m", "mark", "--mark", f"0x{marks.PROBE:x}")
        return ("FORWARD", "-m", "mark", "--mark", ask, *queue), ("OUTPUT", *probe, *queue)

    def _find_misplaced(self) -> str:
        """A rule against sources that are not on the phones' side; "" where the kernel cannot look routes up for us.

        With the mark, for what goes from phone to phone is looked up with our own policy rule about unmarked packets.
        """
        rule = "fib saddr . mark . iif oif missing counter name misplaced drop"
        probe = f"table inet consentry_probe {{ counter misplaced {{ }}; chain c {{ {rule}; }}; }}"
        return rule if accepted(probe) else ""

    def _find_one_stream(self) -> str:
        """A rule that takes the wish for multipath TCP out of a SYN, once; what still has one is dropped.

        "" with kernels before 5.18, which cannot: there its phone soon tries without.
        """
        rule = "reset tcp option 30"
        probe = f"table inet consentry_probe {{ chain c {{ {rule}; }}; }}"
        return rule if accepted(probe) else ""

    def _find_queue(self) -> tuple[str, tuple[str, ...]]:
        """How the kernel asks: by nft's own `queue` if it has it, else by xtables' NFQUEUE. Never with a bypass.

        The first word about connections makes the kernel load what keeps them, without which it has no switches for it.
        """
        accepted("table inet consentry_probe { chain c { ct state new; }; }")
        probe = f"table inet consentry_probe {{ chain c {{ queue num {self._queue}; }}; }}"
        if accepted(probe):
            return "nft queue", ()
        for tools in XTABLES:
            if all(run(tool, "-w", "-t", "mangle", "-nL", "FORWARD").returncode == 0 for tool in tools):
                return f"NFQUEUE through {tools[0]}", tools
        raise BackendError("this kernel has neither nft's queue nor xtables' NFQUEUE: modprobe nft_queue xt_NFQUEUE")


def table_stands() -> bool:
    return run("nft", "-t", "list", "table", "inet", TABLE).returncode == 0


def accepted(text: str) -> bool:
    """Whether nft and the kernel would take it; nothing is loaded but modules."""
    return run("nft", "-c", "-f", "-", given=text).returncode == 0


def nft(*words: str, given: str = "") -> None:
    done = run("nft", *words, given=given)
    if done.returncode:
        raise BackendError(f"nft: {' '.join(done.stderr.split())[:300]}")


def run(*words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Raises BackendError if there is no such program."""
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    except FileNotFoundError:
        raise BackendError(f"{words[0]} is not installed: apt-get install nftables iptables") from None
    CHILDREN.append(process.pid)
    with process:
        try:
            out, err = process.communicate(given, timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise BackendError(f"{words[0]} has not answered for 30 s") from None
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def _add(name: str, elements: Iterable[str]) -> str:
    listed = ", ".join(elements)
    return f"add element inet {TABLE} {name} {{ {listed} }}" if listed else ""


def _pair(pair: Pair) -> str:
    return f"{pair[0].hex(':')} . {ip_address(pair[1])}"


def _way(way: Way, left: float) -> str:
    time = "" if left == math.inf else f" timeout {max(int(left * 1_000), 1)}ms"
    return f"{_slot(way.slot)} . {ip_address(way.addr)} . {way.port}{time}"


def _slot(slot: int) -> str:
    return f"0x{slot << marks.SLOT_SHIFT:08x}"


def _listed(kind: str, name: str) -> list[Any]:
    """The elements of one of our sets or maps as nft's JSON has them."""
    listed = run("nft", "-j", "list", kind, "inet", TABLE, name)
    if listed.returncode:
        return []
    return [element for item in json.loads(listed.stdout)["nftables"] for element in item.get(kind, {}).get("elem", ())]


def _pair_of(element: Any) -> Pair:  # noqa: ANN401  JSON
    mac, addr = element["concat"]
    return bytes.fromhex(mac.replace(":", "")), ip_address(addr).packed


def _span(span: tuple[bytes, bytes]) -> str:
    first, last = map(ip_address, span)
    return str(first) if first == last else f"{first}-{last}"
