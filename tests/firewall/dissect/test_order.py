"""The segments of a stream in their order, however they come."""

from hypothesis import given
from hypothesis import strategies as st

from firewall.dissect.order import MOST_SEGMENTS, SEQUENCE, UNSURE_SEGMENTS, Order

TEXT = bytes(range(256)) * 2


def segment(start: int, end: int) -> tuple[bytes, int, int, int]:
    data = TEXT[start:end]
    return data, 0, 0, len(data)


def read(found: list) -> bytes:
    return b"".join(raw[start + known : end] for known, (raw, _, start, end) in found)


@given(st.data(), st.integers(0, SEQUENCE - 1))
def test_whatever_the_order_the_stream_is_read_once(data: st.DataObject, isn: int) -> None:
    """Cut anywhere, overlapping, repeated, in any order; also over the end of the sequence numbers."""
    cuts = sorted({0, len(TEXT), *data.draw(st.lists(st.integers(0, len(TEXT)), max_size=20))})
    parts = list(zip(cuts, cuts[1:], strict=False))
    parts += data.draw(st.lists(st.tuples(st.integers(0, len(TEXT)), st.integers(0, len(TEXT))).filter(lambda p: p[0] < p[1]), max_size=10))
    parts = data.draw(st.permutations(parts))
    order = Order(isn)
    heard = b"".join(read(order.add((isn + a) % SEQUENCE, segment(a, b), begins=False)) for a, b in parts)
    assert heard == TEXT
    assert order.next == (isn + len(TEXT)) % SEQUENCE
    assert not order.gaps
    assert order.settle() == []


@given(st.data(), st.integers(0, SEQUENCE - 1))
def test_a_stream_whose_beginning_nobody_saw_begins_where_it_must(data: st.DataObject, isn: int) -> None:
    cuts = [0, *range(50, 301, 50)]
    parts = data.draw(st.permutations(list(zip(cuts, cuts[1:], strict=False))))
    seen = data.draw(st.none() | st.integers(0, 300))
    order = Order(None, near=None if seen is None else (isn + seen) % SEQUENCE)
    heard = b"".join(read(order.add((isn + a) % SEQUENCE, segment(a, b), begins=a == 0)) for a, b in parts)
    assert heard + read(order.settle()) == TEXT[:300]


def test_what_looks_like_a_beginning_behind_which_more_was_seen_waits_for_what_stands_in_front() -> None:
    order = Order(None, near=30)
    assert order.add(10, segment(10, 20), begins=True) == []
    assert order.begins_at(0)
    assert read(order.add(0, segment(0, 10), begins=True)) == TEXT[:20]


def test_a_beginning_told_late_is_near_what_was_seen_first() -> None:
    assert Order(None, near=5).begins_at(SEQUENCE - 1)
    assert not Order(None, near=5).begins_at(6)
    assert not Order(None).begins_at(6)


def test_without_a_beginning_a_window_of_segments_is_enough() -> None:
    order = Order(None)
    places = [(n * 10, n * 10 + 10) for n in range(UNSURE_SEGMENTS)][::-1]
    found = [read(order.add(5 + a, segment(a, b), begins=False)) for a, b in places]
    assert found == [b""] * (UNSURE_SEGMENTS - 1) + [TEXT[:100]]


def test_what_is_missing_in_the_recording_is_passed_over_and_said() -> None:
    order = Order(0)
    assert read(order.add(0, segment(0, 10), begins=True)) == TEXT[:10]
    assert order.add(20, segment(20, 30), begins=False) == []
    assert read(order.settle()) == TEXT[20:30]
    assert order.gaps == 1
    assert order.next == 30


def test_not_more_than_so_many_wait() -> None:
    order = Order(0)
    heard = [read(order.add(2 * n + 1, (b"x", 0, 0, 1), begins=False)) for n in range(MOST_SEGMENTS + 1)]
    assert heard == [b""] * MOST_SEGMENTS + [b"x"]
    assert order.gaps == 1
