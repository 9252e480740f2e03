"""A phone that means it: TCP by hand, segments of any size, order, overlap, TTL, checksum and flags, over IPv4 and IPv6.

Run inside a phone: `hostile.py < TRIES > WHAT BECAME OF THEM`, JSON Lines; a try is {"trick", "speech", "family", "name",
"token"}, or {"speech", "family", "to", "port", "data", "token"} for plain words. The phone's kernel never sees what comes back (an nft rule of the phone's own), for it would reset what it does not know. A
trick brings `evil` to the server; `good` is as long, and names a friend.
"""

from __future__ import annotations

import itertools
import json
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from byhand import (  # noqa: F401  who tells what such a phone does needs no more than this file
    ACK,
    DIES,
    EVIL_NAME,
    FIN,
    FRIEND,
    GOOD_NAME,
    LISTED,
    MD5,
    PORT,
    PSH,
    RETRY,
    RST,
    RULES,
    SPEECH,
    SYN,
    URG,
    Raw,
    checksum,
    hello,
    request,
)

TRICKS: dict[str, Callable[[Raw, str, bytes, bytes], None]] = {}
PAUSE = 0.15  # between what is to arrive before the rest: the gate has judged it, and the server has got it


def trick(function: Callable[[Raw, str, bytes, bytes], None]) -> Callable[[Raw, str, bytes, bytes], None]:
    TRICKS[function.__name__] = function
    return function


def middle(data: bytes) -> int:
    """Within the name."""
    return next(at for name in (GOOD_NAME, EVIL_NAME) if (at := data.find(name.encode())) > 0) + 9


@trick
def plain(c: Raw, _: str, good: bytes, evil: bytes) -> None:
    if c.open():
        c.send(0, evil)


def pieces(size: int) -> Callable[[Raw, str, bytes, bytes], None]:
    def cut(c: Raw, _: str, good: bytes, evil: bytes) -> None:
        if c.open():
            for at in range(0, len(evil), size):
                c.send(at, evil[at : at + size])
                time.sleep(0.005)
    return cut


TRICKS |= {"pieces40": pieces(40), "pieces20": pieces(20), "pieces1": pieces(1)}


@trick
def in_the_name(c: Raw, _: str, good: bytes, evil: bytes) -> None:
    if c.open():
        c.send(0, evil[: middle(evil)])
        c.send(middle(evil), evil[middle(evil) :])


@trick
def reversed_(c: Raw, _: str, good: bytes, evil: bytes) -> None:
    if c.open():
        cuts = [0, 7, middle(evil), middle(evil) + 4, len(evil)]
        for at, end in reversed(list(itertools.pairwise(cuts))):
            c.send(at, evil[at:end])
            time.sleep(0.02)


@trick
def later_part_alone(c: Raw, _: str, good: bytes, evil: bytes) -> None:
    """And only when the gate has had time to believe that it is a beginning."""
    if c.open():
        c.send(middle(evil), evil[middle(evil) :])
        time.sleep(1.0)
        c.send(0, evil[: middle(evil)])


@trick
def later_part_looks_like_a_beginning(c: Raw, speech: str, good: bytes, evil: bytes) -> None:
    """Of a request whose body, or a hello whose record, is a harmless one."""
    inside = SPEECH[speech](GOOD_NAME, "f" * 16)
    if c.open():
        c.send(len(evil), inside)
        time.sleep(PAUSE)
        c.send(0, evil)


@trick
def overlap_good_first(c: Raw, _: str, good: bytes, evil: bytes) -> None:
    at = middle(evil)
    if c.open():
        c.send(at, good[at:])
        c.send(at, evil[at:])
        c.send(0, evil[:at])
        c.send(at, evil[at:])


@trick
def overlap_evil_first(c: Raw, _: str, good: bytes, evil: bytes) -> None:
    at = middle(evil)
    if c.open():
        c.send(at, evil[at:])
        c.send(at, good[at:])
        c.send(0, evil[:at])


@trick
def in_front_of_the_beginning(c: Raw, _: str, good: bytes, evil: bytes) -> None:
    """zapret's seqovl: the server cuts off what stands before its first byte."""
    if c.open():
        c.send(-len(good), good + evil[:7])
        c.send(7, evil[7:])


