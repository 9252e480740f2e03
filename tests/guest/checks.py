"""What can only be seen on a stock kernel with radios: run.sh runs this as root in the guest, and returns its status."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import box
from box import PASSPHRASE, RESOLVER, RULES, SSID, ask, keep, state
from world import (
    LAB,
    LOGS,
    RADIO,
    Bulk,
    Phone,
    arrived,
    begin,
    build_internet,
    check,
    forge,
    internet_is_ready,
    ip,
    run,
    said,
    till,
    verdict,
)

from firewall.backends.linux.nftables import Ruleset

HERE = Path(__file__).parent
ALLOW_ALL = '[[rule]]\naction = "allow"\nmatch = ""\n'
BLOCK_BULK = '[[rule]]\naction = "block"\nmatch = "name:bulk.example.org"\n'
# One by one, as rules ask for them, each costs a program, and QEMU's share many questions.
MODULES = (
    "veth", "bridge", "nfnetlink_queue", "nft_queue", "nft_ct", "nft_flow_offload", "nf_flow_table_inet", "nft_masq",
    "nft_chain_nat", "nft_reject_inet", "nft_log", "nfnetlink_log", "nft_limit", "nft_redir", "nft_fib_inet",
    "nft_tproxy", "nf_conntrack_netlink", "ctr", "ccm",
)  # fmt: skip


def kernel() -> None:
    """A box whose kernel has not heard of connections yet."""
    rules = Ruleset("lo", "wan0", 66, ssh=False)
    check("the kernel asks by nft's own queue", rules.kind == "nft queue", rules.kind)
    check("... can offload", rules.offloads)
    check("... and has what connections are counted with", Path("/proc/sys/net/netfilter/nf_conntrack_acct").exists())


def joining(phones: list[Phone]) -> None:
    for phone in phones:
        phone.join(SSID, PASSPHRASE)
    for phone, key in zip(phones, ("WPA2-PSK", "SAE"), strict=True):
        check(f"{phone.name} joins", till(phone.joined), said(phone.name)[-300:])
        check(f"... by {key}", phone.key() == key, phone.key())
        check("... and gets an address", phone.ask_for_address(), box.children())
    for phone in phones:
        check(f"{phone.name} has an IPv6 address", till(lambda phone=phone: phone.address(6)))


def gateway(process: subprocess.Popen[bytes], phones: list[Phone]) -> None:
    till(lambda: state() == "ENFORCING" or process.poll() is not None, 150)
    check("the gateway enforces", state() == "ENFORCING", said("gateway")[-500:])
    kind = ask("status")["queue"]["kind"]
    check("... by nft's own queue, with a flowtable", kind == "nft queue, flowtable", kind)
    keep("ruleset", run("nft", "list", "ruleset"))
    for phone in phones:
        check(f"{phone.name} resolves", till(lambda phone=phone: phone.resolve("example.com", RESOLVER)))
    names = {row["macs"][0]: row["name"] for row in ask("phones")}
    for phone in phones:
        ask("phones.set", phone=names[phone.mac], name=phone.name, group="home")


def rules(text: str) -> None:
    """The owner's, from now on."""
    RULES.write_text(text)
    ask("reload")


def play(phone: Phone) -> list[dict[str, Any]]:
    """The scenario by its player, with ordinary client libraries."""
    name = f"player{len(list(LOGS.glob('player*')))}"
    player = begin(name, sys.executable, "-P", "-m", "firewall.lab.player", str(HERE / "redmi.toml"), phone.name,
                   of=phone.name, SSL_CERT_FILE=str(LAB / "ca.pem"))  # fmt: skip
    player.wait(timeout=180)
    return [json.loads(line) for line in said(name).splitlines() if line.startswith("{")]


def scenario(phone: Phone) -> None:
    rows = play(phone)
    uploads, ordinary = [row for row in rows if row["upload"]], [row for row in rows if not row["upload"]]
    payloads = "\n".join(row["payload"] for row in arrived())
    leaked = [row["step"] for row in uploads if row["token"] in payloads]
    check(f"the Redmi's {len(uploads)} uploads: not one token arrives", len(uploads) >= 7 and not leaked, leaked)
    failed = [f"{row['step']}: {row['error']}" for row in ordinary if not row["ok"]]
    if failed:
        keep("refused", "\n".join(map(str, ask("history", filter="verdict:refused"))) + run("nft", "list", "ruleset"))
    check(f"its {len(ordinary)} ordinary requests are answered", ordinary and not failed, failed)
    rules(ALLOW_ALL)
    rows = [row for row in play(phone) if row["upload"]]
    payloads = "\n".join(row["payload"] for row in arrived())
    missing = [f"{row['step']}: {row['error']}" for row in rows if row["token"] not in payloads]
    check(f"positive control, everything allowed: {len(rows)} tokens arrive", len(rows) >= 7 and not missing, missing)


