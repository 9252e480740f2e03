"""`consentry setup` on a box with two wires and two ways to the internet: what phones get, what they cannot do to each other,
what follows when the way to the internet changes, and that `off --remove` leaves no trace.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import frames
import judge
import pytest
from dhcp import message
from homebox import HELPERS, SERVERS, HomeBox, home_box
from judge import wait_for
from plans import PLAN
from play import packed

from firewall.box.plan import render

pytestmark = pytest.mark.lab
LAN = "192.168.77."


def rules(box: HomeBox, *lines: str) -> None:
    made = [f'[[rule]]\naction = "{action}"\nmatch = "{match}"\n' for action, _, match in (line.partition(" ") for line in lines)]
    box.file("/var/lib/consentry/rules.toml").write_text("".join(made))


@pytest.fixture(scope="module")
def box() -> Iterator[HomeBox]:
    """Set up while nobody has a default route: the way to the internet comes later."""
    with home_box() as built:
        done = built.consentry("setup", "--mode", "inline", "--radio", "port1", "--enforce", check=False)
        assert "no way to the internet" in done.stderr, done.stderr
        rules(built, "block via:neighbour", "allow")
        built.run("ip", "link", "set", "port2", "master", "consentry0", "up")  # a second phone, as a probe would come in
        wait_for(lambda: built.file("/sys/class/net/port2/brport/isolated").read_text().strip() == "1")
        for phone in ("phone1", "phone2"):
            built.lease(phone, host=f"{phone}-[red]x")
        yield built


def leads(box: HomeBox, way: int) -> None:
    """The way to the internet is this one, and a phone gets there, this way, over IPv4 and IPv6."""
    script = "ip {0} route del default; ip {0} route add default via {1} dev up{2}"
    box.run("sh", "-c", "; ".join(script.format(*words, way) for words in (("-4", f"10.{way}.0.1"), ("-6", f"2001:db8:{way}::1"))), check=False)
    for server in SERVERS:
        wait_for(lambda server=server: box.knock("phone1", server) == "ECONNREFUSED", 20)
    table = box.run("nft", "list", "chain", "inet", "consentry", "nat_out").stdout
    assert f'oifname "up{way}"' in table


def test_a_phone_gets_an_address_a_router_and_our_resolver(box: HomeBox) -> None:
    told = box.lease("phone1", "Annas-Pixel")
    assert told["address"].startswith(LAN)
    assert told["router"] == told["dns"] == told["server"] == LAN + "1"
    wait_for(lambda: "Annas-Pixel" in [json.loads(line)["host"] for line in box.consentry("phones", "list", "--json").stdout.splitlines()])
    assert box.status["children"]["dnsmasq"]["state"] == "up"


def test_who_asks_for_an_address_of_another_network_is_told_that_it_is_not_his(box: HomeBox) -> None:
    """As a phone does that joins again after `setup --subnet auto`: it would wait for its old router else."""
    box.at("phone1", "python", str(HELPERS / "dhcp.py"), "eth0", "", "192.168.99.23")


def test_ipv6_addresses_come_by_themselves_and_nothing_is_called_near(box: HomeBox) -> None:
    subnet = json.loads(box.consentry("setup", "--mode", "inline", "--radio", "port1", "--dry-run", "--json").stdout)["plan"]["subnet6"]
    prefix = subnet.removesuffix("::/64")
    wait_for(lambda: prefix in box.at("phone1", "ip", "-6", "addr", "show", "dev", "eth0", "scope", "global").stdout, 20)
    routes = box.at("phone1", "ip", "-6", "route").stdout
    assert "default via fe80::" in routes
    assert not re.search(rf"^{prefix}::/64 dev eth0", routes, re.MULTILINE), routes  # not on-link: what is for a neighbour comes to the gate


def test_the_gate_follows_the_way_to_the_internet(box: HomeBox) -> None:
    for way in (1, 2, 1):
        leads(box, way)
    wait_for(lambda: box.children["uplink"].get("interface") == "up1")


def test_dnsmasq_is_started_again_and_says_why_it_cannot(box: HomeBox) -> None:
    pid = box.child("dnsmasq", "up", 40)["pid"]
    box.run("kill", "-9", str(pid))
    wait_for(lambda: box.child("dnsmasq", "up", 20)["pid"] != pid)


def test_what_is_taken_away_comes_back(box: HomeBox) -> None:
    box.run("ip", "addr", "flush", "dev", "consentry0")
    wait_for(lambda: LAN + "1" in box.run("ip", "addr", "show", "dev", "consentry0").stdout)
    box.run("ip", "link", "set", "consentry0", "down")
    wait_for(lambda: "UP" in box.shown("link", "show", "consentry0")[0]["flags"])
    box.run("ip", "link", "del", "consentry0")
    wait_for(lambda: box.file("/sys/class/net/consentry0/brif/port1").exists())
    box.run("ip", "link", "set", "port2", "master", "consentry0")  # it came by hand
    assert box.lease("phone1")["server"] == LAN + "1"
    wait_for(lambda: box.file("/sys/class/net/port2/brport/isolated").read_text().strip() == "1")
    wait_for(lambda: box.status["state"] == "ENFORCING")


# -- what one phone does to another -----------------------------------------------------------------------------------

LISTEN = """
import select, socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)); s.bind(("eth0", 0)); s.settimeout(0.3)
print("ready", flush=True); heard = 0
while True:
    try: frame = s.recv(4096)
    except TimeoutError:
        if select.select([sys.stdin], [], [], 0)[0]: break
        continue
    heard += frame[6:12] == bytes.fromhex("020000000102")