def fake(**how: object) -> Callable[[Raw, str, bytes, bytes], None]:
    """A harmless whole that the server does not take, and then the true one."""

    def send(c: Raw, _: str, good: bytes, evil: bytes) -> None:
        if c.open():
            c.send(0, good, **how)  # type: ignore[arg-type]
            time.sleep(PAUSE)
            c.send(0, evil)
            time.sleep(PAUSE)
            c.send(0, evil)

    return send


TRICKS |= {
    "fake_dies": fake(ttl=DIES),
    "fake_checksum": fake(wrong=1),
    "fake_md5": fake(options=MD5),
    "fake_no_ack": fake(flags=PSH),
    "fake_in_reset": fake(flags=RST | ACK, ttl=DIES),
    "fake_in_fin": fake(flags=FIN | ACK, ttl=DIES),
}


@trick
def fake_ack(c: Raw, _: str, good: bytes, evil: bytes) -> None:
    if c.open():
        c.send(0, good, ack=(c.ack + (1 << 20)) % (1 << 32))
        time.sleep(PAUSE)
        c.send(0, evil)


@trick
def fake_half_dies(c: Raw, _: str, good: bytes, evil: bytes) -> None:
    """The server acknowledges the true beginning, and never sees the fake end."""
    if c.open():
        c.send(0, evil[:7])
        c.send(7, good[7:], ttl=DIES)
        time.sleep(PAUSE)
        c.send(7, evil[7:])


@trick
def fake_old_timestamp(c: Raw, _: str, good: bytes, evil: bytes) -> None:
    """PAWS: a server drops what seems to be older than what it has (RFC 7323, 5)."""
    def stamp(value: int) -> bytes:
        return b"\1\1\x08\x0a" + struct.pack("!II", value, 0)

    if c.open(options=b"\2\4\5\xb4" + stamp(1 << 30)):
        c.send(0, good, options=stamp(1))
        time.sleep(PAUSE)
        c.send(0, evil, options=stamp((1 << 30) + 5))


@trick
def last_byte_again(c: Raw, _: str, good: bytes, evil: bytes) -> None:
    """TLS only: a name's last letter is thrown away by the server (PAWS), and the true one looks like a keep-alive."""
    def stamp(value: int) -> bytes:
        return b"\1\1\x08\x0a" + struct.pack("!II", (1 << 30) + value, 0)

    c.port, token = 443, evil[44:60]  # a server that waits for the whole hello; the echo at 8443 answers half of one
    evil = evil.replace(token, b"-" * len(token))  # the beginning arrives, for it says no refused name
    if c.open(options=b"\2\4\5\xb4" + stamp(0)):
        c.send(0, evil[:-1], options=stamp(1))
        time.sleep(PAUSE)
        c.send(len(evil) - 1, b"x", options=stamp(-(1 << 20)))
        time.sleep(PAUSE)
        c.send(len(evil), b"\x17\x03\x03\0\x10" + token, options=stamp(2))  # what is read when the gap is filled
        for _ in range(2):
            c.send(len(evil) - 1, evil[-1:], options=stamp(3))
            time.sleep(PAUSE)


@trick
def fake_long_before(c: Raw, _: str, good: bytes, evil: bytes) -> None:
    """zapret's badseq."""
    if c.open():
        c.send(-10_000, good)
        time.sleep(PAUSE)
        c.send(0, evil)


@trick
def fake_long_before_and_all_between(c: Raw, _: str, good: bytes, evil: bytes) -> None:
    if c.open():
        c.send(-10_000, good)
        for at in range(len(good) - 10_000, 0, 1_400):
            c.send(at, b"x" * min(1_400, -at))
        time.sleep(PAUSE)
        c.send(0, evil)


def dies(flags: int) -> Callable[[Raw, str, bytes, bytes], None]:
    def send(c: Raw, _: str, good: bytes, evil: bytes) -> None:
        if c.open():
            c.send(0, b"", DIES, flags)
            time.sleep(PAUSE)
            c.send(0, evil)
    return send


