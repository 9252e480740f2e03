"""What ships with Consentry, asked about the things that must go on working."""

from __future__ import annotations

import ipaddress
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rules.decide import decide
from rules.owner import switched
from rules.policy import compile_policy
from rules.store import PACKS, load_packs
from rules.verdict import Verdict

POLICY = compile_policy((), load_packs(), 1)
EVERYTHING = compile_policy((), switched(load_packs(), PACKS, ()), 1)  # whatever is shipped switched off, on
SCENARIOS = Path(__file__).parents[2] / "firewall" / "lab" / "scenarios"

# How phones find out whether a Wi-Fi leads anywhere. Refused, they leave it, or nag.
CAPTIVE = [
    "connectivitycheck.gstatic.com", "connectivitycheck.android.com", "clients3.google.com", "www.google.com", "play.googleapis.com",  # Android
    "captive.apple.com", "www.apple.com", "gsp1.apple.com",
    "connect.rom.miui.com", "connect.intl.miui.com",  # Xiaomi
    "connectivitycheck.platform.hicloud.com", "connectivitycheck.cbg-app.huawei.com",  # Huawei
    "conn1.oppomobile.com", "conn2.oppomobile.com", "conn1.coloros.com", "conn2.coloros.com", "conn-service-eu-01.allawnos.com",  # Oppo, Realme
    "wifi.vivo.com.cn", "connectivity.samsung.com.cn",
    "www.msftconnecttest.com", "www.msftncsi.com", "detectportal.firefox.com", "nmcheck.gnome.org", "cp.cloudflare.com", "www.qualcomm.cn",
]
TIME = [
    "time.android.com", "time.google.com", "time.apple.com", "time.windows.com", "time.cloudflare.com", "pool.ntp.org", "2.android.pool.ntp.org",
    "cn.pool.ntp.org", "ntp.aliyun.com", "ntp.ntsc.ac.cn", "asia-timesync.vivoglobal.com", "eu-timesync.vivoglobal.com", "ntp.samsung.com",
]


@pytest.mark.parametrize("host", CAPTIVE)
@pytest.mark.parametrize("policy", [POLICY, EVERYTHING])
def test_no_pack_refuses_the_checks_for_captive_portals(make, policy, host: str) -> None:
    for seen in (make.seen(dns=host, addr=None, open_=True), make.seen(dns=host, http=host, port=80), make.seen(dns=host, sni=host)):
        assert not decide(policy, seen).verdict.refuses, decide(policy, seen).reason


@pytest.mark.parametrize("host", TIME)
@pytest.mark.parametrize("policy", [POLICY, EVERYTHING])
def test_no_pack_refuses_the_time(make, policy, host: str) -> None:
    assert decide(policy, make.seen(dns=host, proto="udp", port=123)).verdict == "allow"


def hosts(scenario: str) -> list[tuple[str, int]]:
    """Where a scenario goes without uploading."""
    document = tomllib.loads((SCENARIOS / f"{scenario}.toml").read_text("utf-8"))
    steps = [step for group in document["group"] for step in group["step"] if not step.get("upload")]
    targets = [to for step in steps for to in ([step["to"]] if isinstance(step["to"], str) else step["to"])]
    places = (urlsplit(to if "//" in to else f"//{to}") for to in targets)
    return [(place.hostname or "", place.port or 443) for place in places]


@pytest.mark.parametrize("scenario", sorted(path.stem for path in SCENARIOS.glob("*.toml") if "[[group]]" in path.read_text("utf-8") and not path.stem.endswith("-upload")))
def test_what_the_lab_plays_of_an_ordinary_day_passes(make, scenario: str) -> None:
    places = hosts(scenario)
    assert places
    for host, port in places:
        try:
            seen = make.seen(addr=str(ipaddress.ip_address(host)), port=port)
        except ValueError:
            seen = make.seen(dns=host, sni=host, port=port)
        assert decide(POLICY, seen).verdict == "allow", (host, decide(POLICY, seen).reason)


