"""IPv6 is no way around the rules: headers in front of what counts, fragments, and IPv4 addresses in other clothes.

Whole frames, made by hand on a phone. What may pass has the same form as what may not, and is the control of the same run.
"""

from __future__ import annotations

import itertools
import re
import time
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import families
import frames
import pytest
from frames import DESTINATION, FRAGMENT, HOP_BY_HOP, PADDING, ROUTING, behind, loose, pieces, route, with_options
from judge import Lab, wait_for
from play import packed

from firewall.selftest import packets

pytestmark = pytest.mark.lab

MAC = bytes.fromhex("020000000101")
PHONE = {4: "10.77.0.10", 6: "2001:db8:77::10"}
FRIEND = {4: "198.51.100.90", 6: "2001:db8:feed::90"}
LISTED = {4: "42.62.48.181", 6: "2001:dc7::77"}
FORMS = {  # what it is, and how it looks
    "mapped": ("v4-mapped", "::ffff:{}"), "nat64": ("behind the NAT64 prefix that all know (64:ff9b::/96)", "64:ff9b::{}"),
    "own-nat64": ("behind this network's own NAT64 prefix", "2001:db8:64::{}"), "6to4": ("in 6to4", "2002:{}::1"),
    "isatap": ("in ISATAP", "2001:db8:5::200:5efe:{}"), "of-old": ("as two forms of old have it", "::ffff:0:{}"),
    "local-nat64": ("behind a NAT64 prefix of some network (64:ff9b:1::/48)", "64:ff9b:1:7::{}"),
    "teredo": ("as a Teredo client", "2001:0:102:304:8000:1:{}"), "served": ("as the server of a Teredo address", "2001:0:{}:8000:1:39cc:9ba5"),
}
HEADERS = [  # what, what becomes of it to a listed address or port, and to a friend's
    ("IPv6 extension headers in front of what counts: one, several, seven", "decided by address", "arrives"),
    ("a fragment header alone, fragments, fragments in reverse", "decided by address", "arrives"),
    ("a port in a fragment behind the first one (RFC 7112), or behind nine headers", "refused", "refused too"),
    ("IPv6 routing headers, IPv4 source routes and other options", "refused", "refused too"),
    ("ICMP that is no request for an echo, to a place beyond the phones' network", "refused", "refused too"),
]
BESIDE = {"served", "isatap", "of-old", "local-nat64"}  # Python's alone: not everywhere such an address leads there
_ports = itertools.count(41_000)


def udp(token: str, dst: str, port: int = 5555) -> bytes:
    return frames.udp(MAC, PHONE[6 if ":" in dst else 4], dst, port, token.encode(), sport=next(_ports))


def clad(form: str, addr: str) -> str:
    """An IPv4 address in an IPv6 one."""
    number = int(IPv4Address(addr)) ^ (0xFFFFFFFF if form == "teredo" else 0)
    return str(IPv6Address(FORMS[form][1].format(f"{number >> 16:x}:{number & 0xFFFF:x}")))


def six(token: str, dst: str, port: int) -> dict[str, list[bytes]]:
    """Token -> one datagram, said in every lawful way."""
    def said(way: str) -> bytes:
        return udp(f"{token}-{way}.", dst, port)

    option, many = (DESTINATION, PADDING), [(DESTINATION, PADDING)] * 7
    made = {
        "plain": [said("plain")],
        "hop": [behind(said("hop"), (HOP_BY_HOP, PADDING))],
        "dest": [behind(said("dest"), option)],
        "both": [behind(said("both"), (HOP_BY_HOP, PADDING), option)],
        "seven": [behind(said("seven"), *many)],
        "atomic": [behind(said("atomic"), (FRAGMENT, b"\0\0\0\0\0\0\x09"))],
        "pieces": pieces(said("pieces"), 8, 16, ident=int(IPv6Address(dst)) & 0xFFFF | port << 16),
        "reversed": pieces(said("reversed"), 8, ident=(int(IPv6Address(dst)) & 0xFFFF | port << 16) + 1)[::-1],
    }
    return {f"{token}-{way}.": sent for way, sent in made.items()}


