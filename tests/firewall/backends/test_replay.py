"""Recordings with known content through the gate's own code: made by ourselves, and other people's where they are."""

import gc
from ipaddress import IPv6Address
from pathlib import Path

import captures
import carriers
import corpora
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firewall.backends import replay
from firewall.backends.model import Everybody, Sets
from firewall.capture import Capture
from firewall.commands import KernelState
from firewall.dissect import tls
from firewall.gateway import Gateway
from firewall.recorded import Recorded


@pytest.mark.parametrize("name", captures.CASES)
def test_what_is_in_a_recording_is_found(name: str, tmp_path: Path) -> None:
    data, wanted = captures.CASES[name]
    file = tmp_path / name
    file.write_bytes(data)
    rows = list(corpora.replayed(Capture(file), name))
    told = [{key: row[key] for key in want} for row, want in zip(rows, wanted, strict=False)]
    assert told == wanted
    assert len(rows) == len(wanted)


PLAIN = [name for name, (data, _) in captures.CASES.items() if data[:2] != b"\x1f\x8b"]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_packets_make_it_raise(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Frames that are changed anywhere, left out, repeated and in another order."""
    file = tmp_path_factory.getbasetemp() / "case"
    file.write_bytes(captures.CASES[data.draw(st.sampled_from(PLAIN))][0])
    frames = list(Capture(file))[:40]
    for at in data.draw(st.lists(st.integers(0, max(len(frames) - 1, 0)), max_size=6)) if frames else ():
        time, link, frame = frames[at]
        wrong = bytearray(frame)
        for place, value in data.draw(st.lists(st.tuples(st.integers(0, 90), st.integers(0, 255)), max_size=4)):
            if place < len(wrong):
                wrong[place] = value
        frames[at] = time, link, bytes(wrong[: data.draw(st.integers(0, len(wrong)))] if data.draw(st.booleans()) else wrong)
    frames = [frames[at] for at in data.draw(st.lists(st.integers(0, len(frames) - 1), max_size=60))] if frames else []
    for row in corpora.replayed(frames):
        assert row["verdict"] in {"allow", "ask", "block", "held"}


@pytest.mark.parametrize("teredo", [False, True])
def test_the_kernel_of_a_recording_knows_teredo_as_the_real_one_does(teredo: bool) -> None:
    listed, free = (IPv6Address(addr).packed for addr in ("2001:0:102:304:8000:1:d5c1:cf4a", "2001:0:102:304:8000:1:d5c1:ceff"))
    sets = Sets()
    form = IPv6Address("64:ff9b::2a3e:3000").packed, IPv6Address("64:ff9b::2a3e:30ff").packed
    sets.load(KernelState(1, False, (), (form,), True, teredo=teredo))
    assert [sets.refuse(b"", addr, 0.0) for addr in (form[0], listed, free)] == [True, teredo, False]


def test_of_very_many_flows_the_oldest_is_told_and_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "MOST", 10)
    packets = [packet for n in range(50) for packet in captures._tls(f"www{n}.example", sport=20_000 + n, at=captures.START + n)]
    frames = ((time, 1, frame) for time, frame in captures.on("ethernet", packets))
    told = 0
    for n, row in enumerate(corpora.replayed(frames)):
        assert row["name"] == f"www{n}.example"
        told += 1
    assert told == 50


def test_a_flow_that_was_told_is_gone_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while nobody looks for cycles, as in a long recording."""
    monkeypatch.setattr(replay, "MOST", 10)
    packets = [packet for n in range(200) for packet in captures._tls(sport=20_000 + n, at=captures.START + n)]
    frames = ((time, 1, frame) for time, frame in captures.on("ethernet", packets))

    def alive() -> int:
        return sum(type(one) is Recorded for one in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = alive()  # of other tests
        late = [alive() - before for n, _ in enumerate(corpora.replayed(frames)) if n == 180]
    finally:
        gc.enable()
    assert late[0] <= 12


def carried(name: str, packets: captures.Packets) -> list[dict]:
    """Rows of these packets within others."""
    proto, wrap = carriers.STREAMS.get(name) or carriers.DATAGRAMS[name]
    out = []
    for time, inner in packets:
        ends = (captures.PHONE, "192.0.2.9") if inner[12:16] == packets[0][1][12:16] else ("192.0.2.9", captures.PHONE)
        outer = captures.ip(*ends, proto, wrap(inner)) if name in carriers.STREAMS else captures.udp(ends[0], proto, ends[1], proto, wrap(inner))
        out.append((time, outer))
    return list(corpora.replayed((time, 1, frame) for time, frame in captures.on("ethernet", out)))


@pytest.mark.parametrize("name", [*carriers.STREAMS, *(name for name in carriers.DATAGRAMS if "teredo" not in name)])
def test_what_packets_carry_has_rows_of_its_own_behind_that_of_the_tunnel(name: str) -> None:
    """As long as it lasts, both ways; a second name comes after more packets than a plain flow over UDP is listened to."""
    first = captures.Talk().shake().say(bytes(3_000), 60).answer().packets
    packets = first + captures._tls("late.example", sport=40_001, at=first[-1][0] + 1)
    outer, *inner = carried(name, packets)
    assert [(row["name"], row["src"], row["dport"]) for row in inner] == [("", captures.PHONE, 443), ("late.example", captures.PHONE, 443)]
    assert inner[0]["bytes_down"] == 40 + 140
    assert outer["via"] == ("none" if name in carriers.STREAMS else "tunnel")


@pytest.mark.parametrize("dst", [captures.FAR, captures.FAR6])
def test_packets_without_a_length_are_counted_as_long_as_they_are(dst: str) -> None:
    """So they are recorded on a machine whose card cuts them (TSO)."""
    talk = captures.Talk(dst=dst).shake().say(captures.records(captures.hello("www.example.com"))).answer(bytes(900))
    packets = talk.answer(bytes(5_000)).say(bytes(5_000), 5_000).packets
    at = slice(2, 4) if dst == captures.FAR else slice(4, 6)
    rows = []
    for cut in (False, True):
        made = [(time, bytearray(packet)) for time, packet in packets]
        for _, packet in made:
            if cut and len(packet) > 5_000:
                packet[at] = b"\0\0"
        (row,) = corpora.replayed((time, 1, frame) for time, frame in captures.on("ethernet", [(time, bytes(packet)) for time, packet in made]))
        rows.append(row)
    assert rows[0]["bytes_up"] > 5_000 < rows[0]["bytes_down"]
    assert rows[0] == rows[1]


def test_a_tunnel_that_carries_nothing_for_long_is_looked_into_on_its_own_port() -> None:
    port, wrap = carriers.DATAGRAMS["capwap-cisco"]
    beacons = [(captures.START - 1, captures.udp(captures.PHONE, 50_000, "192.0.2.9", port, b"\0\x10\3\0" + bytes(60)))] * 100
    inner = [(time, captures.udp(captures.PHONE, 50_000, "192.0.2.9", port, wrap(packet))) for time, packet in captures._tls()]
    rows = list(corpora.replayed((time, 1, frame) for time, frame in captures.on("ethernet", beacons + inner)))
    assert [row["name"] for row in rows] == ["", "www.example.com"]


def test_frames_in_one_of_wifi_are_played_each() -> None:
    packets = [packet for _, packet in captures._tls()]
    frames = [(captures.START, 127, captures.several(*packets[:3])), (captures.START + 1, 127, captures.several(*packets[3:]))]
    (row,) = corpora.replayed(frames)
    assert (row["name"], row["verdict"]) == ("www.example.com", "allow")


def test_with_rules_what_is_within_is_as_unseen_as_live() -> None:
    _, wrap = carriers.DATAGRAMS["vxlan"]
    packets = [(time, captures.udp(captures.PHONE, 50_000, "192.0.2.9", 4789, wrap(inner))) for time, inner in captures._tls()]
    one = replay.Replay(Gateway(Everybody()), corpora.packs(), all_names=False)
    rows = [flow.to_json("") for flow in one.play((time, 1, frame, 0, len(frame)) for time, frame in captures.on("ethernet", packets))]
    assert [(row["dport"], row["via"]) for row in rows] == [(4789, "tunnel")]


def test_packets_in_packets_in_packets_have_an_end() -> None:
    packet = captures._tls()[3][1]
    for _ in range(2_000):
        packet = captures.ip(captures.PHONE, captures.FAR, 4, packet)
    assert len(list(corpora.replayed([(captures.START, 1, frame) for _, frame in captures.on("ethernet", [(0, packet)])]))) == 1


def test_of_a_request_cut_off_behind_its_host_the_host_is_told() -> None:
    said = captures.get("www.example.com")
    frames = captures.on("ethernet", captures.Talk(dport=80).shake().say(said).packets)
    time, last = frames.pop()
    line = said.index(b"\r\nAccept") + 2
    for size in range(8, len(said)):
        (row,) = corpora.replayed([*((at, 1, frame) for at, frame in frames), (time, 1, last[: size - len(said)])])
        assert (row["name"], row["via"], row["verdict"]) == ("www.example.com" if size >= line else "", "unfinished", "block")


def test_answers_cut_off_anywhere_are_no_harm() -> None:
    """As recordings have them that keep so many bytes of each packet."""
    (_, query), (_, answer) = captures.asked("www.example.com", captures.FAR)
    for size in range(28, len(answer) + 1):
        frames = captures.on("ethernet", [(captures.START, query), (captures.START, answer[:size])])
        (row,) = corpora.replayed((time, 1, frame) for time, frame in frames)
        assert row["name"] == "www.example.com"
        (row,) = corpora.replayed((time, 1, frame) for time, frame in frames[1:])  # the question is not in it
        assert row["name"] in {"", "www.example.com"}


def test_a_name_learnt_before_the_flow_counts_and_one_that_is_long_past_does_not() -> None:
    for later, via in ((0, "dns"), (10_000, "none")):
        talk = captures.Talk(dport=5000, at=captures.START + later).shake().say(b"\0\1").packets
        packets = captures.on("ethernet", captures.asked("shop.example", captures.FAR) + talk)
        rows = list(corpora.replayed((time, 1, frame) for time, frame in packets))
        assert rows[-1]["via"] == via


GOOD, EVIL = (captures.records(captures.hello(name, pad=700)) for name in ("www.example.com", "bad.example.com"))
CHANGE = b"\x14\x03\x03\0\x01\x01"


def said_twice(*parts: tuple[int, int, bytes] | bytes) -> dict:
    """The row of a flow whose phone says parts (where they begin and end, and of what); bytes are the server's."""
    talk = captures.Talk().shake()
    begin = talk.seq
    for part in parts:
        if isinstance(part, bytes):
            talk.answer(part)
        else:
            start, end, text = part
            talk.up(captures.PSH | captures.ACK, text[start:end], seq=begin + start)
    frames = ((time, 1, frame) for time, frame in captures.on("ethernet", talk.packets))
    (row,) = corpora.replayed(frames)
    return row


def names(row: dict) -> set[str]:
    return {name["name"] for name in row["names"]}


@pytest.mark.parametrize("parts", [
    [(0, 400, GOOD), (0, 400, EVIL), (400, 900, GOOD)],
    [(0, 400, EVIL), (0, 400, GOOD), (400, 900, GOOD)],
    [(0, 400, GOOD), (0, 500, EVIL), (500, 900, GOOD)],
    [(30, 400, GOOD), (30, 400, EVIL), (0, 30, GOOD), (400, 900, GOOD)],
    [(50, 400, EVIL), (100, 400, GOOD), (0, 100, GOOD), (400, 900, GOOD)],
    [(0, 900, GOOD), (0, 900, EVIL)],
    [(0, 900, GOOD), (0, 400, EVIL), (400, 900, GOOD)],
    [(0, 900, GOOD), b"hello", (0, 900, EVIL)],  # it could be the second hello
], ids=lambda parts: " ".join(f"{'good' if part[2] is GOOD else 'evil'}{part[0]}-{part[1]}" if isinstance(part, tuple) else "answer" for part in parts))
def test_what_is_said_in_two_ways_is_refused_as_live_and_both_names_are_told(parts: list) -> None:
    row = said_twice(*parts)
    assert (row["verdict"], row["rule"]) == ("block", "baseline/1")
    assert names(row) == {"www.example.com", "bad.example.com"}


@pytest.mark.parametrize("parts", [
    [(0, 400, GOOD), (0, 500, GOOD), (200, 900, GOOD), (0, 900, GOOD)],
    [(0, 900, GOOD), (len(GOOD) - 1, len(GOOD), b"x" * 900), b"hello"],  # one byte: a sign of life
    [(0, 900, GOOD), b"hello", (len(GOOD), 1_000, b"\x17" * 1_000), (0, 900, EVIL)],  # what was judged was answered
])
def test_what_is_said_twice_alike_or_after_the_answer_is_not(parts: list) -> None:
    row = said_twice(*parts)
    assert row["verdict"] == "allow"
    assert names(row) == {"www.example.com"}


def test_a_second_hello_behind_the_answer_is_heard_and_judged_with_the_first() -> None:
    more = GOOD + CHANGE + captures.records(captures.hello("cdn.example.com"))
    row = said_twice((0, len(GOOD), GOOD), b"once more", (len(GOOD), len(more), more))
    assert names(row) == {"www.example.com", "cdn.example.com"}
    assert row["verdict"] == "allow"


EARLY = b"\x17\x03\x03\0\x20" + bytes(32)
ASKED_AGAIN = b"\x16\x03\x03\0\x58\x02\0\0\x54\x03\x03" + tls.RETRY + bytes(70)


@pytest.mark.parametrize(("answer", "before", "verdict"), [
    (b"once more", CHANGE * 3, "allow"), (ASKED_AGAIN, CHANGE * 3, "allow"), (ASKED_AGAIN, EARLY, "block"), (ASKED_AGAIN, CHANGE + EARLY, "block"),
])
def test_what_stands_before_a_second_hello_is_judged_as_live(answer: bytes, before: bytes, verdict: str) -> None:
    more = GOOD + before + captures.records(captures.hello("cdn.example.com"))
    assert said_twice((0, len(GOOD), GOOD), answer, (len(GOOD), len(more), more))["verdict"] == verdict


@pytest.mark.parametrize("first", [2, 3, 4])
def test_a_handshake_that_was_overtaken_is_of_the_same_connection(first: int) -> None:
    """Multi-queue cards record so: SYN, SYN-ACK and ACK come behind the first words."""
    talk = captures.Talk().shake().say(GOOD, 400).packets
    turned = [*talk[3 : 1 + first], *talk[:3], *talk[1 + first :]]
    frames = [(n, 1, frame) for n, (_, frame) in enumerate(captures.on("ethernet", turned))]
    (row,) = corpora.replayed(frames)
    assert names(row) == {"www.example.com"}


WHOLE = captures.Talk().shake().say(GOOD, len(GOOD) // 3 + 1).up(captures.ACK).close().packets


@settings(max_examples=100, deadline=None)
@given(st.permutations(captures.on("ethernet", WHOLE)))
def test_a_connection_whose_packets_were_written_in_any_order_is_one(packets: list) -> None:
    """Its handshake and its end too: a card with several queues, or two recordings in one, do not keep them in order."""
    (row,) = corpora.replayed((captures.START, 1, frame) for _, frame in packets)
    assert (row["src"], row["verdict"], names(row)) == (captures.PHONE, "allow", {"www.example.com"})


@pytest.mark.parametrize("says", [
    (captures.get("www.example.com"), captures.get("two.example")), (GOOD, captures.records(b"\x10\0\0\x04key!")),
])
@pytest.mark.parametrize("shakes", [True, False])
def test_a_connection_whose_packets_were_written_backwards_says_all_its_names(says: tuple[bytes, ...], shakes: bool) -> None:
    talk = captures.Talk()
    for said in says:
        talk.say(said, 200)
    packets = [*(captures.Talk().shake().packets if shakes else ()), *talk.close().packets]
    (row,) = corpora.replayed((captures.START, 1, frame) for _, frame in reversed(captures.on("ethernet", packets)))
    assert (row["src"], row["verdict"], row["name"]) == (captures.PHONE, "allow", "www.example.com")
    assert len(names(row)) == (1 if GOOD in says else 2)


def test_times_that_go_back_are_those_of_the_first_and_the_last_packet() -> None:
    packets = captures.Talk().shake().say(GOOD).answer(bytes(900)).answer(bytes(900)).up(captures.ACK).close().packets
    frames = [frame for _, frame in captures.on("ethernet", packets)]
    for set_back in range(len(frames)):
        times = [captures.START + n - (1_000 if n == set_back else 0) for n in range(len(frames))]
        (row,) = corpora.replayed((time, 1, frame) for time, frame in zip(times, frames, strict=True))
        assert (row["first"], row["last"]) == (min(times), max(times))


def test_an_end_without_what_stood_in_front_of_it_is_judged_at_its_time() -> None:
    """And not when the recording is over, long after: the name that our DNS gave is no longer the phone's then."""
    mute = captures.Talk(dport=5000).shake().say(b"\0" * 9)
    mute.seq += 100  # lost
    asked = captures.asked("shop.example", captures.FAR) + mute.say(b"\0" * 9).close().packets
    later = (captures.START + 9_000, captures.udp(captures.PHONE, 9_000, captures.FAR, 9_001, b"hi"))
    rows = list(corpora.replayed((time, 1, frame) for time, frame in captures.on("ethernet", [*asked[:2], *asked[5:], later])))
    assert [row["via"] for row in rows] == ["dns", "dns", "none"]


@pytest.mark.parametrize("dst", [captures.FAR, captures.FAR6])
@pytest.mark.parametrize(("says", "dport"), [  # by what it says, else by its port
    (b"HTTP/1.1 101 Switching Protocols\r\n", 50_000), (b"\x16\x03\x03\0\x7a\x02\0\0\x76", 50_000), (b"\xff\xfe\xfd", 31_337),
])
def test_what_begins_with_an_answer_was_opened_by_the_other_side(says: bytes, dst: str, dport: int) -> None:
    talk = captures.Talk(dst=dst, dport=dport).answer(says).say(captures.get("www.example.com"))
    (row,) = corpora.replayed((time, 1, frame) for time, frame in captures.on("ethernet", talk.packets))
    assert (row["dst"], row["dport"], row["name"]) == (dst, dport, "www.example.com")


def test_a_name_behind_a_proxys_header_is_read() -> None:
    said = b"PROXY TCP4 192.0.2.1 198.51.100.1 52176 443\r\n" + GOOD
    for size in (20, 2_000):
        talk = captures.Talk().shake().say(said, size).packets
        (row,) = corpora.replayed((time, 1, frame) for time, frame in captures.on("ethernet", talk))
        assert names(row) == {"www.example.com"}


def test_there_are_enough_recordings_of_our_own() -> None:
    assert len(captures.CASES) >= 30


@pytest.mark.skipif(not corpora.CORPORA.exists(), reason=f"other people's captures are not at {corpora.CORPORA}: name the folder above data/pcaps in CONSENTRY_SHARED")
@pytest.mark.parametrize("variant", [list, corpora.reversed_segments, corpora.duplicated])
def test_names_of_other_peoples_captures_match(variant, capsys: pytest.CaptureFixture) -> None:
    scores = corpora.measure(variant)
    with capsys.disabled():
        print(*("\n" + line for line in corpora.report(variant.__name__, scores)), sep="")
    assert scores["TLS"].of >= 300
    assert scores["HTTP"].of >= 175
    for kind in corpora.MEASURED:
        assert scores[kind].share >= 0.99, kind
