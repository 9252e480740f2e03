"""What a listener makes of things said one after another, in any order."""

import captures
import quicwriter
from hypothesis import given
from hypothesis import strategies as st

from firewall.recorded import RELISTENED, Listener
from firewall.speech import MOST_PIECES

UNSURE = b"POST / HTTP/1.1\r\nHost: d.example\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc"
SAYINGS = {
    captures.records(captures.hello("a.example")): {"a.example"},
    captures.get("b.example"): {"b.example"},
    b"CONNECT c.example:443 HTTP/1.1\r\n\r\n": {"c.example"},
    UNSURE: {"d.example"},
    b"EHLO me\r\n": set(),
    b"STARTTLS\r\n": set(),
    b"\x05\x01\x00": set(),
    b"SSH-2.0-x\r\n": set(),
    b"\0\1\2\3": set(),
}
DATAGRAMS = {
    quicwriter.initial(quicwriter.crypto(0, captures.hello("a.example"))): {"a.example"},
    quicwriter.initial(quicwriter.crypto(0, captures.hello("b.example")), dcid=b"another1"): {"b.example"},
    b"\x40" + bytes(60): set(),
    b"": set(),
}


def names(listener: Listener) -> set[str]:
    return {name.name for name in listener.said}


@given(st.lists(st.sampled_from(list(SAYINGS)), max_size=12), st.integers(1, 2_000))
def test_nothing_is_heard_that_was_not_said_and_it_ends(sayings: list[bytes], size: int) -> None:
    listener = Listener(6)
    for saying in sayings:
        for at in range(0, len(saying), size):
            listener.hear(saying[at : at + size])
    assert names(listener) <= set().union(*map(SAYINGS.get, sayings)) if sayings else not names(listener)
    if sayings:
        first = Listener(6)
        first.hear(sayings[0])
        assert names(first) == SAYINGS[sayings[0]]


@given(st.lists(st.sampled_from(list(DATAGRAMS)), max_size=12))
def test_datagrams_too(datagrams: list[bytes]) -> None:
    listener = Listener(17)
    for datagram in datagrams:
        if not listener.done:
            listener.hear(datagram)
    assert names(listener) <= {name for datagram in datagrams for name in DATAGRAMS[datagram]}


def test_what_says_no_name_is_not_listened_to_for_ever() -> None:
    for proto in (6, 17):
        listener = Listener(proto)
        for _ in range(RELISTENED + MOST_PIECES + 1):
            listener.hear(b"\0\1\2\3")
        assert listener.done
        assert not listener.said