def four(token: str, dst: str, port: int) -> dict[str, list[bytes]]:
    def said(way: str) -> bytes:
        return udp(f"{token}-{way}.", dst, port)

    made = {
        "plain": [said("plain")], "pieces": pieces(said("pieces"), 8, 16, ident=port),
        "reversed": pieces(said("reversed"), 8, ident=port + 1)[::-1],
    }
    return {f"{token}-{way}.": sent for way, sent in made.items()}


def send(lab: Lab, said: dict[str, list[bytes]]) -> None:
    frames.send(lab.namespaces["phones"][0], *(frame for one in said.values() for frame in one))


def arrived(lab: Lab, said: dict[str, list[bytes]]) -> set[str]:
    payloads = [row["payload"] for row in lab.sinks()]
    return {token for token in said if any(token in payload for payload in payloads)}


@pytest.mark.parametrize("family", [4, 6])
def test_no_header_and_no_fragment_hides_an_address_or_a_port(lab: Lab, family: int) -> None:
    ways = six if family == 6 else four
    listed, private = ways(f"listed{family}", LISTED[family], 5555), ways(f"dot{family}", FRIEND[family], 853)
    friend = ways(f"friend{family}", FRIEND[family], 5556)
    if family == 6:
        detours = {f"route{n}.": [behind(udp(f"route{n}.", FRIEND[6]), (ROUTING, body))] for n, body in enumerate(
            (route(LISTED[6]), route(LISTED[6], left=0), route(LISTED[6], kind=4), route(LISTED[6], kind=2)),
        )}
        detours["late."] = [behind(udp("late.", FRIEND[6]), (DESTINATION, PADDING), (ROUTING, route(LISTED[6])))]
        hidden = behind(udp("hidden.", FRIEND[6], 853), *[(DESTINATION, PADDING)] * 7)
        detours["hidden."] = pieces(hidden, 8, 56, ident=1)  # the port is in the last one: no host takes that (RFC 7112)
        nine = [(DESTINATION, PADDING)] * 9
        detours |= {f"nine-{who}.": [behind(udp(f"nine-{who}.", to[6]), *nine)] for who, to in (("listed", LISTED), ("friend", FRIEND))}
    else:
        options = {"loose.": loose(LISTED[4]), "strict.": b"\x89" + loose(LISTED[4])[1:], "record.": b"\x07\x07\x04" + bytes(5), "nop.": b"\x01" * 4}
        detours = {token: [with_options(udp(token, FRIEND[4]), option)] for token, option in options.items()}
    send(lab, listed | private | detours | friend)
    wait_for(lambda: arrived(lab, friend) == set(friend))
    time.sleep(0.5)
    assert arrived(lab, listed | private | detours) == set()
    rows = wait_for(lambda: lab.history(f"addr:{LISTED[family]} verdict:refused last:5m"), 3)
    assert rows[0]["service"] == "cnnic-own" if family == 6 else "xiaomi" in rows[0]["service"]


def test_an_ipv4_address_in_other_clothes_is_the_same_address(lab: Lab) -> None:
    """In the kernel's sets, so that it is refused with no daemon alive, and in Python's words. What only may lead there is Python's alone."""
    def held() -> bool:
        return all(
            lab.gateway("nft", "get", "element", "inet", "consentry", "refused6", f"{{ {clad(form, LISTED[4])} }}", check=False).returncode == 0
            for form in FORMS if form not in {"teredo", *BESIDE}
        )

    wait_for(held)  # our upstream has told where this network's own translator is
    assert "2001::/32" in lab.gateway("nft", "list", "chain", "inet", "consentry", "lists").stdout
    listed = {f"clad-{form}.": [udp(f"clad-{form}.", clad(form, LISTED[4]))] for form in FORMS}
    friend = {f"free-{form}.": [udp(f"free-{form}.", clad(form, FRIEND[4]))] for form in FORMS}
    listed["plain4."], friend["free4."] = [udp("plain4.", LISTED[4])], [udp("free4.", FRIEND[4])]
    send(lab, listed | friend)
    wait_for(lambda: arrived(lab, friend) == set(friend))
    time.sleep(0.5)
    assert arrived(lab, listed) == set()
    wait_for(lambda: {row["dst"] for row in lab.history("addr:42.62.48.0/24 verdict:refused last:5m")} >= {clad(form, LISTED[4]) for form in FORMS if form != "own-nat64"}, 3)