def offloading(phone: Phone, neighbour: Phone) -> None:
    """Flows that are allowed for good, past all rules: counted, safe from neighbours, and ended when they have to."""
    four, six = (phone.resolve("bulk.example.org", RESOLVER, version) for version in (4, 6))
    flows = {
        "TCP over IPv4": Bulk(phone, four, 7777),
        "TCP over IPv6": Bulk(phone, six, 7778),
        "UDP over IPv4": Bulk(phone, four, 7779, socket.SOCK_DGRAM),
    }
    for name, flow in flows.items():
        check(f"bulk, {name}: offloaded", till(flow.offloaded), flow.error)
    tcp, udp = flows["TCP over IPv4"], flows["UDP over IPv4"]
    udp.socket.send(b"the phone's own")
    check("what the phone says in it arrives", till(lambda: payload_of(udp, b"the phone's own")))
    forge(neighbour, udp, b"a neighbour's")
    check("what a neighbour says in its name does not", not till(lambda: payload_of(udp, b"a neighbour's"), 3))
    reached = tcp.received()
    counted = till(lambda: counted_up(phone) >= reached)
    check("its bytes are counted", counted, f"{counted_up(phone)} of {reached}")

    pid = ask("status")["pid"]
    till(lambda: all(f",{flow.near[1]}," in box.remembered() for flow in flows.values()))
    os.kill(pid, signal.SIGKILL)
    check("the gateway is killed: it goes on", tcp.flows(), tcp.error)
    check("another one takes over", till(lambda: state() == "ENFORCING" and ask("status")["pid"] != pid, 150))
    for name, flow in flows.items():
        check(f"bulk, {name}: flows, and is offloaded", flow.flows() and till(flow.offloaded), flow.error)
    rules(BLOCK_BULK + ALLOW_ALL)
    for name, flow in flows.items():
        check(f"bulk, {name}: no byte more after its verdict is taken back", flow.stands_still())
        flow.end()


def flushing(phone: Phone) -> None:
    """Somebody's `nft flush ruleset`, and nobody there to put it right."""
    flow = Bulk(phone, phone.resolve("other.example.org", RESOLVER, 6), 7780)
    check("bulk of another name: offloaded", till(flow.offloaded), flow.error)
    pid = ask("status")["pid"]
    os.kill(pid, signal.SIGSTOP)
    run("nft", "flush", "ruleset")
    check("the ruleset is flushed: it stands still", flow.stands_still())
    os.kill(pid, signal.SIGCONT)
    flow.end()
    check("... and the gateway puts its table back", till(lambda: "flow add" in run("nft", "list", "ruleset")))
    flow = Bulk(phone, phone.resolve("other.example.org", RESOLVER, 6), 7781)
    check("... and offloads again", till(flow.offloaded), flow.error)
    flow.end()


def payload_of(flow: Bulk, data: bytes) -> bool:
    return any(data.decode() in row["payload"] for row in arrived() if (row["dst"], row["dport"]) == flow.far)


def counted_up(phone: Phone) -> int:
    return sum(row["bytes_up"] for row in ask("history", filter=f"phone:{phone.name} port:7777") if "bytes_up" in row)


def isolation(phone: Phone, neighbour: Phone) -> None:
    """From phone to phone the way leads through the gate, and is closed."""
    for version in (4, 6):
        try:
            phone.connect(neighbour.address(version), 22).close()
            error = "it connects"
        except OSError as refused:
            error = str(refused)
        wanted = f"via:neighbour verdict:block addr:{neighbour.address(version)}"
        told = till(partial(ask, "history", filter=wanted))
        check(f"phone to phone over IPv{version}: refused by the gate, and told", told and error != "it connects", error)


def leaving(phone: Phone) -> None:
    check("the gateway knows it as joined, and how well it is heard",
          till(lambda: phone_row(phone)["joined"] and phone_row(phone)["signal"]), phone_row(phone))
    before = phone.joined()
    check("hostapd throws a phone out", box.throw_out(phone.mac) == "OK")
    check("... and it comes back by itself", till(lambda: phone.joined() > before), said(phone.name)[-300:])
    check("... and is who it was", till(lambda: phone.resolve("example.com", RESOLVER)))


def phone_row(phone: Phone) -> dict[str, Any]:
    return next(row for row in ask("phones") if phone.mac in row["macs"])


def radio() -> None:
    """It is taken away in three ways, and hostapd ends by none of them: the keeper sees it."""
    sysfs = Path("/sys/class/net", RADIO)
    switch = next(sysfs.glob("phy80211/rfkill*")) / "soft"
    switch.write_text("1")
    check("a radio that rfkill holds is said", till(lambda: "rfkill" in box.children().get("hostapd", "")), box.children())
    switch.write_text("0")
    check("... and comes back", till(box.is_up), box.children())
    ip(f"link set {RADIO} nomaster")
    check("a radio out of its bridge is put in again", till(lambda: (sysfs / "brport").exists() and box.is_up()))
    ip(f"link set {RADIO} down")
    check("a radio that is down is put up again", till(lambda: int((sysfs / "flags").read_text(), 16) & 1 and box.is_up()))
    ip("link del consentry0")
    check("a bridge that is deleted comes back with its radio", till(lambda: (sysfs / "brport").exists() and box.is_up()))


def removal(before: dict[str, str]) -> None:
    run(sys.executable, "-P", "-m", "firewall.cli", "off", "--remove")
    after = box.traces()
    for what, was in before.items():
        check(f"off --remove leaves no trace: {what}", after[what] == was, f"{was!r} -> {after[what]!r}")


def main() -> int:
    kernel()
    run("modprobe", "-a", *MODULES)
    run("modprobe", "mac80211_hwsim", "radios=3")
    build_internet()
    phones = [Phone(1, "WPA-PSK", protected=False), Phone(2, "SAE", protected=True)]
    before = box.traces()
    keep("setup", box.set_up())
    box.start_keeper()
    check("the access point is up", till(box.is_up), f"{box.children()} {said('keeper')[-300:]}")
    process = box.start_gateway()
    joining(phones)
    check("the internet is there", till(internet_is_ready, 120), said("internet")[-300:])
    gateway(process, phones)
    isolation(*phones)
    scenario(phones[0])
    offloading(*phones)
    flushing(phones[0])
    leaving(phones[1])
    radio()
    removal(before)
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
