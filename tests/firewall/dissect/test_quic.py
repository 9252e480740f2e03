from __future__ import annotations

import time

import captures
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quicwriter import DCID, DRAFT_29, DRAFT_34, V1, V2, crypto, initial, keys, long_header

from firewall.dissect import NEED_MORE, NOT_MINE, quic
from firewall.dissect.quic import Initials, Unknown

# RFC 9001, A.2: the ClientHello of the examples.
SAMPLE = bytes.fromhex(
    "010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c00000413011302010000c000000010000e0000"
    "0b6578616d706c652e636f6dff01000100000a00080006001d0017001800100007000504616c706e000500050100000000003300260024001d"
    "00209370b2c9caa47fbabaf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b0003020304000d0010000e04030503060302030804"
    "08050806002d00020101001c00024001003900320408ffffffffffffffff05048000ffff07048000ffff0801100104800075300901100f0883"
    "94c8f03e51570806048000ffff"
)
VERSIONS = [V1, V2, DRAFT_29, DRAFT_34]
LONG = b"\x01" + (11 * 256).to_bytes(3) + bytes(range(256)) * 11  # as long as a post-quantum hello: three packets


def pieces(hello: bytes, size: int = 1000) -> list[bytes]:
    return [crypto(at, hello[at : at + size]) for at in range(0, len(hello), size)]


def flight(hello: bytes, **how) -> list[bytes]:
    return [initial(frames, number=number, **how) for number, frames in enumerate(pieces(hello))]


def heard(datagrams: list[bytes]) -> list[object]:
    reader = Initials()
    return [reader.feed(datagram) for datagram in datagrams]


# -- the RFCs' vectors -----------------------------------------------------------------------------------------------


def test_the_keys_of_rfc_9001_a1_and_rfc_9369_a1():
    assert [part.hex() for part in keys(DCID)] == [
        "1f369613dd76d5467730efcbe3b1a22d", "fa044b2f42a3fd3b46fb255c", "9f50449e04a0e810283a1e9933adedd2",
    ]
    assert [part.hex() for part in keys(DCID, V2)] == [
        "8b1a0bc121284290a29e0971b5cd045d", "91f73e2351d8fa91660e909f", "45b95e15235d6f45a6b19cbcb0294ba9",
    ]


@pytest.mark.parametrize(("version", "head", "sample", "tag"), [
    (V1, "c000000001088394c8f03e5157080000449e7b9aec34", "d1b1c98dd7689fb8ec11d242b123dc9b", "e221af44860018ab0856972e194cd934"),
    (V2, "d76b3343cf088394c8f03e5157080000449ea0c95e82", "ffe67b6abcdb4298b485dd04de806071", None),
])
def test_the_client_initial_of_rfc_9001_a2_and_rfc_9369_a2(version, head, sample, tag):
    packet = initial(crypto(0, SAMPLE), version=version, number=2, number_size=4)
    assert packet[:38].hex() == head + sample
    assert tag is None or packet[-16:].hex() == tag
    assert len(packet) == 1200
    assert Initials().feed(packet) == (SAMPLE,)


# -- what clients do -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_hello_in_one_packet(version):
    reader = Initials()
    assert reader.feed(initial(crypto(0, SAMPLE), version=version)) == (SAMPLE,)
    assert not reader.begun
    assert reader.feed(b"\x40" + bytes(40)) == (), "short headers say nothing"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_hello_in_three_datagrams_in_any_order(version):
    first, second, third = flight(LONG, version=version)
    for order in ([first, second, third], [third, second, first], [second, third, first]):
        assert heard(order) == [NEED_MORE, NEED_MORE, (LONG,)]
    assert heard([first, first, third, second]) == [NEED_MORE, NEED_MORE, NEED_MORE, (LONG,)]


def test_frames_shuffled_and_cut_small_with_pings_and_padding_between():
    frames = [crypto(at, SAMPLE[at : at + 7]) + b"\x01\0\0" for at in range(0, len(SAMPLE), 7)]
    frames = frames[1::2] + frames[0::2]
    assert heard([initial(b"".join(frames))]) == [(SAMPLE,)]


