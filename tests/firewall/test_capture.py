"""Files of recorded packets: every form of them, and every way in which they can be broken."""

import gzip
import os
import random
import struct
import threading
from pathlib import Path

import captures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.capture import CHUNK, Capture, CaptureError, Frame

PACKETS = [(1_700_000_000.25 + n, bytes((n,)) * (60 + n)) for n in range(5)]
FORMS = {
    "pcap": captures.pcap(PACKETS),
    "pcap, big endian": captures.pcap(PACKETS, order=">"),
    "pcap, nanoseconds": captures.pcap(PACKETS, nano=True),
    "pcapng": captures.pcapng(PACKETS),
    "pcapng, big endian": captures.pcapng(PACKETS, order=">"),
}


def read(path: Path, data: bytes) -> tuple[list[Frame], str]:
    """What was readable, and what is said of the rest."""
    path.write_bytes(data)
    frames: list[Frame] = []
    try:
        frames.extend(Capture(path))
    except CaptureError as error:
        return frames, str(error)
    return frames, ""


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read(form: str, zipped: bool, tmp_path: Path) -> None:
    data = gzip.compress(FORMS[form], mtime=0) if zipped else FORMS[form]
    frames, error = read(tmp_path / "x", data)
    assert not error
    assert [(pytest.approx(time), link, frame) for time, link, frame in frames] == [(time, 1, frame) for time, frame in PACKETS]


@pytest.mark.parametrize("form", FORMS)
def test_a_file_cut_anywhere_gives_what_is_whole_and_says_where_it_ends(form: str, tmp_path: Path) -> None:
    data = FORMS[form]
    whole = said = 0
    for cut in range(len(data) + 1):
        frames, error = read(tmp_path / "x", data[:cut])
        assert [frame for _, _, frame in frames] == [frame for _, frame in PACKETS[: len(frames)]]
        assert len(frames) >= whole
        whole = len(frames)
        if not error:  # cut between two packets, or, in pcapng, between two blocks
            said += 1
        elif frames:
            assert "cut off" in error
            assert "at byte" in error
    assert whole == len(PACKETS)
    assert said <= len(PACKETS) + 2


@pytest.mark.parametrize("zipped", [False, True])
def test_a_pipe_is_read_as_it_fills(zipped: bool, tmp_path: Path) -> None:
    data = captures.pcap([(1.0, bytes(1_000))] * 400)
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(gzip.compress(data) if zipped else data,), daemon=True)
    writer.start()
    capture = Capture(tmp_path / "pipe")
    assert len(list(capture)) == 400
    writer.join()
    assert (capture.size, capture.position, capture.unpacked) == (0, 0, len(data))


def test_of_a_broken_gzipped_file_all_that_can_be_unpacked_is_read(tmp_path: Path) -> None:
    data = captures.pcap([(1.0, bytes(random.Random(n).randbytes(1_000))) for n in range(400)])
    for broken, least in ((gzip.compress(data) + b"trailing", 400), (gzip.compress(data)[: len(data) // 2], 180)):
        frames, error = read(tmp_path / "x", broken)
        assert len(frames) >= least
        size = 24 + len(frames) * 1_016
        assert size <= int(error.partition(" behind ")[2].split(" ")[0].replace(",", "")) < size + 1_016


def test_a_frame_longer_than_a_chunk_is_whole(tmp_path: Path) -> None:
    packets = [(1.0, bytes(200_000)), (2.0, b"\x01" * (CHUNK - 100)), (3.0, b"abc")]
    for data in (captures.pcap(packets), captures.pcapng(packets)):
        frames, error = read(tmp_path / "x", data)
        assert not error
        assert [frame for _, _, frame in frames] == [frame for _, frame in packets]


def test_sections_interfaces_clocks_and_packets_without_a_time(tmp_path: Path) -> None:
    data = (
        captures.section()
        + captures.interface(1)
        + captures.interface(101, resolution=9, offset=1_000, snaplen=2)
        + captures.block(4, b"names")  # and other blocks that hold no packet
        + captures.enhanced(5.5, b"first")
        + captures.enhanced(5.5, b"second", number=1, units=1e9)
        + captures.block(3, struct.pack("<I", 6) + b"simple\0\0")
        + captures.block(2, struct.pack("<HHIIII", 0, 0, 0, 7_000_000, 3, 3) + b"old\0")
        + captures.section(">")
        + captures.interface(113, ">", resolution=128 + 10)
        + captures.enhanced(8.0, b"other", ">", units=1024)
    )
    frames, error = read(tmp_path / "x", data)
    assert not error
    assert frames == [(5.5, 1, b"first"), (1005.5, 101, b"second"), (1005.5, 1, b"simple"), (7.0, 1, b"old"), (8.0, 113, b"other")]


@pytest.mark.parametrize(("data", "said"), [
    (b"", "is empty"),
    (b"abc", "no capture"),
    (b"GIF89a" + bytes(40), "neither pcap nor pcapng"),
    (b"snoop\0\0\0\0\0\0\2", r"another kind (snoop): convert it with `editcap -F pcapng FILE NEW.pcapng`"),
    (b"GMBU\0\2" + bytes(40), "another kind (Network Monitor): convert it"),
    (b"\xfd7zXZ\0\0\4", "only gzip is read: unpack it first (xz -d)"),
    (FORMS["pcap"][:24] + struct.pack("<IIII", 1, 0, 1 << 30, 60) + bytes(60), "no packet has 1,073,741,824 bytes"),
    (captures.section() + captures.interface(1) + struct.pack("<III", 6, 1 << 30, 0), "no block has 1,073,741,824 bytes"),
    (captures.section() + captures.interface(1) + struct.pack("<IIII", 6, 16, 0, 20), "two lengths differ"),
    (captures.section() + captures.enhanced(1.0, b"x"), "interface 0, which is not described"),
    (captures.section() + captures.interface(1) + captures.block(6, struct.pack("<IIIII", 0, 0, 0, 400, 400)), "a packet of 400 bytes in a block of 20"),
    (captures.section() + captures.block(1, b""), "an interface block of 0 bytes"),
    (captures.section() + captures.interface(1) + captures.block(6, b""), "a packet block of 0 bytes"),
    (captures.section()[:8] + b"abcd" + captures.section()[12:], "a section without byte order"),
    (gzip.compress(FORMS["pcap"], mtime=0)[:-20], "gzip file is cut off"),
    (b"\x1f\x8b" + bytes(40), "gzip file is damaged"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_broken_file_is_named_with_what_is_wrong(data: bytes, said: str, tmp_path: Path) -> None:
    _, error = read(tmp_path / "x", data)
    assert said in error
    assert error.startswith(str(tmp_path / "x"))


def test_a_file_that_is_not_there_or_no_file_says_so(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(CaptureError, match="cannot be read"):
            list(Capture(path))


@given(st.sampled_from(sorted(FORMS)), st.data())
def test_no_bytes_make_it_raise_anything_else(tmp_path_factory: pytest.TempPathFactory, form: str, data: st.DataObject) -> None:
    wrong = bytearray(FORMS[form])
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, len(wrong) - 1), st.integers(0, 255)), max_size=8)):
        wrong[at] = value
    path = tmp_path_factory.getbasetemp() / "wrong"
    frames, error = read(path, bytes(wrong))
    assert len(frames) <= len(wrong) // 12
    assert not error or str(path) in error


def test_the_position_tells_how_far_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(captures.pcap([(float(n), bytes(1000)) for n in range(1000)]))
    capture = Capture(path)
    positions = [capture.position for _ in capture]
    assert positions == sorted(positions)
    assert 0 < positions[0] < positions[-1] == capture.size
