from __future__ import annotations

import itertools
import socket

import captures
import pytest
import quicwriter
import talk
from hpack import Encoder
from hypothesis import given
from hypothesis import strategies as st
from talk import frame, headers, message, server_name

from firewall import flow as flows
from firewall import stream
from firewall.commands import Watch
from firewall.dissect import h2, ip
from firewall.flow import FlowTable, Hearing
from firewall.inputs import FlowKey
from firewall.speech import NO_NAME_YET, UNFINISHED, Heard
from firewall.stream import FAR, SEQUENCE
from rules.observation import Name, Source
from rules.verdict import Decision, Verdict

DST = "198.51.100.9"


@pytest.fixture
def table() -> FlowTable:
    return FlowTable()


def key(sport: int = 40000, proto: int = 6) -> FlowKey:
    return FlowKey(proto, socket.inet_aton("10.77.0.10"), sport, socket.inet_aton(DST), 443)


def say(table: FlowTable, flow, wire, data: bytes, seq: int, number: int = 1, boot: float = 0.0, *, first: bool = True, flags: int = 0x18):
    raw = wire.tcp(DST, 443, data, seq=seq, flags=flags)
    return table.hear(flow, number, ip.parse(raw), raw, boot, first=first)


def judge(table: FlowTable, flow, watch: Watch = Watch.NONE) -> None:
    flow.decision, flow.watch = Decision(Verdict.ALLOW, "", "", "", 1), watch
    table.release(flow)
    table.judged(flow)


def test_segments_in_order_make_a_name(table, wire) -> None:
    hello, flow = wire.hello("example.com"), table.open(key(), b"m", "phone1")
    assert say(table, flow, wire, hello[:50], 100, 1) is Hearing.WAIT
    heard = say(table, flow, wire, hello[50:], 150, 2)
    assert isinstance(heard, Heard)
    assert table.release(flow) == [1]


@pytest.mark.parametrize("start", [100, 2**32 - 30])
def test_repeats_are_dropped_and_what_comes_too_early_waits_for_its_turn(table, wire, start) -> None:
    hello, flow = wire.hello("example.com"), table.open(key(), b"m", "phone1")
    say(table, flow, wire, hello[:50], start, 1)
    assert say(table, flow, wire, hello[:50], start, 2) is Hearing.REPEATED
    assert say(table, flow, wire, hello[60:], (start + 60) % 2**32, 3, first=False) is Hearing.WAIT
    assert say(table, flow, wire, hello[50:60], (start + 50) % 2**32, 4, first=False).said[0].name == "example.com"
    assert table.release(flow) == [1, 3]


def test_what_comes_before_the_first_byte_waits_for_it(table, wire) -> None:
    hello, flow = wire.hello("example.com"), table.open(key(), b"m", "phone1")
    for number, at in enumerate((60, 40, 20), 1):
        assert say(table, flow, wire, hello[at : at + 20 if at < 60 else None], 100 + at, number, first=False) is Hearing.WAIT
    assert say(table, flow, wire, hello[:20], 100, 4).said[0].name == "example.com"
    assert table.release(flow) == [1, 2, 3]


@pytest.mark.parametrize("flags, answer", [(0x38, UNFINISHED), (0x1C, Hearing.AGAIN)])
def test_what_is_urgent_or_a_reset_is_nothing_that_is_said(table, wire, flags: int, answer) -> None:
    """A server takes urgent bytes out of the stream, and none from a reset."""
    assert say(table, table.open(key(), b"m", "phone1"), wire, wire.hello("example.com"), 100, flags=flags) == answer


@pytest.mark.parametrize("watch", [Watch.BEGUN, Watch.NAMES])
@pytest.mark.parametrize("at", [0, 30, -600])
def test_nothing_else_is_said_in_the_place_of_what_was_judged(table, wire, watch: Watch, at: int) -> None:
    hello, flow = wire.hello("example.com", pad=300), table.open(key(), b"m", "phone1")
    assert say(table, flow, wire, hello, 1_000).said[0].name == "example.com"
    judge(table, flow, watch)
    assert say(table, flow, wire, hello, 1_000, first=False) is Hearing.SAME
    assert say(table, flow, wire, hello[30:] + b"more", 1_030, first=False) is not UNFINISHED
    assert say(table, flow, wire, wire.hello("evil.example", pad=300)[max(at, 0) :], 1_000 + at, first=False).unfinished
    assert flow.watch is watch