print(heard)
"""
HOSTILE = """
import socket, struct, time
mac = bytes.fromhex("020000000102")
def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data)); total = (total & 0xffff) + (total >> 16); return ~((total & 0xffff) + (total >> 16)) & 0xffff
src, dst = socket.inet_pton(10, "fe80::bad"), socket.inet_pton(10, "ff02::1")
def ra(check): return struct.pack("!BBHBBHII", 134, 0, check, 64, 0, 1800, 0, 0) + b"\\x01\\x01" + mac
body = ra(checksum(src + dst + struct.pack("!II", len(ra(0)), 58) + ra(0)))
router = bytes.fromhex("333300000001") + mac + b"\\x86\\xdd" + struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + src + dst + body
def offer(to):
    bootp = struct.pack("!BBBBIHH4s4s4s4s16s192x", 2, 1, 6, 0, 0x1234, 0, 0x8000, bytes(4), bytes([192,168,77,66]), bytes([192,168,77,66]), bytes(4), bytes.fromhex("020000000101")) + b"\\x63\\x82\\x53\\x63" + bytes([53, 1, 2, 54, 4, 192, 168, 77, 66, 255])
    udp = struct.pack("!HHHH", 67, 68, 8 + len(bootp), 0) + bootp
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, bytes([192,168,77,66]), b"\\xff" * 4)
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return to + mac + b"\\x08\\x00" + head + udp
arp = b"\\xff" * 6 + mac + b"\\x08\\x06" + struct.pack("!HHBBH6s4s6s4s", 1, 0x800, 6, 4, 2, mac, bytes([192,168,77,1]), b"\\xff" * 6, bytes([192,168,77,1]))
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(("eth0", 0))
for _ in range(5):
    for frame in (router, offer(b"\\xff" * 6), offer(bytes.fromhex("020000000101")), arp): s.send(frame)
    time.sleep(0.05)