@pytest.mark.parametrize(("facts", "verdict", "rule"), [
    ({"port": 853}, "block", "bypass/1"),
    ({"port": 853, "proto": "udp"}, "block", "bypass/1"),
    ({"dns": "mozilla.cloudflare-dns.com"}, "block", "bypass/2"),
    ({"sni": "abcdef.dns.nextdns.io"}, "block", "bypass/2"),
    ({"addr": "1.1.1.1"}, "block", "bypass/3"),
    ({"addr": "2606:4700:4700::1111", "proto": "udp"}, "block", "bypass/3"),
    ({"addr": "64:ff9b::8.8.8.8"}, "block", "bypass/3"),
    *[({"addr": addr}, "block", "bypass/3") for addr in ("162.159.61.4", "2a06:98c1:52::4", "1.12.12.12", "2620:119:35::35", "2a10:50c0::ad1:ff", "2a07:a8c0::ab:cdef")],
    ({"dns": "private.canadianshield.cira.ca"}, "block", "bypass/2"),
    ({"dns": "www.cira.ca"}, "allow", "default"),
    ({"addr": "8.8.8.8", "proto": "icmp", "port": None}, "allow", "default"),
    ({"addr": "203.107.1.65", "port": 80, "http": "203.107.1.65.example"}, "block", "bypass/4"),
    ({"dns": "mask-h2.icloud.com"}, "block", "bypass/5"),
    ({"dns": "www.icloud.com"}, "allow", "default"),
    ({"dns": "use-application-dns.net"}, "block", "bypass/6"),
    ({"dns": "_dns.resolver.arpa"}, "block", "bypass/10"),
    ({"sni": "query.hicloud.com"}, "ask", "huawei/1"),
    ({"sni": "apkrep.ff.avast.com"}, "ask", "huawei/2"),
    ({"sni": "api.omc.samsungdm.com"}, "ask", "samsung/1"),
    ({"sni": "samsung-directory.edge.hiyaapi.com"}, "ask", "samsung/2"),
    ({"sni": "capi.samsungcloud.com"}, "ask", "samsung/3"),
    ({"sni": "dceuex.push.heytapmobile.com"}, "ask", "oppo-realme/1"),
    ({"sni": "asia-stsdk.vivoglobal.com"}, "ask", "vivo/1"),
    ({"sni": "log16-normal-useast1a.tiktokv.com"}, "ask", "tiktok/1"),
    ({"sni": "www.tiktok.com"}, "allow", "default"),
    ({"addr": "42.62.1.1"}, "allow", "default"),  # only registered through CNNIC
    ({"addr": "42.62.48.1"}, "ask", "xiaomi/2"),
    ({"addr": "1.2.4.8"}, "ask", "cnnic-own/1"),
    ({"group": "strict", "sni": "example.com"}, "ask", "strict/1"),
    ({"group": "strict", "addr": "1.1.1.1"}, "block", "bypass/3"),
    ({"group": "home", "sni": "example.com"}, "allow", "default"),
])
def test_what_the_packs_are_for(make, facts, verdict: str, rule: str) -> None:
    decision = decide(POLICY, make.seen(**facts))
    assert (decision.verdict, decision.rule) == (verdict, rule)


def test_what_is_off_can_be_switched_on(make) -> None:
    seen = make.seen(addr="139.155.1.1")
    off = [rule.id for rule in POLICY.rules if not rule.enabled]
    assert off == ["tiktok/2", "cnnic-registered/1"]
    assert decide(POLICY, seen).verdict == "allow"
    assert decide(EVERYTHING, seen).rule == "cnnic-registered/1"
    assert decide(EVERYTHING, make.seen(sni="www.tiktok.com")).rule == "tiktok/2"


def test_ways_around_are_blocked_and_vendors_are_asked_about() -> None:
    actions = {name: {rule.action for rule in pack.rules} for name, pack in zip(PACKS, load_packs(), strict=True)}
    assert actions.pop("baseline") == actions.pop("bypass") == {Verdict.BLOCK}
    assert set().union(*actions.values()) == {Verdict.ASK}


def test_a_stranger_is_asked_about_after_everything_else(make) -> None:
    """What an owner allows for all is allowed for a phone that nobody has named; its DNS questions are answered."""
    strict = {"group": "strict", "sni": "example.com", "dns": "example.com"}
    assert decide(make.policy("allow name:example.com", packs=True), make.seen(**strict)).verdict == "allow"
    assert decide(POLICY, make.seen(**strict)).verdict is Verdict.ASK
    assert PACKS[-1] == "strict"