@pytest.mark.parametrize("watch", [Watch.BEGUN, Watch.NAMES])
def test_a_letter_that_the_server_may_not_have_taken_is_not_said_again_as_a_sign_of_life(table, wire, watch: Watch) -> None:
    hello, flow = wire.hello("evil.examplx"), table.open(key(), b"m", "phone1")
    say(table, flow, wire, hello, 1_000)
    judge(table, flow, watch)
    assert say(table, flow, wire, b"e", 999 + len(hello), first=False) is Hearing.LIFE
    assert say(table, flow, wire, hello[-1:], 999 + len(hello), first=False) is Hearing.SAME


def test_the_names_of_a_second_hello_count_too(table, wire) -> None:
    hello, more = wire.hello("example.com"), wire.hello("evil.example", pad=100)
    for later in (True, False):
        flow = table.open(key(), b"m", "phone1")
        say(table, flow, wire, hello, 1_000)
        judge(table, flow, Watch.BEGUN)
        flow.said = (Name("example.com", Source.SNI),)
        if later:  # than TLS 1.2's next message
            assert say(table, flow, wire, b"\x16\x03\x03\0\5\x10rest", 1_000 + len(hello)) is Hearing.SAME
            assert say(table, flow, wire, more, 1_010 + len(hello)) == UNFINISHED._replace(said=flow.said)
    assert say(table, flow, wire, more[60:], 1_060 + len(hello), 6) is Hearing.AGAIN  # ahead of its turn
    assert say(table, flow, wire, more[:60], 1_000 + len(hello), 7) is Hearing.WAIT
    heard = say(table, flow, wire, more[60:], 1_060 + len(hello), 8)
    assert [name.name for name in heard.said] == ["example.com", "evil.example"]
    assert table.release(flow) == [7]


@pytest.mark.parametrize("cuts", [(), (7,), (7, 40), (20,)])
def test_a_second_hello_is_read_behind_a_change_of_ciphers_and_behind_what_is_said_again(table, wire, cuts) -> None:
    """As every client sends it after a HelloRetryRequest (RFC 8446, D.4)."""
    hello, flow = wire.hello("example.com"), table.open(key(), b"m", "phone1")
    say(table, flow, wire, hello, 1_000)
    judge(table, flow, Watch.BEGUN)
    flow.said = (Name("example.com", Source.SNI),)
    said, heard = hello[-1:] + b"\x14\x03\x03\0\1\1" + wire.hello("evil.example"), None
    for at, end in zip((0, *cuts), (*cuts, len(said)), strict=True):
        heard = say(table, flow, wire, said[at:end], 999 + len(hello) + at, at, first=False)
    assert [name.name for name in heard.said] == ["example.com", "evil.example"]


def test_early_data_that_comes_once_more_together_with_its_hello_is_no_second_one(table, wire) -> None:
    hello, flow = wire.hello("example.com"), table.open(key(), b"m", "phone1")
    say(table, flow, wire, hello, 1_000)
    judge(table, flow, Watch.BEGUN)
    early = b"\x14\x03\x03\0\1\1\x17\x03\x03\0\4data"
    for data, at in ((early[:6], len(hello)), (early[6:], len(hello) + 6), (hello + early, 0), (early, len(hello))):
        assert say(table, flow, wire, data, 1_000 + at, first=False) is Hearing.SAME


def test_far_behind_the_beginning_nobody_watches_for_another_one(table, wire) -> None:
    flow = table.open(key(), b"m", "phone1")
    say(table, flow, wire, wire.hello("example.com"), 1_000)
    judge(table, flow, Watch.BEGUN)
    size, bulk = len(wire.hello("example.com")), b"bulk" * 8_192
    for at in range(0, FAR + len(bulk), len(bulk)):
        assert flow.watch is Watch.BEGUN
        assert say(table, flow, wire, bulk, 1_000 + size + 2 * FAR) is Hearing.AGAIN
        assert say(table, flow, wire, bulk, 1_000 + size + at) is Hearing.SAME
    assert say(table, flow, wire, bulk, 1_000 + size + FAR) is Hearing.SAME
    assert flow.watch is Watch.NONE


