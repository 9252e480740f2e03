"""`make unbroken`, QUIC's part: what is held is not lost, and what others say is not broken. Some ten minutes.

5,000 hellos of three datagrams through masquerade, in four ways; every agreed QUIC hello of ../shared/data/pcaps said again
live, through a gate whose rules need the name; Chromium over HTTP/3, where it is installed. Judged by the sinks. Writes
tests/campaign/quic.md. Arguments: names of parts (none: all, and the file is written).
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
import corpora
import families
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from judge import BY_NAME, Lab, lab_up, wait_for
from quichellos import BEHIND, DATAGRAMS, SIZE

from firewall.capture import Capture
from firewall.dissect import NOT_MINE, ip, link
from firewall.recorded import Listener

HERE = Path(__file__).parent
HELPERS = HERE.parent / "helpers"
COUNT = 5_000
WHOLE = DATAGRAMS * SIZE + BEHIND * 100
ECHO = 8443
PLACES = {"IPv4": "100.64.{}.{}", "IPv6": "2001:db8:beef::{:x}:{:x}"}


def hellos(lab: Lab) -> Iterator[str]:
    for number, (family, place) in enumerate(PLACES.items()):
        for gso, how in enumerate(("three datagrams", "one piece that the kernel cuts (GSO)")):
            addr, first = place.format(7, gso), 20_000 + 10_000 * gso
            words = [str(HELPERS / "quichellos.py"), addr, str(ECHO), f"n{number}.friendly.example", str(COUNT), str(first), *["gso"][:gso]]
            told = json.loads(lab.phone(sys.executable, *words, timeout=900).stdout)
            sizes = Counter(row["bytes"] for row in lab.sinks_quietly() if row["dst"] == addr)
            broken = "" if told["whole"] == sizes[WHOLE] == COUNT else ", broken: some were lost"
            yield f"{family}, {how}: {told['whole']} of {COUNT} hellos came back whole, {sizes[WHOLE]} had arrived from one port each{broken}"
    lines = lab.gateway("cat", "/proc/net/stat/nf_conntrack").stdout.splitlines()[1:]
    yield f"clashes of unconfirmed connections that the kernel resolved: {sum(int(line.split()[1], 16) for line in lines)}"


def said() -> Iterator[tuple[str, list[bytes]]]:
    """Of each agreed QUIC row of the corpora: its name, and what the client sent until it was said."""
    for file, rows in corpora.wanted().items():
        left = {ends: row for row in rows if row.kind == corpora.QUIC for ends in ((row.a, row.b), (row.b, row.a))}
        flows: dict[tuple[str, str], tuple[list[bytes], Listener]] = {}
        for _, kind, frame in Capture(corpora.CORPORA / file) if left else ():
            start = link.ip_at(kind, frame)
            packet = ip.parse(raw := frame[start:]) if start >= 0 else NOT_MINE
            if packet is NOT_MINE or packet.proto != ip.UDP:
                continue
            ends = corpora.end(str(ip_address(packet.src)), packet.sport), corpora.end(str(ip_address(packet.dst)), packet.dport)
            if ends not in left:
                continue
            datagrams, ears = flows.setdefault(ends, ([], Listener(ip.UDP)))
            datagrams.append(raw[packet.payload : packet.end])
            ears.hear(datagrams[-1])
            if left[ends].host in {name.name for name in (*ears.said, *ears.literals)}:
                yield left.pop(ends).host, datagrams
                left.pop(ends[::-1], None)


def relived(lab: Lab) -> Iterator[str]:
    flights = list(said())
    of = sum(row.kind == corpora.QUIC for rows in corpora.wanted().values() for row in rows)
    for family, place in PLACES.items():
        addrs = [place.format(n >> 8, n & 255) for n in range(len(flights))]
        cases = [
            {"case": str(n), "addr": addrs[n], "port": ECHO, "raw": [data.hex() for data in datagrams], "pause": 0.002, "seconds": 0.1}
            for n, (_, datagrams) in enumerate(flights)
        ]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "cases")
            file.write_text(json.dumps(cases))
            lab.phone(sys.executable, str(HELPERS / "quicphone.py"), str(file), timeout=300)
        sent = [sum(map(len, datagrams)) for _, datagrams in flights]
        there: Counter[str] = Counter()
        for row in lab.sinks_quietly():
            there[row["dst"]] += row["bytes"]
        whole = [there[str(ip_address(addr))] == size for addr, size in zip(addrs, sent, strict=True)]
        named = {name["name"] for row in wait_for(lambda: lab.history("last:1h")) for name in row["names"]}
        missing = sorted({name for name, _ in flights if not name.replace(".", "").replace(":", "").isdigit()} - named)
        yield f"{family}: of {of} agreed QUIC rows {len(flights)} could be said again, {sum(whole)} arrived whole"
        yield from (f"    broken: {name}" for (name, _), fine in zip(flights, whole, strict=True) if not fine)
        yield f"{family}: names that the gate did not see: {', '.join(missing) or 'none'}"


def chromium(lab: Lab) -> Iterator[str]:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if not program:
        yield "Chromium: not installed here"
        return
    ask = "import ssl; print(ssl.get_server_certificate(('198.51.100.90', 443)))"
    pem = lab.phone(sys.executable, "-c", ask).stdout
    key = x509.load_der_x509_certificate(ssl.PEM_cert_to_DER_cert(pem)).public_key()
    pin = base64.b64encode(hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()).decode()
    for word, verdict in (("friendly.example", "arrived"), ("nobody.invalid", "arrived though refused")):
        arrived = 0
        for number in range(5):
            host, addr = f"quic{number}.{word}", PLACES["IPv6" if number % 2 else "IPv4"].format(9, number)
            with tempfile.TemporaryDirectory() as folder:
                lab.phone(
                    program, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}", f"--ignore-certificate-errors-spki-list={pin}",
                    f"--origin-to-force-quic-on={host}:443", f"--host-resolver-rules=MAP {host} [{addr}]" if ":" in addr else f"--host-resolver-rules=MAP {host} {addr}",
                    "--dump-dom", f"https://{host}/", check=False, timeout=120,
                )
            arrived += any(row["name"] == host and row["proto"] == "quic" for row in lab.sinks_quietly())
        broken = ", broken" if arrived != (5 if word == "friendly.example" else 0) else ""
        yield f"Chromium over HTTP/3: {arrived} of 5 {verdict}{broken}"


PARTS = {"hellos": hellos, "relived": relived, "chromium": chromium}


class Quietly(Lab):
    def sinks_quietly(self) -> list[dict]:
        """Records also where payloads were more than the journal keeps: only sizes count here."""
        return [json.loads(line) for line in self.consentry("lab", "sinks", "--json", check=False, timeout=300).stdout.splitlines()]


def main(chosen: list[str]) -> int:
    commit = subprocess.run(["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    lines = []
    for name in chosen or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            rules = Path(folder, "rules.toml")
            rules.write_text(BY_NAME)
            with lab_up(rules) as lab:
                for line in families.told(PARTS[name](Quietly(lab.name))):
                    print(line, flush=True)
                    lines.append(line if line.startswith(" ") else f"* {line}")
    if not chosen:
        head = f"`make unbroken` on {time.strftime('%F %H:%M')}, {commit}, Linux {os.uname().release}, {os.cpu_count()} cores."
        load = f"The machine's load afterwards: {os.getloadavg()[1]:.1f}."
        (HERE / "quic.md").write_text("\n".join(["# QUIC at length", "", head, load, "", *lines]) + "\n")
    return any("broken" in line for line in lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