"""


def test_no_phone_hears_another_ones_router_or_dhcp_server_and_the_box_believes_neither(box: HomeBox) -> None:
    listening = subprocess.Popen(
        ["ip", "netns", "exec", f"{box.name}-phone1", "python3", "-c", LISTEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )
    assert listening.stdout is not None
    assert listening.stdout.readline() == "ready\n"
    before = int(box.file("/sys/class/net/port2/statistics/rx_packets").read_text())
    box.at("phone2", "python3", "-c", HOSTILE)
    assert int(box.file("/sys/class/net/port2/statistics/rx_packets").read_text()) >= before + 20  # it did send
    assert listening.communicate("enough", timeout=30)[0].strip() == "0"
    assert "fe80::bad" not in box.run("ip", "-6", "route").stdout
    assert "02:00:00:00:01:02" not in box.at("phone1", "ip", "neigh", "show", LAN + "1").stdout


ECHO = """
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind(("::", 9))
while True: s.sendto(*s.recvfrom(99))
"""


def test_what_one_phone_sends_another_comes_to_the_gate_and_is_refused_there(box: HomeBox) -> None:
    address = json.loads(box.at("phone2", "ip", "-j", "-4", "addr", "show", "dev", "eth0").stdout)[0]["addr_info"][0]["local"]
    wait_for(lambda: box.knock("phone1", address) == "EHOSTUNREACH")
    gate = box.file("/sys/class/net/consentry0/address").read_text().strip()
    assert gate in box.at("phone1", "ip", "neigh", "show", address).stdout  # so it was asked, and said no
    told = wait_for(lambda: re.search(r"inet6 (\S+)/", box.at("phone2", "ip", "-6", "addr", "show", "dev", "eth0", "scope", "global", "-tentative").stdout))
    six = told[1]
    wait_for(lambda: box.knock("phone1", six) == "EACCES")  # ICMPv6 1/1: administratively prohibited, so the gate was asked
    rules(box, f"allow addr:{address},{six}", "block via:neighbour", "allow")
    with box.started("phone2", "python3", "-c", ECHO):
        for to in (address, six):
            wait_for(lambda to=to: box.knock("phone1", to) == "answered")  # by proxy ARP, and by a prefix that is not on-link
    rules(box, "block via:neighbour", "allow")
    wait_for(lambda: (box.knock("phone1", address), box.knock("phone1", six)) == ("EHOSTUNREACH", "EACCES"))


VICTIM, LIAR = bytes.fromhex("020000000101"), bytes.fromhex("020000000102")
INVENTED = [bytes.fromhex(f"0200000002{number:02x}") for number in range(5)]
ROUTER = "192.168.77.1"
REQUEST, DECLINE, RELEASE = 3, 4, 7
OURS = b"\x36\x04" + packed(ROUTER)


def leases(box: HomeBox) -> dict[bytes, str]:
    """All, also of other kinds of hardware (`06-02:...`)."""
    told = [line.split() for line in box.file("/var/lib/consentry/leases").read_text().splitlines() if not line.startswith("duid ")]
    return {bytes.fromhex(mac.replace(":", "").replace("-", "")): addr for _, mac, addr, *_ in told}


def said(sender: bytes, kind: int, chaddr: bytes, more: bytes = b"", *, own: str = "0.0.0.0", to: str = "255.255.255.255", ciaddr: str = "0.0.0.0", hardware: bytes = b"\x01\x06") -> bytes:
    """A frame. `own` and `to` are IP's addresses, the others are DHCP's."""
    told = message(chaddr, bytes((53, 1, kind)) + more)
    told = told[:1] + hardware + told[3:12] + packed(ciaddr) + told[16:]
    return b"\xff" * 6 + frames.udp(sender, own, to, 67, told, sport=68)[6:]


def test_a_lease_is_its_senders(box: HomeBox) -> None:
    """Every lie has its control: the same from the sender that it speaks of does what it says. Judged by what dnsmasq has leased."""
    first, own = box.lease("phone1")["address"], box.lease("phone2")["address"]
    known = {VICTIM: first, LIAR: own}
    assert leases(box) == known
    asked = b"\x32\x04" + packed(first)
    lies = [
        said(LIAR, RELEASE, VICTIM, OURS, ciaddr=first),
        said(LIAR, RELEASE, VICTIM, OURS, ciaddr=first, own=first, to=ROUTER),
        said(LIAR, DECLINE, VICTIM, OURS + asked),
        said(LIAR, REQUEST, VICTIM, b"\x32\x04" + packed("192.168.77.200")),
        said(LIAR, REQUEST, LIAR, asked + b"\x3d\x07\x01" + VICTIM),  # the victim's, by a client identifier
        *(said(LIAR, REQUEST, one, b"\x32\x04" + packed(f"192.168.77.{210 + number}")) for number, one in enumerate(INVENTED)),
        said(LIAR, REQUEST, LIAR + b"\x07", b"\x32\x04" + packed("192.168.77.221"), hardware=b"\x01\x07"),  # seven bytes
        said(LIAR, REQUEST, LIAR, b"\x32\x04" + packed("192.168.77.222"), hardware=b"\x06\x06"),  # another kind of network
    ]
    frames.send(f"{box.name}-phone2", said(LIAR, REQUEST, LIAR, own=own, to=ROUTER, ciaddr=own))  # renewed: a connection
    assert box.lease("phone2")["address"] == own  # asked behind it
    frames.send(f"{box.name}-phone2", said(LIAR, RELEASE, VICTIM, OURS, ciaddr=first, own=own, to=ROUTER), *lies)
    assert box.lease("phone2")["address"] == own  # asked behind them all
    assert leases(box) == known
    assert "packets 0 " not in box.run("nft", "list", "counter", "inet", "consentry", "forged").stdout

    frames.send(f"{box.name}-phone2", said(INVENTED[0], REQUEST, INVENTED[0], b"\x32\x04" + packed("192.168.77.210")))
    wait_for(lambda: leases(box).get(INVENTED[0]) == "192.168.77.210")
    frames.send(f"{box.name}-phone1", said(VICTIM, RELEASE, VICTIM, OURS, ciaddr=first))
    wait_for(lambda: VICTIM not in leases(box))
    box.lease("phone1")


def test_one_armed_a_phone_goes_through_the_gate_and_by_the_wires_own_interface_nowhere() -> None:
    with home_box() as box:
        box.share_the_wire()
        box.run("ip", "route", "add", "default", "via", "10.1.0.1")
        box.run("ip", "-6", "route", "add", "default", "via", "2001:db8:1::1")
        box.consentry("setup", "--mode", "one-armed", "--enforce")
        gate6 = next(one["local"] for one in box.shown("-6", "addr", "show", "dev", "consentry0", "scope", "global")[0]["addr_info"])
        box.file("/var/lib/consentry/rules.toml").write_text('[[rule]]\naction = "allow"\nmatch = ""\n')
        box.at("phone2", "sh", "-ec", f"""
            ip addr add 192.168.77.50/24 dev eth0; ip addr add {gate6}50/64 dev eth0 nodad
            ip route add default via 192.168.77.1; ip -6 route add default via {gate6}
        """)
        for server in SERVERS:
            wait_for(lambda server=server: box.knock("phone2", server) == "ECONNREFUSED")
        assert box.file("/sys/class/net/consentry0/address").read_text().strip() in box.at("phone2", "ip", "neigh").stdout
        assert box.status["wan"] == "up1"
        wire = box.file("/sys/class/net/up1/address").read_text().strip()
        for gate, server in zip(("192.168.77.1", gate6), SERVERS, strict=True):
            box.at("phone2", "ip", "neigh", "replace", gate, "lladdr", wire, "dev", "eth0", "nud", "permanent")
            assert box.knock("phone2", server) == "nothing"
        box.consentry("setup", "--dhcp")  # the wire's other server is off
        box.child("dnsmasq", "up", 40)
        assert box.lease("phone2")["router"] == "192.168.77.1"
        # Its owner writes another plan, and changes his mind: what the first one made goes; then writes nonsense.
        box.consentry("setup", "--mode", "inline", "--radio", "port1")
        assert "10.9.0.2" not in box.run("ip", "addr").stdout
        plan = box.file("/etc/consentry/gateway.toml")
        plan.write_text(plan.read_text().replace('"port1"', '"port9"'))
        box.run("ip", "link", "add", "port9", "type", "veth", "peer", "name", "far9")
        box.run("sh", "-c", "kill $(cat /run/consentry/keeper.pid)")
        wait_for(lambda: not box.file(f"/proc/{box.file('/run/consentry/keeper.pid').read_text().strip()}").exists())
        box.consentry("run")
        wait_for(lambda: box.file("/sys/class/net/consentry0/brif/port9").exists())
        assert "10.9.0.2/24" in box.run("ip", "addr", "show", "dev", "port1").stdout
        plan.write_text("mode = ")
        box.run("ip", "link", "del", "up1")  # the wire goes, and what stood on it
        box.consentry("off", "--remove")
        assert "blackhole" not in box.run("ip", "rule").stdout + box.run("ip", "-6", "rule").stdout
        assert "consentry" not in box.run("nft", "list", "tables").stdout + box.run("ip", "link").stdout + box.run("find", "/etc/consentry", check=False).stdout


# -- what cannot come up says why -----------------------------------------------------------------------------------------

OCCUPY = "import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 67)); print('has it', flush=True); time.sleep(600)"


def test_a_radio_that_is_not_there_and_another_dhcp_server_are_states_with_a_remedy_and_end_by_themselves() -> None:
    with home_box() as box:
        box.file("/etc/consentry").mkdir()
        box.file("/etc/consentry/gateway.toml").write_text(render(PLAN))
        with box.running("python", "-c", OCCUPY) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "has it\n"
            with box.running("python", "-m", "firewall.cli", "keeper") as keeper:
                told = box.child("hostapd", "failed")
                assert wait_for(lambda: box.children["dnsmasq"]["state"] == "failed" and box.children["hostapd"])["since"] == told["since"]
                assert (told["reason"], told["remedy"]) == ("the radio wlan0 is not there", "plug it in; it is used at once")
                told = box.child("dnsmasq", "failed")
                assert told["reason"] == "another DHCP server has port 67 of this box"
                other.kill()
                box.child("dnsmasq", "up", 20)
                box.run("ip", "link", "add", "wlan0", "type", "veth", "peer", "name", "wlan0-far")  # no radio, but there
                told = wait_for(lambda: (child := box.children["hostapd"])["reason"] != "the radio wlan0 is not there" and child)
                assert re.search("this kernel has no Wi-Fi|the driver of wlan0|the radio wlan0", wait_for(lambda: box.children["hostapd"]["reason"]))
                box.run("ip", "route", "add", "default", "via", "10.2.0.1")
                box.child("uplink", "up")
                box.run("ip", "addr", "add", "192.168.77.130/25", "dev", "up2")
                told = box.child("uplink", "failed")
                assert "192.168.77.128/25, and the phones' is 192.168.77.0/24: they collide" in told["reason"]
                assert "router" in neighbours_told(box)
                keeper.terminate()
                assert keeper.wait(timeout=30) == 0
        assert {child["state"] for name, child in box.children.items() if name in {"hostapd", "dnsmasq"}} == {"off"}


def neighbours_told(box: HomeBox) -> str:
    """What a phone's kernel knows of the box while no gate runs yet: phones drop a default route to who is no router."""
    box.run("ip", "link", "set", "port2", "master", "consentry0", "up")
    gate = PLAN.address6.ip
    box.at("phone2", "ip", "addr", "add", f"{gate + 0x76}/64", "dev", "eth0", "nodad")
    wait_for(lambda: box.knock("phone2", str(gate)) == "ECONNREFUSED")
    return box.at("phone2", "ip", "-6", "neigh", "show", str(gate)).stdout