def test_what_the_kernel_asks_about_in_its_middle_begins_there(table, wire) -> None:
    table.anew(key())
    assert isinstance(say(table, table.open(key(), b"m", "phone1"), wire, b"\x17\x03\x03\0\5bytes", 9_000, first=False), Heard)
    assert say(table, table.open(key(), b"m", "phone1"), wire, b"\x17\x03\x03\0\5bytes", 9_000, first=False) is Hearing.WAIT


def test_a_repeat_of_what_was_judged_is_the_same_and_overlaps_are_trimmed(table, wire) -> None:
    request, flow = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", table.open(key(), b"m", "phone1")
    assert isinstance(say(table, flow, wire, request, 100), Heard)
    judge(table, flow, Watch.NAMES)
    assert say(table, flow, wire, request, 100) is Hearing.SAME
    assert say(table, flow, wire, request, 200 + len(request)) is Hearing.AGAIN
    heard = say(table, flow, wire, request[-10:] + request.replace(b"a.ex", b"b.ex"), 100 + len(request) - 10)
    assert heard.said[0].name == "b.example"


def test_holding_is_bounded_in_segments_and_flows(table, wire) -> None:
    flow = table.open(key(), b"m", "phone1")
    hello = wire.hello("example.com", pad=2000)
    answers = [say(table, flow, wire, hello[n : n + 1], 100 + n, n) for n in range(flows.HELD_SEGMENTS)]
    assert answers[-1] == UNFINISHED
    assert answers[:-1] == [Hearing.WAIT] * (flows.HELD_SEGMENTS - 1)
    table.release(flow)
    for n in range(flows.HELD_FLOWS):
        assert say(table, table.open(key(n), b"m", "phone1"), wire, b"\x16", 5) is Hearing.WAIT
    assert say(table, table.open(key(900), b"m", "phone1"), wire, b"\x16", 5) == UNFINISHED
    assert say(table, table.open(key(901), b"m", "other"), wire, b"\x16", 5) is Hearing.WAIT