TRICKS |= {"reset_dies": dies(RST), "end_dies": dies(FIN | ACK)}


@trick
def urgent(c: Raw, _: str, good: bytes, evil: bytes) -> None:
    """A server takes the urgent byte out of the stream (RFC 6093)."""
    at = middle(evil)
    if c.open():
        c.send(0, evil[:at] + b"-" + evil[at:], flags=PSH | ACK | URG, urgent=at + 1)


@trick
def in_the_syn(c: Raw, _: str, good: bytes, evil: bytes) -> None:
    if c.open(evil):
        c.send(0, evil)


@trick
def harmless_syn(c: Raw, _: str, good: bytes, evil: bytes) -> None:
    if c.open(good):
        c.send(0, evil)


@trick
def syn_and_ack(c: Raw, _: str, good: bytes, evil: bytes) -> None:
    """As if both had opened the connection."""
    if c.open():
        c.ip(c.segment(c.isn, b"", SYN | ACK))
        c.send(0, evil)


@trick
def port_used_again(c: Raw, _: str, good: bytes, evil: bytes) -> None:
    """A second connection, a little before the first one's numbers: what began there would begin in its middle."""
    first = Raw(c.family, c.port, sport=c.sport, isn=c.isn + 5_000)
    if first.open():
        first.send(0, b"", flags=RST)
        time.sleep(PAUSE)
        if c.open():
            c.send(5_000, good)
            time.sleep(PAUSE)
            c.send(0, evil)
    first.close()


@trick
def port_used_again_later(c: Raw, _: str, good: bytes, evil: bytes) -> None:
    first = Raw(c.family, c.port, sport=c.sport, isn=c.isn - 8_000)
    if first.open():
        first.send(0, b"", flags=RST)
        time.sleep(PAUSE)
        if c.open():
            c.send(-8_000, good)
            for at in range(len(good) - 8_000, 0, 1_400):
                c.send(at, b"x" * min(1_400, -at))
            time.sleep(PAUSE)
            c.send(0, evil)
    first.close()


def fragments(*, overlap: bool) -> Callable[[Raw, str, bytes, bytes], None]:
    def send(c: Raw, _: str, good: bytes, evil: bytes) -> None:
        if not c.open():
            return
        whole, other = (c.segment(c.isn + 1, said, PSH | ACK) for said in (evil, good))
        step = 64
        for at in range(0, len(whole), step):
            more = at + step < len(whole)
            for part in ((other, whole) if overlap and at else (whole,)):
                body = part[at : at + step]
                if c.family == 6:
                    c.ip(struct.pack("!BxHI", 6, at | more, c.sport) + body, proto=44)
                else:
                    c.ip(body, fragment=(0x2000 if more else 0) | at >> 3, ident=c.sport)
    return send


TRICKS |= {"fragments": fragments(overlap=False), "fragments_overlap": fragments(overlap=True)}


def extension(kind: int) -> Callable[[Raw, str, bytes, bytes], None]:
    def send(c: Raw, _: str, good: bytes, evil: bytes) -> None:
        if c.open():
            body = c.segment(c.isn + 1, evil, PSH | ACK)
            c.ip(b"\x06\0\1\4\0\0\0\0" + body, proto=kind)  # one PadN option
    return send


TRICKS |= {"hop_by_hop": extension(0), "destination_options": extension(60)}


@trick
def two_at_once(c: Raw, _: str, good: bytes, evil: bytes) -> None:
    if c.open():
        c.send(0, good.replace(b"Connection: close", b"X: yz") + evil)


def one_after_another(flags: int = 0, ttl: int = 64) -> Callable[[Raw, str, bytes, bytes], None]:
    """With `flags`, a segment without a word between them."""
    def send(c: Raw, _: str, good: bytes, evil: bytes) -> None:
        good = good.replace(b"Connection: close", b"X: yz")
        if c.open():
            c.send(0, good)
            time.sleep(PAUSE)
            if flags:
                c.send(len(good), b"", ttl, flags)
                time.sleep(PAUSE)
            for _ in range(2):
                c.send(len(good), evil)
                time.sleep(PAUSE)
    return send