def test_the_server_gave_another_connection_id():
    first, *_ = flight(LONG)
    given_id = b"server's"
    rest = [initial(frames, dcid=given_id, key_id=DCID, number=1 + at) for at, frames in enumerate(pieces(LONG)[1:])]
    assert heard([first, *rest]) == [NEED_MORE, NEED_MORE, (LONG,)]


def test_after_a_retry_the_keys_are_new_and_the_hello_begins_again():
    first, *_ = flight(LONG)
    again = flight(LONG, dcid=b"of the retry", token=b"token" * 9)
    assert heard([first, *again]) == [NEED_MORE, NEED_MORE, NEED_MORE, (LONG,)]


def test_a_version_offered_and_refused():
    """Version negotiation: the client offers one nobody has, then begins anew with another."""
    reader = Initials()
    assert reader.feed(initial(crypto(0, SAMPLE), version=0x1A2A3A4A)) == (SAMPLE,), "of ours, by another name"
    assert reader.feed(initial(crypto(0, SAMPLE), dcid=b"another1")) == (SAMPLE,)


def test_coalesced_with_0rtt_before_and_handshake_behind():
    packet = initial(crypto(0, SAMPLE), fill=500)
    early, handshake = long_header(1, bytes(300)), long_header(2, bytes(200))
    assert heard([early + packet + handshake]) == [(SAMPLE,)]
    assert heard([packet + bytes(700)]) == [(SAMPLE,)], "zeros fill the datagram up"


@pytest.mark.parametrize("version", VERSIONS)
def test_0rtt_comes_first(version):
    assert heard([long_header(1, bytes(900), version=version), initial(crypto(0, SAMPLE), version=version)]) == [NEED_MORE, (SAMPLE,)]


def test_acks_stand_before_the_hello():
    acks = b"\x02\x05\x00\x02\x01\x00\x00\x00\x01" + b"\x03\x05\x00\x00\x01\x01\x02\x03"
    assert heard([initial(acks + crypto(0, SAMPLE))]) == [(SAMPLE,)]


def test_a_second_connection_on_the_same_ports_is_heard_too():
    reader = Initials()
    assert reader.feed(initial(crypto(0, SAMPLE))) == (SAMPLE,)
    first, *rest = flight(LONG, dcid=b"second conn")
    assert reader.feed(first) is NEED_MORE
    assert reader.begun
    assert [reader.feed(packet) for packet in rest] == [NEED_MORE, (LONG,)]


def test_an_empty_connection_id_and_a_long_one():
    assert heard([initial(crypto(0, SAMPLE), dcid=b"")]) == [(SAMPLE,)]
    assert heard([initial(crypto(0, SAMPLE), dcid=bytes(20), scid=bytes(20))]) == [(SAMPLE,)]


# -- what others do --------------------------------------------------------------------------------------------------


def test_noise_first():
    reader = Initials()
    assert reader.feed(b"\x17noise") is NOT_MINE
    assert reader.feed(initial(crypto(0, SAMPLE))) == (SAMPLE,)


@pytest.mark.parametrize("before", [b"\x40" + bytes(1_199), bytes(700) + b"\xc0" * 500, b"\xc0\xab\xcd\xef\1\x08" + bytes(1_194)])
def test_behind_noise_in_a_train_that_the_kernel_left_in_one_piece(before):
    """Nobody says where in it a datagram ends (UDP_SEGMENT, GRO)."""
    one, two = flight(SAMPLE), flight(LONG)
    assert Initials().feed(before + one[0]) == (SAMPLE,)
    assert Initials().feed(before + one[0] + before) == (SAMPLE,)
    reader = Initials()
    assert reader.feed(before + two[0] + before + two[1]) in (NEED_MORE, Unknown(0xABCDEF01))
    assert reader.begun
    assert reader.feed(two[2]) == (LONG,)


