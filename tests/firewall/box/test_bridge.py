from __future__ import annotations

import subprocess

import pytest
from plans import INLINE, ONE_ARMED, PLAN

from firewall.backends.linux import marks
from firewall.box import bridge


def test_what_dry_run_prints_is_what_is_made() -> None:
    assert bridge.make(PLAN) == [
        f"link add name consentry0 address {bridge.mac(PLAN)} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
        "addr add 192.168.77.1/24 brd + dev consentry0",
        "addr add fd12:3456:789a::1/64 dev consentry0 nodad",
        "link set consentry0 up",
    ]
    assert bridge.make(ONE_ARMED)[0] == f"link add link eth0 name consentry0 address {bridge.mac(PLAN)} type macvlan mode bridge"
    assert bridge.plug_in(INLINE, "eth1")[:2] == ["link set eth1 master consentry0", "link set eth1 up"]
    assert bridge.remove(PLAN) == ["link del consentry0"]


def test_its_address_is_locally_administered_and_stays() -> None:
    first = int(bridge.mac(PLAN)[:2], 16)
    assert first & 0b11 == 0b10
    assert bridge.mac(PLAN) == bridge.mac(INLINE)


def test_switches_of_other_interfaces_are_few() -> None:
    assert {name for name in bridge.switches(PLAN) if "consentry0" not in name} == {"ipv6/conf/wlan0/disable_ipv6"}
    assert {name for name in bridge.switches(ONE_ARMED) if "consentry0" not in name} == {"ipv4/conf/eth0/arp_ignore"}


def test_the_bit_is_the_gates_own() -> None:
    assert bridge.PERMIT == marks.PERMIT


@pytest.mark.lab
@pytest.mark.parametrize("text", [bridge.table(PLAN), bridge.table(ONE_ARMED), bridge.no_table()])
def test_nft_itself_accepts_it(text: str) -> None:
    done = subprocess.run(["unshare", "-n", "nft", "-c", "-f", "-"], input=text, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
