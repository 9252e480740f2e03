from __future__ import annotations

import struct

import captures
import carriers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.dissect import NEED_MORE, NOT_MINE, tunnels

SESSION = bytes(range(1, 9))
PLAIN = b"\x38" + SESSION + bytes(5)
AUTH = b"\x38" + SESSION + bytes(20) + struct.pack("!II", 1, 1_600_000_000) + bytes(5)
CRYPT = b"\x38" + SESSION + struct.pack("!II", 1, 1_600_000_000) + bytes(32) + bytes(5)
CRYPT_2 = b"\x50" + SESSION + struct.pack("!II", 0x0F000001, 1_600_000_000) + bytes(400)
CRYPT_3 = b"\x50" + SESSION + struct.pack("!II", 0x0A010001, 1_650_105_000) + bytes(400)  # as in nDPI's openvpn-tlscrypt.pcap
IKE_2 = SESSION + bytes(8) + b"\x21\x20\x22\x08" + bytes(4) + struct.pack("!I", 228) + bytes(200)
IKE_1 = SESSION + bytes(8) + b"\x01\x10\x02\x00" + bytes(4) + struct.pack("!I", 128) + bytes(100)
IKE_LATER = SESSION * 2 + b"\x2e\x20\x23\x08" + struct.pack("!II", 1, 228) + bytes(200)  # IKE_AUTH, behind NAT on a port of its own


@pytest.mark.parametrize(("data", "what"), [
    (b"\x01\0\0\0" + bytes(144), "wireguard"), (b"\x04\0\0\0" + bytes(4) + struct.pack("<Q", 3) + bytes(80), "wireguard"),
    (bytes(4) + IKE_LATER, "ike"), (bytes(4) + IKE_1[:8] * 2 + IKE_1[16:], "ike"), (PLAIN, "openvpn"), (AUTH, "openvpn"), (CRYPT, "openvpn"), (CRYPT_2, "openvpn"), (CRYPT_3, "openvpn"),
    (IKE_2, "ike"), (IKE_1, "ike"), (bytes(4) + IKE_2, "ike"),
    (carriers.DATAGRAMS["vxlan"][1](captures.udp(captures.PHONE, 1, captures.FAR, 2, bytes(90))), "ip"),
    (struct.pack("!HHHH", 0xC802, 20, 0, 0) + bytes(12), "l2tp"),
])
def test_datagrams(data, what):
    assert tunnels.udp(data) == what
    assert tunnels.udp(data[:-1]) is NOT_MINE or what in ("openvpn", "wireguard", "ip")


@pytest.mark.parametrize(("data", "what"), [
    (b"SSH-2.0-OpenSSH_9.6\r\n", "ssh"), (b"\x05\x01\x00", "socks"), (b"\x05\x02\x00\x02\x05\x01\x00\x03", "socks"),
    (b"\x04\x01\x00\x50\x5d\xb8\xd8\x22anna\0", "socks"), (struct.pack("!HH", len(PLAIN), 0)[:2] + PLAIN, "openvpn"),
    (struct.pack("!HH", 156, 1) + tunnels.PPTP_MAGIC + bytes(148), "pptp"),
])
def test_streams(data, what):
    assert tunnels.tcp(data) == what


@pytest.mark.parametrize("data", [
    b"", b"\0", b"\x05", b"\x05\x01", b"\x05\x01\x00\x77", b"\x05\x20" + bytes(32), b"\x04\x01\x00\x50", b"\x04\x03\x00\x50\x01\x01\x01\x01\0",
    b"\0\x0e\x38", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00", bytes(200), b"\x38" + bytes(13),
    b"SSH-A /x HTTP/1.1\r\n", b"SSH- / HTTP/1.1\r\n",
])
def test_what_only_begins_like_one(data):
    assert tunnels.tcp(data) is NOT_MINE


@pytest.mark.parametrize("data", [
    b"", bytes(20), b"\x01\0\0\0" + bytes(100), b"\x01\x01\0\0" + b"\x21\x12\xa4\x42" + bytes(20),  # STUN is a call's, no tunnel
    b"\x80\x60" + bytes(170), b"\x04\0\0\0" + b"\xff" * 60, IKE_2[:60], SESSION * 2 + IKE_2[16:],
    bytes(4) + IKE_LATER + b"\0", bytes(4) + IKE_LATER[:19] + b"\x48" + IKE_LATER[20:], bytes(4) + IKE_LATER[:18] + b"\x02" + IKE_LATER[19:],
])
def test_datagrams_of_others(data):
    assert tunnels.udp(data) is NOT_MINE


def test_a_name_as_tor_makes_them():
    assert tunnels.like_tor("www.4wqh2vnsbr6lxq.com", ())
    assert not tunnels.like_tor("www.4wqh2vnsbr6lxq.com", ("h2",))
    for name in ("www.wikipediafoundation.com", "www.web24.com", "cdn.4wqh2vnsbr6lxq.com", "www.4wqh2vnsbr6lxq.org"):
        assert not tunnels.like_tor(name, ())


@given(st.binary(max_size=300) | st.sampled_from([PLAIN, AUTH, CRYPT, IKE_1, IKE_2]).flatmap(lambda data: st.integers(0, 60).map(lambda at: data[:at])))
def test_whatever_comes_there_is_an_answer(data):
    for read in (tunnels.tcp, tunnels.udp):
        assert read(data) is NOT_MINE or isinstance(read(data), str)


@pytest.mark.parametrize(("said", "hosts"), [
    (b"\x05\x01\0\x03\x08miui.com\x01\xbb", ("miui.com",)), (b"\x05\x01\0\x05\x01\0\x03\x08miui.com", ("miui.com",)),
    (b"\x05\x01\0\x03\x09miui.com", NEED_MORE), (b"\x05\x01\0\x01\x01\x02\x03\x04\0\x50", ()),
    (b"\x04\x01\0\x50\0\0\0\x01\0miui.com\0", ("miui.com",)), (b"\x04\x01\0\x50\x01\x02\x03\x04anna\0", ()), (b"", ()),
])
def test_the_host_that_a_socks_client_wants(said, hosts):
    assert tunnels.socks_hosts(said) == hosts