def test_a_version_that_nobody_reads_is_seen_behind_others_in_one_piece():
    """As a train of datagrams comes. What stands behind a packet within one datagram has no room to be a client's first."""
    strange = bytes.fromhex("c0abcdef0108") + bytes(8) + b"\x08" + bytes(8) + bytes(1_177)
    hello = initial(crypto(0, captures.hello("good.example")))
    reader = Initials()
    assert reader.feed(hello + strange) == (captures.hello("good.example"),)
    assert reader.unknown == Unknown(0xABCDEF01)
    assert reader.feed(hello) == ()
    assert reader.unknown is None
    assert reader.feed(hello + strange) == Unknown(0xABCDEF01)
    assert reader.feed(hello + strange[:150]) == ()


def test_another_hello_under_the_same_keys_stays_begun():
    """The first may have been made to die on its way (a small TTL), and a server reads what arrives."""
    for evil in (captures.hello("miui.com"), captures.hello("miui.com", pad=300)):
        reader = Initials()
        assert reader.feed(initial(crypto(0, captures.hello("good.example")))) == (captures.hello("good.example"),)
        assert reader.feed(initial(crypto(0, captures.hello("good.example")), number=1)) == ()
        assert not reader.begun
        assert reader.feed(initial(crypto(0, evil), number=2)) is NEED_MORE
        assert reader.begun


def test_a_second_hello_behind_the_first_is_read():
    """After a HelloRetryRequest (RFC 8446, 4.1.4) it goes on where the first ended."""
    first, second = captures.hello("good.example"), captures.hello("miui.com", pad=1_300)
    reader = Initials()
    assert reader.feed(initial(crypto(0, first))) == (first,)
    at = len(first)
    assert reader.feed(initial(crypto(at, second[:900]), dcid=b"servers!", key_id=DCID, number=1)) is NEED_MORE
    assert reader.feed(initial(crypto(at + 900, second[900:]), dcid=b"servers!", key_id=DCID, number=2)) == (second,)
    assert not reader.begun


def test_a_version_that_is_told_apart_is_a_connection_of_its_own():
    """Its client goes on with a version that is known, the same connection id and other words."""
    reader = Initials()
    assert reader.feed(initial(crypto(0, captures.hello("good.example", pad=9)), version=0x1A2A3A4A)) == (captures.hello("good.example", pad=9),)
    assert reader.feed(initial(crypto(0, captures.hello("good.example")))) == (captures.hello("good.example"),)
    assert not reader.begun


def test_a_train_of_beginnings_that_are_none_stays_begun():
    reader = Initials()
    assert reader.feed((b"\x40" + b"\xc0\0\0\0\1") * 11_000) is NEED_MORE
    assert reader.begun


def test_a_first_packet_that_nobody_can_open():
    noise = initial(crypto(0, b"\x01\0\0\x05other"), dcid=b"sacrifice", key_id=b"of nobody")
    assert heard([noise, initial(crypto(0, SAMPLE))]) == [NEED_MORE, (SAMPLE,)]


def test_a_version_nobody_can_read():
    packet = b"\xc9" + 0xABCDEF01.to_bytes(4) + b"\x08" + bytes(8) + b"\0" + bytes(1200)
    assert heard([packet]) == [Unknown(0xABCDEF01)]
    assert heard([packet[:900]]) == [NOT_MINE], "no server of QUIC would answer"
    assert heard([b"\x0d" + bytes(8) + b"Q043" + bytes(1300)]) == [Unknown(int.from_bytes(b"Q043"))]
    assert heard([b"\xc3Q046\x50" + bytes(1300)]) == [Unknown(int.from_bytes(b"Q046"))]


def test_version_negotiation_and_retry_are_a_servers():
    assert heard([b"\xc0" + bytes(4) + b"\x08" + bytes(8) + b"\0" + b"\0\0\0\x01"]) == [NOT_MINE]
    assert heard([long_header(3, b"token" + bytes(16))]) == [NOT_MINE]


def test_other_things_over_udp():
    for data in (b"", b"\x80", b"\x80\x60" + bytes(1198), b"\xff" * 1200, bytes(1200), b"\x16\xfe\xfd" + bytes(60)):
        assert heard([data]) == [NOT_MINE]