@pytest.mark.parametrize("family", [4, 6])
def test_of_icmp_only_an_echo_begins_a_flow(lab: Lab, family: int, tmp_path: Path) -> None:
    """A neighbour's words (some of which conntrack does not track), a timestamp, an error about nothing could carry anything out."""
    echo, others = (8, (0, 3, 5, 9, 10, 11, 13, 15, 17, 30, 42)) if family == 4 else (128, (1, 2, 129, 130, 131, 133, 134, 135, 136, 137, 139, 143, 144, 160, 200))
    said = [frames.icmp(MAC, PHONE[family], to[family], kind, f"icmp-{kind}-{who}.".encode()) for kind in (*others, echo) for who, to in (("listed", LISTED), ("friend", FRIEND))]
    with lab.capture(tmp_path / "outer.pcap") as file:
        send(lab, {"echo": said})
        wait_for(lambda: b"icmp-%d-friend." % echo in file.read_bytes())
        send(lab, {"last": [udp(f"behind{family}.", FRIEND[family])]})
        wait_for(lambda: arrived(lab, {f"behind{family}.": []}))
    assert set(re.findall(rb"icmp-\d+-\w+\.", file.read_bytes())) == {b"icmp-%d-friend." % echo}


def test_the_judge_of_both_families_hears_what_goes_through_the_gate_and_nothing_else(lab: Lab) -> None:
    """Else a test that uses one IP version only would not be found (helpers/families.py)."""
    near = ("10.77.0.1", "10.77.0.11", "2001:db8:77::1", "fe80::1", "ff02::1", "224.0.0.251")
    for places, heard in ((near, set()), ([FRIEND[4]], {4}), ([clad("mapped", LISTED[4])], {6}), ([*near, LISTED[6]], {6}), (FRIEND.values(), {4, 6})):
        families.crossed()
        frames.send(lab.namespaces["phones"][0], *(udp("heard.", place) for place in places))
        assert families.crossed() == heard


@pytest.mark.parametrize("family", [4, 6])
def test_the_judge_of_both_families_does_not_hear_a_kernel_go_on_after_its_programs(lab: Lab, family: int) -> None:
    """The last acknowledgement, an end said again, a port that is closed by now: they come in another test's time."""
    phone = lab.namespaces["phones"][0]
    source, to = packed(PHONE[family]), packed(FRIEND[family])

    def error(kind: int) -> bytes:
        return packets.frame(frames.GATEWAY_MAC, MAC, packets.ip(source, to, 1 if family == 4 else 58, bytes((kind, 3)) + bytes(6)))

    def segment(flags: int) -> bytes:
        return frames.tcp(MAC, PHONE[family], next(_ports), FRIEND[family], 4444, seq=1, ack=1, flags=flags)

    unreachable, echo = (3, 8) if family == 4 else (1, 128)
    for frame, heard in ((segment(0x10), set()), (segment(0x11), set()), (error(unreachable), set()), (segment(0x02), {family}), (error(echo), {family})):
        families.crossed()
        frames.send(phone, frame)
        assert families.crossed() == heard


def test_the_docs_say_what_becomes_of_each() -> None:
    text = (Path(__file__).parents[2] / "docs/evasion.md").read_text("utf-8")
    told = [tuple(cell.strip() for cell in line.strip("|").split("|")[1:]) for line in re.findall(r"^\| E27 .*$", text, re.MULTILINE)]
    forms = [(f"a listed IPv4 address {what}", "decided by address", "arrives") for what, _ in FORMS.values()]
    assert told == [*forms, *HEADERS]