@pytest.mark.parametrize("turned", [False, True])
def test_datagrams_are_held_too(table, wire, turned: bool) -> None:
    flow = table.open(key(40000, 17), b"m", "phone1")
    message = captures.hello("example.com", pad=1_500)
    datagrams = [quicwriter.initial(quicwriter.crypto(at, message[at : at + 600]), number=at // 600) for at in range(0, len(message), 600)]
    answers = []
    for number, datagram in enumerate(reversed(datagrams) if turned else datagrams):
        raw = wire.udp(DST, 443, datagram)
        answers.append(table.hear(flow, number, ip.parse(raw), raw, 0.0))
    assert answers[:-1] == [Hearing.WAIT] * (len(datagrams) - 1)
    assert [name.name for name in answers[-1].said] == ["example.com"]
    assert table.release(flow) == list(range(len(datagrams) - 1))


def test_time_runs_from_the_first_held_packet(table, wire) -> None:
    flow = table.open(key(), b"m", "phone1")
    say(table, flow, wire, b"\x16\x03", 5, boot=10.0)
    assert table.next_due() == 10.0 + flows.HELD_SECONDS
    assert table.overdue(10.0 + flows.HELD_SECONDS - 0.1) == []
    assert table.overdue(10.0 + flows.HELD_SECONDS) == [flow]
    table.release(flow)
    assert table.next_due() is None


def test_udp_that_is_not_quic_says_nothing_yet(table, wire) -> None:
    flow = table.open(key(proto=17), b"m", "phone1")
    raw = wire.udp(DST, 443, b"\x16\x03\x01")
    assert table.hear(flow, 1, ip.parse(raw), raw, 0.0) == NO_NAME_YET


def test_continuing_wants_time_and_place(table, wire) -> None:
    flow = table.open(key(), b"m", "phone1")
    say(table, flow, wire, wire.hello("example.com"), 100)
    judge(table, flow)
    flow.settled(10.0)
    behind = 100 + len(wire.hello("example.com"))

    def continues(data: bytes, seq: int, boot: float = 10.1) -> bool:
        raw = wire.tcp(DST, 443, data, seq=seq)
        return table.continues(flow, ip.parse(raw), raw, boot)

    assert not continues(b"\x17data", behind, 12.0)
    assert not continues(b"\x17data", behind + flows.BURST_BYTES)
    assert not continues(b"\x17data", (behind - flows.BURST_BYTES) % SEQUENCE)
    assert not continues(wire.hello("other.example"), behind)
    assert not continues(wire.hello("other.example"), 100)
    assert continues(wire.hello("example.com"), 100)  # sent again before the kernel had learnt the verdict
    assert not continues(b"\r\nGET / HTTP/1.1\r\n", behind)
    assert continues(b"\x17data", behind)
    assert continues(b"\x17data", behind + 5_000)


def test_the_oldest_flow_makes_room(table, monkeypatch) -> None:
    monkeypatch.setattr(flows, "MOST", 3)
    for n in range(5):
        table.open(key(n), b"m", "phone1")
    assert [flow.key.sport for flow in table] == [2, 3, 4]
    assert len(table) == 3


@pytest.mark.parametrize("cuts", [(), (37,), (9,), (9, 38), (9, 39, 41), (3, 42)])
def test_a_second_hello_behind_early_data_is_odd_wherever_it_is_cut(table, wire, cuts) -> None:
    """A server that has asked for it reads over the data that came early (RFC 8446, 4.2.10); EARLY has 37 bytes."""
    first, said = wire.hello("a.example"), b"\x17\x03\x03\0\x20" + bytes(32) + wire.hello("miui.com")
    flow = table.open(key(), b"m", "phone1")
    assert isinstance(say(table, flow, wire, first, 100), Heard)
    judge(table, flow, Watch.BEGUN)
    found = [say(table, flow, wire, said[at:end], 100 + len(first) + at, first=False) for at, end in itertools.pairwise((0, *cuts, len(said)))]
    assert any(one is Hearing.WAIT or (isinstance(one, Heard) and one.unfinished) for one in found)


@pytest.mark.parametrize(("second", "passes"), [
    ([b"a.example"], True), ([b"miui.com"], False), ([], False), ([b"a.example", b"miui.com"], False),
])
def test_a_second_hello_behind_early_data_may_say_the_same(table, wire, second, passes) -> None:
    """Whoever sends early data to a server that asks for another hello is an ordinary client."""
    first, early = talk.hello(server_name(b"a.example")), b"\x17\x03\x03\0\x20" + bytes(32)
    again = talk.hello(*[server_name(name) for name in second])
    for pieces in ([early + b"\x14\x03\x03\0\1\1" + again], [early, again]):
        flow = table.open(key(), b"m", "phone1")
        heard = say(table, flow, wire, first, 100)
        flow.said = heard.said
        judge(table, flow, Watch.BEGUN)
        at = 100 + len(first)
        for piece in pieces:
            found = say(table, flow, wire, piece, at, first=False)
            at += len(piece)
        assert (found is Hearing.SAME) is passes


def test_who_is_asked_for_one_more_hello_is_listened_to_until_it_has_come(table, wire) -> None:
    """Whatever its server says meanwhile; and of a third nobody would take notice."""
    first = wire.hello("a.example")
    flow = table.open(key(), b"m", "phone1")
    flow.said = say(table, flow, wire, first, 100).said
    judge(table, flow, Watch.BEGUN)
    assert flow.shown is Watch.BEGUN
    flow.asked = True
    assert flow.shown is Watch.NAMES
    assert say(table, flow, wire, first, 100 + len(first), first=False).said == flow.said
    judge(table, flow, Watch.BEGUN)
    for n in range(80):  # in any order
        if flow.watch is Watch.NONE:
            break
        assert say(table, flow, wire, b"\x16\x03\x01\2\0\1\0" + bytes(1 << 15), 100 + 2 * len(first) + (n ^ 1) * ((1 << 15) + 7), first=False) is Hearing.SAME
    assert flow.shown is Watch.NONE


def behind_early_data(table, wire, second: bytes) -> tuple[flows.Flow, bytes, int]:
    """A flow that is judged, what its phone says next, and where."""
    first, early = wire.hello("a.example"), b"\x17\x03\x03\0\x20" + bytes(32)
    flow = table.open(key(), b"m", "phone1")
    flow.said = say(table, flow, wire, first, 100).said
    judge(table, flow, Watch.BEGUN)
    return flow, early + second, 100 + len(first)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 1, 1, 2, 2, 3), (0, 1, 3, 2, 3), (1, 0, 1, 2, 3)])