def test_a_hello_said_in_two_ways_never_becomes_whole():
    reader = Initials()
    frames = crypto(0, SAMPLE[:100]) + crypto(50, b"X" * 80) + crypto(100, SAMPLE[100:])
    assert reader.feed(initial(frames)) is NEED_MORE
    assert reader.begun


def test_another_message_than_a_hello_stays_begun():
    """It may die on its way, and a hello come in its place; no client's Initials hold anything else."""
    reader = Initials()
    assert reader.feed(initial(crypto(0, b"\x02\0\0\x04serv"))) is NEED_MORE
    assert reader.feed(initial(crypto(0, SAMPLE), number=1)) is NEED_MORE
    assert reader.begun


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_behind_a_packet_that_is_too_short_to_be_opened(kind):
    """A server drops that one, and reads on in its datagram (RFC 9001, 5.4.2)."""
    short = long_header(kind, bytes(10)) if kind else long_header(0, b"")[:-1] + b"\0\x0a" + bytes(10)
    assert Initials().feed(short + initial(crypto(0, SAMPLE))) == (SAMPLE,)


def test_what_cannot_be_opened_any_more_stays_begun():
    """Its server can: it knows the keys that were forgotten here, and makes a long number of a short one (RFC 9000, A.3)."""
    for opened in ([initial(crypto(0, SAMPLE), dcid=b"number %d" % n) for n in range(quic.MOST_CONNECTIONS + 1)], [initial(b"\1", number=200), initial(crypto(0, SAMPLE), number=1)]):
        reader = Initials()
        for datagram in opened:
            reader.feed(datagram)
        assert not reader.begun
        assert reader.feed(initial(crypto(0, LONG[:99]), dcid=b"servers!", key_id=b"number 0", number=9)) is NEED_MORE
        assert reader.begun


def test_noise_beside_a_connection_does_no_harm():
    reader = Initials()
    assert reader.feed(initial(crypto(0, SAMPLE))) == (SAMPLE,)
    assert reader.feed(initial(b"\1", dcid=b"servers!", key_id=b"of nobody")) == ()
    assert not reader.begun


def test_a_datagram_full_of_what_cannot_be_opened_hides_nothing_under_an_id_that_is_known():
    reader = Initials()
    reader.feed(initial(crypto(0, SAMPLE), dcid=b"noise000"))
    assert reader.feed(tiny(0) * 8 + initial(crypto(0, LONG[:99]), dcid=b"noise000", number=1)) is NEED_MORE
    assert reader.begun


def test_a_hello_goes_on_in_another_version():
    """The server chose it, and an id for itself (RFC 9369, 4.1)."""
    second = captures.hello("miui.com")
    reader = Initials()
    assert reader.feed(initial(crypto(0, SAMPLE))) == (SAMPLE,)
    assert reader.feed(initial(crypto(len(SAMPLE), second), dcid=b"servers!", key_id=DCID, number=1, version=V2)) == (second,)


def test_more_frames_than_are_read_stay_begun():
    reader = Initials()
    assert reader.feed(initial(crypto(0, SAMPLE))) == (SAMPLE,)
    assert reader.feed(initial(crypto(0, b"") * quic.MOST_FRAMES + crypto(len(SAMPLE), SAMPLE), number=1)) is NEED_MORE
    assert reader.begun


def test_connections_one_after_another_are_all_heard():
    reader = Initials()
    for number in range(5 * quic.MOST_CONNECTIONS):
        assert reader.feed(initial(crypto(0, SAMPLE), dcid=b"number %d" % number)) == (SAMPLE,)
    assert not reader.begun


def test_more_unfinished_connections_than_are_listened_to_stay_begun():
    reader = Initials()
    for number in range(quic.MOST_CONNECTIONS):
        assert reader.feed(initial(crypto(0, SAMPLE[:50]), dcid=b"number %d" % number)) is NEED_MORE
    assert reader.feed(initial(crypto(0, SAMPLE), dcid=b"one more")) is NEED_MORE
    for number in range(quic.MOST_CONNECTIONS):
        assert reader.feed(initial(crypto(50, SAMPLE[50:]), dcid=b"number %d" % number)) == (SAMPLE,)
    assert reader.begun, "what the one more said is not known"


