"""What can only be seen on a stock kernel with radios: run.sh runs this as root in the guest, and returns its status."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import box
import hwsim
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
    say,
    till,
    verdict,
)

from firewall.backends.linux.nftables import Ruleset

HERE = Path(__file__).parent
ALLOW_ALL = '[[rule]]\naction = "allow"\nmatch = ""\n'
TRIES = 3  # of what a phone's programs do
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
        check(f"{phone.name} has an IPv6 address, and a router", till(lambda phone=phone: phone.address(6) and phone.routed()))


def gateway(process: subprocess.Popen[bytes], phones: list[Phone]) -> None:
    till(lambda: state() == "ENFORCING" or process.poll() is not None)
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


def play(phone: Phone, failed: Callable[[list[dict[str, Any]]], list[str]]) -> tuple[list[dict[str, Any]], list[str]]:
    """The scenario by its player, with ordinary client libraries: every row, and what failed at the last try.

    Its clients give up after three seconds, and this machine may stand still for as long: then they try again.
    """
    rows: list[dict[str, Any]] = []
    wrong = [""]
    for n in range(TRIES):
        name = f"player{len(list(LOGS.glob('player*')))}"
        begin(name, sys.executable, "-P", "-m", "firewall.lab.player", str(HERE / "redmi.toml"), phone.name,
              of=phone.name, SSL_CERT_FILE=str(LAB / "ca.pem")).wait()  # fmt: skip
        now = [json.loads(line) for line in said(name).splitlines() if line.startswith("{")]
        rows += now
        if not (wrong := failed(now)):
            break
        say(f"     try {n + 1}: {wrong}")
    return rows, wrong


def scenario(phone: Phone) -> None:
    def unanswered(rows: list[dict[str, Any]]) -> list[str]:
        ordinary = [row for row in rows if not row["upload"]]
        return [f"{row['step']}: {row['error']}" for row in ordinary if not row["ok"]] or ([] if ordinary else ["none"])

    def missing(rows: list[dict[str, Any]]) -> list[str]:
        payloads = "\n".join(row["payload"] for row in arrived())
        return [f"{row['step']}: {row['error']}" for row in rows if row["upload"] and row["token"] not in payloads]

    rows, failed = play(phone, unanswered)
    uploads = [row for row in rows if row["upload"]]
    leaked = len(uploads) - len(missing(uploads))
    check(f"the Redmi's {len(uploads)} uploads: not one token arrives", len(uploads) >= 7 and not leaked, leaked)
    if failed:
        keep("refused", "\n".join(map(str, ask("history", filter="verdict:refused"))) + run("nft", "list", "ruleset"))
    check("its ordinary requests are answered", not failed, failed)
    rules(ALLOW_ALL)
    rows, failed = play(phone, missing)
    uploads = [row for row in rows if row["upload"]]
    check(f"positive control, everything allowed: {len(uploads)} tokens arrive", len(uploads) >= 7 and not failed, failed)


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
    check("another one takes over", till(lambda: state() == "ENFORCING" and ask("status")["pid"] != pid))
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
    gone = int((box.RUN / "supervisor.pid").read_text()), ask("status")["pid"]
    for pid in gone:  # the supervisor first: it would not wait for a gateway that does not move
        os.kill(pid, signal.SIGSTOP)
    run("nft", "flush", "ruleset")
    check("the ruleset is flushed: it stands still", flow.stands_still())
    for pid in gone[::-1]:
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


def judged() -> None:
    """By the product's own two commands, while nobody but its packs has said what is allowed."""
    status, told = box.consentry("doctor", "--json")
    failed = [row for row in told if row["state"] == "fail"]
    check(f"doctor: none of its {len(told)} findings is a failure", len(told) > 15 and status == 0, failed)
    status, told = box.consentry("selftest", "--json")
    wrong = [row for row in told if row["state"] not in {"held", "seen"}]
    check(f"selftest: of {len(told)} tries nothing gets through", len(told) > 20 and status == 0, wrong)
    check("... and one that is let through is seen", any(row["state"] == "seen" for row in told), told)


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


def on_air(phone: Phone) -> int:
    """How often it has joined when it is on again: what comes after that is a new time."""
    till(lambda: box.is_up() and phone.key() != "none")
    return phone.joined()


def asleep(phone: Phone) -> None:
    """All processes freeze, and the kernel stops the access point behind hostapd's back (cfg80211_leave_all), as it does
    when a box sleeps. Its devices stay awake here: the share that this machine lives on would not come back.
    """
    before, pid = on_air(phone), ask("status")["pid"]
    Path("/sys/power/pm_test").write_text("freezer")
    Path("/sys/module/suspend/parameters/pm_test_delay").write_text("2")
    Path("/sys/power/state").write_text("freeze")
    run("iw", "dev", RADIO, "ap", "stop")
    check("after a nap the access point is put up again", till(lambda: box.is_up() and phone.joined() > before), said("keeper")[-300:])
    check("... the gate goes on", till(lambda: state() == "ENFORCING" and phone.resolve("example.com", RESOLVER)), state())
    check("... and is the same process", ask("status")["pid"] == pid, said("gateway")[-300:])


def unplugged(phone: Phone) -> None:
    """A radio on USB: pulled out, another one plugged in that cannot be an access point, then one that can."""
    before, mac = on_air(phone), Path("/sys/class/net", RADIO, "address").read_text().strip()
    hwsim.pull_out(0)
    check("a radio that is pulled out is said", till(lambda: "is not there" in box.children()["hostapd"]), box.children())
    other = hwsim.plug_in(mac, modes=hwsim.STATION)
    told = till(lambda: "cannot be an access point" in box.children()["hostapd"])
    check("... one whose driver knows no access points, too", told, f"{box.children()} {said('keeper')[-500:]}")
    hwsim.pull_out(other)
    hwsim.plug_in(mac)
    check("... and one that is plugged in is used at once", till(lambda: box.is_up() and phone.joined() > before), box.children())
    check("... by the gate, too", till(lambda: state() == "ENFORCING" and phone.resolve("example.com", RESOLVER)), state())


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
    check("the internet is there", till(internet_is_ready), said("internet")[-300:])
    gateway(process, phones)
    isolation(*phones)
    judged()
    scenario(phones[0])
    offloading(*phones)
    flushing(phones[0])
    leaving(phones[1])
    radio()
    asleep(phones[0])
    unplugged(phones[0])
    removal(before)
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