def test_the_next_run_of_the_tests_takes_down_what_one_that_was_killed_has_left() -> None:
    with subprocess.Popen(["true"]) as dead:
        pass
    names = [f"ck{dead.pid}-0-box", f"ckb-{dead.pid}-phone"]
    for name in names:
        subprocess.run(["ip", "netns", "add", name], check=True)
    with subprocess.Popen(["ip", "netns", "exec", names[0], "sleep", "600"]) as left:
        try:
            wait_for(lambda: subprocess.check_output(["ip", "netns", "pids", names[0]]))
            judge.sweep()
            assert left.wait(30) == -9
        finally:
            left.kill()
    assert not any(Path("/run/netns", name).exists() for name in names)


# -- and back ---------------------------------------------------------------------------------------------------------


def traces(box: HomeBox) -> dict[str, str]:
    """Everything about the network that setup could leave behind."""
    transient = {"valid_life_time", "preferred_life_time", "tentative", "expires", "ifindex"}

    def plain(told: object) -> object:
        if isinstance(told, dict):
            return {key: plain(value) for key, value in told.items() if key not in transient}
        return sorted((plain(one) for one in told), key=str) if isinstance(told, list) else told  # routes come in any order

    found = {" ".join(words): json.dumps(plain(box.shown(*words)), sort_keys=True) for words in (("addr",), ("-4", "route", "show", "table", "all"), ("-6", "route"), ("-4", "rule"), ("-6", "rule"))}
    found["nft"] = "".join(sorted(re.findall(r"^table \S+ consentry.*$", box.run("nft", "list", "tables").stdout, re.MULTILINE)))
    found["sysctl"] = "\n".join(line for line in box.run("sysctl", "-a").stdout.splitlines() if re.match(r"net\.(ipv4\.(conf|ip_forward|icmp_ratelimit)|ipv6\.(conf|icmp\.ratelimit)|netfilter\.nf_conntrack_(tcp_loose|acct|events|checksum))", line) and "stable_secret" not in line)
    found["files"] = box.run("sh", "-c", "find /etc /run -newer /run/NetworkManager -type f -o -path '*consentry*' | sort").stdout
    return found


