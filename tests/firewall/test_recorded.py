"""What a listener makes of things said one after another, in any order."""

import captures
import pytest
import quicwriter
from hypothesis import given
from hypothesis import strategies as st

from firewall.recorded import RELISTENED, Listener
from firewall.speech import MOST_BEGUN, MOST_NAMES, MOST_PIECES, UNFINISHED, Heard, Speech

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


@pytest.mark.parametrize("first", [b"", b"EHLO there\r\n"])
@pytest.mark.parametrize("never_whole", [b"\x16\3\1\0\0", b"\x16\3\1\x40\0\1\xff\xff\xff" + bytes(16_380)])
def test_a_hello_that_is_never_whole_is_not_kept_for_ever(first: bytes, never_whole: bytes) -> None:
    speech, said = Speech(), first + never_whole * (1 + 2 * MOST_BEGUN // len(never_whole))
    kept, heard = [], []
    for at in range(0, len(said), 1_400):
        heard.append(speech.hear(said[at : at + 1_400]))
        kept.append(speech.size)
    assert UNFINISHED in heard
    assert max(kept) <= MOST_BEGUN


def test_names_in_text_that_is_no_request_are_not_kept_for_ever() -> None:
    speech = Speech()
    heard = [speech.hear(b"Host: %d.example\n" % number) for number in range(10 * MOST_NAMES)]
    assert isinstance(heard[-1], Heard)
    assert [name.name for name in heard[-1].said] == [f"{number}.example" for number in range(159, 143, -1)]


@pytest.mark.parametrize("size", [1, 5, 9, 20, 40])
def test_the_host_that_a_socks4_client_wants_is_held_until_it_is_whole(size: int) -> None:
    speech, said = Speech(), b"\4\1\1\xbb\0\0\0\1anna\0a-long-name-of-a.refused.example\0"
    *_, last = [speech.hear(said[at : at + size]) for at in range(0, len(said), size)]
    assert isinstance(last, Heard)
    assert [name.name for name in last.said] == ["a-long-name-of-a.refused.example"]