def test_frames_no_initial_may_carry_end_the_reading():
    assert heard([initial(b"\x1e" + crypto(0, SAMPLE))]) == [NEED_MORE]


def tiny(number: int) -> bytes:
    """As small as an Initial can be, and nobody can open it."""
    dcid = b"noise%03d" % number
    return b"\xc0\0\0\0\1\x08" + dcid + b"\0\0\x14" + bytes(20)


def test_a_hello_behind_more_noise_than_is_tried_stays_begun():
    reader = Initials()
    whole = initial(crypto(0, SAMPLE), fill=0)
    assert reader.feed(b"".join(map(tiny, range(3))) + whole) == (SAMPLE,)
    reader = Initials()
    assert reader.feed(b"".join(map(tiny, range(12))) + whole) is NEED_MORE
    assert reader.begun


@pytest.mark.parametrize("packet", [
    b"".join(map(tiny, range(30))), b"".join(map(tiny, range(60))),
    initial(b"\x01\0" * 30_000, fill=0), initial(b"\x06\0\0" * 5_000, fill=0), initial(b"\x02\0\0\xbf\xff\xff\xff" + bytes(20_000), fill=0),
    long_header(1, bytes(20)) * 1_500, b"\xc0\0\0\0\x01\x08" * 10_000,
])
def test_what_is_meant_to_cost_time_costs_little(packet):
    reader = Initials()
    begun = time.thread_time()
    for _ in range(20):
        reader.feed(packet)
    assert (time.thread_time() - begun) / 20 < 0.02


# -- anything --------------------------------------------------------------------------------------------------------

IDS = st.sampled_from([DCID, b"", b"second", bytes(20)])
FRAMES = st.lists(
    st.builds(crypto, st.integers(0, 400), st.sampled_from([SAMPLE, SAMPLE[:90], SAMPLE[90:], b"", b"\x01"]))
    | st.sampled_from([b"\0", b"\x01", b"\x02\0\0\0\0", b"\x03\0", b"\x1c\0\0\0", b"\x06\xff", b"\x40\x06"]) | st.binary(max_size=6),
    max_size=6,
).map(b"".join)
PACKETS = st.builds(
    initial, FRAMES, dcid=IDS, key_id=st.none() | IDS, version=st.sampled_from([*VERSIONS, 0x0A0A0A0A]), number=st.integers(0, 200),
    token=st.binary(max_size=5), fill=st.sampled_from([0, 300, 1200]),
) | st.builds(long_header, st.integers(0, 3), st.binary(max_size=60), version=st.sampled_from(VERSIONS)) | st.binary(max_size=80)


@st.composite
def datagrams(draw):
    data = bytearray(b"".join(draw(st.lists(PACKETS, min_size=1, max_size=3))))
    for _ in range(draw(st.integers(0, 2)) if data else 0):
        data[draw(st.integers(0, min(len(data) - 1, 60)))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.just(len(data)) | st.integers(0, len(data)))])


@given(st.lists(datagrams(), max_size=6))
def test_whatever_comes_there_is_an_answer(flow):
    reader = Initials()
    for datagram in flow:
        answer = reader.feed(datagram)
        assert answer in (NEED_MORE, NOT_MINE) or isinstance(answer, Unknown) or all(hello[0] == 1 for hello in answer)


@given(st.permutations(range(11)), st.integers(1, 3), st.sampled_from(VERSIONS))
def test_any_shuffle_gives_the_same_hello(order, packets, version):
    cuts = [crypto(at, LONG[at : at + 260]) for at in range(0, len(LONG), 260)]
    shuffled = [cuts[at] for at in order]
    share = -(-len(shuffled) // packets)
    reader = Initials()
    answers = [
        reader.feed(initial(b"".join(shuffled[at : at + share]), number=at, version=version))
        for at in range(0, len(shuffled), share)
    ]
    assert answers[:-1] == [NEED_MORE] * (len(answers) - 1)
    assert answers[-1] == (LONG,)