TRICKS |= {
    "two_one_after_another": one_after_another(), "syn_between": one_after_another(SYN),
    "reset_between": one_after_another(RST, DIES), "end_between": one_after_another(FIN | ACK, DIES),
}


def behind(c: Raw, first: bytes, said: bytes, cuts: tuple[int, ...]) -> None:
    """What is said when the first hello has been answered, in pieces."""
    if c.open():
        c.send(0, first)
        time.sleep(PAUSE)
        for at, end in itertools.pairwise((0, *cuts, len(said))):
            c.send(len(first) + at, said[at:end])
            time.sleep(PAUSE)


def after_a_change(*cuts: int) -> Callable[[Raw, str, bytes, bytes], None]:
    """TLS only: as behind a HelloRetryRequest (RFC 8446, D.4)."""
    def send(c: Raw, _: str, good: bytes, evil: bytes) -> None:
        behind(c, good, b"\x14\x03\x03\0\1\1" + evil, cuts)
    return send


TRICKS |= {"after_a_change": after_a_change(), "after_a_change_alone": after_a_change(6)}


def asked_again(before: bytes, *cuts: int) -> Callable[[Raw, str, bytes, bytes], None]:
    """TLS only: the echo of a hello with this random looks like a HelloRetryRequest; `before` is what its server reads over."""
    def send(c: Raw, _: str, good: bytes, evil: bytes) -> None:
        behind(c, good[:11] + RETRY + good[43:], before + evil, cuts)
    return send


EARLY = b"\x17\x03\x03\0\x20" + bytes(32)
TRICKS |= {
    "asked_again": asked_again(b""), "after_changes": asked_again(b"\x14\x03\x03\0\1\1" * 3), "after_early_data": asked_again(EARLY),
    "after_early_data_alone": asked_again(EARLY, len(EARLY)), "after_a_change_and_early_data": asked_again(b"\x14\x03\x03\0\1\1" + EARLY),
    "after_early_data_cut": asked_again(EARLY, len(EARLY) + 50),
}


@trick
def end_first(c: Raw, _: str, good: bytes, evil: bytes) -> None:
    """TLS only: the server's wish for one more hello comes in two segments; and of that first the end, which does not say a name."""
    first, cut = good[:11] + RETRY + good[43:], 44
    c.window = 80
    if c.open():
        c.send(0, first)
        while (answer := c.answer(10.0)) and not answer[2] & PSH:
            pass
        c.ack = (c.ack + c.window) % (1 << 32)
        c.send(len(first), b"", flags=ACK)
        for at, said in ((cut, evil[cut:]), (0, evil[:cut]), (cut, good[cut:])):
            time.sleep(PAUSE)
            c.send(len(first) + at, said)


def in_one_go(between: bytes, *cuts: int) -> Callable[[Raw, str, bytes, bytes], None]:
    """TLS only: who knows that the server will ask again need not wait for it. The cuts are counted from the second hello."""
    def send(c: Raw, _: str, good: bytes, evil: bytes) -> None:
        said = good + between + evil
        if c.open():
            for at, end in itertools.pairwise((0, *(len(said) - len(evil) + cut for cut in cuts), len(said))):
                c.send(at, said[at:end])
                time.sleep(PAUSE)
    return send


LURES = b"\x17\x03\x03\0\x40" + b"\x16\x03\xff\xff" * 16
TRICKS |= {"behind_lures": in_one_go(LURES), "cut_behind": in_one_go(EARLY, 50)}


@trick
def in_one_record(c: Raw, _: str, good: bytes, evil: bytes) -> None:
    if c.open():
        said = good[5:] + evil[5:]
        c.send(0, good[:3] + struct.pack("!H", len(said)) + said)


@trick
def late(c: Raw, _: str, good: bytes, evil: bytes) -> None:
    if c.open():
        time.sleep(4.0)
        c.send(0, evil)


@trick
def asks_for_life(c: Raw, _: str, good: bytes, evil: bytes) -> None:
    """As Windows does on an idle connection; and it hears from its server before it goes on."""
    if c.open():
        c.send(-1, b"\0", flags=ACK)
        while (answer := c.answer(10.0)) is not None and answer[2] & SYN:
            pass
        if answer is not None:
            c.send(0, evil)


