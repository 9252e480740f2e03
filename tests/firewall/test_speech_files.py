"""What is said on connections that carry files: none of it is a name, however it begins."""

from __future__ import annotations

import random
import re

import pytest

from firewall.speech import MORE, Heard, Speech


@pytest.mark.parametrize("begin", [b"PK\3\4", b"GIF89a", b"%PDF-1.7\n%\xe2\xe3", b"k3fq7m2a9\0"])
def test_a_file_that_begins_like_text_is_no_hello_that_never_ends(begin):
    """In 64 KiB of it the first two bytes of a record stand sixteen times."""
    noise = random.Random(2014).randbytes(60_000)
    assert len(re.findall(rb"\x16[\0-\x0f]", noise)) > 9
    for pieces in ((begin + noise,), (begin, noise), (begin, noise[:30_000], noise[30_000:])):
        speech = Speech()
        heard = [speech.hear(piece) for piece in pieces]
        assert [one for one in heard if isinstance(one, Heard) and one.unfinished] == []
        assert heard[-1] is not MORE


def test_a_hello_that_is_cut_where_its_length_looks_like_a_lines_end(wire) -> None:
    hello = wire.hello("late.example", 2_500)
    assert hello[3:4] == b"\n"
    speech = Speech()
    speech.hear(b"EHLO x\r\n\xff" + hello[:4])
    heard = speech.hear(hello[4:])
    assert isinstance(heard, Heard)
    assert [name.name for name in heard.said] == ["late.example"]
