"""Builders that several test files share. A phone's packets are made here byte by byte, not by what is tested."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
from pathlib import Path
from types import SimpleNamespace

import judge
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.database import DirectoryBasedExampleDatabase, MultiplexedDatabase, ReadOnlyDatabase

# What `make fuzz` found is kept beside the tests, and tried first by every later run.
FOUND = DirectoryBasedExampleDatabase(Path(__file__).parent / "fuzz")
KNOWN = MultiplexedDatabase(DirectoryBasedExampleDatabase(".hypothesis/examples"), ReadOnlyDatabase(FOUND))
# No deadline for an example: what it takes is the machine's load, and what must be quick is measured in bench/.
settings.register_profile("default", deadline=None, database=KNOWN, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", max_examples=5_000, deadline=None, database=FOUND, print_blob=True, suppress_health_check=list(HealthCheck))
settings.load_profile("default")

# Long and mostly waiting: begun first, so that no core is without work at the end.
FIRST = ("lab/test_blows", "lab/test_consents_kernel", "lab/test_edits", "lab/test_history_faults", "lab/", "backends/linux/", "tui/")


def pytest_xdist_auto_num_workers() -> int:
    """Most of the time tests wait, for a kernel, a clock or a screen: more of them at once than there are cores."""
    return min((os.cpu_count() or 1) + 2, 16)


# All namespaces share one table of neighbours. A test that invents thousands of them must not end what others do in
# theirs: IPv6 sends nothing then (EINVAL).
NEIGHBOURS = [Path(f"/proc/sys/net/{family}/neigh/default/gc_thresh{n}") for family in ("ipv4", "ipv6") for n in (3, 2, 1)]
BEFORE: dict[Path, str] = {}


def pytest_sessionstart(session: pytest.Session) -> None:
    if os.geteuid() == 0 and "PYTEST_XDIST_WORKER" not in os.environ:
        judge.sweep()
        for limit in filter(Path.exists, NEIGHBOURS):
            BEFORE[limit] = limit.read_text()
            limit.write_text("65536")


def pytest_sessionfinish(session: pytest.Session) -> None:
    for limit, text in BEFORE.items():
        limit.write_text(text)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files in this order, whatever order they were shuffled into; xdist hands them out as they come.

    Those of a lab stay as they were written: they share what takes seconds to build, and its history.
    """

    def place(item: pytest.Item) -> tuple[int, str, int]:
        rank = next((n for n, word in enumerate(FIRST) if word in item.nodeid), len(FIRST))
        path, line, _ = item.location
        return (rank, path, line or 0) if "lab/" in path else (rank, "", 0)

    items.sort(key=place)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """A test that failed says what its gate said. Programs it left behind end, or the next test would be warned of them."""
    frames = [entry.frame.f_locals for entry in call.excinfo.traceback] if call.excinfo else []
    known = [value for names in frames for value in names.values()]
    for name in {value.name for value in known if isinstance(value, judge.Lab)}:
        log = Path("/run/consentry", name, "state/gateway.log")
        item.add_report_section(call.when, f"gateway.log of {name}", log.read_text()[-5_000:] if log.exists() else "none")
    for value in known:
        for program in value if isinstance(value, list) else [value]:
            if isinstance(program, subprocess.Popen):
                program.kill()
                program.wait()
                for pipe in filter(None, (program.stdin, program.stdout, program.stderr)):
                    pipe.close()


PHONE = "10.77.0.10"
MAC = bytes.fromhex("020000000101")


def tcp(dst: str, dport: int, payload: bytes = b"", *, src: str = PHONE, sport: int = 40000, seq: int = 1000, flags: int = 0x18) -> bytes:
    """An IPv4 or IPv6 packet with a TCP segment; checksums are left zero, as nobody here looks at them."""
    segment = struct.pack("!HHIIBBHHH", sport, dport, seq, 1, 5 << 4, flags, 65535, 0, 0) + payload
    return _ip(src, dst, 6, segment)


def udp(dst: str, dport: int, payload: bytes = b"x", *, src: str = PHONE, sport: int = 40000) -> bytes:
    return _ip(src, dst, 17, struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload)


def _ip(src: str, dst: str, proto: int, body: bytes) -> bytes:
    if ":" in dst:
        source = src if ":" in src else "2001:db8:77::10"
        return struct.pack("!IHBB", 6 << 28, len(body), proto, 64) + socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, dst) + body
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, proto, 0)
    return head + socket.inet_aton(src) + socket.inet_aton(dst) + body


def client_hello(name: str | None, pad: int = 0) -> bytes:
    """A TLS 1.2-style record with a ClientHello (RFC 8446, 4.1.2) that names `name`, with `pad` bytes of padding."""
    extensions = b"\x00\x15" + struct.pack("!H", pad) + bytes(pad)
    if name is not None:
        host = name.encode("latin-1")
        extensions += b"\0\0" + struct.pack("!HHBH", len(host) + 5, len(host) + 3, 0, len(host)) + host
    body = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x02\x13\x01" + b"\x01\0" + struct.pack("!H", len(extensions)) + extensions
    handshake = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + struct.pack("!H", len(handshake)) + handshake


@pytest.fixture(scope="session")
def wire() -> SimpleNamespace:
    return SimpleNamespace(tcp=tcp, udp=udp, hello=client_hello, PHONE=PHONE, MAC=MAC)
