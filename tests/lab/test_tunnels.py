"""Tunnels: what goes through them was not seen, so they are named, never one of the clean rows, and a rule can refuse them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import captures
import carriers
import pytest
from judge import Lab, environment, lab_up, lines, wait_for
from talk import hello, server_name

pytestmark = pytest.mark.lab

SAY = Path(__file__).parents[1] / "helpers/say.py"
FRIENDS = "198.51.100.91", "2001:db8:feed::91"
BLOCK = '[[rule]]\naction = "block"\nmatch = "via:tunnel"\n'
WAYS = {  # first bytes, as the programs send them
    "wireguard": ("udp", b"\x01\0\0\0" + b"\x11\x22\x33\x44" + bytes(range(32)) + b"w" * 108),
    "openvpn": ("udp", b"\x38" + b"sessions" + bytes(5)),
    "ike": ("udp", b"initiato" + bytes(8) + b"\x21\x20\x22\x08" + bytes(4) + (60).to_bytes(4) + b"p" * 32),
    "ike-behind-nat": ("udp", bytes(4) + b"initiatoresponde" + b"\x2e\x20\x23\x08" + (1).to_bytes(4) + (60).to_bytes(4) + b"p" * 32),
    "plain-ip": ("udp", captures.udp(captures.PHONE, 1, captures.FAR, 2, bytes(90))),
    "l2tp": ("udp", b"\xc8\x02\0\x14" + bytes(8) + b"\x80\x08\0\0\0\0\0\x01"),
    "vxlan": ("udp", carriers.DATAGRAMS["vxlan"][1](captures.udp(captures.PHONE, 1, captures.FAR, 2, bytes(90)))),
    "openvpn-tcp": ("tcp", b"\0\x0e\x38" + b"sessions" + bytes(5)),
    "ssh": ("tcp", b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
    "socks5": ("tcp", b"\x05\x01\0"),
    "connect": ("tcp", b"CONNECT www.example.net:443 HTTP/1.1\r\nHost: www.example.net:443\r\n\r\n"),
    "masque": ("tcp", b"GET /own HTTP/1.1\r\nHost: proxy.example.net\r\nConnection: upgrade\r\nUpgrade: connect-udp\r\n\r\n"),
    "pptp": ("tcp", b"\0\x9c\0\x01\x1a\x2b\x3c\x4d\0\x01" + bytes(146)),
    "tor": ("tcp", hello(server_name(b"www.2x5bnq7ma3.com"))),
}


ROWS = 2 * len(WAYS) - 3


def say(lab: Lab, port: int) -> None:
    """Each to a port of its own, the first one of them `port`, over both families."""
    listed = [[proto, addr, port + n, data.hex()] for addr in FRIENDS for n, (proto, data) in enumerate(WAYS.values())]
    argv = [sys.executable, "-m", "firewall.cli", "lab", "exec", "phone1", "--", sys.executable, str(SAY)]
    subprocess.run(argv, input=json.dumps(listed), capture_output=True, text=True, timeout=60, check=True, env=environment(lab.name))


def arrived(lab: Lab, port: int) -> dict[tuple[str, str], int]:
    """(tunnel, address) -> bytes at the sinks."""
    ports = {port + n: way for n, way in enumerate(WAYS)}
    return {(ports[row["dport"]], row["dst"]): row["bytes"] for row in lab.sinks() if row["dport"] in ports}


def test_tunnels_are_named_and_can_be_refused(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text("")
    every = {(way, addr) for way in WAYS for addr in FRIENDS}
    with lab_up(rules) as lab:
        say(lab, 20_000)
        wait_for(lambda: {key for key, size in arrived(lab, 20_000).items() if size} == every)
        rows = wait_for(lambda: len(found := lab.history("via:tunnel verdict:allow last:5m")) >= ROWS and found, 3)
        named = [row["name"] for row in rows if row["name"]]
        assert sorted(named) == ["proxy.example.net", "www.2x5bnq7ma3.com", "www.example.net"]  # one row of both families
        assert len(rows) == ROWS
        assert all(row["signs"] == ["tunnel"] for row in rows)
        assert {row["via"] for row in rows} == {"tunnel", "sni", "http"}  # where a name was said beside it
        assert lab.history("-via:tunnel addr:198.51.100.91,2001:db8:feed::91") == []
        assert lab.consentry("history", "via:tunnel").stdout.count("(tunnel)") == len(rows)
        rules.write_text(BLOCK)
        wait_for(lambda: lines(lab.consentry("rules", "list", "--json").stdout)[0]["match"] == "via:tunnel")
        say(lab, 21_000)
        wait_for(lambda: len(lab.history("via:tunnel verdict:block last:5m")) >= ROWS, 3)
        assert sum(arrived(lab, 21_000).values()) == 0
        assert all(way in {name for name, (proto, _) in WAYS.items() if proto == "tcp"} for way, _ in arrived(lab, 21_000))
