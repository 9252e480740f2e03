"""A plan of the box's network that several tests begin with."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

from firewall.box.plan import Plan, Wifi

PLAN = Plan(
    "ap", "wlan0", IPv4Network("192.168.77.0/24"), IPv6Network("fd12:3456:789a::/64"),
    wifi=Wifi("home-guard", "correct horse battery", "DE"),
)
INLINE = replace(PLAN, mode="inline", port="eth1", wifi=None)
ONE_ARMED = replace(INLINE, mode="one-armed", port="eth0", dhcp=False)