def test_a_second_hello_behind_early_data_may_come_in_pieces(table, wire, order) -> None:
    """As post-quantum ones do. What comes before its turn comes once more."""
    flow, said, at = behind_early_data(table, wire, b"\x14\x03\x03\0\1\1" + wire.hello("a.example", pad=1_500))
    cuts = (0, 30, 90, 900, len(said))
    pieces = [(cuts[n], said[cuts[n] : cuts[n + 1]]) for n in range(4)]
    found = [say(table, flow, wire, pieces[n][1], at + pieces[n][0], first=False) for n in order]
    assert len(flow.held) == 2
    assert found[-1].said == flow.said
    assert not found[-1].unfinished
    table.release(flow)
    assert say(table, flow, wire, b"\x17\x03\x03\0\4data", at + len(said), first=False) is Hearing.SAME


def test_in_pieces_it_says_nothing_else_either(table, wire) -> None:
    """Nor are there two ends of it, of which one has passed."""
    good, evil = (wire.hello(name, pad=300) for name in ("a.example", "b.example"))
    for second in (evil, b"\x16\x03\x01\x03\xe8\1\0\3\xe4\x03\x03" + bytes(40) + evil + bytes(700)):
        flow, said, at = behind_early_data(FlowTable(), wire, second)
        table = FlowTable()
        found = [say(table, flow, wire, said[n : n + 60], at + n, first=False) for n in range(0, len(said), 60)]
        assert Hearing.WAIT in found
        assert any(isinstance(one, Heard) and one.unfinished for one in found)
    flow, said, at = behind_early_data(table, wire, good)
    cut = len(said) - 100
    assert say(table, flow, wire, evil[-100:], at + cut, first=False) is Hearing.AGAIN  # it would be kept
    assert say(table, flow, wire, said[:cut], at, first=False) is Hearing.WAIT
    flow, said, at = behind_early_data(table, wire, good)
    assert say(table, flow, wire, said[:cut], at, first=False) is Hearing.WAIT
    for piece, where in ((said[:cut], 0), (b"!" + said[1:], 0), (b"!" + said[cut:], cut - 1), (good, 0), (said[cut + 1 :], cut + 1)):
        assert say(table, flow, wire, piece, at + where, first=False) is Hearing.AGAIN
    assert say(table, flow, wire, said[cut - 10 :], at + cut - 10, first=False).said == flow.said


READ_OVER = [b"\x14\x03\x03\0\1\1", b"\x17\x03\x03\0\x20" + bytes(32), b"\x17\x03\x03\0\x40" + b"\x16\x03\xff\xff" * 16, b"\x16\x03\x01\0\0", b"\x15\x03\x01\0\2\1\0"]


def records(name: bytes, size: int, version: int) -> bytes:
    whole = message(server_name(name))
    return b"".join(b"\x16\x03" + bytes((version,)) + len(part).to_bytes(2) + part for part in (whole[n : n + size] for n in range(0, len(whole), size)))


SIZES, VERSIONS = st.sampled_from([1, 2, 5, 20, 60, 999]), st.sampled_from([1, 3, 0x7F])
FIRST, SECOND = (st.builds(records, st.just(name), SIZES, VERSIONS) for name in (b"good.net", b"miui.com"))


