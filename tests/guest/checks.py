"""What can only be seen on a stock kernel with radios: run.sh runs this as root in the guest, and returns its status."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import box
from box import LAN, PASSPHRASE, RULES, SSID, STATE, ask, keep, state
from world import (
    LAB,
    OUT,
    Bulk,
    Phone,
    arrived,
    begin,
    build_internet,
    check,
    internet_is_ready,
    run,
    said,
    say,
    till,
    verdict,
)

HERE = Path(__file__).parent
ALLOW_ALL = '[[rule]]\naction = "allow"\nmatch = ""\n'


def joining(phones: list[Phone]) -> None:
    for phone in phones:
        phone.join(SSID, PASSPHRASE)
    for phone, key in zip(phones, ("WPA2-PSK", "SAE"), strict=True):
        check(f"{phone.name} joins", till(phone.joined), said(phone.name)[-300:])
        check(f"... by {key}", phone.key() == key, phone.key())
        check("... and gets an address", phone.ask_for_address(), said("dnsmasq")[-300:])
    for phone in phones:
        check(f"{phone.name} has an IPv6 address", till(lambda phone=phone: phone.address(6)))


def play(phone: Phone) -> list[dict]:
    """The scenario by its player, with ordinary client libraries."""
    name = f"player{len(list(OUT.glob('player*')))}"
    player = begin(name, sys.executable, "-P", "-m", "firewall.lab.player", str(HERE / "redmi.toml"), phone.name,
                   of=phone.name, SSL_CERT_FILE=str(LAB / "ca.pem"))
    player.wait(timeout=180)
    return [json.loads(line) for line in said(name).splitlines() if line.startswith("{")]


def scenario(phone: Phone) -> None:
    rows = play(phone)
    uploads, ordinary = [row for row in rows if row["upload"]], [row for row in rows if not row["upload"]]
    payloads = "\n".join(row["payload"] for row in arrived())
    leaked = [row["step"] for row in uploads if row["token"] in payloads]
    check(f"the Redmi's {len(uploads)} uploads: not one token arrives", len(uploads) >= 7 and not leaked, leaked)
    failed = [f"{row['step']}: {row['error']}" for row in ordinary if not row["ok"]]
    check(f"its {len(ordinary)} ordinary requests are answered", ordinary and not failed, failed)
    RULES.write_text(ALLOW_ALL)
    ask("reload")
    rows = [row for row in play(phone) if row["upload"]]
    payloads = "\n".join(row["payload"] for row in arrived())
    missing = [f"{row['step']}: {row['error']}" for row in rows if row["token"] not in payloads]
    check(f"positive control, everything allowed: all {len(rows)} tokens arrive", len(rows) >= 7 and not missing, missing)


def main() -> int:
    run("modprobe", "mac80211_hwsim", "radios=3")
    build_internet()
    phones = [Phone(1, "WPA-PSK", protected=False), Phone(2, "SAE", protected=True)]
    box.open_access_point()
    check("the access point is up", till(box.access_point_is_open), said("hostapd")[-300:])
    joining(phones)
    before = box.traces()
    STATE.mkdir(exist_ok=True, parents=True)
    gateway = box.start_gateway()
    till(lambda: state() == "ENFORCING" or gateway.poll() is not None, 120)
    check("the gateway enforces", state() == "ENFORCING", said("gateway")[-500:])
    kind = ask("status")["queue"]["kind"]
    check("the kernel asks by nft's own queue", kind == "nft queue", kind)
    keep("ruleset", run("nft", "list", "ruleset"))
    check("the internet is there", till(internet_is_ready, 120), said("internet")[-300:])
    for phone in phones:
        check(f"{phone.name} resolves", till(lambda phone=phone: phone.resolve("example.com", "10.77.0.1")))
    names = {row["macs"][0]: row["name"] for row in ask("phones")}
    for phone in phones:
        ask("phones.set", phone=names[phone.mac], name=phone.name, group="home")
    scenario(phones[0])
    return verdict()


if __name__ == "__main__":
    sys.exit(main())
