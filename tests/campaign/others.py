"""`make others DIRS=...`: any folder of captures, every name that tshark finds in them beside what replay tells.

As they are, with each side's segments reversed, and with every packet twice. Prints what differs, with the reason where
that is known; the exit status is 1 if less than 99 % of the names of TLS, QUIC or HTTP match, or a file raises.
"""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
import corpora

from firewall.capture import Capture, CaptureError, Frame
from firewall.dissect.host import address, host_name

NAMES = {  # tshark's field -> what it is of
    "tls.handshake.extensions_server_name": "TLS", "dtls.handshake.extensions_server_name": "DTLS", "http.host": "HTTP",
    "http2.headers.authority": "HTTP", "gquic.tag.sni": "Google's QUIC",
}
ENDS = ("ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "tcp.srcport", "tcp.dstport", "udp.srcport", "udp.dstport")
FIELDS = ("frame.protocols", "frame.len", "frame.cap_len", "icmp.type", "icmpv6.type", *ENDS, *NAMES)
MEASURED = ("TLS", "QUIC", "HTTP")
SEPARATOR = "\x1f"
Flow = tuple[str, frozenset[str]]  # tcp or udp, and its ends
Wanted = dict[tuple[str, str], str]  # what it is of, and the name -> the protocols around it


def told(path: Path) -> dict[Flow, Wanted]:
    """The names that tshark finds, in their order; of packets within packets the innermost flow has them."""
    command = ["tshark", "-n", "-r", str(path), "-o", "tcp.reassemble_out_of_order:TRUE", "-T", "fields"]
    command += ["-E", "separator=/t", "-E", "occurrence=a", "-E", f"aggregator={SEPARATOR}"]
    command += [word for field in FIELDS for word in ("-e", field)]
    text = subprocess.run(command, capture_output=True, check=False).stdout.decode("utf-8", "replace")
    found: dict[Flow, Wanted] = defaultdict(dict)
    for line in text.splitlines():
        row = dict(zip(FIELDS, (cell.split(SEPARATOR) if cell else [] for cell in line.split("\t")), strict=False))
        if len(row) < len(FIELDS) or row["icmp.type"] or row["icmpv6.type"] or not any(row[field] for field in NAMES):
            continue
        protocols = row["frame.protocols"][0].split(":") + ["cut"] * (row["frame.len"] != row["frame.cap_len"])
        carried = [word for word in protocols if word in {"tcp", "udp"}]
        around = [word for word in protocols if word in {"ip", "ipv6"}]
        if not carried or not around:
            continue
        proto, ip = carried[-1], around[-1]
        try:
            ends = [corpora.end(row[f"{ip}.{way}"][-1], int(row[f"{proto}.{way}port"][-1])) for way in ("src", "dst")]
        except IndexError:  # tshark took in less than it named
            continue
        for field, kind in NAMES.items():
            for name in row[field]:
                of = "QUIC" if kind == "TLS" and "quic" in protocols else kind
                found[proto, frozenset(ends)].setdefault((of, name), ":".join(protocols))
    return found


def bare(name: str) -> str:
    """As our rows have it: lower case, without a port."""
    said = name.strip().encode()
    return host_name(said) or address(said) or name


def excused(name: str, protocols: str) -> str:
    """Why nobody without the keys could tell it, or nobody should."""
    said = name.strip().encode()
    if protocols.endswith(":cut"):
        return "the recording cut it off"
    if "tls:http" in protocols or "wg" in protocols.split(":"):
        return "tshark has its keys"
    return "" if host_name(said) or address(said) else "bytes that no name has"


def frames(path: Path) -> list[Frame]:
    """What is readable of a file."""
    found: list[Frame] = []
    try:
        found.extend(Capture(path))
    except CaptureError as error:
        if found:  # else it is any other file of the folder
            print(f"    {error}")
    return found


def measure(path: Path, wanted: dict[Flow, Wanted], packets: list[Frame]) -> Iterator[tuple[str, bool | None, str]]:
    """What each name is of, whether it was found (None: it does not count), and what there is to say."""
    rows: dict[Flow, list[dict]] = defaultdict(list)
    for row in corpora.replayed(packets, path.name):
        ends = corpora.end(row["src"], row["sport"]), corpora.end(row["dst"], row["dport"])
        rows[row["proto"], frozenset(ends)].append(row)
    for flow, names in wanted.items():
        ours = {name["name"] for row in rows[flow] for name in row["names"]}
        for (kind, name), protocols in names.items():
            if bare(name) in ours:
                yield kind, True, ""
                continue
            reason = excused(name, protocols)
            said = reason or sorted(ours) or [row["via"] for row in rows[flow]] or "no such flow"
            yield kind, None if reason else False, f"{path.name} {' '.join(sorted(flow[1]))} {kind} {name!r}: {said}"


def main(folders: list[str]) -> int:
    """The exit status."""
    of: dict[tuple[str, str], list[bool]] = defaultdict(list)
    raised = 0
    for path in sorted(file for folder in folders for file in Path(folder).rglob("*") if file.is_file()):
        packets = frames(path)
        wanted = told(path) if packets else {}
        for variant in (list, corpora.reversed_segments, corpora.duplicated):
            try:
                for kind, found, difference in measure(path, wanted, variant(packets)):
                    if found is not None:
                        of[variant.__name__, kind].append(found)
                    if difference:
                        print(f"    {variant.__name__}: {difference}")
            except Exception as error:  # noqa: BLE001  whatever it is, it should not have been raised
                raised += 1
                print(f"    {variant.__name__}: {path} raised {error!r}")
    for (variant, kind), found in of.items():
        print(f"{variant}, {kind}: {sum(found)} of {len(found)} names match ({sum(found) / len(found):.2%})")
    short = [key for key, found in of.items() if key[1] in MEASURED and sum(found) < 0.99 * len(found)]
    return 1 if raised or short else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
