"""Datagrams put together from their pieces; what nobody can be sure of is dropped."""

import captures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firewall.dissect import NOT_MINE, ip
from firewall.dissect.fragments import MOST, SECONDS, Fragments

ENDS = [(captures.PHONE, captures.FAR), (captures.PHONE6, captures.FAR6)]


def whole(src: str, dst: str, size: int = 1_000) -> bytes:
    return captures.udp(src, 1, dst, 2, bytes(n % 251 for n in range(size)))


@pytest.mark.parametrize(("src", "dst"), ENDS)
@given(order=st.permutations(range(8)))
def test_the_pieces_make_the_packet_in_any_order(src: str, dst: str, order: list[int]) -> None:
    packet = whole(src, dst)
    parts = captures.fragments(packet, 128)
    assert len(parts) == 8
    table = Fragments()
    found = [table.add(parts[n], 0.0) for n in order]
    assert found[:-1] == [None] * 7
    assert found[-1] is not None
    told = ip.parse(found[-1])
    assert told is not NOT_MINE
    assert (told.sport, told.dport) == (1, 2)
    assert found[-1][told.payload : told.end] == packet[-1_000:]
    assert not len(table)


@pytest.mark.parametrize(("src", "dst"), ENDS)
def test_what_is_no_fragment_passes_as_it_is(src: str, dst: str) -> None:
    packet = whole(src, dst)
    assert Fragments().add(packet, 0.0) is packet


@pytest.mark.parametrize(("src", "dst"), ENDS)
def test_the_same_twice_does_no_harm(src: str, dst: str) -> None:
    table = Fragments()
    first, *rest = captures.fragments(whole(src, dst), 512)
    assert table.add(first, 0.0) is None
    assert table.add(first, 0.0) is None
    assert [part is None for part in (table.add(part, 0.0) for part in rest)] == [False]


@pytest.mark.parametrize(("src", "dst"), ENDS)
def test_pieces_that_overlap_make_nothing(src: str, dst: str) -> None:
    table = Fragments()
    parts = captures.fragments(whole(src, dst), 512)
    overlapping = captures.fragments(whole(src, dst), 256)[1]
    assert [table.add(part, 0.0) for part in (parts[0], overlapping, *parts[1:])] == [None] * 3


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 4)), min_size=2, max_size=5))
def test_what_overlaps_is_found_wherever_it_lies(cuts: list[tuple[int, int]]) -> None:
    """Beside a plain look at all pairs: pieces of whole eights at any place, none of them the last."""
    packet = whole(captures.PHONE, captures.FAR, 400)
    table = Fragments()
    taken: dict[int, bytes] = {}
    broken = False
    for at, eights in cuts:
        data = bytes([at]) * (eights * 8)
        header = bytearray(packet[:20])
        header[2:4], header[6:8] = (20 + len(data)).to_bytes(2), (0x2000 | at).to_bytes(2)
        assert table.add(bytes(header) + data, 0.0) is None
        if not broken and taken.get(at * 8) != data:
            broken = any(at * 8 < start + len(part) and start < at * 8 + len(data) for start, part in taken.items())
            taken[at * 8] = data
    (datagram,) = table._waiting.values()
    assert datagram.broken == broken


@pytest.mark.parametrize(("src", "dst"), ENDS)
def test_half_a_packet_is_forgotten(src: str, dst: str) -> None:
    table = Fragments()
    first, second = captures.fragments(whole(src, dst), 512)
    assert table.add(first, 0.0) is None
    assert table.add(second, SECONDS + 1) is None
    assert len(table) == 1
    assert table.torn == 1  # of the second only the end is there: perhaps it is the same once more


def test_what_is_not_all_there_is_counted() -> None:
    table = Fragments()
    parts = captures.fragments(whole(*ENDS[0]), 512)
    for part in (*parts, parts[-1]):
        table.add(part, 0.0)
    assert table.torn == 0
    table.add(captures.fragments(whole(*ENDS[1]), 512)[0], 0.0)
    assert table.torn == 1


def test_not_more_than_so_many_wait() -> None:
    table = Fragments()
    for n in range(MOST + 50):
        table.add(captures.fragments(whole(captures.PHONE, f"198.51.{n >> 8}.{n & 255}"), 512)[0], 0.0)
    assert len(table) == MOST
    assert table.torn == MOST + 50


@given(st.binary(max_size=120), st.sampled_from([b"\x45", b"\x60", b"\x4f", b""]))
def test_no_bytes_make_it_raise(data: bytes, first: bytes) -> None:
    Fragments().add(first + data, 0.0)