def test_off_leaves_no_trace() -> None:
    with home_box() as box:
        box.run("ip", "route", "add", "default", "via", "10.1.0.1")
        before = traces(box)
        printed = box.consentry("setup", "--mode", "inline", "--radio", "port1", "--dry-run").stdout
        for words in ("# /etc/consentry/gateway.toml (mode 0600)", "# /run/consentry/dnsmasq.conf", "ip link set port1 master consentry0", "ipv6/conf/port1/disable_ipv6 = 1", "ip rule add pref 0 iif consentry0"):
            assert words in printed
        assert traces(box) == before
        box.consentry("setup", "--mode", "inline", "--radio", "port1")
        assert box.file("/etc/consentry/gateway.toml").stat().st_mode & 0o777 == 0o600
        assert "interface-name:port1" in box.file("/etc/NetworkManager/conf.d/90-consentry.conf").read_text()
        during = traces(box)
        printed = box.consentry("setup", "--mode", "inline", "--radio", "port1", "--dry-run").stdout
        for path, text in re.findall(r"^# (/\S+) \(mode .*?\)\n(.*?)\n(?=^# )", printed, re.MULTILINE | re.DOTALL):
            assert box.file(path).read_text() == text, path
        changed = {line.partition(" = ")[0].removeprefix("net.").replace(".", "/") for line in set(during["sysctl"].splitlines()) - set(before["sysctl"].splitlines())}
        follows = {name for name in changed if re.fullmatch(r"ipv[46]/conf/\w+/(forwarding|accept_redirects|mc_forwarding)|ipv./conf/consentry0/.*", name)}  # the kernel's own
        assert changed - follows
        assert [name for name in changed - follows if f"{name} = " not in printed] == []
        assert {name for name in before if before[name] != during[name]} == set(before)  # all of them would tell
        said = box.consentry("off", "--remove").stdout
        assert "unfiltered" in said
        after = traces(box)
        after["files"] = "".join(line + "\n" for line in after["files"].splitlines() if not line.startswith(("/run/consentry", "/run/xtables.lock")))
        assert after == before