@given(FIRST, st.lists(st.sampled_from(READ_OVER), max_size=3).map(b"".join), SECOND, st.lists(st.integers(1, 900), max_size=4))
def test_a_second_hello_is_never_passed_unread_in_its_order(first: bytes, between: bytes, second: bytes, cuts: list[int]) -> None:
    """Whatever its server reads over between the two, however they are cut into records and segments."""
    table = FlowTable()
    said, flow = first + between + second, table.open(key(), b"m", "phone1")
    ends = [0, *sorted({cut for cut in cuts if cut < len(said)} | ({len(first)} if len(cuts) % 2 else set())), len(said)]
    for at, end in itertools.pairwise(ends):
        raw = captures.tcp("10.77.0.10", 40_000, DST, 443, 100 + at, 0x18, said[at:end])
        heard = table.hear(flow, at, ip.parse(raw), raw, 0.0, first=at == 0)
        if isinstance(heard, Heard):
            if heard.unfinished:
                return
            flow.said = heard.said
            judge(table, flow, Watch.NAMES if heard.may_say_more else Watch.BEGUN)
    assert flow.held or "miui.com" in [name.name for name in flow.said]


def test_what_is_no_hello_goes_on_behind_one(table, wire) -> None:
    first = wire.hello("a.example")
    flow = table.open(key(), b"m", "phone1")
    say(table, flow, wire, first, 100)
    judge(table, flow, Watch.BEGUN)
    at = 100 + len(first)
    for said in (b"\x14\x03\x03\0\1\1" * 2, b"\x17\x03\x03\1\0" + bytes(256), bytes(range(256))):
        assert say(table, flow, wire, said, at, first=False) is Hearing.SAME
        at += len(said)


# -- what is kept of what was said --------------------------------------------------------------------------------------


def endless(wire) -> list[bytes]:
    """A line that could be a request's, and does not end."""
    return [b"a " + b"x" * 1_398] + [b"x" * 1_400] * 10


def fields(wire) -> list[bytes]:
    """Of HTTP/2, for its table."""
    encoder = Encoder()
    encoder.header_table_size = 65_536
    return [h2.PREFACE + frame(4, stream=0), *(headers(encoder, "a.example", *((f"{k:x}-{n}", "") for n in range(8))) for k in range(200))]


@pytest.mark.parametrize("said", [endless, fields])
def test_one_phones_unfinished_words_do_not_fill_the_memory(table, wire, monkeypatch, said) -> None:
    monkeypatch.setattr(stream, "MOST_OF_ONE", 1 << 20)
    words = said(wire)
    other = table.open(key(1), b"n", "phone2")
    say(table, other, wire, words[0], 100)
    judge(table, other, Watch.NAMES)
    opened = []
    for number in range(40):
        flow = table.open(key(40_000 + number), b"m", "phone1")
        opened.append(flow)
        at = 100
        for word in words:
            say(table, flow, wire, word, at, first=at == 100)
            if flow.decision is None:
                judge(table, flow, Watch.NAMES)
            at += len(word)
    assert 0 < sum(flow.size for flow in opened) <= 1 << 20
    assert opened[-1].size > 0
    assert say(table, opened[0], wire, b"more", 100 + sum(map(len, words)), first=False).unfinished
    assert not isinstance(say(table, other, wire, b"more", 100 + len(words[0]), first=False), Heard)
    for flow in opened:
        table.forget(flow.key)
    assert not table._listened._sizes or set(table._listened._sizes) <= {"phone2"}


def test_nothing_is_kept_of_what_was_refused(table, wire) -> None:
    flow = table.open(key(proto=17), b"m", "phone1")
    for number in range(3):
        raw = wire.udp(DST, 443, quicwriter.initial(quicwriter.crypto(0, captures.hello("a.example", pad=3_000)[:900]), dcid=b"%08d" % number))
        table.hear(flow, number, ip.parse(raw), raw, 0.0)
    assert flow.size > 900
    flow.decision = Decision(Verdict.BLOCK, "", "", "", 1)
    table.judged(flow)
    assert flow.size == 0


@pytest.mark.parametrize("watch", [Watch.BEGUN, Watch.NAMES])
def test_a_packet_that_says_nothing_is_more_of_the_same(table, wire, watch: Watch) -> None:
    """The kernel asks about none; another program's rules may bring one all the same."""
    hello, flow = wire.hello("example.com"), table.open(key(), b"m", "phone1")
    say(table, flow, wire, hello, 1_000)
    judge(table, flow, watch)
    for at in (0, len(hello), len(hello) + 5):
        assert say(table, flow, wire, b"", 1_000 + at, first=False) in (Hearing.SAME, Hearing.AGAIN)