@trick
def a_word_alone(c: Raw, speech: str, good: bytes, evil: bytes) -> None:
    """The method of a request, and the rest when the server has got that."""
    if c.open():
        at = 3 if speech == "http" else 0
        c.send(0, evil[:at])
        while at and (answer := c.answer(10.0)) and answer[1] != (c.isn + 1 + at) % (1 << 32):
            pass
        c.send(at, evil[at:])


@trick
def gap_behind_a_word(c: Raw, _: str, good: bytes, evil: bytes) -> None:
    """HTTP only: a request's method, and behind a gap its end: when the first passes alone, so may the other unread."""
    if c.open():
        c.send(0, evil[:3])
        c.send(5, evil[5:])
        while (answer := c.answer(10.0)) and answer[1] != (c.isn + 4) % (1 << 32):
            pass
        c.send(3, evil[3:5])
        time.sleep(PAUSE)
        c.send(5, good[5:])


@trick
def gap_behind_a_whole(c: Raw, _: str, good: bytes, evil: bytes) -> None:
    """HTTP only: the same behind a harmless request, whose other half comes last."""
    first, cut = good.replace(b"Connection: close", b"X: yz"), 5
    if c.open():
        c.send(0, first[:7])
        c.send(len(first) + cut, evil[cut:])
        c.send(7, first[7:])
        time.sleep(PAUSE)
        c.send(len(first), evil[:cut])
        time.sleep(PAUSE)
        c.send(len(first) + cut, good[cut:])


@trick
def drip(c: Raw, _: str, good: bytes, evil: bytes) -> None:
    """A byte now and then, and the rest when the gate has waited long enough."""
    if c.open():
        for at in range(4):
            c.send(at, evil[at : at + 1])
            time.sleep(0.9)
        c.send(4, evil[4:])
        time.sleep(PAUSE)
        c.send(0, evil)


@trick
def small_records(c: Raw, _: str, good: bytes, evil: bytes) -> None:
    """TLS only: the hello cut into many records."""
    if c.open():
        message = evil[5:]
        c.send(0, b"".join(b"\x16\x03\x01" + struct.pack("!H", len(part)) + part for part in (message[n : n + 60] for n in range(0, len(message), 60))))


TLS_ONLY = {
    "small_records", "last_byte_again", "after_a_change", "after_a_change_alone", "asked_again", "after_changes", "after_early_data",
    "after_early_data_alone", "end_first", "after_early_data_cut", "after_a_change_and_early_data", "behind_lures", "cut_behind", "in_one_record",
}
HTTP_ONLY = {"gap_behind_a_whole", "gap_behind_a_word"}
IPV6_ONLY = {"hop_by_hop", "destination_options"}


def run(one: dict) -> dict:
    """By a trick; or, with `data`, in plain words to any place."""
    speech = one["speech"]
    c = Raw(one["family"], one.get("port") or PORT[speech], one.get("to"))
    try:
        if "data" in one:
            plain(c, speech, b"", bytes.fromhex(one["data"]))
        else:
            make = SPEECH[speech]
            TRICKS[one["trick"]](c, speech, make(GOOD_NAME, "g" * len(one["token"])), make(one["name"], one["token"]))
    except OSError as error:
        return one | {"error": str(error)}
    finally:
        c.close()
    return one


def deaf() -> None:
    """The phone's own kernel hears nothing of these ports."""
    if subprocess.run(["nft", "list", "table", "inet", "hostile"], capture_output=True, check=False).returncode:
        subprocess.run(["nft", "-f", "-"], input=RULES, text=True, check=True)


def main() -> None:
    deaf()
    lanes: dict[tuple[str, int], list[dict]] = {}
    for line in sys.stdin:
        one = json.loads(line)
        lanes.setdefault((one["speech"], one["family"]), []).append(one)
    write = threading.Lock()

    def work(tries: list[dict]) -> None:
        for one in tries:
            done = json.dumps(run(one))
            with write:
                print(done, flush=True)

    threads = [threading.Thread(target=work, args=(tries,)) for tries in lanes.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
